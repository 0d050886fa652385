//! A deploy of what is there already: whether it serves is seen all the same, and nothing is written.

use std::{collections::BTreeSet, time::Duration};

use maily_core::{
    engine::{Failure, Outcome, Planned, ReleaseId, RunEnd, What, Wish},
    object::{ObjectKey, ObjectKind},
    provider::{Cluster as _, Dependents, Precondition, WriteOptions},
    release::{never_had, status},
};
use maily_testkit::sim::SimCluster;
use serde_json::json;

use crate::{
    setup::{Setup, fault, succeeded},
    shop::{OF_MANIFESTS, Shop, components, deployment, notes},
};

async fn not_serving(setup: &Setup, planned: Planned) -> Vec<Failure> {
    assert!(planned.plan.is_empty(), "{:?}", planned.plan.steps);
    let end = setup.environment().run(planned, &setup.options("tester")).await.expect("looks");
    let RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving } } = end else {
        panic!("{end:?}")
    };
    not_serving
}

const PAIR: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 2}}
  web: {workload: {port: 8080, scale: 1}}
";

#[tokio::test(start_paused = true)]
async fn what_is_as_it_was_wanted_and_does_not_serve_is_no_success() {
    let shop = Shop::new(PAIR, 121);
    let setup = &shop.setup;
    assert!(succeeded(&shop.deploy("v1").await));
    setup.shared.world().faults.extend([fault("crash api@v1"), fault("never-ready web@v1")]);
    setup.runtime.sleep(Duration::from_secs(20)).await;
    let before = setup.content();
    let begun = setup.runtime.now();
    let failures = not_serving(setup, shop.plan("v1").await.expect("can be planned")).await;
    let causes: Vec<&str> = failures.iter().map(|failure| &*failure.cause).collect();
    assert_eq!(causes, ["deadline", "crash-loop"], "{failures:?}");
    assert!(failures[0].message.contains("web"), "{failures:?}");
    assert!(failures[1].object.as_deref().is_some_and(|object| object.contains("api-")), "{failures:?}");
    assert!(setup.runtime.now().since(begun) < Duration::from_secs(70));
    assert_eq!(setup.content(), before);
    // Who asked for one service is told of that one.
    let part = shop.part("v1", components(&["web"])).await.expect("can be planned");
    let failures = not_serving(setup, part).await;
    assert!(failures.len() == 1 && failures[0].message.contains("web"), "{failures:?}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_tells_of_what_stays_as_it_is_and_does_not_serve() {
    let shop = Shop::new(PAIR, 123);
    assert!(succeeded(&shop.deploy("v1").await));
    let told = async || notes(&shop.plan("v1").await.expect("can be planned"), "not-serving");
    assert_eq!(told().await, [""; 0]);
    shop.setup.shared.world().faults.push(fault("crash api@v1"));
    shop.setup.runtime.sleep(Duration::from_secs(20)).await;
    assert_eq!(
        told().await,
        [
            "Deployment shop/api stays as it is, and does not serve now: container `api` crashes again and again (exit code 1, 3 \
             restarts); `mailyctl logs api --env production --previous` shows its last words"
        ]
    );
    // Who asks for another service is told of that one.
    let part = shop.part("v1", components(&["web"])).await.expect("can be planned");
    assert_eq!(notes(&part, "not-serving"), [""; 0]);
}

/// No release takes away what a person has set beside it, and it may be what ends the pods.
#[tokio::test(start_paused = true)]
async fn what_others_have_set_in_pods_that_fail_is_named_with_the_way_out() {
    let shop = Shop::new(PAIR, 129);
    let setup = &shop.setup;
    assert!(succeeded(&shop.deploy("v1").await));
    let api = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    let patch = json!({"metadata": {"annotations": {"mine": "1"}},
        "spec": {"template": {"metadata": {"annotations": {"crash": "yes"}}}}});
    setup.shared.world().edit_as("kubectl-patch", &api, patch).expect("may");
    setup.shared.world().faults.extend([fault("crash api"), fault("never-ready web@v1")]);
    setup.runtime.sleep(Duration::from_secs(20)).await;
    let failures = not_serving(setup, shop.plan("v1").await.expect("can be planned")).await;
    let told = "Deployment/api has in its pods what no release has set, and none takes away: kubectl-patch set \
                .spec.template.metadata.annotations.crash; if that is why, `kubectl edit deployment api --namespace shop` \
                takes it out";
    let hint = |failure: &Failure| failure.hint.clone().unwrap_or_default();
    let of = |name: &str| {
        let mut found =
            failures.iter().filter(|failure| failure.object.as_ref().is_some_and(|o| o.contains(name)));
        found.next().expect("is told").clone()
    };
    assert!(hint(&of("api")).ends_with(&format!("; {told}")), "{failures:?}");
    // Nobody has touched the other one; how long it was waited for stands before what it waits for.
    assert_eq!(hint(&of("web")), "");
    assert!(of("web").message.starts_with("Deployment/web is not ready after 60 s: "), "{failures:?}");
    // A version that does not get there tells the same.
    let end = shop.deploy("v2").await;
    let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = &end else { panic!("{end:?}") };
    assert!(hint(why).ends_with(&format!("; {told}")), "{why:?}");
}

/// What a plan tells of makes its check fail as its deploy would.
#[tokio::test(start_paused = true)]
async fn a_plan_tells_of_nothing_that_its_deploy_does_not_look_at() {
    let shop = Shop::new(OF_MANIFESTS, 128);
    let open = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "open"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "api"}, "ports": [{"port": 80}]}});
    shop.write("v1", &[open]);
    assert!(succeeded(&shop.deploy("v1").await));
    let address = || {
        let live = shop.live("v1", "Service", Some("shop"), "open").expect("is there");
        live.text("/status/loadBalancer/ingress/0/ip").map(str::to_owned)
    };
    assert!(address().is_some());
    // Made once more, it has none for a moment.
    {
        let mut world = shop.setup.shared.world();
        let key = ObjectKey::new(ObjectKind::new("v1", "Service"), Some("shop"), "open");
        let again = world.get(&key).expect("is there").clone().without_server_fields();
        world.delete(&key, &Precondition::Any).expect("a person may");
        world.write(&again, &WriteOptions::apply("maily", Precondition::Absent)).expect("is made");
    }
    let planned = shop.plan("v1").await.expect("can be planned");
    assert_eq!((address(), notes(&planned, "not-serving")), (None, Vec::new()));
    assert_eq!(not_serving(&shop.setup, planned).await, []);
}

