//! Configuration that changes under pods which stay: who changes it should know what follows by itself.

use crate::{
    engine::{Change, Note, Step},
    object::Object,
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
    let mut notes = Vec::new();
    for workload in workloads.filter(|object| object.key().kind.keeps_pods() && !rolls(object)) {
        let used = pod_references(workload);
        for change in &changed {
            let (kind, name) = (change.key.kind.kind.as_str(), &change.key.name);
            let uses = change.key.namespace == workload.key().namespace
                && used.iter().any(|used| used.kind == kind && used.name == name);
            if uses {
                let text = format!(
                    "{} changes, and the pods of {} stay: they keep variables from it until they start again, mounted \
                     files follow within a minute or two; a hash of it in the annotations of the pod template, or a \
                     name by its content, makes them follow",
                    change.key.short(),
                    workload.key().short()
                );
                notes.push(Note { topic: "configuration".to_owned(), text });
            }
        }
    }
    notes
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
