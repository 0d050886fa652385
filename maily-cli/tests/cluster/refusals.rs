//! Clusters and credentials that do not fit: a clear error, and nothing written.

use serde_json::json;

use crate::{
    boutique::assert_same,
    site::{Site, app, done},
};

async fn site(purpose: &str) -> Site {
    Site::bound(purpose, &[("v1", app("alpha", "v1", json!({})))]).await
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn another_cluster_than_the_bound_one_is_refused() {
    let site = site("identity").await;
    let file = std::fs::read_to_string(site.path().join("maily.yaml")).expect("can be read");
    let at = file.find("uid: ").expect("is bound") + "uid: ".len();
    let before = site.traces().await;
    let mut other = file.clone();
    other.replace_range(at..at + 8, "00000000");
    site.write("maily.yaml", &other);
    let refused = site.run(&["deploy", "--version", "v1", "--yes"]).expect(1);
    assert!(refused.err.contains("another cluster"), "{}", refused.err);
    let refused = site.run(&["env", "bind", "production"]).expect(1);
    assert!(refused.err.contains("--rebind"), "{}", refused.err);
    assert_same(&site.traces().await, &before, "nothing was written");
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
    let before = site.traces().await;
    let mut command =
        site.command(&["deploy", "--version", "v1", "--yes", "--kubeconfig", "poor.kubeconfig"]);
    command.env_remove("KUBECONFIG");
    let refused = done(command).expect(1);
    assert!(refused.err.contains("forbidden") && refused.err.contains("namespaces"), "{}", refused.err);
    let doctor = site.run(&["doctor", "--kubeconfig", "poor.kubeconfig"]).expect(1);
    assert!(!doctor.out.is_empty());
    assert_same(&site.traces().await, &before, "nothing was written");
}

/// One permission is missing, and shows only when it is needed: it is named, with whom to ask for what, and what was
/// done until then is taken back.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn the_permission_to_ask_for_is_named_exactly() {
    let site = site("one-right").await;
    site.kubectl(&["create", "serviceaccount", "some"]).expect(0);
    let all = "get,list,watch,create,patch,update,delete";
    let verbs = format!("--verb={all}");
    let resources = "--resource=secrets,configmaps,services,pods,leases.coordination.k8s.io";
    site.kubectl(&["create", "role", "some", &verbs, resources]).expect(0);
    site.kubectl(&[
        "create",
        "role",
        "reads",
        "--verb=get,list,watch",
        "--resource=deployments.apps,replicasets.apps",
    ])
    .expect(0);
    let account = format!("--serviceaccount={}:some", site.namespace);
    for role in ["some", "reads"] {
        site.kubectl(&["create", "rolebinding", role, &format!("--role={role}"), &account]).expect(0);
    }
    let reads = format!("{}-reads", site.namespace);
    site.kubectl(&["create", "clusterrole", &reads, "--verb=get", "--resource=namespaces"]).expect(0);
    site.kubectl(&["create", "clusterrolebinding", &reads, &format!("--clusterrole={reads}"), &account])
        .expect(0);
    let token = site.kubectl(&["create", "token", "some"]).expect(0).out;
    let own = std::fs::read_to_string(site.kubeconfig()).expect("can be read");
    let users = own.find("users:").expect("has users");
    let some = format!("{}users: [{{name: admin, user: {{token: '{}'}}}}]\n", &own[..users], token.trim());
    site.write("some.kubeconfig", &some);
    let before = site.content().await;
    let refused = site.run(&["deploy", "--version", "v1", "--yes", "--kubeconfig", "some.kubeconfig"]);
    let doctor = site.run(&["doctor", "--kubeconfig", "some.kubeconfig"]).expect(1);
    site.kubectl(&["delete", "clusterrole,clusterrolebinding", &reads]).expect(0);
    assert_eq!(refused.code, 3, "{refused:?}");
    let wanted =
        format!("a Role in namespace `{}` that allows `patch` on `deployments.apps`", site.namespace);
    assert!(refused.err.contains(&wanted), "{}", refused.err);
    assert!(doctor.out.contains("patch deployments"), "{}", doctor.out);
    assert_same(&site.content().await, &before, "everything is as it was");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_journal_of_a_newer_format_is_refused() {
    let late = json!({"stack.maily.dev/ready-after": "60s"});
    let site = Site::bound("newer", &[("v1", app("alpha", "v1", late))]).await;
    let mut child = site.spawn(&["deploy", "--version", "v1", "--yes"]);
    site.until("the run has changed something", async || {
        site.get("apps/v1", "Deployment", "alpha").await.is_some()
    })
    .await;
    child.kill().expect("is killed");
    child.wait().expect("is gone");
    let names = site.kubectl(&["get", "secrets", "-o", "name"]).expect(0).out;
    let name =
        names.lines().rfind(|name| name.starts_with("secret/maily-production.run.")).expect("has a journal");
    let name = name.trim_start_matches("secret/");
    // Records cannot be changed: it is made anew, as a newer program would have written it.
    let mut body = site.get("v1", "Secret", name).await.expect("is there").to_value();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        body["metadata"].as_object_mut().expect("is a map").remove(field);
    }
    body["data"]["record"] = json!(newer(body["data"]["record"].as_str().expect("is text")));
    site.kubectl(&["delete", "secret", name]).expect(0);
    site.write("record.json", &body.to_string());
    site.kubectl(&["create", "-f", "record.json"]).expect(0);
    let before = site.traces().await;
    for command in [
        vec!["deploy", "--version", "v1", "--yes"],
        vec!["resume"],
        vec!["abort"],
        vec!["status"],
        vec!["history"],
    ] {
        let refused = site.run(&command).expect(1);
        assert!(
            refused.err.contains("newer") && refused.err.contains("format 99"),
            "{command:?}: {}",
            refused.err
        );
    }
    assert_same(&site.traces().await, &before, "nothing was written");
}

/// The record with another format number.
fn newer(record: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let bytes = STANDARD.decode(record).expect("is base64");
    // Small records are plain.
    let text = String::from_utf8(bytes).expect("is text");
    assert!(text.contains("\"format\":1"), "{text}");
    STANDARD.encode(text.replacen("\"format\":1", "\"format\":99", 1))
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
    let before = site.traces().await;
    let plan = std::fs::read_to_string(site.path().join("plan.json")).expect("can be read");
    site.write("edited.json", &plan.replace("shop/alpha:v1", "shop/alpha:v9"));
    let refused = site.run(&["apply", "edited.json", "--yes"]).expect(2);
    assert!(refused.err.contains("edited"), "{}", refused.err);
    site.write("future.json", &plan.replacen("\"format\": 1", "\"format\": 9", 1));
    let refused = site.run(&["apply", "future.json", "--yes"]).expect(2);
    assert!(refused.err.contains("format 9"), "{}", refused.err);
    assert_same(&site.traces().await, &before, "nothing was written");
}
