//! Sets of fields, as server-side apply tracks them in `metadata.managedFields`.
//!
//! Format: <https://kubernetes.io/docs/reference/using-api/server-side-apply/> (`FieldsV1`): `f:name` is a
//! field, `k:{…}` an item of an associative list, `v:…` a member of a set, `.` the thing itself.

use std::collections::{BTreeMap, btree_map::Entry};

use serde_json::{Map, Value};

use super::{
    ListKind, Object, list_kind,
    managed::{self, entries},
};

/// Prefix of every annotation and label that is our bookkeeping.
const BOOKKEEPING: &str = "maily.dev/";

/// One step of a path into an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Element {
    Field(String),
    /// Key fields of an associative list item, as canonical JSON.
    Key(String),
    /// A member of a set, as JSON.
    Member(String),
}

/// A set of fields of one object. Bookkeeping under `maily.dev/`, identity, status and what the server sets
/// are never members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// The thing itself with all that is in it belongs to the set.
    whole: bool,
    children: BTreeMap<Element, FieldSet>,
}

impl FieldSet {
    /// The fields that a desired object sets. Nulls set nothing.
    pub fn of(object: &Object) -> Self {
        let mut set = Self::default();
        for (name, value) in object.body() {
            if matches!(name.as_str(), "apiVersion" | "kind" | "status") || value.is_null() {
                continue;
            }
            set.children.insert(Element::Field(name.clone()), of_value(value, &mut vec![name]));
        }
        set.without_bookkeeping()
    }

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

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        !self.whole && self.children.is_empty()
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut set = self.clone();
        set.absorb(other.clone());
        set
    }

    /// Takes in what is in another set.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.whole |= other.whole;
        for (element, theirs) in other.children {
            match self.children.entry(element) {
                Entry::Vacant(slot) => {
                    slot.insert(theirs);
                }
                Entry::Occupied(mut ours) => ours.get_mut().absorb(theirs),
            }
        }
    }

    /// What is in `self` and not in `other`. A field that `other` owns as a whole is owned with all below it.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        if other.whole {
            return Self::default();
        }
        let mut children = BTreeMap::new();
        for (element, ours) in &self.children {
            let left =
                other.children.get(element).map_or_else(|| ours.clone(), |theirs| ours.difference(theirs));
            if !left.is_empty() {
                children.insert(element.clone(), left);
            }
        }
        // A whole field of ours under which the other owns only parts still stands as a whole.
        Self { whole: self.whole && other.children.is_empty(), children }
    }

    /// What is in both, as the finer of the two descriptions.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        if self.whole && other.whole {
            return Self { whole: true, children: BTreeMap::new() };
        }
        if self.whole {
            return other.clone();
        }
        if other.whole {
            return self.clone();
        }
        let mut children = BTreeMap::new();
        for (element, ours) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                let both = ours.intersection(theirs);
                if !both.is_empty() {
                    children.insert(element.clone(), both);
                }
            }
        }
        Self { whole: false, children }
    }

    /// The set without one field, such as `["spec", "replicas"]`.
    #[must_use]
    pub fn without(mut self, path: &[&str]) -> Self {
        self.remove(path);
        self
    }

    /// Whether the field at a path of names is in the set, itself or under a whole.
    pub fn contains(&self, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else { return !self.is_empty() };
        self.whole
            || self
                .children
                .get(&Element::Field((*first).to_owned()))
                .is_some_and(|child| child.contains(rest))
    }

    /// Dotted paths of the leaves, for messages: `.spec.template.spec.containers[name=app].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect(String::new(), &mut out);
        out
    }

    /// The part of an object that is in the set; identity is always in it.
    pub fn project(&self, object: &Object) -> Object {
        let mut body = Map::new();
        for (element, child) in &self.children {
            if let Element::Field(name) = element
                && let Some(value) = object.body().get(name)
                && let Some(projected) = child.project_value(value, &mut vec![name])
            {
                body.insert(name.clone(), projected);
            }
        }
        object.with_body(body)
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

    /// Removes what is in the set from a body, keeping containers that hold anything else.
    pub fn prune(&self, body: &mut Value) {
        self.prune_value(body, &mut Vec::new());
    }

    fn prune_value<'a>(&'a self, value: &mut Value, path: &mut Vec<&'a str>) -> bool {
        if self.whole {
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

    fn project_value<'a>(&'a self, value: &Value, path: &mut Vec<&'a str>) -> Option<Value> {
        if self.whole {
            return Some(value.clone());
        }
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
                (!out.is_empty()).then_some(Value::Object(out))
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
                (!out.is_empty()).then_some(Value::Array(out))
            }
            scalar => Some(scalar.clone()),
        }
    }

    fn remove(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let element = Element::Field((*first).to_owned());
        if rest.is_empty() {
            self.children.remove(&element);
        } else if let Some(child) = self.children.get_mut(&element) {
            child.remove(rest);
            if child.is_empty() {
                self.children.remove(&element);
            }
        }
    }

    fn without_bookkeeping(mut self) -> Self {
        let metadata = Element::Field("metadata".into());
        if let Some(meta) = self.children.get_mut(&metadata) {
            meta.children.retain(|element, child| match element {
                Element::Field(name) => match name.as_str() {
                    "labels" | "annotations" => {
                        child
                            .children
                            .retain(|e, _| !matches!(e, Element::Field(n) if n.starts_with(BOOKKEEPING)));
                        !child.is_empty()
                    }
                    "finalizers" | "ownerReferences" => true,
                    _ => false,
                },
                _ => false,
            });
            if meta.is_empty() {
                self.children.remove(&metadata);
            }
        }
        self
    }

    fn collect(&self, prefix: String, out: &mut Vec<String>) {
        if self.whole || self.children.is_empty() {
            out.push(prefix.clone());
        }
        for (element, child) in &self.children {
            let next = match element {
                Element::Field(name) => format!("{prefix}.{name}"),
                Element::Key(key) => match serde_json::from_str::<Map<String, Value>>(key) {
                    Ok(map) => {
                        let parts: Vec<String> = map
                            .iter()
                            .map(|(k, v)| {
                                format!("{k}={}", v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                            })
                            .collect();
                        format!("{prefix}[{}]", parts.join(","))
                    }
                    Err(_) => format!("{prefix}[{key}]"),
                },
                Element::Member(value) => format!("{prefix}[{value}]"),
            };
            child.collect(next, out);
        }
    }
}

