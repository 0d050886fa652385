//! Deployments and autoscalers over time, and namespaces on their way out.

use jiff::{SignedDuration, Timestamp};
use maily_core::{
    engine::digest,
    object::{Object, ObjectKey, ObjectKind},
    provider::{Precondition, WriteOptions},
};
use serde_json::{Value, json};

use super::{World, pods::is_ready};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";

impl World {
    /// Pods that an object owns, by name.
    pub(super) fn pods_of(&self, owner: &Object) -> Vec<Object> {
        let owned = self.objects.owned_by(owner.uid().unwrap_or_default());
        owned.filter(|object| object.kind() == "Pod").cloned().collect()
    }

    /// Pods of all replica sets but one.
    fn pods_of_others(&self, sets: &[Object], name: &str) -> Vec<Object> {
        sets.iter().filter(|set| set.name() != name).flat_map(|set| self.pods_of(set)).collect()
    }

    /// Hash of a workload's pod template.
    pub(super) fn template_hash(&mut self, workload: &Object, template: &Value) -> String {
        let (uid, generation) =
            (workload.uid().unwrap_or_default(), workload.generation().unwrap_or_default());
        if let Some((known, hash)) = self.agenda.hashes.get(uid)
            && *known == generation
        {
            return hash.clone();
        }
        let hash = digest(template)[..10].to_owned();
        self.agenda.hashes.insert(uid.to_owned(), (generation, hash.clone()));
        hash
    }

    /// Keeps the target between its bounds; load is not simulated.
    pub(super) fn autoscale(&mut self, autoscaler: &Object) {
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

    pub(super) fn deployment(&mut self, deployment: &Object) {
        let template = deployment.at("/spec/template").unwrap_or(&Value::Null);
        let hash = self.template_hash(deployment, template);
        let desired = usize::try_from(deployment.int("/spec/replicas").unwrap_or(1)).unwrap_or_default();
        let name = format!("{}-{hash}", deployment.name());
        let owned = self.objects.owned_by(deployment.uid().unwrap_or_default());
        let sets: Vec<Object> = owned.filter(|object| object.kind() == "ReplicaSet").cloned().collect();
        let newest = sets.iter().filter_map(revision).max().unwrap_or_default();
        let current = sets.iter().find(|set| set.name() == name).and_then(revision);
        // A template that comes back takes its old replica set up again, under a new revision.
        let wanted = if current == Some(newest) && newest > 0 { newest } else { newest + 1 };
        let set = self.replica_set(deployment, &name, &hash, template, wanted);
        let paused = deployment.at("/spec/paused") == Some(&json!(true));
        let new = self.pods_of(&set);
        let old = self.pods_of_others(&sets, &name);
        let before = self.version;
        if !paused {
            self.roll(deployment, &set, &hash, template, desired, &new, &old);
        }
        let (new, old) = match self.version == before {
            true => (new, old),
            false => (self.pods_of(&set), self.pods_of_others(&sets, &name)),
        };
        self.describe(deployment, &set, &new, &old, desired, wanted);
        if old.is_empty() && new.len() == desired && new.iter().all(is_ready) {
            self.trim(deployment, &sets, &name);
        }
    }

    /// Takes away the oldest replica sets beyond what a Deployment that is through keeps for a way back.
    fn trim(&mut self, deployment: &Object, sets: &[Object], current: &str) {
        let keeps =
            deployment.int("/spec/revisionHistoryLimit").and_then(|limit| usize::try_from(limit).ok());
        let mut old: Vec<&Object> = sets.iter().filter(|set| set.name() != current).collect();
        let surplus = old.len().saturating_sub(keeps.unwrap_or(10));
        old.sort_by_key(|set| revision(set));
        for key in old.into_iter().take(surplus).map(|set| set.key().clone()).collect::<Vec<_>>() {
            let _ = self.delete(&key, &Precondition::Any);
        }
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
        let revision = revision.to_string();
        if self.get(&key).and_then(|set| set.annotation(REVISION)) != Some(&*revision) {
            self.edit(&key, |body| body["metadata"]["annotations"][REVISION] = json!(revision));
        }
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

    fn describe(
        &mut self,
        deployment: &Object,
        set: &Object,
        new: &[Object],
        old: &[Object],
        desired: usize,
        revision: u64,
    ) {
        let ready = new.iter().chain(old).filter(|pod| is_ready(pod)).count();
        let done = new.len() == desired && old.is_empty() && ready == desired;
        let (time, revision) = (self.time(), revision.to_string());
        let known = |field: &str| deployment.items("/status/conditions").first()?.get(field)?.as_str();
        let fresh = known("revision") != Some(&*revision);
        let updated = known("lastUpdateTime").filter(|_| !fresh).unwrap_or(&time);
        let deadline = deployment.int("/spec/progressDeadlineSeconds").unwrap_or(600);
        let since: Timestamp = updated.parse().unwrap_or(self.now);
        let late = !done && self.now.duration_since(since).as_secs() >= deadline;
        let was_late = known("reason") == Some("ProgressDeadlineExceeded") && !fresh;
        let (status, reason) = match (done, late || was_late) {
            (true, _) => ("True", "NewReplicaSetAvailable"),
            (false, true) => ("False", "ProgressDeadlineExceeded"),
            (false, false) => ("True", "ReplicaSetUpdated"),
        };
        let updated = if known("reason") == Some(reason) { updated } else { &time };
        if !done && !late {
            let due = since + SignedDuration::from_secs(deadline);
            self.look_after(deployment.key(), due.duration_since(self.now));
        }
        let counts = [
            ("replicas", new.len() + old.len()),
            ("updatedReplicas", new.len()),
            ("readyReplicas", ready),
            ("availableReplicas", ready),
        ];
        let count = |field: &str| deployment.body().get("status")?.get(field)?.as_u64();
        let told = deployment.annotation(REVISION) == Some(&*revision)
            && deployment.int("/status/observedGeneration") == deployment.generation()
            && counts.iter().all(|(field, now)| count(field).unwrap_or_default() == *now as u64)
            && known("reason") == Some(reason)
            && known("lastUpdateTime") == Some(updated);
        if told && !fresh {
            return;
        }
        let mut status = json!({
            "observedGeneration": deployment.generation(),
            "conditions": [{"type": "Progressing", "status": status, "reason": reason, "revision": revision,
                "message": format!("ReplicaSet \"{}\"", set.name()), "lastUpdateTime": updated}],
        });
        for (field, now) in counts.into_iter().filter(|(_, now)| *now > 0) {
            status[field] = json!(now);
        }
        self.report(deployment.key(), |body| {
            body.insert("status".into(), status);
            let metadata = &mut body["metadata"];
            if metadata.get("annotations").is_none() {
                metadata["annotations"] = json!({});
            }
            metadata["annotations"][REVISION] = json!(revision);
        });
    }

    /// A namespace that was deleted goes when everything in it is gone.
    pub(super) fn finalize_namespace(&mut self, namespace: &Object) {
        if !namespace.is_terminating() {
            return;
        }
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

fn revision(set: &Object) -> Option<u64> {
    set.annotation(REVISION)?.parse().ok()
}
