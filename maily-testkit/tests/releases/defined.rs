//! Kinds that one service defines and another one has objects of.

use std::time::Duration;

use maily_core::{
    engine::{Depth, StepId, Wish, planner::PlanOptions},
    release::PrepareError,
    runtime::within,
};
use serde_json::{Value, json};

use crate::{
    setup::{fault, succeeded},
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

const SHARED: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
sources:
  app: {manifests: 'user-{version}.yaml'}
services:
  api: {from: app}
  z-operator: {manifests: 'operator-{version}.yaml'}
";

/// What is shared comes before every service.
#[tokio::test(start_paused = true)]
async fn a_shared_object_of_a_kind_that_a_service_has_still_to_define_is_told() {
    let shop = shop(SHARED, 404);
    shop.write("user-v1", &[widget(1), deployment("api", &[])]);
    let said = told(shop.plan("v1").await).await;
    assert!(said.contains("Widget.example.com shop/w") && said.contains("z-operator"), "{said}");
    assert!(said.contains("release `z-operator` first"), "{said}");
}

/// An operator takes its finalizers off while it may.
#[tokio::test(start_paused = true)]
async fn what_goes_leaves_an_operator_until_its_objects_are_gone() {
    let shop = Shop::new(APART, 405);
    let named = |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "operator"}});
    let rbac = "rbac.authorization.k8s.io/v1";
    let mut binding = named(rbac, "RoleBinding");
    binding["roleRef"] = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"});
    let operator = [
        definition(1),
        named("v1", "ServiceAccount"),
        named(rbac, "Role"),
        binding,
        deployment("operator", &[]),
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "own"}}),
    ];
    let rest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rest"}});
    shop.write("operator-v1", &operator);
    shop.write("operator-v2", &[definition(1), rest]);
    shop.write("user-v1", &[widget(1), deployment("user", &[])]);
    shop.write("user-v2", &[deployment("user", &[])]);
    assert!(succeeded(&shop.deploy("v1").await));
    let planned = shop.plan("v2").await.expect("can be planned");
    let going: Vec<(&str, Vec<&str>)> = planned
        .plan
        .steps
        .iter()
        .filter(|step| step.id.as_str().ends_with("/prune"))
        .map(|step| {
            let kinds = step.work.changes().iter().map(|change| change.key.kind.kind.as_str());
            (step.id.as_str(), kinds.collect())
        })
        .collect();
    let of_operator = vec!["Widget", "Deployment", "RoleBinding", "Role", "ServiceAccount"];
    assert_eq!(
        going,
        [("production/a-user/prune", vec!["Widget"]), ("production/z-operator/prune", of_operator)]
    );
    assert!(succeeded(&shop.run(planned).await));
    // The operator waits until another service's custom objects are gone, whatever it has itself.
    for own in [5, operator.len()] {
        shop.write("operator-v3", &operator[..own]);
        shop.write("user-v3", &[widget(1), deployment("user", &[])]);
        assert!(succeeded(&shop.deploy("v3").await));
        let planned = shop.plan("v2").await.expect("can be planned");
        let step =
            |id: &str| planned.plan.steps.iter().find(|step| step.id.as_str() == id).expect("is planned");
        let user: StepId = step("production/a-user/prune").id.clone();
        assert!(step("production/z-operator/prune").needs.contains(&user));
        assert!(!step("production/a-user/prune").needs.iter().any(|need| need.as_str().ends_with("/prune")));
        assert!(succeeded(&shop.run(planned).await));
    }
}

const OF_ONE_SOURCE: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
sources:
  app: {manifests: 'app-{version}.yaml'}
services:
  a-user: {from: app}
  operator: {from: app}
";

const WITHOUT_OPERATOR: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
sources:
  app: {manifests: 'app-{version}.yaml'}
services:
  a-user: {from: app}
";

/// Of steps that take something away, those for which one of them waits.
fn waits(planned: &maily_core::engine::Planned, id: &str) -> Vec<String> {
    let goes = |id: &StepId| id.as_str().ends_with("/prune") || id.as_str().ends_with("/remove");
    let step = planned.plan.steps.iter().find(|step| step.id.as_str() == id).expect("is planned");
    step.needs.iter().filter(|need| goes(need)).map(ToString::to_string).collect()
}

/// Whoever defines the kind: a shared object, somebody else, or a run that was ended as it was.
#[tokio::test(start_paused = true)]
async fn an_operator_is_waited_for_whoever_defines_its_kind() {
    let mut shop = Shop::new(OF_ONE_SOURCE, 406);
    let user = deployment("a-user", &[]);
    shop.write("app-v1", &[definition(1), widget(1), user.clone(), deployment("operator", &[])]);
    shop.write("app-v2", &[definition(1), user]);
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.project = WITHOUT_OPERATOR;
    let planned = shop.plan("v2").await.expect("can be planned");
    assert_eq!(waits(&planned, "production/operator/prune"), ["production/shared/remove"]);
    assert!(waits(&planned, "production/shared/remove").is_empty());
    assert!(succeeded(&shop.run(planned).await));

    let shop = Shop::new(APART, 407);
    shop.make(&definition(1)).await;
    let rest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rest"}});
    shop.write("operator-v1", &[rest.clone(), deployment("operator", &[])]);
    shop.write("operator-v2", std::slice::from_ref(&rest));
    shop.write("user-v1", &[widget(1), deployment("user", &[])]);
    shop.write("user-v2", &[deployment("user", &[])]);
    assert!(succeeded(&shop.deploy("v1").await));
    let planned = shop.plan("v2").await.expect("can be planned");
    assert_eq!(waits(&planned, "production/z-operator/prune"), ["production/a-user/prune"]);
    assert!(waits(&planned, "production/a-user/prune").is_empty());
    assert!(succeeded(&shop.run(planned).await));

    let shop = Shop::new(APART, 408);
    shop.write("operator-v1", std::slice::from_ref(&rest));
    shop.write("operator-v2", &[rest, definition(1), deployment("operator", &[])]);
    shop.write("user-v1", &[deployment("user", &[])]);
    let mut user = deployment("user", &[]);
    user["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/user:2".into();
    shop.write("user-v2", &[widget(1), user]);
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.push(fault("never-ready user"));
    let died = within(&*shop.setup.runtime, Duration::from_secs(20), shop.deploy("v2")).await;
    assert!(died.is_none());
    shop.setup.shared.world().faults.clear();
    let left = shop.setup.environment().take_over(None, Wish::Leave, &shop.setup.options("second")).await;
    assert!(left.is_ok_and(|end| end.is_some()));
    let planned = shop.plan("v1").await.expect("can be planned");
    assert_eq!(waits(&planned, "production/z-operator/prune"), ["production/a-user/prune"]);
    assert!(succeeded(&shop.run(planned).await));
}
