//! Configuration that changes under pods which stay: who changes it should know what follows by itself.

use crate::{
    engine::{Change, Note, Step},
    object::{Object, ObjectKey},
    source::pod_references,
};

/// Notes on ConfigMaps and Secrets that change while the pods that use them do not start again.
pub(super) fn notes<'a>(steps: &[Step], workloads: impl Iterator<Item = &'a Object>) -> Vec<Note> {
    let changes: Vec<&Change> = steps.iter().flat_map(|step| step.work.changes()).collect();
    let changed: Vec<&Change> = changes.iter().copied().filter(|change| changes_content(change)).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let rolls = |workload: &Object| {
        changes.iter().any(|change| change.key == *workload.key() && !keeps_its_pods(change))
    };
    let stay: Vec<_> = workloads
        .filter(|object| object.key().kind.keeps_pods() && !rolls(object))
        .map(|workload| (workload.key(), pod_references(workload)))
        .collect();
    let note = |change: &&Change| {
        let (kind, name) = (change.key.kind.kind.as_str(), &change.key.name);
        let uses = stay.iter().filter(|(key, used)| {
            change.key.namespace == key.namespace
                && used.iter().any(|used| used.kind == kind && used.name == name)
        });
        let users: Vec<&ObjectKey> = uses.map(|(key, _)| *key).collect();
        (!users.is_empty()).then(|| Note { topic: "configuration".to_owned(), text: told(change, &users) })
    };
    changed.iter().filter_map(note).collect()
}

/// One line for all whose pods stay: in a project of many services, one for each would hide the rest.
fn told(change: &Change, users: &[&ObjectKey]) -> String {
    let names: Vec<String> = users.iter().map(|key| key.short()).collect();
    let called: Vec<String> =
        users.iter().map(|key| format!("{}/{}", key.kind.kind.to_lowercase(), key.name)).collect();
    let namespace = change.key.namespace_option();
    format!(
        "{} changes, and the pods of {} stay: they keep variables from it until they start again, by \
         `kubectl rollout restart{namespace} {}`; mounted files follow within a minute or two; a hash of it in the \
         annotations of the pod template, or a name by its content, makes them follow",
        change.key.short(),
        names.join(", "),
        called.join(" ")
    )
}

/// Whether what pods read of a ConfigMap or Secret becomes another.
fn changes_content(change: &Change) -> bool {
    let (Some(before), Some(desired)) = (&change.before, &change.desired) else { return false };
    matches!(desired.kind(), "ConfigMap" | "Secret")
        && ["/data", "/binaryData", "/stringData"]
            .into_iter()
            .any(|path| before.object.at(path) != desired.at(path))
}

fn keeps_its_pods(change: &Change) -> bool {
    let (Some(before), Some(desired)) = (&change.before, &change.desired) else { return false };
    before.object.at("/spec/template") == desired.at("/spec/template")
}
