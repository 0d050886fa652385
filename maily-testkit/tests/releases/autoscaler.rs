//! Workloads whose replicas an autoscaler sets: its number is nobody else's.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{Depth, Outcome, RunEnd, SCALE_MANAGER, Wish, planner::PlanOptions},
    object::{FieldSet, Object, ObjectKey, ObjectKind},
    provider::{Precondition, WriteOptions},
};
use serde_json::{Value, json};

use crate::{
    hindered::Hindered,
    last_look::{dies_while_it_looks, not_serving},
    setup::{Setup, fault, succeeded},
    shop::{OF_MANIFESTS, Shop},
};

const FIXED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 3}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
";

const SCALED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 4..6}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
";

fn api() -> ObjectKey {
    ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api")
}

fn live(setup: &Setup) -> Object {
    setup.shared.world().get(&api()).expect("is there").clone()
}

fn holds_replicas(object: &Object, manager: &str) -> bool {
    FieldSet::owned_by(object, |name| name == manager).contains(&["spec", "replicas"])
}

/// What the autoscaler's controller does under load.
fn scale(setup: &Setup, replicas: u32) {
    let patch = json!({"spec": {"replicas": replicas}});
    setup.shared.world().edit_as("kube-controller-manager", &api(), patch).expect("may scale");
}

const ONE: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
";

/// As long as it is there, the number is its own: it would scale up what the version has just set.
#[tokio::test(start_paused = true)]
async fn an_autoscaler_goes_before_its_workload_gets_a_number_of_its_own() {
    for fails in [false, true] {
        let mut setup = Setup::of(SCALED, 164);
        assert!(succeeded(&setup.deploy("v1").await));
        setup.project = ONE;
        if fails {
            setup.shared.world().faults.push(fault("crash api@v2"));
        }
        let end = setup.deploy("v2").await;
        setup.runtime.sleep(Duration::from_secs(30)).await;
        let replicas = live(&setup).int("/spec/replicas");
        if fails {
            assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
            assert_eq!(replicas, Some(4));
        } else {
            assert!(succeeded(&end), "{end:?}");
            assert_eq!(replicas, Some(1));
        }
        let is_scaled = setup.shared.world().of_kind("HorizontalPodAutoscaler").len() == 1;
        assert_eq!(is_scaled, fails);
    }
}

const KEPT: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 4..6}}
  keeper: {needs: [api], workload: {port: 8080, scale: 1, volumes: {data: {mount: /data, size: 1Gi}}}}
";

const KEPT_ONE: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  keeper: {needs: [api], workload: {port: 8080, scale: 1, volumes: {data: {mount: /data, size: 1Gi}}}}
";

/// That it was made again is no reason to keep still until the run is over; a person who scales is told.
#[tokio::test(start_paused = true)]
async fn the_number_of_an_autoscaler_that_was_made_again_is_nobodys_edit() {
    for (by, told) in [("kube-controller-manager", false), ("kubectl-scale", true)] {
        let mut setup = Setup::of(KEPT, 165);
        assert!(succeeded(&setup.deploy("v1").await));
        setup.project = KEPT_ONE;
        dies_while_it_looks(&setup).await;
        assert_eq!(live(&setup).int("/spec/replicas"), Some(4));
        let patch = json!({"spec": {"replicas": 6}});
        setup.shared.world().edit_as(by, &api(), patch).expect("may scale");
        let end = setup.environment().take_over(None, Wish::Resume, &setup.options("another")).await;
        let end = end.expect("goes on").expect("was unfinished");
        let messages: Vec<&str> = not_serving(&end).iter().map(|failure| &*failure.message).collect();
        let scaled = [
            "Deployment shop/api was changed since it was put back: spec.replicas 4 -> 6 (by kubectl-scale)",
        ];
        assert_eq!(messages, if told { &scaled[..] } else { &[] });
    }
}

/// It was made, and its process ended before the number with which it begins was handed over.
#[tokio::test(start_paused = true)]
async fn what_was_made_and_not_handed_over_yet_is_handed_over_by_whoever_goes_on() {
    let mut setup = Setup::of(SCALED, 161);
    setup.cluster = Some(Arc::new(Hindered { silent_to: Some(SCALE_MANAGER), ..Hindered::of(&setup) }));
    let planned = setup.plan("v1", Depth::Read).await.expect("can be planned");
    {
        let (environment, options) = (setup.environment(), setup.options("tester"));
        let run = environment.run(planned, &options);
        let dies = setup.runtime.sleep(Duration::from_secs(2));
        futures::pin_mut!(run, dies);
        let first = futures::future::select(run, dies).await;
        assert!(matches!(first, futures::future::Either::Right(_)), "it dies before it has handed over");
    }
    assert!(!holds_replicas(&live(&setup), SCALE_MANAGER));
    setup.cluster = None;
    let end = setup.environment().take_over(None, Wish::Resume, &setup.options("another")).await;
    let end = end.expect("goes on").expect("was unfinished");
    assert!(succeeded(&end), "{end:?}");
    assert!(holds_replicas(&live(&setup), SCALE_MANAGER));
    assert_eq!(live(&setup).int("/spec/replicas"), Some(4));
}

