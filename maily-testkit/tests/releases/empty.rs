//! What is empty in one version and filled in another; lists of custom resources that are called as those of Kubernetes;
//! what the API keeps although nothing asks for it any more.

use std::time::Duration;

use maily_core::{
    engine::{
        Depth, Outcome, ReleaseId, RunEnd,
        planner::{Force, PlanOptions},
    },
    object::{ObjectKey, ObjectKind},
    release::RollbackTo,
};
use serde_json::{Value, json};

use crate::{
    setup::{fault, succeeded},
    shop::{Shop, components, goes_with_its_version},
};

const FILLED: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  web: {manifests: '{version}.yaml'}
";

fn definition(group: &str, kind: &str, plural: &str) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
}

fn deployment(name: &str, container: Value, volume: Value) -> Value {
    let meta = json!({"name": name, "labels": {"app": name}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "volumes": [volume]}}}})
}

fn objects(filled: bool) -> Vec<Value> {
    let either = |empty: Value, full: Value| if filled { full } else { empty };
    let meta = |name: &str| json!({"name": name, "labels": {"app": "web"}});
    let container = json!({"name": "web", "image": "registry.example/web:1",
        "resources": either(json!({}), json!({"limits": {"cpu": "1"}})),
        "securityContext": either(json!({}), json!({"runAsNonRoot": true})),
        "env": either(json!([]), json!([{"name": "A", "value": "b"}]))});
    let volume = json!({"name": "tmp", "emptyDir": either(json!({}), json!({"sizeLimit": "1Gi"}))});
    let port = either(json!({"name": "http"}), json!({"name": "http", "timeout": 5}));
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("c"),
            "data": either(json!({}), json!({"a": "1"}))}),
        definition("mesh.example", "Mesh", "meshes"),
        json!({"apiVersion": "mesh.example/v1", "kind": "Mesh", "metadata": meta("web"),
            "spec": {"ports": [port], "settings": either(json!({}), json!({"on": true}))}}),
        deployment("web", container, volume),
    ]
}

/// The parts of the world that the versions differ in.
fn there(shop: &Shop) -> Vec<Value> {
    let world = shop.setup.shared.world();
    let at = |kind: &str, name: &str, pointer: &str| {
        let found = world.of_kind(kind).into_iter().find(|object| object.name() == name).expect("is there");
        found.at(pointer).cloned().unwrap_or_default()
    };
    let container = "/spec/template/spec/containers/0";
    vec![
        at("ConfigMap", "c", "/data/a"),
        at("Mesh", "web", "/spec/ports/0/timeout"),
        at("Mesh", "web", "/spec/settings/on"),
        at("Deployment", "web", &format!("{container}/resources/limits")),
        at("Deployment", "web", &format!("{container}/securityContext/runAsNonRoot")),
        at("Deployment", "web", &format!("{container}/env/0")),
        at("Deployment", "web", "/spec/template/spec/volumes/0/emptyDir/sizeLimit"),
    ]
}

async fn released(seed: u64) -> Shop {
    let shop = Shop::new(FILLED, seed);
    for (version, filled) in [("v1", false), ("v2", true)] {
        shop.write(version, &objects(filled));
        assert!(succeeded(&shop.deploy(version).await));
    }
    assert!(there(&shop).iter().all(|value| !value.is_null()), "{:?}", there(&shop));
    shop
}

#[tokio::test(start_paused = true)]
async fn what_was_empty_is_empty_again() {
    goes_with_its_version(released, there, 3, [151, 152]).await;
}

