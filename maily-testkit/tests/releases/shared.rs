//! Objects of a source that several services share, or nobody.

use maily_core::engine::Work;
use serde_json::{Value, json};

use crate::{
    setup::succeeded,
    shop::{Shop, deployment},
};

const PROJECT: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
sources:
  all: {manifests: '{version}.yaml'}
services:
  api: {from: all}
  web: {from: all}
";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

#[tokio::test(start_paused = true)]
async fn what_two_services_claim_or_nobody_is_listed_and_applied_before_them() {
    let shop = Shop::new(PROJECT, 121);
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "9"}}});
    let objects = [
        deployment("api", &["both", "own"]),
        deployment("web", &["both"]),
        map("both"),
        map("own"),
        map("lonely"),
        quota,
    ];
    shop.write("v1", &objects);
    let planned = shop.plan("v1").await.expect("can be planned");
    let plan = &planned.plan;
    let step = |id: &str| plan.steps.iter().find(|step| step.id.as_str() == id).expect(id);
    let objects = |id: &str| -> Vec<String> {
        step(id).work.changes().iter().map(|change| change.key.short()).collect()
    };
    assert_eq!(
        objects("production/shared/apply"),
        ["ResourceQuota/few", "ConfigMap/both", "ConfigMap/lonely"]
    );
    assert_eq!(objects("production/api/rollout"), ["ConfigMap/own", "Deployment/api"]);
    assert_eq!(objects("production/web/rollout"), ["Deployment/web"]);
    let place = |id: &str| plan.steps.iter().position(|step| step.id.as_str() == id).expect(id);
    for service in ["production/api/rollout", "production/web/rollout"] {
        assert!(place("production/shared/apply") < place(service));
        let needs: Vec<&str> = step(service).needs.iter().map(|need| need.as_str()).collect();
        assert_eq!(needs, ["production/shared/apply"]);
    }
    assert!(matches!(step("production/shared/apply").work, Work::Rollout { .. }));
    let mut told: Vec<&str> =
        plan.notes.iter().filter(|note| note.topic == "shared").map(|note| note.text.as_str()).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "ConfigMap/both is used by api, web: applied before the services",
            "ConfigMap/lonely belongs to no service: applied before the services",
            "ResourceQuota/few belongs to no service: applied before the services",
        ]
    );
    let end = shop.setup.environment().run(planned, &shop.setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    for (kind, name) in [("ConfigMap", "both"), ("ConfigMap", "lonely"), ("ResourceQuota", "few")] {
        let live = shop.live("v1", kind, Some("shop"), name).expect("is there");
        assert_eq!(live.label("maily.dev/project"), Some("shop"), "{name}");
        assert_eq!(live.label("maily.dev/service"), None, "{name}");
    }
    // They were written before any pod of the services was.
    let world = shop.setup.shared.world();
    let writes: Vec<&str> = world
        .log
        .iter()
        .filter(|call| call.operation == "write" && !call.resource.starts_with("Secret"))
        .map(|call| call.resource.as_str())
        .collect();
    let last = |name: &str| writes.iter().rposition(|resource| *resource == name).expect(name);
    for shared in ["ConfigMap shop/both", "ConfigMap shop/lonely", "ResourceQuota shop/few"] {
        for deployment in ["Deployment shop/api", "Deployment shop/web"] {
            assert!(last(shared) < last(deployment), "{shared} before {deployment}: {writes:?}");
        }
    }
}
