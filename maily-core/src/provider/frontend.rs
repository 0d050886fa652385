//! The host of the frontend: builds deployments of a project and decides which one a domain shows.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::ProviderError;

/// A deployment of a frontend project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontendDeployment {
    /// The host's id.
    pub id: String,
    /// The version it was built from.
    pub version: String,
    /// How far it is.
    pub state: FrontendState,
    /// Its own address.
    pub url: String,
    /// Tags given at creation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// How far a deployment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrontendState {
    /// Waits or builds.
    Building,
    /// Can be shown.
    Ready,
    /// Failed or was cancelled, with the host's words.
    Failed(String),
}

/// What a domain shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Production {
    /// The deployment that it shows now.
    pub shown: Option<FrontendDeployment>,
    /// Id of the one that it was told to show and does not yet.
    pub coming: Option<String>,
}

/// A frontend host, such as Vercel.
///
/// # Contract
/// 1. `create` answers before the build is through; `get` tells how far it is.
/// 2. The host knows no idempotency token: two `create`s make two deployments. `find` looks them up by tag; what was
///    made seconds ago it may not find yet.
/// 3. `promote` of a deployment that is not ready fails with `Conflict` and changes nothing.
/// 4. `promote` answers before the domain shows the deployment: until then it is `coming`, and the former one is
///    `shown`; afterwards it is `shown`, and nothing is `coming`. While another deployment is coming, `promote` fails
///    with `Unavailable` and has no effect.
/// 5. `get` of an unknown id is `None`.
/// 6. A deployment that was built is not shown before it is promoted, also when it is the project's first.
/// 7. `remove` of what is shown or coming fails with `Conflict`; of an unknown deployment it succeeds.
#[async_trait]
pub trait FrontendHost: fmt::Debug + Send + Sync + 'static {
    /// Starts a deployment of a version.
    ///
    /// # Errors
    /// When the project is unknown or the host refuses.
    async fn create(
        &self,
        project: &str,
        version: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<FrontendDeployment, ProviderError>;

    /// Reads a deployment.
    ///
    /// # Errors
    /// When the host cannot be reached.
    async fn get(&self, project: &str, id: &str) -> Result<Option<FrontendDeployment>, ProviderError>;

    /// Deployments that carry all these tags, newest first.
    ///
    /// # Errors
    /// When the host cannot be reached.
    async fn find(
        &self,
        project: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<FrontendDeployment>, ProviderError>;

    /// What a domain shows; the project's production domains where none is given.
    ///
    /// # Errors
    /// When the project is unknown or the host cannot be reached.
    async fn production(&self, project: &str, domain: Option<&str>) -> Result<Production, ProviderError>;

    /// Lets a domain show a deployment; all production domains of the project where none is given.
    ///
    /// # Errors
    /// See the contract.
    async fn promote(&self, project: &str, id: &str, domain: Option<&str>) -> Result<(), ProviderError>;

    /// Removes a deployment that no domain shows; absence is success.
    ///
    /// # Errors
    /// See the contract.
    async fn remove(&self, project: &str, id: &str) -> Result<(), ProviderError>;
}
