//! Server-side apply: who owns which field, and what an apply takes, gives and gives up.

use std::collections::BTreeSet;

use maily_core::object::{FieldSet, Object, lay_over};
use serde_json::{Map, Value, json};

/// The owners of an object's fields.
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) operation: String,
    fields: FieldSet,
    pub(super) time: String,
    /// Where the object says the same fields already.
    entry: Option<usize>,
}

impl Owner {
    fn new(manager: &str, operation: &str, fields: FieldSet, time: &str) -> Self {
        let (manager, operation, time) = (manager.to_owned(), operation.to_owned(), time.to_owned());
        Self { manager, operation, fields, time, entry: None }
    }

    /// Owns these fields from now on.
    fn hold(&mut self, fields: FieldSet) {
        if self.fields != fields {
            self.fields = fields;
            self.entry = None;
        }
    }
}

pub(super) fn owners(object: &Object) -> Vec<Owner> {
    object
        .items("/metadata/managedFields")
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.get("subresource").is_none())
        .map(|(at, entry)| {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            Owner {
                manager: text("manager"),
                operation: text("operation"),
                fields: FieldSet::of_entry(entry),
                time: text("time"),
                entry: Some(at),
            }
        })
        .collect()
}

pub(super) fn set_owners(object: &mut Object, owners: &[Owner]) {
    let api_version = object.key().kind.api_version.clone();
    object.edit(|body| {
        let mut known = body["metadata"]["managedFields"].take();
        let mut said = |at: usize| known.get_mut(at).map(|entry| entry["fieldsV1"].take());
        let entries = owners.iter().filter(|owner| !owner.fields.is_empty()).map(|owner| {
            let fields = owner.entry.and_then(&mut said).unwrap_or_else(|| owner.fields.to_fields_v1());
            json!({"manager": owner.manager, "operation": owner.operation, "apiVersion": api_version,
                "time": owner.time, "fieldsType": "FieldsV1", "fieldsV1": fields})
        });
        let entries = entries.collect();
        body["metadata"]["managedFields"] = Value::Array(entries);
    });
}

/// Fields of others that an apply would change: manager and paths.
pub(super) struct Conflict {
    pub(super) manager: String,
    pub(super) fields: Vec<String>,
}

/// What an apply makes of an object.
pub(super) fn apply(
    live: Option<&Object>,
    desired: &Object,
    manager: &str,
    force: bool,
    time: &str,
) -> Result<Object, Vec<Conflict>> {
    let wanted = FieldSet::of(desired);
    let Some(live) = live else {
        let mut object = desired.clone();
        object.edit(strip_nulls);
        set_owners(&mut object, &[Owner::new(manager, "Apply", wanted, time)]);
        return Ok(object);
    };
    let mut all = owners(live);
    let mut conflicts = Vec::new();
    for owner in all.iter_mut().filter(|owner| !(owner.manager == manager && owner.operation == "Apply")) {
        let both = owner.fields.intersection(&wanted);
        if both.is_empty() {
            continue;
        }
        let changed = maily_core::engine::difference(&both.project(live), &both.project(desired));
        if !changed.is_empty() {
            conflicts.push(Conflict {
                manager: owner.manager.clone(),
                fields: changed.into_iter().map(|field| field.path).collect(),
            });
            // Taken by force, the field is the applier's alone.
            owner.hold(owner.fields.difference(&both));
        }
    }
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    let before = all.iter().position(|owner| owner.manager == manager && owner.operation == "Apply");
    let given_up = before.map(|index| all[index].fields.difference(&wanted)).unwrap_or_default();
    let others = all
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != before)
        .fold(FieldSet::default(), |sum, (_, owner)| sum.union(&owner.fields));
    let removed = given_up.difference(&others);
    let mut body = live.to_value();
    removed.prune(&wanted.union(&others), &mut body);
    lay_over(desired, &mut body);
    let mut object = Object::from_value(body).unwrap_or_else(|_| live.clone());
    let time_of = |same: bool, old: &str| if same { old.to_owned() } else { time.to_owned() };
    match before {
        Some(index) => {
            let same = all[index].fields == wanted && same_but_managed(&object, live);
            all[index].time = time_of(same, &all[index].time);
            all[index].hold(wanted);
        }
        None => all.push(Owner::new(manager, "Apply", wanted, time)),
    }
    set_owners(&mut object, &all);
    Ok(object)
}

