//! What has to be there before something else can be, what stays when a version has it no more, and what the server
//! refuses on the way.

use serde_json::{Value, json};

use crate::site::{Site, app, documents};

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn definitions_are_established_before_their_objects() {
    let site = Site::new("definition").await;
    // Cluster-scoped: a name of its own for every run of the test.
    let group = format!("{}.example.com", site.namespace);
    let thing = json!({"apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": {"name": "one"}, "spec": {"size": 3}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]}});
    // The object stands first: the order is ours, not the file's.
    let text = documents(&[thing, definition]) + &app("alpha", "v1", json!({}));
    site.write("manifests/v1.yaml", &text);
    site.write("manifests/v2.yaml", &app("alpha", "v2", json!({})));
    site.run(&["init", "--from", "manifests/{version}.yaml", "--version", "v1", "--name", "shop"]).expect(0);
    site.bind();
    site.run(&["plan", "--version", "v1"]).expect(0);
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let things = site.get(&format!("{group}/v1"), "Thing", "one").await.expect("is there");
    assert_eq!(things.int("/spec/size"), Some(3));
    // What is gone from the manifests goes; a definition holds everybody's objects, and stays with a word.
    let deployed = site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    let told = format!("{}{}", deployed.out, deployed.err);
    assert!(told.contains(&format!("things.{group}")) && told.contains("it stays"), "{told}");
    assert!(site.get(&format!("{group}/v1"), "Thing", "one").await.is_none(), "the object went");
    site.kubectl(&["delete", "crd", &format!("things.{group}"), "--wait=false"]).expect(0);
}

/// The definition of a kind of a group.
fn definition(group: &str, kind: &str, scope: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": scope, "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]}})
}

fn custom(group: &str, kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut object = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name}, "spec": {"size": 3}});
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

