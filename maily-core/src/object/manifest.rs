//! One Kubernetes object as JSON with the few fields that every object has.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{ObjectKey, ObjectKind};

/// Why a document is not a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The document is a list, a string or empty.
    #[error("not a mapping")]
    NotAMapping,
    /// A required field is absent, empty or no text.
    #[error("`{0}` is missing or no text")]
    Missing(&'static str),
    /// `apiVersion` is neither `version` nor `group/version`.
    #[error("`apiVersion: {0}` is neither `version` nor `group/version`")]
    ApiVersion(String),
}

/// A Kubernetes object: apiVersion, kind, metadata.name are present; the rest is as the source gave it.
///
/// A clone shares its content until one of the two is changed: watches, plans and records hand the same object on.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Value")]
#[schemars(with = "Value")]
pub struct Object {
    key: Arc<ObjectKey>,
    body: Arc<Map<String, Value>>,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        // What shares its content need not be compared: maps of JSON are large.
        let same = Arc::ptr_eq(&self.body, &other.body);
        self.key == other.key && (same || self.body == other.body)
    }
}

impl Eq for Object {}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body.serialize(serializer)
    }
}

impl Object {
    /// Reads an object out of JSON.
    ///
    /// # Errors
    /// When apiVersion, kind or metadata.name is absent or malformed.
    pub fn from_value(value: Value) -> Result<Self, ObjectError> {
        let Value::Object(body) = value else { return Err(ObjectError::NotAMapping) };
        let text = |value: Option<&Value>, what: &'static str| match value {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(ObjectError::Missing(what)),
        };
        let api_version = text(body.get("apiVersion"), "apiVersion")?;
        let kind = text(body.get("kind"), "kind")?;
        let metadata = body.get("metadata");
        let name = text(metadata.and_then(|m| m.get("name")), "metadata.name")?;
        let mut parts = api_version.split('/');
        let well_formed = match (parts.next(), parts.next(), parts.next()) {
            (Some(version), None, _) => is_version(version),
            (Some(group), Some(version), None) => !group.is_empty() && is_version(version),
            _ => false,
        };
        if !well_formed {
            return Err(ObjectError::ApiVersion(api_version));
        }
        let namespace =
            metadata.and_then(|m| m.get("namespace")).and_then(Value::as_str).filter(|n| !n.is_empty());
        let key = ObjectKey::new(ObjectKind::new(api_version, kind), namespace, name);
        Ok(Self { key: Arc::new(key), body: Arc::new(body) })
    }

    /// Address of the object.
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The kind, as in `Deployment`.
    pub fn kind(&self) -> &str {
        &self.key.kind.kind
    }

    /// metadata.name.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// metadata.namespace.
    pub fn namespace(&self) -> Option<&str> {
        self.key.namespace.as_deref()
    }

    /// The value at a JSON pointer such as `/spec/replicas`.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        let (first, mut rest) = first_part(pointer.strip_prefix('/')?);
        let mut value = member(&self.body, first)?;
        while let Some(pointer) = rest {
            let (part, more) = first_part(pointer);
            value = match value {
                Value::Object(map) => member(map, part)?,
                Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
                _ => return None,
            };
            rest = more;
        }
        Some(value)
    }

    /// Text at a JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer).and_then(Value::as_str)
    }

    /// Whole number at a JSON pointer.
    pub fn int(&self, pointer: &str) -> Option<i64> {
        self.at(pointer).and_then(Value::as_i64)
    }

    /// The elements of the list at a JSON pointer; empty where there is none.
    pub fn items(&self, pointer: &str) -> &[Value] {
        self.at(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// metadata.uid, set by the server.
    pub fn uid(&self) -> Option<&str> {
        self.text("/metadata/uid")
    }

    /// metadata.resourceVersion, set by the server.
    pub fn resource_version(&self) -> Option<&str> {
        self.text("/metadata/resourceVersion")
    }

    /// metadata.generation, set by the server.
    pub fn generation(&self) -> Option<i64> {
        self.int("/metadata/generation")
    }

    /// Whether deletion has been asked for.
    pub fn is_terminating(&self) -> bool {
        self.text("/metadata/deletionTimestamp").is_some()
    }

    /// One annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.body.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    /// One label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.body.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    /// Whether it has all of these labels.
    pub fn has_labels<'l>(&self, mut wanted: impl Iterator<Item = (&'l String, &'l str)>) -> bool {
        let labels = self.body.get("metadata").and_then(|metadata| metadata.get("labels"));
        wanted.all(|(key, value)| labels.and_then(|labels| labels.get(key)?.as_str()) == Some(value))
    }

    /// The body, with apiVersion and kind.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// Sets or (with `None`) removes an annotation.
    pub fn set_annotation(&mut self, key: &str, value: Option<&str>) {
        self.set_meta("annotations", key, value);
    }

    /// Sets or (with `None`) removes a label.
    pub fn set_label(&mut self, key: &str, value: Option<&str>) {
        self.set_meta("labels", key, value);
    }

    /// The same under another name.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.key).name = name.to_owned();
        self.metadata().insert("name".into(), name.into());
        self
    }

    /// Moves the object into a namespace.
    pub fn set_namespace(&mut self, namespace: &str) {
        Arc::make_mut(&mut self.key).namespace = Some(namespace.to_owned());
        self.metadata().insert("namespace".into(), namespace.into());
    }

    /// Takes the object out of its namespace: it is of a kind that lives outside of them.
    pub fn leave_namespace(&mut self) {
        if self.key.namespace.is_none() && self.at("/metadata/namespace").is_none() {
            return;
        }
        Arc::make_mut(&mut self.key).namespace = None;
        self.metadata().remove("namespace");
    }

    /// Changes the body below `metadata`-independent fields; identity fields must stay as they are, which is
    /// restored afterwards.
    pub fn edit(&mut self, change: impl FnOnce(&mut Map<String, Value>)) {
        let body = Arc::make_mut(&mut self.body);
        change(body);
        let key = Arc::clone(&self.key);
        keep(body, "apiVersion", &key.kind.api_version);
        keep(body, "kind", &key.kind.kind);
        let metadata = self.metadata();
        keep(metadata, "name", &key.name);
        if let Some(namespace) = &key.namespace {
            keep(metadata, "namespace", namespace);
        }
    }

    /// The object with another content under the same identity.
    pub(crate) fn with_body(&self, body: Map<String, Value>) -> Self {
        let mut object = Self { key: Arc::clone(&self.key), body: Arc::new(body) };
        object.edit(|_| {});
        object
    }

    /// The object without what only the server sets: status, uid, resourceVersion, generation,
    /// creationTimestamp, managedFields, and how a Job finds its pods, unless it says itself.
    pub fn without_server_fields(mut self) -> Self {
        Arc::make_mut(&mut self.body).remove("status");
        if self.kind() == "Job" && self.at("/spec/manualSelector") != Some(&Value::Bool(true)) {
            self.edit(forget_generated_selector);
        }
        let metadata = self.metadata();
        for field in [
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "managedFields",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            metadata.remove(field);
        }
        self
    }

    /// The object without what it is to be, but for the node of a pod, and without who set which field.
    #[must_use]
    pub fn state_only(self) -> Self {
        let node = self.at("/spec/nodeName").cloned();
        let spec = self.body.get("spec").and_then(Value::as_object);
        let is_bare = spec.is_none_or(|spec| node.is_some() && spec.len() == 1);
        let mut state = if is_bare { self } else { self.only(|key| key != "spec") };
        if let Some(node) = node.filter(|_| !is_bare) {
            state.edit(|body| drop(body.insert("spec".to_owned(), serde_json::json!({"nodeName": node}))));
        }
        if state.at("/metadata/managedFields").is_some() {
            state.metadata().remove("managedFields");
        }
        state
    }

    /// What tells the object from others, and what stands on it: without all that it is and is to be.
    #[must_use]
    pub fn metadata_only(self) -> Self {
        self.only(|key| matches!(key, "apiVersion" | "kind" | "metadata"))
    }

    /// Some fields of the body. What is left out is not copied first where the object is shared.
    fn only(mut self, told: impl Fn(&str) -> bool) -> Self {
        if let Some(body) = Arc::get_mut(&mut self.body) {
            body.retain(|key, _| told(key));
            return self;
        }
        if !self.body.keys().all(|key| told(key)) {
            let kept = self.body.iter().filter(|(key, _)| told(key));
            self.body = Arc::new(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
        }
        self
    }

    /// Whether it is a Job that the cluster deletes some time after its end.
    pub fn goes_by_itself(&self) -> bool {
        self.kind() == "Job" && self.at("/spec/ttlSecondsAfterFinished").is_some()
    }

    /// Whether it is a Job that does not run until somebody lets it.
    pub fn is_suspended(&self) -> bool {
        self.kind() == "Job" && self.at("/spec/suspend") == Some(&Value::Bool(true))
    }

    /// The group and the kind that it defines, where it is a CustomResourceDefinition.
    pub fn defines(&self) -> Option<(&str, &str)> {
        let is_definition = self.kind() == "CustomResourceDefinition";
        let named = || Some((self.text("/spec/group")?, self.text("/spec/names/kind")?));
        is_definition.then(named).flatten()
    }

    /// The object as a JSON value.
    pub fn into_value(self) -> Value {
        Value::Object(Arc::unwrap_or_clone(self.body))
    }

    /// A copy as a JSON value.
    pub fn to_value(&self) -> Value {
        Value::Object(Map::clone(&self.body))
    }

    fn metadata(&mut self) -> &mut Map<String, Value> {
        let slot =
            Arc::make_mut(&mut self.body).entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        match slot {
            Value::Object(map) => map,
            _ => unreachable!("made an object above"),
        }
    }

    fn set_meta(&mut self, field: &str, key: &str, value: Option<&str>) {
        let known = self.body.get("metadata").and_then(|metadata| metadata.get(field));
        // Nothing to remove: no reason for a copy of what is shared.
        if value.is_none() && known.and_then(|map| map.get(key)).is_none() {
            return;
        }
        let metadata = self.metadata();
        let slot = metadata.entry(field).or_insert_with(|| Value::Object(Map::new()));
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        if let Value::Object(map) = slot {
            match value {
                Some(value) => {
                    map.insert(key.to_owned(), value.into());
                }
                None => {
                    map.remove(key);
                }
            }
            if map.is_empty() {
                metadata.remove(field);
            }
        }
    }
}

