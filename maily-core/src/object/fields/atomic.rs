//! The values of an object that server-side apply replaces as a whole.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set::{Element, Extent, FieldSet, item_key};
use crate::object::{ListKind, Object, is_atomic_map, list_kind, schema::root};

/// Lists and maps of an object that are replaced as a whole, by their place: what is left out in one of them is gone,
/// although no manager is on record for it. What a manager owns is a witness, too: maps of custom resources may be such,
/// and are owned as one then.
pub(crate) fn atomics<'a>(object: &'a Object, owned: &FieldSet) -> BTreeMap<String, &'a Value> {
    let mut atomics = Atomics(BTreeMap::new());
    for (name, value) in object.body() {
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
            let mut path = root(&object.key().kind);
            path.push(name);
            atomics.collect(value, &mut path, name.clone(), below(Some(owned), name));
        }
    }
    atomics.0
}

struct Atomics<'a>(BTreeMap<String, &'a Value>);

fn below<'o>(owned: Option<&'o FieldSet>, name: &str) -> Option<&'o FieldSet> {
    owned?.children.get(&Element::Field(name.to_owned()))
}

impl<'a> Atomics<'a> {
    fn collect(
        &mut self,
        value: &'a Value,
        path: &mut Vec<&'a str>,
        place: String,
        owned: Option<&FieldSet>,
    ) {
        match value {
            Value::Object(map)
                if !is_atomic_map(path) && owned.is_none_or(|owned| owned.extent != Extent::Whole) =>
            {
                self.fields(map, path, &place, owned);
            }
            Value::Array(items) => match list_kind(path) {
                ListKind::Map(keys) => {
                    for item in items {
                        let Value::Object(fields) = item else { continue };
                        let key = item_key(item, keys);
                        let place = format!("{place}[{key}]");
                        let owned = owned.and_then(|owned| owned.children.get(&Element::Key(key)));
                        self.fields(fields, path, &place, owned);
                    }
                }
                ListKind::Set => {}
                ListKind::Atomic => {
                    self.0.insert(place, value);
                }
            },
            Value::Object(_) => {
                self.0.insert(place, value);
            }
            _ => {}
        }
    }

    fn fields(
        &mut self,
        map: &'a Map<String, Value>,
        path: &mut Vec<&'a str>,
        place: &str,
        owned: Option<&FieldSet>,
    ) {
        for (name, inner) in map {
            path.push(name);
            self.collect(inner, path, format!("{place}.{name}"), below(owned, name));
            path.pop();
        }
    }
}
