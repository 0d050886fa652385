//! What a release does to pods: it marks them, and deletes one that is in the way of its StatefulSet.

use maily_core::{
    engine::epoch_of,
    object::{Object, ObjectKey, ObjectKind},
};

use super::{Deed, Witness};
use crate::world::World;

impl Witness {
    /// Only a pod goes that serves nobody, and none any more for whoever was taken over.
    pub(super) fn pod(&mut self, deed: &Deed<'_>, world: &World) {
        let Some(old) = &deed.old else {
            return self.violation("I10", format!("{:?} makes {}", deed.by, deed.key));
        };
        let set = owner(old).and_then(|set| world.get(&set));
        let Some(environment) = set.map(Self::environment) else {
            return self.violation("I10", format!("{:?}: {} is of no StatefulSet", deed.by, deed.key));
        };
        let held = self.held.get(&(deed.by, environment.clone())).copied();
        let Some(epoch) = deed.body.and_then(epoch_of).map(|epoch| epoch.0).or(held) else {
            return self.violation("I2", format!("{} without an epoch", deed.key));
        };
        let newest = self.newest.entry(old.uid().unwrap_or_default().to_owned()).or_default();
        let before = std::mem::replace(newest, epoch.max(*newest));
        let run = self.claims.get(&(environment, epoch)).cloned().unwrap_or_default();
        let went_on = self.went_on.get(&run).copied().unwrap_or_default();
        let newer = before.max(went_on);
        if epoch < newer {
            let what = format!(
                "{:?}: {} of epoch {epoch} on {} after epoch {newer}",
                deed.by, deed.operation, deed.key
            );
            self.violation("I2", what);
        }
        let ready = |one: &serde_json::Value| one["type"] == "Ready" && one["status"] == "True";
        if deed.operation == "delete" && old.items("/status/conditions").iter().any(ready) {
            self.violation("I10", format!("{:?} deletes {}, which serves", deed.by, deed.key));
        }
    }
}

/// The StatefulSet that made a pod.
fn owner(pod: &Object) -> Option<ObjectKey> {
    let owner = pod.items("/metadata/ownerReferences").first()?;
    let kind = ObjectKind::new("apps/v1", "StatefulSet");
    let name = owner["name"].as_str().filter(|_| owner["kind"] == "StatefulSet")?;
    Some(ObjectKey::new(kind, pod.namespace(), name))
}
