//! What the server fills in goes with what it followed from: it is nobody's, and no apply would take it away.

use serde_json::{Map, Value, json};

use crate::{
    boutique::assert_same,
    site::{Site, behaves, documents},
};

/// A workload with more in its specification, and in that of its pods.
fn workload(kind: &str, name: &str, spec: Value, pods: Value, annotations: &Value) -> Value {
    let image = format!("registry.example/shop/{name}:1");
    let mut all = json!({"selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}, "annotations": annotations},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": image}]}}});
    if kind == "StatefulSet" {
        all["serviceName"] = name.into();
    }
    let more = |all: &mut Value, more: Value| {
        let more: Map<String, Value> = serde_json::from_value(more).expect("is a map");
        all.as_object_mut().expect("is a map").extend(more);
    };
    more(&mut all["template"]["spec"], pods);
    more(&mut all, spec);
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": all})
}

/// One version has much of what the server fills in, the other the opposite: what is in force is what nobody wrote.
fn version(other: bool, annotations: &Value) -> String {
    let one_of = |plain: Value, set: Value, turned: bool| if other == turned { plain } else { set };
    let mut all = vec![json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}})];
    for turned in [false, true] {
        let name = |what: &str| format!("{what}-{}", if turned { "b" } else { "a" });
        let strategy = one_of(json!({}), json!({"strategy": {"type": "Recreate"}}), turned);
        all.push(workload("Deployment", &name("step"), strategy, json!({}), annotations));
        let account = one_of(json!({}), json!({"serviceAccountName": "reader"}), turned);
        all.push(workload("Deployment", &name("account"), json!({}), account, annotations));
        let settings = json!([{"name": "v", "configMap": {"name": "settings"}}]);
        let volumes = json!({"volumes": one_of(json!([{"name": "v"}]), settings, turned)});
        all.push(workload("Deployment", &name("volume"), json!({}), volumes, annotations));
        for kind in ["StatefulSet", "DaemonSet"] {
            let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
            let update = one_of(json!({}), on_delete, turned);
            // Its pods stay the same: nobody deletes them here.
            all.push(workload(kind, &name(&kind.to_lowercase()), update, json!({}), &json!({})));
        }
        let egress = one_of(json!([]), json!([{"ports": [{"port": 53}]}]), turned);
        all.push(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name("policy")},
            "spec": {"podSelector": {}, "egress": egress}}));
        let secret = one_of(json!({"a": "1"}), json!({"b": "2"}), turned);
        all.push(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name("secret")}, "stringData": secret}));
    }
    all.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}));
    documents(&all)
}

async fn by_kubectl(manifests: &str) -> Vec<Value> {
    let site = Site::new("fresh").await;
    site.write("all.yaml", manifests);
    site.kubectl(&["apply", "--server-side", "-f", "all.yaml"]).expect(0);
    site.content().await
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_the_server_fills_in_goes_with_what_it_followed_from() {
    let (none, crash) = (json!({}), behaves("crash-loop"));
    let (one, two) = (version(false, &none), version(true, &none));
    let manifests = [
        ("v1", one.clone()),
        ("v2", two.clone()),
        ("v3", version(true, &crash)),
        ("v4", version(false, &crash)),
    ];
    let site = Site::bound("defaults", &manifests).await;
    let (one, two) = (by_kubectl(&one).await, by_kubectl(&two).await);
    let deploy = |version: &str, code: i32| site.run(&["deploy", "--version", version, "--yes"]).expect(code);
    deploy("v1", 0);
    assert_same(&site.content().await, &one, "v1");
    deploy("v3", 3);
    assert_same(&site.content().await, &one, "v1 after v3 was taken back");
    deploy("v2", 0);
    assert_same(&site.content().await, &two, "v2");
    deploy("v4", 3);
    assert_same(&site.content().await, &two, "v2 after v4 was taken back");
    site.run(&["rollback", "--components", "all", "--to-version", "v1", "--yes"]).expect(0);
    assert_same(&site.content().await, &one, "back at v1");
}
