//! What a version leaves in a namespace, and how what is there differs from it.

use maily_core::object::Object;
use serde_json::Value;

use super::stage::NOTE;
use crate::world::World;

const KEPT: &[&str] = &["name", "namespace", "labels", "annotations", "ownerReferences", "finalizers"];
const OURS: &[&str] = &["maily.dev/epoch", "maily.dev/stamp", "deployment.kubernetes.io/revision", NOTE];

/// What belongs to the application in a namespace, without what the server and the engine keep on it.
pub fn content(world: &World, namespace: &str) -> Vec<Object> {
    let mut objects: Vec<Object> = belonging(world, namespace).map(bare).collect();
    objects.sort_by(|a, b| a.key().cmp(b.key()));
    objects
}

/// Whether that is the content of a namespace. Nothing is copied to find out: most often it is.
pub(super) fn is_content(world: &World, namespace: &str, wanted: &[Object]) -> bool {
    let mut found: Vec<&Object> = belonging(world, namespace).collect();
    found.sort_by(|a, b| a.key().cmp(b.key()));
    found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| is_bare(found, wanted))
}

fn belonging<'a>(world: &'a World, namespace: &'a str) -> impl Iterator<Item = &'a Object> {
    world.objects().filter(move |object| {
        object.namespace() == Some(namespace)
            && object.label("maily.dev/project").is_some()
            // A run's Jobs tell of the run, not of the application.
            && object.kind() != "Job"
    })
}

/// An object without what the server and the engine keep on it.
fn bare(object: &Object) -> Object {
    let mut body = serde_json::Map::new();
    for (field, value) in object.body().iter().filter(|(field, _)| *field != "status") {
        body.insert(field.clone(), if field == "metadata" { bare_metadata(value) } else { value.clone() });
    }
    if object.kind() == "Service"
        && let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("clusterIP");
    }
    Object::from_value(Value::Object(body)).unwrap_or_else(|_| object.clone())
}

fn bare_metadata(metadata: &Value) -> Value {
    let fields = metadata.as_object().into_iter().flatten();
    let mut bare: serde_json::Map<String, Value> = fields
        .filter(|(field, _)| KEPT.contains(&field.as_str()))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    if let Some(annotations) = bare.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| !OURS.contains(&name.as_str()));
        if annotations.is_empty() {
            bare.remove("annotations");
        }
    }
    Value::Object(bare)
}

/// Whether an object without all that is this one.
fn is_bare(object: &Object, wanted: &Object) -> bool {
    let mut others = wanted.body().iter();
    let fields = object.body().iter().filter(|(field, _)| *field != "status");
    for (field, value) in fields {
        let same = |other: &Value| match field.as_str() {
            "metadata" => is_bare_metadata(value, other),
            "spec" if object.kind() == "Service" => {
                let set = value.as_object().into_iter().flatten().filter(|(field, _)| *field != "clusterIP");
                other.as_object().is_some_and(|other| set.eq(other))
            }
            _ => value == other,
        };
        if !others.next().is_some_and(|(name, other)| name == field && same(other)) {
            return false;
        }
    }
    object.key() == wanted.key() && others.next().is_none()
}

fn is_bare_metadata(metadata: &Value, wanted: &Value) -> bool {
    fn own(annotations: &Value) -> impl Iterator<Item = (&String, &Value)> {
        annotations.as_object().into_iter().flatten().filter(|(name, _)| !OURS.contains(&name.as_str()))
    }
    let mut others = wanted.as_object().into_iter().flatten();
    for (field, value) in metadata.as_object().into_iter().flatten() {
        let annotations = field == "annotations" && value.is_object();
        if !KEPT.contains(&field.as_str()) || (annotations && own(value).next().is_none()) {
            continue;
        }
        let same = |other: &Value| match other.as_object() {
            Some(other) if annotations => own(value).eq(other),
            _ => value == other,
        };
        if !others.next().is_some_and(|(name, other)| name == field && same(other)) {
            return false;
        }
    }
    others.next().is_none()
}

/// How what is there differs from what is wanted: the first few differences, in words.
pub(super) fn differences(wanted: &[Object], found: &[Object]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for object in wanted {
        match found.iter().find(|other| other.key() == object.key()) {
            None => all.push(format!("{} is missing", object.key())),
            Some(other) => {
                let fields = maily_core::engine::difference(object, other);
                let said = |field: maily_core::engine::FieldChange| {
                    format!("{}: {} is {:?}, not {:?}", object.key(), field.path, field.to, field.from)
                };
                all.extend(fields.into_iter().map(said));
            }
        }
    }
    let wanted_there = |object: &&Object| wanted.iter().any(|other| other.key() == object.key());
    all.extend(found.iter().filter(|o| !wanted_there(o)).map(|object| format!("{} is there", object.key())));
    all.truncate(4);
    all
}

#[cfg(test)]
mod tests {
    use maily_core::provider::{Precondition, WriteOptions};
    use serde_json::json;

    use super::*;

    fn world() -> World {
        let mut world = World::new(jiff::Timestamp::UNIX_EPOCH, 1, &["shop"]);
        let labels = json!({"maily.dev/project": "shop", "app": "api"});
        let metadata = |name: &str, annotations: Value| json!({"name": name, "namespace": "shop", "labels": labels, "annotations": annotations});
        let template = json!({"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
        let objects = [
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata("api", json!({"maily.dev/epoch": "3"})),
                "spec": {"ports": [{"port": 80}]}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("api", json!({"mine": "1"})),
                "spec": {"selector": {"matchLabels": {"app": "api"}}, "template": template}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("c", json!({})), "data": {"a": "1"}}),
        ];
        for object in objects {
            let object = Object::from_value(object).expect("an object");
            world.write(&object, &WriteOptions::apply("maily", Precondition::Any)).expect("is accepted");
        }
        let later = world.now + jiff::SignedDuration::from_secs(10);
        world.advance(later);
        world
    }

    #[test]
    fn what_is_compared_in_place_is_what_is_copied() {
        let mut world = world();
        let wanted = content(&world, "shop");
        assert_eq!(wanted.len(), 3);
        assert!(is_content(&world, "shop", &wanted));
        // What the server and the engine keep is no difference, and everything else is one.
        let edits = [
            (json!({"metadata": {"annotations": {"maily.dev/stamp": "x", NOTE: "y"}}}), true),
            (json!({"status": {"x": 1}}), true),
            (json!({"metadata": {"annotations": {"other": "1"}}}), false),
            (json!({"metadata": {"labels": {"other": "1"}}}), false),
            (json!({"metadata": {"finalizers": ["a/b"]}}), false),
            (json!({"spec": {"other": 1}}), false),
            (json!({"other": 1}), false),
        ];
        for (edit, equal) in edits {
            for object in &wanted {
                if object.kind() == "ConfigMap" && (edit.get("spec").or(edit.get("other"))).is_some() {
                    continue;
                }
                let mut edited = world.clone();
                edited.edit_as("kubectl-edit", object.key(), edit.clone()).expect("is accepted");
                let there = content(&edited, "shop");
                assert_eq!(there == wanted, equal, "{edit} of {}", object.key());
                assert_eq!(is_content(&edited, "shop", &wanted), equal, "{edit} of {}", object.key());
                assert_eq!(
                    is_content(&world, "shop", &there),
                    equal,
                    "{edit} of {}, the other way",
                    object.key()
                );
            }
        }
        assert!(!is_content(&world, "shop", &wanted[1..]));
        world.delete(wanted[0].key(), &Precondition::Any).expect("is deleted");
        assert!(!is_content(&world, "shop", &wanted));
    }
}
