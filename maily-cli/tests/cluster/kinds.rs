//! Workloads of every kind, by their real controllers: rolled out, upgraded, and taken back when their pods are doomed.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::site::{Site, behaves, documents, finished};

fn template(name: &str, version: &str, annotations: Value, restart: &str) -> Value {
    json!({"metadata": {"labels": {"app": name}, "annotations": annotations},
        "spec": {"restartPolicy": restart, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": format!("registry.example/shop/{name}:{version}")}]}})
}

pub(crate) fn stateful_set(version: &str, annotations: Value, policy: &str) -> String {
    documents(&[
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "store"},
            "spec": {"clusterIP": "None", "selector": {"app": "store"}, "ports": [{"port": 5432}]}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "store"},
            "spec": {"serviceName": "store", "replicas": 3, "podManagementPolicy": policy,
                "selector": {"matchLabels": {"app": "store"}},
                "template": template("store", version, annotations, "Always")}}),
    ])
}

fn daemon_set(version: &str, annotations: Value) -> String {
    documents(&[json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}},
            "template": template("agent", version, annotations, "Always")}})])
}

fn cron_job(version: &str) -> String {
    // Never: no February has thirty days.
    documents(&[json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 0 30 2 *", "jobTemplate": {"spec": {
            "template": template("nightly", version, json!({}), "Never")}}}})])
}

fn job(version: &str, annotations: Value) -> String {
    documents(&[json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "import"},
        "spec": {"backoffLimit": 0, "template": template("import", version, annotations, "Never")}})])
}

