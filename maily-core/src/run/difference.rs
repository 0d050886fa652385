//! The difference of two objects, field by field, for people.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{FieldChange, MANAGER, SUSPEND, compared};
use crate::object::{FieldSet, ListKind, Object, covers, list_kind, root};

/// Fields that differ between two objects, in order. Identity is not compared.
pub fn difference(from: &Object, to: &Object) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    if from.body() != to.body() {
        let keys = names([Some(from.body()), Some(to.body())]);
        let (of_from, of_to) = (|key| from.body().get(key), |key| to.body().get(key));
        let mut path = root(&to.key().kind);
        for key in keys {
            path.push(key);
            compare(of_from(key), of_to(key), &mut path, key.to_owned(), &mut changes);
            path.pop();
        }
    }
    changes
}

/// The keys of two maps.
fn names(maps: [Option<&Map<String, Value>>; 2]) -> Vec<&str> {
    let mut keys: Vec<&str> =
        maps.into_iter().flatten().flat_map(|map| map.keys().map(String::as_str)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Fields in which an object is not what was wanted; what nobody wanted is not compared. `now` is what of the live object
/// is compared. Who changes a field owns it: of what we own alone the server has filled in defaults, or has written it in
/// its own way, as `1000m` CPUs are 1.
pub(crate) fn drifted(wanted: &Object, now: &Object, live: &Object) -> Vec<FieldChange> {
    let ours = FieldSet::owned_by(live, |manager| manager == MANAGER);
    let others = FieldSet::owned_or_scaled_by(live, |manager| manager != MANAGER);
    let of_others = of_either(wanted, now).difference(&ours.difference(&others));
    let found = told_of(wanted, now, &of_others, &ours);
    // A run of ours may have written it that made no release.
    if found.is_empty() { differing(wanted, now, live) } else { found }
}

/// The same, of what we own alone as well: a run that made no release has written it.
pub(crate) fn differing(wanted: &Object, now: &Object, live: &Object) -> Vec<FieldChange> {
    told_of(wanted, now, &of_either(wanted, now), &FieldSet::owned_by(live, |manager| manager == MANAGER))
}

fn of_either(wanted: &Object, now: &Object) -> FieldSet {
    compared(wanted).union(&compared(now))
}

fn told_of(wanted: &Object, now: &Object, scope: &FieldSet, ours: &FieldSet) -> Vec<FieldChange> {
    difference(&scope.project(wanted), &scope.project(now))
        .into_iter()
        .filter(|field| !(wanted.is_suspended() && field.path == SUSPEND.join(".")))
        // The server drops what is empty.
        .filter(|field| {
            field.to.is_some() || !matches!(field.from.as_deref(), Some("" | "null" | "{}" | "[]"))
        })
        // A list that is one value, and that another has written as it was wanted, has its defaults as well.
        .filter(|field| {
            let pointer = format!("/{}", field.path.replace('.', "/"));
            let lists = now.at(&pointer).zip(wanted.at(&pointer));
            let is_covered = |(now, wanted): (&Value, &Value)| now.is_array() && covers(now, wanted);
            let path: Vec<&str> = field.path.split('.').collect();
            !(lists.is_some_and(is_covered) && ours.contains_whole(&path))
        })
        .collect()
}

/// So many characters of a value are told: a value may be a whole file, and what is told goes on record.
const LONGEST: usize = 200;

/// A change for people, such as `spec.replicas 2 -> 3`.
pub(crate) fn told(field: &FieldChange) -> String {
    match (&field.from, &field.to) {
        (Some(from), Some(to)) => format!("{} {} -> {}", field.path, brief(from), brief(to)),
        (None, Some(to)) => format!("{} {}", field.path, brief(to)),
        (_, None) => format!("{} removed", field.path),
    }
}

/// The beginning of the first line of a value.
fn brief(value: &str) -> String {
    let told: String = value.chars().take_while(|c| *c != '\n').take(LONGEST).collect();
    if told.len() == value.len() { told } else { format!("{told}…") }
}

/// Keys of list items have defaults of the server, which tell nothing of the item.
fn key_or_default<'a>(item: &'a Value, key: &str) -> Option<&'a Value> {
    static TCP: LazyLock<Value> = LazyLock::new(|| Value::String("TCP".to_owned()));
    item.get(key).or_else(|| (key == "protocol").then_some(&*TCP))
}

