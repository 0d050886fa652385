//! The values of an object that server-side apply replaces as a whole.

use std::collections::BTreeMap;

use serde_json::Value;

use super::set::item_key;
use crate::object::{ListKind, Object, is_atomic_map, list_kind};

/// Lists and maps of an object that are replaced as a whole, by their place: what is left out in one of them is gone,
/// although no manager is on record for it.
pub(crate) fn atomics(object: &Object) -> BTreeMap<String, &Value> {
    let mut found = BTreeMap::new();
    for (name, value) in object.body() {
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
            collect(value, &mut vec![name], name.clone(), &mut found);
        }
    }
    found
}

fn collect<'a>(
    value: &'a Value,
    path: &mut Vec<&'a str>,
    place: String,
    found: &mut BTreeMap<String, &'a Value>,
) {
    match value {
        Value::Object(map) if !is_atomic_map(path) => {
            for (name, inner) in map {
                path.push(name);
                collect(inner, path, format!("{place}.{name}"), found);
                path.pop();
            }
        }
        Value::Array(items) => match list_kind(path) {
            ListKind::Map(keys) => {
                for item in items {
                    let Value::Object(fields) = item else { continue };
                    let place = format!("{place}[{}]", item_key(item, keys));
                    for (name, inner) in fields {
                        path.push(name);
                        collect(inner, path, format!("{place}.{name}"), found);
                        path.pop();
                    }
                }
            }
            ListKind::Set => {}
            ListKind::Atomic => {
                found.insert(place, value);
            }
        },
        Value::Object(_) => {
            found.insert(place, value);
        }
        _ => {}
    }
}
