//! Online Boutique, an application that somebody else wrote: its official manifests, released over each other.

use std::path::PathBuf;

use maily_core::object::Object;
use maily_core::provider::{Precondition, WriteOptions};
use serde_json::{Value, json};

use crate::site::Site;

pub(crate) const VERSIONS: [&str; 3] = ["v0.9.0", "v0.10.5", "v0.10.6"];

/// Folder of the manifests: `MAILY_DATA`, or the one beside the checkout.
fn data() -> PathBuf {
    let root = std::env::var_os("MAILY_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    let folder = root.join("online-boutique");
    assert!(
        folder.is_dir(),
        "{} is missing: set MAILY_DATA to the folder that has online-boutique",
        folder.display()
    );
    folder
}

pub(crate) async fn site(purpose: &str) -> Site {
    let site = Site::new(purpose).await;
    for version in VERSIONS {
        let file = format!("{version}.yaml");
        let text = std::fs::read_to_string(data().join(&file)).expect("can be read");
        site.write(&format!("manifests/{file}"), &text);
    }
    let critical = "frontend,checkoutservice,cartservice";
    site.run(&[
        "init",
        "--from",
        "manifests/{version}.yaml",
        "--version",
        "v0.9.0",
        "--name",
        "boutique",
        "--critical",
        critical,
    ])
    .expect(0);
    site.bind();
    site
}

pub(crate) async fn fresh(version: &str) -> Vec<Value> {
    let site = site("fresh").await;
    site.run(&["deploy", "--version", version, "--yes"]).expect(0);
    site.content().await
}

/// The same manifests by somebody else's hand.
async fn by_kubectl(version: &str) -> Vec<Value> {
    let site = site("by-kubectl").await;
    site.kubectl(&["apply", "--server-side", "-f", &format!("manifests/{version}.yaml")]).expect(0);
    site.content().await
}

fn names(content: &[Value]) -> Vec<String> {
    content.iter().map(|one| format!("{} {}", one["kind"], one["metadata"]["name"])).collect()
}

pub(crate) fn assert_same(found: &[Value], wanted: &[Value], what: &str) {
    assert_eq!(names(found), names(wanted), "{what}: other objects");
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found, wanted, "{what}: {} {}", found["kind"], found["metadata"]["name"]);
    }
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn every_version_over_the_last_and_back_equals_a_fresh_deploy() {
    let site = site("boutique").await;
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign", "namespace": site.namespace, "labels": {"app": "frontend"}}, "data": {"a": "1"}});
    let foreign = Object::from_value(foreign).expect("is an object");
    let options = WriteOptions::apply("somebody", Precondition::Any);
    let foreign = site.cluster.write(&foreign, &options).await.expect("is made");

    for version in VERSIONS {
        site.run(&["deploy", "--version", version, "--yes"]).expect(0);
        let mine: Vec<Value> =
            site.content().await.into_iter().filter(|one| one["metadata"]["name"] != "foreign").collect();
        let fresh = fresh(version).await;
        assert_same(&mine, &fresh, version);
        assert_same(&fresh, &by_kubectl(version).await, &format!("{version} as kubectl applies it"));
    }
    let back = site.run(&["rollback", "--components", "all", "--to-version", "v0.9.0", "--yes"]).expect(0);
    let told = back.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        told.contains("image busybox:latest of") && told.contains("may be another one now"),
        "{}",
        back.out
    );
    let mine: Vec<Value> =
        site.content().await.into_iter().filter(|one| one["metadata"]["name"] != "foreign").collect();
    assert_same(&mine, &fresh("v0.9.0").await, "back at v0.9.0");

    let after = site.cluster.get(foreign.key()).await.expect("answers").expect("is still there");
    assert_eq!(after.resource_version(), foreign.resource_version(), "what is not ours stays untouched");
    site.run(&["deploy", "--version", "v0.9.0", "--yes"]).expect(0);
    let history = site.run(&["history", "-o", "json"]).expect(0).json();
    assert_eq!(history["runs"].as_array().map(Vec::len), Some(4), "the deploy of what is there is no run");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_saved_plan_is_applied_and_status_tells_of_it() {
    let site = site("plan").await;
    let before = site.traces().await;
    let plan = site.run(&["plan", "--version", "v0.9.0", "--out", "plan.json", "--exit-code"]).expect(8);
    let told = plan.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, moving) = told.split_once("moving-image").expect("is noted");
    let (place, image) = moving.split_once("uses `busybox:latest`").expect("the image is named");
    assert!(place.contains("manifests/v0.9.0.yaml:"), "and where it stands: {place}");
    assert!(image.starts_with(", which may be another image tomorrow"), "{image}");
    assert!(plan.out.contains("24 to create"), "{}", plan.out);
    // But for the key by which it tells values of Secrets apart without saying them.
    let mut after = site.traces().await;
    after.retain(|one| one["metadata"]["name"] != "maily-key-production");
    assert_same(&after, &before, "a plan changes nothing");
    site.run(&["apply", "plan.json"]).expect(7);
    site.run(&["apply", "plan.json", "--yes"]).expect(0);
    site.run(&["plan", "--version", "v0.9.0", "--exit-code"]).expect(0);
    let status = site.run(&["status", "--env", "production", "--output", "json"]).expect(0).json();
    let services = status["services"].as_array().expect("is a list");
    assert_eq!(services.len(), 12);
    for service in services {
        assert_eq!(service["state"], "serving", "{service}");
        assert_eq!(service["version"], "v0.9.0");
        assert_eq!(service["drift"], json!([]));
    }
    let logs = site.run(&["logs", "adservice"]).expect(0);
    assert!(logs.out.contains("adservice-"), "{}", logs.out);
    // A service of its own, newer than the others: a release of mixed versions.
    site.run(&["deploy", "--version", "v0.10.5", "--components", "adservice", "--yes"]).expect(0);
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    let version = |name: &str| {
        let services = status["services"].as_array().expect("is a list");
        services.iter().find(|service| service["name"] == name).expect("is there")["version"].clone()
    };
    assert_eq!((version("adservice"), version("frontend")), (json!("v0.10.5"), json!("v0.9.0")));
    site.run(&["rollback", "--last-good", "--yes"]).expect(0);
    assert!(site.image("adservice").await.ends_with(":v0.9.0"));
}
