//! What the controllers have still to look at, and when: nothing is played that nothing has happened to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use maily_core::object::{Object, ObjectKey, ObjectKind};

use super::{World, budget::covers, fault::Fault};

/// A controller reacts after at least this time, so that every client meets the moment before.
const REACTION: SignedDuration = SignedDuration::from_millis(20);
/// Time between two counts of the pods.
const SAMPLE: SignedDuration = SignedDuration::from_secs(1);
/// Reactions are spread over this much more.
const SPREAD_MS: u64 = 60;

/// Appointments of the controllers. Made anew from the objects when a world is read from a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    due: BTreeSet<(Timestamp, Arc<ObjectKey>)>,
    at: BTreeMap<Arc<ObjectKey>, Timestamp>,
    /// Faults that the pods were judged by.
    faults: Vec<Fault>,
    /// Hash of a template by uid and generation of its workload: hashing is most of a controller's work.
    pub(super) hashes: BTreeMap<String, (i64, String)>,
    filled: bool,
    /// Whether pods have changed since they were counted, and when that was.
    pods_changed: bool,
    sampled: Option<Timestamp>,
}

impl Agenda {
    /// The first appointment.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn forget(&mut self, key: &ObjectKey) {
        if let Some((key, at)) = self.at.remove_entry(key) {
            self.due.remove(&(at, key));
        }
    }

    fn take(&mut self, until: Timestamp) -> Option<(Timestamp, Arc<ObjectKey>)> {
        if self.next()? > until {
            return None;
        }
        let (at, key) = self.due.pop_first()?;
        self.at.remove(&key);
        Some((at, key))
    }

    fn add(&mut self, key: &ObjectKey, at: Timestamp) {
        let key = match self.at.get_key_value(key) {
            Some((_, known)) if *known <= at => return,
            Some((key, known)) => {
                let key = Arc::clone(key);
                self.due.remove(&(*known, Arc::clone(&key)));
                key
            }
            None => Arc::new(key.clone()),
        };
        self.at.insert(Arc::clone(&key), at);
        self.due.insert((at, key));
    }
}

/// Kinds that a controller looks after.
fn is_controlled(kind: &str) -> bool {
    matches!(
        kind,
        "Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "Job"
            | "HorizontalPodAutoscaler"
            | "PodDisruptionBudget"
            | "Service"
            | "Pod"
    )
}

impl World {
    /// Lets time pass until a moment.
    pub fn advance(&mut self, to: Timestamp) {
        self.fill_agenda();
        if self.agenda.faults != self.faults {
            self.agenda.faults.clone_from(&self.faults);
            for pod in self.keys_of("Pod") {
                self.agenda.add(&pod, self.now);
            }
            self.agenda.pods_changed = true;
        }
        while let Some((at, key)) = self.agenda.take(to) {
            self.now = self.now.max(at);
            self.reconcile(&key);
            self.sample();
        }
        self.now = self.now.max(to);
        self.sample();
    }

    /// Counts the pods, not more often than a scraper would.
    fn sample(&mut self) {
        let again = self.agenda.sampled.is_none_or(|last| self.now.duration_since(last) >= SAMPLE);
        if again && std::mem::take(&mut self.agenda.pods_changed) {
            self.agenda.sampled = Some(self.now);
            self.measure();
        }
    }

