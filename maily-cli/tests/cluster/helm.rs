//! Taking over what Helm has installed: its labels, annotations and managers on the objects, and its own record of the
//! release, which stays as it is.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::site::{Site, app, documents};

/// The objects of a chart as `helm install` writes them.
fn installed(version: &str, namespace: &str) -> Vec<Value> {
    rendered(version)
        .into_iter()
        .map(|mut object| {
            object["metadata"]["annotations"] = json!({
                "meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": namespace});
            object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
            object
        })
        .collect()
}

/// The same as the chart renders them.
fn rendered(version: &str) -> Vec<Value> {
    let text = app("alpha", version, json!({}));
    text.lines()
        .filter(|line| *line != "---")
        .map(|line| {
            let mut object: Value = serde_json::from_str(line).expect("is JSON");
            object["metadata"]["labels"] =
                json!({"helm.sh/chart": "shop-1.0.0", "app.kubernetes.io/instance": "shop"});
            object
        })
        .collect()
}

/// The Secret in which Helm keeps a release: JSON, compressed, in base64 twice.
fn record(namespace: &str, manifest: &str) -> Value {
    let release = json!({"name": "shop", "namespace": namespace, "version": 1, "manifest": manifest,
        "info": {"first_deployed": "2026-01-01T00:00:00Z", "last_deployed": "2026-01-01T00:00:00Z",
            "description": "Install complete", "status": "deployed"},
        "chart": {"metadata": {"name": "shop", "version": "1.0.0", "apiVersion": "v2"}, "templates": []},
        "config": {}});
    let content = STANDARD.encode(STANDARD.encode(compressed(release.to_string().as_bytes())));
    json!({"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {"name": "sh.helm.release.v1.shop.v1", "labels": {"name": "shop", "owner": "helm",
            "status": "deployed", "version": "1", "modifiedAt": "1767225600"}},
        "data": {"release": content}})
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("gzip starts");
    child.stdin.take().expect("is piped").write_all(bytes).expect("is read");
    child.wait_with_output().expect("ends").stdout
}

/// Content without what Helm and kubectl put on objects.
fn plain(mut content: Vec<Value>) -> Vec<Value> {
    content.retain(|object| object["type"] != "helm.sh/release.v1");
    for object in &mut content {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("annotations");
        }
    }
    content
}

async fn is_taken_over(purpose: &str, install: &[&str]) {
    let site = Site::new(purpose).await;
    for version in ["v1", "v2"] {
        // A chart labels its objects as Helm does.
        let mut objects = rendered(version);
        for object in &mut objects {
            object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
        }
        site.write(&format!("manifests/{version}.yaml"), &documents(&objects));
    }
    let mut before = installed("v0", &site.namespace);
    before[0]["data"]["OLD"] = "x".into();
    site.write("before.yaml", &documents(&before));
    site.kubectl(install).expect(0);
    site.write("record.json", &record(&site.namespace, &documents(&before)).to_string());
    site.kubectl(&["create", "--field-manager=Helm", "-f", "record.json"]).expect(0);
    site.kubectl(&["rollout", "status", "deployment/alpha", "--timeout=60s"]).expect(0);
    let found = plain(site.content().await);
    let kept = site.get("v1", "Secret", "sh.helm.release.v1.shop.v1").await.expect("is there");

    site.run(&["init", "--from", "manifests/{version}.yaml", "--version", "v1", "--name", "shop"]).expect(0);
    site.bind();
    let plan = site.run(&["plan", "--version", "v1"]).expect(0).out;
    for object in ["Deployment alpha (adopted)", "ConfigMap alpha (adopted)", "Service alpha (adopted)"] {
        assert!(plan.contains(object), "{object} in {plan}");
    }
    assert!(!plan.contains("sh.helm.release"), "Helm's record is none of ours: {plan}");
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let map = site.get("v1", "ConfigMap", "alpha").await.expect("is there");
    assert_eq!(map.at("/data"), Some(&json!({"VERSION": "v1"})), "OLD was Helm's, and we leave it out");
    assert_eq!(map.label("app.kubernetes.io/managed-by"), Some("Helm"), "what the chart says stays");
    site.run(&["plan", "--version", "v1", "--exit-code"]).expect(0);
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    site.run(&["rollback", "--release", "0", "--yes"]).expect(0);
    assert_eq!(plain(site.content().await), found, "release 0 is what was found");
    let record = site.get("v1", "Secret", "sh.helm.release.v1.shop.v1").await.expect("is there");
    assert_eq!(record.resource_version(), kept.resource_version(), "Helm's record was never touched");
    // Nor does a removal take what nobody gave us.
    site.run(&["remove", "--components", "all", "--env", "production", "--yes"]).expect(0);
    assert!(site.get("v1", "Secret", "sh.helm.release.v1.shop.v1").await.is_some());
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn t17_a_release_of_helm_3_is_taken_over_and_its_record_left_alone() {
    is_taken_over("helm-3", &["create", "--field-manager=helm", "-f", "before.yaml"]).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn t17_a_release_of_helm_4_is_taken_over_and_its_record_left_alone() {
    is_taken_over("helm-4", &["apply", "--server-side", "--field-manager=helm", "-f", "before.yaml"]).await;
}
