//! The order in which objects are written: what others refer to comes first.

use crate::object::{Object, ObjectKind};

/// Rank of what the API server asks about everything.
const ASKED: u8 = 40;
/// Rank of kinds that are not named.
const OTHERS: u8 = 15;

/// Rank of a kind; lower comes first.
pub(super) fn rank(kind: &str) -> u8 {
    match kind {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "PriorityClass" | "StorageClass" | "IngressClass" | "RuntimeClass" => 2,
        "ResourceQuota" | "LimitRange" => 3,
        "ServiceAccount" => 4,
        "ClusterRole" | "Role" => 5,
        "ClusterRoleBinding" | "RoleBinding" => 6,
        "Secret" => 7,
        "ConfigMap" => 8,
        "PersistentVolume" => 9,
        "PersistentVolumeClaim" => 10,
        "NetworkPolicy" => 11,
        "Service" => 12,
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Pod" => 20,
        "Job" => 21,
        "CronJob" => 22,
        "PodDisruptionBudget" => 30,
        "HorizontalPodAutoscaler" => 31,
        "Ingress" | "HTTPRoute" => 32,
        // The API server asks their pods from now on, and may refuse everything until they answer.
        "APIService" | "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => ASKED,
        // Custom objects refer to the rest more often than the rest to them.
        _ => OTHERS,
    }
}

/// Rank of a kind when objects are taken away; lower goes first. What asks about everything goes while its pods answer
/// still, and custom objects while their operator may still take its finalizers off.
pub(crate) fn rank_of_going(kind: &ObjectKind) -> u8 {
    match rank(&kind.kind) {
        _ if !kind.is_of_kubernetes() => 1,
        ASKED => 0,
        OTHERS => 1,
        rank => 2 + ASKED - rank,
    }
}

/// Rank of a kind; of another group's that scales a workload as well, and whose webhook asks for it.
fn rank_of(kind: &ObjectKind) -> u8 {
    if scales(kind) { rank("HorizontalPodAutoscaler") } else { rank(&kind.kind) }
}

/// Whether a kind of another group scales workloads, as autoscalers of Kubernetes do.
pub(super) fn scales(kind: &ObjectKind) -> bool {
    matches!(
        (kind.group(), &*kind.kind),
        ("keda.sh", "ScaledObject") | ("autoscaling.k8s.io", "VerticalPodAutoscaler")
    )
}

/// Sorts objects for writing; equal ranks keep the order of names.
pub(crate) fn sort(objects: &mut [Object]) {
    objects.sort_by(|a, b| {
        rank_of(&a.key().kind).cmp(&rank_of(&b.key().kind)).then_with(|| a.key().cmp(b.key()))
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_api_server_asks_comes_after_the_pods_that_answer() {
        let kinds = [
            "ValidatingWebhookConfiguration",
            "Deployment",
            "Widget",
            "APIService",
            "Service",
            "ServiceAccount",
        ];
        let mut objects: Vec<Object> = kinds
            .iter()
            .map(|kind| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "guard"}}))
            .map(|value| Object::from_value(value).expect("an object"))
            .collect();
        sort(&mut objects);
        let sorted: Vec<&str> = objects.iter().map(Object::kind).collect();
        let asked = ["APIService", "ValidatingWebhookConfiguration"];
        assert_eq!(sorted, [&["ServiceAccount", "Service", "Widget", "Deployment"][..], &asked].concat());
    }

    #[test]
    fn what_the_api_server_asks_goes_first_and_accounts_last() {
        let mut kinds = [
            ("v1", "ServiceAccount"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("apps/v1", "Deployment"),
            ("serving.example/v1", "Service"),
            ("apiregistration.k8s.io/v1", "APIService"),
            ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ]
        .map(|(version, kind)| ObjectKind::new(version, kind));
        kinds.sort_by_key(rank_of_going);
        let names: Vec<&str> = kinds.iter().map(|kind| kind.kind.as_str()).collect();
        let expected = [
            "APIService",
            "Service",
            "HorizontalPodAutoscaler",
            "Deployment",
            "RoleBinding",
            "ServiceAccount",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_scales_comes_after_what_it_scales() {
        let mut objects: Vec<Object> = [
            ("keda.sh/v1alpha1", "ScaledObject"),
            ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler"),
            ("keda.sh/v1alpha1", "TriggerAuthentication"),
            ("apps/v1", "Deployment"),
            ("example.com/v1", "ScaledObject"),
        ]
        .map(|(version, kind)| {
            let value = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "api"}});
            Object::from_value(value).expect("an object")
        })
        .to_vec();
        sort(&mut objects);
        let sorted: Vec<String> =
            objects.iter().map(|object| object.key().kind.named().into_owned()).collect();
        let scalers = ["VerticalPodAutoscaler.autoscaling.k8s.io", "ScaledObject.keda.sh"];
        assert_eq!(sorted[2], "Deployment", "{sorted:?}");
        assert_eq!(sorted[3..], scalers);
    }
}
