//! Adoption: fields of clients that deployed before become ours, and what of them the version does not set goes.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::wanted::Wanted;
use crate::{
    engine::{Change, Goal, MANAGER, Note, Operation, PROJECT, compared, is_deployer, without_bookkeeping},
    object::{FieldSet, Object, ObjectKey, lay_over, managers},
    provider::patch_of,
};

/// Clients whose fields become ours with an object.
pub(super) fn deployers(live: &Object) -> BTreeSet<String> {
    managers(live).into_iter().filter(|manager| is_deployer(manager)).map(str::to_owned).collect()
}

/// What goes when an object is adopted: fields of clients that deployed before, which the version does not set and nobody
/// else has.
pub(crate) struct Cut {
    gone: FieldSet,
    kept: FieldSet,
}

impl Cut {
    /// None where the object is ours already, or nothing goes.
    pub(crate) fn of(live: &Object, desired: &Object) -> Option<Self> {
        if live.label(PROJECT).is_some() {
            return None;
        }
        let from = deployers(live);
        let goes = |manager: &str| manager == MANAGER || from.contains(manager);
        let desired = &as_stored(desired);
        let kept = compared(desired).union(&FieldSet::owned_or_scaled_by(live, |manager| !goes(manager)));
        let gone = without_bookkeeping(FieldSet::owned_by(live, goes).difference(&kept));
        (!gone.is_empty()).then_some(Self { gone, kept })
    }

    /// What the adoption comes to, as a merge patch on what is there. `applied` is what the server makes of the apply alone,
    /// which takes nothing away that others have set; none where that does not go together, such as two sources of one
    /// volume.
    pub(crate) fn patch(&self, live: &Object, desired: &Object, applied: Option<&Object>) -> Option<Object> {
        let mut aim = applied.unwrap_or(live).to_value();
        self.gone.prune(&self.kept, &mut aim);
        if applied.is_none() {
            lay_over(&as_stored(desired), &mut aim);
        }
        let patch = patch(&content(live.to_value()), &content(aim))?;
        patch_of(live.key(), patch).ok()
    }
}

/// The server keeps texts of a Secret among its data.
fn as_stored(desired: &Object) -> Object {
    let mut stored = desired.clone();
    if desired.kind() == "Secret" && desired.at("/stringData").is_some() {
        stored.edit(|body| {
            let Some(Value::Object(texts)) = body.remove("stringData") else { return };
            let data = body.entry("data").or_insert_with(|| Map::new().into());
            for (name, text) in texts {
                data[name] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
            }
        });
    }
    stored
}

/// What is taken over, in one note however much it is, and what of it goes: a release without a question shows no fields.
pub(super) fn note(changes: &[&Change], live: &BTreeMap<ObjectKey, Object>, wanted: &Wanted) -> Option<Note> {
    let adopted: Vec<&Change> = changes
        .iter()
        .copied()
        .filter(|change| change.before.as_ref().is_some_and(|before| before.adopted))
        .filter(|change| matches!(change.operation, Operation::Adopt | Operation::Replace))
        .collect();
    let mut text = match adopted[..] {
        [] => return None,
        [one] => format!("{} is taken over", one.key),
        _ => format!("{} objects are taken over", adopted.len()),
    };
    let objects = adopted.iter().filter_map(|change| live.get(&change.key));
    let from: BTreeSet<String> = objects.flat_map(deployers).collect();
    if !from.is_empty() {
        text.push_str(&format!(" from {}", from.into_iter().collect::<Vec<_>>().join(", ")));
    }
    let fields = || adopted.iter().flat_map(|change| change.fields.iter().map(|field| (&change.key, field)));
    for (key, field) in fields().filter(|(_, field)| field.path == "spec.replicas") {
        if let (Some(from), Some(to)) = (&field.from, &field.to) {
            text.push_str(&format!("; {} goes from {from} to {to} replicas", key.short()));
        }
    }
    let gone = fields().filter(|(_, field)| field.to.is_none()).count();
    if gone > 0 {
        let (fields, go) = if gone == 1 { ("field", "goes") } else { ("fields", "go") };
        text.push_str(&format!(
            "; {gone} {fields} that the version does not set {go} ({} shows all)",
            all(wanted)
        ));
    }
    Some(Note { topic: "adopt".to_owned(), text })
}

/// What shows a plan with all its fields.
fn all(wanted: &Wanted) -> String {
    let Goal::Deploy { version, only } = &wanted.goal else {
        return "the same command with `--dry-run -v`".to_owned();
    };
    let components = only.as_ref().map(|only| format!(" --components {}", only.join(",")));
    format!(
        "`mailyctl plan --env {} --version {version}{} -v`",
        wanted.environment,
        components.unwrap_or_default()
    )
}

/// What clients set of an object.
fn content(mut object: Value) -> Value {
    if let Some(body) = object.as_object_mut() {
        body.remove("status");
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| {
                matches!(field.as_str(), "labels" | "annotations" | "finalizers" | "ownerReferences")
            });
        }
    }
    object
}

/// The merge patch from one value to another; none where they are the same.
fn patch(from: &Value, to: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        return (from != to).then(|| to.clone());
    };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let set = new.iter().filter_map(|(key, wanted)| {
        let change = match old.get(key) {
            Some(found) => patch(found, wanted)?,
            None => wanted.clone(),
        };
        Some((key.clone(), change))
    });
    let patch: Map<String, Value> = gone.chain(set).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}
