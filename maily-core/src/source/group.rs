//! Which object belongs to which service: by workload, by selector, by reference. What two claim, and what nobody
//! claims, is shared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{order::scales, pods::template, references::pod_references};
use crate::object::{LabelSelector, Object};

/// Objects by owner.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Groups {
    /// Objects of each workload, by its name.
    pub(super) services: BTreeMap<String, Vec<Object>>,
    /// Objects of several, or of none, with the claimants.
    pub(super) shared: Vec<(Object, BTreeSet<String>)>,
}

fn is_workload(object: &Object) -> bool {
    matches!(object.kind(), "Deployment" | "StatefulSet" | "DaemonSet" | "CronJob" | "Job" | "Pod")
}

/// Labels of the pods that a workload makes.
fn pod_labels(object: &Object) -> Option<&serde_json::Map<String, Value>> {
    object.at(&format!("{}/metadata/labels", template(object.kind())))?.as_object()
}

/// A pod as a workload makes it, as far as selectors look at it.
fn pod_of(workload: &Object) -> Option<Object> {
    let metadata = json!({"name": workload.name(), "labels": pod_labels(workload)?});
    Object::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})).ok()
}

/// Whether an object is about a workload that it names by kind and name; KEDA means a Deployment where it names no kind.
fn targets(object: &Object, workload: &Object) -> bool {
    let field = if object.kind() == "VerticalPodAutoscaler" { "targetRef" } else { "scaleTargetRef" };
    let named = |what: &str| object.text(&format!("/spec/{field}/{what}"));
    let kind = named("kind").or((object.kind() == "ScaledObject").then_some("Deployment"));
    kind == Some(workload.kind()) && named("name") == Some(workload.name())
}

fn selects(selector: Option<&Value>, labels: &serde_json::Map<String, Value>) -> bool {
    selector.and_then(Value::as_object).is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}

/// Groups objects by the workloads among them.
pub(super) fn group(objects: Vec<Object>) -> Groups {
    let (workloads, others): (Vec<Object>, Vec<Object>) = objects.into_iter().partition(is_workload);
    let mut claims: Vec<BTreeSet<String>> = others.iter().map(|_| BTreeSet::new()).collect();
    for workload in &workloads {
        let empty = serde_json::Map::new();
        let labels = pod_labels(workload).unwrap_or(&empty);
        let mut wanted: BTreeSet<(&str, String)> =
            pod_references(workload).into_iter().map(|one| (one.kind, one.name.to_owned())).collect();
        if let Some(name) = workload.text("/spec/serviceName") {
            wanted.insert(("Service", name.to_owned()));
        }
        let pod = pod_of(workload);
        let takes = |selector: Option<&Value>| {
            let selector = selector.map(LabelSelector::parse);
            // One that only leaves some out is about the namespace, whoever is in it.
            selector
                .zip(pod.as_ref())
                .is_some_and(|(selector, pod)| selector.names() && selector.selects(pod))
        };
        for (index, other) in others.iter().enumerate() {
            let mine = match other.kind() {
                "Service" => {
                    selects(other.at("/spec/selector"), labels)
                        || wanted.contains(&("Service", other.name().to_owned()))
                }
                "PodDisruptionBudget" => takes(other.at("/spec/selector")),
                "NetworkPolicy" => takes(other.at("/spec/podSelector")),
                "HorizontalPodAutoscaler" => targets(other, workload),
                _ if scales(&other.key().kind) => targets(other, workload),
                "ConfigMap" => wanted.contains(&("ConfigMap", other.name().to_owned())),
                "Secret" => wanted.contains(&("Secret", other.name().to_owned())),
                "PersistentVolumeClaim" => {
                    wanted.contains(&("PersistentVolumeClaim", other.name().to_owned()))
                }
                "ServiceAccount" => wanted.contains(&("ServiceAccount", other.name().to_owned())),
                _ => false,
            };
            if mine {
                claims[index].insert(workload.name().to_owned());
            }
        }
    }
    // What refers to a grouped object goes with it: routes, webhooks and the like to their Service, bindings to their
    // account.
    let owners: BTreeMap<(String, String), BTreeSet<String>> = others
        .iter()
        .zip(&claims)
        .map(|(object, claims)| ((object.kind().to_owned(), object.name().to_owned()), claims.clone()))
        .collect();
    for (object, claims) in others.iter().zip(&mut claims) {
        if claims.is_empty() {
            claims.extend(
                indirect(object).iter().filter_map(|reference| owners.get(reference)).flatten().cloned(),
            );
        }
    }
    let mut groups = Groups::default();
    for workload in workloads {
        groups.services.entry(workload.name().to_owned()).or_default().push(workload);
    }
    for (object, claims) in others.into_iter().zip(claims) {
        match (claims.len(), claims.first()) {
            (1, Some(owner)) => groups.services.entry(owner.clone()).or_default().push(object),
            _ => groups.shared.push((object, claims)),
        }
    }
    groups
}

