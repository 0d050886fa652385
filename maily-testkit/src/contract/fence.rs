//! What a fence does in a [`Cluster`](maily_core::provider::Cluster): sentences 15 to 19 of its contract.
//!
//! Each function works in a namespace of its own; the policy itself is shared by all of them.

use std::sync::Arc;

use maily_core::{
    engine::{
        ENVIRONMENT, EPOCH, Epoch, Fence, FenceError, FenceState, MANAGER, NAMESPACE, RECORDS_MANAGER,
        SCALE_MANAGER,
    },
    object::{Object, ObjectKey, ObjectKind},
    provider::{Deleted, Dependents, ErrorKind, Precondition, ProviderError, WriteOptions, patch_of},
};
use serde_json::json;

use super::cluster::Place;

/// The place with a fence at epoch 5.
async fn fenced(place: &Place) -> Fence {
    let fence =
        Fence::new(Arc::clone(&place.cluster), Arc::clone(&place.runtime), "production", &place.namespace);
    assert_eq!(fence.install(Epoch(5)).await.expect("is installed and refuses"), Epoch(5));
    fence
}

fn parameter(place: &Place) -> ObjectKey {
    ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some(&place.namespace), "maily-fence-production")
}

fn object(place: &Place, name: &str, epoch: &str) -> Object {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": name, "namespace": place.namespace, "annotations": {EPOCH: epoch},
        "labels": {ENVIRONMENT: "production", NAMESPACE: place.namespace},
    }, "data": {"written-at": epoch}});
    Object::from_value(body).expect("is an object")
}

async fn write(place: &Place, name: &str, epoch: &str) -> Result<Object, ProviderError> {
    let options = WriteOptions::apply(MANAGER, Precondition::Any);
    place.cluster.write(&object(place, name, epoch), &options).await
}

fn is_stale(place: &Place, result: Result<Object, ProviderError>) {
    let error = result.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::StaleEpoch, "{error}");
    assert!(error.message().contains(&format!("maily-fence.{}.production", place.namespace)), "{error}");
}

/// Sentence 15: an older epoch is refused, on what is there, what is not, in a dry run, and by either manager.
pub async fn older_writes_are_refused(place: &Place) {
    let fence = fenced(place).await;
    is_stale(place, write(place, "one", "4").await);
    write(place, "one", "5").await.expect("is of the epoch");
    fence.raise(Epoch(6)).await.expect("is raised");
    fence.prove(Epoch(6)).await.expect("refuses 5");
    is_stale(place, write(place, "one", "5").await);
    is_stale(place, write(place, "two", "5").await);
    for options in [
        WriteOptions::apply(MANAGER, Precondition::Any).dry_run(),
        WriteOptions::apply(SCALE_MANAGER, Precondition::Any),
    ] {
        is_stale(place, place.cluster.write(&object(place, "one", "5"), &options).await);
    }
    // A patch that takes the labels away, and one that brings them.
    let key = object(place, "one", "5").key().clone();
    let bare = json!({"metadata": {"labels": {ENVIRONMENT: null}, "annotations": {EPOCH: "5"}}});
    let patch = patch_of(&key, bare).expect("is a patch");
    let merge = WriteOptions::merge(MANAGER, Precondition::Any);
    is_stale(place, place.cluster.write(&patch, &merge).await);
    let mut plain = object(place, "plain", "0");
    plain.set_label(ENVIRONMENT, None);
    let theirs = WriteOptions::apply("kubectl", Precondition::Any);
    place.cluster.write(&plain, &theirs).await.expect("is a stranger's");
    is_stale(place, write(place, "plain", "5").await);
    write(place, "one", "6").await.expect("is of the epoch");
    let now = place.cluster.get(&key).await.expect("answers").expect("is there");
    assert_eq!(now.text("/data/written-at"), Some("6"));
}

/// Sentence 16: an object's epoch never goes down by our hand, and what is no number locks nothing.
pub async fn an_object_keeps_the_highest_epoch(place: &Place) {
    fenced(place).await;
    write(place, "one", "9").await.expect("is newer than the fence");
    is_stale(place, write(place, "one", "8").await);
    write(place, "one", "9").await.expect("is the same");
    for damaged in ["", "x", "-7", "9999999999999999"] {
        is_stale(place, write(place, "two", damaged).await);
        let options = WriteOptions::apply("kubectl", Precondition::Any);
        place.cluster.write(&object(place, "two", damaged), &options).await.expect("is a stranger's");
        write(place, "two", "5").await.expect("nothing is locked");
    }
}

