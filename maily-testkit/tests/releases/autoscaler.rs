//! Workloads whose replicas an autoscaler sets: its number is nobody else's.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{Depth, Outcome, RunEnd, SCALE_MANAGER, Wish, planner::PlanOptions},
    object::{FieldSet, Object, ObjectKey, ObjectKind},
    provider::{Precondition, WriteOptions},
    release::RollbackTo,
    runtime::within,
};
use serde_json::{Value, json};

use crate::{
    hindered::Hindered,
    last_look::{dies_while_it_looks, not_serving},
    setup::{Setup, fault, succeeded},
    shop::{OF_MANIFESTS, Shop, deployment, notes},
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

/// A shop whose second version makes `api` again, beside `web`; the first one is in force, and the autoscaler has scaled.
async fn to_be_made_again(seed: u64) -> Shop {
    let shop = Shop::new(OF_MANIFESTS, seed);
    let version = |app: &str, image: &str| {
        let mut all = manifests(3, true);
        all[0]["spec"]["selector"]["matchLabels"] = json!({"app": app});
        all[0]["spec"]["template"]["metadata"]["labels"] = json!({"app": app});
        let mut web = deployment("web", &[]);
        web["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        all.push(web);
        all
    };
    shop.write("v1", &version("old", "registry.example/web:1"));
    shop.write("v2", &version("new", "registry.example/web:2"));
    assert!(succeeded(&shop.deploy("v1").await));
    scale(&shop.setup, 4);
    shop.setup.runtime.sleep(Duration::from_secs(30)).await;
    shop
}

async fn made_again(shop: &Shop) -> maily_core::engine::Planned {
    let mut options = quick();
    options.replace.insert("Deployment/api".to_owned());
    shop.plan_with("v2", options, Depth::DryRun).await.expect("can be planned")
}

fn label(shop: &Shop) -> Option<String> {
    live(&shop.setup).text("/spec/selector/matchLabels/app").map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn what_is_made_again_begins_with_the_number_that_its_autoscaler_had_set() {
    let shop = to_be_made_again(181).await;
    let planned = made_again(&shop).await;
    // Until its turn comes, the autoscaler goes on.
    scale(&shop.setup, 5);
    let end = shop.run(planned).await;
    assert!(succeeded(&end), "{end:?}");
    let now = live(&shop.setup);
    assert_eq!((label(&shop).as_deref(), now.int("/spec/replicas")), (Some("new"), Some(4)));
    assert!(holds_replicas(&now, SCALE_MANAGER) && !holds_replicas(&now, "maily"));
    // What was handed over is not handed over again, and the next plan has nothing to do.
    assert!(shop.plan("v2").await.expect("can be planned").plan.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_made_again_goes_back_with_the_number_that_served() {
    let shop = to_be_made_again(182).await;
    shop.setup.shared.world().faults.push(fault("crash web@2"));
    let planned = made_again(&shop).await;
    let end = shop.run(planned).await;
    assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!((label(&shop).as_deref(), live(&shop.setup).int("/spec/replicas")), (Some("old"), Some(4)));
    // From there on all goes as before.
    shop.setup.shared.world().faults.clear();
    let planned = made_again(&shop).await;
    assert!(succeeded(&shop.run(planned).await));
    let now = live(&shop.setup);
    assert_eq!((label(&shop).as_deref(), now.int("/spec/replicas")), (Some("new"), Some(4)));
    assert!(holds_replicas(&now, SCALE_MANAGER) && !holds_replicas(&now, "maily"));
}

/// It was deleted and made again, and its process ended before the number was handed over.
#[tokio::test(start_paused = true)]
async fn what_was_made_again_and_not_handed_over_yet_ends_right_either_way() {
    for (seed, wish) in [(183, Wish::Resume), (184, Wish::Abort)] {
        let mut shop = to_be_made_again(seed).await;
        let planned = made_again(&shop).await;
        shop.setup.cluster =
            Some(Arc::new(Hindered { silent_to: Some(SCALE_MANAGER), ..Hindered::of(&shop.setup) }));
        let died = within(&*shop.setup.runtime, Duration::from_secs(4), shop.run(planned)).await;
        assert!(died.is_none(), "it dies before it has handed over: {died:?}");
        assert_eq!(label(&shop).as_deref(), Some("new"));
        assert!(!holds_replicas(&live(&shop.setup), SCALE_MANAGER));
        shop.setup.cluster = None;
        let (environment, options) = (shop.setup.environment(), shop.setup.options("another"));
        let end =
            environment.take_over(None, wish, &options).await.expect("goes on").expect("was unfinished");
        let now = live(&shop.setup);
        assert_eq!(now.int("/spec/replicas"), Some(4));
        if wish == Wish::Resume {
            assert!(succeeded(&end), "{end:?}");
            assert_eq!(label(&shop).as_deref(), Some("new"));
            assert!(holds_replicas(&now, SCALE_MANAGER) && !holds_replicas(&now, "maily"));
        } else {
            assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
            assert_eq!(label(&shop).as_deref(), Some("old"));
        }
    }
}

/// Its process ended before it came to it: who goes back leaves it as it is, and its number to whom it is handed over.
#[tokio::test(start_paused = true)]
async fn what_was_not_made_again_yet_is_left_as_it_was() {
    let mut shop = Shop::new(OF_MANIFESTS, 185);
    for (version, app) in [("v1", "old"), ("v2", "new")] {
        let mut all = manifests(3, true);
        all[0]["spec"]["selector"]["matchLabels"] = json!({"app": app});
        all[0]["spec"]["template"]["metadata"]["labels"] = json!({"app": app});
        // It is written first.
        all.push(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": app}}),
        );
        shop.write(version, &all);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    let planned = made_again(&shop).await;
    shop.setup.cluster = Some(Arc::new(Hindered { silent_to: Some("maily"), ..Hindered::of(&shop.setup) }));
    let died = within(&*shop.setup.runtime, Duration::from_secs(4), shop.run(planned)).await;
    assert!(died.is_none(), "{died:?}");
    shop.setup.cluster = None;
    let (environment, options) = (shop.setup.environment(), shop.setup.options("another"));
    let end = environment.take_over(None, Wish::Abort, &options).await.expect("goes back");
    assert!(matches!(end, Some(RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. })), "{end:?}");
    let now = live(&shop.setup);
    assert_eq!((label(&shop).as_deref(), now.int("/spec/replicas")), (Some("old"), Some(3)));
    assert!(holds_replicas(&now, SCALE_MANAGER) && !holds_replicas(&now, "maily"));
}

/// Operators give the autoscalers that they make the labels of what they make them for: no release has them.
#[tokio::test(start_paused = true)]
async fn an_autoscaler_with_our_labels_that_no_release_has_keeps_its_number() {
    let setup = Setup::of(FIXED, 166);
    assert!(succeeded(&setup.deploy("v1").await));
    by_hand(&setup);
    let key =
        ObjectKey::new(ObjectKind::new("autoscaling/v2", "HorizontalPodAutoscaler"), Some("shop"), "theirs");
    let labels = json!({"metadata": {"labels": {"maily.dev/project": "shop", "maily.dev/environment": "production",
        "maily.dev/service": "api"}}});
    setup.shared.world().edit_as("keda-operator", &key, labels).expect("may edit");
    scale(&setup, 8);
    assert!(succeeded(&setup.deploy("v2").await));
    assert_eq!(live(&setup).int("/spec/replicas"), Some(8));
}

/// The release that comes back has no number of its own, and the server would make one of that.
#[tokio::test(start_paused = true)]
async fn a_way_back_to_a_release_whose_autoscaler_is_gone_keeps_the_number_that_serves() {
    let shop = Shop::new(OF_MANIFESTS, 167);
    let api = |replicas: i64, image: &str| {
        let mut api = deployment("api", &[]);
        api["spec"]["replicas"] = replicas.into();
        api["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        [api]
    };
    shop.write("v1", &api(2, "registry.example/api:1"));
    shop.write("v2", &api(5, "registry.example/api:2"));
    shop.write("v3", &api(5, "registry.example/api:3"));
    assert!(succeeded(&shop.deploy("v1").await));
    by_hand(&shop.setup);
    assert!(succeeded(&shop.deploy("v2").await));
    let key =
        ObjectKey::new(ObjectKind::new("autoscaling/v2", "HorizontalPodAutoscaler"), Some("shop"), "theirs");
    shop.setup.shared.world().delete(&key, &Precondition::Any).expect("a person may");
    assert!(succeeded(&shop.deploy("v3").await));
    assert_eq!(live(&shop.setup).int("/spec/replicas"), Some(5));
    let planned =
        shop.back(RollbackTo::LastGood, None, PlanOptions::default()).await.expect("can be planned");
    let told = notes(&planned, "replicas");
    assert!(told.len() == 1 && told[0].contains("keeps its 5 pods"), "{told:?}");
    let fields = planned.plan.changes().flat_map(|change| &change.fields);
    let paths: Vec<&str> = fields.map(|field| &*field.path).collect();
    assert!(!paths.is_empty() && !paths.contains(&"spec.replicas"), "{paths:?}");
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!(live(&shop.setup).int("/spec/replicas"), Some(5));
    let image = live(&shop.setup).text("/spec/template/spec/containers/0/image").map(str::to_owned);
    assert_eq!(image.as_deref(), Some("registry.example/api:2"));
}
