//! What stays on record, and what is forgotten.

use maily_core::{
    engine::{Depth, EnvironmentError, ReleaseId, Storage, planner::PlanOptions},
    model::{Project, Retention, Seconds},
    object::Object,
    release::{RollbackTo, rollback, runs},
};
use serde_json::json;

use crate::{
    setup::{Setup, fault, succeeded},
    shop::Shop,
};

#[tokio::test(start_paused = true)]
async fn old_runs_are_forgotten_while_a_new_one_waits_and_the_newest_are_kept() {
    let retention = Retention { releases: 2, age: Seconds(0) };
    let setup = Setup { retention, ..Setup::new(71) };
    for version in ["v1", "v2", "v3", "v4", "v5", "v6"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    let environment = setup.environment();
    let head = environment.head().await.expect("can be read");
    // Two from before the last run, and its own.
    assert_eq!(head.releases, [4, 5, 6].map(ReleaseId));
    let known = runs(&*environment.records, 99).await.expect("can be read");
    let versions: Vec<&str> = known.iter().map(|run| run.versions["api"].as_str()).collect();
    assert_eq!(versions, ["v6", "v5", "v4"]);
    for prefix in ["run/", "blob/", "epoch/", "release/", "swept/"] {
        let keys = environment.records.list(prefix).await.expect("can be read");
        let kept = |key: &String| {
            prefix != "run/" || known.iter().any(|run| key.starts_with(&format!("run/{}/", run.run)))
        };
        assert!(keys.len() < 30 && keys.iter().all(kept), "{keys:?}");
    }
    assert_eq!(environment.records.list("epoch/").await.expect("can be read").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_young_is_kept_whatever_its_number() {
    let retention = Retention { releases: 1, age: Seconds(86_400) };
    let setup = Setup { retention, ..Setup::new(72) };
    for version in ["v1", "v2", "v3"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    let head = setup.environment().head().await.expect("can be read");
    assert_eq!(head.releases, [1, 2, 3].map(ReleaseId));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_reads_the_records_again_while_the_api_refuses() {
    let setup = Setup::new(73);
    for version in ["v1", "v2"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    let environment = setup.environment();
    let project = Project::parse(setup.project, "maily.yaml").expect("a project");
    let resolved = project.resolve("production").expect("is there");
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    setup.shared.world().faults.push(fault("api-down 2"));
    let wanted = rollback(&environment, &resolved, &head, base.as_ref(), &RollbackTo::LastGood, None).await;
    assert_eq!(wanted.expect("is on record").services["api"].version, "v1");
}

#[tokio::test(start_paused = true)]
async fn a_release_in_force_without_its_run_is_an_error() {
    let setup = Setup::new(74);
    assert!(succeeded(&setup.deploy("v1").await));
    let environment = setup.environment();
    let head = environment.head().await.expect("can be read");
    let run = &head.release.as_ref().expect("is released").0;
    for prefix in [format!("run/{run}/"), format!("blob/{run}/")] {
        for key in environment.records.list(&prefix).await.expect("can be read") {
            environment.records.delete(&key).await.expect("is deleted");
        }
    }
    let lost = environment.released(&head).await.expect_err("is lost");
    assert!(matches!(lost, EnvironmentError::ReleaseLost { release: ReleaseId(1), .. }), "{lost}");
    assert!(lost.hint().is_some_and(|hint| hint.contains("backup")));
}

/// Deploys a version with a Secret of this value.
async fn deploy_with(setup: &Setup, version: &str, value: &str) {
    let environment = setup.environment();
    let mut wanted = setup.wanted(version).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-token", "namespace": "shop"},
        "stringData": {"token": value}});
    let api = wanted.services.get_mut("api").expect("is there");
    api.objects.push(Object::from_value(secret).expect("is an object"));
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let options = PlanOptions::default();
    let planned =
        environment.plan(&wanted, head, base.as_ref(), &options, Depth::Read, Storage::Lasting).await;
    let end =
        environment.run(planned.expect("can be planned"), &setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
}

/// Stored values, and how many of them are marked as unused.
fn values(setup: &Setup) -> (usize, usize) {
    let world = setup.shared.world();
    let secrets = world.of_kind("Secret");
    let values: Vec<&&Object> =
        secrets.iter().filter(|secret| secret.name().starts_with("maily-payload-")).collect();
    let marked = values.iter().filter(|value| value.annotation("maily.dev/unused-since").is_some());
    (values.len(), marked.count())
}

#[tokio::test(start_paused = true)]
async fn values_of_secrets_are_forgotten_two_runs_after_the_last_that_had_them() {
    let retention = Retention { releases: 1, age: Seconds(0) };
    let setup = Setup { retention, ..Setup::new(73) };
    let mut seen = Vec::new();
    for (version, value) in [("v1", "a"), ("v2", "b"), ("v3", "c"), ("v4", "d"), ("v5", "e"), ("v6", "f")] {
        deploy_with(&setup, version, value).await;
        seen.push(values(&setup));
    }
    // The run before the last has its own value on record and the one that it replaced.
    assert_eq!(seen, [(1, 0), (2, 0), (3, 0), (4, 1), (4, 1), (4, 1)]);
    // A marked value comes to be used again.
    deploy_with(&setup, "v7", "c").await;
    assert_eq!(values(&setup), (4, 1));
    deploy_with(&setup, "v8", "c").await;
    assert_eq!(values(&setup), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_way_back_to_another_value_of_a_secret_can_be_looked_at_before() {
    let setup = Setup::new(75);
    deploy_with(&setup, "v1", "a").await;
    deploy_with(&setup, "v2", "b").await;
    let environment = setup.environment();
    let project = Project::parse(setup.project, "maily.yaml").expect("a project");
    let resolved = project.resolve("production").expect("is there");
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let wanted = rollback(&environment, &resolved, &head, base.as_ref(), &RollbackTo::LastGood, None).await;
    let wanted = wanted.expect("is on record");
    let options = PlanOptions::default();
    let planned =
        environment.plan(&wanted, head, base.as_ref(), &options, Depth::DryRun, Storage::Lasting).await;
    let planned = planned.expect("can be planned");
    assert!(planned.plan.changes().any(|change| change.key.name == "api-token"));
    let end = environment.run(planned, &setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    let token = setup.content().into_iter().find(|object| object.name() == "api-token").expect("is there");
    assert_eq!(token.text("/data/token"), Some("YQ=="));
}

const ONE: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
";

const WITH_WORKER: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  worker: {workload: {command: [work], scale: 1}}
";

/// That a service is gone is a state, which a way back brings as any other.
#[tokio::test(start_paused = true)]
async fn the_last_good_release_is_found_behind_services_that_came_and_went() {
    let mut shop = Shop::new(ONE, 109);
    for (project, version) in [(ONE, "v1"), (ONE, "v2"), (WITH_WORKER, "v3"), (ONE, "v4")] {
        shop.setup.project = project;
        assert!(succeeded(&shop.deploy(version).await));
    }
    for (to, version) in [(RollbackTo::Version("v2".to_owned()), "v2"), (RollbackTo::LastGood, "v1")] {
        let planned = shop.back(to, None, PlanOptions::default()).await.expect("can be planned");
        assert!(succeeded(&shop.run(planned).await));
        assert_eq!(shop.released().await.head.versions["api"], version);
    }
}
