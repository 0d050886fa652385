//! Deployments, StatefulSets and DaemonSets over time.

use jiff::{SignedDuration, Timestamp};
use maily_core::{
    engine::digest,
    object::{Object, ObjectKey, ObjectKind},
    provider::{Precondition, WriteOptions},
};
use serde_json::{Value, json};

use super::{World, pods::is_ready, pods::pod_key};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";
/// Length of a controller's turn.
const TURN: SignedDuration = SignedDuration::from_millis(100);

impl World {
    /// Lets time pass until a moment.
    pub fn advance(&mut self, to: Timestamp) {
        // After a long pause nothing is gained by playing every turn of it.
        let quiet = SignedDuration::from_secs(120);
        if to.duration_since(self.now) > quiet {
            for _ in 0..50 {
                self.now += TURN;
                self.turn();
            }
            self.now = to - quiet;
        }
        while self.now + TURN <= to {
            self.now += TURN;
            let before = self.version;
            self.turn();
            // Nothing moves and nothing is on its way: the rest of the time is quiet.
            if before == self.version && !self.restless() {
                self.now = to;
            }
        }
    }

    /// Whether some pod is not where it is going to be.
    fn restless(&self) -> bool {
        self.of_kind("Pod").iter().any(|pod| !is_ready(pod))
    }

    fn turn(&mut self) {
        self.play_pods();
        for autoscaler in self.all("HorizontalPodAutoscaler") {
            self.autoscale(&autoscaler);
        }
        for deployment in self.all("Deployment") {
            self.deployment(&deployment);
        }
        for set in self.all("StatefulSet") {
            self.stateful_set(&set);
        }
        for set in self.all("DaemonSet") {
            self.daemon_set(&set);
        }
        for job in self.all("Job") {
            self.job(&job);
        }
        self.finalize_namespaces();
        self.measure();
    }

    fn all(&self, kind: &str) -> Vec<Object> {
        self.of_kind(kind).into_iter().filter(|object| !object.is_terminating()).cloned().collect()
    }

    /// Pods that an object owns, by name.
    pub(super) fn pods_of(&self, owner: &Object) -> Vec<Object> {
        self.of_kind("Pod")
            .into_iter()
            .filter(|pod| {
                pod.items("/metadata/ownerReferences").iter().any(|o| o["uid"].as_str() == owner.uid())
            })
            .cloned()
            .collect()
    }

    /// Keeps the target between its bounds; load is not simulated.
    fn autoscale(&mut self, autoscaler: &Object) {
        let text = |pointer: &str| autoscaler.text(pointer).unwrap_or_default().to_owned();
        let kind =
            ObjectKind::new(text("/spec/scaleTargetRef/apiVersion"), text("/spec/scaleTargetRef/kind"));
        let key = ObjectKey::new(kind, autoscaler.namespace(), text("/spec/scaleTargetRef/name"));
        let Some(target) = self.get(&key) else { return };
        let now = target.int("/spec/replicas").unwrap_or(1);
        let least = autoscaler.int("/spec/minReplicas").unwrap_or(1);
        let wanted = now.clamp(least, autoscaler.int("/spec/maxReplicas").unwrap_or(now).max(least));
        // Zero means that somebody has turned it off.
        if wanted != now && now != 0 {
            let options = WriteOptions::merge("kube-controller-manager", Precondition::Any);
            if let Ok(patch) = maily_core::provider::patch_of(&key, json!({"spec": {"replicas": wanted}})) {
                let _ = self.write(&patch, &options);
            }
        }
    }

    fn deployment(&mut self, deployment: &Object) {
        let template = deployment.at("/spec/template").cloned().unwrap_or_default();
        let hash = digest(&template)[..10].to_owned();
        let desired = usize::try_from(deployment.int("/spec/replicas").unwrap_or(1)).unwrap_or_default();
        let name = format!("{}-{hash}", deployment.name());
        let sets: Vec<Object> = self
            .of_kind("ReplicaSet")
            .into_iter()
            .filter(|set| {
                set.items("/metadata/ownerReferences").iter().any(|o| o["uid"].as_str() == deployment.uid())
            })
            .cloned()
            .collect();
        let newest = sets.iter().filter_map(revision).max().unwrap_or_default();
        let current = sets.iter().find(|set| set.name() == name).and_then(revision);
        // A template that comes back takes its old replica set up again, under a new revision.
        let wanted = if current == Some(newest) && newest > 0 { newest } else { newest + 1 };
        let set = self.replica_set(deployment, &name, &hash, &template, wanted);
        let paused = deployment.at("/spec/paused") == Some(&json!(true));
        let new = self.pods_of(&set);
        let old: Vec<Object> =
            sets.iter().filter(|s| s.name() != name).flat_map(|s| self.pods_of(s)).collect();
        if !paused {
            self.roll(deployment, &set, &hash, &template, desired, &new, &old);
        }
        self.report(deployment, &set, &sets, desired, wanted);
    }

