//! The verdict.

use jiff::Timestamp;
use serde_json::Value;

use super::{Target, conditions, workload};
use crate::{
    object::{Object, ObjectKey},
    planted::{Defect, is_planted},
};

/// What is known at a moment.
#[derive(Clone, Debug, Default)]
pub struct Evidence<'a> {
    /// The object itself; none where it is gone.
    pub live: Option<&'a Object>,
    /// Its pods, of all revisions.
    pub pods: Vec<&'a Object>,
    /// Whether these are all its pods.
    pub all_pods: bool,
    /// Replica sets that own some of the pods, as far as they were read.
    pub replica_sets: Vec<&'a Object>,
    /// Whether somebody looks again, so that what may pass is waited for.
    pub patient: bool,
    /// Replica sets of which it is known that they are gone.
    pub gone_sets: Vec<&'a ObjectKey>,
    /// Whether it is asked only whether it serves: pods on their way out take nothing from that.
    pub serving_only: bool,
    /// Those of the pods that should have ended by the clock of whoever has followed them.
    pub late: Vec<&'a ObjectKey>,
}

/// Why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable name, such as `crash-loop`.
    pub cause: &'static str,
    /// A sentence.
    pub message: String,
    /// The object that shows it.
    pub object: ObjectKey,
    /// The container whose log tells more, and whether its previous instance does.
    pub container: Option<(String, bool)>,
    /// When the evidence arose, by the cluster's clock.
    pub at: Option<Timestamp>,
    /// What to do next.
    pub hint: &'static str,
}

/// The state of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// What was written serves.
    Done,
    /// It goes on.
    Waiting {
        /// Replicas of the new revision that serve.
        ready: u32,
        /// Replicas that shall.
        desired: u32,
        /// What for.
        why: String,
    },
    /// It goes on only once somebody deletes a pod of another revision.
    HeldUp {
        /// Replicas of the new revision that serve.
        ready: u32,
        /// Replicas that shall.
        desired: u32,
        /// What of that pod.
        why: String,
        /// The pod, as it was seen.
        pod: Box<Object>,
        /// Why nothing replaces it.
        obstacle: Obstacle,
        /// What a person can do, as a sentence.
        way_on: String,
    },
    /// A pod looks doomed; whether it belongs to the new revision is known once this replica set was read.
    Ask(ObjectKey),
    /// It is known to fail.
    Failed(Box<Reason>),
}

/// Why a pod of another revision is not replaced by its controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The controller waits until it is ready, which it never becomes.
    Doomed,
    /// The controller waits until it is ready.
    Unready,
    /// The controller leaves it to people which pods are replaced, and when.
    ByHand,
    /// The controller would make it anew of the revision that it is of.
    Stays,
    /// It should have ended, and its node does not tell that it has.
    Lost,
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

impl Health {
    pub(super) fn waiting(ready: i64, desired: i64, why: impl Into<String>) -> Self {
        Self::Waiting { ready: count(ready), desired: count(desired), why: why.into() }
    }

    pub(super) fn held_up(
        (ready, desired): (i64, i64),
        why: String,
        pod: &Object,
        obstacle: Obstacle,
        way_on: String,
    ) -> Self {
        let (ready, desired) = (count(ready), count(desired));
        Self::HeldUp { ready, desired, why, pod: Box::new(pod.clone()), obstacle, way_on }
    }
}

/// Whether an object serves by what it says of itself; none where nothing is waited for.
pub(crate) fn serves(live: &Object) -> Option<bool> {
    Some(says_it_serves(&Target::pin(live)?))
}

/// Whether what was found serves by what it said of itself then.
pub(crate) fn says_it_serves(found: &Target) -> bool {
    let evidence = Evidence { live: Some(found.written()), serving_only: true, ..Evidence::default() };
    judge(found, &evidence) == Health::Done
}

/// Where `kubectl rollout restart` says when: restarting pods changes nothing of what is released.
pub(crate) const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// A template without the mark of a restart: new pods of it are made of just what was written, and are waited for.
fn unrestarted(template: Option<&Value>) -> Option<Value> {
    let mut template = template.cloned()?;
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(RESTARTED);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
        if metadata.is_empty() {
            template.as_object_mut()?.remove("metadata");
        }
    }
    Some(template)
}

/// Judges what was written by what is there.
pub fn judge(target: &Target, evidence: &Evidence<'_>) -> Health {
    let failed = |cause, message: String, hint| {
        let object = target.key().clone();
        Health::Failed(Box::new(Reason { cause, message, object, container: None, at: None, hint }))
    };
    let Some(live) = evidence.live else {
        return failed("gone", format!("{} was deleted meanwhile", target.key()), "find out who deleted it");
    };
    if live.uid() != Some(target.uid()) && !is_planted(Defect::OtherUidTaken) {
        let message = format!("{} was deleted and made again meanwhile", target.key());
        return failed("replaced", message, "find out who made it again");
    }
    // One that has ended is deleted by its own clock.
    let has_ended = live.kind() == "Job" && workload::has_ended(live);
    if live.is_terminating() && !has_ended {
        return failed("gone", format!("{} is being deleted", target.key()), "find out who deleted it");
    }
    // T6: another rollout is under way. By content: a change of annotations raises the generation as well.
    let another = live.generation() > Some(target.generation())
        && live.at("/spec/template") != target.template()
        && unrestarted(live.at("/spec/template")) != unrestarted(target.template());
    if another && !is_planted(Defect::SupersededIgnored) {
        let message = format!("{} was changed by somebody else during the rollout", target.key());
        return failed(
            "superseded",
            message,
            "see `kubectl rollout history`, then decide which state is right",
        );
    }
    if target.sets_replicas() && live.int("/spec/replicas") == Some(0) {
        let message = format!("{} was scaled to 0 by somebody else during the rollout", target.key());
        return failed("scaled-down", message, "find out who scaled it down, and why");
    }
    match (target.key().kind.group(), target.key().kind.kind.as_str()) {
        ("apps", "Deployment") => workload::deployment(target, live, evidence),
        ("apps", "StatefulSet") => workload::stateful_set(target, live, evidence),
        ("apps", "DaemonSet") => workload::daemon_set(target, live, evidence),
        ("batch", "Job") => workload::job(live, evidence),
        ("", "Pod") => workload::pod(target, live),
        ("", "Service") => conditions::load_balancer(live),
        ("", "Namespace") => conditions::namespace(live),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => conditions::condition(live, "Established"),
        ("apiregistration.k8s.io", "APIService") => conditions::condition(live, "Available"),
        _ => Health::Done,
    }
}
