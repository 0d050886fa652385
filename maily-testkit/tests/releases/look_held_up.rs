//! A last look that is held up, turned, or without an answer, and one that stops a run.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{
        Depth, Outcome, Planned, RunEnd, Storage, What, Wish,
        journal::{self, JournalEvent},
        planner::PlanOptions,
    },
    object::Object,
    provider::{ErrorKind, Precondition, WriteOptions, patch_of},
};
use serde_json::json;

use crate::{
    hindered::{Cut, Hindered},
    last_look::{KEEPER, MOVED, WITH_A_JOB, deployment, not_serving, service},
    setup::{Setup, fault, succeeded},
};

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