/// Sentence 17: nobody else is judged.
pub async fn nobody_else_is_judged(place: &Place) {
    fenced(place).await;
    write(place, "one", "5").await.expect("is of the epoch");
    for manager in ["kubectl-edit", RECORDS_MANAGER] {
        let options = WriteOptions::apply(manager, Precondition::Any);
        place.cluster.write(&object(place, "one", "1"), &options).await.expect("is not judged");
    }
    // Another environment of the same name, seen by its objects that stand in no namespace.
    let body = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {
        "name": format!("fence-contract-{}", place.namespace), "annotations": {EPOCH: "1"},
        "labels": {ENVIRONMENT: "production", NAMESPACE: format!("{}-other", place.namespace)},
    }, "rules": []});
    let role = Object::from_value(body).expect("is an object");
    let options = WriteOptions::apply(MANAGER, Precondition::Any);
    let written = place.cluster.write(&role, &options).await;
    place.cluster.delete(role.key(), &Precondition::Any, Dependents::Follow).await.expect("is deleted");
    written.expect("is of another environment");
    let key = object(place, "one", "5").key().clone();
    let deleted =
        place.cluster.delete(&key, &Precondition::Any, Dependents::Follow).await.expect("is not judged");
    assert_eq!(deleted, Deleted::Gone);
}

/// Sentence 18: without its parameter a fence is open, which a look at it tells.
pub async fn without_its_parameter_a_fence_is_open(place: &Place) {
    let fence = fenced(place).await;
    let sight = fence.sight(true).await.expect("is seen");
    assert_eq!((sight.state, sight.epoch), (FenceState::Installed, Some(Epoch(5))));
    assert_eq!(fence.sight(false).await.expect("is seen").state, FenceState::Unrecorded);
    place
        .cluster
        .delete(&parameter(place), &Precondition::Any, Dependents::Follow)
        .await
        .expect("is deleted");
    let until = place.runtime.now() + std::time::Duration::from_secs(30);
    // The server hears of it a moment later.
    while let Err(error) = write(place, "one", "1").await {
        assert_eq!(error.kind(), ErrorKind::StaleEpoch, "{error}");
        assert!(place.runtime.now() < until, "{error}");
        place.runtime.sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(fence.sight(true).await.expect("is seen").state, FenceState::Open);
    let error = fence.raise(Epoch(6)).await.expect_err("is open");
    assert!(matches!(error, FenceError::Open { .. }), "{error}");
    let error = fence.prove(Epoch(6)).await.expect_err("is open");
    assert!(matches!(error, FenceError::Open { .. }), "{error}");
    assert_eq!(fence.install(Epoch(7)).await.expect("is repaired"), Epoch(7));
    is_stale(place, write(place, "one", "6").await);
    // And without its binding.
    assert!(fence.remove().await.expect("is removed").is_empty());
    assert_eq!(fence.sight(false).await.expect("is seen").state, FenceState::NotInstalled);
}

/// Sentence 19: a fence is raised only upwards.
pub async fn a_fence_is_raised_only_upwards(place: &Place) {
    let fence = fenced(place).await;
    fence.raise(Epoch(8)).await.expect("is raised");
    fence.raise(Epoch(8)).await.expect("is as high already");
    let error = fence.raise(Epoch(7)).await.expect_err("is lower");
    assert!(matches!(error, FenceError::Raised { found: Epoch(8), .. }), "{error}");
    assert_eq!(fence.install(Epoch(2)).await.expect("stays"), Epoch(8));
    assert_eq!(fence.epoch().await.expect("is read"), Some(Epoch(8)));
    let key = parameter(place);
    let damage = patch_of(&key, json!({"data": {"epoch": "high"}})).expect("is a patch");
    let options = WriteOptions::merge("kubectl-edit", Precondition::Any);
    place.cluster.write(&damage, &options).await.expect("is written");
    let error = fence.raise(Epoch(9)).await.expect_err("is damaged");
    assert!(matches!(error, FenceError::Damaged { .. }), "{error}");
    assert_eq!(fence.install(Epoch(9)).await.expect("is repaired"), Epoch(9));
}
