//! Clusters and credentials that do not fit: a clear error, and nothing written.

use serde_json::json;

use crate::site::{Site, app, done};

async fn site(purpose: &str) -> Site {
    Site::bound(purpose, &[("v1", app("alpha", "v1", json!({})))]).await
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn another_cluster_than_the_bound_one_is_refused() {
    let site = site("identity").await;
    let file = std::fs::read_to_string(site.path().join("maily.yaml")).expect("can be read");
    let at = file.find("uid: ").expect("is bound") + "uid: ".len();
    let mut other = file.clone();
    other.replace_range(at..at + 8, "00000000");
    site.write("maily.yaml", &other);
    let refused = site.run(&["deploy", "--version", "v1", "--yes"]).expect(1);
    assert!(refused.err.contains("another cluster"), "{}", refused.err);
    let refused = site.run(&["env", "bind", "production"]).expect(1);
    assert!(refused.err.contains("--rebind"), "{}", refused.err);
    assert!(site.objects().await.is_empty());
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_namespace_that_is_missing_or_going_is_refused() {
    let site = site("namespace").await;
    site.kubectl(&[
        "patch",
        "serviceaccount",
        "default",
        "-p",
        r#"{"metadata":{"finalizers":["maily.dev/test"]}}"#,
    ])
    .expect(0);
    site.kubectl(&["delete", "namespace", &site.namespace, "--wait=false"]).expect(0);
    let refused = site.run(&["deploy", "--version", "v1", "--yes"]).expect(1);
    assert!(refused.err.contains("is being deleted"), "{}", refused.err);
    site.kubectl(&["patch", "serviceaccount", "default", "-p", r#"{"metadata":{"finalizers":null}}"#])
        .expect(0);
    site.run(&["env", "bind", "production", "--namespace", "nowhere-at-all"]).expect(0);
    let refused = site.run(&["deploy", "--version", "v1", "--yes"]).expect(1);
    assert!(refused.err.contains("does not exist") && refused.err.contains("help"), "{}", refused.err);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn missing_permissions_are_named() {
    let site = site("rights").await;
    site.kubectl(&["create", "serviceaccount", "poor"]).expect(0);
    let token = site.kubectl(&["create", "token", "poor"]).expect(0).out;
    let own = std::fs::read_to_string(site.kubeconfig()).expect("can be read");
    let users = own.find("users:").expect("has users");
    let poor = format!("{}users: [{{name: admin, user: {{token: '{}'}}}}]\n", &own[..users], token.trim());
    site.write("poor.kubeconfig", &poor);
    let mut command =
        site.command(&["deploy", "--version", "v1", "--yes", "--kubeconfig", "poor.kubeconfig"]);
    command.env_remove("KUBECONFIG");
    let refused = done(command).expect(1);
    assert!(refused.err.contains("forbidden") && refused.err.contains("namespaces"), "{}", refused.err);
    let doctor = site.run(&["doctor", "--kubeconfig", "poor.kubeconfig"]).expect(1);
    assert!(!doctor.out.is_empty());
    assert!(site.objects().await.iter().all(|object| object.name() == "poor"));
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn kubeconfigs_that_cannot_be_used_are_told() {
    let site = site("config").await;
    let missing = site.run(&["status", "--kubeconfig", "nowhere"]).expect(1);
    assert!(missing.err.contains("nowhere"), "{}", missing.err);
    site.write("expired.kubeconfig", &std::fs::read_to_string(site.kubeconfig()).expect("can be read"));
    let own = std::fs::read_to_string(site.kubeconfig()).expect("can be read");
    let users = own.find("users:").expect("has users");
    site.write(
        "expired.kubeconfig",
        &format!("{}users: [{{name: admin, user: {{token: 'expired'}}}}]\n", &own[..users]),
    );
    let expired = site.run(&["status", "--kubeconfig", "expired.kubeconfig"]).expect(1);
    assert!(expired.err.contains("renew the credentials"), "{}", expired.err);
    let context = site.run(&["env", "bind", "other", "--context", "absent"]).expect(1);
    assert!(context.err.contains("absent"), "{}", context.err);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_plan_that_was_edited_or_belongs_elsewhere_is_refused() {
    let site = site("plan").await;
    site.run(&["plan", "--version", "v1", "--out", "plan.json"]).expect(0);
    let plan = std::fs::read_to_string(site.path().join("plan.json")).expect("can be read");
    site.write("edited.json", &plan.replace("shop/alpha:v1", "shop/alpha:v9"));
    let refused = site.run(&["apply", "edited.json", "--yes"]).expect(2);
    assert!(refused.err.contains("edited"), "{}", refused.err);
    site.write("future.json", &plan.replacen("\"format\": 1", "\"format\": 9", 1));
    let refused = site.run(&["apply", "future.json", "--yes"]).expect(2);
    assert!(refused.err.contains("format 9"), "{}", refused.err);
    assert!(site.objects().await.is_empty());
}
