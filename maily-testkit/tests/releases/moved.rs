//! Objects that move to another version of their group, as HTTPRoutes did from `v1beta1` to `v1`.

use std::time::Duration;

use maily_core::{
    engine::{Depth, Operation, Outcome, RunEnd, planner::PlanOptions},
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster as _, Precondition, WriteOptions},
    release::{self, ServiceHealth},
};
use maily_testkit::sim::SimCluster;
use serde_json::{Value, json};

use crate::{
    setup::{fault, succeeded},
    shop::{Shop, deployment, notes},
};

const PROJECT: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  api: {manifests: 'api-{version}.yaml'}
  web: {needs: [api], manifests: 'web-{version}.yaml'}
";

/// The definition is somebody else's.
fn definition(served: [bool; 2]) -> Value {
    let version = |name: &str, served: bool| json!({"name": name, "served": served, "storage": name == "v1"});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [version("v1beta1", served[0]), version("v1", served[1])]}})
}

fn widget(name: &str, version: &str, size: i64) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}})
}

/// A shop whose first release has widgets in the old version; a second one has them in the new one, and may differ.
async fn shop(seed: u64, widgets: usize, size: i64) -> Shop {
    let shop = Shop::new(PROJECT, seed);
    shop.make(&definition([true, true])).await;
    let all = |version: &str, size: i64| -> Vec<Value> {
        let widgets = (0..widgets).map(|number| widget(&format!("w-{number}"), version, size));
        widgets.chain([deployment("api", &[])]).collect()
    };
    shop.write("api-v1", &all("v1beta1", 1));
    shop.write("api-v2", &all("v1", size));
    shop.write("api-v3", &[deployment("api", &[])]);
    let mut web = deployment("web", &[]);
    shop.write("web-v1", std::slice::from_ref(&web));
    web["spec"]["template"]["metadata"]["annotations"] = json!({"of": "v2"});
    for version in ["v2", "v3"] {
        shop.write(&format!("web-{version}"), std::slice::from_ref(&web));
    }
    assert!(succeeded(&shop.deploy("v1").await));
    shop
}

async fn only_new(shop: &Shop) {
    let object = Object::from_value(definition([false, true])).expect("is an object");
    let options = WriteOptions::apply("kubectl", Precondition::Any);
    SimCluster::new(shop.setup.shared.clone()).write(&object, &options).await.expect("is written");
}

/// What is there, in the old version and without what the server and the engine keep on it.
fn content(shop: &Shop) -> Vec<Object> {
    let old = |mut object: Object| {
        if object.kind() == "Widget" {
            let mut body = object.to_value();
            body["apiVersion"] = "example.com/v1beta1".into();
            object = Object::from_value(body).expect("is an object");
        }
        object
    };
    shop.setup.content().into_iter().map(old).collect()
}

