//! A request that has passed every policy, and hangs in a slow admission webhook until after the takeover.

use std::time::Duration;

use super::{
    paused::{DEPLOY, site},
    webhook::Webhook,
};
use crate::operators::{Running, run};

/// The server itself ends a request of ours after 10 s; a lease runs for 15.
async fn hangs_until_after_a_takeover(fenced: bool) {
    let (site, operators) = site("hangs", fenced).await;
    let before = site.content().await;
    let first = operators.kubeconfig(&site, "first", None);
    let second = operators.kubeconfig(&site, "second", None);
    let webhook = Webhook::hold(&site, &operators.stack, "first");
    let holder = Running::start(&site, &first, &DEPLOY);
    site.until("the create of gamma hangs", async || webhook.holds()).await;
    holder.halt();
    run(&site, &second, &["abort", "--env", "production", "--yes", "--wait-lock", "90s"]).expect(3);
    assert_eq!(site.content().await, before);
    webhook.let_go();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(site.content().await, before, "what hung did not land");
    holder.go_on();
    holder.end().expect(5);
    let (landed, _) = operators.late();
    assert!(landed.is_empty(), "{landed:?}");
    assert_eq!(site.content().await, before);
    let hung = operators.writes("first");
    let hung: Vec<_> = hung.iter().filter(|write| write.name == "gamma").collect();
    assert!(hung.iter().all(|write| write.code >= 400) && !hung.is_empty(), "{hung:?}");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_hangs_in_a_webhook_does_not_land_after_a_takeover() {
    hangs_until_after_a_takeover(false).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn behind_a_fence_what_hangs_in_a_webhook_does_not_land_after_a_takeover() {
    hangs_until_after_a_takeover(true).await;
}
