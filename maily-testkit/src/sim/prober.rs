//! Checks of the world: a service answers when one of its pods is ready, with an error where one of them has a fault.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{ProbeRequest, Prober, ProviderError, Verdict},
};

use super::shared::Shared;
use crate::world::{PodTrouble, is_ready};

/// Carries out checks in the world. Commands are not run: nothing of the world can be reached by one.
#[derive(Clone, Debug)]
pub struct SimProber {
    shared: Arc<Shared>,
}

impl SimProber {
    /// Looks at a world.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[async_trait]
impl Prober for SimProber {
    async fn probe(&self, request: &ProbeRequest, _limit: Duration) -> Result<Verdict, ProviderError> {
        self.shared.runtime().sleep(Duration::from_millis(20)).await;
        let (url, service, expect) = match request {
            ProbeRequest::Command { argv } => {
                let evidence =
                    format!("`{}` was not run: the sandbox has nothing to run it against", argv.join(" "));
                return Ok(Verdict::Insufficient { evidence });
            }
            ProbeRequest::Http { url, service: None, .. } => {
                let evidence = format!("{url} was not asked: it is outside of the sandbox");
                return Ok(Verdict::Insufficient { evidence });
            }
            ProbeRequest::Http { url, service: Some(service), expect } => (url, service, expect),
        };
        let world = self.shared.world();
        let key =
            ObjectKey::new(ObjectKind::new("v1", "Service"), Some(&service.namespace), service.name.clone());
        let selector = world.get(&key).and_then(|found| found.at("/spec/selector")?.as_object().cloned());
        let ready: Vec<&Object> = selector.map_or_else(Vec::new, |selector| {
            let mut pods = world.of_kind("Pod");
            pods.retain(|pod| {
                pod.namespace() == Some(&service.namespace)
                    && selector.iter().all(|(key, value)| pod.label(key) == value.as_str())
                    && is_ready(pod)
            });
            pods
        });
        // Of the answers of such a pod half are errors: a check that did not meet one would have been lucky.
        let fails = ready.iter().any(|pod| world.trouble(pod) == Some(PodTrouble::Errors));
        let status = match ready.is_empty() {
            true => 503,
            false if fails => 500,
            false => 200,
        };
        let evidence = format!("GET {url} answered {status}");
        Ok(if status == *expect { Verdict::Pass { evidence } } else { Verdict::Fail { evidence } })
    }
}