    fn replica_set(
        &mut self,
        deployment: &Object,
        name: &str,
        hash: &str,
        template: &Value,
        revision: u64,
    ) -> Object {
        let key = ObjectKey::new(ObjectKind::new("apps/v1", "ReplicaSet"), deployment.namespace(), name);
        if self.get(&key).is_none() {
            let (uid, time) = (self.uid(), self.time());
            let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {
                "name": name, "namespace": deployment.namespace(), "uid": uid, "creationTimestamp": time,
                "labels": {HASH: hash}, "annotations": {REVISION: revision.to_string()},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name(),
                    "uid": deployment.uid(), "controller": true}]}, "spec": {"template": template}});
            if let Ok(set) = Object::from_value(set) {
                self.put(set);
            }
        }
        self.edit(&key, |body| body["metadata"]["annotations"][REVISION] = json!(revision.to_string()));
        self.get(&key).cloned().expect("was just made")
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one rollout")]
    fn roll(
        &mut self,
        deployment: &Object,
        set: &Object,
        hash: &str,
        template: &Value,
        desired: usize,
        new: &[Object],
        old: &[Object],
    ) {
        let recreate = deployment.text("/spec/strategy/type") == Some("Recreate");
        let share = |field: &str, default: &str, up: bool| -> usize {
            let value = deployment
                .at(&format!("/spec/strategy/rollingUpdate/{field}"))
                .cloned()
                .unwrap_or(json!(default));
            match &value {
                Value::Number(number) => {
                    number.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default()
                }
                Value::String(text) => {
                    let percent: usize = text.trim_end_matches('%').parse().unwrap_or(25);
                    if up { (desired * percent).div_ceil(100) } else { desired * percent / 100 }
                }
                _ => 0,
            }
        };
        let mut unavailable = share("maxUnavailable", "25%", false);
        let surge = share("maxSurge", "25%", true);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let total = new.len() + old.len();
        let most = if recreate { desired } else { desired + surge };
        let may_make = if recreate && !old.is_empty() { 0 } else { most.saturating_sub(total) };
        for _ in 0..may_make.min(desired.saturating_sub(new.len())) {
            let suffix = format!("{:05x}", self.version.wrapping_mul(2_654_435_761) & 0xf_ffff);
            self.make_pod(set, &format!("{}-{suffix}", set.name()), template, &[(HASH, hash)]);
        }
        let available = new.iter().chain(old).filter(|pod| is_ready(pod)).count();
        let floor = if recreate { 0 } else { desired.saturating_sub(unavailable) };
        let mut spare = available.saturating_sub(floor);
        // Pods that serve nobody go first.
        let mut leaving: Vec<&Object> = old.iter().filter(|pod| !is_ready(pod)).collect();
        for pod in old.iter().filter(|pod| is_ready(pod)) {
            if spare > 0 {
                spare -= 1;
                leaving.push(pod);
            }
        }
        let surplus = new.len().saturating_sub(desired);
        leaving.extend(new.iter().rev().take(surplus));
        let leaving: Vec<ObjectKey> = leaving.into_iter().map(|pod| pod.key().clone()).collect();
        for key in leaving {
            let _ = self.delete(&key, &Precondition::Any);
        }
    }

    fn report(&mut self, deployment: &Object, set: &Object, sets: &[Object], desired: usize, revision: u64) {
        let new = self.pods_of(set);
        let old: Vec<Object> =
            sets.iter().filter(|s| s.name() != set.name()).flat_map(|s| self.pods_of(s)).collect();
        let ready = new.iter().chain(&old).filter(|pod| is_ready(pod)).count();
        let done = new.len() == desired && old.is_empty() && ready == desired;
        let time = self.time();
        let conditions = deployment.at("/status/conditions").cloned().unwrap_or_default();
        let known = conditions.get(0).cloned().unwrap_or_default();
        let fresh = known["revision"] != json!(revision.to_string());
        let updated =
            if fresh { time.clone() } else { known["lastUpdateTime"].as_str().unwrap_or(&time).to_owned() };
        let deadline = deployment.int("/spec/progressDeadlineSeconds").unwrap_or(600);
        let since: Timestamp = updated.parse().unwrap_or(self.now);
        let late = !done && self.now.duration_since(since).as_secs() >= deadline;
        let (status, reason) = match (done, late || (known["reason"] == "ProgressDeadlineExceeded" && !fresh))
        {
            (true, _) => ("True", "NewReplicaSetAvailable"),
            (false, true) => ("False", "ProgressDeadlineExceeded"),
            (false, false) => ("True", "ReplicaSetUpdated"),
        };
        let updated = if known["reason"] == reason { updated } else { time };
        let mut status = json!({
            "observedGeneration": deployment.generation(),
            "replicas": new.len() + old.len(), "updatedReplicas": new.len(),
            "readyReplicas": ready, "availableReplicas": ready,
            "conditions": [{"type": "Progressing", "status": status, "reason": reason, "revision": revision.to_string(),
                "message": format!("ReplicaSet \"{}\"", set.name()), "lastUpdateTime": updated}],
        });
        if let Some(map) = status.as_object_mut() {
            map.retain(|_, value| *value != json!(0));
        }
        self.edit(deployment.key(), |body| {
            body.insert("status".into(), status);
            let metadata = &mut body["metadata"];
            if metadata.get("annotations").is_none() {
                metadata["annotations"] = json!({});
            }
            metadata["annotations"][REVISION] = json!(revision.to_string());
        });
    }

    fn stateful_set(&mut self, set: &Object) {
        let template = set.at("/spec/template").cloned().unwrap_or_default();
        let hash = format!("{}-{}", set.name(), &digest(&template)[..10]);
        let desired = usize::try_from(set.int("/spec/replicas").unwrap_or(1)).unwrap_or_default();
        let label = "controller-revision-hash";
        let pods = self.pods_of(set);
        let find = |index: usize| pods.iter().find(|pod| pod.name() == format!("{}-{index}", set.name()));
        let mut moved = false;
        // Up in order, one after the other; changed from the last to the first.
        for index in 0..desired {
            match find(index) {
                None => {
                    self.make_pod(set, &format!("{}-{index}", set.name()), &template, &[(label, &hash)]);
                    moved = true;
                }
                Some(pod) if !is_ready(pod) => moved = true,
                Some(_) => continue,
            }
            break;
        }
        let rolls = set.text("/spec/updateStrategy/type") != Some("OnDelete");
        let partition = set.int("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        let partition = usize::try_from(partition).unwrap_or_default();
        let stale = (partition..desired).rev().filter_map(find).find(|pod| pod.label(label) != Some(&hash));
        if let Some(pod) = stale.filter(|pod| rolls && (!moved || !is_ready(pod))) {
            let key = pod.key().clone();
            let _ = self.delete(&key, &Precondition::Any);
        }
        for index in desired..pods.len() {
            let _ = self
                .delete(&pod_key(set.namespace(), &format!("{}-{index}", set.name())), &Precondition::Any);
        }
        let pods = self.pods_of(set);
        let updated = pods.iter().filter(|pod| pod.label(label) == Some(&hash)).count();
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let old = set.text("/status/currentRevision").unwrap_or(&hash).to_owned();
        let current = if updated == desired && ready == desired { hash.clone() } else { old };
        let status = json!({"observedGeneration": set.generation(), "replicas": pods.len(), "readyReplicas": ready,
            "availableReplicas": ready, "updatedReplicas": updated, "currentRevision": current, "updateRevision": hash});
        self.edit(set.key(), |body| {
            body.insert("status".into(), status);
        });
    }

    fn daemon_set(&mut self, set: &Object) {
        let template = set.at("/spec/template").cloned().unwrap_or_default();
        let hash = digest(&template)[..10].to_owned();
        let known = set.text("/status/maily-template").unwrap_or_default().to_owned();
        let generation = set.int("/status/maily-generation").unwrap_or(0) + i64::from(known != hash);
        let nodes: Vec<String> = self.of_kind("Node").iter().map(|node| node.name().to_owned()).collect();
        let (label, text) = ("pod-template-generation", generation.to_string());
        let pods = self.pods_of(set);
        let stale = pods.iter().find(|pod| pod.label(label) != Some(&text));
        let all_ready = pods.iter().all(is_ready);
        if let Some(pod) = stale.filter(|pod| all_ready || !is_ready(pod)) {
            let key = pod.key().clone();
            let _ = self.delete(&key, &Precondition::Any);
        }
        for node in &nodes {
            let name = format!("{}-{node}", set.name());
            if self.get(&pod_key(set.namespace(), &name)).is_none() {
                self.make_pod(set, &name, &template, &[(label, &text)]);
            }
        }
        let pods = self.pods_of(set);
        let updated = pods.iter().filter(|pod| pod.label(label) == Some(&text)).count();
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let status = json!({"observedGeneration": set.generation(), "desiredNumberScheduled": nodes.len(),
            "currentNumberScheduled": pods.len(), "updatedNumberScheduled": updated, "numberReady": ready,
            "numberAvailable": ready, "maily-template": hash, "maily-generation": generation});
        self.edit(set.key(), |body| {
            body.insert("status".into(), status);
            let metadata = &mut body["metadata"];
            if metadata.get("annotations").is_none() {
                metadata["annotations"] = json!({});
            }
            metadata["annotations"]["deprecated.daemonset.template.generation"] = json!(text);
        });
    }

    /// A namespace that was deleted goes when everything in it is gone.
    fn finalize_namespaces(&mut self) {
        let going: Vec<Object> =
            self.of_kind("Namespace").into_iter().filter(|n| n.is_terminating()).cloned().collect();
        for namespace in going {
            let inside: Vec<ObjectKey> = self
                .objects()
                .filter(|object| object.namespace() == Some(namespace.name()))
                .map(|object| object.key().clone())
                .collect();
            if inside.is_empty() {
                self.remove(namespace.key());
            }
            for key in inside {
                let _ = self.delete(&key, &Precondition::Any);
            }
        }
    }
}

fn revision(set: &Object) -> Option<u64> {
    set.annotation(REVISION)?.parse().ok()
}
