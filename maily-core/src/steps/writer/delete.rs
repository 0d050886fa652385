//! Deletion, and the wait until what was deleted is gone.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Writer, look::Standing, pods::in_words};
use crate::{
    object::{Object, ObjectKey, ObjectKind},
    planted::{Defect, is_planted},
    provider::{Deleted, Dependents, Effect, ListQuery, Precondition, exactly},
    run::{Change, Digests, Failure, Operation, Written},
    steps::{context::Trouble, stopping::Stopping, waited::Waited},
};

/// So long a deletion takes where nothing is in its way.
const ORDINARY: Duration = Duration::from_secs(1);
/// Between two looks there is at least so long.
pub(super) const SHORTEST: Duration = Duration::from_millis(20);
/// And at most so long.
pub(super) const LONGEST: Duration = Duration::from_secs(2);

/// What can be done where something does not go.
const FINALIZER_STAYS: &str = "find out why the controller of the finalizer does not finish";
pub(super) const POD_STAYS: &str = "a pod whose node is gone stays until the node is deleted, or the pod by force: make sure first that \
                         nothing of it runs any more";

/// Whether the controller of a Job says that one of these holds.
fn says(job: &Object, conditions: &[&str]) -> bool {
    let holds = |condition: &Value| {
        condition["status"] == "True" && conditions.iter().any(|name| condition["type"] == *name)
    };
    job.items("/status/conditions").iter().any(holds)
}

/// The failure of a step whose time is up while something of before is still there.
pub(super) fn not_gone(change: &Change, message: String) -> Failure {
    Failure::new("not-gone", message).with_object(change.key.to_string())
}

fn pods_of_job(change: &Change) -> ListQuery {
    let kind = ObjectKind::new("v1", "Pod");
    ListQuery::new(kind, change.key.namespace.as_deref()).label("job-name", change.key.name.clone())
}

pub(super) fn pod_has_ended(pod: &Object) -> bool {
    matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed"))
}

/// Whether an object makes pods, by itself or through others: of other kinds than Kubernetes' own nobody knows.
pub(super) fn may_have_pods(key: &ObjectKey) -> bool {
    let of_kubernetes = |group: &str| {
        !group.contains('.') || group.ends_with(".k8s.io") && !group.starts_with("gateway.networking.")
    };
    let kind = key.kind.kind.as_str();
    !of_kubernetes(key.kind.group())
        || matches!(
            kind,
            "Deployment"
                | "StatefulSet"
                | "DaemonSet"
                | "ReplicaSet"
                | "ReplicationController"
                | "Job"
                | "CronJob"
        )
}

/// Old pods and new ones of what is made again never run side by side: one may be all that writes to a volume.
fn dependents(change: &Change) -> Dependents {
    match change.operation {
        Operation::Replace if may_have_pods(&change.key) => Dependents::GoFirst,
        _ => Dependents::Follow,
    }
}

