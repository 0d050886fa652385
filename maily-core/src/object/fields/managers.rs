//! The form in which `metadata.managedFields` holds sets: `f:name` is a field, `k:{…}` an item of an associative list,
//! `v:…` a member of a set, `.` the thing itself.

use std::collections::BTreeMap;

use litemap::LiteMap;
use serde_json::{Map, Value};

use super::set::{Element, Extent, FieldSet};
use crate::object::{
    Object,
    managed::{self, entries},
};

impl FieldSet {
    /// The fields that a manager owns on a live object, by any operation except on a subresource.
    pub fn owned_by(object: &Object, manager: impl Fn(&str) -> bool) -> Self {
        Self::of_managers(object, |name, subresource| subresource.is_empty() && manager(name))
    }

    /// The same, and what a manager has scaled: `kubectl scale` and autoscalers go by a subresource.
    pub fn owned_or_scaled_by(object: &Object, manager: impl Fn(&str) -> bool) -> Self {
        Self::of_managers(object, |name, subresource| matches!(subresource, "" | "scale") && manager(name))
    }

    fn of_managers(object: &Object, counts: impl Fn(&str, &str) -> bool) -> Self {
        let mut set = Self::default();
        for entry in entries(object) {
            if counts(entry.manager, entry.subresource)
                && let Some(fields) = entry.fields()
            {
                set.absorb(from_fields_v1(&fields));
            }
        }
        set.children.remove(&Element::Field("status".into()));
        set.without_bookkeeping()
    }

    /// The fields of one entry of `metadata.managedFields`.
    pub fn of_entry(entry: &Value) -> Self {
        let fields = entry.get("fieldsV1").and_then(managed::fields);
        let mut set = fields.map(|fields| from_fields_v1(&fields)).unwrap_or_default();
        set.children.remove(&Element::Field("status".into()));
        set.without_bookkeeping()
    }

    /// The set in the form of `managedFields[].fieldsV1`.
    pub fn to_fields_v1(&self) -> Value {
        let mut map = Map::new();
        for (element, child) in &self.children {
            let key = match element {
                Element::Field(name) => format!("f:{name}"),
                Element::Key(key) => format!("k:{key}"),
                Element::Member(value) => format!("v:{value}"),
            };
            let mut value = child.to_fields_v1();
            if let (Element::Key(_), Value::Object(fields)) = (element, &mut value) {
                fields.insert(".".into(), Value::Object(Map::new()));
            }
            map.insert(key, value);
        }
        Value::Object(map)
    }
}

pub(super) fn from_fields_v1(fields: &Map<String, Value>) -> FieldSet {
    let mut set = FieldSet::default();
    for (key, value) in fields {
        let element = match key.split_once(':') {
            Some(("f", name)) => Element::Field(name.to_owned()),
            Some(("k", key)) => Element::Key(canonical_key(key)),
            Some(("v", value)) => Element::Member(value.to_owned()),
            _ => continue,
        };
        let child = match value {
            Value::Object(inner) => from_fields_v1(inner),
            _ => FieldSet { extent: Extent::Whole, children: LiteMap::new_vec() },
        };
        set.children.insert(element, child);
    }
    if set.children.is_empty() {
        set.extent = Extent::Whole;
    }
    set
}

fn canonical_key(text: &str) -> String {
    match serde_json::from_str::<BTreeMap<String, Value>>(text) {
        Ok(map) => serde_json::to_string(&map).unwrap_or_else(|_| text.to_owned()),
        Err(_) => text.to_owned(),
    }
}
