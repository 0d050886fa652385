//! What kubectl had deployed before maily came.

use serde_json::{Value, json};

use crate::site::{Site, app, documents};

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_kubectl_applied_is_adopted_shown_and_can_be_had_again() {
    let with_extra = |version: &str| {
        app("alpha", version, json!({})).replace(r#""VERSION":"v0""#, r#""OLD":"x","VERSION":"v0""#)
    };
    let site = Site::bound("adopt", &[("v1", app("alpha", "v1", json!({})))]).await;
    site.write("before.yaml", &with_extra("v0"));
    site.kubectl(&["apply", "-f", "before.yaml"]).expect(0);
    site.kubectl(&["rollout", "status", "deployment/alpha", "--timeout=60s"]).expect(0);
    let before = site.content().await;

    let plan = site.run(&["plan", "--version", "v1"]).expect(0);
    for object in ["Deployment alpha (adopted)", "ConfigMap alpha (adopted)", "Service alpha (adopted)"] {
        assert!(plan.out.contains(object), "{object} in {}", plan.out);
    }
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let map = site.get("v1", "ConfigMap", "alpha").await.expect("is there");
    assert_eq!(
        map.at("/data"),
        Some(&json!({"VERSION": "v1"})),
        "T17: a field of client-side apply can be removed"
    );

    site.run(&["rollback", "--last-good", "--yes"]).expect(0);
    let strip = |mut content: Vec<serde_json::Value>| {
        for one in &mut content {
            if let Some(metadata) = one["metadata"].as_object_mut() {
                metadata.remove("annotations");
            }
        }
        content
    };
    assert_eq!(strip(site.content().await), strip(before), "release 0 is what was found");
}

/// What people wrote before, with fields of which the version knows nothing.
const LEGACY: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {KEPT: "1", OLD_KEY: must-have}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: more, port: 9090}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  minReadySeconds: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      nodeSelector: {kubernetes.io/os: linux}
      containers:
        - name: web
          image: registry.example/web:v1
          env: [{name: KEPT, value: "1"}, {name: FEATURE_X, value: "on"}]
          resources: {limits: {memory: 64Mi}}
"#;

const VERSION: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {KEPT: "1"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "registry.example/web:v1", env: [{name: KEPT, value: "1"}]}]
"#;