/// An autoscaler that somebody made by hand.
fn by_hand(setup: &Setup) {
    let autoscaler = Object::from_value(json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs", "namespace": "shop"},
        "spec": {"minReplicas": 2, "maxReplicas": 9,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}},
    }))
    .expect("an object");
    let options = WriteOptions::apply("kubectl", Precondition::Absent);
    setup.shared.world().write(&autoscaler, &options).expect("can be made");
}

#[tokio::test(start_paused = true)]
async fn replicas_that_were_handed_over_come_back_with_the_number_that_serves() {
    let mut setup = Setup::of(FIXED, 21);
    assert!(succeeded(&setup.deploy("v1").await));
    assert!(holds_replicas(&live(&setup), "maily"));
    setup.project = SCALED;
    setup.shared.world().faults.push(fault("crash web@v2"));
    let end = setup.deploy("v2").await;
    assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    let back = live(&setup);
    assert_eq!(back.int("/spec/replicas"), Some(4));
    assert!(holds_replicas(&back, "maily"), "{:?}", back.at("/metadata/managedFields"));
    let theirs = FieldSet::owned_by(&back, |name| name == SCALE_MANAGER);
    assert!(theirs.is_empty(), "{:?}", theirs.paths());
    // The next release of the old kind has nothing to take from anybody.
    setup.project = FIXED;
    setup.shared.world().faults.clear();
    assert!(succeeded(&setup.deploy("v3").await));
    assert_eq!(live(&setup).int("/spec/replicas"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_an_autoscaler_that_is_not_ours_stays() {
    let setup = Setup::of(FIXED, 22);
    assert!(succeeded(&setup.deploy("v1").await));
    by_hand(&setup);
    scale(&setup, 5);
    assert!(succeeded(&setup.deploy("v2").await));
    assert_eq!(live(&setup).int("/spec/replicas"), Some(5));
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_that_has_not_scaled_yet_is_seen_as_well() {
    let setup = Setup::of(FIXED, 23);
    assert!(succeeded(&setup.deploy("v1").await));
    by_hand(&setup);
    assert!(succeeded(&setup.deploy("v2").await));
    assert!(!holds_replicas(&live(&setup), "maily"));
    assert_eq!(live(&setup).int("/spec/replicas"), Some(3));
}

/// `api` with so many replicas, and an autoscaler where one is asked for.
fn manifests(replicas: i64, scaled: bool) -> Vec<Value> {
    let labels = json!({"app": "api"});
    let mut all = vec![json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "api", "image": "registry.example/api:1"}]}}}})];
    if scaled {
        all.push(json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "api"}, "spec": {"minReplicas": 3, "maxReplicas": 9,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}}));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_begins_with_what_serves_and_not_with_what_a_version_had_stopped() {
    let shop = Shop::new(OF_MANIFESTS, 151);
    shop.write("v1", &manifests(5, true));
    shop.write("v2", &manifests(0, false));
    shop.write("v3", &manifests(0, true));
    assert!(succeeded(&shop.deploy("v1").await));
    let serving = |shop: &Shop| live(&shop.setup).int("/status/availableReplicas").unwrap_or_default();
    // From the first moment on, and not ours to keep.
    assert_eq!(serving(&shop), 5);
    assert!(
        holds_replicas(&live(&shop.setup), SCALE_MANAGER) && !holds_replicas(&live(&shop.setup), "maily")
    );
    for (version, replicas) in [("v2", 0), ("v1", 5), ("v2", 0), ("v3", 3)] {
        assert!(succeeded(&shop.deploy(version).await), "{version}");
        assert_eq!(serving(&shop), replicas, "{version}");
    }
    // A run that fails goes back to none.
    assert!(succeeded(&shop.deploy("v2").await));
    let before = shop.setup.content();
    shop.setup.shared.world().faults.push(fault("never-ready api@1"));
    let planned = shop.plan_with("v1", quick(), Depth::Read).await.expect("can be planned");
    let end = shop.run(planned).await;
    assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!(shop.setup.content(), before);
}

fn quick() -> PlanOptions {
    PlanOptions { timeout_s: Some(20), ..PlanOptions::default() }
}
