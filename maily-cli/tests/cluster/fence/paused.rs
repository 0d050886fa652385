//! A holder that is paused past its lease, taken over, and goes on.

use std::time::Duration;

use serde_json::json;

use super::relay::Relay;
use crate::{
    operators::{Operators, Running, Write, run},
    site::{Site, app},
};

/// Two operators on an application of which the second version brings `gamma`, once `alpha` serves.
pub(super) async fn site(purpose: &str, fenced: bool) -> (Site, Operators) {
    let late = json!({"stack.maily.dev/ready-after": "4s"});
    let gamma = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gamma"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "gamma"}}, "template": {
            "metadata": {"labels": {"app": "gamma"}},
            "spec": {"containers": [{"name": "main", "image": "registry.example/shop/gamma:v2"}]}}}});
    let versions = [
        ("v1", app("alpha", "v1", json!({}))),
        ("v2", app("alpha", "v2", late) + &format!("---\n{gamma}\n")),
    ];
    let site = Site::bound(purpose, &versions).await;
    if fenced {
        site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    }
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let path = site.path().join("maily.yaml");
    let text = std::fs::read_to_string(&path).expect("is there");
    let (before, after) = text.split_once("\nservices:\n").expect("has services");
    let source = after.split("from: ").nth(1).and_then(|rest| rest.split([',', '}', '\n', ' ']).next());
    let gamma = format!("  gamma: {{from: {}, needs: [alpha]}}", source.expect("has a source"));
    std::fs::write(&path, format!("{before}\nservices:\n{gamma}\n{after}")).expect("can be written");
    let operators = Operators::new(&site);
    (site, operators)
}

pub(super) const DEPLOY: [&str; 4] = ["deploy", "--version", "v2", "--yes"];

/// Paused in the middle of its work, with nothing on its way: its own clock tells it that its time is over.
async fn goes_on_after_a_takeover(fenced: bool) {
    let (site, operators) = site("paused", fenced).await;
    let first = operators.kubeconfig(&site, "first", None);
    let second = operators.kubeconfig(&site, "second", None);
    let holder = Running::start(&site, &first, &DEPLOY);
    site.until("alpha is changed", async || site.image("alpha").await.ends_with(":v2")).await;
    holder.halt();
    run(&site, &second, &["resume", "--env", "production"]).expect(0);
    let after = site.content().await;
    assert!(site.image("gamma").await.ends_with(":v2"));
    holder.go_on();
    holder.end().expect(5);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (landed, _) = operators.late();
    assert!(landed.is_empty(), "{landed:?}");
    assert_eq!(site.content().await, after);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_paused_holder_writes_nothing_after_a_takeover() {
    goes_on_after_a_takeover(false).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn behind_a_fence_a_paused_holder_writes_nothing_after_a_takeover() {
    goes_on_after_a_takeover(true).await;
}

/// Paused between the last check and the send: the network still has the create of `gamma`, and hands it on when the
/// run has gone back and `gamma` has to be absent. Answers what landed, and what was refused.
async fn sends_its_create_after_a_takeover(fenced: bool) -> (Site, Vec<Write>, Vec<Write>) {
    let (site, operators) = site("late", fenced).await;
    let before = site.content().await;
    let port = operators.stack.etcd().expect("is ours").port() - 1;
    let relay = Relay::to(([127, 0, 0, 1], port).into(), "");
    let first = operators.kubeconfig(&site, "first", Some(relay.port));
    let second = operators.kubeconfig(&site, "second", None);
    let holder = Running::start(&site, &first, &DEPLOY);
    site.until("alpha is changed", async || site.image("alpha").await.ends_with(":v2")).await;
    // What belongs to the change of alpha is written down by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let written = site.segments().await;
    relay.slow(true);
    site.until("the beginning of gamma is written down", async || site.segments().await > written).await;
    // The answer to that is on its way, and the create follows it.
    relay.hold(true);
    site.until("the create is on its way", async || relay.holds()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    holder.halt();
    assert!(site.get("apps/v1", "Deployment", "gamma").await.is_none());
    run(&site, &second, &["abort", "--env", "production", "--yes", "--wait-lock", "90s"]).expect(3);
    assert_eq!(site.content().await, before);
    relay.hold(false);
    tokio::time::sleep(Duration::from_secs(3)).await;
    relay.slow(false);
    holder.go_on();
    holder.end().expect(5);
    let (landed, refused) = operators.late();
    if fenced {
        assert_eq!(site.content().await, before);
    }
    (site, landed, refused)
}

/// What remains possible without a fence, and the only thing.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn without_a_fence_one_create_lands_after_a_takeover() {
    let (site, landed, _) = sends_its_create_after_a_takeover(false).await;
    assert!(
        matches!(&landed[..], [Write { resource, name, code: 201, .. }] if resource == "deployments" && name == "gamma"),
        "{landed:?}"
    );
    assert!(site.get("apps/v1", "Deployment", "gamma").await.is_some());
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn behind_a_fence_no_create_lands_after_a_takeover() {
    let (site, landed, refused) = sends_its_create_after_a_takeover(true).await;
    assert!(landed.is_empty(), "{landed:?}");
    assert!(
        refused.iter().any(|write| write.name == "gamma" && write.code == 403),
        "it was sent, and the fence refused it: {refused:?}"
    );
    assert!(site.get("apps/v1", "Deployment", "gamma").await.is_none());
}