/// What goes is shown field by field, whoever set it: by an update that owns all that the server filled in, or by an apply
/// on the server. What the server fills in again is no change.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_an_adoption_takes_away_its_plan_shows_field_by_field() {
    let pod = "Deployment spec.template.spec.";
    let wanted = [
        "ConfigMap data.OLD_KEY: must-have -> unset".to_owned(),
        "Deployment spec.minReadySeconds: 1 -> unset".to_owned(),
        "Deployment spec.replicas: 3 -> 1".to_owned(),
        format!("{pod}containers[web].env[FEATURE_X].name: FEATURE_X -> unset"),
        format!("{pod}containers[web].env[FEATURE_X].value: on -> unset"),
        format!("{pod}containers[web].resources.limits.memory: 64Mi -> unset"),
        format!("{pod}nodeSelector.kubernetes.io/os: linux -> unset"),
        format!("{pod}terminationGracePeriodSeconds: 5 -> 30"),
        "Service spec.ports[80,TCP].targetPort: 8080 -> 80".to_owned(),
        "Service spec.ports[9090,TCP].name: more -> unset".to_owned(),
        "Service spec.ports[9090,TCP].port: 9090 -> unset".to_owned(),
        "Service spec.ports[9090,TCP].protocol: TCP -> unset".to_owned(),
        "Service spec.ports[9090,TCP].targetPort: 9090 -> unset".to_owned(),
    ];
    let hows: [&[&str]; 3] = [
        &["apply"],
        &["apply", "--server-side", "--field-manager", "helm"],
        &["create", "--field-manager", "helm"],
    ];
    for how in hows {
        let site = Site::bound("cut", &[("v1", VERSION.to_owned())]).await;
        site.write("before.yaml", LEGACY);
        site.kubectl(&[how, &["-f", "before.yaml"]].concat()).expect(0);
        // In an emergency, by hand.
        site.kubectl(&["scale", "deployment/web", "--replicas", "3"]).expect(0);
        let plan = site.run(&["plan", "--version", "v1", "-o", "json"]).expect(0).json();
        let mut shown = Vec::new();
        for step in plan["plan"]["steps"].as_array().expect("a list") {
            for change in step["work"]["changes"].as_array().into_iter().flatten() {
                assert_eq!(change["operation"], "adopt");
                for field in change["fields"].as_array().into_iter().flatten() {
                    let value = |side: &str| field[side].as_str().unwrap_or("unset").to_owned();
                    let (kind, path) = (change["key"]["kind"].as_str().unwrap_or("?"), &field["path"]);
                    let path = path.as_str().expect("is text");
                    shown.push(format!("{kind} {path}: {} -> {}", value("from"), value("to")));
                }
            }
        }
        shown.sort();
        // What the server filled in for an apply is nobody's: it goes with its port, without a line of its own.
        let filled = how.contains(&"--server-side").then_some("Service spec.ports[9090,TCP].targetPort");
        let wanted: Vec<&String> =
            wanted.iter().filter(|line| !filled.is_some_and(|field| line.starts_with(field))).collect();
        assert_eq!(shown.iter().collect::<Vec<_>>(), wanted, "{how:?}");
        let brief = site.run(&["plan", "--version", "v1"]).expect(0);
        assert!(brief.out.contains("data.OLD_KEY: must-have → unset"), "{}", brief.out);
        let done = site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
        let told = done.out + &done.err;
        let gone = wanted.iter().filter(|line| line.ends_with("unset")).count();
        let note = format!(
            "Deployment/web goes from 3 to 1 replicas; {gone} fields that the version does not set go"
        );
        assert!(told.contains(&note), "{told}");
        let again = site.run(&["plan", "--version", "v1"]).expect(0);
        assert!(again.out.contains("nothing to do"), "{}", again.out);
        let map = site.get("v1", "ConfigMap", "web").await.expect("is there");
        assert_eq!(map.at("/data"), Some(&json!({"KEPT": "1"})), "{how:?}");
    }
}

/// One of two that exclude each other, in place of the other: laid beside what was there, the server takes neither.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn an_adoption_that_puts_one_source_for_another_is_planned_and_done() {
    let web = |env: Value, volume: Value, probe: Value, port: u16| {
        let container = json!({"name": "web", "image": "registry.example/shop/web:v1", "env": [env],
            "volumeMounts": [{"name": "cache", "mountPath": "/cache"}], "readinessProbe": probe,
            "ports": [{"name": "http", "containerPort": port}]});
        documents(&[json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"volumes": [volume], "containers": [container]}}}})])
    };
    let before = web(
        json!({"name": "MODE", "value": "fast"}),
        json!({"name": "cache", "emptyDir": {}}),
        json!({"httpGet": {"path": "/", "port": 8080}}),
        8080,
    );
    let after = web(
        json!({"name": "MODE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        json!({"name": "cache", "hostPath": {"path": "/var/cache"}}),
        json!({"tcpSocket": {"port": 9090}}),
        9090,
    );
    for how in [&["apply"][..], &["apply", "--server-side"]] {
        let site = Site::bound("exchange", &[("v1", after.clone())]).await;
        site.write("before.yaml", &before);
        site.kubectl(&[how, &["-f", "before.yaml"]].concat()).expect(0);
        let plan = site.run(&["plan", "--version", "v1", "-v"]).expect(0);
        for told in ["env[MODE].value: fast → unset", "httpGet.path: / → unset", "hostPath.path: /var/cache"]
        {
            assert!(plan.out.contains(told), "{how:?}: {told}: {}", plan.out);
        }
        site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
        let again = site.run(&["plan", "--version", "v1"]).expect(0);
        assert!(again.out.contains("nothing to do"), "{}", again.out);
    }
}
