//! Two runs at once: the second waits for its turn, and begins from what the first has left.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use maily_core::{
    engine::{
        Depth, EnvironmentError, Lease, LeaseError, LeaseRequest, Planned, RunId, What, planner::PlanOptions,
    },
    model::Project,
    object::Object,
    provider::{Cluster, ClusterIdentity, Precondition, WriteOptions},
    release::{DeployRequest, PrepareError, prepare},
    source::ProgramTools,
};
use maily_testkit::sim::SimCluster;
use serde_json::json;

use crate::{
    ledger::Ledger,
    setup::{Setup, fault, succeeded},
};

/// What a plan found: the images of the Deployments that it changes, as they were captured.
fn captured(planned: &Planned) -> Vec<String> {
    let befores = planned.plan.changes().filter_map(|change| change.before.as_ref());
    let image = |object: &Object| object.text("/spec/template/spec/containers/0/image").map(str::to_owned);
    befores.filter_map(|before| image(&before.object)).collect()
}

async fn fresh(seed: u64, version: &str) -> Vec<Object> {
    let fresh = Setup::new(seed);
    assert!(succeeded(&fresh.deploy(version).await));
    fresh.content()
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_line_plans_on_what_the_run_before_has_left() {
    let setup = Setup::new(91);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow worker@v2"));
    let second = async {
        setup.runtime.sleep(Duration::from_secs(1)).await;
        let environment = setup.environment();
        assert!(
            environment.head().await.expect("can be read").unfinished.is_some(),
            "the first is under way"
        );
        let project = Project::parse(setup.project, "maily.yaml").expect("a project");
        let resolved = project.resolve("production").expect("is there");
        let mut options = setup.options("second");
        options.wait = Some(Duration::from_secs(600));
        let time = PlanOptions { timeout_s: Some(60), ..PlanOptions::default() };
        let version = "v3".parse().expect("a version");
        let request = DeployRequest { options: time, ..DeployRequest::new(version) };
        let planned = prepare(&environment, &resolved, &request, &ProgramTools, &options).await;
        let planned = planned.expect("can be planned");
        let images = captured(&planned);
        assert!(images.len() == 4 && images.iter().all(|image| image.ends_with(":v2")), "{images:?}");
        environment.run(planned, &options).await.expect("runs")
    };
    let (first, second) = futures::future::join(setup.deploy("v2"), second).await;
    assert!(succeeded(&first) && succeeded(&second), "{first:?}, {second:?}");
    let told = setup.told.lock().expect("not poisoned").clone();
    assert!(told.iter().any(|what| matches!(what, What::Queued { holder } if holder.contains("tester"))));
    assert_eq!(setup.content(), fresh(92, "v3").await);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_another_run_has_overtaken_changes_nothing_and_is_made_anew() {
    let setup = Setup::new(93);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow worker@v2"));
    let overtaken = setup.plan("v3", Depth::Read).await.expect("can be planned");
    let images = captured(&overtaken);
    assert!(images.len() == 4 && images.iter().all(|image| image.ends_with(":v1")), "{images:?}");
    let second = async {
        setup.runtime.sleep(Duration::from_secs(1)).await;
        let mut options = setup.options("second");
        options.wait = Some(Duration::from_secs(600));
        let error = setup.environment().run(overtaken, &options).await.expect_err("is out of date");
        assert!(matches!(error, EnvironmentError::OutOfDate(_)), "{error}");
    };
    let (first, ()) = futures::future::join(setup.deploy("v2"), second).await;
    assert!(succeeded(&first), "{first:?}");
    assert_eq!(setup.content(), fresh(94, "v2").await);
    assert!(setup.environment().head().await.expect("can be read").unfinished.is_none());
    assert!(succeeded(&setup.deploy("v3").await));
    assert_eq!(setup.content(), fresh(95, "v3").await);
}

/// Who waits for the plan and then for the run waits no longer than he said for both.
#[tokio::test(start_paused = true)]
async fn who_waits_twice_waits_no_longer_than_he_said() {
    let setup = Setup::new(102);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow worker@v2"));
    let wait = Duration::from_secs(45);
    let second = async {
        setup.runtime.sleep(Duration::from_secs(1)).await;
        let (environment, resolved) = (setup.environment(), setup.resolved());
        let (begun, mut options) = (setup.runtime.now(), setup.options("second"));
        (options.wait, options.since) = (Some(wait), Some(begun));
        let request = DeployRequest::new("v3".parse().expect("a version"));
        let planned = prepare(&environment, &resolved, &request, &ProgramTools, &options).await;
        let planned = planned.expect("can be planned");
        let waited = setup.runtime.now().since(begun);
        assert!(waited > Duration::from_secs(20) && waited < wait, "{waited:?}");
        // Somebody else is faster.
        let request = LeaseRequest {
            environment: "production".into(),
            namespace: "shop".into(),
            holder: "third".into(),
            run: RunId::from("third"),
            until: None,
        };
        let cluster: Arc<dyn Cluster> = Arc::new(SimCluster::new(Arc::clone(&setup.shared)));
        let lease = Lease::acquire(cluster, Arc::clone(&setup.runtime), &request, &|_: &str| {}).await;
        let lease = lease.expect("is free");
        let refused = environment.run(planned, &options).await.expect_err("is held");
        assert!(matches!(refused, EnvironmentError::Lease(LeaseError::Held { .. })), "{refused}");
        let waited = setup.runtime.now().since(begun);
        assert!((wait..wait + Duration::from_secs(2)).contains(&waited), "{waited:?}");
        lease.release().await;
    };
    let (first, ()) = futures::future::join(setup.deploy("v2"), second).await;
    assert!(succeeded(&first), "{first:?}");
}

fn queued(setup: &Setup) -> usize {
    let told = setup.told.lock().expect("not poisoned");
    told.iter().filter(|what| matches!(what, What::Queued { .. })).count()
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_while_whoever_waits_reads_of_it_is_not_called_unfinished() {
    let setup = Setup::new(96);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow worker@v2"));
    // It ends in the middle of the first look.
    let reads_take = Duration::from_secs(60);
    let (environment, _) = Ledger { reads_take, ..Ledger::of(&setup) }.open(&setup);
    let mut options = setup.options("second");
    options.wait = Some(Duration::from_secs(600));
    let second = async {
        setup.runtime.sleep(Duration::from_secs(1)).await;
        environment.turn(&options).await.expect("gets its turn")
    };
    let (first, head) = futures::future::join(setup.deploy("v2"), second).await;
    assert!(succeeded(&first), "{first:?}");
    assert_eq!(head.release.expect("is in force").1.versions["api"], "v2");
}

#[tokio::test(start_paused = true)]
async fn who_waits_looks_at_the_lease_alone_and_tells_it_once() {
    let setup = Setup::new(98);
    assert!(succeeded(&setup.deploy("v1").await));
    let (environment, ledger) = Ledger::of(&setup).open(&setup);
    environment.head().await.expect("can be read");
    let once = ledger.reads.swap(0, Ordering::SeqCst);
    setup.shared.world().faults.push(fault("slow worker@v2"));
    let mut options = setup.options("second");
    options.wait = Some(Duration::from_secs(600));
    let second = async {
        setup.runtime.sleep(Duration::from_secs(1)).await;
        environment.turn(&options).await.expect("gets its turn")
    };
    let (first, _) = futures::future::join(setup.deploy("v2"), second).await;
    assert!(succeeded(&first), "{first:?}");
    let reads = ledger.reads.load(Ordering::SeqCst);
    assert!(reads <= 4 * once, "{reads} reads in half a minute, {once} for one look");
    assert_eq!(queued(&setup), 1);
}

/// Somebody's lease, whose holder ended before he had written anything else.
async fn leave_a_lease(setup: &Setup, renewed: Timestamp) {
    let at = renewed.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let lease = Object::from_value(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "maily-production", "namespace": "shop", "labels": {"maily.dev/environment": "production"}},
        "spec": {"holderIdentity": "gone@vm/1", "leaseDurationSeconds": 15, "acquireTime": at, "renewTime": at},
    }));
    let cluster = SimCluster::new(Arc::clone(&setup.shared));
    let options = WriteOptions::merge("maily-records", Precondition::Any);
    cluster.write(&lease.expect("is an object"), &options).await.expect("is left");
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_holder_shows_no_life_is_taken_once_it_was_seen_to_run_out() {
    let setup = Setup::new(101);
    assert!(succeeded(&setup.deploy("v1").await));
    // Whoever holds it has renewed it a moment ago, by his clock: nobody waits who was not asked to.
    leave_a_lease(&setup, setup.runtime.wall()).await;
    let begun = setup.runtime.now();
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    let refused = setup.environment().run(planned, &setup.options("second")).await.expect_err("is held");
    assert!(matches!(refused, EnvironmentError::Lease(LeaseError::Held { .. })), "{refused}");
    assert!(setup.runtime.now().since(begun) < Duration::from_secs(2));
    setup.runtime.sleep(Duration::from_secs(20)).await;
    let begun = setup.runtime.now();
    assert!(succeeded(&setup.deploy("v2").await));
    assert!(setup.runtime.now().since(begun) > Duration::from_secs(15), "seen on its own clock");
    assert_eq!(queued(&setup), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_renewed_in_time_to_come_is_judged_by_ones_own_clock() {
    let setup = Setup::new(102);
    assert!(succeeded(&setup.deploy("v1").await));
    let ahead = || setup.runtime.wall() + SignedDuration::from_hours(1);
    // Its holder is gone, and its clock was fast.
    leave_a_lease(&setup, ahead()).await;
    let begun = setup.runtime.now();
    assert!(succeeded(&setup.deploy("v2").await));
    let took = setup.runtime.now().since(begun);
    assert!(took > Duration::from_secs(15) && took < Duration::from_secs(40), "{took:?}");
    // One that lives renews it.
    leave_a_lease(&setup, ahead()).await;
    let lives = async {
        loop {
            setup.runtime.sleep(Duration::from_secs(5)).await;
            leave_a_lease(&setup, ahead()).await;
        }
    };
    let planned = setup.plan("v1", Depth::Read).await.expect("can be planned");
    let (environment, options) = (setup.environment(), setup.options("second"));
    let run = environment.run(planned, &options);
    futures::pin_mut!(lives, run);
    let futures::future::Either::Left((refused, _)) = futures::future::select(run, lives).await;
    let refused = refused.expect_err("is held");
    assert!(matches!(refused, EnvironmentError::Lease(LeaseError::Held { .. })), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn another_cluster_is_told_at_once_and_its_records_are_not_read() {
    let setup = Setup::new(99);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow worker@v2"));
    let (mut environment, ledger) = Ledger::of(&setup).open(&setup);
    environment.identity = Some(ClusterIdentity { uid: "bound".to_owned(), ca: String::new() });
    let mut options = setup.options("second");
    options.wait = Some(Duration::from_secs(600));
    let second = async {
        setup.runtime.sleep(Duration::from_secs(1)).await;
        let asked = setup.runtime.now();
        let error = environment.turn(&options).await.expect_err("is another cluster");
        assert!(matches!(error, EnvironmentError::WrongCluster { .. }), "{error}");
        assert!(setup.runtime.now().since(asked) <= Duration::from_secs(1));
        assert_eq!((ledger.reads.load(Ordering::SeqCst), queued(&setup)), (0, 0));
    };
    let (first, ()) = futures::future::join(setup.deploy("v2"), second).await;
    assert!(succeeded(&first), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn who_begins_anew_waits_for_his_turn_too() {
    let setup = Setup::new(100);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow worker@v2"));
    let mut options = setup.options("second");
    options.wait = Some(Duration::from_secs(600));
    let (environment, resolved) = (setup.environment(), setup.resolved());
    let request = DeployRequest { anew: true, ..DeployRequest::new("v3".parse().expect("a version")) };
    let second = async {
        setup.runtime.sleep(Duration::from_secs(1)).await;
        prepare(&environment, &resolved, &request, &ProgramTools, &options).await
    };
    let (first, second) = futures::future::join(setup.deploy("v2"), second).await;
    assert!(succeeded(&first), "{first:?}");
    // It has ended well, so that there is nothing to begin anew.
    assert!(matches!(second, Err(PrepareError::NotAnew(_))), "{second:?}");
    assert_eq!(queued(&setup), 1);
}
