//! How the built-in kinds merge their lists and maps under server-side apply.
//!
//! The source is the `x-kubernetes-list-type`, `x-kubernetes-list-map-keys` and `x-kubernetes-map-type` of the Kubernetes
//! 1.36 API. A list that is not named here is atomic, as it is for a custom resource without a declaration; a map that
//! is not named is merged key by key. Kinds are not told apart: where two of them call alike what merges in two ways, it
//! stands here as for the one that is used more (ValidatingAdmissionPolicy's `spec.variables`, not
//! MutatingAdmissionPolicy's; `spec.scaleTargetRef` of `autoscaling/v2`, not of `v1`).

use super::ObjectKind;

/// Stands at the head of a path into a custom resource.
const CUSTOM: &str = "";

/// The path to an object itself, from which paths to its fields go on: what is named below is of Kubernetes' own kinds,
/// and says nothing of a custom resource that calls a list `ports`.
pub fn root(kind: &ObjectKind) -> Vec<&'static str> {
    if kind.is_of_kubernetes() { Vec::new() } else { vec![CUSTOM] }
}

/// How server-side apply merges a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars, each owned by itself.
    Set,
    /// Items are told apart by these keys.
    Map(&'static [&'static str]),
}

/// The merge kind of the list at a path of field names (list levels left out) below [`root`], such as
/// `["spec", "template", "spec", "containers"]`.
pub fn list_kind(path: &[&str]) -> ListKind {
    use ListKind::{Atomic, Map, Set};
    let Some((&last, above)) = path.split_last() else { return Atomic };
    if path.first() == Some(&CUSTOM) && path.get(1) != Some(&"metadata") {
        return Atomic;
    }
    match (above.last().copied().unwrap_or(""), last) {
        ("metadata", "finalizers") => Set,
        ("spec", "podCIDRs" | "validationActions" | "volumeLifecycleModes") => Set,
        ("metadata", "ownerReferences") => Map(&["uid"]),
        (_, "containers" | "initContainers" | "ephemeralContainers" | "volumes") => Map(&["name"]),
        ("containers" | "initContainers" | "ephemeralContainers", of_container) => match of_container {
            "env" => Map(&["name"]),
            "ports" => Map(&["containerPort", "protocol"]),
            "volumeMounts" => Map(&["mountPath"]),
            "volumeDevices" => Map(&["devicePath"]),
            _ => Atomic,
        },
        ("resources", "claims") => Map(&["name"]),
        ("spec", "imagePullSecrets" | "schedulingGates" | "resourceClaims") => Map(&["name"]),
        ("spec", "hostAliases") => Map(&["ip"]),
        ("spec", "topologySpreadConstraints") => Map(&["topologyKey", "whenUnsatisfiable"]),
        ("spec", "ports") => Map(&["port", "protocol"]),
        ("spec", "drivers" | "matchConditions" | "podGroupTemplates" | "variables") => Map(&["name"]),
        ("podGroupTemplates", "resourceClaims") => Map(&["name"]),
        ("status", "conditions") => Map(&["type"]),
        ("", "secrets" | "webhooks") => Map(&["name"]),
        ("webhooks", "matchConditions") => Map(&["name"]),
        _ => Atomic,
    }
}

/// Whether the map at a path of field names, or an item of the list there, is replaced as a whole, such as the selector of
/// a Service: a key that is left out is gone.
pub fn is_atomic_map(path: &[&str]) -> bool {
    let Some((&last, above)) = path.split_last() else { return false };
    if path.first() == Some(&CUSTOM) {
        return false;
    }
    match (above.last().copied().unwrap_or(""), last) {
        (_, "selector" | "podSelector" | "namespaceSelector" | "labelSelector" | "objectSelector") => true,
        (_, "nodeSelector" | "scopeSelector" | "nodeTopology") => true,
        (_, "roleRef" | "paramRef" | "paramKind") => true,
        (_, "configMapKeyRef" | "secretKeyRef" | "fileKeyRef" | "fieldRef" | "resourceFieldRef") => true,
        (_, "matchConstraints" | "matchResources") => true,
        ("nodeAffinity", "required" | "requiredDuringSchedulingIgnoredDuringExecution") => true,
        ("defaultBackend", "resource") | ("service", "port") | ("spec", "dataSource") => true,
        // An item of these lists.
        ("metadata", "ownerReferences") | ("", "secrets") | ("spec", "imagePullSecrets" | "variables") => {
            true
        }
        (_, last) => last == "secretRef" || last.ends_with("SecretRef"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_people_edit_are_maps() {
        let path = ["spec", "template", "spec", "containers"];
        assert_eq!(list_kind(&path), ListKind::Map(&["name"]));
        assert_eq!(list_kind(&["spec", "template", "spec", "containers", "args"]), ListKind::Atomic);
        assert_eq!(list_kind(&["spec", "ports"]), ListKind::Map(&["port", "protocol"]));
        assert_eq!(list_kind(&["spec", "metrics"]), ListKind::Atomic);
    }

    #[test]
    fn what_a_custom_resource_calls_alike_is_another_list() {
        let path = |api_version, fields: &[&'static str]| {
            let mut path = root(&ObjectKind::new(api_version, "Any"));
            path.extend(fields);
            path
        };
        let ports = ["spec", "ports"];
        assert_eq!(list_kind(&path("v1", &ports)), ListKind::Map(&["port", "protocol"]));
        assert_eq!(list_kind(&path("mesh.example/v1", &ports)), ListKind::Atomic);
        assert_eq!(list_kind(&path("mesh.example/v1", &["metadata", "finalizers"])), ListKind::Set);
        assert!(is_atomic_map(&path("v1", &["spec", "selector"])));
        assert!(!is_atomic_map(&path("mesh.example/v1", &["spec", "selector"])));
    }
}