/// Deploys two versions, of which the first has objects outside namespaces.
async fn live_outside(site: &Site, group: &str, names: &[&str]) {
    site.run(&["init", "--from", "manifests/{version}.yaml", "--version", "v1", "--name", "shop"]).expect(0);
    site.bind();
    site.run(&["plan", "--version", "v1"]).expect(0);
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    for name in names {
        let wide = site.get(&format!("{group}/v1"), "Wide", name).await.expect("is there");
        assert_eq!((wide.namespace(), wide.int("/spec/size")), (None, Some(3)));
    }
    site.run(&["plan", "--version", "v1", "--exit-code"]).expect(0);
    let again = site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    assert!(format!("{}{}", again.out, again.err).contains("nothing to do"), "{again:?}");
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(status["drift"].as_array().map_or(0, Vec::len), 0, "{status}");
    let services = status["services"].as_array().expect("is a list");
    assert!(services.iter().all(|one| one["drift"] == json!([]) && one["state"] == "serving"), "{status}");
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    for name in names {
        let left = site.get(&format!("{group}/v1"), "Wide", name).await;
        assert!(left.is_none_or(|object| object.is_terminating()), "{name} went");
    }
    site.run(&["rollback", "--last-good", "--yes"]).expect(0);
    for name in names {
        assert!(site.get(&format!("{group}/v1"), "Wide", name).await.is_some(), "{name} is back");
    }
    site.kubectl(&["delete", "crd", &format!("wides.{group}"), "--wait=false"]).expect(0);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn kinds_outside_namespaces_whose_definition_comes_along_are_followed() {
    let site = Site::new("wide").await;
    let group = format!("{}.example.com", site.namespace);
    let definition = definition(&group, "Wide", "Cluster");
    // `kubectl` takes it too: the namespace of such an object means nothing.
    let objects = [
        custom(&group, "Wide", "one", None),
        custom(&group, "Wide", "two", Some("elsewhere")),
        definition.clone(),
    ];
    site.write("manifests/v1.yaml", &(documents(&objects) + &app("alpha", "v1", json!({}))));
    site.write("manifests/v2.yaml", &(documents(&[definition]) + &app("alpha", "v2", json!({}))));
    live_outside(&site, &group, &["one", "two"]).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn kinds_outside_namespaces_that_only_the_cluster_knows_are_followed() {
    let site = Site::new("wider").await;
    let group = format!("{}.example.com", site.namespace);
    site.write("definition.yaml", &documents(&[definition(&group, "Wide", "Cluster")]));
    site.kubectl(&["apply", "-f", "definition.yaml"]).expect(0);
    site.kubectl(&["wait", "--for=condition=Established", "crd", &format!("wides.{group}"), "--timeout=60s"])
        .expect(0);
    let objects = [custom(&group, "Wide", "one", None), custom(&group, "Wide", "two", Some(&site.namespace))];
    site.write("manifests/v1.yaml", &(documents(&objects) + &app("alpha", "v1", json!({}))));
    site.write("manifests/v2.yaml", &app("alpha", "v2", json!({})));
    live_outside(&site, &group, &["one", "two"]).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_namespace_and_a_definition_are_written_before_what_needs_them() {
    let site = Site::new("first").await;
    let group = format!("{}.example.com", site.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": site.namespace, "labels": {"team": "shop"}}});
    // The other way round than they are to be written.
    let text = app("alpha", "v1", json!({}))
        + &documents(&[
            custom(&group, "Thing", "one", None),
            definition(&group, "Thing", "Namespaced"),
            namespace,
        ]);
    site.write("manifests/v1.yaml", &text);
    site.write("manifests/v2.yaml", &app("alpha", "v2", json!({})));
    site.run(&["init", "--from", "manifests/{version}.yaml", "--version", "v1", "--name", "shop"]).expect(0);
    site.bind();
    let plan = site.run(&["plan", "--version", "v1", "-o", "json"]).expect(0).json();
    let steps = plan["plan"]["steps"].as_array().expect("is a list");
    let changes = steps.iter().flat_map(|step| step["work"]["changes"].as_array().into_iter().flatten());
    let kinds: Vec<&str> = changes.map(|change| change["key"]["kind"].as_str().expect("has one")).collect();
    let wanted = ["Namespace", "CustomResourceDefinition", "Thing", "ConfigMap", "Service", "Deployment"];
    assert_eq!(kinds, wanted, "{plan}");
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    // The server counts all writes of a cluster in one line; what no controller touches keeps the number of its own.
    let written = async |version: &str, kind: &str, name: &str| -> u64 {
        let object = site.get(version, kind, name).await.expect("is there");
        object.resource_version().and_then(|number| number.parse().ok()).expect("is a number")
    };
    let definition = format!("things.{group}");
    let own = site.get("v1", "Namespace", &site.namespace).await.expect("is there");
    assert_eq!((own.label("team"), own.label("maily.dev/project")), (Some("shop"), Some("shop")));
    let order = [
        written("v1", "Namespace", &site.namespace).await,
        written("apiextensions.k8s.io/v1", "CustomResourceDefinition", &definition).await,
        written(&format!("{group}/v1"), "Thing", "one").await,
        written("v1", "ConfigMap", "alpha").await,
    ];
    assert!(order.is_sorted(), "{order:?}");
    // Both hold what is everybody's, and stay with a word.
    let deployed = site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    let told = format!("{}{}", deployed.out, deployed.err);
    for kept in [format!("Namespace {}", site.namespace), format!("CustomResourceDefinition {definition}")] {
        assert!(
            told.contains(&format!("{kept} is no longer in this release, but holds data: it stays")),
            "{told}"
        );
    }
    assert!(!site.get("v1", "Namespace", &site.namespace).await.expect("is there").is_terminating());
    site.kubectl(&["delete", "crd", &definition, "--wait=false"]).expect(0);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn claims_of_volumes_stay_with_a_word() {
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let with = app("alpha", "v1", json!({})) + &documents(&[claim]);
    let site = Site::bound("claims", &[("v1", with), ("v2", app("alpha", "v2", json!({})))]).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let plan = site.run(&["plan", "--version", "v2"]).expect(0);
    assert!(plan.out.contains("PersistentVolumeClaim") && plan.out.contains("it stays"), "{}", plan.out);
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    assert!(site.get("v1", "PersistentVolumeClaim", "data").await.is_some());
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_quota_that_is_exceeded_midway_is_named_and_everything_goes_back() {
    let extra: String = (0..3)
        .map(|number| documents(&[json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("extra-{number}")}, "data": {"a": "1"}})]))
        .collect();
    let site = Site::bound(
        "quota",
        &[("v1", app("alpha", "v1", json!({}))), ("v2", app("alpha", "v2", json!({})) + &extra)],
    )
    .await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    // The one that is there, that of every namespace, and one more.
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"count/configmaps": "3"}}});
    site.write("quota.yaml", &quota.to_string());
    site.kubectl(&["apply", "-f", "quota.yaml"]).expect(0);
    site.until("the quota counts", async || {
        let quota = site.get("v1", "ResourceQuota", "few").await.expect("is there");
        quota.text("/status/used/count~1configmaps") == Some("2")
    })
    .await;
    let before = site.content().await;
    let done = site.run(&["deploy", "--version", "v2", "--yes"]);
    assert!(matches!(done.code, 1 | 3), "{done:?}");
    assert!(done.err.contains("exceeded quota"), "{}", done.err);
    site.until("everything is as it was", async || site.content().await == before).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_webhook_or_policy_that_refuses_is_quoted() {
    let site = Site::bound("policy", &[("v1", app("alpha", "v1", json!({})))]).await;
    let name = format!("{}-refuses", site.namespace);
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]},
            "validations": [{"expression": "object.spec.replicas > 2", "message": "the house wants three replicas"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": site.namespace}}}}});
    site.write("policy.yaml", &documents(&[policy, binding]));
    site.kubectl(&["apply", "-f", "policy.yaml"]).expect(0);
    // A policy is in force some time after it was made.
    site.until("the policy refuses", async || !site.run(&["plan", "--version", "v1"]).err.is_empty()).await;
    let refused = site.run(&["deploy", "--version", "v1", "--yes"]);
    site.kubectl(&["delete", "-f", "policy.yaml"]).expect(0);
    assert!(matches!(refused.code, 1 | 3), "{refused:?}");
    assert!(refused.err.contains("the house wants three replicas"), "{}", refused.err);
    assert!(site.objects().await.is_empty());
}

/// A server has no rules as `rules: null`.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_role_without_rules_goes_with_its_version() {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "none"}, "rules": []});
    let v1 = app("alpha", "v1", json!({})) + &documents(&[role]);
    let versions = [("v1", v1), ("v2", app("alpha", "v2", json!({})))];
    let site = Site::bound("no-rules", &versions).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    assert!(site.get("rbac.authorization.k8s.io/v1", "Role", "none").await.is_none());
    site.run(&["rollback", "--last-good", "--yes"]).expect(0);
    assert!(site.get("rbac.authorization.k8s.io/v1", "Role", "none").await.is_some());
}
