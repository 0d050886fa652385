//! Two API servers on one etcd, of which one does not hear that the fence was raised.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{ENVIRONMENT, EPOCH, MANAGER, NAMESPACE},
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster, ErrorKind, Precondition, ProviderError, WriteOptions, patch_of},
};
use maily_k8s::{ConnectOptions, KubeCluster};
use maily_testkit::harness::Stack;
use serde_json::json;

use super::{
    paused::{DEPLOY, site},
    relay::Relay,
};
use crate::{
    operators::{Running, run},
    site::Site,
};

/// The second API server, for as long as it is needed.
struct Second(Stack);

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.0.kill("apiserver-2");
    }
}

/// A write as a maily of this epoch sends it, without any other precondition.
async fn write(
    cluster: &dyn Cluster,
    site: &Site,
    kind: ObjectKind,
    name: &str,
    epoch: u64,
) -> Result<Object, ProviderError> {
    let key = ObjectKey::new(kind, Some(&site.namespace), name);
    let marks = json!({"metadata": {
        "labels": {ENVIRONMENT: "production", NAMESPACE: site.namespace},
        "annotations": {EPOCH: epoch.to_string()},
    }});
    let object = patch_of(&key, marks).expect("is an object");
    let options = match cluster.get(&key).await.expect("answers") {
        Some(_) => WriteOptions::merge(MANAGER, Precondition::Any),
        None => WriteOptions::apply(MANAGER, Precondition::Any),
    };
    cluster.write(&object, &options).await
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_paused_holder_writes_nothing_through_an_api_server_that_lags() {
    let (site, operators) = site("lagging", true).await;
    let etcd = operators.stack.etcd().expect("is ours");
    // Each resource has a connection of its own to etcd: only what this server hears of ConfigMaps is held back.
    let relay = Relay::to(etcd, "/registry/configmaps");
    let kubeconfig = operators.stack.second(&format!("http://127.0.0.1:{}", relay.port)).expect("comes up");
    let _second = Second(operators.stack.clone());
    let first = operators.kubeconfig(&site, "first", Some(etcd.port() + 5));
    let second = operators.kubeconfig(&site, "second", None);
    let holder = Running::start(&site, &first, &DEPLOY);
    site.until("alpha is changed", async || site.image("alpha").await.ends_with(":v2")).await;
    holder.halt();
    relay.lag(true);
    let alpha = site.get("apps/v1", "Deployment", "alpha").await.expect("is there");
    let old: u64 = alpha.annotation(EPOCH).and_then(|epoch| epoch.parse().ok()).expect("has an epoch");
    run(&site, &second, &["resume", "--env", "production", "--wait-lock", "90s"]).expect(0);
    let after = site.content().await;

    let options = ConnectOptions { kubeconfig: Some(kubeconfig), context: None };
    let behind: Arc<dyn Cluster> = Arc::new(KubeCluster::connect(&options).await.expect("connects"));
    let account = || ObjectKind::new("v1", "ServiceAccount");
    let error = write(&*site.cluster, &site, account(), "probe", old).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::StaleEpoch, "{error}");
    // It lags indeed: what it has no older epoch of passes. Of what the new holder has stamped it knows the epoch.
    write(&*behind, &site, account(), "probe", old).await.expect("passes");
    site.kubectl(&["delete", "serviceaccount", "probe"]).expect(0);
    for name in ["alpha", "gamma"] {
        let kind = ObjectKind::new("apps/v1", "Deployment");
        let error = write(&*behind, &site, kind, name, old).await.expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::StaleEpoch, "{error}");
        assert!(error.message().contains("the object is at epoch"), "{error}");
    }

    holder.go_on();
    holder.end().expect(5);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (landed, _) = operators.late();
    assert!(landed.is_empty(), "{landed:?}");
    assert_eq!(site.content().await, after);
}
