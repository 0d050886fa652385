//! Runs during which the servers themselves end and come again. They are the only tests of their program: what they
//! kill, others would miss.

#![allow(clippy::disallowed_methods, reason = "tests of processes live by the machine's clock and variables")]

#[path = "../cluster/site.rs"]
#[allow(dead_code, reason = "it is shared with tests that need more of it")]
mod site;

use std::{
    process::Child,
    time::{Duration, Instant},
};

use maily_testkit::harness::Stack;
use serde_json::json;
use tokio::sync::Mutex;

use site::{Done, Site, app, finished};

/// One outage at a time.
static ONE: Mutex<()> = Mutex::const_new(());

async fn slow(purpose: &str) -> Site {
    let late = json!({"stack.maily.dev/ready-after": "6s"});
    let versions = [
        ("v1", app("alpha", "v1", json!({})) + &app("beta", "v1", json!({}))),
        ("v2", app("alpha", "v2", json!({})) + &app("beta", "v2", late)),
    ];
    let site = Site::bound(purpose, &versions).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    site
}

async fn begun(site: &Site) -> Child {
    let child = site.spawn(&["deploy", "--version", "v2", "--yes", "-o", "json"]);
    site.until("the run has changed something", async || site.image("beta").await.ends_with(":v2")).await;
    child
}

fn end(child: Child) -> Done {
    let start = Instant::now();
    finished(child.wait_with_output().expect("ends"), start.elapsed())
}

async fn survives(part: &str, away: Duration) {
    let _one = ONE.lock().await;
    let stack = Stack::from_env().expect("the test stack runs");
    let site = slow("outage").await;
    let child = begun(&site).await;
    stack.kill(part).expect("is killed");
    tokio::time::sleep(away).await;
    stack.start(part).expect("comes again");
    end(child).expect(0);
    site.until("the server answers", async || site.cluster.describe().await.is_ok()).await;
    assert!(site.image("alpha").await.ends_with(":v2") && site.image("beta").await.ends_with(":v2"));
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(
        (&status["run"], &status["services"][1]["state"]),
        (&json!(null), &json!("serving")),
        "{status}"
    );
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn t11_a_run_goes_on_when_the_api_server_is_killed_and_comes_again() {
    survives("apiserver", Duration::from_secs(2)).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_run_goes_on_when_etcd_is_killed_and_comes_again() {
    survives("etcd", Duration::from_secs(2)).await;
}

/// Longer than a holder may write without renewing: it waits, and goes on when its lease was taken by nobody.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_run_that_could_not_renew_its_lease_goes_on_when_nobody_took_it() {
    survives("apiserver", Duration::from_secs(14)).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn followed_logs_go_on_when_the_api_server_comes_again() {
    let _one = ONE.lock().await;
    let stack = Stack::from_env().expect("the test stack runs");
    let versions = ["v1", "v2"].map(|version| (version, app("alpha", version, json!({}))));
    let site = Site::bound("follow", &versions).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let mut child = site.spawn(&["logs", "alpha", "-f"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    stack.kill("apiserver").expect("is killed");
    tokio::time::sleep(Duration::from_secs(1)).await;
    stack.start("apiserver").expect("comes again");
    site.until("the server answers", async || site.cluster.describe().await.is_ok()).await;
    // New pods: what follows meets them, too.
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let ended = child.try_wait().expect("is ours");
    child.kill().expect("is ours");
    let done = end(child);
    assert!(ended.is_none(), "{done:?}");
    let pods: std::collections::BTreeSet<&str> =
        done.out.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(pods.len(), 4, "two pods of each version: {}", done.out);
}
