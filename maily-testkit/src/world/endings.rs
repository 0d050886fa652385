//! How objects go: at once, after what they have made, or before it; and pods that take their time.

use jiff::{SignedDuration, Timestamp};
use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{Deleted, Dependents, Precondition},
};
use serde_json::{Value, json};

use super::{Refusal, World, requests::check};

/// Set by the server on what goes after what it has made.
const FOREGROUND: &str = "foregroundDeletion";
/// Annotation of a pod: seconds from its deletion until it is gone, such as `10s`. The test stack knows it as well.
const STOPS_AFTER: &str = "stack.maily.dev/stops-after";
/// Grace of a pod that names none.
const GRACE_S: i64 = 30;
/// So long a pod takes at least whose owner waits for it: everybody meets the moment before.
const STOPS: SignedDuration = SignedDuration::from_millis(300);

/// How long a pod says that it takes to stop.
fn stops_after(pod: &Object) -> Option<SignedDuration> {
    let seconds = pod.annotation(STOPS_AFTER)?.strip_suffix('s')?;
    Some(SignedDuration::from_secs(seconds.parse().ok()?))
}

/// When a pod that stops is gone. Its deletion says when it is to be, with its grace.
fn gone_at(pod: &Object) -> Option<Timestamp> {
    let due: Timestamp = pod.text("/metadata/deletionTimestamp")?.parse().ok()?;
    let begun = due - SignedDuration::from_secs(pod.int("/metadata/deletionGracePeriodSeconds").unwrap_or(0));
    Some(begun + stops_after(pod).unwrap_or(due.duration_since(begun)))
}

fn waits_for_dependents(object: &Object) -> bool {
    object.items("/metadata/finalizers").iter().any(|finalizer| finalizer == FOREGROUND)
}

fn without_wait(metadata: &mut Value) {
    if let Some(finalizers) = metadata["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != FOREGROUND);
        if finalizers.is_empty()
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.remove("finalizers");
        }
    }
}

impl World {
    /// Deletes an object; what it has made follows in the background.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn delete(&mut self, key: &ObjectKey, precondition: &Precondition) -> Result<Deleted, Refusal> {
        self.delete_with(key, precondition, Dependents::Follow)
    }

    /// Deletes an object, and what it has made after it or before it.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn delete_with(
        &mut self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, Refusal> {
        let Some(live) = self.get(key).cloned() else { return Ok(Deleted::AlreadyAbsent) };
        check(Some(&live), key, precondition)?;
        let uid = live.uid().unwrap_or_default().to_owned();
        if live.kind() == "Pod" && stops_after(&live).is_some() {
            self.stop(&live);
            return Ok(Deleted::Pending { uid });
        }
        let time = self.time();
        if dependents == Dependents::GoFirst && live.kind() != "Pod" {
            if !waits_for_dependents(&live) {
                self.edit(key, |body| {
                    let metadata = &mut body["metadata"];
                    if metadata["deletionTimestamp"].is_null() {
                        metadata["deletionTimestamp"] = json!(time);
                    }
                    match metadata["finalizers"].as_array_mut() {
                        Some(finalizers) => finalizers.push(json!(FOREGROUND)),
                        None => metadata["finalizers"] = json!([FOREGROUND]),
                    }
                });
            }
            self.end_dependents(&uid);
            self.look_after(key, STOPS);
            return Ok(Deleted::Pending { uid });
        }
        // Whoever deletes it in the background now waits for nothing any more.
        let finalizers = live.items("/metadata/finalizers").iter();
        let held = finalizers.filter(|finalizer| *finalizer != FOREGROUND).count() > 0;
        if !held && live.kind() != "Namespace" {
            self.remove(key);
            self.collect(&uid);
            self.undefine(&live);
            return Ok(Deleted::Gone);
        }
        self.edit(key, |body| {
            without_wait(&mut body["metadata"]);
            body["metadata"]["deletionTimestamp"] = json!(time);
        });
        Ok(Deleted::Pending { uid })
    }

    /// Removes what an object that is gone owned.
    pub(super) fn collect(&mut self, owner: &str) {
        for key in self.keys_owned_by(owner) {
            let _ = self.delete(&key, &Precondition::Any);
        }
    }

    /// With a definition all objects of its kind go.
    fn undefine(&mut self, definition: &Object) {
        let Some((group, kind)) = definition.defines() else { return };
        let of_it = self.objects.of_kind(kind).filter(|object| object.key().kind.group() == group);
        let keys: Vec<ObjectKey> = of_it.map(|object| object.key().clone()).collect();
        for key in &keys {
            self.remove(key);
        }
    }

    /// Ends what an object has made that waits for it.
    fn end_dependents(&mut self, owner: &str) {
        for key in self.keys_owned_by(owner) {
            match self.get(&key).cloned() {
                Some(pod) if pod.kind() == "Pod" => self.stop(&pod),
                Some(_) => drop(self.delete_with(&key, &Precondition::Any, Dependents::GoFirst)),
                None => {}
            }
        }
    }

    fn keys_owned_by(&self, owner: &str) -> Vec<ObjectKey> {
        self.objects.owned_by(owner).map(|object| object.key().clone()).collect()
    }

    /// A pod begins to stop.
    fn stop(&mut self, pod: &Object) {
        if pod.is_terminating() {
            return;
        }
        let takes = stops_after(pod);
        let grace = pod.int("/spec/terminationGracePeriodSeconds").unwrap_or(GRACE_S);
        let due = takes.map_or(STOPS, |_| SignedDuration::from_secs(grace));
        let takes = takes.unwrap_or(STOPS);
        let due = (self.now + due).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let has_grace = stops_after(pod).is_some();
        self.edit(pod.key(), |body| {
            body["metadata"]["deletionTimestamp"] = json!(due);
            if has_grace {
                body["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            }
        });
        self.look_after(pod.key(), takes);
    }

    /// Brings on what is on its way out.
    pub(super) fn end(&mut self, object: &Object) {
        if object.kind() == "Pod" {
            return self.end_pod(object);
        }
        let uid = object.uid().unwrap_or_default();
        if !waits_for_dependents(object) || self.objects.owned_by(uid).next().is_some() {
            return;
        }
        if object.items("/metadata/finalizers").len() > 1 {
            return self.edit(object.key(), |body| without_wait(&mut body["metadata"]));
        }
        self.remove(object.key());
    }

    fn end_pod(&mut self, pod: &Object) {
        let Some(gone) = gone_at(pod) else { return };
        if self.now < gone {
            return self.look_after(pod.key(), gone.duration_since(self.now));
        }
        if pod.items("/metadata/finalizers").is_empty() {
            self.remove(pod.key());
            self.collect(pod.uid().unwrap_or_default());
        }
    }

    /// Tells the owners of an object that wait for it that it has changed or gone.
    pub(super) fn notice_owners(&mut self, object: &Object) {
        for owner in object.items("/metadata/ownerReferences") {
            let text = |field: &str| owner.get(field)?.as_str();
            let (Some(version), Some(kind), Some(name)) = (text("apiVersion"), text("kind"), text("name"))
            else {
                continue;
            };
            let key = ObjectKey::new(ObjectKind::new(version, kind), object.namespace(), name);
            if self.get(&key).is_some_and(waits_for_dependents) {
                self.react(&key);
            }
        }
    }
}
