//! Cutting along a set: the part of an object that is in it, and what is left without that.

use serde_json::{Map, Value};

use super::set::{Element, Extent, FieldSet, item_key};
use crate::object::{ListKind, Object, ObjectKind, list_kind, schema::root};

/// Maps of metadata in which bookkeeping stands.
const MARKS: [&str; 2] = ["annotations", "labels"];

impl FieldSet {
    /// The part of an object that is in the set; identity is always in it.
    pub fn project(&self, object: &Object) -> Object {
        let mut body = Map::new();
        for (element, child) in &self.children {
            if let Element::Field(name) = element
                && let Some(value) = object.body().get(name)
                && let Some(projected) =
                    child.project_value(value, &mut below(root(&object.key().kind), name))
            {
                body.insert(name.clone(), projected);
            }
        }
        object.with_body(body)
    }

    fn project_value<'a>(&'a self, value: &Value, path: &mut Vec<&'a str>) -> Option<Value> {
        if self.extent == Extent::Whole {
            return Some(value.clone());
        }
        let itself = self.extent == Extent::Itself;
        match value {
            Value::Object(map) => {
                let mut out = Map::new();
                for (element, child) in &self.children {
                    let Element::Field(name) = element else { continue };
                    let Some(inner) = map.get(name) else { continue };
                    path.push(name);
                    if let Some(projected) = child.project_value(inner, path) {
                        out.insert(name.clone(), projected);
                    }
                    path.pop();
                }
                (itself || !out.is_empty()).then_some(Value::Object(out))
            }
            Value::Array(items) => {
                let out: Vec<Value> = match list_kind(path) {
                    ListKind::Map(keys) => items
                        .iter()
                        .filter_map(|item| {
                            let child = self.children.get(&Element::Key(item_key(item, keys)))?;
                            let mut projected =
                                child.project_value(item, path).unwrap_or_else(|| Value::Object(Map::new()));
                            if let (Value::Object(out), Value::Object(item)) = (&mut projected, item) {
                                for key in keys {
                                    if let Some(value) = item.get(*key) {
                                        out.insert((*key).to_owned(), value.clone());
                                    }
                                }
                            }
                            Some(projected)
                        })
                        .collect(),
                    ListKind::Set => items
                        .iter()
                        .filter(|item| self.children.contains_key(&Element::Member(item.to_string())))
                        .cloned()
                        .collect(),
                    ListKind::Atomic => return Some(value.clone()),
                };
                (itself || !out.is_empty()).then_some(Value::Array(out))
            }
            scalar => Some(scalar.clone()),
        }
    }

    /// Removes what is in the set from a body. What is kept stays, and what holds it; a thing of which nothing is kept goes
    /// as a whole, also with what the server has filled in there, as it does when an apply gives it up.
    pub fn prune(&self, kept: &Self, body: &mut Value) {
        let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
        let kind = ObjectKind::new(text("apiVersion"), text("kind"));
        let mut kept = kept.clone();
        // Of these our own are in no set.
        for map in MARKS {
            let path = ["metadata", map].map(|name| Element::Field(name.to_owned()));
            path.into_iter().fold(&mut kept, |at, element| at.children.entry(element).or_default()).extent =
                Extent::Itself;
        }
        self.prune_value(&kept, body, &mut root(&kind));
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
            metadata.retain(|name, value| !(MARKS.contains(&name.as_str()) && empty(value)));
        }
    }

    fn prune_value<'a>(&'a self, kept: &Self, value: &mut Value, path: &mut Vec<&'a str>) {
        if kept.extent == Extent::Whole {
            return;
        }
        match value {
            Value::Object(map) => {
                for (element, child) in &self.children {
                    let Element::Field(name) = element else { continue };
                    let Some(kept) = kept.children.get(element) else {
                        map.remove(name);
                        continue;
                    };
                    path.push(name);
                    if let Some(inner) = map.get_mut(name) {
                        child.prune_value(kept, inner, path);
                    }
                    path.pop();
                }
            }
            Value::Array(items) => match list_kind(path) {
                ListKind::Map(keys) => items.retain_mut(|item| {
                    let element = Element::Key(item_key(item, keys));
                    let Some(child) = self.children.get(&element) else { return true };
                    let Some(kept) = kept.children.get(&element) else { return false };
                    child.prune_value(kept, item, path);
                    true
                }),
                ListKind::Set => {
                    items.retain(|item| !self.children.contains_key(&Element::Member(item.to_string())));
                }
                ListKind::Atomic => {}
            },
            _ => {}
        }
    }
}

fn below<'p>(mut path: Vec<&'p str>, name: &'p str) -> Vec<&'p str> {
    path.push(name);
    path
}
