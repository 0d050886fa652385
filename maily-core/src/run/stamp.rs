//! What we write on every object: whose it is, and which attempt of which epoch wrote it last.
//!
//! An identical apply does not change the resource version, so that a late twin of an unanswered call could still
//! land. The stamp makes every attempt different.

use super::{Epoch, RunId, StepId};
use crate::object::{FieldSet, Object};

/// Field manager of everything that belongs to an application.
pub const MANAGER: &str = "maily";
/// Field manager of our own records, which the fence must not judge.
pub const RECORDS_MANAGER: &str = "maily-records";
/// Field manager that holds replicas while an autoscaler takes them over.
pub const SCALE_MANAGER: &str = "maily-scale";
/// Label: the environment.
pub const ENVIRONMENT: &str = "maily.dev/environment";
/// Label: the namespace of the environment, wherever the object stands: two environments of one name on a cluster
/// have an epoch each.
pub const NAMESPACE: &str = "maily.dev/namespace";
/// Label: the project.
pub const PROJECT: &str = "maily.dev/project";
/// Label: the service, where the object belongs to one.
pub const SERVICE: &str = "maily.dev/service";
/// Annotation: the epoch of the last write; the fence compares it.
pub const EPOCH: &str = "maily.dev/epoch";
/// Annotation: run, step, direction and attempt of the last write.
pub const STAMP: &str = "maily.dev/stamp";

/// Annotation: what kubectl applied last, with values of Secrets in plain text.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether a write belongs to a step or to its undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the new state.
    Forward,
    /// To the captured state.
    Back,
}

/// One attempt at writing one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Epoch of the writer.
    pub epoch: Epoch,
    /// Run of the writer.
    pub run: RunId,
    /// Step of the run.
    pub step: StepId,
    /// Forward or back.
    pub direction: Direction,
    /// Counts the sends of this process, so that no two are equal.
    pub attempt: u64,
}

impl Stamp {
    fn text(&self) -> String {
        let direction = match self.direction {
            Direction::Forward => "forward",
            Direction::Back => "back",
        };
        format!("{} {} {} {}", self.run, self.step, direction, self.attempt)
    }

    /// Writes the stamp on an object.
    pub fn put(&self, object: &mut Object) {
        object.set_annotation(EPOCH, Some(&self.epoch.to_string()));
        object.set_annotation(STAMP, Some(&self.text()));
    }
}

/// The epoch that an object carries. A copied or damaged annotation counts as none.
pub fn epoch_of(object: &Object) -> Option<Epoch> {
    epoch_from(object.annotation(EPOCH)?)
}

/// An epoch as it is written: what does not look like one counts as none.
pub(crate) fn epoch_from(text: &str) -> Option<Epoch> {
    let numeric = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if numeric { text.parse().ok().map(Epoch) } else { None }
}

/// More than any epoch, and as many digits as one may have.
const BEYOND: u64 = 999_999_999_999_999;

/// The stamp of a dry run for a plan: nobody holds the environment yet, nothing is stored, and no fence may judge it.
pub(crate) fn beyond_any_epoch(object: &mut Object) {
    object.set_annotation(EPOCH, Some(&BEYOND.to_string()));
}

/// Whether an object carries an epoch above which there is none for a run.
pub(crate) fn is_beyond_any_epoch(object: &Object) -> bool {
    epoch_of(object).is_some_and(|epoch| epoch.0 + 1 >= BEYOND)
}

/// Whether an object carries the labels of a project's environment.
pub(crate) fn belongs_to(object: &Object, project: &str, environment: &str) -> bool {
    object.label(PROJECT) == Some(project) && object.label(ENVIRONMENT) == Some(environment)
}

/// Labels by which an object belongs to an environment, and a fence judges it, that are not as they should be: each with
/// what it is now.
pub(crate) fn foreign_labels(
    live: &Object,
    project: &str,
    environment: &str,
    namespace: &str,
) -> Vec<(&'static str, String)> {
    [(PROJECT, project), (ENVIRONMENT, environment), (NAMESPACE, namespace)]
        .into_iter()
        .filter(|(label, ours)| live.label(label) != Some(ours))
        .map(|(label, _)| (label, live.label(label).map_or("gone".to_owned(), |other| format!("`{other}`"))))
        .collect()
}