impl Writer<'_> {
    /// Deletes an object and waits until it is gone. That it is gone is noted where this run may have done it: what went
    /// before is not made again by whoever goes back.
    pub(super) async fn clear(&mut self, change: &Change) -> Result<(), Trouble> {
        let scope = change.scope();
        let mut first = true;
        loop {
            let live = self.look(change, first).await?;
            first = false;
            // What is made again right away needs no certainty: its create is guarded.
            let certain = change.operation == Operation::Replace;
            let Some(live) = live else {
                if certain || self.absence_is_certain().await? {
                    if self.is_doubtful(change) {
                        self.note_gone(change);
                    }
                    return Ok(());
                }
                continue;
            };
            if live.is_terminating() {
                self.wait_gone(change, &live).await?;
                continue;
            }
            let standing = self.standing(change, &scope, Some(&live)).await?;
            // Already made again by this run.
            if standing == Standing::Ours && change.operation == Operation::Replace {
                return Ok(());
            }
            if standing == Standing::Foreign {
                return Err(self.foreign(change, Some(&live)));
            }
            if self.delete(change, &live).await? && (certain || !self.unanswered) {
                return Ok(());
            }
        }
    }

    /// What is made again right away gets its new state noted after it.
    fn note_gone(&self, change: &Change) {
        if matches!(change.operation, Operation::Delete | Operation::Replace) {
            let (fingerprint, released) = (String::new(), String::new());
            let gone = Written { uid: None, fingerprint, released, images: Digests::new() };
            self.context.wrote(&self.step.id, change, gone);
        }
    }

    /// Deletes this run's own Job of a former process if it has ended in one of these ways, so that it can run again;
    /// whether it is completed, and just being taken away by whoever tidies up.
    pub(crate) async fn clear_ended(&mut self, change: &Change, ended: &[&str]) -> Result<bool, Trouble> {
        loop {
            let Some(live) = self.look(change, false).await? else { return Ok(false) };
            let is_complete = self.is_ours(&live) && says(&live, &["Complete"]);
            if live.is_terminating() && is_complete && !ended.contains(&"Complete") {
                self.keep(change, &change.scope(), live);
                return Ok(true);
            }
            if live.is_terminating() {
                return self.wait_gone(change, &live).await.map(|()| false);
            }
            if !self.is_ours(&live) || !says(&live, ended) || self.delete(change, &live).await? {
                return Ok(false);
            }
        }
    }

    /// Whether there are pods of a Job, also such as have ended.
    pub(crate) async fn has_pods(&mut self, change: &Change) -> Result<bool, Trouble> {
        let query = pods_of_job(change);
        loop {
            match self.context.providers.cluster.list(&query).await {
                Ok(pods) => return Ok(!pods.is_empty()),
                Err(error) => self.after(error).await?,
            }
        }
    }

    /// Deletes this run's own Job, and waits until its pods are gone as well.
    pub(crate) async fn end_job(&mut self, change: &Change) -> Result<(), Trouble> {
        while let Some(live) = self.find(&change.key).await? {
            if live.is_terminating() {
                self.wait_gone(change, &live).await?;
            } else if self.is_ours(&live) {
                self.delete(change, &live).await?;
            } else {
                return Err(self.foreign(change, Some(&live)));
            }
        }
        self.until_no_pod_runs(change).await
    }

    /// Suspends this run's own Job unless it has ended, and waits until none of its pods runs.
    pub(crate) async fn suspend_job(&mut self, change: &Change) -> Result<(), Trouble> {
        while let Some(live) = self.find(&change.key).await? {
            if live.is_terminating() {
                self.wait_gone(change, &live).await?;
            } else if !self.is_ours(&live) {
                return Err(self.foreign(change, Some(&live)));
            } else if says(&live, &["Suspended", "Complete", "Failed"]) {
                break;
            } else if !live.is_suspended() {
                self.patch(change, &live, json!({"spec": {"suspend": true}})).await?;
            } else if self.context.runtime.now() >= self.deadline {
                let message = format!("{}: its controller does not suspend it", change.key);
                return Err(not_gone(change, message).into());
            } else {
                // Before its controller has heard of it, it may still make a pod.
                self.context.pause(self.direction, Duration::from_millis(100)).await?;
            }
        }
        self.until_no_pod_runs(change).await
    }

    /// Waits until no pod of a Job runs. One that has ended stays with a Job that is not deleted.
    pub(crate) async fn until_no_pod_runs(&mut self, change: &Change) -> Result<(), Trouble> {
        let query = pods_of_job(change);
        let mut pause = Duration::from_millis(50);
        let mut waited = Waited::new(self.context, &self.step.id);
        loop {
            let listed = self.context.providers.cluster.list(&query).await;
            let running = listed.map(|pods| pods.iter().filter(|pod| !pod_has_ended(pod)).count());
            match running {
                Ok(0) => return Ok(()),
                Ok(running) if self.context.runtime.now() >= self.deadline => {
                    let message = format!("{}: {running} of its pods are still there", change.key);
                    return Err(not_gone(change, message).into());
                }
                Ok(running) => {
                    let why = format!("{running} of the pods of {} still run", change.key.short());
                    waited.tell(None, None, &why);
                }
                Err(error) => self.after(error).await?,
            }
            self.context.pause(self.direction, pause.min(waited.left().max(SHORTEST))).await?;
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Deletes exactly what was read, and waits until it is gone; `false` where it has to be looked at again.
    pub(super) async fn delete(&mut self, change: &Change, live: &Object) -> Result<bool, Trouble> {
        let permit = self.turn().await?;
        let unguarded = is_planted(Defect::DeleteUnguarded);
        let precondition = if unguarded { Precondition::Any } else { exactly(live) };
        let dependents = dependents(change);
        let answer = self.context.providers.cluster.delete(&change.key, &precondition, dependents).await;
        drop(permit);
        match answer {
            Ok(deleted) => {
                self.context.remember(&change.key, None);
                // What went by itself meanwhile was not taken away by this run.
                let goes = change.before.as_ref().is_some_and(|before| before.object.goes_by_itself());
                if !(goes && deleted == Deleted::AlreadyAbsent) {
                    self.effect = Effect::Done;
                    self.note_gone(change);
                }
                self.wait_gone(change, live).await?;
                Ok(true)
            }
            Err(error) => {
                self.after_write(change, &precondition, error).await?;
                Ok(false)
            }
        }
    }

    /// Gone means that this uid is gone: the answer to a delete comes before finalizers are through.
    pub(super) async fn wait_gone(&mut self, change: &Change, going: &Object) -> Result<(), Trouble> {
        if is_planted(Defect::DeletedIsGone) {
            return Ok(());
        }
        let mut pause = Duration::from_millis(20);
        let begun = self.context.runtime.now();
        let mut waited = Waited::new(self.context, &self.step.id);
        let (mut stopping, mut stopped) = (Stopping::default(), false);
        loop {
            let live = self.context.read(&change.key).await;
            match live.map(|live| live.filter(|live| live.uid() == going.uid())) {
                Ok(None) => {
                    if stopped {
                        self.had_to_wait();
                    }
                    return Ok(());
                }
                Ok(Some(live)) => {
                    let finalizers: Vec<&str> = live
                        .items("/metadata/finalizers")
                        .iter()
                        .filter_map(|finalizer| finalizer.as_str())
                        .filter(|finalizer| *finalizer != "foregroundDeletion")
                        .collect();
                    let now = self.context.runtime.now();
                    let lasts = now.since(begun) >= ORDINARY || now >= self.deadline;
                    // Whoever waits for a moment alone need not know for which pods.
                    let pods = match finalizers.is_empty() && lasts {
                        true => self.made_for(&change.key).await.unwrap_or_default(),
                        false => Vec::new(),
                    };
                    let pods: Vec<Object> = pods.into_iter().filter(Object::is_terminating).collect();
                    stopped |= !pods.is_empty();
                    let until = self.until(&mut stopping, &pods);
                    let (what, hint) = match (in_words(&pods), finalizers.as_slice()) {
                        (Some(pods), _) => (format!("it waits until {pods}"), POD_STAYS),
                        (None, []) => ("its dependents are still being deleted".to_owned(), FINALIZER_STAYS),
                        (None, some) => {
                            (format!("it waits for its finalizers: {}", some.join(", ")), FINALIZER_STAYS)
                        }
                    };
                    if !finalizers.is_empty() || lasts {
                        waited.tell(None, None, &format!("{} is not gone: {what}", change.key.short()));
                    }
                    if now >= until {
                        let message = format!("{} is not gone: {what}", change.key);
                        return Err(not_gone(change, message).with_hint(hint).into());
                    }
                    // A call that fails meanwhile is made again as long as they have.
                    self.deadline = until;
                }
                Err(error) => self.after(error).await?,
            }
            self.context.pause(self.direction, pause.min(waited.left().max(SHORTEST))).await?;
            pause = (pause * 2).min(LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an operator makes of its objects nobody knows beforehand.
    #[test]
    fn what_may_have_pods_is_known_by_its_kind() {
        let makes = |version: &str, kind: &str| {
            may_have_pods(&ObjectKey::new(ObjectKind::new(version, kind), Some("shop"), "one"))
        };
        for (version, kind) in [
            ("apps/v1", "StatefulSet"),
            ("batch/v1", "CronJob"),
            ("postgresql.cnpg.io/v1", "Cluster"),
            ("serving.knative.dev/v1", "Service"),
            ("gateway.networking.k8s.io/v1", "Gateway"),
        ] {
            assert!(makes(version, kind), "{version} {kind}");
        }
        for (version, kind) in [
            ("v1", "Secret"),
            ("policy/v1", "PodDisruptionBudget"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ] {
            assert!(!makes(version, kind), "{version} {kind}");
        }
    }
}
