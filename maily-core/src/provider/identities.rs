//! Who we are in the cloud, what roles there are, and what they may do.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Access, ProviderError};

/// Who the present credentials belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerIdentity {
    /// Account, such as `123456789012`: what an environment is bound to.
    pub account: String,
    /// Full name of the user or of the session of a role (an ARN on AWS).
    pub principal: String,
    /// Region that requests go to.
    pub region: String,
}

/// A role that workloads or people take on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Full name (an ARN on AWS).
    pub principal: String,
    /// Workloads of clusters that may take it on.
    #[serde(default)]
    pub trusted: Vec<TrustedWorkload>,
}

/// A service account of a cluster that a role trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedWorkload {
    /// Issuer of the cluster's tokens.
    pub issuer: String,
    /// Namespace.
    pub namespace: String,
    /// Service account.
    pub service_account: String,
}

/// Identities of the cloud, such as STS and IAM.
///
/// # Contract
/// 1. `caller` tells the account, the principal and the region of the present credentials.
/// 2. `role` of an unknown name is `None`.
/// 3. `allowed` gives one answer per action, in their order; what cannot be found out is [`Access::Unknown`], never
///    `Allowed`.
#[async_trait]
pub trait Identities: fmt::Debug + Send + Sync + 'static {
    /// Who we are.
    ///
    /// # Errors
    /// When there are no credentials, they have expired, or the provider cannot be reached.
    async fn caller(&self) -> Result<CallerIdentity, ProviderError>;

    /// Reads a role. A role that was just made may be missing for some seconds.
    ///
    /// # Errors
    /// When the provider cannot be reached or refuses.
    async fn role(&self, name: &str) -> Result<Option<Role>, ProviderError>;

    /// Whether a principal may do these actions (such as `rds:CreateDBSnapshot`) on a resource; `*` for any resource.
    ///
    /// # Errors
    /// When the provider cannot be reached or refuses.
    async fn allowed(
        &self,
        principal: &str,
        actions: &[String],
        resource: &str,
    ) -> Result<Vec<Access>, ProviderError>;
}
