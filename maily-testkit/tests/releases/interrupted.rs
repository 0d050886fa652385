//! An interrupt before a run has begun: nothing is taken, and nobody waits for it.

use std::time::Duration;

use maily_core::{
    engine::{Depth, EnvironmentError, RunEnd, RunOptions, Wish},
    object::{Object, ObjectKey, ObjectKind},
    runtime::within,
};

use crate::{
    ledger::Ledger,
    setup::{Setup, fault, succeeded},
};

fn holder(setup: &Setup) -> String {
    let kind = ObjectKind::new("coordination.k8s.io/v1", "Lease");
    let key = ObjectKey::new(kind, Some("shop"), "maily-production");
    let holder = |lease: &Object| lease.text("/spec/holderIdentity").map(str::to_owned);
    setup.shared.world().get(&key).and_then(holder).unwrap_or_default()
}

/// Interrupts what is under way after a while; it ends within a second, as one that has changed nothing.
async fn interrupted<T: std::fmt::Debug>(
    setup: &Setup,
    options: &RunOptions,
    after_s: u64,
    work: impl Future<Output = Result<T, EnvironmentError>>,
) {
    let cancel = options.cancel.clone();
    let person = async {
        setup.runtime.sleep(Duration::from_secs(after_s)).await;
        cancel.cancel();
        setup.runtime.now()
    };
    let work = async { (work.await, setup.runtime.now()) };
    let ((end, ended), asked) = futures::future::join(work, person).await;
    let error = end.expect_err("is interrupted");
    assert_eq!(error.to_string(), "interrupted before any change");
    assert!(ended.since(asked) <= Duration::from_secs(1), "{:?}", ended.since(asked));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_living_run_and_stops_has_taken_nothing() {
    let setup = Setup::new(511);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow worker@v2"));
    let overtaken = setup.plan("v3", Depth::Read).await.expect("can be planned");
    let environment = setup.environment();
    let others = async {
        setup.runtime.sleep(Duration::from_secs(2)).await;
        let options = setup.options("second");
        interrupted(&setup, &options, 3, environment.take_over(None, Wish::Resume, &options)).await;
        let mut options = setup.options("third");
        options.wait = Some(Duration::from_secs(600));
        interrupted(&setup, &options, 3, environment.run(overtaken, &options)).await;
        let mut options = setup.options("fourth");
        options.wait = Some(Duration::from_secs(600));
        interrupted(&setup, &options, 3, environment.turn(&options)).await;
        assert_eq!(holder(&setup), "tester");
    };
    let (first, ()) = futures::future::join(setup.deploy("v2"), others).await;
    assert!(succeeded(&first), "{first:?}");
    let head = environment.head().await.expect("can be read");
    assert!(head.unfinished.is_none() && head.pending.is_empty(), "nothing was left behind: {head:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_lease_of_a_dead_run_and_stops_has_not_taken_it_over() {
    let setup = Setup::new(512);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready api@v2"));
    let died = within(&*setup.runtime, Duration::from_secs(12), setup.deploy("v2")).await;
    assert!(died.is_none());
    setup.shared.world().faults.clear();
    let environment = setup.environment();
    let epoch = environment.head().await.expect("can be read").epoch;
    let options = setup.options("second");
    interrupted(&setup, &options, 3, environment.take_over(None, Wish::Resume, &options)).await;
    setup.runtime.sleep(Duration::from_secs(60)).await;
    assert_eq!(environment.head().await.expect("can be read").epoch, epoch);
    let end = environment.take_over(None, Wish::Resume, &setup.options("third")).await.expect("goes on");
    assert!(end.as_ref().is_some_and(succeeded), "{end:?}");
}

/// From the claim on a run of somebody else may have been taken over: it is as it was, and can be resumed.
#[tokio::test(start_paused = true)]
async fn who_stops_while_he_reads_what_he_has_taken_over_leaves_it_to_be_resumed() {
    let setup = Setup::new(513);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready api@v2"));
    let died = within(&*setup.runtime, Duration::from_secs(12), setup.deploy("v2")).await;
    assert!(died.is_none());
    setup.shared.world().faults.clear();
    setup.runtime.sleep(Duration::from_secs(20)).await;
    let reads_take = Duration::from_secs(2);
    let (environment, _) = Ledger { reads_take, ..Ledger::of(&setup) }.open(&setup);
    let options = setup.options("second");
    let cancel = options.cancel.clone();
    let epoch = async || setup.environment().head().await.expect("can be read").epoch;
    let before = epoch().await;
    let person = async {
        while epoch().await == before {
            setup.runtime.sleep(Duration::from_millis(100)).await;
        }
        cancel.cancel();
        setup.runtime.now()
    };
    let work = async { (environment.take_over(None, Wish::Resume, &options).await, setup.runtime.now()) };
    let ((end, ended), asked) = futures::future::join(work, person).await;
    assert!(matches!(end, Ok(Some(RunEnd::Paused { .. }))), "{end:?}");
    assert!(ended.since(asked) <= Duration::from_secs(1), "{:?}", ended.since(asked));
    let end = setup.environment().take_over(None, Wish::Resume, &setup.options("third")).await;
    assert!(end.expect("goes on").as_ref().is_some_and(succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_the_records_refuse_keeps_nobody_waiting() {
    let setup = Setup::new(514);
    let (environment, _) = Ledger { refuses: Some("run/"), ..Ledger::of(&setup) }.open(&setup);
    let planned = setup.plan("v1", Depth::Read).await.expect("can be planned");
    let error = environment.run(planned, &setup.options("first")).await.expect_err("is refused");
    assert!(matches!(error, EnvironmentError::Journal(_)), "{error}");
    assert_eq!(holder(&setup), "", "the lease is given back");
    assert!(succeeded(&setup.deploy("v1").await));
}