#[tokio::test(start_paused = true)]
async fn what_others_put_into_an_empty_map_stays() {
    let shop = Shop::new(FILLED, 153);
    shop.write("v1", &objects(false));
    assert!(succeeded(&shop.deploy("v1").await));
    let map = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), "c");
    let theirs = json!({"data": {"ca.crt": "theirs"}});
    shop.setup.shared.world().edit_as("injector", &map, theirs).expect("may patch");
    for depth in [Depth::Read, Depth::DryRun] {
        let again = shop.plan_with("v1", PlanOptions::default(), depth).await.expect("can be planned");
        assert!(again.plan.is_empty(), "{depth:?}: {:?}", again.plan.steps);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_headless_no_more_has_to_be_made_anew() {
    let shop = Shop::new(FILLED, 154);
    let service = |headless: bool| {
        let mut spec = json!({"ports": [{"port": 80}], "selector": {"app": "web"}});
        if headless {
            spec["clusterIP"] = json!("None");
        }
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    };
    shop.write("v1", &[service(true)]);
    shop.write("v2", &[service(false)]);
    assert!(succeeded(&shop.deploy("v1").await));
    for depth in [Depth::Read, Depth::DryRun] {
        let refused =
            shop.plan_with("v2", PlanOptions::default(), depth).await.expect_err("cannot be").to_string();
        assert!(
            refused.contains("spec.clusterIP") && refused.contains("--allow-replace Service/web"),
            "{refused}"
        );
    }
    let options = PlanOptions { replace: ["Service/web".to_owned()].into(), ..PlanOptions::default() };
    let planned = shop.plan_with("v2", options, Depth::Read).await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
    let key = ObjectKey::new(ObjectKind::new("v1", "Service"), Some("shop"), "web");
    let address =
        shop.setup.shared.world().get(&key).and_then(|live| live.text("/spec/clusterIP").map(str::to_owned));
    assert!(address.as_deref().is_some_and(|address| address != "None"), "{address:?}");
}

#[tokio::test(start_paused = true)]
async fn two_kinds_of_one_name_are_two_objects() {
    let shop = Shop::new(FILLED, 155);
    let walls = |api_version: &str, port: u16| {
        json!({"apiVersion": api_version, "kind": "NetworkPolicy", "metadata": {"name": "web"},
            "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]}})
    };
    for (version, port) in [("v1", 80), ("v2", 81)] {
        let both = [walls("networking.k8s.io/v1", port), walls("mesh.example/v1", port)];
        let definition = definition("mesh.example", "NetworkPolicy", "networkpolicies");
        shop.write(version, &[&[definition], &both[..]].concat());
        let end = shop.deploy(version).await;
        assert!(succeeded(&end), "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_with_the_same_objects_is_a_release() {
    let shop = Shop::new(FILLED, 156);
    for version in ["v1", "v2"] {
        shop.write(version, &objects(false));
    }
    assert!(succeeded(&shop.deploy("v1").await));
    let before = shop.setup.content();
    let planned = shop.plan("v2").await.expect("can be planned");
    assert!(planned.plan.steps.is_empty() && !planned.plan.is_empty());
    assert!(
        planned.plan.notes.iter().any(|note| note.text.contains("web is v2")),
        "{:?}",
        planned.plan.notes
    );
    let end = shop.run(planned).await;
    let made = ReleaseId(2);
    assert!(
        matches!(&end, RunEnd::Over { outcome: Outcome::Succeeded { release, .. }, .. } if *release == made),
        "{end:?}"
    );
    assert_eq!(shop.setup.content(), before);
    let head = shop.setup.environment().head().await.expect("can be read");
    assert_eq!(head.release.expect("is in force").1.versions["web"], "v2");
    assert!(shop.plan("v2").await.expect("can be planned").plan.is_empty());
    // It would be no success where something does not serve.
    shop.write("v3", &objects(false));
    shop.setup.shared.world().faults.push(fault("crash web@1"));
    shop.setup.runtime.sleep(Duration::from_secs(20)).await;
    let end = shop.deploy("v3").await;
    let RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving } } = &end else {
        panic!("{end:?}")
    };
    assert!(!not_serving.is_empty(), "{end:?}");
    let head = shop.setup.environment().head().await.expect("can be read");
    assert_eq!(head.release.expect("is in force").1.id, made);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_release_is_otherwise_than_what_is_there() {
    let shop = Shop::new(FILLED, 163);
    for (version, filled) in [("v1", false), ("v2", true), ("v3", true)] {
        shop.write(version, &objects(filled));
    }
    assert!(succeeded(&shop.deploy("v1").await));
    assert!(succeeded(&shop.deploy("v2").await));
    let web = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "web");
    let fewer = json!({"spec": {"replicas": 1}});
    shop.setup.shared.world().edit_as("kubectl-edit", &web, fewer).expect("may scale");
    // What was changed by hand is brought back, and a name is new: neither is another state.
    let options = PlanOptions { force: Force::All, ..PlanOptions::default() };
    let settled = shop.plan_with("v2", options, Depth::DryRun).await.expect("can be planned");
    assert!(succeeded(&shop.run(settled).await));
    assert!(succeeded(&shop.deploy("v3").await));
    let back = shop.back(RollbackTo::LastGood, None, PlanOptions::default()).await.expect("can be planned");
    assert_eq!(back.plan.versions["web"], "v1");
    assert!(succeeded(&shop.run(back).await));
    assert_eq!(there(&shop), vec![Value::Null; 7]);
}

const SCALED: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  web: {manifests: '{version}.yaml'}
  other: {from: common}
sources:
  common: {manifests: common.yaml}
";

#[tokio::test(start_paused = true)]
async fn a_part_leaves_the_replicas_to_an_autoscaler_that_is_of_no_service() {
    let shop = Shop::new(SCALED, 157);
    let container =
        |name: &str, image: &str| json!({"name": name, "image": format!("registry.example/{image}")});
    let volume = json!({"name": "tmp", "emptyDir": {}});
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"}, "spec": {"minReplicas": 2, "maxReplicas": 9,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    shop.write("common", &[deployment("other", container("other", "other:1"), volume.clone()), autoscaler]);
    for version in ["v1", "v2"] {
        let image = format!("web:{version}");
        shop.write(version, &[deployment("web", container("web", &image), volume.clone())]);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    let web = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "web");
    let more = json!({"spec": {"replicas": 6}});
    shop.setup.shared.world().edit_as("kube-controller-manager", &web, more).expect("may scale");
    let part = shop.part("v2", components(&["web"])).await.expect("can be planned");
    assert!(succeeded(&shop.run(part).await));
    let live = shop.setup.shared.world().get(&web).cloned().expect("is there");
    assert_eq!(live.int("/spec/replicas"), Some(6));
    assert_eq!(live.text("/spec/template/spec/containers/0/image"), Some("registry.example/web:v2"));
}

#[tokio::test(start_paused = true)]
async fn manifests_without_an_object_take_nothing_away() {
    let shop = Shop::new(FILLED, 158);
    shop.write("v1", &objects(false));
    shop.write("v2", &[]);
    assert!(succeeded(&shop.deploy("v1").await));
    let refused = shop.plan("v2").await.expect_err("is refused").to_string();
    assert!(refused.contains("service `web`: its manifests hold no object"), "{refused}");
    assert!(refused.contains("mailyctl remove --components"), "{refused}");
    let shop = Shop::new(SCALED, 160);
    shop.write("v1", &objects(false));
    shop.write("common", &[]);
    let refused = shop.plan("v1").await.expect_err("is refused").to_string();
    assert!(refused.contains("source `common`: its manifests hold no object"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_lose_a_key_is_made_anew_for_who_says_so_also_without_a_dry_run() {
    let shop = Shop::new(FILLED, 159);
    let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "immutable": true, "data": data});
    shop.write("v1", &[map(json!({"a": "1", "b": "2"}))]);
    shop.write("v2", &[map(json!({"a": "1"}))]);
    assert!(succeeded(&shop.deploy("v1").await));
    let refused = shop.plan_with("v2", PlanOptions::default(), Depth::Read).await.expect_err("cannot be");
    assert!(refused.to_string().contains("--allow-replace ConfigMap/c"), "{refused}");
    let options = PlanOptions { replace: ["ConfigMap/c".to_owned()].into(), ..PlanOptions::default() };
    let planned = shop.plan_with("v2", options, Depth::Read).await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
    let live = shop.live("v1", "ConfigMap", Some("shop"), "c").expect("is there");
    assert_eq!(live.at("/data"), Some(&json!({"a": "1"})));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_enlarged_stays_so_on_the_way_back() {
    let shop = Shop::new(FILLED, 162);
    let claim = |size: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
    };
    for (version, size) in [("v1", "512Mi"), ("v2", "6Gi")] {
        shop.write(version, &[&objects(version == "v2")[..], &[claim(size)]].concat());
        assert!(succeeded(&shop.deploy(version).await));
    }
    let back = shop.back(RollbackTo::LastGood, None, PlanOptions::default()).await.expect("can be planned");
    let told = |note: &maily_core::engine::Note| note.text.contains("has 6Gi and keeps it");
    assert!(back.plan.notes.iter().any(told), "{:?}", back.plan.notes);
    assert!(succeeded(&shop.run(back).await));
    let live = shop.live("v1", "PersistentVolumeClaim", Some("shop"), "data").expect("is there");
    assert_eq!(live.text("/spec/resources/requests/storage"), Some("6Gi"));
    assert_eq!(there(&shop), vec![Value::Null; 7]);
}
