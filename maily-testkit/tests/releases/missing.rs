//! Secrets that pods read and that nobody brings.

use maily_core::{
    engine::Depth,
    object::Object,
    provider::{Cluster as _, Precondition, WriteOptions},
};
use maily_testkit::sim::SimCluster;
use serde_json::json;

use crate::setup::Setup;

const PROJECT: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1, secrets: {TOKEN: 'secret:tokens#api', KEY: 'secret:tokens#key'}}}
  web: {workload: {port: 8080, scale: 1, secrets: {TOKEN: 'secret:tokens#web'}}}
";

async fn told(setup: &Setup, depth: Depth) -> Vec<String> {
    let planned = setup.plan("v1", depth).await.expect("can be planned");
    let notes = planned.plan.notes.into_iter().filter(|note| note.topic == "missing");
    notes.map(|note| note.text).collect()
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_not_there_is_told_before() {
    let setup = Setup::of(PROJECT, 91);
    for depth in [Depth::DryRun, Depth::Read] {
        let told = told(&setup, depth).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("Deployment/api and 1 more read Secret `tokens` (containers[api].env["));
    }
    let body =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tokens", "namespace": "shop"}});
    let secret = Object::from_value(body).expect("is an object");
    let cluster = SimCluster::new(setup.shared.clone());
    cluster.write(&secret, &WriteOptions::apply("kubectl", Precondition::Absent)).await.expect("is made");
    assert_eq!(told(&setup, Depth::DryRun).await, [""; 0]);
}