#[tokio::test(start_paused = true)]
async fn what_is_about_to_serve_is_waited_for_and_told() {
    let setup = Setup::of(PAIR, 122);
    assert!(succeeded(&setup.deploy("v1").await));
    let pods: Vec<String> = {
        let mut world = setup.shared.world();
        world.faults.push(fault("slow api@v1"));
        world.of_kind("Pod").into_iter().map(|pod| pod.name().to_owned()).collect()
    };
    let cluster = SimCluster::new(setup.shared.clone());
    for pod in pods.iter().filter(|pod| pod.starts_with("api-")) {
        let key = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some("shop"), pod);
        cluster.delete(&key, &Precondition::Any, Dependents::Follow).await.expect("is deleted");
    }
    setup.runtime.sleep(Duration::from_secs(2)).await;
    let planned = setup.plan("v1", maily_core::engine::Depth::Read).await.expect("can be planned");
    assert_eq!(not_serving(&setup, planned).await, []);
    let told = setup.told.lock().expect("not poisoned");
    let waited = told.iter().any(|what| matches!(what, What::Waiting { why } if why.contains("api")));
    assert!(waited, "{told:?}");
}

/// A cache of its own version beside what is released.
const ASIDE: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  cache: {image: 'registry.example/cache:1', workload: {port: 6379, scale: 1}}
  web: {workload: {port: 8080, scale: 1}}
";

/// A release of v1 whose cache does not serve any more.
async fn broken(seed: u64) -> Shop {
    let shop = Shop::new(ASIDE, seed);
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.push(fault("never-ready cache@1"));
    shop.setup.runtime.sleep(Duration::from_secs(20)).await;
    shop
}

fn released(end: &RunEnd) -> &[Failure] {
    let RunEnd::Over { outcome: Outcome::Succeeded { release: ReleaseId(2), not_serving }, .. } = end else {
        panic!("{end:?}")
    };
    not_serving
}

#[tokio::test(start_paused = true)]
async fn a_release_beside_something_that_does_not_serve_is_made_and_is_no_success() {
    let shop = broken(124).await;
    let begun = shop.setup.runtime.now();
    let end = shop.deploy("v2").await;
    let [failure] = released(&end) else { panic!("{end:?}") };
    assert!(failure.cause == "deadline" && failure.message.contains("cache"), "{failure:?}");
    let took = shop.setup.runtime.now().since(begun);
    assert!((60..75).contains(&took.as_secs()), "{took:?}");
    assert_eq!(shop.released().await.head.versions["web"], "v2");
    // Nor is it a success on record of which another environment could make something.
    let environment = shop.setup.environment();
    let never = async |version: &str| {
        let head = environment.head().await.expect("can be read");
        let (version, web) = (version.parse().expect("a version"), "web".parse().expect("a name"));
        never_had(&*environment.records, &head, &version, BTreeSet::from([web])).await.expect("can be read")
    };
    assert_eq!((never("v1").await.len(), never("v2").await.len()), (0, 1));
    // As long as that lasts, a deploy of the same has no news; when it is over, a release says so.
    assert!(not_serving(&shop.setup, shop.plan("v2").await.expect("can be planned")).await.len() == 1);
    shop.setup.shared.world().faults.clear();
    shop.setup.runtime.sleep(Duration::from_secs(20)).await;
    let end = shop.deploy("v2").await;
    let RunEnd::Over { outcome: Outcome::Succeeded { release: ReleaseId(3), not_serving }, .. } = &end else {
        panic!("{end:?}")
    };
    assert!(not_serving.is_empty() && shop.plan("v2").await.expect("can be planned").plan.is_empty());
    assert_eq!(never("v2").await, BTreeSet::new());
    let told = shop.setup.told.lock().expect("not poisoned").clone();
    assert!(
        told.iter().any(|what| matches!(what, What::Waiting { why } if why.contains("cache"))),
        "{told:?}"
    );
    // Who asks for one service is told of that one.
    let shop = broken(124).await;
    let part = shop.part("v2", components(&["web"])).await.expect("can be planned");
    assert_eq!(released(&shop.run(part).await), []);
}

