//! The lease: whose it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use maily_core::{
    engine::{EnvironmentError, Lease, LeaseError, LeaseRequest, MayWrite, RunId, What, Wish},
    object::{ObjectKey, ObjectKind},
    provider::{Cluster, Dependents, Precondition},
    release::{UnfinishedRun, status},
    runtime::within,
};
use maily_testkit::sim::SimCluster;
use serde_json::json;

use crate::{
    hindered::Hindered,
    setup::{Setup, fault, succeeded},
};

/// Process ids come again, and containers have few of them.
#[tokio::test(start_paused = true)]
async fn another_run_of_a_holder_of_the_same_name_is_another_holder() {
    let setup = Setup::new(41);
    let cluster: Arc<dyn Cluster> = Arc::new(SimCluster::new(Arc::clone(&setup.shared)));
    let request = LeaseRequest {
        environment: "production".into(),
        namespace: "shop".into(),
        holder: "ci@runner/1".into(),
        run: RunId::from("first"),
        until: None,
    };
    let lease = Lease::acquire(cluster, Arc::clone(&setup.runtime), &request, &|_: &str| {}).await;
    let lease = lease.expect("is free");
    let kind = ObjectKind::new("coordination.k8s.io/v1", "Lease");
    let key = ObjectKey::new(kind, Some("shop"), "maily-production");
    setup.runtime.sleep(Duration::from_secs(20)).await;
    assert_eq!(lease.may_write(), MayWrite::Yes);
    let taken = json!({"metadata": {"annotations": {"maily.dev/run": "second"}}});
    setup.shared.world().edit_as("maily-records", &key, taken).expect("is there");
    setup.runtime.sleep(Duration::from_secs(7)).await;
    assert_eq!(lease.may_write(), MayWrite::Lost);
    lease.release().await;
    let holder = setup
        .shared
        .world()
        .get(&key)
        .and_then(|lease| lease.text("/spec/holderIdentity").map(str::to_owned));
    assert_eq!(holder.as_deref(), Some("ci@runner/1"));
}

