//! Who asks a living run to go back waits until it has; and what he asked for is on record under his name.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use maily_core::{
    engine::{EnvironmentError, FenceError, Outcome, RunEnd, RunOptions, What, Wish, journal::JournalEvent},
    object::{ObjectKey, ObjectKind},
    release::status,
    runtime::within,
};
use serde_json::json;

use crate::{
    ledger::Ledger,
    setup::{Setup, fault, succeeded},
};

/// Its pods hold a volume, so that the way back waits for the old one.
const KEEPER: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  keeper: {workload: {port: 8080, scale: 1, volumes: {data: {mount: /data, size: 1Gi}}}}
";

/// Its migration cannot be taken back.
const ONE_WAY: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  schema: {before: api, job: {image: 'registry.example/shop/schema:{version}', command: [up]}}
";

/// Somebody with a listener of his own.
fn somebody(by: &str) -> (RunOptions, Arc<Mutex<Vec<What>>>) {
    let told: Arc<Mutex<Vec<What>>> = Arc::default();
    let mut options = RunOptions::new(by);
    let tells = Arc::clone(&told);
    options.listener = Arc::new(move |event: &maily_core::engine::Event| {
        tells.lock().expect("not poisoned").push(event.what.clone());
    });
    (options, told)
}

fn went_back(end: &RunEnd) -> bool {
    matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. })
}

/// A deploy of v2 whose way back takes two minutes.
async fn long_way_back(seed: u64) -> Setup {
    let setup = Setup::of(KEEPER, seed);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow keeper@v2"));
    setup
}