#[tokio::test(start_paused = true)]
async fn what_serves_again_before_a_run_ends_is_no_trouble() {
    let shop = broken(125).await;
    let mending = async {
        shop.setup.runtime.sleep(Duration::from_secs(20)).await;
        shop.setup.shared.world().faults.clear();
    };
    let (end, ()) = futures::join!(shop.deploy("v2"), mending);
    assert_eq!(released(&end), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_broken_for_good_makes_no_long_run_longer() {
    let took = async |cache: &[&str]| {
        let shop = Shop::new(ASIDE, 126);
        assert!(succeeded(&shop.deploy("v1").await));
        let faults = cache.iter().chain(&["slow web@v2"]).map(|text| fault(text));
        shop.setup.shared.world().faults.extend(faults);
        shop.setup.runtime.sleep(Duration::from_secs(20)).await;
        let planned = shop.plan("v2").await.expect("can be planned");
        let begun = shop.setup.runtime.now();
        assert_eq!(released(&shop.run(planned).await).len(), cache.len());
        shop.setup.runtime.now().since(begun)
    };
    let (well, broken) = (took(&[]).await, took(&["never-ready cache@1"]).await);
    assert!(broken < well.max(Duration::from_secs(60)) + Duration::from_secs(5), "{well:?} {broken:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_on_with_a_run_sees_what_it_left_alone_and_does_not_serve() {
    let shop = broken(127).await;
    let environment = shop.setup.environment();
    let planned = shop.plan("v2").await.expect("can be planned");
    let options = shop.setup.options("tester");
    // It is interrupted while it waits for the cache.
    let (cancel, runtime) = (options.cancel.clone(), shop.setup.runtime.clone());
    let interrupt = async {
        runtime.sleep(Duration::from_secs(40)).await;
        cancel.cancel();
    };
    let (end, ()) = futures::join!(environment.run(planned, &options), interrupt);
    assert!(matches!(end, Ok(RunEnd::Paused { .. })), "{end:?}");
    let end = environment.take_over(None, Wish::Resume, &shop.setup.options("tester")).await;
    let end = end.expect("goes on").expect("there is a run");
    let [failure] = released(&end) else { panic!("{end:?}") };
    assert!(failure.message.contains("cache"), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_way_back_is_advised_where_the_release_in_force_brought_what_does_not_serve() {
    let shop = Shop::new(ASIDE, 129);
    let advised = async |service: &str| {
        let told = notes(&shop.plan("v2").await.expect("can be planned"), "not-serving");
        let [told] = &told[..] else { panic!("{told:?}") };
        let status = status(&shop.setup.environment(), &shop.resolved()).await.expect("can be read");
        let failing = status.services.into_iter().find(|one| one.name == service).expect("is there");
        let hint = failing.hint.expect("fails");
        assert!(told.ends_with(&format!("; {hint}")), "{told}");
        hint
    };
    for version in ["v1", "v2"] {
        assert!(succeeded(&shop.deploy(version).await));
    }
    let logs =
        |name: &str| format!("`mailyctl logs {name} --env production --previous` shows its last words");
    // The cache is as it has been since release 1.
    shop.setup.shared.world().faults.push(fault("crash cache@1"));
    shop.setup.runtime.sleep(Duration::from_secs(20)).await;
    assert_eq!(advised("cache").await, logs("cache"));
    shop.setup.shared.world().faults.clear();
    shop.setup.runtime.sleep(Duration::from_secs(600)).await;
    shop.setup.shared.world().faults.push(fault("crash web@v2"));
    shop.setup.runtime.sleep(Duration::from_secs(20)).await;
    let back = "`mailyctl rollback --env production --components web --last-good` goes back";
    assert_eq!(advised("web").await, format!("{}; {back}", logs("web")));
}

/// The same beside a release that takes more than a minute where its pods are slow.
const LONG: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  cache: {image: 'registry.example/cache:1', workload: {port: 6379, scale: 1}}
  web: {workload: {port: 8080, scale: 4}}
";

#[tokio::test(start_paused = true)]
async fn what_does_not_serve_after_a_long_run_is_named_with_its_cause() {
    // Also where its own state has a word for it, which says less than its pods.
    for broken_since in [20, 1200] {
        let shop = Shop::new(LONG, 128);
        assert!(succeeded(&shop.deploy("v1").await));
        shop.setup.shared.world().faults.extend([fault("slow web@v2"), fault("crash cache@1")]);
        shop.setup.runtime.sleep(Duration::from_secs(broken_since)).await;
        let planned = shop.plan("v2").await.expect("can be planned");
        let begun = shop.setup.runtime.now();
        let end = shop.run(planned).await;
        assert!(shop.setup.runtime.now().since(begun) > Duration::from_secs(60));
        let [failure] = released(&end) else { panic!("{end:?}") };
        assert_eq!(failure.cause, "crash-loop", "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_the_move_when_a_run_that_was_taken_over_ends_is_waited_for() {
    let gone_on = async |moved_after: Option<Duration>| {
        let shop = Shop::new(LONG, 129);
        assert!(succeeded(&shop.deploy("v1").await));
        shop.setup.shared.world().faults.extend([fault("slow web@v2"), fault("slow cache@1")]);
        let planned = shop.plan("v2").await.expect("can be planned");
        let (environment, options) = (shop.setup.environment(), shop.setup.options("tester"));
        let (cancel, runtime) = (options.cancel.clone(), shop.setup.runtime.clone());
        let interrupt = async {
            runtime.sleep(Duration::from_secs(5)).await;
            cancel.cancel();
        };
        let (end, ()) = futures::join!(environment.run(planned, &options), interrupt);
        assert!(matches!(end, Ok(RunEnd::Paused { .. })), "{end:?}");
        let moving = async {
            let Some(after) = moved_after else { return };
            runtime.sleep(after).await;
            let mut world = shop.setup.shared.world();
            let pods = world.of_kind("Pod").into_iter().map(|pod| pod.key().clone());
            let pod = pods.into_iter().find(|pod| pod.name.starts_with("cache-")).expect("is there");
            world.delete(&pod, &Precondition::Any).expect("is there");
        };
        let (begun, options) = (runtime.now(), shop.setup.options("tester"));
        let (end, ()) = futures::join!(environment.take_over(None, Wish::Resume, &options), moving);
        let end = end.expect("goes on").expect("there is a run");
        assert_eq!(released(&end), []);
        runtime.now().since(begun)
    };
    let took = gone_on(None).await;
    assert!(took > Duration::from_secs(60), "{took:?}");
    let longer = gone_on(Some(took.saturating_sub(Duration::from_secs(15)))).await;
    assert!(longer > took + Duration::from_secs(10), "{took:?} {longer:?}");
}

/// Its node may answer again: such a pod has the patience that everything has.
#[tokio::test(start_paused = true)]
async fn a_pod_that_ends_late_beside_a_release_is_waited_for_and_named_with_a_way_on() {
    for (seed, stops_after, serves) in [(125, "50s", true), (126, "9000s", false)] {
        let shop = Shop::new(OF_MANIFESTS, seed);
        for version in ["v1", "v2"] {
            let mut db = deployment("db", &[]);
            (db["kind"], db["spec"]["serviceName"]) = ("StatefulSet".into(), "db".into());
            let template = &mut db["spec"]["template"];
            template["metadata"]["annotations"] = json!({"stack.maily.dev/stops-after": stops_after});
            template["spec"]["terminationGracePeriodSeconds"] = 5.into();
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"of": version}});
            shop.write(version, &[db, map]);
        }
        assert!(succeeded(&shop.deploy("v1").await));
        let pod = shop.setup.shared.world().of_kind("Pod")[0].key().clone();
        shop.setup.shared.world().faults.push(fault("never-ready db"));
        shop.setup.runtime.sleep(Duration::from_secs(20)).await;
        shop.setup.shared.world().delete(&pod, &Precondition::Any).expect("is there");
        let mended = async {
            shop.setup.runtime.sleep(Duration::from_secs(45)).await;
            shop.setup.shared.world().faults.clear();
        };
        let (end, ()) = futures::future::join(shop.deploy("v2"), mended).await;
        match released(&end) {
            [] => assert!(serves, "{end:?}"),
            [failure] => {
                assert!(!serves && failure.cause == "deadline", "{failure:?}");
                let hint = failure.hint.as_deref().expect("names a way on");
                assert!(hint.contains("--force --grace-period=0"), "{hint}");
            }
            more => panic!("{more:?}"),
        }
    }
}
