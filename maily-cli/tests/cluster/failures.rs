//! Versions that do not come up: seen at once, named, and taken back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::site::{Done, Site, app, behaves};

fn version(bad: Value) -> Vec<(&'static str, String)> {
    let good = |version: &str| app("alpha", version, json!({})) + &app("beta", version, json!({}));
    vec![("v1", good("v1")), ("v2", app("alpha", "v2", json!({})) + &app("beta", "v2", bad))]
}

async fn fails(behaviour: &str, extra: &[&str]) -> (Site, Done, Vec<Value>) {
    let site = Site::bound("fails", &version(behaves(behaviour))).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let before = site.content().await;
    let mut args = vec!["deploy", "--version", "v2", "--yes", "-o", "json"];
    args.extend(extra);
    let done = site.run(&args).expect(3);
    assert_eq!(site.content().await, before, "everything is as it was");
    let events = done.events();
    (site, done, events)
}

fn failure(events: &[Value]) -> &Value {
    events.iter().find(|event| event["event"] == "step-failed").expect("a step failed")
}

async fn is_seen_at_once(behaviour: &str, cause: &str) -> Value {
    let (_site, done, events) = fails(behaviour, &[]).await;
    let failed = failure(&events);
    assert_eq!(failed["failure"]["cause"], cause, "{failed}");
    assert_eq!(failed["step"], "production/beta/rollout");
    let at: jiff::Timestamp = failed["at"].as_str().expect("is text").parse().expect("is a time");
    let evidence = failed["failure"]["evidence_at"].as_str().expect("the evidence has its time");
    let evidence: jiff::Timestamp = evidence.parse().expect("is a time");
    let late = at.duration_since(evidence);
    assert!(
        late < jiff::SignedDuration::from_secs(5),
        "the verdict came {late} after its evidence, which has whole seconds: it is up to one too much"
    );
    let end = events.last().expect("ends");
    assert_eq!((&end["event"], &end["outcome"]["result"]), (&json!("run-finished"), &json!("rolled-back")));
    assert!(done.took < Duration::from_secs(30), "{:?}", done.took);
    failed.clone()
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_crash_loop_is_seen_at_once() {
    let failed = is_seen_at_once("crash-loop", "crash-loop").await;
    // What the container said last travels with the failure.
    assert_eq!(failed["failure"]["log"], json!(["listening on :8080"]), "{failed}");
    assert!(told(&failed, "BackOff: Back-off starting container"), "{failed}");
}

/// Whether an Event that begins so travels with the failure.
fn told(failed: &Value, event: &str) -> bool {
    let events = failed["failure"]["events"].as_array().expect("has events");
    events.iter().any(|told| told.as_str().expect("is text").starts_with(event))
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_missing_image_is_seen_at_once() {
    let failed = is_seen_at_once("image-not-found", "image-not-found").await;
    assert!(told(&failed, "BackOff: Back-off starting container"), "{failed}");
}

/// No pod is there that could tell: the Events of the ReplicaSet do.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_quota_that_is_used_up_is_told_by_the_events() {
    let site = Site::bound("quota", &version(json!({}))).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    site.kubectl(&["create", "quota", "full", "--hard=pods=4"]).expect(0);
    site.until("the quota is counted", async || {
        let quota = site.get("v1", "ResourceQuota", "full").await;
        quota.is_some_and(|quota| quota.text("/status/used/pods") == Some("4"))
    })
    .await;
    let done = site.run(&["deploy", "--version", "v2", "--yes", "-o", "json"]).expect(3);
    let events = done.events();
    let failed = failure(&events);
    assert_eq!(failed["failure"]["cause"], "pods-refused", "{failed}");
    assert!(told(failed, "FailedCreate: ") && failed.to_string().contains("exceeded quota"), "{failed}");
    let run = events[0]["run"].as_str().expect("is text");
    let shown = site.run(&["show", "run", run]).expect(0);
    assert!(shown.out.contains("its last events") && shown.out.contains("FailedCreate"), "{}", shown.out);
}

/// Of four pods one may go first: then the quota has room for the next.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_full_quota_in_which_old_pods_make_room_for_new_ones_fails_nothing() {
    let four = |version: &str| {
        let quota = r#"{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"full"},"spec":{"hard":{"pods":"4"}}}"#;
        app("alpha", version, json!({})).replace(r#""replicas":2"#, r#""replicas":4"#)
            + "---\n"
            + quota
            + "\n"
    };
    let site = Site::bound("roomy", &[("v1", four("v1")), ("v2", four("v2"))]).await;
    // Until the quota is counted for the first time, every pod is refused.
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    // Its controller tries again later and later, and at once where its ReplicaSet is touched.
    let over = std::sync::atomic::AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            for touched in 0.. {
                std::thread::sleep(Duration::from_secs(20));
                if over.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                site.kubectl(&[
                    "annotate",
                    "replicasets",
                    "--all",
                    "--overwrite",
                    &format!("touched={touched}"),
                ]);
            }
        });
        let done = site.run(&["deploy", "--version", "v2", "--yes", "-o", "json"]);
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        done
    })
    .expect(0);
    let refused = |event: &Value| event.to_string().contains("exceeded quota");
    assert!(done.events().iter().any(refused), "it was full, and that is told: {}", done.out);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_missing_secret_is_seen_at_once() {
    is_seen_at_once("config-error", "config-error").await;
}

