//! Objects that others had made, taken over and given back.

use maily_core::{
    engine::{Outcome, RunEnd},
    object::{Object, ObjectKey, ObjectKind},
    provider::{Precondition, WriteOptions},
};
use serde_json::json;

use crate::setup::{Setup, fault};

const SHOP: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
";

fn service() -> ObjectKey {
    ObjectKey::new(ObjectKind::new("v1", "Service"), Some("shop"), "api")
}

/// An object without what the server keeps on it.
fn content(setup: &Setup) -> Object {
    let world = setup.shared.world();
    let mut object = world.get(&service()).expect("is there").clone().without_server_fields();
    object.edit(|body| {
        if let Some(spec) = body.get_mut("spec").and_then(|spec| spec.as_object_mut()) {
            spec.remove("clusterIP");
        }
    });
    object
}

#[tokio::test(start_paused = true)]
async fn what_was_adopted_is_given_back_without_our_marks() {
    let setup = Setup::of(SHOP, 61);
    let theirs = Object::from_value(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "api", "namespace": "shop", "labels": {"team": "shop"}, "annotations": {"note": "by hand"}},
        "spec": {"selector": {"app": "old"}, "ports": [{"port": 7000}]}}))
    .expect("an object");
    let options = WriteOptions::apply("kubectl", Precondition::Absent);
    setup.shared.world().write(&theirs, &options).expect("can be made");
    let before = content(&setup);
    setup.shared.world().faults.push(fault("crash web"));
    let end = setup.deploy("v1").await;
    assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!(content(&setup), before);
}
