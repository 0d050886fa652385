//! Which kinds live outside namespaces.

use std::collections::BTreeMap;

use super::{Object, ObjectKind};

/// Kinds of Kubernetes itself that live outside namespaces.
const OWN: &[&str] = &[
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterTrustBundle",
    "CustomResourceDefinition",
    "DeviceClass",
    "DeviceTaintRule",
    "FlowSchema",
    "IPAddress",
    "IngressClass",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "ResourceSlice",
    "RuntimeClass",
    "ServiceCIDR",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
    "VolumeAttributesClass",
];

/// Kinds of others that are found in many clusters: what is taken for true where nothing has told of them.
const WIDESPREAD: &[(&str, &str)] =
    &[("cert-manager.io", "ClusterIssuer"), ("gateway.networking.k8s.io", "GatewayClass")];

/// Where kinds live that are none of Kubernetes' own, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Whether in namespaces, by group and kind.
    namespaced: BTreeMap<(String, String), bool>,
}

impl Scopes {
    /// What the definitions among some objects say.
    pub fn of_definitions<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut scopes = Self::default();
        for object in objects {
            let Some((group, kind)) = object.defines() else { continue };
            let namespaced = match object.text("/spec/scope") {
                Some("Namespaced") => true,
                Some("Cluster") => false,
                _ => continue,
            };
            scopes.namespaced.insert((group.to_owned(), kind.to_owned()), namespaced);
        }
        scopes
    }

    /// Takes in what a cluster says of a kind. What a definition says stays.
    pub fn add(&mut self, kind: &ObjectKind, namespaced: bool) {
        self.namespaced.entry(identity(kind)).or_insert(namespaced);
    }

    /// Whether only a cluster can tell where a kind lives.
    pub fn is_open(&self, kind: &ObjectKind) -> bool {
        !kind.is_of_kubernetes() && !self.namespaced.contains_key(&identity(kind))
    }

    /// Whether a kind lives outside namespaces.
    pub fn is_cluster_scoped(&self, kind: &ObjectKind) -> bool {
        if kind.is_of_kubernetes() {
            return OWN.contains(&kind.kind.as_str());
        }
        match self.namespaced.get(&identity(kind)) {
            Some(namespaced) => !namespaced,
            None => WIDESPREAD.contains(&(kind.group(), &kind.kind)),
        }
    }

    /// Whether an object has a namespace although its kind lives outside of them.
    pub fn is_misplaced(&self, object: &Object) -> bool {
        object.namespace().is_some() && self.is_cluster_scoped(&object.key().kind)
    }
}

fn identity(kind: &ObjectKind) -> (String, String) {
    (kind.group().to_owned(), kind.kind.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(group: &str, kind: &str, scope: &str) -> Object {
        Object::from_value(
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "x"}, "spec": {"group": group, "scope": scope, "names": {"kind": kind}}}),
        )
        .expect("is an object")
    }

    #[test]
    fn a_definition_says_more_than_a_cluster_and_a_cluster_more_than_habit() {
        let mut scopes = Scopes::of_definitions(&[
            definition("a.example", "Wide", "Cluster"),
            definition("a.example", "Narrow", "Namespaced"),
            definition("a.example", "Odd", "elsewhere"),
        ]);
        let kind = |group: &str, kind: &str| ObjectKind::new(format!("{group}/v1"), kind);
        let issuer = kind("cert-manager.io", "ClusterIssuer");
        assert!(scopes.is_cluster_scoped(&issuer) && scopes.is_open(&issuer));
        scopes.add(&issuer, true);
        assert!(!scopes.is_cluster_scoped(&issuer) && !scopes.is_open(&issuer));
        let (wide, narrow) = (kind("a.example", "Wide"), kind("a.example", "Narrow"));
        scopes.add(&wide, true);
        scopes.add(&narrow, false);
        assert!(scopes.is_cluster_scoped(&wide) && !scopes.is_cluster_scoped(&narrow));
        for open in [kind("a.example", "Odd"), kind("b.example", "Wide")] {
            assert!(scopes.is_open(&open) && !scopes.is_cluster_scoped(&open), "{open}");
        }
    }

    #[test]
    fn kinds_of_kubernetes_are_known() {
        let scopes = Scopes::default();
        let own = |version: &str, kind: &str| ObjectKind::new(version, kind);
        for (kind, wide) in [
            (own("v1", "Namespace"), true),
            (own("v1", "Node"), true),
            (own("rbac.authorization.k8s.io/v1", "ClusterRole"), true),
            (own("rbac.authorization.k8s.io/v1", "Role"), false),
            (own("apps/v1", "Deployment"), false),
        ] {
            assert!(!scopes.is_open(&kind), "{kind}");
            assert_eq!(scopes.is_cluster_scoped(&kind), wide, "{kind}");
        }
        // Another group's kind of the same name is another kind.
        assert!(!scopes.is_cluster_scoped(&own("stores.example.com/v1", "Node")));
    }
}
