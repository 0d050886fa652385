//! The order in which objects are written: what others refer to comes first.

use crate::object::Object;

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
        "APIService" | "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => 40,
        // Custom objects refer to the rest more often than the rest to them.
        _ => 15,
    }
}

/// Sorts objects for writing; equal ranks keep the order of names.
pub(crate) fn sort(objects: &mut [Object]) {
    objects.sort_by(|a, b| rank(a.kind()).cmp(&rank(b.kind())).then_with(|| a.key().cmp(b.key())));
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
}
