//! Kinds that one service defines and another one has objects of.

use maily_core::{
    engine::{Depth, planner::PlanOptions},
    release::PrepareError,
};
use serde_json::{Value, json};

use crate::{
    setup::succeeded,
    shop::{Shop, deployment},
};

/// The names are such that nothing but the definition orders them.
const APART: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  a-user: {manifests: 'user-{version}.yaml'}
  z-operator: {manifests: 'operator-{version}.yaml'}
";

const ROUND: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  a-user: {manifests: 'user-{version}.yaml'}
  z-operator: {needs: [a-user], manifests: 'operator-{version}.yaml'}
";

const LATER: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  a-user: {manifests: 'user-{version}.yaml'}
  z-operator: {manifests: 'operator-{version}.yaml'}
phases:
  - {name: one, environment: production, services: [a-user]}
  - {name: two, environment: production, services: [z-operator]}
";

fn definition(columns: i64) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com", "annotations": {"columns": columns.to_string()}},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true}]}})
}

fn widget(size: i64) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": size}})
}

fn shop(project: &'static str, seed: u64) -> Shop {
    let shop = Shop::new(project, seed);
    for (version, columns, size) in [("v1", 1, 1), ("v2", 2, 2), ("v3", 2, 3)] {
        shop.write(&format!("operator-{version}"), &[definition(columns), deployment("operator", &[])]);
        shop.write(&format!("user-{version}"), &[widget(size)]);
    }
    shop
}

async fn told(planned: Result<maily_core::engine::Planned, PrepareError>) -> String {
    let error = planned.expect_err("cannot be planned");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!("\n{cause}"));
        source = cause.source();
    }
    text
}

/// What the step of the user's objects waits for.
fn waits_for(planned: &maily_core::engine::Planned) -> Vec<&str> {
    let step = planned.plan.steps.iter().find(|step| step.id.as_str() == "production/a-user/rollout");
    step.expect("is planned").needs.iter().map(|need| need.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn objects_go_after_the_service_that_defines_their_kind() {
    let shop = shop(APART, 401);
    for (version, after) in [("v1", true), ("v2", true), ("v3", false)] {
        for depth in [Depth::Read, Depth::DryRun] {
            let planned =
                shop.plan_with(version, PlanOptions::default(), depth).await.expect("can be planned");
            // One that the version leaves as it is keeps nobody waiting.
            let expected: &[&str] = if after { &["production/z-operator/rollout"] } else { &[] };
            assert_eq!(waits_for(&planned), expected, "{version}");
        }
        let end = shop.deploy(version).await;
        assert!(succeeded(&end), "{end:?}");
    }
    assert!(shop.live("example.com/v1", "Widget", Some("shop"), "w").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_cannot_be_defined_in_time_is_told_before_anything_is_written() {
    let round = shop(ROUND, 402);
    let said = told(round.plan("v1").await).await;
    let circle = "a-user -> z-operator (which defines the kind of Widget.example.com/w) -> a-user";
    assert!(said.contains(circle), "{said}");
    assert!(said.contains("in a service of its own"), "{said}");
    let later = shop(LATER, 403);
    let said = told(later.plan("v1").await).await;
    let comes = "Widget.example.com shop/w is of a kind that z-operator defines, which comes in a later phase and is not there yet";
    assert!(said.contains(comes), "{said}");
    // Where the cluster has it, needs count, and the way round is none.
    for (project, seed) in [(ROUND, 404), (LATER, 405)] {
        let shop = shop(project, seed);
        shop.make(&definition(0)).await;
        let end = shop.deploy("v1").await;
        assert!(succeeded(&end), "{end:?}");
    }
}
