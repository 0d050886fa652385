//! The lease: whose it is.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{Lease, LeaseRequest, MayWrite, RunId},
    object::{ObjectKey, ObjectKind},
    provider::Cluster,
    release::{UnfinishedRun, status},
    runtime::within,
};
use maily_testkit::sim::SimCluster;
use serde_json::json;

use crate::setup::{Setup, fault, succeeded};

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
        wait: None,
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