/// Whether two states of an object differ at most in who owns their fields.
fn same_but_managed<'a>(one: &'a Object, other: &'a Object) -> bool {
    let without = |map: &Map<String, Value>, other: &Map<String, Value>, fields: &[&str]| {
        let rest = |map: &Map<String, Value>| map.keys().filter(|k| !fields.contains(&k.as_str())).count();
        rest(map) == rest(other)
            && map.iter().filter(|(k, _)| !fields.contains(&k.as_str())).all(|(k, v)| other.get(k) == Some(v))
    };
    let metadata = |object: &'a Object| object.body().get("metadata").and_then(Value::as_object);
    let same_metadata = match (metadata(one), metadata(other)) {
        (Some(one), Some(other)) => without(one, other, &["managedFields", "resourceVersion"]),
        (one, other) => one == other,
    };
    same_metadata && without(one.body(), other.body(), &["metadata"])
}

/// What a merge patch makes of an object; the manager owns what it changed.
pub(super) fn patch(live: &Object, patch: &Object, manager: &str, time: &str) -> Object {
    let mut body = live.to_value();
    json_merge(&mut body, &patch.to_value());
    let mut object = Object::from_value(body).unwrap_or_else(|_| live.clone());
    let changed = FieldSet::of(patch);
    let mut all = owners(live);
    for owner in &mut all {
        let both = owner.fields.intersection(&changed);
        if both.project(live) != both.project(&object) {
            owner.hold(owner.fields.difference(&both));
        }
    }
    match all.iter_mut().find(|owner| owner.manager == manager && owner.operation == "Update") {
        Some(owner) => {
            owner.hold(owner.fields.union(&changed));
            time.clone_into(&mut owner.time);
        }
        None => all.push(Owner::new(manager, "Update", changed, time)),
    }
    set_owners(&mut object, &all);
    object
}

/// Moves what others own to a manager's apply, and writes the annotations that are given.
pub(super) fn migrate(
    live: &Object,
    given: &Object,
    manager: &str,
    from: &BTreeSet<String>,
    time: &str,
) -> Object {
    let mut all = owners(live);
    let legacy = |owner: &Owner| from.contains(&owner.manager);
    let taken = all
        .iter()
        .filter(|owner| legacy(owner))
        .fold(FieldSet::default(), |sum, owner| sum.union(&owner.fields));
    all.retain(|owner| !legacy(owner));
    match all.iter_mut().find(|owner| owner.manager == manager && owner.operation == "Apply") {
        Some(owner) => owner.hold(owner.fields.union(&taken)),
        None => all.push(Owner::new(manager, "Apply", taken, time)),
    }
    let mut object = live.clone();
    set_owners(&mut object, &all);
    let metadata = json!({"metadata": {"annotations": given.at("/metadata/annotations")}});
    let annotations = maily_core::provider::patch_of(live.key(), metadata);
    match annotations {
        Ok(annotations) if given.at("/metadata/annotations").is_some() => {
            let mut body = object.to_value();
            json_merge(&mut body, &annotations.to_value());
            Object::from_value(body).unwrap_or(object)
        }
        _ => object,
    }
}

fn strip_nulls(body: &mut Map<String, Value>) {
    body.retain(|_, value| !value.is_null());
    for value in body.values_mut() {
        if let Value::Object(map) = value {
            strip_nulls(map);
        }
    }
}

fn json_merge(live: &mut Value, patch: &Value) {
    let (Value::Object(live), Value::Object(patch)) = (&mut *live, patch) else {
        live.clone_from(patch);
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            live.remove(key);
        } else if let Some(found) = live.get_mut(key) {
            json_merge(found, value);
        } else {
            live.insert(key.clone(), value.clone());
        }
    }
}