fn operations(planned: &maily_core::engine::Planned) -> Vec<Operation> {
    let changes = planned.plan.changes().filter(|change| change.key.kind.kind == "Widget");
    changes.map(|change| change.operation).collect()
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_was_read_holds_for_an_object_that_moves_to_another_version() {
    for (widgets, size) in [(1, 1), (1, 2), (3, 1), (3, 2)] {
        for depth in [Depth::Read, Depth::DryRun] {
            let shop = shop(601, widgets, size).await;
            let planned = shop.plan_with("v2", PlanOptions::default(), depth).await.expect("can be planned");
            assert_eq!(notes(&planned, "drift"), [""; 0]);
            let expected = if size == 1 { 0 } else { widgets };
            assert_eq!(operations(&planned), vec![Operation::Update; expected], "{depth:?}");
            let adopted = shop.setup.environment().adopt_plan(planned.plan).await.expect("still fits");
            assert!(succeeded(&shop.run(adopted).await));
            let again = shop.plan_with("v2", PlanOptions::default(), depth).await.expect("can be planned");
            assert!(again.plan.is_empty(), "{:?}", again.plan.steps);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_moves_to_another_version_goes_back_without_a_word() {
    for (widgets, size) in [(1, 2), (3, 2), (3, 1)] {
        let shop = shop(602, widgets, size).await;
        let before = content(&shop);
        shop.setup.shared.world().faults.push(fault("crash web"));
        let end = shop.deploy("v2").await;
        let went_back = matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. });
        assert!(went_back, "{end:?}");
        assert_eq!(content(&shop), before);
    }
}

/// What is there is found in the version that is served still.
#[tokio::test(start_paused = true)]
async fn an_object_whose_old_version_is_served_no_more_is_known_still() {
    for (widgets, size) in [(1, 1), (2, 2), (3, 2)] {
        for depth in [Depth::Read, Depth::DryRun] {
            let shop = shop(603, widgets, size).await;
            only_new(&shop).await;
            let planned = shop.plan_with("v2", PlanOptions::default(), depth).await.expect("can be planned");
            assert_eq!(notes(&planned, "drift"), [""; 0]);
            let expected = if size == 1 { 0 } else { widgets };
            assert_eq!(operations(&planned), vec![Operation::Update; expected], "{depth:?}");
            assert!(succeeded(&shop.run(planned).await));
        }
    }
}

/// An edit is told in the version in which the release has it, or not field by field where that cannot be read.
#[tokio::test(start_paused = true)]
async fn an_edit_of_what_moves_to_another_version_is_told_as_such() {
    let shop = shop(604, 1, 1).await;
    let kind = ObjectKind::new("example.com/v1beta1", "Widget");
    let key = ObjectKey::new(kind, Some("shop"), "w-0");
    let edit = json!({"spec": {"size": 7}});
    shop.setup.shared.world().edit_as("kubectl-edit", &key, edit).expect("a person may");
    let error = shop.plan("v2").await.expect_err("is told");
    let said = format!("{error} {error:?}");
    assert!(said.contains("spec.size"), "{said}");
    assert!(!said.contains("apiVersion: "), "{said}");
}

/// Where the version in which the release has it is served no more, an edit is nobody's to take all the same.
#[tokio::test(start_paused = true)]
async fn an_edit_of_what_moves_is_not_overwritten_where_the_old_version_is_served_no_more() {
    for size in [1, 2] {
        for depth in [Depth::Read, Depth::DryRun] {
            let shop = shop(606, 1, size).await;
            only_new(&shop).await;
            let key = ObjectKey::new(ObjectKind::new("example.com/v1", "Widget"), Some("shop"), "w-0");
            let edit = json!({"spec": {"size": 7}});
            shop.setup.shared.world().edit_as("kubectl-edit", &key, edit).expect("a person may");
            let planned = shop.plan_with("v2", PlanOptions::default(), depth).await;
            let error = planned.err().unwrap_or_else(|| panic!("{size}, {depth:?}: is overwritten"));
            let said = format!("{error} {error:?}");
            assert!(said.contains("spec.size 1 -> 7"), "{said}");
        }
    }
}

/// What serves is not missing because the version in which the release has it is served no more; an edit is told still,
/// and what was deleted.
#[tokio::test(start_paused = true)]
async fn what_is_served_in_another_version_is_there_for_whoever_looks() {
    for widgets in [1, 3] {
        let shop = shop(607, widgets, 1).await;
        shop.setup.runtime.sleep(Duration::from_secs(60)).await;
        let seen = async || {
            let status = release::status(&shop.setup.environment(), &shop.resolved()).await;
            let status = status.expect("can be read");
            let api = status.services.into_iter().find(|service| service.name == "api").expect("is there");
            (api.state, api.why, api.drift)
        };
        assert_eq!(seen().await, (ServiceHealth::Serving, None, vec![]));
        only_new(&shop).await;
        assert_eq!(seen().await, (ServiceHealth::Serving, None, vec![]), "{widgets}");
        let key = ObjectKey::new(ObjectKind::new("example.com/v1", "Widget"), Some("shop"), "w-0");
        let edit = json!({"spec": {"size": 7}});
        shop.setup.shared.world().edit_as("kubectl-edit", &key, edit).expect("a person may");
        let told = "Widget.example.com/w-0: spec.size 1 -> 7 (by kubectl-edit)".to_owned();
        assert_eq!(seen().await, (ServiceHealth::Serving, None, vec![told]), "{widgets}");
        shop.setup.shared.world().delete(&key, &Precondition::Any).expect("is there");
        let (state, _, drift) = seen().await;
        assert_eq!(
            (state, drift),
            (ServiceHealth::Missing, vec!["Widget.example.com/w-0 was deleted".to_owned()])
        );
    }
}

/// Nothing is deleted that could not be looked at, and the plan says so; one that stands beside it in a version that is
/// served shows the way.
#[tokio::test(start_paused = true)]
async fn what_goes_of_a_version_that_is_served_no_more_is_told_or_found() {
    let shop = shop(605, 2, 1).await;
    only_new(&shop).await;
    let planned = shop.plan("v3").await.expect("can be planned");
    assert_eq!(operations(&planned), []);
    let told = notes(&planned, "unserved");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("Widget.example.com shop/w-0 cannot be looked at"), "{told:?}");
    assert!(
        told[0].contains("example.com/v1beta1") && told[0].contains("nothing of it is deleted"),
        "{told:?}"
    );
    shop.write("api-v3", &[deployment("api", &[]), widget("w-0", "v1", 1)]);
    let planned = shop.plan("v3").await.expect("can be planned");
    assert_eq!(operations(&planned), [Operation::Delete]);
    assert!(succeeded(&shop.run(planned).await));
    let left: Vec<String> = content(&shop).iter().map(|object| object.key().short()).collect();
    assert!(!left.contains(&"Widget.example.com/w-1".to_owned()), "{left:?}");
}
