//! The last look before a run is over: whether what it brought is there, or what it took back serves.

use std::{sync::Arc, time::Duration};

use maily_core::engine::journal::{self, JournalEvent};
use maily_core::engine::{
    Depth, Failure, Outcome, Planned, RunEnd, Storage, What, Wish, planner::PlanOptions,
};
use maily_core::object::{Object, ObjectKey, ObjectKind};
use maily_core::provider::{Cluster as _, ErrorKind, Precondition, WriteOptions, patch_of};
use maily_core::runtime::within;
use maily_testkit::{sim::SimCluster, world::Call};
use serde_json::json;

use crate::{
    hindered::{Cut, Hindered},
    setup::{Setup, fault, succeeded},
};

/// Its pods hold a volume: the old ones end before the new ones start, and nobody serves in between.
const KEEPER: &str = "
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
const MOVED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8001, scale: 2}}
  keeper: {needs: [api], workload: {port: 8081, scale: 1, volumes: {data: {mount: /data, size: 1Gi}}}}
";

fn deployment(name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), name)
}

fn service(name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::new("v1", "Service"), Some("shop"), name)
}

fn keeper() -> ObjectKey {
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
fn turned(setup: &Setup) -> Failure {
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

fn not_serving(end: &RunEnd) -> &[Failure] {
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

/// Whoever takes the run over has seen nothing yet, and one refusal is no sign that something does not serve.
#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_make_it_look_as_if_nothing_served() {
    let setup = Setup::of(KEEPER, 81);
    assert!(succeeded(&setup.deploy("v1").await));
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.extend([fault("crash keeper@v2"), fault("unschedulable keeper@v1")]);
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
        cluster.delete(&key, &Precondition::Any).await.expect("is deleted");
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

/// Three Services and more: they are listed, which is the last look that can be held up.
const SERVICES: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
  keeper: {needs: [web], workload: {port: 8080, scale: 1, volumes: {data: {mount: /data, size: 1Gi}}}}
";

/// A plan of v2, with a Service that v1 has not.
async fn plan_with_another_service(setup: &Setup) -> Planned {
    let environment = setup.environment();
    let mut wanted = setup.wanted("v2").await;
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "another", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}});
    wanted.services["api"].objects.push(Object::from_value(service).expect("is an object"));
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let options = PlanOptions::default();
    let planned =
        environment.plan(&wanted, head, base.as_ref(), &options, Depth::Read, Storage::Lasting).await;
    planned.expect("can be planned")
}

/// Whoever turns the run while it looks for the last time gets all of the way back: that everything was there is no
/// answer any more, and what the run itself has taken back is nobody's deletion.
#[tokio::test(start_paused = true)]
async fn a_run_that_turns_during_the_last_look_goes_back_once_and_looks_again() {
    for another in [false, true] {
        let mut setup = Setup::of(SERVICES, 79);
        assert!(succeeded(&setup.deploy("v1").await));
        let planned = match another {
            true => plan_with_another_service(&setup).await,
            false => setup.plan("v2", Depth::Read).await.expect("can be planned"),
        };
        setup.told.lock().expect("not poisoned").clear();
        let lists_take = Duration::from_secs(60);
        setup.cluster = Some(Arc::new(Hindered { lists_take, ..Hindered::of(&setup) }));
        let environment = setup.environment();
        let person = async {
            let applied = |what: &What| matches!(what, What::StepApplied { step, .. } if step.as_str().contains("phase"));
            while !setup.told.lock().expect("not poisoned").iter().any(applied) {
                setup.runtime.sleep(Duration::from_millis(100)).await;
            }
            setup.shared.world().faults.push(fault("unschedulable keeper@v1"));
            environment.take_over(None, Wish::Abort, &setup.options("another")).await
        };
        let options = setup.options("tester");
        // Whether the one who asked still waits for his turn when the run is over is no matter.
        let (end, _) = futures::future::join(environment.run(planned, &options), person).await;
        let end = end.expect("runs");
        assert!(!not_serving(&end).is_empty(), "{end:?}");
        let RunEnd::Over { run: Some(run), outcome: Outcome::RolledBack { why, .. } } = &end else {
            panic!("{end:?}")
        };
        assert_eq!(why.cause, "aborted", "{why:?}");
        let recorded = journal::read(&*environment.records, run).await.expect("can be read");
        let events = recorded.expect("is there").events;
        let turns = events.iter().filter(|(_, event)| matches!(event, JournalEvent::Turned { .. })).count();
        assert_eq!(turns, 1);
    }
}

