//! Fields of others are taken from those who were named, and from nobody else.

use std::time::Duration;

use maily_core::{
    engine::{
        Depth, EnvironmentError, Operation, Planned, Storage,
        planner::{Force, PlanOptions},
    },
    object::{Object, ObjectKey, ObjectKind},
};
use serde_json::json;

use crate::{
    setup::{Setup, fault, succeeded},
    shop::{OF_MANIFESTS, Shop, deployment},
};

async fn plan(setup: &Setup, force: Force) -> Result<Planned, EnvironmentError> {
    let environment = setup.environment();
    let wanted = setup.wanted("v2").await;
    let head = environment.head().await?;
    let base = environment.released(&head).await?;
    let options = PlanOptions { force, ..PlanOptions::default() };
    environment.plan(&wanted, head, base.as_ref(), &options, Depth::DryRun, Storage::Passing).await
}

#[tokio::test(start_paused = true)]
async fn only_what_is_named_is_taken() {
    let setup = Setup::new(92);
    setup.deploy("v1").await;
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    let theirs = json!({"spec": {"replicas": 7}});
    setup.shared.world().edit_as("config-bot", &key, theirs).expect("a bot may");
    let only = |names: &[&str]| Force::Only(names.iter().map(|&name| name.to_owned()).collect());
    for force in [Force::Nothing, only(&["other-bot", "Deployment/web"])] {
        let error = plan(&setup, force).await.expect_err("is refused").to_string();
        assert!(error.contains("Deployment shop/api: config-bot manages spec.replicas"), "{error}");
        assert!(error.contains("`--force-conflicts=config-bot`"), "{error}");
    }
    for force in [Force::All, only(&["config-bot"]), only(&["Deployment/api", "x"])] {
        plan(&setup, force).await.expect("can be planned");
    }
}

const PAIR: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  cache: {image: 'registry.example/cache:1', workload: {port: 6379, scale: 1}}
  web: {needs: [cache], workload: {port: 8080, scale: 1}}
";

#[tokio::test(start_paused = true)]
async fn a_refusal_comes_with_the_plan_that_takes_what_others_have_set_or_with_what_stands_behind() {
    let setup = Setup::of(PAIR, 94);
    assert!(succeeded(&setup.deploy("v1").await));
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "web");
    let theirs = json!({"spec": {"replicas": 7}});
    setup.shared.world().edit_as("config-bot", &key, theirs).expect("a bot may");
    let refused = plan(&setup, Force::Nothing).await.expect_err("is refused");
    let EnvironmentError::Problems(problems, Some(forced)) = &refused else { panic!("{refused}") };
    assert!(problems.are_conflicts(), "{problems}");
    let taken = plan(&setup, Force::All).await.expect("can be planned").plan;
    assert_eq!((&forced.plan.steps, &forced.plan.digest), (&taken.steps, &taken.digest));
    setup.shared.world().faults.push(fault("never-ready cache@1"));
    setup.runtime.sleep(Duration::from_secs(20)).await;
    let refused = plan(&setup, Force::Nothing).await.expect_err("is refused");
    let said = refused.to_string();
    assert!(said.contains("config-bot manages") && said.contains("web needs cache"), "{said}");
    assert!(matches!(refused, EnvironmentError::Problems(_, None)));
}

/// The small shop with a binding to a role.
async fn bound(setup: &Setup, role: &str, options: &PlanOptions) -> Result<Planned, EnvironmentError> {
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "api", "namespace": "shop"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}});
    let api = wanted.services.get_mut("api").expect("is there");
    api.objects.push(Object::from_value(binding).expect("is an object"));
    let head = environment.head().await?;
    let base = environment.released(&head).await?;
    environment.plan(&wanted, head, base.as_ref(), options, Depth::DryRun, Storage::Lasting).await
}

#[tokio::test(start_paused = true)]
async fn what_cannot_change_in_place_is_replaced_whatever_the_server_calls_it() {
    let setup = Setup::new(93);
    let first = bound(&setup, "reader", &PlanOptions::default()).await.expect("can be planned");
    assert!(succeeded(&setup.environment().run(first, &setup.options("tester")).await.expect("runs")));
    let refused = bound(&setup, "writer", &PlanOptions::default()).await.expect_err("is refused").to_string();
    assert!(refused.contains("roleRef") && refused.contains("--allow-replace RoleBinding/api"), "{refused}");
    let replace = ["RoleBinding/api".to_owned()].into_iter().collect();
    let options = PlanOptions { replace, ..PlanOptions::default() };
    let planned = bound(&setup, "writer", &options).await.expect("can be planned");
    assert!(planned.plan.changes().any(|change| change.operation == Operation::Replace));
}

/// The server adds defaults inside of such a list, and people other things.
#[tokio::test(start_paused = true)]
async fn what_a_person_adds_inside_of_a_list_is_not_taken_in_silence() {
    let shop = Shop::new(OF_MANIFESTS, 96);
    let walls = |tier: &str| {
        let metadata = json!({"name": "walls", "labels": {"tier": tier}});
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata,
            "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 8080}]}]}})
    };
    shop.write("v1", &[walls("a")]);
    shop.write("v2", &[walls("b")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let key = ObjectKey::new(ObjectKind::new("networking.k8s.io/v1", "NetworkPolicy"), Some("shop"), "walls");
    let from = json!([{"ports": [{"port": 8080}], "from": [{"podSelector": {}}]}]);
    let by_hand = json!({"spec": {"ingress": from}});
    shop.setup.shared.world().edit_as("kubectl-edit", &key, by_hand).expect("a person may");
    for depth in [Depth::Read, Depth::DryRun] {
        let refused = shop.plan_with("v2", PlanOptions::default(), depth).await.expect_err("is refused");
        let refused = refused.to_string();
        assert!(refused.contains("by kubectl-edit: spec.ingress"), "{refused}");
    }
}

/// A field that only the new version has may hold what a person has put there by hand: the last release never set it.
#[tokio::test(start_paused = true)]
async fn what_a_person_set_and_no_release_is_not_taken_in_silence() {
    let shop = Shop::new(OF_MANIFESTS, 95);
    let web = |seconds: Option<u64>| {
        let mut web = deployment("web", &[]);
        web["spec"]
            .as_object_mut()
            .expect("a map")
            .extend(seconds.map(|s| ("minReadySeconds".into(), s.into())));
        [web]
    };
    shop.write("v1", &web(None));
    shop.write("v2", &web(Some(3)));
    shop.write("v3", &web(Some(7)));
    assert!(succeeded(&shop.deploy("v1").await));
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "web");
    let by_hand = json!({"spec": {"minReadySeconds": 7}});
    shop.setup.shared.world().edit_as("kubectl-patch", &key, by_hand).expect("a person may");
    let refused = shop.plan("v2").await.expect_err("is refused").to_string();
    assert!(refused.contains("spec.minReadySeconds 7"), "{refused}");
    shop.plan("v3").await.expect("nobody loses anything");
    let options = PlanOptions { force: Force::All, ..PlanOptions::default() };
    shop.plan_with("v2", options, Depth::DryRun).await.expect("it was said");
}