/// Images of the living pods of an application.
async fn images(site: &Site, name: &str) -> Vec<String> {
    let pods = site.list("v1", "Pod").await;
    let ours = pods.iter().filter(|pod| pod.label("app") == Some(name) && !pod.is_terminating());
    ours.map(|pod| pod.text("/spec/containers/0/image").expect("has one").to_owned()).collect()
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn every_kind_of_workload_is_awaited_and_upgraded() {
    let all = |version: &str| {
        let slow = json!({"stack.maily.dev/ready-after": "600ms"});
        stateful_set(version, slow.clone(), "OrderedReady")
            + &daemon_set(version, slow.clone())
            + &cron_job(version)
            + &job(version, slow)
    };
    let site = Site::bound("kinds", &[("v1", all("v1")), ("v2", all("v2"))]).await;
    for version in ["v1", "v2"] {
        let mut deploy = vec!["deploy", "--version", version, "--yes"];
        if version == "v2" {
            // The template of a Job cannot be changed: it is made anew, for who says so.
            let refused = site.run(&deploy).expect(1);
            assert!(
                refused.err.contains("/import: spec.template cannot")
                    && refused.err.contains("--allow-replace Job/import"),
                "{}",
                refused.err
            );
            deploy.extend(["--allow-replace", "Job/import"]);
        }
        site.run(&deploy).expect(0);
        let store = site.get("apps/v1", "StatefulSet", "store").await.expect("is there");
        for field in ["replicas", "updatedReplicas", "availableReplicas"] {
            assert_eq!(store.int(&format!("/status/{field}")), Some(3), "{field} when the command ends");
        }
        assert_eq!(store.text("/status/currentRevision"), store.text("/status/updateRevision"));
        let agent = site.get("apps/v1", "DaemonSet", "agent").await.expect("is there");
        let nodes = agent.int("/status/desiredNumberScheduled").expect("is counted");
        assert!(nodes > 1, "{nodes}");
        for field in ["updatedNumberScheduled", "numberAvailable"] {
            assert_eq!(agent.int(&format!("/status/{field}")), Some(nodes), "{field} when the command ends");
        }
        for name in ["store", "agent"] {
            let wanted = format!("registry.example/shop/{name}:{version}");
            let images = images(&site, name).await;
            assert!(!images.is_empty() && images.iter().all(|image| *image == wanted), "{images:?}");
        }
        let nightly = site.get("batch/v1", "CronJob", "nightly").await.expect("is there");
        let image = nightly.text("/spec/jobTemplate/spec/template/spec/containers/0/image");
        assert_eq!(image, Some(&*format!("registry.example/shop/nightly:{version}")));
        let import = site.get("batch/v1", "Job", "import").await.expect("is there");
        assert_eq!(import.int("/status/succeeded"), Some(1), "it has ended when the command ends");
        assert_eq!(
            import.text("/spec/template/spec/containers/0/image"),
            Some(&*format!("registry.example/shop/import:{version}"))
        );
    }
    site.run(&["plan", "--version", "v2", "--exit-code"]).expect(0);
}

/// What cannot be changed in place is compared as the server has it: `1024Mi` is there as `1Gi`.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn amounts_that_the_server_writes_in_its_own_way_are_no_change() {
    let of = |version: &str, size: &str| {
        let claim = json!([{"metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}]);
        // No claim is bound here, and without pods nobody waits for one.
        let text = stateful_set(version, json!({}), "Parallel").replace("\"replicas\":3", "\"replicas\":0");
        let changed =
            text.replace("\"serviceName\"", &format!("\"volumeClaimTemplates\":{claim},\"serviceName\""));
        assert_ne!(text, changed);
        changed
    };
    let versions = [
        ("v1", of("v1", "1024Mi")),
        ("v2", of("v2", "1024Mi")),
        ("v3", of("v3", "2Gi")),
        ("v4", of("v4", "1073741824")),
    ];
    let site = Site::bound("amounts", &versions).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let set = async || site.get("apps/v1", "StatefulSet", "store").await.expect("is there");
    let size = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
    assert_eq!(set().await.text(size), Some("1Gi"));
    let uid = set().await.uid().map(str::to_owned);
    site.run(&["plan", "--version", "v2"]).expect(0);
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    site.run(&["rollback", "--last-good", "--yes"]).expect(0);
    assert_eq!(set().await.uid().map(str::to_owned), uid);
    // In plain bytes it is the same amount.
    site.run(&["deploy", "--version", "v4", "--yes"]).expect(0);
    assert_eq!(set().await.uid().map(str::to_owned), uid);
    for command in ["plan", "deploy"] {
        let refused = site.run(&[command, "--version", "v3"]).expect(1).err;
        assert!(refused.contains("spec.volumeClaimTemplates cannot be changed in place"), "{refused}");
    }
}

/// A version whose pods are doomed is seen at once, and everything is as it was, pods included.
async fn is_doomed(
    purpose: &str,
    of: impl Fn(&str, Value) -> String,
    how: &str,
    step: &str,
    replace: &[&str],
) -> Value {
    let site = Site::bound(purpose, &[("v1", of("v1", json!({}))), ("v2", of("v2", behaves(how)))]).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let before = site.content().await;
    let args =
        [&["deploy", "--version", "v2", "--yes", "-o", "json", "--timeout", "40s"][..], replace].concat();
    let failed = site.run(&args).expect(3);
    let event = failed.events().into_iter().find(|event| event["event"] == "step-failed").expect("failed");
    assert_eq!(event["step"], step, "{event}");
    assert_eq!(without_numbers(site.content().await), without_numbers(before), "everything is as it was");
    assert!(failed.took.as_secs() < 30, "{:?}", failed.took);
    let name = step.split('/').nth(1).expect("has a service");
    if replace.is_empty() {
        let images = images(&site, name).await;
        assert!(!images.is_empty() && images.iter().all(|image| image.ends_with(":v1")), "{images:?}");
    }
    event["failure"].clone()
}

/// Without the numbers of templates, and without the uid by which a Job finds its pods.
fn without_numbers(mut content: Vec<Value>) -> Vec<Value> {
    for one in &mut content {
        if one["kind"] == "Job" {
            one["spec"].as_object_mut().expect("is a map").remove("selector");
            one["spec"]["template"]["metadata"].as_object_mut().expect("is a map").remove("labels");
        }
        let metadata = one["metadata"].as_object_mut().expect("is a map");
        metadata.remove("annotations");
        metadata.remove("labels");
    }
    content
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_stateful_set_with_doomed_pods_is_seen_at_once_and_comes_back() {
    let parallel = |version: &str, annotations| stateful_set(version, annotations, "Parallel");
    let failure = is_doomed("doomed-set", parallel, "crash-loop", "production/store/rollout", &[]).await;
    assert_eq!(failure["cause"], "crash-loop", "{failure}");
    assert_eq!(failure["log"], json!(["listening on :8080"]), "{failure}");
}

/// In order, the controller replaces no pod before it is ready: one of a revision that nobody wants is deleted.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_doomed_pod_in_order_comes_back_and_makes_room_for_a_mended_version() {
    let of =
        |version: &str, how: &str| (version.to_owned(), stateful_set(version, behaves(how), "OrderedReady"));
    let versions = [of("v1", "ready"), of("v2", "crash-loop"), of("v3", "never-ready"), of("v4", "ready")];
    let versions: Vec<(&str, String)> = versions.iter().map(|(name, text)| (&**name, text.clone())).collect();
    let site = Site::bound("in-the-way", &versions).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let before = site.content().await;
    for (version, why) in [("v2", "crashes again and again"), ("v3", "store-2 is of another revision")] {
        let done =
            site.run(&["deploy", "--version", version, "--yes", "-o", "json", "--timeout", "15s"]).expect(3);
        let gone = |event: &Value| {
            event["event"] == "pod-deleted" && event["why"].as_str().is_some_and(|told| told.contains(why))
        };
        assert!(done.events().iter().any(gone), "{}", done.out);
        assert!(done.took.as_secs() < 40, "{:?}", done.took);
        assert_eq!(without_numbers(site.content().await), without_numbers(before.clone()));
        let images = images(&site, "store").await;
        assert!(images.len() == 3 && images.iter().all(|image| image.ends_with(":v1")), "{images:?}");
    }
    // Somebody's own change dooms a pod: another version takes its place.
    let patch =
        json!({"spec": {"template": {"metadata": {"annotations": behaves("crash-loop")}}}}).to_string();
    site.kubectl(&["patch", "statefulset", "store", "--type", "merge", "--patch", &patch]).expect(0);
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while !site.run(&["status"]).expect(0).out.contains("crashes again and again") {
        assert!(std::time::Instant::now() < until, "no pod crashes");
    }
    site.run(&["deploy", "--version", "v4", "--yes", "--force-conflicts", "--timeout", "60s"]).expect(0);
    let images = images(&site, "store").await;
    assert!(images.len() == 3 && images.iter().all(|image| image.ends_with(":v4")), "{images:?}");
}

/// The same StatefulSet whose update strategy says this.
fn updated_by(version: &str, annotations: Value, strategy: &Value) -> String {
    let text = stateful_set(version, annotations, "OrderedReady");
    let insert = format!("\"updateStrategy\":{strategy},\"serviceName\"");
    let changed = text.replace("\"serviceName\"", &insert);
    assert_ne!(text, changed);
    changed
}

/// Pods of an application that are not ready any more, by their status alone.
fn unready(site: &Site, pods: &[&str]) {
    let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}).to_string();
    for pod in pods {
        site.kubectl(&["patch", "pod", pod, "--subresource", "status", "--patch", &patch]).expect(0);
    }
}

async fn all_are(site: &Site, version: &str) -> bool {
    let images = images(site, "store").await;
    images.len() == 3 && images.iter().all(|image| image.ends_with(version))
}

/// With a type and nothing else in its update strategy, the first pods would be made anew of the version that is left.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn pods_that_would_be_made_anew_as_they_are_are_no_storm() {
    let of = |version: &str| updated_by(version, json!({}), &json!({"type": "RollingUpdate"}));
    let site = Site::bound("typed", &[("v1", of("v1")), ("v2", of("v2"))]).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let back = ["rollback", "--last-good", "--yes", "--timeout", "60s", "-o", "json"];
    let deleted = |events: &[Value]| {
        let deleted = events.iter().filter(|event| event["event"] == "pod-deleted");
        deleted.map(|event| event["pod"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    // From the last one on.
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    unready(&site, &["store-0", "store-1", "store-2"]);
    let mut gone = deleted(&site.run(&back).expect(0).events());
    let last_first: Vec<String> =
        ["store-2", "store-1", "store-0"].map(|pod| format!("Pod {}/{pod}", site.namespace)).into();
    // A controller that still counts a pod of which it has not seen the end makes it anew as it was.
    assert!(gone.chunk_by(|one, next| one == next).all(|same| same.len() <= 3), "{gone:?}");
    gone.dedup();
    assert_eq!(gone, last_first);
    assert!(all_are(&site, ":v1").await);
    // Those that serve stay; a person is told what helps, and it does.
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    unready(&site, &["store-0"]);
    let running = site.spawn(&back);
    let set = async || site.get("apps/v1", "StatefulSet", "store").await.expect("is there");
    site.until("the rollback waits for store-0", async || {
        let set = set().await;
        set.text("/spec/template/spec/containers/0/image").is_some_and(|image| image.ends_with(":v1"))
            && set.int("/status/observedGeneration") == set.generation()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(images(&site, "store").await.iter().filter(|image| image.ends_with(":v2")).count(), 3);
    let patch = r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}"#;
    site.kubectl(&["patch", "statefulset", "store", "--patch", patch]).expect(0);
    let done = finished(running.wait_with_output().expect("ends"), Duration::ZERO).expect(0);
    let told = format!("`kubectl patch statefulset store --namespace {} --patch '{patch}'`", site.namespace);
    assert!(
        done.events().iter().any(|event| event["why"].as_str().is_some_and(|why| why.starts_with(&told)))
    );
    assert!(all_are(&site, ":v1").await);
}

/// The pods before it are of the version that was whole last; one of the version that is taken back is in the way there.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_pod_before_the_partition_is_in_the_way_of_the_way_back_as_well() {
    let part = |version: &str, partition: u32, annotations: Value| {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
        updated_by(version, annotations, &strategy)
    };
    let versions = [
        ("v1", part("v1", 0, json!({}))),
        ("v2", part("v2", 1, json!({}))),
        ("v3", part("v3", 0, behaves("crash-loop"))),
    ];
    let site = Site::bound("partition", &versions).await;
    for version in ["v1", "v2"] {
        site.run(&["deploy", "--version", version, "--yes"]).expect(0);
    }
    let now = async || {
        let mut images = images(&site, "store").await;
        images.sort();
        images
    };
    let before = now().await;
    // The one before it becomes one of v3 when it is gone.
    let running = site.spawn(&["deploy", "--version", "v3", "--yes", "--timeout", "30s"]);
    site.until("v3 is written", async || {
        let set = site.get("apps/v1", "StatefulSet", "store").await.expect("is there");
        set.text("/spec/template/spec/containers/0/image").is_some_and(|image| image.ends_with(":v3"))
    })
    .await;
    site.kubectl(&["delete", "pod", "store-0", "--wait=false"]).expect(0);
    finished(running.wait_with_output().expect("ends"), Duration::ZERO).expect(3);
    site.until("all serve", async || now().await == before).await;
}

/// A person freezes it in the middle.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_rollout_that_somebody_holds_back_meanwhile_is_no_success() {
    let of = |version: &str| {
        let slow = json!({"stack.maily.dev/ready-after": "3s"});
        updated_by(version, slow, &json!({"type": "RollingUpdate"}))
    };
    let site = Site::bound("frozen", &[("v1", of("v1")), ("v2", of("v2"))]).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let running = site.spawn(&["deploy", "--version", "v2", "--yes", "--timeout", "60s", "-o", "json"]);
    site.until("the first pod is of v2", async || {
        images(&site, "store").await.iter().any(|image| image.ends_with(":v2"))
    })
    .await;
    let patch = r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":3}}}}"#;
    site.kubectl(&["patch", "statefulset", "store", "--patch", patch]).expect(0);
    let done = finished(running.wait_with_output().expect("ends"), Duration::ZERO);
    assert!(done.events().iter().any(|event| event["failure"]["cause"] == "partition"), "{}", done.out);
    // A pod that serves stays; one that does not has made room.
    let code = if all_are(&site, ":v1").await { 3 } else { 4 };
    done.expect(code);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_daemon_set_with_doomed_pods_is_seen_at_once_and_comes_back() {
    let failure =
        is_doomed("doomed-daemon", daemon_set, "image-not-found", "production/agent/rollout", &[]).await;
    assert_eq!(failure["cause"], "image-not-found", "{failure}");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_job_among_the_manifests_that_fails_takes_the_release_back() {
    let replace = ["--allow-replace", "Job/import"];
    let failure = is_doomed("doomed-job", job, "fails", "production/import/rollout", &replace).await;
    assert_eq!(failure["cause"], "job-failed", "{failure}");
}

/// Its template has nothing but what the server writes into it: what that generates is no change of anybody's.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_job_of_a_new_version_is_made_anew_for_who_says_so() {
    let once = |version: &str| {
        documents(&[json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"},
            "spec": {"template": {"spec": {"restartPolicy": "Never",
                "containers": [{"name": "main", "image": format!("registry.example/shop/once:{version}")}]}}}})])
    };
    let site = Site::bound("once", &["v1", "v2", "v3"].map(|version| (version, once(version)))).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let replace = ["--allow-replace", "Job/once"];
    site.run(&[&["deploy", "--version", "v2", "--yes"], &replace[..]].concat()).expect(0);
    site.run(&[&["plan", "--version", "v3", "--out", "plan.json"], &replace[..]].concat()).expect(0);
    site.run(&["apply", "plan.json", "--yes"]).expect(0);
    let live = site.get("batch/v1", "Job", "once").await.expect("is there");
    let image = live.text("/spec/template/spec/containers/0/image");
    assert_eq!(image, Some("registry.example/shop/once:v3"));
}

/// One of them may be all that writes to a volume.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_is_made_again_begins_after_the_last_pod_of_before_has_stopped() {
    let stops = json!({"stack.maily.dev/stops-after": "6s"});
    let both = |version: &str| {
        let mut template = template("writer", version, stops.clone(), "Always");
        template["metadata"]["labels"]["of"] = version.into();
        template["spec"]["terminationGracePeriodSeconds"] = 30.into();
        let mut imports = template.clone();
        imports["metadata"]["labels"] = json!({"app": "import"});
        imports["metadata"]["annotations"]["stack.maily.dev/ready-after"] = "500ms".into();
        imports["spec"]["restartPolicy"] = "Never".into();
        documents(&[
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "writer"},
                "spec": {"replicas": 1, "strategy": {"type": "Recreate"},
                    "selector": {"matchLabels": template["metadata"]["labels"]}, "template": template}}),
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "import"},
                "spec": {"backoffLimit": 0, "template": imports}}),
        ])
    };
    let site = Site::bound("side", &[("v1", both("v1")), ("v2", both("v2"))]).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let args = ["deploy", "--version", "v2", "--yes", "--allow-replace", "Deployment/writer"];
    let mut deploy = site.spawn(&[&args[..], &["--allow-replace", "Job/import"]].concat());
    let mut seen = BTreeSet::new();
    while deploy.try_wait().expect("can be asked").is_none() {
        let pods = site.list("v1", "Pod").await;
        for app in ["writer", "import"] {
            let of = pods.iter().filter(|pod| pod.label("app") == Some(app));
            let images: BTreeSet<&str> = of.filter_map(|pod| pod.text("/spec/containers/0/image")).collect();
            assert!(images.len() < 2, "{images:?} side by side");
            seen.extend(images.into_iter().map(str::to_owned));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let output = deploy.wait_with_output().expect("has ended");
    finished(output, Duration::ZERO).expect(0);
    assert!(seen.contains("registry.example/shop/writer:v1"), "{seen:?}");
    assert!(seen.contains("registry.example/shop/writer:v2"), "{seen:?}");
}

/// Inside of lists and maps that the API replaces as a whole, as a real server fills them up.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_a_version_leaves_out_inside_a_list_or_a_selector_is_gone_from_the_server() {
    let group = format!("g{}.example.com", std::process::id());
    let objects = |more: bool| {
        let add = |mut value: Value, key: &str, new: Value| {
            if more {
                value[key] = new;
            }
            value
        };
        let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]});
        let ingress = json!({"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]});
        documents(&[
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "rules"},
                "rules": [add(rule, "resourceNames", json!(["one"]))]}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                "spec": {"ports": [{"port": 80}], "selector": add(json!({"app": "web"}), "track", json!("b"))}}),
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("wholes.{group}")},
                "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Whole", "plural": "wholes"},
                    "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                        "type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-map-type": "atomic",
                            "additionalProperties": {"type": "string"}}}}}}]}}),
            json!({"apiVersion": format!("{group}/v1"), "kind": "Whole", "metadata": {"name": "one"},
                "spec": add(json!({"a": "1"}), "b", json!("2"))}),
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "walls"},
                "spec": {"podSelector": {"matchLabels": {"app": "web"}},
                    "ingress": [add(ingress, "ports", json!([{"port": 80}]))]}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                    "template": {"metadata": {"labels": {"app": "web", "track": "b"}}, "spec": {
                        "tolerations": [add(json!({"key": "spot", "operator": "Exists", "effect": "NoExecute"}),
                            "tolerationSeconds", json!(60))],
                        "containers": [{"name": "web", "image": "other.example/web:1",
                            "envFrom": [add(json!({"configMapRef": {"name": "c", "optional": true}}), "prefix",
                                json!("P_"))]}]}}}}),
        ])
    };
    let site = Site::bound("whole", &[("v1", objects(false)), ("v2", objects(true))]).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let first = site.content().await;
    for back in [&["rollback", "--last-good", "--yes"][..], &["deploy", "--version", "v1", "--yes"]] {
        site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
        let there = site.content().await;
        assert_ne!(there, first);
        // Nothing is left to do then, with a dry run and without.
        site.run(&["plan", "--version", "v2", "--exit-code"]).expect(0);
        assert!(site.run(&["deploy", "--version", "v2", "--yes"]).expect(0).out.contains("nothing to do"));
        site.run(back).expect(0);
        assert_eq!(site.content().await, first, "{back:?}");
        site.run(&["plan", "--version", "v1", "--exit-code"]).expect(0);
    }
    site.kubectl(&["patch", "service", "web", "--type=merge", "-p", r#"{"spec":{"selector":{"hand":"y"}}}"#])
        .expect(0);
    assert!(site.run(&["status"]).expect(0).out.contains("spec.selector"), "it is told");
    for command in [&["plan", "--version", "v2"][..], &["deploy", "--version", "v2", "--yes"]] {
        let refused = site.run(command).expect(1).err;
        assert!(refused.contains("drift: Service") && refused.contains("spec.selector"), "{refused}");
    }
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_a_strategy_leaves_behind_is_told_with_the_command_that_takes_it_away() {
    let web = |version: &str, strategy: Value| {
        documents(&[json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 1, "strategy": strategy, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                    "containers": [{"name": "web", "image": format!("registry.example/shop/web:{version}")}]}}}})])
    };
    let versions =
        [("v1", web("v1", json!({"type": "RollingUpdate"}))), ("v2", web("v2", json!({"type": "Recreate"})))];
    let site = Site::bound("strategy", &versions).await;
    // What maily has made itself it takes away itself.
    site.kubectl(&["apply", "--server-side", "-f", "manifests/v1.yaml"]).expect(0);
    let refused = site.run(&["plan", "--version", "v2"]).expect(1).err;
    let told = format!("kubectl -n {} patch deployment web --type=merge", site.namespace);
    assert!(refused.contains(&told), "{refused}");
    let patch = refused.split("-p '").nth(1).and_then(|rest| rest.split('\'').next()).expect("is told");
    site.kubectl(&["patch", "deployment", "web", "--type=merge", "-p", patch]).expect(0);
    site.run(&["deploy", "--version", "v2", "--yes", "--force-conflicts=Deployment/web"]).expect(0);
    let live = site.get("apps/v1", "Deployment", "web").await.expect("is there");
    assert_eq!(live.at("/spec/strategy"), Some(&json!({"type": "Recreate"})));
}
