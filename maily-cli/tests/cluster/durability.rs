//! Records that are damaged, missing or refused: said at once and by name, and nothing that was committed is lost.

use std::time::Instant;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maily_core::object::Object;
use serde_json::{Value, json};

use crate::site::{Done, Site, app, finished};

const DEPLOY: [&str; 4] = ["deploy", "--version", "v2", "--yes"];

fn ready_after(time: &str) -> Value {
    json!({"stack.maily.dev/ready-after": time})
}

/// `beta` comes after `alpha`; their pods of the second version may take their time.
async fn site(purpose: &str, alpha: Value, beta: Value) -> Site {
    let versions = [
        ("v1", app("alpha", "v1", json!({})) + &app("beta", "v1", json!({}))),
        ("v2", app("alpha", "v2", alpha) + &app("beta", "v2", beta)),
    ];
    let site = Site::bound(purpose, &versions).await;
    let file = std::fs::read_to_string(site.path().join("maily.yaml")).expect("is there");
    let line = "  beta: {from: shop";
    assert!(file.contains(line), "{file}");
    site.write("maily.yaml", &file.replacen(line, &format!("{line}, needs: [alpha]"), 1));
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    site
}

/// The Secrets of the newest run's segments, in order.
async fn segments(site: &Site) -> Vec<Object> {
    // Ids do not tell which of two runs of one second came later: the history does.
    let history = site.run(&["history", "-o", "json"]).expect(0).json();
    let prefix =
        format!("maily-production.run.{}.", history["runs"][0]["run"].as_str().expect("is on record"));
    let names = site.kubectl(&["get", "secrets", "-o", "name"]).expect(0).out;
    let mut names: Vec<&str> = names
        .lines()
        .filter_map(|name| name.strip_prefix("secret/"))
        .filter(|name| name.starts_with(&prefix))
        .collect();
    names.sort_unstable();
    let mut found = Vec::new();
    for name in names {
        found.push(site.get("v1", "Secret", name).await.expect("is there"));
    }
    found
}

fn key(segment: &Object) -> &str {
    segment.annotation("maily.dev/key").expect("has a key")
}

fn delete(site: &Site, segment: &Object) {
    site.kubectl(&["delete", "secret", segment.name()]).expect(0);
}

/// Writes a record again, with these bytes: the Secret of a record cannot be changed.
fn create(site: &Site, segment: &Object, bytes: &[u8]) {
    let mut body = segment.to_value();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        body["metadata"].as_object_mut().expect("is a map").remove(field);
    }
    body["data"]["record"] = json!(STANDARD.encode(bytes));
    site.write("record.json", &body.to_string());
    site.kubectl(&["create", "-f", "record.json"]).expect(0);
}

fn bytes(segment: &Object) -> Vec<u8> {
    STANDARD.decode(segment.text("/data/record").expect("holds a record")).expect("is base64")
}

/// Everything that would go on from these records says what is wrong with them.
#[track_caller]
fn refused(site: &Site, said: &[&str]) {
    for command in [&DEPLOY[..], &["resume"], &["abort"], &["status"]] {
        let done = site.run(command).expect(1);
        for said in said {
            assert!(done.err.contains(said), "{command:?}: `{said}` in {}", done.err);
        }
    }
    // The other runs are shown all the same.
    let history = site.run(&["history", "-o", "json"]).expect(0).json();
    let runs = history["runs"].as_array().expect("is a list");
    let damaged = runs.iter().filter(|run| run["damaged"].is_string()).count();
    assert_eq!((runs.len(), damaged), (2, 1), "{history}");
}

/// All that is there: of records, which this test makes anew, their names alone.
async fn apart_from_records(site: &Site) -> Vec<Value> {
    let traces = site.traces().await.into_iter();
    let plain =
        |trace: Value| if trace["kind"] == "Secret" { trace["metadata"]["name"].clone() } else { trace };
    traces.map(plain).collect()
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_segment_that_is_cut_or_missing_is_named_and_nothing_is_touched() {
    let site = site("damaged", json!({}), ready_after("8s")).await;
    let mut child = site.spawn(&DEPLOY);
    site.until("beta is changed", async || site.image("beta").await.ends_with(":v2")).await;
    child.kill().expect("is killed");
    child.wait().expect("is gone");
    let segments = segments(&site).await;
    assert!(segments.len() >= 2, "{} segments", segments.len());
    let before = apart_from_records(&site).await;

    let last = segments.last().expect("there are some");
    let whole = bytes(last);
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        delete(&site, last);
        create(&site, last, &whole[..length]);
        refused(&site, &[&format!("record `{}`", key(last)), "is damaged"]);
    }
    delete(&site, last);
    create(&site, last, &whole);

    let first = &segments[0];
    delete(&site, first);
    refused(&site, &[&format!("record `{}`", key(first)), "it is missing", "segment 1 is there", "backup"]);
    create(&site, first, &bytes(first));

    assert_eq!(apart_from_records(&site).await, before, "nobody has touched anything");
    site.run(&["resume", "--env", "production"]).expect(0);
    assert!(site.image("alpha").await.ends_with(":v2") && site.image("beta").await.ends_with(":v2"));
}

fn quota(site: &Site, secrets: &str) {
    let spec = json!({"spec": {"hard": {"secrets": secrets}}});
    site.kubectl(&["patch", "quota", "full", "--type", "merge", "-p", &spec.to_string()]).expect(0);
}

async fn counted(site: &Site, hard: &str) {
    site.until("the quota is counted", async || {
        let quota = site.get("v1", "ResourceQuota", "full").await.expect("is there");
        quota.text("/status/hard/secrets") == Some(hard) && quota.text("/status/used/secrets").is_some()
    })
    .await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_quota_on_secrets_stops_a_run_before_its_next_effect() {
    let site = site("no-room", ready_after("15s"), json!({})).await;
    let start = Instant::now();
    let child = site.spawn(&DEPLOY);
    site.until("alpha is changed", async || site.image("alpha").await.ends_with(":v2")).await;
    // There are more already: none may be made.
    site.kubectl(&["create", "quota", "full", "--hard=secrets=1"]).expect(0);
    counted(&site, "1").await;
    let stopped = finished(child.wait_with_output().expect("ends"), start.elapsed()).expect(130);
    let told = |done: &Done, said: &str| assert!(done.err.contains(said), "`{said}` in {}", done.err);
    for said in ["maily-production.run.", "exceeded quota: full", "raise the quota", "mailyctl resume"] {
        told(&stopped, said);
    }
    assert!(site.image("beta").await.ends_with(":v1"), "what could not be announced was not done");
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    assert!(status["run"].is_string(), "{status}");

    // Without room nobody can take it over either, and it stays as it is.
    let again = site.run(&["resume", "--env", "production"]);
    assert!(matches!(again.code, 1 | 130), "{again:?}");
    told(&again, "exceeded quota: full");
    assert!(site.image("beta").await.ends_with(":v1"));

    quota(&site, "500");
    counted(&site, "500").await;
    site.run(&["resume", "--env", "production"]).expect(0);
    assert!(site.image("alpha").await.ends_with(":v2") && site.image("beta").await.ends_with(":v2"));
    site.run(&["plan", "--version", "v2", "--exit-code"]).expect(0);
}