async fn unfinished(setup: &Setup) -> UnfinishedRun {
    status(&setup.environment(), &setup.resolved())
        .await
        .expect("can be read")
        .unfinished
        .expect("has not ended")
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_has_died_shows_no_life_once_its_lease_is_old() {
    let setup = Setup::new(42);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready api@v2"));
    // Its process ends in the middle of the run, with the renewal of the lease.
    let died = within(&*setup.runtime, Duration::from_secs(12), setup.deploy("v2")).await;
    assert!(died.is_none());
    let soon = unfinished(&setup).await;
    assert!(soon.alive, "nobody can know yet: {soon:?}");
    setup.runtime.sleep(Duration::from_secs(16)).await;
    let late = unfinished(&setup).await;
    assert!(!late.alive, "{late:?}");
    assert_eq!((late.holder.as_deref(), late.seen), (Some("tester"), soon.seen));
    let age = setup.runtime.wall().duration_since(late.seen.expect("was renewed"));
    assert!((16..22).contains(&age.as_secs()), "the last sign of life is {age} old");
}

/// A run that only waits for pods asks nobody whether it may write.
#[tokio::test(start_paused = true)]
async fn a_run_whose_lease_is_taken_stops_and_says_by_whom() {
    let setup = Setup::new(43);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready api@v2"));
    let key =
        ObjectKey::new(ObjectKind::new("coordination.k8s.io/v1", "Lease"), Some("shop"), "maily-production");
    let taken = async {
        setup.runtime.sleep(Duration::from_secs(4)).await;
        let by_hand = json!({"spec": {"holderIdentity": "mallory"}});
        setup.shared.world().edit_as("kubectl-patch", &key, by_hand).expect("is there");
        setup.runtime.now()
    };
    let (end, at) = futures::future::join(setup.try_to_deploy("v2"), taken).await;
    let error = end.expect_err("has lost its lease");
    assert!(matches!(error, EnvironmentError::Lease(LeaseError::Lost { .. })), "{error}");
    assert_eq!(error.to_string(), "the lease of environment `production` was lost: mallory holds it now");
    assert!(setup.runtime.now().since(at) <= Duration::from_secs(6));
    let holder = |lease: &maily_core::object::Object| lease.text("/spec/holderIdentity").map(str::to_owned);
    assert_eq!(setup.shared.world().get(&key).and_then(holder).as_deref(), Some("mallory"));
    // Nobody renews it: it runs out like any other.
    setup.shared.world().faults.clear();
    let mut options = setup.options("second");
    options.wait = Some(Duration::from_secs(60));
    let end = setup.environment().take_over(None, Wish::Resume, &options).await.expect("goes on");
    assert!(end.as_ref().is_some_and(succeeded), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_lease_is_deleted_stops_at_its_next_renewal() {
    let setup = Setup::new(44);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready api@v2"));
    let key =
        ObjectKey::new(ObjectKind::new("coordination.k8s.io/v1", "Lease"), Some("shop"), "maily-production");
    let cluster = SimCluster::new(Arc::clone(&setup.shared));
    let deleted = async {
        setup.runtime.sleep(Duration::from_secs(4)).await;
        cluster.delete(&key, &Precondition::Any, Dependents::Follow).await.expect("is deleted");
        setup.runtime.now()
    };
    let (end, at) = futures::future::join(setup.try_to_deploy("v2"), deleted).await;
    let error = end.expect_err("has lost its lease");
    assert_eq!(error.to_string(), "the lease of environment `production` was lost: somebody deleted it");
    assert!(setup.runtime.now().since(at) <= Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_free_and_always_conflicts_is_given_up() {
    let setup = Setup::new(45);
    let conflicts = Arc::new(AtomicU32::default());
    let hindering = Some(("maily-production", Arc::clone(&conflicts)));
    let hindered = Hindered { conflicts: hindering, ..Hindered::of(&setup) };
    let request = LeaseRequest {
        environment: "production".into(),
        namespace: "shop".into(),
        holder: "ci@runner/1".into(),
        run: RunId::from("first"),
        until: None,
    };
    let cluster: Arc<dyn Cluster> = Arc::new(hindered);
    let asked = setup.runtime.now();
    let lease = Lease::acquire(cluster, Arc::clone(&setup.runtime), &request, &|_: &str| {});
    let lease = within(&*setup.runtime, Duration::from_secs(60), lease).await.expect("goes on for ever");
    assert!(matches!(lease, Err(LeaseError::Provider(_))), "{lease:?}");
    let tries = conflicts.load(Ordering::SeqCst);
    assert!((2..100).contains(&tries), "{tries}");
    assert!(setup.runtime.now().since(asked) <= Duration::from_secs(30));
}

/// What needs its api is sent half a minute later where that is slow.
const ONE_AFTER_ANOTHER: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
";

/// Nothing may be sent any more, and waiting does not help: both are told, with what does.
#[tokio::test(start_paused = true)]
async fn a_lease_that_may_not_be_renewed_any_more_is_told_with_the_reason() {
    let mut setup = Setup::of(ONE_AFTER_ANOTHER, 46);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow api@v2"));
    let from = setup.runtime.now() + Duration::from_secs(3);
    let hindered = Hindered { forbidden: Some((from, "maily-production")), ..Hindered::of(&setup) };
    setup.cluster = Some(Arc::new(hindered));
    let end = setup.try_to_deploy("v2").await.expect("ends");
    let told = setup.told.lock().expect("not poisoned").clone();
    let why = |what: &&What| matches!(what, What::Waiting { why } if why.contains("leases are forbidden"));
    assert_eq!(told.iter().filter(why).count(), 1, "{told:?}");
    let failed = told.iter().find_map(|what| match what {
        What::StepFailed { failure, .. } => Some(failure.clone()),
        _ => None,
    });
    let failed = failed.unwrap_or_else(|| panic!("{end:?}"));
    assert!(failed.message.contains("the lease could not be renewed"), "{failed:?}");
    assert!(failed.message.contains("leases are forbidden"), "{failed:?}");
    assert!(failed.hint.as_deref().is_some_and(|hint| hint.contains("`patch` on `leases`")), "{failed:?}");
}
