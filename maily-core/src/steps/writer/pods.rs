//! Pods, which are no objects of a release: marked where a former holder may still delete them.

use serde_json::json;

use super::Writer;
use crate::{
    object::{Object, ObjectKey, ObjectKind},
    planted::{Defect, is_planted},
    provider::{Effect, ErrorKind, ListQuery, ProviderError, WriteOptions, exactly, patch_of},
    rollout::{controller, is_ready},
    run::{EPOCH, Failure, MANAGER, What, epoch_of},
    steps::context::Trouble,
};

impl Writer<'_> {
    /// Marks the pods of a StatefulSet that are not ready: whoever deletes one of them as he saw it before is refused. One
    /// that has become ready has moved by itself.
    pub(crate) async fn stamp_pods(&mut self, set: &ObjectKey) -> Result<(), Trouble> {
        if is_planted(Defect::PodsNotStamped) {
            return Ok(());
        }
        let query = ListQuery::new(ObjectKind::new("v1", "Pod"), set.namespace.as_deref()).state_only();
        let pods = loop {
            match self.context.providers.cluster.list(&query).await {
                Ok(pods) => break pods,
                Err(error) => self.after(error).await?,
            }
        };
        for pod in pods {
            if owner(&pod) == Some(&set.name) {
                self.stamp_pod(pod).await?;
            }
        }
        Ok(())
    }

    /// Which pods of a workload still stop, told; `None` where there are none, or nobody could see them.
    pub(super) async fn stopping(&self, workload: &ObjectKey) -> Option<String> {
        let query = ListQuery::new(ObjectKind::new("v1", "Pod"), workload.namespace.as_deref()).state_only();
        let pods = self.context.providers.cluster.list(&query).await.ok()?;
        let stops = |pod: &&Object| pod.is_terminating() && is_made_for(pod, workload);
        let names: Vec<&str> = pods.iter().filter(stops).map(Object::name).collect();
        match names.as_slice() {
            [] => None,
            [pod] => Some(format!("its pod {pod} has stopped")),
            [first, second] => Some(format!("its pods {first} and {second} have stopped")),
            [first, more @ ..] => {
                Some(format!("its pods have stopped: {first} and {} more have not", more.len()))
            }
        }
    }

    async fn stamp_pod(&mut self, pod: Object) -> Result<(), Trouble> {
        let key = pod.key().clone();
        let mut seen = Some(pod);
        while let Some(pod) = seen {
            let pod = self.checked(pod)?;
            if pod.is_terminating() || is_ready(&pod) || epoch_of(&pod) == Some(self.context.epoch) {
                break;
            }
            let error = match self.send_mark(&pod).await? {
                Ok(_) => break,
                // Nobody is kept from going on by it: a late deletion takes a pod that served nobody.
                Err(error) if is_refusal(&error) => {
                    self.context.tell(What::Waiting { why: error.brief() });
                    break;
                }
                Err(error) => error,
            };
            if error.kind() != ErrorKind::NotFound {
                self.after(error).await?;
            }
            seen = loop {
                match self.context.providers.cluster.get(&key).await {
                    Ok(pod) => break pod,
                    Err(error) => self.after(error).await?,
                }
            };
        }
        Ok(())
    }

    /// Our epoch alone: labels of a release would make the pod an object of it.
    async fn send_mark(&self, pod: &Object) -> Result<Result<Object, ProviderError>, Trouble> {
        let mut mark =
            patch_of(pod.key(), json!({})).map_err(|error| Failure::new("internal", error.to_string()))?;
        mark.set_annotation(EPOCH, Some(&self.context.epoch.to_string()));
        let _permit = self.turn().await?;
        Ok(self.context.providers.cluster.write(&mark, &WriteOptions::merge(MANAGER, exactly(pod))).await)
    }
}

/// Whether the server, or a policy of the cluster, does not take a mark as it is, and will not at another attempt.
fn is_refusal(error: &ProviderError) -> bool {
    let moves = matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::StaleEpoch);
    error.effect() == Effect::None && !error.is_transient() && !moves
}

/// Whether a workload has made a pod, by itself or through what it makes and names after itself.
fn is_made_for(pod: &Object, workload: &ObjectKey) -> bool {
    let Some(owner) = controller(pod) else { return false };
    let between = match workload.kind.kind.as_str() {
        "Deployment" => "ReplicaSet",
        "CronJob" => "Job",
        kind => return owner["kind"] == kind && owner["name"] == workload.name.as_str(),
    };
    let after = owner["name"].as_str().and_then(|name| name.strip_prefix(&workload.name)?.strip_prefix('-'));
    owner["kind"] == between && after.is_some_and(|after| !after.contains('-'))
}

/// The name of the StatefulSet that made a pod.
fn owner(pod: &Object) -> Option<&str> {
    controller(pod).filter(|owner| owner["kind"] == "StatefulSet")?["name"].as_str()
}
