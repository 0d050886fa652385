//! What people change by hand: before a plan is applied, and after a release.

use serde_json::{Value, json};

use crate::{
    boutique::assert_same,
    site::{Site, app, documents},
};

fn two() -> Vec<(&'static str, String)> {
    ["v1", "v2"]
        .map(|version| (version, app("alpha", version, json!({})) + &app("beta", version, json!({}))))
        .to_vec()
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn an_edit_between_plan_and_apply_is_refused_object_by_object() {
    let site = Site::bound("edit", &two()).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    site.run(&["plan", "--version", "v2", "--out", "plan.json"]).expect(0);
    site.kubectl(&["set", "image", "deployment/beta", "main=registry.example/shop/beta:hotfix"]).expect(0);
    site.kubectl(&["patch", "configmap", "alpha", "-p", r#"{"data":{"VERSION":"v1-edited"}}"#]).expect(0);
    let before = site.traces().await;
    let done = site.run(&["apply", "plan.json", "--yes"]).expect(6);
    let named =
        |kind: &str, name: &str| done.err.contains(&format!("{kind} {}/{name} was changed", site.namespace));
    assert!(named("Deployment", "beta") && named("ConfigMap", "alpha"), "{}", done.err);
    assert!(!named("Deployment", "alpha"), "what did not change is not named: {}", done.err);
    assert_same(&site.traces().await, &before, "nothing was written");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_manual_undo_is_drift_in_status_and_in_the_next_plan() {
    let site = Site::bound("drift", &two()).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    site.kubectl(&["rollout", "undo", "deployment/beta"]).expect(0);
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    let drift = |name: &str| {
        let services = status["services"].as_array().expect("is a list");
        services.iter().find(|service| service["name"] == name).expect("is there")["drift"].clone()
    };
    assert_eq!(drift("alpha"), json!([]));
    let beta = drift("beta");
    assert!(beta[0].as_str().expect("is text").contains("shop/beta:v1"), "{beta}");
    assert!(!beta.to_string().contains("protocol"), "{beta}");
    // What was undone on purpose is not overwritten in silence.
    let refused = site.run(&["plan", "--version", "v2"]).expect(1);
    for word in
        ["drift: Deployment", "beta:v2 -> registry.example/shop/beta:v1", "kubectl", "--force-conflicts"]
    {
        assert!(refused.err.contains(word), "{word}: {}", refused.err);
    }
    let plan = site.run(&["plan", "--version", "v2", "--force-conflicts"]).expect(0);
    assert!(plan.out.contains("drift") && plan.out.contains("Deployment beta"), "{}", plan.out);
    assert!(!plan.out.contains("Deployment alpha"), "{}", plan.out);
    site.run(&["deploy", "--version", "v2", "--yes", "--force-conflicts"]).expect(0);
    assert!(site.image("beta").await.ends_with(":v2"));
}

/// Kubernetes keeps no manager on record for replicas that are 0.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_was_scaled_to_nothing_by_hand_is_not_started_again_in_silence() {
    let site = Site::bound("zero", &two()).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    for replicas in ["0", "5"] {
        site.kubectl(&["scale", "deployment/beta", &format!("--replicas={replicas}")]).expect(0);
        let refused = site.run(&["plan", "--version", "v2"]).expect(1);
        let told = format!("spec.replicas 2 -> {replicas}");
        assert!(refused.err.contains("drift: Deployment") && refused.err.contains(&told), "{}", refused.err);
    }
    site.run(&["deploy", "--version", "v2", "--yes", "--force-conflicts=Deployment/beta"]).expect(0);
    assert!(site.image("beta").await.ends_with(":v2"));
}

/// The fields stay kubectl's, but nothing of what a person did would be lost.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn an_edit_that_was_set_back_is_no_conflict() {
    let site = Site::bound("back", &two()).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    for version in ["hotfix", "v1"] {
        let image = format!("main=registry.example/shop/beta:{version}");
        site.kubectl(&["set", "image", "deployment/beta", &image]).expect(0);
    }
    // Until its controller has seen them, it does not serve, and a plan says so.
    site.kubectl(&["rollout", "status", "deployment/beta"]).expect(0);
    let same = site.run(&["plan", "--version", "v1", "--exit-code"]).expect(0);
    assert!(!same.out.contains("drift"), "{}", same.out);
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    assert!(site.image("beta").await.ends_with(":v2"));
    // What is there already is not taken from anybody either.
    site.kubectl(&["set", "image", "deployment/beta", "main=registry.example/shop/beta:v1"]).expect(0);
    let plan = site.run(&["plan", "--version", "v1"]).expect(0);
    assert!(plan.out.contains("drift") && plan.out.contains("Deployment alpha"), "{}", plan.out);
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    assert!(site.image("alpha").await.ends_with(":v1") && site.image("beta").await.ends_with(":v1"));
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn drift_and_replacements_list_what_was_changed_alone() {
    let selector = |name: &str| app("alpha", "v2", json!({})).replace(r#"{"app":"alpha"}"#, name);
    let versions = [("v1", app("alpha", "v1", json!({}))), ("v2", selector(r#"{"app":"other"}"#))];
    let site = Site::bound("fields", &versions).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let patch = r#"{"spec":{"ports":[{"port":80,"targetPort":9090}]}}"#;
    site.kubectl(&["patch", "service", "alpha", "-p", patch]).expect(0);
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    let drift = status["services"][0]["drift"][0].as_str().expect("drifted").to_owned();
    assert!(drift.contains("spec.ports[80,TCP].targetPort 8080 -> 9090 (by"), "{drift}");
    let args = ["plan", "--version", "v2", "--allow-replace", "Deployment/alpha", "--force-conflicts"];
    let plan = site.run(&args).expect(0);
    assert!(plan.out.contains("spec.selector.matchLabels.app"), "{}", plan.out);
    for default in ["progressDeadlineSeconds", "terminationGracePeriodSeconds", "dnsPolicy"] {
        assert!(!plan.out.contains(default), "{default}: {}", plan.out);
    }
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_a_new_version_lacks_goes_and_what_is_not_ours_stays() {
    let extra = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "beta-extra"}, "data": {"a": "1"}});
    let with = app("alpha", "v1", json!({})) + &app("beta", "v1", json!({})) + &format!("---\n{extra}\n");
    let without = app("alpha", "v2", json!({}));
    let site = Site::bound("prune", &[("v1", with), ("v2", without)]).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    site.kubectl(&["create", "configmap", "theirs"]).expect(0);
    // The file still names beta: the plan says that the manifests lack it.
    let plan = site.run(&["plan", "--version", "v2"]).expect(0);
    assert!(
        plan.out.contains("- Deployment beta") && plan.out.contains("`beta` is not in source"),
        "{}",
        plan.out
    );
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    let names: Vec<String> = site.objects().await.iter().map(|object| object.key().short()).collect();
    assert!(!names.iter().any(|name| name.contains("beta")), "{names:?}");
    assert!(names.iter().any(|name| name.contains("theirs")), "{names:?}");
}

/// The server fills in defaults inside of what is one value, and writes amounts in its own way: nobody's edit.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_the_server_fills_in_hides_no_edit() {
    let source = |of: Value| json!({"name": of.as_object().expect("a map").keys().next(), "valueFrom": of});
    let container = json!({"name": "main", "image": "registry.example/shop/web:v1",
        "resources": {"limits": {"cpu": "1000m", "memory": "2048Mi"}},
        "env": [source(json!({"fieldRef": {"fieldPath": "status.podIP"}})),
            source(json!({"resourceFieldRef": {"resource": "limits.memory"}}))]});
    let labels = json!({"app": "web"});
    let spec = json!({"containers": [container], "tolerations": [{"key": "one", "operator": "Exists"}]});
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec}}});
    let site = Site::bound("fills-in", &[("v1", documents(&[web]))]).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    assert!(!site.run(&["status"]).expect(0).out.contains("changed since"));
    let patch = r#"[{"op": "add", "path": "/spec/template/spec/tolerations/-", "value": {"key": "two", "operator": "Exists"}}]"#;
    site.kubectl(&["patch", "deployment", "web", "--type", "json", "--patch", patch]).expect(0);
    let told = site.run(&["status"]).expect(0).out;
    let line = told.lines().find(|line| line.contains("Deployment/web:")).expect("is told");
    assert!(
        line.contains("Deployment/web: spec.template.spec.tolerations [") && line.contains("\"two\""),
        "{told}"
    );
    assert!(!line.contains("fieldRef") && !line.contains("cpu"), "{told}");
}
