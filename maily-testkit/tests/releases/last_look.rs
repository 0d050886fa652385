//! The last look before a run is over: whether what it brought is there, or what it took back serves.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{Depth, Failure, Outcome, Planned, RunEnd, What, Wish},
    object::{ObjectKey, ObjectKind},
    provider::{Cluster as _, Dependents, Precondition, WriteOptions},
    runtime::within,
};
use maily_testkit::{sim::SimCluster, world::Call};
use serde_json::json;

use crate::setup::{Setup, fault, succeeded};

/// Its pods hold a volume: the old ones end before the new ones start, and nobody serves in between.
pub(crate) const KEEPER: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 2}}
  keeper: {needs: [api], workload: {port: 8080, scale: 1, volumes: {data: {mount: /data, size: 1Gi}}}}
";

/// The same with other Services.
pub(crate) const MOVED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8001, scale: 2}}
  keeper: {needs: [api], workload: {port: 8081, scale: 1, volumes: {data: {mount: /data, size: 1Gi}}}}
";

/// Its last step waits for a Job alone, while the watch of Deployments tells nothing any more.
pub(crate) const WITH_A_JOB: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {workload: {port: 8000, scale: 1}}
  worker: {workload: {command: [work], scale: 1}}
  warm: {after: api, job: {image: 'registry.example/shop/warm:{version}', command: [up], undo: [down]}}
";

pub(crate) fn deployment(name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), name)
}

pub(crate) fn service(name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::new("v1", "Service"), Some("shop"), name)
}

pub(crate) fn keeper() -> ObjectKey {
    deployment("keeper")
}

/// A person turns a workload off.
fn turn_off(setup: &Setup, name: &str) {
    let patch = json!({"spec": {"replicas": 0}});
    setup.shared.world().edit_as("kubectl-scale", &deployment(name), patch).expect("a person may");
}

/// Runs v2, whose keeper takes half a minute, while something happens ten seconds after it began.
async fn deploy_while(setup: &Setup, happens: impl FnOnce()) -> RunEnd {
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.push(fault("slow keeper@v2"));
    let meanwhile = async {
        setup.runtime.sleep(Duration::from_secs(10)).await;
        let done =
            |what: &What| matches!(what, What::StepApplied { step, .. } if step.as_str().contains("/api/"));
        assert!(setup.told.lock().expect("not poisoned").iter().any(done), "it happens after its step");
        happens();
    };
    let environment = setup.environment();
    let options = setup.options("tester");
    let (end, ()) = futures::future::join(environment.run(planned, &options), meanwhile).await;
    end.expect("runs")
}

/// Why the run turned.
pub(crate) fn turned(setup: &Setup) -> Failure {
    let told = setup.told.lock().expect("not poisoned").clone();
    let why = told.into_iter().find_map(|what| match what {
        What::Turned { why, .. } => Some(why),
        _ => None,
    });
    why.expect("it turned")
}

/// Faults that come after the plan was made, and what the run then comes to.
async fn deploy_under(setup: &Setup, faults: &[&str]) -> RunEnd {
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.extend(faults.iter().map(|text| fault(text)));
    setup.environment().run(planned, &setup.options("tester")).await.expect("runs")
}

pub(crate) fn not_serving(end: &RunEnd) -> &[Failure] {
    let RunEnd::Over { outcome: Outcome::RolledBack { not_serving, .. }, .. } = end else {
        panic!("{end:?}")
    };
    not_serving
}

#[tokio::test(start_paused = true)]
async fn what_served_before_and_does_not_serve_again_is_told() {
    let setup = Setup::of(KEEPER, 71);
    assert!(succeeded(&setup.deploy("v1").await));
    let before = setup.content();
    let end = deploy_under(&setup, &["crash keeper@v2", "unschedulable keeper@v1"]).await;
    let [failure] = not_serving(&end) else { panic!("{end:?}") };
    assert!(failure.object.as_deref().is_some_and(|object| object.contains("keeper")), "{failure:?}");
    assert!(failure.message.contains("keeper"), "{failure:?}");
    // No timeout counts here, and no time makes a node.
    let hint = failure.hint.as_deref().unwrap_or_default();
    assert!(hint.starts_with("`kubectl describe Pod keeper-") && !hint.contains("--timeout"), "{failure:?}");
    assert_eq!(setup.content(), before);
    let recorded = setup.environment().head().await.expect("can be read");
    assert!(recorded.unfinished.is_none(), "the run is over");
}

