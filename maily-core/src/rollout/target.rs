//! What is waited for: exactly what was written, not what happens to be there.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    object::{LabelSelector, Object, ObjectKey, edited_at, sets},
    run::MANAGER,
};

pub(super) const PARTITION: &str = "/spec/updateStrategy/rollingUpdate/partition";

/// A written object, pinned by identity, generation and content.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    written: Object,
    pub(super) written_at: Option<Timestamp>,
    /// None where its pods are told by their owner.
    selector: Option<LabelSelector>,
    /// Whether we have set a number of replicas that is not 0.
    sets_replicas: bool,
    /// How many first pods of a StatefulSet are to stay of the revision before.
    partition: i64,
}

impl Target {
    /// Whether a write of this object is not all: it is followed until it serves.
    pub fn waits_for(object: &Object) -> bool {
        // Other groups have kinds of these names as well, which say nothing of what is looked at here.
        match (object.key().kind.group(), object.kind()) {
            ("apps", "Deployment" | "StatefulSet" | "DaemonSet")
            | ("batch", "Job")
            | ("", "Pod" | "Namespace")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("apiregistration.k8s.io", "APIService") => true,
            ("", "Service") => object.text("/spec/type") == Some("LoadBalancer"),
            _ => false,
        }
    }

    /// Pins the server's answer to a write; `None` for kinds that are done once they are written.
    pub fn pin(written: &Object) -> Option<Self> {
        if !Self::waits_for(written) {
            return None;
        }
        // A Job's own is made by the server, and one of a Job's pods is whose owner it is, whatever the labels.
        let selector = match written.kind() {
            "Job" => None,
            _ => written.at("/spec/selector").map(LabelSelector::parse),
        };
        let sets_replicas = written.int("/spec/replicas").is_some_and(|replicas| replicas > 0)
            && sets(written, MANAGER, &["spec", "replicas"]);
        Some(Self {
            written: written.clone(),
            written_at: edited_at(written),
            selector,
            sets_replicas,
            partition: written.int(PARTITION).unwrap_or_default(),
        })
    }

    /// The same, judged by what a release says where the object was only found: what others have set to hold its pods
    /// back is no part of that.
    #[must_use]
    pub(crate) fn meant_as(self, released: &Object) -> Self {
        Self { partition: released.int(PARTITION).unwrap_or_default(), ..self }
    }

    pub(super) fn partition(&self) -> i64 {
        self.partition
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

    /// Which pods are its own; `None` where that is told by their owner.
    pub fn selector(&self) -> Option<&LabelSelector> {
        self.selector.as_ref()
    }

    /// Whether a pod is one of its pods, of whatever revision.
    pub fn selects(&self, pod: &Object) -> bool {
        if pod.namespace() != self.written.namespace() {
            return false;
        }
        match &self.selector {
            Some(selector) => selector.selects(pod),
            None => pod
                .items("/metadata/ownerReferences")
                .iter()
                .any(|owner| owner.get("uid").and_then(Value::as_str) == Some(self.uid())),
        }
    }
}
