//! Projects of the frontend host.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use maily_core::provider::{ErrorKind, FrontendDeployment, FrontendState, Production};
use serde::{Deserialize, Serialize};

use super::{Fault, Refusal, World};

/// Time of a build.
const BUILD: SignedDuration = SignedDuration::from_millis(1200);
/// Time until a domain shows what it was told to.
const SWITCH: SignedDuration = SignedDuration::from_millis(200);

/// A project of the frontend host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Frontend {
    /// Its deployments, oldest first, with the time at which the build is through.
    pub deployments: Vec<(FrontendDeployment, Timestamp)>,
    /// What every domain showed in worlds that knew one domain a project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub production: Option<String>,
    /// What each domain shows; the empty name stands for the project's own.
    #[serde(default)]
    domains: BTreeMap<String, Domain>,
    /// Deployments ever made, for their ids.
    #[serde(default)]
    made: usize,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Domain {
    shown: Option<String>,
    coming: Option<(String, Timestamp)>,
}

impl Domain {
    fn at(&self, now: Timestamp) -> Domain {
        match &self.coming {
            Some((id, when)) if *when <= now => Domain { shown: Some(id.clone()), coming: None },
            _ => self.clone(),
        }
    }
}

fn refuse<T>(kind: ErrorKind, message: &str) -> Result<T, Refusal> {
    Err(Refusal { kind, message: message.to_owned() })
}

fn failed() -> FrontendState {
    FrontendState::Failed("simulated build error".to_owned())
}

impl Frontend {
    /// A person unsets what its domains show.
    pub fn unset(&mut self) {
        self.production = None;
        self.domains.clear();
    }

    fn domain(&self, name: Option<&str>, now: Timestamp) -> Domain {
        let before = || Domain { shown: self.production.clone(), coming: None };
        self.domains.get(name.unwrap_or_default()).map_or_else(before, |domain| domain.at(now))
    }
}

impl World {
    /// Starts a build.
    pub(crate) fn create_frontend(
        &mut self,
        name: &str,
        version: &str,
        tags: &BTreeMap<String, String>,
    ) -> FrontendDeployment {
        let done = self.now + BUILD;
        let doomed = self.build_fails(name);
        let frontend = self.frontends.entry(name.to_owned()).or_default();
        frontend.made = frontend.made.max(frontend.deployments.len()) + 1;
        let project = name.split('@').next().unwrap_or(name);
        let id = format!("dpl-{project}-{}", frontend.made);
        let deployment = FrontendDeployment {
            url: format!("https://{id}.sandbox.invalid"),
            id,
            version: version.to_owned(),
            state: FrontendState::Building,
            tags: tags.clone(),
        };
        let mut kept = deployment.clone();
        if doomed {
            kept.state = failed();
        }
        frontend.deployments.push((kept, done));
        deployment
    }

    fn build_fails(&self, name: &str) -> bool {
        self.faults.iter().any(|fault| match fault {
            Fault::BuildFails { project } => name.split('@').next() == Some(project),
            _ => false,
        })
    }

    /// A deployment as it is now.
    fn present(&self, name: &str, deployment: &FrontendDeployment, done: Timestamp) -> FrontendDeployment {
        let mut deployment = deployment.clone();
        deployment.state = match (self.now >= done, &deployment.state) {
            (_, FrontendState::Ready) => FrontendState::Ready,
            (false, _) => FrontendState::Building,
            // It stays so: a build is made once.
            (true, FrontendState::Failed(_)) => failed(),
            (true, FrontendState::Building) if self.build_fails(name) => failed(),
            (true, FrontendState::Building) => FrontendState::Ready,
        };
        deployment
    }

    /// The deployments of a project as they are now, newest first.
    pub(crate) fn frontend_deployments(&self, name: &str) -> Vec<FrontendDeployment> {
        let all =
            self.frontends.get(name).map(|frontend| frontend.deployments.as_slice()).unwrap_or_default();
        all.iter().rev().map(|(deployment, done)| self.present(name, deployment, *done)).collect()
    }

    /// The same as an index knows them that is so far behind.
    #[cfg(feature = "harness")]
    pub(crate) fn frontend_index(&self, name: &str, lag: std::time::Duration) -> Vec<FrontendDeployment> {
        let lag = SignedDuration::try_from(lag).unwrap_or(SignedDuration::ZERO);
        let made = |done: Timestamp| done - BUILD;
        let all = self.frontends.get(name).map(|frontend| frontend.deployments.as_slice());
        let known = all.unwrap_or_default().iter().rev().filter(|(_, done)| made(*done) <= self.now - lag);
        known.map(|(deployment, done)| self.present(name, deployment, *done)).collect()
    }

    /// What a domain of a project shows.
    pub(crate) fn frontend_production(&self, name: &str, domain: Option<&str>) -> Production {
        let Some(frontend) = self.frontends.get(name) else { return Production::default() };
        let domain = frontend.domain(domain, self.now);
        let shown =
            self.frontend_deployments(name).into_iter().find(|one| Some(&one.id) == domain.shown.as_ref());
        Production { shown, coming: domain.coming.map(|(id, _)| id) }
    }

    pub(crate) fn promote_frontend(
        &mut self,
        name: &str,
        id: &str,
        domain: Option<&str>,
    ) -> Result<(), Refusal> {
        let found = self.frontend_deployments(name).into_iter().find(|one| one.id == id);
        match found.map(|found| found.state) {
            None => return refuse(ErrorKind::NotFound, "there is no such deployment"),
            Some(FrontendState::Ready) => {}
            Some(_) => return refuse(ErrorKind::Conflict, "the deployment is not ready"),
        }
        let now = self.now;
        let frontend = self.frontends.entry(name.to_owned()).or_default();
        let mut state = frontend.domain(domain, now);
        match &state.coming {
            Some((coming, _)) if coming != id => {
                return refuse(ErrorKind::Unavailable, "another promotion is under way");
            }
            Some(_) => return Ok(()),
            None => {}
        }
        for (deployment, _) in frontend.deployments.iter_mut().filter(|(known, _)| known.id == id) {
            deployment.state = FrontendState::Ready;
        }
        if state.shown.as_deref() != Some(id) {
            state.coming = Some((id.to_owned(), now + SWITCH));
        }
        frontend.domains.insert(domain.unwrap_or_default().to_owned(), state);
        Ok(())
    }

    pub(crate) fn remove_frontend(&mut self, name: &str, id: &str) -> Result<(), Refusal> {
        let now = self.now;
        let Some(frontend) = self.frontends.get_mut(name) else { return Ok(()) };
        let names: Vec<String> = frontend.domains.keys().cloned().chain([String::new()]).collect();
        let shown = names.iter().any(|domain| {
            let domain = frontend.domain(Some(domain), now);
            domain.shown.as_deref() == Some(id) || domain.coming.is_some_and(|(coming, _)| coming == id)
        });
        if shown {
            return refuse(ErrorKind::Conflict, "the deployment is in production");
        }
        frontend.deployments.retain(|(deployment, _)| deployment.id != id);
        Ok(())
    }
}