    /// When something changes by itself next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.agenda.next()
    }

    /// A world from a file knows its objects alone.
    fn fill_agenda(&mut self) {
        if self.agenda.filled {
            return;
        }
        self.agenda.filled = true;
        let keys: Vec<ObjectKey> = self
            .objects()
            .filter(|object| is_controlled(object.kind()) || object.is_terminating())
            .map(|object| object.key().clone())
            .collect();
        for key in keys {
            self.agenda.add(&key, self.now);
        }
    }

    pub(super) fn keys_of(&self, kind: &str) -> Vec<ObjectKey> {
        self.objects.of_kind(kind).map(|object| object.key().clone()).collect()
    }

    /// A controller looks at an object after this time.
    pub(super) fn look_after(&mut self, key: &ObjectKey, time: SignedDuration) {
        let at = self.now + time;
        self.agenda.add(key, at);
    }

    /// Tells the controllers that an object has come, changed or gone.
    pub(super) fn notice(&mut self, object: &Object) {
        if is_controlled(object.kind()) && object.kind() != "Pod" {
            self.react(object.key());
        }
        match object.kind() {
            "Pod" => {
                self.agenda.pods_changed = true;
                if matches!(object.text("/status/phase"), None | Some("Pending")) {
                    self.look_after(object.key(), self.time_of(object));
                }
                self.notice_pod(object);
            }
            // Who is scaled from outside is looked at by who scales it.
            "Deployment" | "StatefulSet" => {
                let scales = |other: &&Object| other.text("/spec/scaleTargetRef/name") == Some(object.name());
                let beside = self.objects.beside("HorizontalPodAutoscaler", object.namespace());
                let autoscalers = beside.filter(scales);
                for autoscaler in autoscalers.map(|other| other.key().clone()).collect::<Vec<_>>() {
                    self.react(&autoscaler);
                }
            }
            "Node" => {
                for set in self.keys_of("DaemonSet") {
                    self.react(&set);
                }
            }
            "Namespace" if object.is_terminating() => self.react(object.key()),
            _ => {}
        }
        self.notice_owners(object);
        if let Some(namespace) = object.namespace() {
            let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, namespace);
            if self.get(&key).is_some_and(Object::is_terminating) {
                self.react(&key);
            }
        }
    }

    fn notice_pod(&mut self, pod: &Object) {
        let owners: Vec<ObjectKey> = pod
            .items("/metadata/ownerReferences")
            .iter()
            .filter_map(|owner| {
                let text = |field: &str| owner.get(field)?.as_str();
                let kind = ObjectKind::new(text("apiVersion")?, text("kind")?);
                Some(ObjectKey::new(kind, pod.namespace(), text("name")?))
            })
            .collect();
        for owner in owners {
            if owner.kind.kind != "ReplicaSet" {
                self.react(&owner);
                continue;
            }
            let deployment = self.get(&owner).and_then(|set| {
                let name = set.text("/metadata/ownerReferences/0/name")?;
                Some(ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), set.namespace(), name))
            });
            if let Some(deployment) = deployment {
                self.react(&deployment);
            }
        }
        let beside = self.objects.beside("PodDisruptionBudget", pod.namespace());
        let budgets = beside.filter(|budget| covers(budget, pod));
        for budget in budgets.map(|budget| budget.key().clone()).collect::<Vec<_>>() {
            self.react(&budget);
        }
    }

    pub(super) fn react(&mut self, key: &ObjectKey) {
        // Any spread will do, as long as a seed gives it again.
        let mixed = self.version.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.seed.rotate_left(17);
        let extra = i64::try_from((mixed >> 20) % SPREAD_MS).unwrap_or_default();
        self.look_after(key, REACTION + SignedDuration::from_millis(extra));
    }

    fn reconcile(&mut self, key: &ObjectKey) {
        let Some(object) = self.get(key).cloned() else { return };
        if object.kind() == "Namespace" {
            return self.finalize_namespace(&object);
        }
        if object.is_terminating() {
            return self.end(&object);
        }
        match object.kind() {
            "Pod" => self.play_pod(&object),
            "HorizontalPodAutoscaler" => self.autoscale(&object),
            "PodDisruptionBudget" => self.budget(&object),
            "Service" => self.balance(&object),
            "Deployment" => self.deployment(&object),
            "StatefulSet" => self.stateful_set(&object),
            "DaemonSet" => self.daemon_set(&object),
            "Job" => self.job(&object),
            _ => {}
        }
    }
}
