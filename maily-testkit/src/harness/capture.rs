//! Whether what a step captured is what was there: held against the world by other means than the engine's own.

use std::collections::BTreeSet;

use maily_core::{
    engine::{Before, Change, difference, is_secret},
    object::{FieldSet, Object},
};
use serde_json::Value;

/// How an object differs from what a change captured of it; `None` where it does not.
pub(super) fn differs(change: &Change, now: Option<&Object>) -> Option<String> {
    match (&change.before, now) {
        (None, None) => None,
        (None, Some(_)) => Some("it was captured as absent, and is there".to_owned()),
        (Some(_), None) => Some("it was captured, and is not there".to_owned()),
        (Some(before), Some(now)) => content_differs(change, before, now),
    }
}

fn content_differs(change: &Change, before: &Before, now: &Object) -> Option<String> {
    if now.uid() != Some(&before.uid) {
        return Some("another object of that name was captured".to_owned());
    }
    let scope = change.desired.as_ref().map(FieldSet::of).unwrap_or_default();
    let now = scope.union(&FieldSet::of(&before.object)).project(now);
    if is_secret(&now) && names_of_values(&before.object) != names_of_values(&now) {
        return Some("other values were captured".to_owned());
    }
    let fields = difference(&comparable(&before.object), &comparable(&now));
    let paths: Vec<&str> = fields.iter().map(|field| field.path.as_str()).take(3).collect();
    (!paths.is_empty()).then(|| format!("it was captured with other values of {}", paths.join(", ")))
}

/// Names of the values of a Secret: the values themselves are sealed where they were captured.
fn names_of_values(object: &Object) -> BTreeSet<&str> {
    let values = object.at("/data").and_then(Value::as_object);
    values.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// An object without sealed values, our own marks, and maps that are empty without them.
fn comparable(object: &Object) -> Object {
    let mut object = object.clone();
    let secret = is_secret(&object);
    object.edit(|body| {
        if secret {
            body.remove("data");
            body.remove("stringData");
        }
        let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        for map in ["labels", "annotations"] {
            let Some(fields) = metadata.get_mut(map).and_then(Value::as_object_mut) else { continue };
            fields.retain(|name, _| !name.starts_with("maily.dev/"));
            if fields.is_empty() {
                metadata.remove(map);
            }
        }
    });
    object
}
