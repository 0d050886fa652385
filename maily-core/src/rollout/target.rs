//! What is waited for: exactly what was written, not what happens to be there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    object::{FieldSet, Object, ObjectKey, edited_at},
    run::MANAGER,
};

/// A written object, pinned by identity, generation and content.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    written: Object,
    pub(super) written_at: Option<Timestamp>,
    selector: BTreeMap<String, String>,
    /// Whether we have set a number of replicas that is not 0.
    sets_replicas: bool,
}

impl Target {
    /// Whether a write of this object is not all: it is followed until it serves.
    pub fn waits_for(object: &Object) -> bool {
        match object.kind() {
            "Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "Job"
            | "Pod"
            | "Namespace"
            | "CustomResourceDefinition"
            | "APIService" => true,
            "Service" => object.text("/spec/type") == Some("LoadBalancer"),
            _ => false,
        }
    }

    /// Pins the server's answer to a write; `None` for kinds that are done once they are written.
    pub fn pin(written: &Object) -> Option<Self> {
        if !Self::waits_for(written) {
            return None;
        }
        let selector = match written.at("/spec/selector/matchLabels") {
            Some(Value::Object(labels)) => labels
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            _ => BTreeMap::new(),
        };
        let sets_replicas = written.int("/spec/replicas").is_some_and(|replicas| replicas > 0)
            && FieldSet::owned_by(written, |manager| manager == MANAGER).contains(&["spec", "replicas"]);
        Some(Self { written: written.clone(), written_at: edited_at(written), selector, sets_replicas })
    }

    /// The object.
    pub fn key(&self) -> &ObjectKey {
        self.written.key()
    }

    /// The server's answer.
    pub(crate) fn written(&self) -> &Object {
        &self.written
    }

    pub(super) fn uid(&self) -> &str {
        self.written.uid().unwrap_or_default()
    }

    pub(super) fn generation(&self) -> i64 {
        self.written.generation().unwrap_or_default()
    }

    pub(super) fn sets_replicas(&self) -> bool {
        self.sets_replicas
    }

    /// What its pods are made from.
    pub(super) fn template(&self) -> Option<&Value> {
        self.written.at("/spec/template")
    }

    /// When it was written, by the server's clock.
    pub(crate) fn written_at(&self) -> Option<Timestamp> {
        self.written_at
    }

    /// Labels of its pods; empty where it has none of its own.
    pub fn selector(&self) -> &BTreeMap<String, String> {
        &self.selector
    }

    /// Whether a pod is one of its pods, of whatever revision.
    pub fn selects(&self, pod: &Object) -> bool {
        if pod.namespace() != self.written.namespace() {
            return false;
        }
        if self.selector.is_empty() {
            return pod
                .items("/metadata/ownerReferences")
                .iter()
                .any(|owner| owner.get("uid").and_then(Value::as_str) == Some(self.uid()));
        }
        self.selector.iter().all(|(key, value)| pod.label(key) == Some(value))
    }
}
