//! Laying an object over another one, as an apply does: maps and keyed lists are joined, everything else is replaced.

use serde_json::{Map, Value};

use crate::object::{ListKind, Object, is_atomic_map, list_kind, schema::root};

/// Lays what is wanted over a body of the same object. What is null is not wanted.
pub fn lay_over(wanted: &Object, body: &mut Value) {
    if let Value::Object(body) = body {
        join_maps(body, wanted.body(), &mut root(&wanted.key().kind));
    }
}

fn join_maps<'a>(found: &mut Map<String, Value>, wanted: &'a Map<String, Value>, path: &mut Vec<&'a str>) {
    for (name, wanted) in wanted.iter().filter(|(_, wanted)| !wanted.is_null()) {
        path.push(name);
        match found.get_mut(name) {
            Some(found) => join(found, wanted, path),
            None => {
                found.insert(name.clone(), wanted.clone());
            }
        }
        path.pop();
    }
}

fn join<'a>(found: &mut Value, wanted: &'a Value, path: &mut Vec<&'a str>) {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) if !is_atomic_map(path) => {
            join_maps(found, wanted, path);
        }
        (Value::Array(found), Value::Array(wanted)) => match list_kind(path) {
            ListKind::Atomic => found.clone_from(wanted),
            ListKind::Set => {
                for item in wanted {
                    if !found.contains(item) {
                        found.push(item.clone());
                    }
                }
            }
            ListKind::Map(keys) => {
                for item in wanted {
                    match found.iter_mut().find(|found| is_same(found, item, keys)) {
                        Some(found) => join(found, item, path),
                        None => found.push(item.clone()),
                    }
                }
            }
        },
        (found, wanted) => found.clone_from(wanted),
    }
}

fn is_same(one: &Value, other: &Value, keys: &[&str]) -> bool {
    // A port without a protocol is a TCP port.
    let tcp = Value::String("TCP".to_owned());
    let key =
        |item: &Value, key: &str| item.get(key).cloned().or_else(|| (key == "protocol").then(|| tcp.clone()));
    keys.iter().all(|name| key(one, name) == key(other, name))
}

/// Whether everything that is wanted is there; the server adds defaults.
pub(crate) fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, wanted)| live.get(key).is_some_and(|found| covers(found, wanted)))
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(found, wanted)| covers(found, wanted))
        }
        (live, desired) => live == desired,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_and_keyed_lists_are_joined_and_the_rest_is_replaced() {
        let object = |spec: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"}, "spec": spec});
        let pod = |container: Value, rest: Value| {
            object(json!({"paused": false, "template": {"spec": {"containers": [container, rest]}}}))
        };
        let mut body = pod(
            json!({"name": "main", "args": ["a", "b"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}),
            json!({"name": "side"}),
        );
        let wanted = pod(
            json!({"name": "main", "args": ["c"], "env": [{"name": "B", "value": "3"}, {"name": "C"}]}),
            json!({"name": "other"}),
        );
        lay_over(&Object::from_value(wanted).unwrap(), &mut body);
        let containers = &body["spec"]["template"]["spec"]["containers"];
        assert_eq!(
            containers,
            &json!([
                {"name": "main", "args": ["c"],
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C"}]},
                {"name": "side"},
                {"name": "other"},
            ])
        );
    }
}