/// Pods that read what nobody has made: the plan says so, and whoever goes on all the same learns it at once.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_secret_that_is_absent_is_noted_in_the_plan_and_fails_the_release_at_once() {
    let reads = |version: &str, secret: &str, pods: Value| {
        let from = format!(r#"{{"secretRef":{{"name":"{secret}"}}}},{{"configMapRef":"#);
        app("alpha", version, pods).replace(r#"{"configMapRef":"#, &from)
    };
    let versions =
        [("v1", reads("v1", "present", json!({}))), ("v2", reads("v2", "absent", behaves("config-error")))];
    let site = Site::bound("absent", &versions).await;
    site.kubectl(&["create", "secret", "generic", "present", "--from-literal=a=b"]).expect(0);
    let plan = site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    assert!(!format!("{}{}", plan.out, plan.err).contains("neither the cluster nor this plan has"));
    let before = site.content().await;
    let plan = site.run(&["plan", "--version", "v2"]).expect(0).out;
    let place = "Deployment/alpha reads Secret `absent` (containers[main].envFrom[0].secretRef)";
    let note = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(note.contains(place) && note.contains("pods do not start until it is there"), "{plan}");
    let done = site.run(&["deploy", "--version", "v2", "--yes", "-o", "json"]).expect(3);
    let events = done.events();
    let failed = failure(&events);
    assert_eq!(failed["failure"]["cause"], "config-error", "{failed}");
    assert!(failed.to_string().contains(r#"secret \"absent\" not found"#), "{failed}");
    assert_eq!(site.content().await, before, "everything is as it was");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_pod_that_never_is_ready_fails_at_its_deadline() {
    let (_site, done, events) = fails("never-ready", &["--timeout", "5s"]).await;
    let failure = &failure(&events)["failure"];
    assert_eq!(failure["cause"], "deadline");
    assert!(failure["evidence_at"].is_string(), "the pod says since when it is not ready: {failure}");
    assert!(done.took > Duration::from_secs(5) && done.took < Duration::from_secs(20), "{:?}", done.took);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_first_release_that_fails_leaves_nothing() {
    let site = Site::bound("first", &[("v1", app("alpha", "v1", behaves("crash-loop")))]).await;
    let done = site.run(&["deploy", "--version", "v1", "--yes"]).expect(3);
    assert!(done.err.contains("crashes again and again"), "{}", done.err);
    assert_eq!(site.content().await, Vec::<Value>::new());
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    assert_eq!((&status["release"], &status["run"]), (&Value::Null, &Value::Null));
}
