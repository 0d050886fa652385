//! The lease: whose it is.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{Lease, LeaseRequest, MayWrite, RunId},
    object::{ObjectKey, ObjectKind},
    provider::Cluster,
};
use maily_testkit::sim::SimCluster;
use serde_json::json;

use crate::setup::Setup;

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