#[tokio::test(start_paused = true)]
async fn what_starts_slowly_is_waited_for() {
    let setup = Setup::of(KEEPER, 72);
    assert!(succeeded(&setup.deploy("v1").await));
    let end = deploy_under(&setup, &["crash keeper@v2", "slow keeper@v1"]).await;
    assert!(not_serving(&end).is_empty(), "{end:?}");
    let live = setup.shared.world().get(&keeper()).cloned().expect("is there");
    assert_eq!(live.int("/status/availableReplicas"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn what_did_not_serve_before_is_not_expected_to() {
    let setup = Setup::of(KEEPER, 73);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready keeper@v1"));
    setup.runtime.sleep(Duration::from_secs(5)).await;
    let end = deploy_under(&setup, &["crash keeper@v2"]).await;
    assert!(not_serving(&end).is_empty(), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn an_edit_while_the_old_state_starts_is_told() {
    let setup = Setup::of(KEEPER, 74);
    assert!(succeeded(&setup.deploy("v1").await));
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.extend([fault("crash keeper@v2"), fault("slow keeper@v1")]);
    let (shared, runtime) = (setup.shared.clone(), setup.runtime.clone());
    let person = async move {
        // Until the old template is back.
        let old = |image: &str| image.ends_with(":v1");
        for began in [false, true] {
            loop {
                runtime.sleep(Duration::from_millis(50)).await;
                let live = shared.world().get(&keeper()).cloned().expect("is there");
                let image = live.text("/spec/template/spec/containers/0/image").unwrap_or_default();
                if old(image) == began {
                    break;
                }
            }
        }
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"hand": "1"}}}}});
        shared.world().edit_as("kubectl-edit", &keeper(), patch).expect("a person may");
    };
    let environment = setup.environment();
    let options = setup.options("tester");
    let (end, ()) = futures::future::join(environment.run(planned, &options), person).await;
    let end = end.expect("runs");
    let [failure] = not_serving(&end) else { panic!("{end:?}") };
    assert_eq!(failure.cause, "superseded", "{failure:?}");
}

/// A deploy of v2 that goes back, and whose process dies in the last look; what was in its way is over then.
pub(crate) async fn dies_while_it_looks(setup: &Setup) {
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.extend([fault("crash keeper@v2"), fault("unschedulable keeper@v1")]);
    dies_looking(setup, planned).await;
}

/// The same of any plan that goes back to what does not serve.
pub(crate) async fn dies_looking(setup: &Setup, planned: Planned) {
    let environment = setup.environment();
    let options = setup.options("tester");
    let undone = |what: &What| matches!(what, What::Undone { step, .. } if step.as_str().contains("/api/"));
    let dies = async {
        while !setup.told.lock().expect("not poisoned").iter().any(undone) {
            setup.runtime.sleep(Duration::from_millis(100)).await;
        }
        setup.runtime.sleep(Duration::from_secs(1)).await;
    };
    {
        let run = environment.run(planned, &options);
        futures::pin_mut!(run, dies);
        let first = futures::future::select(run, dies).await;
        assert!(matches!(first, futures::future::Either::Right(_)), "it dies while it looks");
    }
    setup.shared.world().faults.clear();
}

/// Also of what serves, and of what has no pods at all: whoever takes the run over has not put it back himself.
#[tokio::test(start_paused = true)]
async fn an_edit_of_what_was_put_back_is_told_by_whoever_takes_over() {
    let setup = Setup::of(KEEPER, 82);
    assert!(succeeded(&setup.deploy("v1").await));
    dies_while_it_looks(&setup).await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "api", "image": "x.example/api:hand"}]}}}});
    setup.shared.world().edit_as("kubectl-set", &deployment("api"), image).expect("a person may");
    let end = setup.environment().take_over(None, Wish::Resume, &setup.options("another")).await;
    let end = end.expect("goes on").expect("was unfinished");
    let [failure] = not_serving(&end) else { panic!("{end:?}") };
    assert_eq!(failure.cause, "changed", "{failure:?}");
    let told = "was changed since it was put back: spec.template.spec.containers[api].image ";
    assert!(failure.message.contains(told) && failure.message.ends_with("(by kubectl-set)"), "{failure:?}");
}

/// Whoever takes the run over has seen nothing yet, and one refusal is no sign that something does not serve.
#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_make_it_look_as_if_nothing_served() {
    let setup = Setup::of(KEEPER, 81);
    assert!(succeeded(&setup.deploy("v1").await));
    dies_while_it_looks(&setup).await;
    let mut options = setup.options("another");
    let shared = Arc::clone(&setup.shared);
    options.listener = Arc::new(move |event: &maily_core::engine::Event| {
        if matches!(event.what, What::Resumed { .. }) {
            shared.world().faults.push(fault("api-down 2"));
        }
    });
    let end = setup.environment().take_over(None, Wish::Resume, &options).await;
    let end = end.expect("goes on").expect("was unfinished");
    assert!(not_serving(&end).is_empty(), "{end:?}");
    assert_eq!(setup.shared.world().faults, [], "somebody was refused");
}

