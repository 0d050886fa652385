//! Pods, which are no objects of a release: marked where a former holder may still delete them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Writer,
    delete::{LONGEST, POD_STAYS, SHORTEST, may_have_pods, not_gone, pod_has_ended},
};
use crate::{
    object::{Object, ObjectKey, ObjectKind},
    planted::{Defect, is_planted},
    provider::{Effect, ErrorKind, ListQuery, ProviderError, WriteOptions, exactly, patch_of},
    rollout::{controller, is_ready},
    run::{Change, EPOCH, Failure, MANAGER, What, epoch_of},
    runtime::Moment,
    steps::{
        context::Trouble,
        rollout::time_for,
        stopping::{LATE, Stopping},
        waited::Waited,
    },
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

    /// The pods that a workload has made, by itself or through others.
    pub(super) async fn made_for(&self, workload: &ObjectKey) -> Result<Vec<Object>, ProviderError> {
        let query = ListQuery::new(ObjectKind::new("v1", "Pod"), workload.namespace.as_deref()).state_only();
        let mut pods = self.context.providers.cluster.list(&query).await?;
        pods.retain(|pod| is_made_for(pod, workload));
        Ok(pods)
    }

    /// Waits until no pod runs that was made for what is gone: what takes its place would run beside it.
    pub(super) async fn until_stopped(&mut self, change: &Change) -> Result<(), Trouble> {
        // What stands in no namespace would have its pods looked for in all of them.
        if !may_have_pods(&change.key) || change.key.namespace.is_none() {
            return Ok(());
        }
        let name = change.key.short();
        let mut pause = SHORTEST;
        let mut waited = Waited::new(self.context, &self.step.id);
        let (mut stopping, mut stopped) = (Stopping::default(), false);
        loop {
            match self.left_of(change).await {
                Ok(pods) => {
                    let Some(what) = in_words(&pods) else { break };
                    stopped = true;
                    let now = self.context.runtime.now();
                    let until = self.until(&mut stopping, &pods);
                    waited.tell(None, None, &format!("{name} is not made again: it waits until {what}"));
                    if now >= until {
                        let message = format!("{} is not made again: it waits until {what}", change.key);
                        return Err(not_gone(change, message).with_hint(POD_STAYS).into());
                    }
                    self.deadline = until;
                }
                // Pods that nobody may look at keep nothing from coming back.
                Err(error) if error.is_refusal() => break,
                Err(error) => self.after(error).await?,
            }
            self.context.pause(self.direction, pause.min(waited.left().max(SHORTEST))).await?;
            pause = (pause * 2).min(LONGEST);
        }
        if stopped {
            self.had_to_wait();
        }
        Ok(())
    }

    /// Pods that stop, or are about to, as what they were made for has gone. Others may have names like theirs.
    async fn left_of(&self, change: &Change) -> Result<Vec<Object>, ProviderError> {
        let mut left = Vec::new();
        let mut owners = BTreeMap::new();
        for pod in self.made_for(&change.key).await? {
            if pod_has_ended(&pod) {
                continue;
            }
            if !pod.is_terminating() {
                let Some(owner) = controller(&pod) else { continue };
                let uid = owner["uid"].as_str().unwrap_or_default().to_owned();
                let is_of = match owners.get(&uid) {
                    Some(known) => *known,
                    None => self.leads_to(owner, change).await?,
                };
                owners.insert(uid, is_of);
                if !is_of {
                    continue;
                }
            }
            left.push(pod);
        }
        Ok(left)
    }

    /// Whether the owner of a pod is what a change is about as it was before, or was made by that and goes after it.
    async fn leads_to(&self, owner: &Value, change: &Change) -> Result<bool, ProviderError> {
        let Some(before) = &change.before else { return Ok(false) };
        let is_it = |owner: &Value| owner["uid"] == before.uid.as_str();
        if is_it(owner) {
            return Ok(true);
        }
        let (Some(between), Some(version), Some(name)) =
            (between(&change.key), owner["apiVersion"].as_str(), owner["name"].as_str())
        else {
            return Ok(false);
        };
        let key = ObjectKey::new(ObjectKind::new(version, between), change.key.namespace.as_deref(), name);
        match self.context.providers.cluster.get(&key).await {
            Ok(Some(live)) => Ok(controller(&live).is_some_and(is_it)),
            // Collected already: its pods are next.
            Ok(None) => Ok(true),
            Err(error) if error.is_refusal() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Until when these pods are waited for: they have their grace, however little time their step has.
    pub(super) fn until(&self, stopping: &mut Stopping, pods: &[Object]) -> Moment {
        let ends = pods.iter().filter_map(|pod| stopping.end(pod, &*self.context.runtime));
        ends.map(|end| end + LATE).fold(self.deadline, Moment::max)
    }

    /// The time of a step is for what begins: it begins anew where pods of before took of it to stop.
    pub(super) fn had_to_wait(&mut self) {
        let now = self.context.runtime.now();
        self.deadline = self.deadline.max(now + time_for(self.step, self.direction));
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
                Err(error) if is_not_taken(&error) => {
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
fn is_not_taken(error: &ProviderError) -> bool {
    let moves = matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::StaleEpoch);
    error.effect() == Effect::None && !error.is_transient() && !moves
}

/// What is waited for where these pods still run; `None` where there are none.
pub(super) fn in_words(pods: &[Object]) -> Option<String> {
    Some(match pods {
        [] => return None,
        [pod] => format!("its pod {} has stopped", pod.name()),
        [first, second] => format!("its pods {} and {} have stopped", first.name(), second.name()),
        [first, more @ ..] => {
            format!("its pods have stopped: {} and {} more have not", first.name(), more.len())
        }
    })
}

/// What a workload makes that makes its pods; `None` where it makes them itself.
fn between(workload: &ObjectKey) -> Option<&'static str> {
    match workload.kind.kind.as_str() {
        "Deployment" => Some("ReplicaSet"),
        "CronJob" => Some("Job"),
        _ => None,
    }
}

/// Whether a workload has made a pod, by itself or through what it makes and names after itself.
fn is_made_for(pod: &Object, workload: &ObjectKey) -> bool {
    let Some(owner) = controller(pod) else { return false };
    let Some(between) = between(workload) else {
        return owner["kind"] == workload.kind.kind.as_str() && owner["name"] == workload.name.as_str();
    };
    let after = owner["name"].as_str().and_then(|name| name.strip_prefix(&workload.name)?.strip_prefix('-'));
    owner["kind"] == between && after.is_some_and(|after| !after.contains('-'))
}

/// The name of the StatefulSet that made a pod.
fn owner(pod: &Object) -> Option<&str> {
    controller(pod).filter(|owner| owner["kind"] == "StatefulSet")?["name"].as_str()
}