#[tokio::test(start_paused = true)]
async fn who_aborts_a_living_run_waits_as_long_as_its_way_back_takes() {
    let setup = long_way_back(501).await;
    let (options, told) = somebody("ana");
    let ana = async {
        setup.runtime.sleep(Duration::from_secs(5)).await;
        setup.shared.world().faults.push(fault("unschedulable keeper@v1"));
        let asked = setup.runtime.now();
        let end = setup.environment().take_over(None, Wish::Abort, &options).await;
        (end.expect("waits for it").expect("there is a run"), setup.runtime.now().since(asked))
    };
    let (end, (seen, waited)) = futures::future::join(setup.deploy("v2"), ana).await;
    assert!(went_back(&end) && waited > Duration::from_secs(60), "{end:?} after {waited:?}");
    assert_eq!(seen, end, "both end with what came of it");
    let told = told.lock().expect("not poisoned").clone();
    let RunEnd::Over { outcome, .. } = &end else { panic!("{end:?}") };
    let finished = |what: &&What| matches!(what, What::RunFinished { outcome: told, .. } if told == outcome);
    assert_eq!(told.iter().filter(finished).count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_for_the_way_back_is_told_that_his_wish_stands() {
    for (seed, interrupts) in [(502, true), (503, false)] {
        let setup = long_way_back(seed).await;
        let (mut options, _) = somebody("ana");
        options.wait = (!interrupts).then_some(Duration::from_secs(15));
        let (environment, cancel) = (setup.environment(), options.cancel.clone());
        let ana = async {
            setup.runtime.sleep(Duration::from_secs(5)).await;
            setup.shared.world().faults.push(fault("unschedulable keeper@v1"));
            let waits = environment.take_over(None, Wish::Abort, &options);
            let impatient = async {
                setup.runtime.sleep(Duration::from_secs(15)).await;
                if interrupts {
                    cancel.cancel();
                }
                setup.runtime.now()
            };
            let (end, left) = futures::future::join(waits, impatient).await;
            assert!(setup.runtime.now().since(left) <= Duration::from_secs(1));
            end.expect_err("does not wait")
        };
        let (end, error) = futures::future::join(setup.deploy("v2"), ana).await;
        assert!(went_back(&end), "{end:?}");
        let (said, hint) = (error.to_string(), error.hint().unwrap_or_default());
        let why = if interrupts { "interrupted" } else { "environment `production` is held by tester" };
        assert!(said.starts_with(why) && said.ends_with("was asked to go back, and that stands"), "{said}");
        assert!(hint.contains("status --env production --watch"), "{hint}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_cannot_be_granted_is_refused_to_whoever_has_it() {
    let setup = Setup::of(ONE_WAY, 504);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow schema@v2"));
    let (options, _) = somebody("ana");
    let ana = async {
        setup.runtime.sleep(Duration::from_secs(8)).await;
        let asked = setup.runtime.now();
        let end = setup.environment().take_over(None, Wish::Abort, &options).await;
        (end.expect_err("cannot go back"), setup.runtime.now().since(asked))
    };
    let (end, (error, waited)) = futures::future::join(setup.deploy("v2"), ana).await;
    assert!(succeeded(&end), "{end:?}");
    assert!(error.to_string().ends_with("cannot go back: a step that cannot be undone has begun"), "{error}");
    assert!(waited <= Duration::from_secs(10), "{waited:?}");
    let told = setup.told.lock().expect("not poisoned").clone();
    let refused =
        |what: &&What| matches!(what, What::Waiting { why } if why.starts_with("ana asked to abort"));
    assert_eq!(told.iter().filter(refused).count(), 1, "the holder says so once");
}

/// Whoever hears no answer does not take his wish for refused: the run goes back all the same.
#[tokio::test(start_paused = true)]
async fn an_abort_whose_request_has_no_answer_says_that_its_wish_may_stand() {
    for interrupts in [true, false] {
        let setup = long_way_back(512).await;
        let requests_take = if interrupts { Duration::from_secs(3) } else { Duration::ZERO };
        let ledger = Ledger { requests_take, requests_unanswered: true, ..Ledger::of(&setup) };
        let (environment, _) = ledger.open(&setup);
        let (options, _) = somebody("ana");
        let cancel = options.cancel.clone();
        let ana = async {
            setup.runtime.sleep(Duration::from_secs(5)).await;
            let asks = environment.take_over(None, Wish::Abort, &options);
            let impatient = async {
                setup.runtime.sleep(Duration::from_secs(4)).await;
                if interrupts {
                    cancel.cancel();
                }
            };
            futures::future::join(asks, impatient).await.0.expect_err("has heard nothing")
        };
        let (end, error) = futures::future::join(setup.deploy("v2"), ana).await;
        assert!(went_back(&end), "{end:?}");
        let (said, hint) = (error.to_string(), error.hint().unwrap_or_default());
        let why = if interrupts { "interrupted" } else { "create `Secret record`" };
        assert!(
            said.starts_with(why) && said.ends_with("was asked to go back, and that may stand"),
            "{said}"
        );
        assert!(hint.contains("`mailyctl abort --env production` asks once more"), "{hint}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_succeeded_before_it_heard_is_not_called_taken_back() {
    let setup = Setup::new(505);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow worker@v2"));
    let requests_take = Duration::from_secs(120);
    let (environment, _) = Ledger { requests_take, ..Ledger::of(&setup) }.open(&setup);
    let (options, _) = somebody("ana");
    let ana = async {
        setup.runtime.sleep(Duration::from_secs(5)).await;
        environment.take_over(None, Wish::Abort, &options).await.expect_err("is too late")
    };
    let (end, error) = futures::future::join(setup.deploy("v2"), ana).await;
    assert!(succeeded(&end), "{end:?}");
    assert!(error.to_string().ends_with("had succeeded before it could go back: release 2 is in force"));
    assert!(error.hint().is_some_and(|hint| hint.contains("rollback --env production --last-good")));
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_back_in_the_name_of_who_asked_and_not_of_who_takes_it_over() {
    let setup = Setup::new(506);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready api@v2"));
    let died = within(&*setup.runtime, Duration::from_secs(12), setup.deploy("v2")).await;
    assert!(died.is_none());
    // Ana's process ends while it waits for the lease to run out.
    let environment = setup.environment();
    let (ana, _) = somebody("ana");
    let asks = environment.take_over(None, Wish::Abort, &ana);
    assert!(within(&*setup.runtime, Duration::from_secs(5), asks).await.is_none());
    let end = environment.take_over(None, Wish::Resume, &setup.options("ben")).await.expect("goes on");
    let Some(RunEnd::Over { run: Some(run), outcome: Outcome::RolledBack { why, .. } }) = end else {
        panic!("{end:?}")
    };
    assert_eq!(why.message, "ana asked to abort");
    let recorded = maily_core::engine::journal::read(&*environment.records, &run).await.expect("is there");
    let events = recorded.expect("is there").events;
    let by = events.iter().find_map(|(_, event)| match event {
        JournalEvent::Turned { by, .. } => Some(by.clone()),
        _ => None,
    });
    assert_eq!(by.as_deref(), Some("ana"));
}

/// What keeps a run, as whoever looks is told.
async fn kept_by(setup: &Setup) -> Option<String> {
    let seen = status(&setup.environment(), &setup.resolved()).await.expect("can be read");
    seen.unfinished.expect("has not ended").stuck
}

/// A deploy of v2 that is past its point of no return, and stuck there.
async fn stuck_one_way(seed: u64) -> Setup {
    let setup = Setup::of(ONE_WAY, seed);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready api@v2"));
    let end = setup.deploy("v2").await;
    assert!(matches!(end, RunEnd::Stuck { .. }), "{end:?}");
    setup
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_is_refused_leaves_it_on_record_why_the_run_is_stuck() {
    let setup = stuck_one_way(507).await;
    let why = kept_by(&setup).await;
    assert!(why.is_some());
    let claims = setup.environment().records.list("epoch/").await.expect("can be read");
    let error = setup.environment().take_over(None, Wish::Abort, &somebody("ana").0).await;
    assert!(matches!(error, Err(EnvironmentError::NoReturn(_))), "{error:?}");
    assert_eq!(kept_by(&setup).await, why);
    assert_eq!(setup.environment().records.list("epoch/").await.expect("can be read"), claims, "no claim");
    let error = setup.environment().turn(&somebody("ben").0).await.expect_err("has not ended");
    assert!(matches!(&error, EnvironmentError::Unfinished { stuck, .. } if *stuck == why), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_takes_a_stuck_run_over_and_dies_leaves_it_on_record_why_it_is_stuck() {
    let setup = stuck_one_way(508).await;
    let why = kept_by(&setup).await;
    let environment = setup.environment();
    let options = setup.options("ana");
    let claims = environment.records.list("run/").await.expect("can be read").len();
    let goes_on = environment.take_over(None, Wish::Resume, &options);
    futures::pin_mut!(goes_on);
    // His process ends as soon as his claim is in the journal.
    while environment.records.list("run/").await.expect("can be read").len() == claims {
        let taken = within(&*setup.runtime, Duration::from_millis(10), &mut goes_on).await;
        assert!(taken.is_none(), "{taken:?}");
    }
    assert_eq!(kept_by(&setup).await, why);
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_fails_says_that_its_wish_stands() {
    let setup = Setup::fenced(509).await;
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready api@v2"));
    assert!(within(&*setup.runtime, Duration::from_secs(12), setup.deploy("v2")).await.is_none());
    setup.open_the_fence().await;
    let environment = setup.environment();
    let open = environment.take_over(None, Wish::Abort, &somebody("ana").0).await.expect_err("is open");
    let EnvironmentError::Asked { because, .. } = &open else { panic!("{open}") };
    assert!(matches!(**because, EnvironmentError::Fence(FenceError::Open { .. })), "{because}");
    let (said, hint) = (open.to_string(), open.hint().unwrap_or_default());
    assert!(said.starts_with(&because.to_string()), "{said}");
    assert!(said.ends_with("was asked to go back, and that stands"), "{said}");
    let mends = because.hint().expect("has a remedy");
    assert!(hint.starts_with(&mends) && hint.contains("`mailyctl resume --env production`"), "{hint}");
    environment.fence().install(maily_core::engine::Epoch(0)).await.expect("is repaired");
    let end = environment.take_over(None, Wish::Resume, &setup.options("ben")).await.expect("goes on");
    assert!(end.as_ref().is_some_and(went_back), "{end:?}");
}

/// The lease, in other hands as soon as the run's holder has given it up, for longer than anybody waits.
async fn somebody_else_is_next(setup: &Setup) {
    let kind = ObjectKind::new("coordination.k8s.io/v1", "Lease");
    let key = ObjectKey::new(kind, Some("shop"), "maily-production");
    let is_free = || {
        let world = setup.shared.world();
        world.get(&key).is_some_and(|lease| lease.text("/spec/holderIdentity") == Some(""))
    };
    for free in [false, true] {
        while is_free() != free {
            setup.runtime.sleep(Duration::from_millis(1)).await;
        }
    }
    for second in 0..300 {
        let lease = json!({
            "metadata": {"annotations": {"maily.dev/run": "another"}},
            "spec": {"holderIdentity": "carol", "leaseTransitions": second},
        });
        setup.shared.world().edit_as("maily-records", &key, lease).expect("is there");
        setup.runtime.sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_run_does_not_wait_for_the_next_one_in_line() {
    for (seed, wish) in [(510, Wish::Abort), (511, Wish::Resume)] {
        let setup = long_way_back(seed).await;
        let (mut options, _) = somebody("ana");
        options.wait = (wish == Wish::Resume).then_some(Duration::from_secs(120));
        let ended = async {
            let end = setup.deploy("v2").await;
            (end, setup.runtime.now())
        };
        let ana = async {
            setup.runtime.sleep(Duration::from_secs(5)).await;
            let end = setup.environment().take_over(None, wish, &options).await;
            (end.expect("is told").expect("there is a run"), setup.runtime.now())
        };
        let told = async {
            let ((end, ended), (seen, told)) = futures::future::join(ended, ana).await;
            assert_eq!(seen, end, "both end with what came of it");
            assert!(told.since(ended) <= Duration::from_secs(10), "{:?}", told.since(ended));
        };
        let next = somebody_else_is_next(&setup);
        futures::pin_mut!(told, next);
        assert!(matches!(futures::future::select(told, next).await, futures::future::Either::Left(_)));
    }
}
