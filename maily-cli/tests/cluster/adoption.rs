//! What kubectl had deployed before maily came.

use serde_json::json;

use crate::site::{Site, app};

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
