//! Checks of the world: a service answers when one of its pods is ready.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use maily_core::{
    object::{ObjectKey, ObjectKind},
    provider::{ProbeRequest, Prober, ProviderError, Verdict},
};

use super::shared::Shared;

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
        let ready = selector.is_some_and(|selector| {
            world.of_kind("Pod").into_iter().any(|pod| {
                pod.namespace() == Some(&service.namespace)
                    && selector.iter().all(|(key, value)| pod.label(key) == value.as_str())
                    && pod
                        .items("/status/conditions")
                        .iter()
                        .any(|c| c["type"] == "Ready" && c["status"] == "True")
            })
        });
        Ok(if ready && *expect == 200 {
            Verdict::Pass { evidence: format!("GET {url} answered 200") }
        } else {
            let status = if ready { 200 } else { 503 };
            Verdict::Fail { evidence: format!("GET {url} answered {status}") }
        })
    }
}
