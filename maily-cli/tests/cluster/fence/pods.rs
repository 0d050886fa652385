//! The deletion of a pod in the way of its StatefulSet: no fence judges it.

use std::time::Duration;

use serde_json::json;

use super::relay::Relay;
use crate::{
    kinds::stateful_set,
    operators::{Operators, Running, Write, run},
    site::{Site, behaves},
};

/// Paused between the last check and the send: the network still has the deletion of `store-2`, and hands it on when
/// the run has gone back to a revision of which that pod is, as somebody had it before, and has not moved.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn the_deletion_of_a_pod_in_the_way_does_not_land_after_a_takeover() {
    let version = |version: &str| stateful_set(version, json!({}), "OrderedReady");
    let site = Site::bound("late-pod", &[("v1", version("v1")), ("v2", version("v2"))]).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let pod = async || site.get("v1", "Pod", "store-2").await;
    let of_before = pod().await;
    let patch = json!({"spec": {"template": {"metadata": {"annotations": behaves("never-ready")}}}});
    site.kubectl(&["patch", "statefulset", "store", "--type", "merge", "--patch", &patch.to_string()])
        .expect(0);
    site.until("its last pod is another one, and not ready", async || {
        let pod = pod().await.filter(|pod| pod.uid() != of_before.as_ref().and_then(|pod| pod.uid()));
        let status = pod.and_then(|pod| pod.items("/status/containerStatuses").first().cloned());
        status.is_some_and(|status| status["ready"] == false)
    })
    .await;

    let operators = Operators::new(&site);
    let before = site.content().await;
    let port = operators.stack.etcd().expect("is ours").port() - 1;
    let relay = Relay::to(([127, 0, 0, 1], port).into(), "");
    let first = operators.kubeconfig(&site, "first", Some(relay.port));
    let second = operators.kubeconfig(&site, "second", None);
    let holder = Running::start(&site, &first, &["deploy", "--version", "v2", "--yes", "--force-conflicts"]);
    site.until("v2 is written", async || {
        let set = site.get("apps/v1", "StatefulSet", "store").await;
        let image = set.as_ref().and_then(|set| set.text("/spec/template/spec/containers/0/image"));
        image.is_some_and(|image| image.ends_with(":v2"))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    relay.hold(true);
    let doomed = json!({"status": {"containerStatuses": [{"name": "main", "image": "main", "imageID": "",
        "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "InvalidImageName", "message": "no name"}}}]}});
    let doomed = doomed.to_string();
    site.kubectl(&[
        "patch",
        "pod",
        "store-2",
        "--subresource",
        "status",
        "--type",
        "merge",
        "--patch",
        &doomed,
    ])
    .expect(0);
    let in_the_way = pod().await.expect("is there");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(relay.holds());
    holder.halt();
    run(&site, &second, &["abort", "--env", "production", "--yes", "--wait-lock", "90s"]).expect(3);
    assert_eq!(site.content().await, before);
    let uid = async || pod().await.and_then(|pod| pod.uid().map(str::to_owned));
    assert_eq!(uid().await.as_deref(), in_the_way.uid(), "the run before had no other");

    relay.hold(false);
    tokio::time::sleep(Duration::from_secs(3)).await;
    holder.go_on();
    holder.end().expect(5);
    let (landed, refused) = operators.late();
    assert!(landed.is_empty(), "{landed:?}");
    let sent = |write: &Write| write.name == "store-2" && write.code == 409;
    assert!(refused.iter().any(sent), "it was sent, and refused: {refused:?}");
    assert_eq!(uid().await.as_deref(), in_the_way.uid());
}