fn of_value<'a>(value: &'a Value, path: &mut Vec<&'a str>) -> FieldSet {
    let mut set = FieldSet::default();
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if inner.is_null() {
                    continue;
                }
                path.push(name);
                set.children.insert(Element::Field(name.clone()), of_value(inner, path));
                path.pop();
            }
        }
        Value::Array(items) => match list_kind(path) {
            ListKind::Map(keys) => {
                for item in items {
                    set.children.insert(Element::Key(item_key(item, keys)), of_value(item, path));
                }
            }
            ListKind::Set => {
                for item in items {
                    let whole = FieldSet { whole: true, children: BTreeMap::new() };
                    set.children.insert(Element::Member(item.to_string()), whole);
                }
            }
            ListKind::Atomic => {}
        },
        _ => {}
    }
    set.whole = set.children.is_empty();
    set
}

fn from_fields_v1(fields: &Map<String, Value>) -> FieldSet {
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
            _ => FieldSet { whole: true, children: BTreeMap::new() },
        };
        set.children.insert(element, child);
    }
    set.whole = set.children.is_empty();
    set
}

fn canonical_key(text: &str) -> String {
    match serde_json::from_str::<BTreeMap<String, Value>>(text) {
        Ok(map) => serde_json::to_string(&map).unwrap_or_else(|_| text.to_owned()),
        Err(_) => text.to_owned(),
    }
}

/// The key of an item as JSON with sorted names; `protocol` defaults to TCP as the API does.
fn item_key(item: &Value, keys: &[&str]) -> String {
    let mut names = keys.to_vec();
    names.sort_unstable();
    let mut text = String::from("{");
    for name in names {
        let value = match item.get(name) {
            Some(value) => value.to_string(),
            None if name == "protocol" => "\"TCP\"".to_owned(),
            None => continue,
        };
        if text.len() > 1 {
            text.push(',');
        }
        text.extend(["\"", name, "\":", &value]);
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> Object {
        Object::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "namespace": "n", "labels": {"app": "a", "maily.dev/environment": "x"},
                "resourceVersion": "5", "annotations": {"maily.dev/epoch": "3"}},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [
                {"name": "app", "image": "i:1", "ports": [{"containerPort": 80}], "args": ["x"]}]}}},
            "status": {"readyReplicas": 1}
        }))
        .unwrap()
    }

    #[test]
    fn bookkeeping_status_and_server_fields_are_never_members() {
        let paths = FieldSet::of(&deployment()).paths();
        assert_eq!(
            paths,
            [
                ".metadata.labels.app",
                ".spec.replicas",
                ".spec.template.spec.containers[name=app].args",
                ".spec.template.spec.containers[name=app].image",
                ".spec.template.spec.containers[name=app].name",
                ".spec.template.spec.containers[name=app].ports[containerPort=80,protocol=TCP].containerPort",
            ]
        );
    }

    #[test]
    fn a_projection_keeps_what_is_in_the_set_and_nothing_else() {
        let desired = deployment();
        let mut live = deployment();
        live.edit(|body| {
            body["spec"]["progressDeadlineSeconds"] = json!(600);
            body["spec"]["template"]["spec"]["containers"]
                .as_array_mut()
                .unwrap()
                .push(json!({"name": "injected", "image": "mesh"}));
            body["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
        });
        let projected = FieldSet::of(&desired).project(&live);
        assert_eq!(projected.at("/spec"), desired.at("/spec"));
        assert_eq!(projected.at("/metadata/labels"), Some(&json!({"app": "a"})));
    }

    #[test]
    fn fields_v1_round_trips() {
        let set = FieldSet::of(&deployment());
        let Value::Object(fields) = set.to_fields_v1() else { panic!("an object") };
        assert_eq!(from_fields_v1(&fields), set);
    }

    #[test]
    fn ownership_is_read_per_manager() {
        let mut live = deployment();
        live.edit(|body| {
            body["metadata"]["managedFields"] = json!([
                {"manager": "maily", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}}}},
                {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {
                    "f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:image": {}}}}}}}}
            ]);
        });
        let ours = FieldSet::owned_by(&live, |m| m == "maily");
        assert_eq!(ours.paths(), [".spec.paused", ".spec.replicas"]);
        let theirs = FieldSet::owned_by(&live, |m| m == "kubectl");
        assert_eq!(
            theirs.intersection(&FieldSet::of(&live)).paths(),
            [".spec.template.spec.containers[name=app].image"]
        );
        assert!(FieldSet::owned_by(&live, |m| m == "hpa").is_empty());
    }

    #[test]
    fn pruning_removes_members_and_empty_containers() {
        let live = deployment();
        let mut body = live.to_value();
        let set = FieldSet::of(&live).difference(&FieldSet::default().union(&{
            let mut kept = live.clone();
            kept.edit(|b| {
                b["spec"].as_object_mut().unwrap().remove("template");
            });
            FieldSet::of(&kept)
        }));
        set.prune(&mut body);
        assert_eq!(body["spec"], json!({"replicas": 2}));
    }
}
