//! What the API replaces as a whole: what a version leaves out inside of it is gone with that version.

use maily_core::{
    engine::{Depth, planner::PlanOptions},
    object::{ObjectKey, ObjectKind},
};
use serde_json::{Value, json};

use crate::{
    setup::succeeded,
    shop::{Shop, goes_with_its_version},
};

const RULES: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  web: {manifests: '{version}.yaml'}
";

/// Lists and maps that are replaced as a whole, with and without what the second version adds in them.
fn objects(more: bool) -> Vec<Value> {
    let add = |mut value: Value, key: &str, new: Value| {
        if more {
            value[key] = new;
        }
        value
    };
    let meta = |name: &str| json!({"name": name, "labels": {"app": "web"}});
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]});
    let route = json!({"route": [{"destination": "web"}]});
    vec![
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta("rules"),
            "rules": [add(rule, "resourceNames", json!(["one"]))]}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta("web"),
            "spec": {"ports": [{"port": 80}], "selector": add(json!({"app": "web"}), "track", json!("b"))}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta("walls"),
            "spec": {"podSelector": add(json!({"matchLabels": {"app": "web"}}), "matchExpressions",
                json!([{"key": "track", "operator": "Exists"}])),
                "ingress": [add(json!({"from": [{"podSelector": {}}]}), "ports", json!([{"port": 80}]))]}}),
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "routes.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Route", "plural": "routes"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}),
        json!({"apiVersion": "example.com/v1", "kind": "Route", "metadata": meta("web"),
            "spec": {"http": [add(route, "fault", json!({"abort": 50}))]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("web"),
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web", "track": "b"}},
                    "spec": {"nodeSelector": add(json!({"disk": "ssd"}), "zone", json!("a")),
                        "containers": [{"name": "web", "image": "registry.example/web:1",
                            "envFrom": [add(json!({"configMapRef": {"name": "c", "optional": true}}), "prefix",
                                json!("P_"))]}]}}}}),
    ]
}

/// The parts of the world that the versions differ in.
fn there(shop: &Shop) -> Vec<Value> {
    let world = shop.setup.shared.world();
    let at = |kind: &str, name: &str, pointer: &str| {
        let found = world.of_kind(kind).into_iter().find(|object| object.name() == name).expect("is there");
        found.at(pointer).cloned().unwrap_or_default()
    };
    vec![
        at("Role", "rules", "/rules/0/resourceNames"),
        at("Service", "web", "/spec/selector/track"),
        at("NetworkPolicy", "walls", "/spec/podSelector/matchExpressions"),
        at("NetworkPolicy", "walls", "/spec/ingress/0/ports"),
        at("Route", "web", "/spec/http/0/fault"),
        at("Deployment", "web", "/spec/template/spec/nodeSelector/zone"),
        at("Deployment", "web", "/spec/template/spec/containers/0/envFrom/0/prefix"),
    ]
}

async fn released(seed: u64) -> Shop {
    let shop = Shop::new(RULES, seed);
    for (version, more) in [("v1", false), ("v2", true)] {
        shop.write(version, &objects(more));
        assert!(succeeded(&shop.deploy(version).await));
    }
    assert!(there(&shop).iter().all(|value| !value.is_null()), "{:?}", there(&shop));
    shop
}

#[tokio::test(start_paused = true)]
async fn what_a_version_leaves_out_inside_a_list_or_a_selector_goes_with_it() {
    goes_with_its_version(released, there, 5, [141, 142]).await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_adds_to_a_selector_is_drift() {
    let shop = released(143).await;
    let service = ObjectKey::new(ObjectKind::new("v1", "Service"), Some("shop"), "web");
    let by_hand = json!({"spec": {"selector": {"hand": "y"}}});
    shop.setup.shared.world().edit_as("kubectl-patch", &service, by_hand).expect("may patch");
    shop.write("v3", &objects(false));
    for version in ["v2", "v3"] {
        for depth in [Depth::Read, Depth::DryRun] {
            let refused = shop.plan_with(version, PlanOptions::default(), depth).await;
            let refused = refused.expect_err("would be lost").to_string();
            assert!(
                refused.contains("drift: Service") && refused.contains("spec.selector.hand"),
                "{refused}"
            );
        }
    }
}
