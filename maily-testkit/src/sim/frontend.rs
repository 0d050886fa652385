//! The frontend host of the world.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use maily_core::provider::{FrontendDeployment, FrontendHost, Production, ProviderError};

use super::{door::Door, shared::Shared};

/// A client of the simulated frontend host.
#[derive(Clone, Debug)]
pub struct SimFrontend {
    door: Door,
    /// Projects of this environment have names of their own, so that staging does not show on production's domain.
    suffix: String,
}

impl SimFrontend {
    /// A client for one environment.
    pub fn new(shared: Arc<Shared>, environment: &str) -> Self {
        Self { door: Door::new(shared, "frontend"), suffix: format!("@{environment}") }
    }

    fn name(&self, project: &str) -> String {
        format!("{project}{}", self.suffix)
    }
}

#[async_trait]
impl FrontendHost for SimFrontend {
    async fn create(
        &self,
        project: &str,
        version: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<FrontendDeployment, ProviderError> {
        let name = self.name(project);
        self.door.write("create", &name, |world| Ok(world.create_frontend(&name, version, tags))).await
    }

    async fn get(&self, project: &str, id: &str) -> Result<Option<FrontendDeployment>, ProviderError> {
        let name = self.name(project);
        self.door
            .read("get", id, |world| {
                Ok(world.frontend_deployments(&name).into_iter().find(|one| one.id == id))
            })
            .await
    }

    async fn find(
        &self,
        project: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<FrontendDeployment>, ProviderError> {
        let name = self.name(project);
        let carries =
            |one: &FrontendDeployment| tags.iter().all(|(key, value)| one.tags.get(key) == Some(value));
        self.door
            .read("find", &name, |world| {
                Ok(world.frontend_deployments(&name).into_iter().filter(carries).collect())
            })
            .await
    }

    async fn production(&self, project: &str, domain: Option<&str>) -> Result<Production, ProviderError> {
        let name = self.name(project);
        self.door.read("production", &name, |world| Ok(world.frontend_production(&name, domain))).await
    }

    async fn promote(&self, project: &str, id: &str, domain: Option<&str>) -> Result<(), ProviderError> {
        let name = self.name(project);
        self.door.write("promote", id, |world| world.promote_frontend(&name, id, domain)).await
    }

    async fn remove(&self, project: &str, id: &str) -> Result<(), ProviderError> {
        let name = self.name(project);
        self.door.write("remove", id, |world| world.remove_frontend(&name, id)).await
    }
}
