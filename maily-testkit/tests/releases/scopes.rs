//! Kinds that live outside namespaces and are none of Kubernetes' own.

use maily_core::{
    engine::{Depth, Outcome, RunEnd, Storage, planner::PlanOptions},
    release::{RollbackTo, rollback, status},
};
use serde_json::{Value, json};

use crate::{
    setup::succeeded,
    shop::{OF_MANIFESTS, Shop, deployment},
};

const GROUP: &str = "stores.example.com/v1";

/// The definition of a kind.
fn definition(kind: &str, plural: &str, scope: &str) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.stores.example.com")},
        "spec": {"group": "stores.example.com", "scope": scope, "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true}]}})
}

fn cluster_store() -> Value {
    definition("ClusterStore", "clusterstores", "Cluster")
}

/// An object of the kind, perhaps with a namespace in the manifest.
fn custom(kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut object =
        json!({"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "spec": {"size": 3}});
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

fn app() -> Value {
    deployment("api", &[])
}

/// Objects of the first version that live outside namespaces: made, found again, followed, and taken away.
async fn live_outside(shop: &Shop, names: &[&str]) {
    let end = shop.deploy("v1").await;
    assert!(succeeded(&end), "{end:?}");
    for name in names {
        let live = shop.live(GROUP, "ClusterStore", None, name).expect("is there");
        assert_eq!(live.label("maily.dev/project"), Some("shop"));
        assert_eq!(live.namespace(), None);
    }
    let again = shop.deploy("v1").await;
    assert_eq!(again, RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving: Vec::new() } });
    let told = status(&shop.setup.environment(), &shop.resolved()).await.expect("can be read");
    let told = serde_json::to_value(&told).expect("is JSON");
    assert_eq!(told["services"][0]["drift"], json!([]), "{told}");
    assert_eq!(told["services"][0]["state"], "serving", "{told}");
    // What somebody changes is seen.
    let key = shop.live(GROUP, "ClusterStore", None, names[0]).expect("is there").key().clone();
    shop.setup.shared.world().edit_as("kubectl-edit", &key, json!({"spec": {"size": 4}})).expect("may");
    let told = status(&shop.setup.environment(), &shop.resolved()).await.expect("can be read");
    let told = serde_json::to_value(&told).expect("is JSON");
    let drift = told["services"][0]["drift"][0].as_str().expect("is told");
    assert!(drift.contains(names[0]) && drift.contains("spec.size 3 -> 4 (by kubectl-edit)"), "{drift}");
    shop.setup.shared.world().edit_as("kubectl-edit", &key, json!({"spec": {"size": 3}})).expect("may");
    let end = shop.deploy("v2").await;
    assert!(succeeded(&end), "{end:?}");
    for name in names {
        assert!(shop.live(GROUP, "ClusterStore", None, name).is_none(), "{name} went");
    }
    let end = go_back(shop).await;
    assert!(succeeded(&end), "{end:?}");
    for name in names {
        assert!(shop.live(GROUP, "ClusterStore", None, name).is_some(), "{name} is back");
    }
}

/// Back to the release before.
async fn go_back(shop: &Shop) -> RunEnd {
    let environment = shop.setup.environment();
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let resolved = shop.resolved();
    let wanted = rollback(&environment, &resolved, &head, base.as_ref(), &RollbackTo::LastGood, None);
    let wanted = wanted.await.expect("is on record");
    let options = PlanOptions::default();
    let planned = environment.plan(&wanted, head, base.as_ref(), &options, Depth::DryRun, Storage::Lasting);
    let planned = planned.await.expect("can be planned");
    environment.run(planned, &shop.setup.options("tester")).await.expect("runs")
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_the_cluster_serves_outside_namespaces_has_none() {
    let shop = Shop::new(OF_MANIFESTS, 101);
    shop.make(&cluster_store()).await;
    shop.write(
        "v1",
        &[custom("ClusterStore", "one", None), custom("ClusterStore", "two", Some("shop")), app()],
    );
    shop.write("v2", &[app()]);
    live_outside(&shop, &["one", "two"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_whose_definition_comes_along_has_the_scope_that_stands_there() {
    let shop = Shop::new(OF_MANIFESTS, 102);
    // As `kubectl` does: the namespace of such an object means nothing, whatever it is.
    let objects = [
        custom("ClusterStore", "one", None),
        custom("ClusterStore", "two", Some("elsewhere")),
        cluster_store(),
        app(),
    ];
    shop.write("v1", &objects);
    shop.write("v2", &[cluster_store(), app()]);
    live_outside(&shop, &["one", "two"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_object_outside_namespaces_stands_once_with_a_namespace_or_without() {
    let shop = Shop::new(OF_MANIFESTS, 103);
    let both = [custom("ClusterStore", "one", None), custom("ClusterStore", "one", Some("elsewhere"))];
    shop.write("v1", &[&both[..], &[cluster_store(), app()]].concat());
    let refused = shop.plan("v1").await.expect_err("is refused").to_string();
    assert!(refused.contains("ClusterStore.stores.example.com one stands twice"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn kinds_of_kubernetes_outside_namespaces_have_none_either() {
    let shop = Shop::new(OF_MANIFESTS, 104);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "reader", "namespace": "shop"}, "rules": []});
    shop.write("v1", &[role, app()]);
    assert!(succeeded(&shop.deploy("v1").await));
    assert!(shop.live("rbac.authorization.k8s.io/v1", "ClusterRole", None, "reader").is_some());
    assert_eq!(
        shop.deploy("v1").await,
        RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving: Vec::new() } }
    );
}

#[tokio::test(start_paused = true)]
async fn kinds_in_namespaces_and_kinds_that_nobody_serves_are_as_they_were() {
    let shop = Shop::new(OF_MANIFESTS, 105);
    shop.make(&definition("Store", "stores", "Namespaced")).await;
    // The name of a kind of Kubernetes says nothing about one of another group.
    shop.make(&definition("Node", "nodes", "Namespaced")).await;
    shop.write("v1", &[custom("Store", "one", None), custom("Node", "one", None), app()]);
    assert!(succeeded(&shop.deploy("v1").await));
    assert!(shop.live(GROUP, "Store", Some("shop"), "one").is_some());
    assert!(shop.live(GROUP, "Node", Some("shop"), "one").is_some());
    shop.write("v2", &[custom("Store", "one", Some("elsewhere")), app()]);
    let refused = shop.plan("v2").await.expect_err("is refused").to_string();
    assert!(refused.contains("Store.stores.example.com/one stands in namespace `elsewhere`"), "{refused}");
    shop.write("v3", &[custom("ClusterStore", "one", None), app()]);
    let refused = shop.plan("v3").await.expect_err("is refused").to_string();
    assert!(
        refused.contains("ClusterStore.stores.example.com shop/one: the cluster does not serve this kind"),
        "{refused}"
    );
    assert!(refused.contains("install the CustomResourceDefinition first"), "{refused}");
}

/// Questions about kinds that a plan asks.
async fn asked(shop: &Shop, version: &str) -> usize {
    let count = || {
        let world = shop.setup.shared.world();
        world.log.iter().filter(|call| call.operation == "discover").count()
    };
    let before = count();
    shop.plan_with(version, PlanOptions::default(), Depth::Read).await.expect("can be planned");
    count() - before
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_about_kinds_of_kubernetes_and_of_definitions_that_come_along() {
    let shop = Shop::new(OF_MANIFESTS, 106);
    shop.make(&definition("Store", "stores", "Namespaced")).await;
    shop.write("v1", &[app()]);
    shop.write("v2", &[custom("ClusterStore", "one", None), cluster_store(), app()]);
    shop.write("v3", &[custom("Store", "one", None), custom("Store", "two", None), app()]);
    // One question whether all of them are served; one more about those that nothing told of.
    assert_eq!([asked(&shop, "v1").await, asked(&shop, "v2").await, asked(&shop, "v3").await], [1, 1, 2]);
}
