//! What a plan asks the server: of every object that it changes what would become of it, and of no other.

use std::collections::BTreeSet;

use maily_core::{
    engine::{
        Depth, Operation, Planned,
        planner::{Force, PlanOptions},
    },
    object::Object,
};
use serde_json::{Value, json};

use crate::{
    setup::succeeded,
    shop::{OF_MANIFESTS, Shop, deployment},
};

fn map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": value}})
}

/// A version with a Secret, an autoscaled workload and two settings, the second of which is given.
fn version(setting: &str) -> Vec<Value> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"t": "hidden"}});
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"},
        "spec": {"minReplicas": 2, "maxReplicas": 4, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}});
    vec![map("one", "1"), map("two", setting), secret, scaler, deployment("api", &["one"])]
}

/// A plan, and the objects that the server was asked about on the way.
async fn planned(shop: &Shop, version: &str, force: Force) -> (Planned, BTreeSet<String>) {
    let before = {
        let world = shop.setup.shared.world();
        (world.version, world.log.iter().count())
    };
    let options = PlanOptions { force, ..PlanOptions::default() };
    let planned = shop.plan_with(version, options, Depth::DryRun).await.expect("can be planned");
    let world = shop.setup.shared.world();
    assert_eq!(world.version, before.0, "nothing was written: every write was a dry run");
    let writes = world.log.iter().skip(before.1).filter(|call| call.operation == "write");
    (planned, writes.map(|call| call.resource.clone()).collect())
}

fn changed(planned: &Planned) -> BTreeSet<String> {
    let changes = planned.plan.changes().filter(|change| change.operation != Operation::Delete);
    changes.map(|change| change.key.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_changed_object_is_dry_run_and_no_other() {
    let shop = Shop::new(OF_MANIFESTS, 111);
    for (name, setting) in [("v1", "1"), ("v2", "2")] {
        shop.write(name, &version(setting));
    }
    // The key of fingerprints is made once.
    shop.plan("v1").await.expect("can be planned");
    let (first, asked) = planned(&shop, "v1", Force::Nothing).await;
    assert_eq!((changed(&first).len(), &asked), (5, &changed(&first)));
    assert!(succeeded(&shop.deploy("v1").await));
    let (same, asked) = planned(&shop, "v1", Force::Nothing).await;
    assert!(changed(&same).is_empty() && asked.is_empty(), "{asked:?}");
    let (second, asked) = planned(&shop, "v2", Force::Nothing).await;
    assert_eq!(changed(&second), BTreeSet::from(["ConfigMap shop/two".to_owned()]));
    assert_eq!(asked, changed(&second));
}

/// A person changes an object of the release, which the version leaves as it is.
fn edit(shop: &Shop, manager: &'static str, kind: (&str, &str), name: &str, fields: Value) -> Object {
    let live = shop.live(kind.0, kind.1, Some("shop"), name).expect("is there");
    shop.setup.shared.world().edit_as(manager, live.key(), fields).expect("may be changed")
}

#[tokio::test(start_paused = true)]
async fn what_has_drifted_and_will_be_written_again_is_dry_run_too() {
    let shop = Shop::new(OF_MANIFESTS, 112);
    for (name, setting) in [("v1", "1"), ("v2", "2")] {
        shop.write(name, &version(setting));
    }
    assert!(succeeded(&shop.deploy("v1").await));
    // One that a person is to lose, and one that nobody manages besides.
    edit(&shop, "kubectl-edit", ("v1", "ConfigMap"), "one", json!({"data": {"a": "mine"}}));
    edit(&shop, "maily", ("v1", "Secret"), "token", json!({"data": {"t": "b3RoZXI="}}));
    let force = || Force::Only(["ConfigMap/one".to_owned()].into_iter().collect());
    for (name, changes) in [("v1", 2), ("v2", 3)] {
        let (planned, asked) = planned(&shop, name, force()).await;
        assert_eq!((changed(&planned).len(), &asked), (changes, &changed(&planned)), "{name}");
        let one = planned.plan.changes().find(|change| change.key.name == "one").expect("is written again");
        let fields: Vec<&str> = one.fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(fields, ["data.a"]);
    }
    let options = PlanOptions { force: force(), ..PlanOptions::default() };
    let plan = shop.plan_with("v1", options, Depth::DryRun).await.expect("can be planned");
    let end = shop.setup.environment().run(plan, &shop.setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    assert_eq!(
        shop.live("v1", "ConfigMap", Some("shop"), "one").expect("is there").text("/data/a"),
        Some("1")
    );
    let (same, asked) = planned(&shop, "v1", Force::Nothing).await;
    assert!(changed(&same).is_empty() && asked.is_empty(), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_server_would_refuse_to_write_again_is_told_by_the_plan() {
    let shop = Shop::new(OF_MANIFESTS, 113);
    shop.write("v1", &version("1"));
    assert!(succeeded(&shop.deploy("v1").await));
    edit(
        &shop,
        "kubectl-edit",
        ("v1", "ConfigMap"),
        "one",
        json!({"data": {"a": "mine"}, "immutable": true}),
    );
    let options = PlanOptions { force: Force::All, ..PlanOptions::default() };
    let refused = shop.plan_with("v1", options, Depth::DryRun).await.expect_err("is refused").to_string();
    assert!(
        refused.contains("ConfigMap shop/one") && refused.contains("cannot be changed in place"),
        "{refused}"
    );
}