#[tokio::test(start_paused = true)]
async fn who_stops_that_look_leaves_it_to_resume() {
    let setup = Setup::of(KEEPER, 75);
    assert!(succeeded(&setup.deploy("v1").await));
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.extend([fault("crash keeper@v2"), fault("unschedulable keeper@v1")]);
    let options = setup.options("tester");
    let cancel = options.cancel.clone();
    let (told, runtime) = (setup.told.clone(), setup.runtime.clone());
    let impatient = async move {
        let undone = |what: &maily_core::engine::What| matches!(what, maily_core::engine::What::Undone { step, .. } if step.as_str().contains("keeper"));
        while !told.lock().expect("not poisoned").iter().any(undone) {
            runtime.sleep(Duration::from_millis(100)).await;
        }
        cancel.cancel();
    };
    let environment = setup.environment();
    let (end, ()) = futures::future::join(environment.run(planned, &options), impatient).await;
    assert!(matches!(end, Ok(RunEnd::Paused { .. })), "{end:?}");
    setup.shared.world().faults.clear();
    let end = environment.take_over(None, Wish::Resume, &setup.options("another")).await;
    let end = end.expect("runs").expect("there is a run");
    assert!(not_serving(&end).is_empty(), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_somebody_turns_off_in_the_middle_is_no_success() {
    let setup = Setup::of(KEEPER, 76);
    assert!(succeeded(&setup.deploy("v1").await));
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.push(fault("slow keeper@v2"));
    let (shared, runtime) = (setup.shared.clone(), setup.runtime.clone());
    let person = async move {
        runtime.sleep(Duration::from_secs(10)).await;
        let patch = json!({"spec": {"replicas": 0}});
        shared.world().edit_as("kubectl-scale", &keeper(), patch).expect("a person may");
    };
    let environment = setup.environment();
    let options = setup.options("tester");
    let (end, ()) = futures::future::join(environment.run(planned, &options), person).await;
    let end = end.expect("runs");
    assert!(!succeeded(&end), "{end:?}");
    assert!(format!("{end:?}").contains("replicas"), "what a person has to decide is named: {end:?}");
}

/// Runs v2 of the keeper, slow, while somebody does `kubectl rollout restart` in its middle.
async fn restarted(fault_of_v2: &str, seed: u64) -> (Setup, RunEnd) {
    let setup = Setup::of(KEEPER, seed);
    assert!(succeeded(&setup.deploy("v1").await));
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.push(fault(fault_of_v2));
    let (shared, runtime) = (setup.shared.clone(), setup.runtime.clone());
    let person = async move {
        runtime.sleep(Duration::from_secs(10)).await;
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": "2026-11-01T10:00:00Z"});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        shared.world().edit_as("kubectl-rollout", &keeper(), patch).expect("a person may");
    };
    let environment = setup.environment();
    let options = setup.options("tester");
    let (end, ()) = futures::future::join(environment.run(planned, &options), person).await;
    (setup, end.expect("runs"))
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_middle_is_waited_for_like_the_rollout() {
    let (setup, end) = restarted("slow keeper@v2", 178).await;
    assert!(succeeded(&end), "{end:?}");
    let live = setup.shared.world().get(&keeper()).cloned().expect("is there");
    let template = live.at("/spec/template").expect("has one").to_string();
    assert!(template.contains("restartedAt") && template.contains("keeper:v2"), "{template}");
    // A version that never serves goes back all the same, also with a restart in between.
    let (setup, end) = restarted("crash keeper@v2", 179).await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    let live = setup.shared.world().get(&keeper()).cloned().expect("is there");
    assert!(live.at("/spec/template").expect("has one").to_string().contains("keeper:v1"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_turned_off_after_its_step_is_no_success() {
    let setup = Setup::of(KEEPER, 82);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.told.lock().expect("not poisoned").clear();
    let end = deploy_while(&setup, || turn_off(&setup, "api")).await;
    assert!(!succeeded(&end), "{end:?}");
    let why = turned(&setup);
    assert_eq!(why.cause, "scaled-down", "{why:?}");
    assert!(why.message.contains("api was scaled to 0"), "{why:?}");
    assert!(format!("{end:?}").contains("replicas"), "what a person has to decide is named: {end:?}");
}

/// He watches only what he still waits for.
#[tokio::test(start_paused = true)]
async fn whoever_takes_a_run_over_sees_what_was_turned_off_before() {
    let setup = Setup::of(WITH_A_JOB, 83);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow warm@v2"));
    let died = within(&*setup.runtime, Duration::from_secs(15), setup.deploy("v2")).await;
    assert!(died.is_none(), "its job still runs");
    turn_off(&setup, "web");
    setup.runtime.sleep(Duration::from_secs(20)).await;
    setup.told.lock().expect("not poisoned").clear();
    let end = setup.environment().take_over(None, Wish::Resume, &setup.options("another")).await;
    let end = end.expect("goes on").expect("was unfinished");
    assert!(!succeeded(&end), "{end:?}");
    assert_eq!(turned(&setup).cause, "scaled-down");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_crashes_after_its_step_takes_the_run_back() {
    let setup = Setup::of(KEEPER, 84);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.told.lock().expect("not poisoned").clear();
    let crash = || setup.shared.world().faults.push(fault("crash api@v2"));
    let end = deploy_while(&setup, crash).await;
    assert!(not_serving(&end).is_empty(), "{end:?}");
    let why = turned(&setup);
    assert_eq!(why.cause, "crash-loop", "{why:?}");
    assert!(!why.log.is_empty(), "{why:?}");
}

/// It may be scaled at this moment, or moved to another node.
#[tokio::test(start_paused = true)]
async fn a_service_that_only_is_not_ready_in_the_end_takes_no_run_back() {
    let setup = Setup::of(KEEPER, 85);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.told.lock().expect("not poisoned").clear();
    let not_ready = || setup.shared.world().faults.push(fault("never-ready api@v2"));
    let end = deploy_while(&setup, not_ready).await;
    assert!(succeeded(&end), "{end:?}");
    let live = setup.shared.world().get(&deployment("api")).cloned().expect("is there");
    assert_ne!(live.int("/status/availableReplicas"), Some(2), "not all of it was ready");
}

/// Deploys v2, in the middle of which somebody takes an object of `api` away, and perhaps makes it again.
async fn deploy_while_it_goes(setup: &Setup, kind: ObjectKind, made_again: bool) -> RunEnd {
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.push(fault("slow keeper@v2"));
    let key = ObjectKey::new(kind, Some("shop"), "api");
    let cluster = SimCluster::new(setup.shared.clone());
    let runtime = setup.runtime.clone();
    let person = async {
        runtime.sleep(Duration::from_secs(10)).await;
        let object = cluster.get(&key).await.expect("can be read").expect("is there");
        cluster.delete(&key, &Precondition::Any, Dependents::Follow).await.expect("is deleted");
        if made_again {
            let object = object.without_server_fields();
            cluster
                .write(&object, &WriteOptions::apply("kubectl", Precondition::Any))
                .await
                .expect("is made");
        }
    };
    let environment = setup.environment();
    let options = setup.options("tester");
    let (end, ()) = futures::future::join(environment.run(planned, &options), person).await;
    end.expect("runs")
}

#[tokio::test(start_paused = true)]
async fn what_somebody_deletes_in_the_middle_is_no_success() {
    // The release leaves the one as it was, and changes the other.
    let (service, deployment) = (ObjectKind::new("v1", "Service"), ObjectKind::new("apps/v1", "Deployment"));
    for (kind, made_again) in [(service, false), (deployment.clone(), false), (deployment, true)] {
        let setup = Setup::of(KEEPER, 77);
        assert!(succeeded(&setup.deploy("v1").await));
        let end = deploy_while_it_goes(&setup, kind.clone(), made_again).await;
        assert!(!succeeded(&end), "{kind:?}, made again: {made_again}: {end:?}");
        assert!(format!("{end:?}").contains(&kind.kind), "it is named: {end:?}");
        let head = setup.environment().head().await.expect("can be read");
        assert_eq!(head.release.expect("is released").1.versions["api"], "v1");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_look_costs_one_list_a_kind() {
    let setup = Setup::new(78);
    assert!(succeeded(&setup.deploy("v1").await));
    let lists = |kind: &str| {
        let world = setup.shared.world();
        let of_kind = |call: &&Call| call.operation.contains("list") && call.resource.starts_with(kind);
        world.log.iter().filter(of_kind).count()
    };
    let reads = || {
        let world = setup.shared.world();
        world
            .log
            .iter()
            .filter(|call| call.operation == "get" && call.resource.contains("Deployment"))
            .count()
    };
    let before = (lists("Service "), lists("Deployment "), reads());
    assert!(succeeded(&setup.deploy("v2").await));
    // One to plan by, one in the end; of what a watch tells none in the end.
    assert_eq!(
        (lists("Service ") - before.0, lists("Deployment ") - before.1, reads() - before.2),
        (2, 1, 0)
    );
}
