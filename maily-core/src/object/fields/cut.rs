//! Cutting along a set: the part of an object that is in it, and what is left without that.

use serde_json::{Map, Value};

use super::set::{Element, Extent, FieldSet, item_key};
use crate::object::{ListKind, Object, ObjectKind, list_kind, schema::root};

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

    /// Removes what is in the set from a body, keeping containers that hold anything else.
    pub fn prune(&self, body: &mut Value) {
        let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
        let kind = ObjectKind::new(text("apiVersion"), text("kind"));
        self.prune_value(body, &mut root(&kind));
    }

    fn prune_value<'a>(&'a self, value: &mut Value, path: &mut Vec<&'a str>) -> bool {
        if self.extent == Extent::Whole {
            return true;
        }
        match value {
            Value::Object(map) => {
                for (element, child) in &self.children {
                    let Element::Field(name) = element else { continue };
                    path.push(name);
                    let gone = map.get_mut(name).is_some_and(|v| child.prune_value(v, path));
                    path.pop();
                    if gone {
                        map.remove(name);
                    }
                }
                map.is_empty()
            }
            Value::Array(items) => {
                let kind = list_kind(path);
                items.retain_mut(|item| match kind {
                    ListKind::Map(keys) => {
                        let Some(child) = self.children.get(&Element::Key(item_key(item, keys))) else {
                            return true;
                        };
                        child.prune_value(item, path);
                        // An item of which only its key is left is nobody's any more.
                        !item.as_object().is_some_and(|map| map.keys().all(|k| keys.contains(&k.as_str())))
                    }
                    ListKind::Set => !self.children.contains_key(&Element::Member(item.to_string())),
                    ListKind::Atomic => true,
                });
                items.is_empty()
            }
            _ => false,
        }
    }
}

fn below<'p>(mut path: Vec<&'p str>, name: &'p str) -> Vec<&'p str> {
    path.push(name);
    path
}
