//! Fields that other clients manage: named, taken only when told, and moved to us on adoption.

use serde_json::{Value, json};

use crate::{
    boutique::assert_same,
    site::{Site, app},
};

fn versions() -> Vec<(&'static str, String)> {
    ["v1", "v2"].map(|version| (version, app("alpha", version, json!({})))).to_vec()
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn fields_of_another_manager_are_named_and_taken_only_when_told() {
    let site = Site::bound("conflict", &versions()).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "alpha"}, "data": {"VERSION": "theirs"}});
    site.write("theirs.yaml", &theirs.to_string());
    let by =
        ["apply", "--server-side", "--force-conflicts", "--field-manager=config-bot", "-f", "theirs.yaml"];
    site.kubectl(&by).expect(0);
    let before = site.traces().await;
    for command in [vec!["plan", "--version", "v2"], vec!["deploy", "--version", "v2", "--yes"]] {
        let refused = site.run(&command).expect(1);
        for word in ["ConfigMap", "config-bot", "data.VERSION", "--force-conflicts"] {
            assert!(refused.err.contains(word), "{word}: {}", refused.err);
        }
    }
    assert_same(&site.traces().await, &before, "nothing was written");
    site.run(&["plan", "--version", "v2", "--force-conflicts=other-bot,ConfigMap/beta"]).expect(1);
    site.run(&["deploy", "--version", "v2", "--yes", "--force-conflicts=config-bot"]).expect(0);
    let map = site.get("v1", "ConfigMap", "alpha").await.expect("is there");
    assert_eq!(map.text("/data/VERSION"), Some("v2"));
    site.run(&["plan", "--version", "v2", "--exit-code"]).expect(0);
}

/// What a client deployed is adopted, object by object; what it had set and we leave out goes; release 0 is what
/// was found, and can be had again.
async fn is_adopted(purpose: &str, deploy: &[&str]) {
    let site = Site::bound(purpose, &versions()).await;
    let old = app("alpha", "v0", json!({})).replace(r#""VERSION":"v0""#, r#""OLD":"x","VERSION":"v0""#);
    assert!(old.contains("OLD"));
    site.write("before.yaml", &old);
    site.kubectl(deploy).expect(0);
    site.kubectl(&["rollout", "status", "deployment/alpha", "--timeout=60s"]).expect(0);
    let before = plain(site.content().await);
    let plan = site.run(&["plan", "--version", "v1"]).expect(0);
    for object in ["Deployment alpha (adopted)", "ConfigMap alpha (adopted)", "Service alpha (adopted)"] {
        assert!(plan.out.contains(object), "{object} in {}", plan.out);
    }
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let map = site.get("v1", "ConfigMap", "alpha").await.expect("is there");
    assert_eq!(map.at("/data"), Some(&json!({"VERSION": "v1"})), "OLD was theirs, and we leave it out");
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    site.run(&["rollback", "--last-good", "--yes"]).expect(0);
    assert!(site.image("alpha").await.ends_with(":v1"));
    let release = site.run(&["rollback", "--release", "0", "--yes"]);
    release.expect(0);
    assert_eq!(plain(site.content().await), before, "release 0 is what was found");
}

fn plain(mut content: Vec<Value>) -> Vec<Value> {
    for one in &mut content {
        if let Some(metadata) = one["metadata"].as_object_mut() {
            metadata.remove("annotations");
        }
    }
    content
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn t17_what_kubectl_applied_is_adopted() {
    is_adopted("by-kubectl", &["apply", "-f", "before.yaml"]).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn t17_what_helm_3_made_by_update_is_adopted() {
    is_adopted("by-helm-3", &["create", "--field-manager=helm", "-f", "before.yaml"]).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn t17_what_helm_4_applied_on_the_server_is_adopted() {
    let apply = ["apply", "--server-side", "--field-manager=helm", "-f", "before.yaml"];
    is_adopted("by-helm-4", &apply).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_another_client_manages_is_not_adopted_in_silence() {
    let site = Site::bound("by-others", &versions()).await;
    site.write("before.yaml", &app("alpha", "v0", json!({})));
    site.kubectl(&["apply", "--server-side", "--field-manager=argocd-controller", "-f", "before.yaml"])
        .expect(0);
    let refused = site.run(&["deploy", "--version", "v1", "--yes"]).expect(1);
    assert!(refused.err.contains("argocd-controller"), "{}", refused.err);
    assert!(site.image("alpha").await.ends_with(":v0"));
}
