//! Jobs among the manifests of a service, which run when they are made.

use std::time::Duration;

use maily_core::{
    object::{ObjectKey, ObjectKind},
    provider::Precondition,
};
use serde_json::{Value, json};

use crate::{
    setup::succeeded,
    shop::{Shop, notes},
};

const SEEDED: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  api: {manifests: '{version}.yaml'}
";

/// A shop that has released a version whose manifests have a Job with these fields, and a ConfigMap.
fn seeded(seed: u64, fields: &Value, versions: &[&str]) -> Shop {
    let shop = Shop::new(SEEDED, seed);
    for version in versions {
        let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "seed"},
            "spec": {"template": {"spec": {"restartPolicy": "Never",
                "containers": [{"name": "seed", "image": "registry.example/seed:1"}]}}}});
        job["spec"].as_object_mut().expect("a map").extend(fields.as_object().expect("a map").clone());
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"of": version}});
        shop.write(version, &[job, config]);
    }
    shop
}

#[tokio::test(start_paused = true)]
async fn a_job_that_its_manifest_suspends_is_not_waited_for() {
    let shop = seeded(308, &json!({"suspend": true}), &["v1", "v2"]);
    let planned = shop.plan("v1").await.expect("can be planned");
    assert!(notes(&planned, "suspended")[0].contains("Job shop/seed"), "{:?}", planned.plan.notes);
    let begun = shop.setup.runtime.now();
    assert!(succeeded(&shop.run(planned).await));
    assert!(shop.setup.runtime.now().since(begun) < Duration::from_secs(10));
    // Nor is it called something that does not serve, where it stays as it is.
    let planned = shop.plan("v2").await.expect("can be planned");
    let topics: Vec<&str> = planned.plan.notes.iter().map(|note| &*note.topic).collect();
    assert!(!topics.contains(&"not-serving") && !topics.contains(&"suspended"), "{topics:?}");
    assert!(succeeded(&shop.run(planned).await));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_goes_by_itself_after_a_plan_was_made_makes_it_no_older() {
    // Once it stays as it is, once it is taken away.
    for version in ["v2", "v3"] {
        let shop = seeded(309, &json!({"ttlSecondsAfterFinished": 60}), &["v1", "v2"]);
        assert!(succeeded(&shop.deploy("v1").await));
        shop.write("v3", &[json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"of": "v3"}})]);
        let planned = shop.plan(version).await.expect("can be planned");
        let seed = ObjectKey::new(ObjectKind::new("batch/v1", "Job"), Some("shop"), "seed");
        shop.setup.shared.world().delete(&seed, &Precondition::Any).expect("was there");
        let adopted = shop.setup.environment().adopt_plan(planned.plan).await.expect("fits still");
        assert!(succeeded(&shop.run(adopted).await));
        assert_eq!(
            shop.live("v1", "ConfigMap", Some("shop"), "c").expect("is there").text("/data/of"),
            Some(version)
        );
    }
}