/// The first part of a pointer, and what follows it. The parts are too short for a searcher to pay.
fn first_part(pointer: &str) -> (&str, Option<&str>) {
    match pointer.bytes().position(|byte| byte == b'/') {
        Some(at) => (&pointer[..at], Some(&pointer[at + 1..])),
        None => (pointer, None),
    }
}

/// What stands under a part of a pointer.
fn member<'a>(map: &'a Map<String, Value>, part: &str) -> Option<&'a Value> {
    // Escapes are rare, and the part is then not what stands in the pointer.
    match part.bytes().any(|byte| byte == b'~') {
        true => map.get(&part.replace("~1", "/").replace("~0", "~")),
        false => map.get(part),
    }
}

/// Sets a text, unless it stands there.
fn keep(map: &mut Map<String, Value>, field: &str, text: &str) {
    if map.get(field).and_then(Value::as_str) != Some(text) {
        map.insert(field.to_owned(), text.into());
    }
}

fn is_version(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('v')
        && text.len() > 1
        && chars.next().is_some_and(|c| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

impl TryFrom<Value> for Object {
    type Error = ObjectError;

    fn try_from(value: Value) -> Result<Self, ObjectError> {
        Self::from_value(value)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Value {
        object.into_value()
    }
}

/// Takes out of a Job what the server generates from its uid: it refuses a Job that brings another one's.
fn forget_generated_selector(job: &mut Map<String, Value>) {
    let Some(spec) = job.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.remove("selector");
    let Some(template) = spec.get_mut("template").and_then(Value::as_object_mut) else { return };
    let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) else { return };
    for name in ["controller-uid", "job-name"] {
        labels.remove(name);
        labels.remove(&format!("batch.kubernetes.io/{name}"));
    }
    if labels.is_empty() {
        metadata.remove("labels");
    }
    // What is empty stands for all that may be in it.
    if metadata.values().all(Value::is_null) {
        template.remove("metadata");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_needs_kind_version_and_name() {
        let err = |value| Object::from_value(value).unwrap_err().to_string();
        assert_eq!(err(json!([])), "not a mapping");
        assert_eq!(
            err(json!({"apiVersion": "v1", "metadata": {"name": "a"}})),
            "`kind` is missing or no text"
        );
        assert_eq!(
            err(json!({"apiVersion": "apps/v1/x", "kind": "A", "metadata": {"name": "a"}})),
            "`apiVersion: apps/v1/x` is neither `version` nor `group/version`"
        );
        assert_eq!(
            err(json!({"apiVersion": "v1", "kind": "A", "metadata": {}})),
            "`metadata.name` is missing or no text"
        );
    }

    #[test]
    fn a_pointer_leads_through_maps_lists_and_escapes() {
        let object = Object::from_value(json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a",
            "annotations": {"maily.dev/epoch": "1", "a~b": "2"}}, "spec": {"list": [{"x": 1}]}, "a/b": 3}))
        .unwrap();
        assert_eq!(object.int("/spec/list/0/x"), Some(1));
        assert_eq!(object.text("/metadata/annotations/maily.dev~1epoch"), Some("1"));
        assert_eq!(object.text("/metadata/annotations/a~0b"), Some("2"));
        assert_eq!(object.int("/a~1b"), Some(3));
        for absent in ["", "spec", "/spec/list/1", "/spec/list/x", "/spec/list/0/x/y", "/spec/"] {
            assert_eq!(object.at(absent), None, "{absent}");
        }
    }

    #[test]
    fn keys_ignore_the_version_inside_the_group() {
        let key = |v: &str| ObjectKey::new(ObjectKind::new(v, "HorizontalPodAutoscaler"), Some("n"), "a");
        assert_eq!(key("autoscaling/v1"), key("autoscaling/v2"));
        assert_ne!(key("autoscaling/v1"), key("v1"));
    }

    #[test]
    fn an_edit_cannot_change_identity() {
        let mut object =
            Object::from_value(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}))
                .unwrap();
        object.edit(|body| {
            body.insert("kind".into(), "Pod".into());
            body.remove("metadata");
        });
        assert_eq!(object.at("/metadata/name"), Some(&json!("a")));
        assert_eq!(object.text("/kind"), Some("Service"));
    }

    #[test]
    fn a_job_is_written_again_without_what_the_server_generates_from_its_uid() {
        let job = |manual: bool| {
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a", "uid": "u"}, "spec": {
                "manualSelector": manual, "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
                "template": {"metadata": {"labels": {"app": "a", "controller-uid": "u", "job-name": "a",
                    "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "a"}}}}})
        };
        let spec = |manual| {
            Object::from_value(job(manual)).unwrap().without_server_fields().to_value()["spec"].clone()
        };
        let own = json!({"manualSelector": false, "template": {"metadata": {"labels": {"app": "a"}}}});
        assert_eq!(spec(false), own);
        assert_eq!(spec(true), job(true)["spec"], "it says itself which pods are its own");
    }
}