/// Silence is not success: whoever resumes the run looks again.
#[tokio::test(start_paused = true)]
async fn a_last_look_without_an_answer_is_no_success() {
    for kind in [ErrorKind::Unavailable, ErrorKind::PermissionDenied] {
        let mut setup = Setup::of(SERVICES, 86);
        assert!(succeeded(&setup.deploy("v1").await));
        let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
        setup.shared.world().faults.push(fault("slow keeper@v2"));
        setup.told.lock().expect("not poisoned").clear();
        let begun = setup.runtime.now();
        let refused = Some((begun + Duration::from_secs(10), kind));
        setup.cluster = Some(Arc::new(Hindered { refused, ..Hindered::of(&setup) }));
        let person = async {
            setup.runtime.sleep(Duration::from_secs(12)).await;
            setup.shared.world().delete(&service("api"), &Precondition::Any).expect("is there");
        };
        let environment = setup.environment();
        let options = setup.options("tester");
        let (end, ()) = futures::future::join(environment.run(planned, &options), person).await;
        let Ok(RunEnd::Paused { why, .. }) = &end else { panic!("{kind:?}: {end:?}") };
        assert!(why.contains("nobody is told of services"), "{why}");
        let told = setup.told.lock().expect("not poisoned").clone();
        if kind == ErrorKind::Unavailable {
            assert!(
                setup.runtime.now().since(begun) > Duration::from_secs(120),
                "for a while it may come back"
            );
            let waits = |what: &&What| matches!(what, What::Waiting { why } if why.contains("services"));
            assert!(told.iter().filter(waits).count() > 5, "{told:?}");
        }
        assert!(matches!(told.last(), Some(What::Paused { .. })), "{:?}", told.last());
        setup.cluster = None;
        let end = setup.environment().take_over(None, Wish::Resume, &setup.options("another")).await;
        let end = end.expect("goes on").expect("was unfinished");
        assert!(!succeeded(&end) && format!("{end:?}").contains("Service"), "{kind:?}: {end:?}");
    }
}

