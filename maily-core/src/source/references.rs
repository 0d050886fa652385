//! What the pods of a workload refer to by name.

use std::fmt;

use serde_json::Value;

use super::pods::specification;
use crate::object::Object;

/// A name that stands in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// Kind of what is meant.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: &'a str,
    /// What becomes of a pod without it.
    pub(crate) need: Need,
    /// Where it stands in the pod, such as `containers[api].env[TOKEN].valueFrom.secretKeyRef`.
    pub(crate) place: String,
}

/// What becomes of a pod without what it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// No container of it starts.
    Required,
    /// It runs all the same.
    Optional,
    /// Images are pulled without credentials.
    Pull,
}

/// The specification of the pods that a workload makes.
fn pod_spec(object: &Object) -> Option<&Value> {
    object.at(&specification(object.kind()))
}

/// What the pods of a workload refer to.
pub(crate) fn pod_references(workload: &Object) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    if let Some(spec) = pod_spec(workload) {
        walk(spec, None, &mut found);
    }
    found
}

/// A place in a pod, from its end: only those are written out that hold a reference.
#[derive(Clone, Copy)]
struct Trail<'a> {
    before: Option<&'a Trail<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Key(&'a str),
    Named(&'a str),
    Index(usize),
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = self.before {
            before.fmt(f)?;
        }
        match self.part {
            Part::Key(key) if self.before.is_none() => f.write_str(key),
            Part::Key(key) => write!(f, ".{key}"),
            Part::Named(name) => write!(f, "[{name}]"),
            Part::Index(index) => write!(f, "[{index}]"),
        }
    }
}

fn walk<'a>(value: &'a Value, trail: Option<&Trail<'_>>, found: &mut Vec<Reference<'a>>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let part = text(item, "name").map_or(Part::Index(index), Part::Named);
                walk(item, Some(&Trail { before: trail, part }), found);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                let here = Trail { before: trail, part: Part::Key(key) };
                named(key, value, &here, found);
                walk(value, Some(&here), found);
            }
        }
        _ => {}
    }
}

/// What a field of a pod names, by the name of the field alone, wherever it stands.
fn named<'a>(key: &str, value: &'a Value, here: &Trail<'_>, found: &mut Vec<Reference<'a>>) {
    let optional = value.get("optional").and_then(Value::as_bool) == Some(true);
    let need = if optional { Need::Optional } else { Need::Required };
    let mut add = |kind, name: Option<&'a str>, need| {
        found.extend(name.map(|name| Reference { kind, name, need, place: here.to_string() }));
    };
    match key {
        "configMapKeyRef" | "configMapRef" | "configMap" => add("ConfigMap", text(value, "name"), need),
        "secretKeyRef" | "secretRef" => add("Secret", text(value, "name"), need),
        "secret" => {
            add("Secret", text(value, "secretName"), need);
            add("Secret", text(value, "name"), need);
        }
        "persistentVolumeClaim" => add("PersistentVolumeClaim", text(value, "claimName"), need),
        "serviceAccountName" | "serviceAccount" => add("ServiceAccount", value.as_str(), need),
        "imagePullSecrets" => {
            for item in value.as_array().into_iter().flatten() {
                add("Secret", text(item, "name"), Need::Pull);
            }
        }
        _ => {}
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_found_wherever_they_stand() {
        let spec = json!({
            "containers": [{
                "name": "api",
                "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "t"}}}],
                "envFrom": [{"configMapRef": {"name": "extra", "optional": true}}],
            }],
            "volumes": [{"name": "all", "projected": {"sources": [{"secret": {"name": "cert"}}]}}],
            "imagePullSecrets": [{"name": "pull"}],
        });
        let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
            "spec": {"template": {"spec": spec}}});
        let workload = Object::from_value(body).expect("an object");
        let mut found: Vec<(&str, &str, Need, String)> = Vec::new();
        for one in pod_references(&workload) {
            found.push((one.kind, one.name, one.need, one.place));
        }
        found.sort_by_key(|(_, name, ..)| *name);
        let wanted = [
            ("Secret", "cert", Need::Required, "volumes[all].projected.sources[0].secret"),
            ("ConfigMap", "extra", Need::Optional, "containers[api].envFrom[0].configMapRef"),
            ("Secret", "pull", Need::Pull, "imagePullSecrets"),
            ("Secret", "token", Need::Required, "containers[api].env[TOKEN].valueFrom.secretKeyRef"),
        ];
        assert_eq!(found, wanted.map(|(kind, name, need, place)| (kind, name, need, place.to_owned())));
    }
}
