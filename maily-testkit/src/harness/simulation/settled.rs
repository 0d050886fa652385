//! What has to hold when everything is settled: the world is the new or the old release, and nothing else.

use std::sync::Arc;

use maily_core::{
    engine::Head,
    object::{Object, ObjectKey},
};

use super::Play;
use crate::harness::{
    content::{content, differences, is_content},
    place::lock,
    scheduler::Seat,
    shown,
    stage::environment,
};

impl Play {
    /// Holds the world against what a version leaves behind.
    pub(super) fn compare(&self, invariant: &str, index: usize, version: &str) {
        let resolved = &self.stage.environments[index];
        let world = self.place.world();
        let Some(wanted) = self.stage.content_of(&resolved.environment.name, version) else { return };
        let namespace = &resolved.environment.namespace;
        let shown = shown::other_versions(&world, resolved, version);
        if shown.is_empty() && is_content(&world, namespace, wanted) {
            return;
        }
        let found = content(&world, namespace);
        drop(world);
        // What a person has edited is his own.
        let edited: Vec<ObjectKey> = lock(&self.place.witness).edits().cloned().collect();
        let others = |objects: &[Object]| -> Vec<Object> {
            objects.iter().filter(|object| !edited.contains(object.key())).cloned().collect()
        };
        let mut differences = differences(&others(wanted), &others(&found));
        differences.extend(shown);
        if differences.is_empty() || lock(&self.left).contains(&index) {
            return;
        }
        let what = format!("{} is not {version}: {}", resolved.environment.name, differences.join("; "));
        lock(&self.place.witness).violation(invariant, what);
    }

    /// Holds the frontend host against the journals and the release in force.
    pub(super) fn compare_frontends(&self, index: usize, head: &Head) {
        if lock(&self.left).contains(&index) {
            return;
        }
        let world = self.place.world();
        let mut witness = lock(&self.place.witness);
        let broken = shown::broken(&world, &self.stage.environments[index], head, &witness);
        for (invariant, what) in broken {
            witness.violation(invariant, what);
        }
    }

    /// Whether a person has edited something of an environment that a release sets.
    pub(super) fn is_edited(&self, index: usize) -> bool {
        let namespace = &self.stage.environments[index].environment.namespace;
        lock(&self.place.witness).edits().any(|key| key.namespace.as_ref() == Some(namespace))
    }

    /// The world is what the release in force says, and nothing is left over.
    pub(super) async fn conclude(self: &Arc<Self>, seat: &Seat) {
        for (index, resolved) in self.stage.environments.iter().enumerate() {
            let name = &resolved.environment.name;
            let head = match environment(&self.place, seat, resolved).head().await {
                Ok(head) => head,
                Err(error) => {
                    lock(&self.place.witness).violation("I8", format!("{name} cannot be read: {error}"));
                    continue;
                }
            };
            if let Some(unfinished) = &head.unfinished {
                let run = &unfinished.recorded.run;
                lock(&self.place.witness).violation("I8", format!("{name}: run {run} has not ended"));
                continue;
            }
            let versions: Vec<&String> =
                head.release.iter().flat_map(|(_, release)| release.versions.values()).collect();
            match versions.first() {
                Some(first) if versions.iter().all(|version| version == first) => {
                    let version = (*first).clone();
                    self.compare("I12", index, &version);
                    self.compare_frontends(index, &head);
                }
                _ => lock(&self.place.witness).violation("I1", format!("{name} is mixed: {versions:?}")),
            }
        }
        let unfinished: Vec<String> =
            lock(&self.place.witness).unfinished().into_iter().map(str::to_owned).collect();
        for run in unfinished {
            lock(&self.place.witness).violation("I8", format!("run {run} has no end"));
        }
    }
}