/// Whoever wants to go back does not wait until a look that nobody answers is given up.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_aborted_during_a_look_without_an_answer_goes_back_at_once() {
    let mut setup = Setup::of(SERVICES, 87);
    assert!(succeeded(&setup.deploy("v1").await));
    let before = setup.content();
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.told.lock().expect("not poisoned").clear();
    let refused = Some((setup.runtime.now() + Duration::from_secs(1), ErrorKind::Unavailable));
    setup.cluster = Some(Arc::new(Hindered { refused, ..Hindered::of(&setup) }));
    let environment = setup.environment();
    let person = async {
        let waits = |what: &What| matches!(what, What::Waiting { .. });
        while !setup.told.lock().expect("not poisoned").iter().any(waits) {
            setup.runtime.sleep(Duration::from_millis(100)).await;
        }
        let asked = setup.runtime.now();
        let _ = environment.take_over(None, Wish::Abort, &setup.options("another")).await;
        asked
    };
    let options = setup.options("tester");
    let run = async { (environment.run(planned, &options).await, setup.runtime.now()) };
    let ((end, ended), asked) = futures::future::join(run, person).await;
    assert!(not_serving(&end.expect("runs")).is_empty());
    assert!(ended.since(asked) < Duration::from_secs(60), "{:?}", ended.since(asked));
    assert_eq!(setup.content(), before);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_deletes_after_it_was_put_back_is_told() {
    let mut setup = Setup::of(KEEPER, 88);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.project = MOVED;
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.extend([fault("crash keeper@v2"), fault("slow api@v1")]);
    let person = async {
        let undone = |what: &What| matches!(what, What::Undone { step } if step.as_str().contains("keeper"));
        while !setup.told.lock().expect("not poisoned").iter().any(undone) {
            setup.runtime.sleep(Duration::from_millis(100)).await;
        }
        setup.shared.world().delete(&service("keeper"), &Precondition::Any).expect("is there");
    };
    let environment = setup.environment();
    let options = setup.options("tester");
    let (end, ()) = futures::future::join(environment.run(planned, &options), person).await;
    let end = end.expect("runs");
    let [failure] = not_serving(&end) else { panic!("{end:?}") };
    assert_eq!(failure.cause, "gone", "{failure:?}");
    assert_eq!(failure.object, Some(service("keeper").to_string()));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_deleted_before_the_run_came_to_it_is_his() {
    let mut setup = Setup::of(KEEPER, 89);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.project = MOVED;
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().delete(&service("keeper"), &Precondition::Any).expect("is there");
    let end = setup.environment().run(planned, &setup.options("tester")).await.expect("runs");
    assert!(not_serving(&end).is_empty(), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_last_look_on_the_way_back_without_an_answer_leaves_the_run_to_resume() {
    let mut setup = Setup::of(KEEPER, 91);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.project = MOVED;
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    // Everything is written back by then, and api starts.
    setup.shared.world().faults.extend([fault("crash keeper@v2"), fault("slow api@v1")]);
    let refused = Some((setup.runtime.now() + Duration::from_secs(20), ErrorKind::PermissionDenied));
    setup.cluster = Some(Arc::new(Hindered { refused, ..Hindered::of(&setup) }));
    let end = setup.environment().run(planned, &setup.options("tester")).await;
    let Ok(RunEnd::Paused { why, .. }) = &end else { panic!("{end:?}") };
    assert!(why.contains("nobody is told of services"), "{why}");
    setup.cluster = None;
    let end = setup.environment().take_over(None, Wish::Resume, &setup.options("another")).await;
    let end = end.expect("goes on").expect("was unfinished");
    assert!(not_serving(&end).is_empty(), "{end:?}");
}

/// Its job cannot be undone.
const ONE_WAY: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  warm: {after: api, job: {image: 'registry.example/shop/warm:{version}', command: [up]}}
";

#[tokio::test(start_paused = true)]
async fn what_a_person_has_to_do_where_the_last_look_stops_a_run_is_told_and_on_record() {
    let setup = Setup::of(ONE_WAY, 90);
    assert!(succeeded(&setup.deploy("v1").await));
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.push(fault("slow warm@v2"));
    let before = setup.shared.world().get(&service("api")).cloned().expect("is there");
    let person = async {
        setup.runtime.sleep(Duration::from_secs(10)).await;
        setup.shared.world().delete(&service("api"), &Precondition::Any).expect("is there");
    };
    let environment = setup.environment();
    let options = setup.options("tester");
    let (end, ()) = futures::future::join(environment.run(planned, &options), person).await;
    let Ok(RunEnd::Stuck { run, items }) = end else { panic!("{end:?}") };
    let [item] = &items[..] else { panic!("{items:?}") };
    assert_eq!(item.why.cause, "gone", "{item:?}");
    assert!(item.remedy.contains("put it back"), "{item:?}");
    let told = setup.told.lock().expect("not poisoned").last().cloned();
    let Some(What::Paused { items: told, .. }) = told else { panic!("{told:?}") };
    assert_eq!(told, items);
    let recorded = journal::read(&*environment.records, &run).await.expect("can be read").expect("is there");
    let Some((_, JournalEvent::Paused { items: recorded, .. })) = recorded.events.last() else {
        panic!("{recorded:?}")
    };
    assert_eq!(*recorded, items);
    // Put back, it goes on.
    let again = WriteOptions::apply("kubectl", Precondition::Absent);
    setup.shared.world().write(&before.without_server_fields(), &again).expect("is made");
    let end = environment.take_over(None, Wish::Resume, &setup.options("another")).await;
    assert!(end.expect("goes on").as_ref().is_some_and(succeeded));
}

/// Its last step waits for a Job alone, while the watch of Deployments tells nothing any more.
const WITH_A_JOB: &str = "
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

#[tokio::test(start_paused = true)]
async fn a_watch_that_broke_off_is_no_witness_of_the_last_look() {
    for cut in [Cut::Broken, Cut::Interrupted, Cut::Forgotten, Cut::Ended] {
        let mut setup = Setup::of(WITH_A_JOB, 80);
        assert!(succeeded(&setup.deploy("v1").await));
        let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
        setup.shared.world().faults.push(fault("slow warm@v2"));
        let at = setup.runtime.now() + Duration::from_secs(15);
        setup.cluster = Some(Arc::new(Hindered { cut: Some((at, cut)), ..Hindered::of(&setup) }));
        let key = deployment("web");
        let person = async {
            // It is the last of its kind to change: what is listed anew is older all through.
            setup.runtime.sleep(Duration::from_secs(12)).await;
            let note = patch_of(&key, json!({"metadata": {"annotations": {"note": "mine"}}}));
            let edit = WriteOptions::merge("kubectl-edit", Precondition::Any);
            setup.shared.world().write(&note.expect("a patch"), &edit).expect("is there");
            setup.runtime.sleep(Duration::from_secs(8)).await;
            setup.shared.world().delete(&key, &Precondition::Any).expect("is there");
        };
        let environment = setup.environment();
        let options = setup.options("tester");
        let (end, ()) = futures::future::join(environment.run(planned, &options), person).await;
        let end = end.expect("runs");
        assert!(!succeeded(&end) && format!("{end:?}").contains("web"), "{cut:?}: {end:?}");
    }
}