/// The run that wrote an object last.
pub fn run_of(object: &Object) -> Option<RunId> {
    object.annotation(STAMP)?.split(' ').next().map(RunId::from)
}

/// The run that brought an object where it is going: none where its last write took it back.
pub(crate) fn forward_run_of(object: &Object) -> Option<RunId> {
    let mut words = object.annotation(STAMP)?.split(' ');
    let run = words.next()?;
    (words.nth(1) == Some("forward")).then(|| RunId::from(run))
}

/// Whether a run has brought an object where it is since a release that a run has made in an epoch: a run that made none.
/// What a takeover has only marked carries its epoch, and is as its own run has left it.
pub(crate) fn is_left_since(object: &Object, release: Option<(&RunId, Epoch)>) -> bool {
    let written = forward_run_of(object).zip(epoch_of(object));
    release.zip(written).is_some_and(|((maker, made), (run, written))| written > made && run != *maker)
}

/// What controllers of workloads count on them. They write it themselves after every write, also of what is made again.
const OF_CONTROLLERS: [&str; 2] =
    ["deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"];

/// Takes out of a field set what no comparison may depend on: our own bookkeeping, that of controllers, and kubectl's
/// copy of what it applied last, which holds the values of Secrets in plain text.
pub(crate) fn without_bookkeeping(fields: FieldSet) -> FieldSet {
    let mut fields = fields;
    for label in [ENVIRONMENT, NAMESPACE, PROJECT, SERVICE] {
        fields = fields.without(&["metadata", "labels", label]);
    }
    for annotation in [EPOCH, STAMP, LAST_APPLIED].into_iter().chain(OF_CONTROLLERS) {
        fields = fields.without(&["metadata", "annotations", annotation]);
    }
    fields
}

/// The fields by which an object is compared with what is wanted of it. That a Job is to be suspended is a wish for when
/// it is made: whoever lets it run then does what it is suspended for.
pub(crate) fn compared(wanted: &Object) -> FieldSet {
    let fields = without_bookkeeping(FieldSet::of(wanted));
    if wanted.is_suspended() { fields.without(&SUSPEND) } else { fields }
}

/// Where a Job says whether it is suspended.
pub(crate) const SUSPEND: [&str; 2] = ["spec", "suspend"];

/// Removes bookkeeping from an object, and an annotation or label map that is left empty.
pub(crate) fn strip_bookkeeping(object: &mut Object) {
    for label in [ENVIRONMENT, NAMESPACE, PROJECT, SERVICE] {
        object.set_label(label, None);
    }
    for annotation in [EPOCH, STAMP, LAST_APPLIED].into_iter().chain(OF_CONTROLLERS) {
        object.set_annotation(annotation, None);
    }
    let maps = [("labels", "/metadata/labels"), ("annotations", "/metadata/annotations")];
    for (map, path) in maps {
        // An object that is shared is copied by any edit, also by one that changes nothing.
        if object.at(path).and_then(|map| map.as_object()).is_some_and(serde_json::Map::is_empty) {
            object.edit(|body| {
                let metadata = body.get_mut("metadata").and_then(|metadata| metadata.as_object_mut());
                metadata.and_then(|metadata| metadata.remove(map));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object() -> Object {
        Object::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}))
            .expect("an object")
    }

    #[test]
    fn a_stamp_is_found_again_and_no_other_attempt_is() {
        let stamp = Stamp {
            epoch: Epoch(7),
            run: RunId::from("r1"),
            step: StepId::new("e", "s", "rollout"),
            direction: Direction::Forward,
            attempt: 1,
        };
        let mut object = object();
        stamp.put(&mut object);
        let carried = object.annotation(STAMP).map(str::to_owned);
        assert_eq!(carried.as_ref(), Some(&stamp.text()));
        assert_ne!(carried, Some(Stamp { attempt: 2, ..stamp }.text()));
        assert_eq!(epoch_of(&object), Some(Epoch(7)));
        assert_eq!(run_of(&object), Some(RunId::from("r1")));
    }

    #[test]
    fn a_damaged_epoch_counts_as_none() {
        for text in ["", "x", "-1", "1234567890123456", "7 "] {
            let mut object = object();
            object.set_annotation(EPOCH, Some(text));
            assert_eq!(epoch_of(&object), None, "{text:?}");
        }
    }
}
