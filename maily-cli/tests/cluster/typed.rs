//! Workloads that the file describes itself, on real controllers.

use serde_json::json;

use crate::site::Site;

async fn site(purpose: &str) -> Site {
    let site = Site::new(purpose).await;
    site.write("maily.yaml", &file("one"));
    site.bind();
    site
}

fn file(content: &str) -> String {
    format!(
        "maily: 1
project: shop
images: registry.example/shop/{{service}}:{{version}}
environments: {{}}
services:
  api:
    workload: {{port: 8080, scale: 2, config: {{limits.yaml: '{content}'}}}}
"
    )
}

impl Site {
    /// The file again, with other content and the binding that it has.
    fn rewrite(&self, content: &str) {
        let now = std::fs::read_to_string(self.path().join("maily.yaml")).expect("can be read");
        let at = now.find("limits.yaml: '").expect("is there") + "limits.yaml: '".len();
        let end = at + now[at..].find('\'').expect("is closed");
        self.write("maily.yaml", &format!("{}{content}{}", &now[..at], &now[end..]));
    }

    async fn template(&self) -> serde_json::Value {
        let api = self.get("apps/v1", "Deployment", "api").await.expect("is there");
        api.at("/spec/template").expect("has one").clone()
    }
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn t16_every_change_of_the_configuration_restarts_and_no_change_does_not() {
    let site = site("restarts").await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let first = site.template().await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    assert_eq!(site.template().await, first, "nothing has changed, nothing restarts");
    // By content: two changes in one second, and one back, are three restarts; the time plays no part.
    for (content, same) in [("two", false), ("three", false), ("one", true)] {
        site.rewrite(content);
        let before = site.template().await;
        site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
        let after = site.template().await;
        assert_ne!(after, before, "the pods of `{content}` are new");
        assert_eq!(after == first, same, "{after}");
    }
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn t18_pods_go_on_serving_while_they_are_taken_out_of_the_balance() {
    let site = site("drains").await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let template = site.template().await;
    let seconds = |pointer: &str| template.pointer(pointer).and_then(serde_json::Value::as_u64);
    let pre_stop =
        seconds("/spec/containers/0/lifecycle/preStop/sleep/seconds").expect("waits before it stops");
    let grace = seconds("/spec/terminationGracePeriodSeconds").expect("has a time to stop");
    assert!(pre_stop >= 5, "an endpoint is gone everywhere after some seconds");
    assert!(grace > pre_stop, "time is left after the wait: {grace} s");
    let strategy = site.get("apps/v1", "Deployment", "api").await.expect("is there");
    assert_eq!(strategy.at("/spec/strategy/rollingUpdate/maxUnavailable"), Some(&json!(0)));
}