/// What an object refers to that is no pod.
fn indirect(object: &Object) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut services = |value: Option<&Value>| {
        if let Some(value) = value {
            backends(value, &mut found);
        }
    };
    match object.kind() {
        "Ingress" | "HTTPRoute" | "GRPCRoute" | "VirtualService" => services(object.at("/spec")),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => services(object.at("/webhooks")),
        "APIService" => services(object.at("/spec")),
        "RoleBinding" | "ClusterRoleBinding" => {
            // A user or a group may have the name of an account.
            let of_accounts = |subject: &&Value| subject["kind"] == "ServiceAccount";
            for subject in object.items("/subjects").iter().filter(of_accounts) {
                if let Some(name) = subject.get("name").and_then(Value::as_str) {
                    found.push(("ServiceAccount".to_owned(), name.to_owned()));
                }
            }
        }
        _ => {}
    }
    found
}

fn backends(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| backends(item, found)),
        Value::Object(map) => {
            for (key, value) in map {
                let name = match key.as_str() {
                    "service" => value.get("name").and_then(Value::as_str),
                    "destination" => value.get("host").and_then(Value::as_str),
                    _ => None,
                };
                if let Some(name) = name {
                    found.push(("Service".to_owned(), name.to_owned()));
                }
                if key == "backendRefs" {
                    for item in value.as_array().into_iter().flatten() {
                        if let Some(name) = item.get("name").and_then(Value::as_str) {
                            found.push(("Service".to_owned(), name.to_owned()));
                        }
                    }
                }
                backends(value, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str, mut rest: Value) -> Object {
        rest["apiVersion"] = json!(if kind == "Deployment" { "apps/v1" } else { "v1" });
        rest["kind"] = json!(kind);
        rest["metadata"] = json!({"name": name});
        Object::from_value(rest).expect("an object")
    }

    fn deployment(name: &str, spec: Value) -> Object {
        let template = json!({"metadata": {"labels": {"app": name}}, "spec": spec});
        object("Deployment", name, json!({"spec": {"template": template}}))
    }

    #[test]
    fn objects_follow_selectors_and_references() {
        let account = json!({"serviceAccountName": "sa", "containers": [{"envFrom": [{"configMapRef": {"name": "both"}}]}]});
        let groups = group(vec![
            deployment("a", account),
            deployment(
                "b",
                json!({"volumes": [{"configMap": {"name": "both"}}, {"secret": {"secretName": "s"}}]}),
            ),
            object("Service", "front", json!({"spec": {"selector": {"app": "a"}}})),
            object("Service", "headless", json!({"spec": {}})),
            object("ConfigMap", "both", json!({})),
            object("Secret", "s", json!({})),
            object("ServiceAccount", "sa", json!({})),
            object(
                "ValidatingWebhookConfiguration",
                "guard",
                json!({"webhooks": [{"clientConfig": {"service": {"name": "front", "namespace": "default"}}}]}),
            ),
            object(
                "Ingress",
                "in",
                json!({"spec": {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "front"}}}]}}]}}),
            ),
        ]);
        let names =
            |owner: &str| groups.services[owner].iter().map(|o| o.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names("a"), ["a", "front", "sa", "guard", "in"]);
        assert_eq!(names("b"), ["b", "s"]);
        let shared: Vec<(&str, usize)> =
            groups.shared.iter().map(|(o, claims)| (o.name(), claims.len())).collect();
        assert_eq!(shared, [("headless", 0), ("both", 2)]);
    }

    /// A workload of any kind whose pods have the label `app: NAME`.
    fn workload(kind: &str, name: &str, pod: Value) -> Object {
        let labels = json!({"app": name});
        let template = json!({"metadata": {"labels": labels}, "spec": pod});
        match kind {
            "Pod" => {
                let mut object = object(kind, name, json!({"spec": pod}));
                object.edit(|body| body["metadata"]["labels"] = labels);
                object
            }
            "CronJob" => {
                object(kind, name, json!({"spec": {"jobTemplate": {"spec": {"template": template}}}}))
            }
            _ => object(kind, name, json!({"spec": {"template": template}})),
        }
    }

    /// What stands with the only workload, and what nobody claims.
    fn beside(workload: Object, others: Vec<Object>) -> (Vec<String>, Vec<String>) {
        let name = workload.name().to_owned();
        let groups = group(std::iter::once(workload).chain(others).collect());
        assert!(groups.shared.iter().all(|(_, claims)| claims.is_empty()));
        let own = groups.services[&name].iter().skip(1).map(|object| object.key().short()).collect();
        (own, groups.shared.iter().map(|(object, _)| object.key().short()).collect())
    }

    #[test]
    fn every_kind_of_workload_has_its_selectors_and_references() {
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"] {
            let pod = json!({
                "serviceAccountName": "runs",
                "containers": [{"name": "main", "envFrom": [{"configMapRef": {"name": "settings"}}]}],
                "volumes": [
                    {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "t", "secret": {"secretName": "token"}},
                ],
            });
            let others = |name: &str| {
                vec![
                    object("Service", name, json!({"spec": {"selector": {"app": name}}})),
                    object(
                        "PodDisruptionBudget",
                        name,
                        json!({"spec": {"selector": {"matchLabels": {"app": name}}}}),
                    ),
                    object(
                        "NetworkPolicy",
                        name,
                        json!({"spec": {"podSelector": {"matchLabels": {"app": name}}}}),
                    ),
                ]
            };
            let mut all = others("one");
            for (kind, name) in [
                ("ConfigMap", "settings"),
                ("Secret", "token"),
                ("PersistentVolumeClaim", "data"),
                ("ServiceAccount", "runs"),
            ] {
                all.push(object(kind, name, json!({})));
            }
            let strange = [
                others("two"),
                vec![
                    object("ConfigMap", "token", json!({})),
                    object("PersistentVolumeClaim", "settings", json!({})),
                ],
            ];
            all.extend(strange.into_iter().flatten());
            let (own, left) = beside(workload(kind, "one", pod), all);
            let claimed = [
                "Service/one",
                "PodDisruptionBudget/one",
                "NetworkPolicy/one",
                "ConfigMap/settings",
                "Secret/token",
                "PersistentVolumeClaim/data",
                "ServiceAccount/runs",
            ];
            assert_eq!(own, claimed, "{kind}");
            let nobodys = [
                "Service/two",
                "PodDisruptionBudget/two",
                "NetworkPolicy/two",
                "ConfigMap/token",
                "PersistentVolumeClaim/settings",
            ];
            assert_eq!(left, nobodys, "{kind}");
        }
    }

    #[test]
    fn a_stateful_set_has_the_service_that_it_names() {
        let mut set = workload("StatefulSet", "one", json!({}));
        set.edit(|body| body["spec"]["serviceName"] = json!("peers"));
        let headless = |name: &str| object("Service", name, json!({"spec": {"clusterIP": "None"}}));
        let (own, left) = beside(set, vec![headless("peers"), headless("others")]);
        assert_eq!((own, left), (vec!["Service/peers".to_owned()], vec!["Service/others".to_owned()]));
    }

    #[test]
    fn what_selects_every_pod_or_none_is_nobodys() {
        let selects = |kind: &str, name: &str, spec: Value| object(kind, name, json!({"spec": spec}));
        let all = vec![
            selects("NetworkPolicy", "all", json!({"podSelector": {}})),
            selects("PodDisruptionBudget", "all", json!({"selector": {}})),
            selects("Service", "none", json!({})),
            selects("Service", "narrow", json!({"selector": {"app": "one", "tier": "front"}})),
        ];
        let (own, left) = beside(workload("Deployment", "one", json!({})), all);
        assert_eq!(own, [""; 0]);
        assert_eq!(left, ["NetworkPolicy/all", "PodDisruptionBudget/all", "Service/none", "Service/narrow"]);
    }

    #[test]
    fn an_autoscaler_goes_with_what_it_scales_by_kind_and_name() {
        let scaler = |name: &str, kind: &str, target: &str| {
            let target = json!({"kind": kind, "name": target});
            object("HorizontalPodAutoscaler", name, json!({"spec": {"scaleTargetRef": target}}))
        };
        let all = vec![
            scaler("mine", "StatefulSet", "one"),
            scaler("kind", "Deployment", "one"),
            scaler("name", "StatefulSet", "two"),
        ];
        let (own, left) = beside(workload("StatefulSet", "one", json!({})), all);
        assert_eq!(own, ["HorizontalPodAutoscaler/mine"]);
        assert_eq!(left, ["HorizontalPodAutoscaler/kind", "HorizontalPodAutoscaler/name"]);
    }

    #[test]
    fn routes_follow_their_services_and_bindings_their_accounts() {
        let account = object("ServiceAccount", "runs", json!({}));
        let front = object("Service", "front", json!({"spec": {"selector": {"app": "one"}}}));
        let route = |kind: &str, name: &str, to: &str| {
            object(kind, name, json!({"spec": {"rules": [{"backendRefs": [{"name": to, "port": 80}]}]}}))
        };
        let binding = |kind: &str, name: &str, subject: Value| {
            object(kind, name, json!({"roleRef": {"kind": "Role", "name": "runs"}, "subjects": [subject]}))
        };
        let all = vec![
            account,
            front,
            route("HTTPRoute", "way", "front"),
            route("GRPCRoute", "way", "front"),
            route("HTTPRoute", "astray", "back"),
            binding("RoleBinding", "may", json!({"kind": "ServiceAccount", "name": "runs"})),
            binding(
                "ClusterRoleBinding",
                "may",
                json!({"kind": "ServiceAccount", "name": "runs", "namespace": "n"}),
            ),
            // A person of the account's name is somebody else.
            binding("RoleBinding", "person", json!({"kind": "User", "name": "runs"})),
            object("Role", "runs", json!({"rules": []})),
        ];
        let (own, left) = beside(workload("DaemonSet", "one", json!({"serviceAccountName": "runs"})), all);
        assert_eq!(
            own,
            [
                "ServiceAccount/runs",
                "Service/front",
                "HTTPRoute/way",
                "GRPCRoute/way",
                "RoleBinding/may",
                "ClusterRoleBinding/may",
            ]
        );
        assert_eq!(left, ["HTTPRoute/astray", "RoleBinding/person", "Role/runs"]);
    }

    #[test]
    fn what_two_claim_is_shared_with_what_follows_it() {
        let both = json!({"serviceAccountName": "runs"});
        let binding = json!({"subjects": [{"kind": "ServiceAccount", "name": "runs"}]});
        let groups = group(vec![
            workload("Deployment", "one", both.clone()),
            workload("StatefulSet", "two", both),
            object("ServiceAccount", "runs", json!({})),
            object("RoleBinding", "may", binding),
            object("ResourceQuota", "few", json!({})),
        ]);
        let shared: Vec<(&str, Vec<&str>)> = groups
            .shared
            .iter()
            .map(|(object, claims)| (object.name(), claims.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(shared, [("runs", vec!["one", "two"]), ("may", vec!["one", "two"]), ("few", vec![])]);
        assert_eq!([groups.services["one"].len(), groups.services["two"].len()], [1, 1]);
    }

    #[test]
    fn what_a_selector_asks_by_expressions_counts() {
        let expression = |operator: &str| json!({"key": "app", "operator": operator, "values": ["one"]});
        let budget = |name: &str, selector: Value| {
            object("PodDisruptionBudget", name, json!({"spec": {"selector": selector}}))
        };
        let policy = |name: &str, selector: Value| {
            object("NetworkPolicy", name, json!({"spec": {"podSelector": selector}}))
        };
        let among = json!({"matchExpressions": [expression("In")]});
        let none = json!({"matchLabels": {"app": "one"}, "matchExpressions": [expression("NotIn")]});
        // Who only says whom it leaves out means all others, those of tomorrow, too.
        let others = json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["two"]}]});
        let without = json!({"matchExpressions": [{"key": "job", "operator": "DoesNotExist"}]});
        let any = json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]});
        let all = vec![
            policy("others", others.clone()),
            budget("others", others),
            policy("without", without),
            policy("any", any),
            budget("among", among.clone()),
            policy("among", among),
            budget("none", none.clone()),
            policy("none", none),
        ];
        let (own, left) = beside(workload("Deployment", "one", json!({})), all);
        assert_eq!(own, ["PodDisruptionBudget/among", "NetworkPolicy/among"]);
        let all = [
            "NetworkPolicy/others",
            "PodDisruptionBudget/others",
            "NetworkPolicy/without",
            "NetworkPolicy/any",
        ];
        assert_eq!(left, [&all[..], &["PodDisruptionBudget/none", "NetworkPolicy/none"]].concat());
    }

    #[test]
    fn what_scales_a_workload_by_another_kind_goes_with_it_too() {
        let of = |version: &str, kind: &str, field: &str, target: Value| {
            Object::from_value(json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": {field: target}}))
                .expect("an object")
        };
        let target = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "one"});
        let scaled = || of("keda.sh/v1alpha1", "ScaledObject", "scaleTargetRef", target.clone());
        let sized = of("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "targetRef", target.clone());
        let (own, left) = beside(workload("StatefulSet", "one", json!({})), vec![scaled(), sized]);
        let both = ["ScaledObject.keda.sh/x", "VerticalPodAutoscaler.autoscaling.k8s.io/x"];
        assert_eq!((own, left), (both.map(str::to_owned).to_vec(), Vec::new()));
        // One of KEDA without a kind means a Deployment.
        let named =
            |name: &str| of("keda.sh/v1alpha1", "ScaledObject", "scaleTargetRef", json!({"name": name}));
        let (own, _) = beside(workload("Deployment", "one", json!({})), vec![named("one")]);
        assert_eq!(own, both[..1]);
        let (own, _) = beside(workload("StatefulSet", "one", json!({})), vec![named("one")]);
        assert_eq!(own, [""; 0]);
    }
}
