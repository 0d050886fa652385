//! The frontend host of the world.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use jiff::SignedDuration;
use maily_core::provider::{ErrorKind, FrontendDeployment, FrontendHost, FrontendState, ProviderError};

use super::shared::Shared;
use crate::world::{Fault, Frontend, Refusal, World};

/// Time of a build.
const BUILD: SignedDuration = SignedDuration::from_millis(1200);

/// A client of the simulated frontend host.
#[derive(Clone, Debug)]
pub struct SimFrontend {
    shared: Arc<Shared>,
    /// Projects of this environment have names of their own, so that staging does not show on production's domain.
    suffix: String,
}

impl SimFrontend {
    /// A client for one environment.
    pub fn new(shared: Arc<Shared>, environment: &str) -> Self {
        Self { shared, suffix: format!("@{environment}") }
    }

    fn name(&self, project: &str) -> String {
        format!("{project}{}", self.suffix)
    }
}

fn project<'w>(world: &'w mut World, name: &str) -> &'w mut Frontend {
    world.frontends.entry(name.to_owned()).or_default()
}

/// A deployment as it is now.
fn present(
    world: &World,
    deployment: &FrontendDeployment,
    done: jiff::Timestamp,
    name: &str,
) -> FrontendDeployment {
    let mut deployment = deployment.clone();
    let fails = world.faults.iter().any(|fault| match fault {
        Fault::BuildFails { project } => name.split('@').next() == Some(project),
        _ => false,
    });
    deployment.state = match (world.now >= done, fails, &deployment.state) {
        (_, _, FrontendState::Ready) => FrontendState::Ready,
        (false, ..) => FrontendState::Building,
        (true, true, _) => FrontendState::Failed("simulated build error".to_owned()),
        (true, false, _) => FrontendState::Ready,
    };
    deployment
}

fn find(world: &World, name: &str, id: &str) -> Option<FrontendDeployment> {
    let frontend = world.frontends.get(name)?;
    let (deployment, done) = frontend.deployments.iter().find(|(deployment, _)| deployment.id == id)?;
    Some(present(world, deployment, *done, name))
}

#[async_trait]
impl FrontendHost for SimFrontend {
    async fn create(
        &self,
        project_name: &str,
        version: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<FrontendDeployment, ProviderError> {
        let name = self.name(project_name);
        self.shared
            .request("create", &name.clone(), true, false, |world| {
                let done = world.now + BUILD;
                let frontend = project(world, &name);
                let id = format!("dpl-{}-{}", project_name, frontend.deployments.len() + 1);
                let deployment = FrontendDeployment {
                    url: format!("https://{id}.sandbox.invalid"),
                    id,
                    version: version.to_owned(),
                    state: FrontendState::Building,
                    tags: tags.clone(),
                };
                frontend.deployments.push((deployment.clone(), done));
                Ok(deployment)
            })
            .await
    }

    async fn get(&self, project: &str, id: &str) -> Result<Option<FrontendDeployment>, ProviderError> {
        let name = self.name(project);
        self.shared.request("get", id, false, false, |world| Ok(find(world, &name, id))).await
    }

    async fn find(
        &self,
        project: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<FrontendDeployment>, ProviderError> {
        let name = self.name(project);
        self.shared
            .request("find", &name.clone(), false, false, |world| {
                let Some(frontend) = world.frontends.get(&name) else { return Ok(Vec::new()) };
                Ok(frontend
                    .deployments
                    .iter()
                    .rev()
                    .filter(|(deployment, _)| {
                        tags.iter().all(|(key, value)| deployment.tags.get(key) == Some(value))
                    })
                    .map(|(deployment, done)| present(world, deployment, *done, &name))
                    .collect())
            })
            .await
    }

    async fn production(&self, project: &str) -> Result<Option<FrontendDeployment>, ProviderError> {
        let name = self.name(project);
        self.shared
            .request("production", &name.clone(), false, false, |world| {
                let id = world.frontends.get(&name).and_then(|frontend| frontend.production.clone());
                Ok(id.and_then(|id| find(world, &name, &id)))
            })
            .await
    }

    async fn promote(
        &self,
        project_name: &str,
        id: &str,
        _domain: Option<&str>,
    ) -> Result<(), ProviderError> {
        let name = self.name(project_name);
        self.shared
            .request("promote", id, true, false, |world| match find(world, &name, id) {
                None => {
                    Err(Refusal { kind: ErrorKind::NotFound, message: "there is no such deployment".into() })
                }
                Some(found) if found.state == FrontendState::Ready => {
                    let frontend = project(world, &name);
                    for (deployment, _) in frontend.deployments.iter_mut().filter(|(known, _)| known.id == id)
                    {
                        deployment.state = FrontendState::Ready;
                    }
                    frontend.production = Some(id.to_owned());
                    Ok(())
                }
                Some(_) => {
                    Err(Refusal { kind: ErrorKind::Conflict, message: "the deployment is not ready".into() })
                }
            })
            .await
    }

    async fn remove(&self, project_name: &str, id: &str) -> Result<(), ProviderError> {
        let name = self.name(project_name);
        self.shared
            .request("remove", id, true, false, |world| {
                let frontend = project(world, &name);
                if frontend.production.as_deref() == Some(id) {
                    let message = "the deployment is in production".to_owned();
                    return Err(Refusal { kind: ErrorKind::Conflict, message });
                }
                frontend.deployments.retain(|(deployment, _)| deployment.id != id);
                Ok(())
            })
            .await
    }
}