fn compare<'a>(
    from: Option<&'a Value>,
    to: Option<&'a Value>,
    path: &mut Vec<&'a str>,
    shown: String,
    changes: &mut Vec<FieldChange>,
) {
    if from == to {
        return;
    }
    match (from, to) {
        (Some(Value::Object(_)) | None, Some(Value::Object(_)) | None) => {
            let mut keys = names([from, to].map(|value| value.and_then(Value::as_object)));
            if keys.is_empty() {
                changes.push(change(shown, from, to));
                return;
            }
            if let (ListKind::Map(of_item), Some(old), Some(new)) = (list_kind(path), from, to) {
                keys.retain(|key| {
                    !of_item.contains(key) || key_or_default(old, key) != key_or_default(new, key)
                });
            }
            for key in keys {
                path.push(key);
                let next = format!("{shown}.{key}");
                compare(from.and_then(|v| v.get(key)), to.and_then(|v| v.get(key)), path, next, changes);
                path.pop();
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => match list_kind(path) {
            ListKind::Map(keys) => {
                let name = |item: &Value| -> Option<String> {
                    let parts: Vec<String> =
                        keys.iter().filter_map(|key| key_or_default(item, key)).map(text).collect();
                    if parts.is_empty() { None } else { Some(parts.join(",")) }
                };
                let mut names: Vec<String> = Vec::new();
                for item in old.iter().chain(new) {
                    if let Some(name) = name(item).filter(|name| !names.contains(name)) {
                        names.push(name);
                    }
                }
                for wanted in names {
                    let find = |items: &'a [Value]| {
                        items.iter().find(|item| name(item).as_deref() == Some(wanted.as_str()))
                    };
                    compare(find(old), find(new), path, format!("{shown}[{wanted}]"), changes);
                }
            }
            ListKind::Set | ListKind::Atomic => changes.push(change(shown, from, to)),
        },
        _ => changes.push(change(shown, from, to)),
    }
}

fn change(path: String, from: Option<&Value>, to: Option<&Value>) -> FieldChange {
    FieldChange { path, from: from.map(text), to: to.map(text) }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(image: &str, replicas: Option<u32>) -> Object {
        let mut body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}});
        if let Some(replicas) = replicas {
            body["spec"]["replicas"] = replicas.into();
        }
        Object::from_value(body).expect("an object")
    }

    #[test]
    fn list_items_are_named_by_their_key() {
        let changes = difference(&deployment("a:1", Some(2)), &deployment("a:2", None));
        let shown: Vec<_> =
            changes.iter().map(|c| (c.path.as_str(), c.from.as_deref(), c.to.as_deref())).collect();
        assert_eq!(
            shown,
            [
                ("spec.replicas", Some("2"), None),
                ("spec.template.spec.containers[app].image", Some("a:1"), Some("a:2")),
            ]
        );
    }

    #[test]
    fn what_the_server_adds_to_a_wanted_list_item_is_no_drift() {
        let service = |ports: Value| {
            Object::from_value(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
                "spec": {"ports": ports}}))
            .expect("an object")
        };
        let wanted = service(json!([{"port": 80, "targetPort": 8080}, {"port": 443}]));
        // As the projection on what is wanted makes it: keys are always there.
        let now = |target: u32| {
            service(
                json!([{"port": 80, "protocol": "TCP", "targetPort": target}, {"port": 443, "protocol": "TCP"}]),
            )
        };
        assert_eq!(drifted(&wanted, &now(8080), &now(8080)), []);
        let changed: Vec<String> = drifted(&wanted, &now(9090), &now(9090)).iter().map(told).collect();
        assert_eq!(changed, ["spec.ports[80,TCP].targetPort 8080 -> 9090"]);
        let (two, none) = (deployment("a:1", Some(2)), deployment("a:1", None));
        let gone: Vec<String> = drifted(&two, &none, &none).iter().map(told).collect();
        assert_eq!(gone, ["spec.replicas removed"]);
    }

    #[test]
    fn of_a_long_value_the_beginning_is_told() {
        let field = |from: &str, to: &str| {
            told(&change("data.file".to_owned(), Some(&from.into()), Some(&to.into())))
        };
        assert_eq!(field("a", "b"), "data.file a -> b");
        assert_eq!(field("size 1\ncolour red\n", "size 2\ncolour red\n"), "data.file size 1… -> size 2…");
        let file = "é".repeat(1 << 20);
        assert_eq!(field("", &file), format!("data.file  -> {}…", "é".repeat(LONGEST)));
    }

    #[test]
    fn equal_objects_have_none() {
        assert!(difference(&deployment("a:1", None), &deployment("a:1", None)).is_empty());
    }
}
