//! Installing a fence, repairing it, and taking it down.

use serde_json::json;

use crate::{
    operators::{Operators, Running, run},
    site::{Site, app},
};

async fn site(purpose: &str) -> Site {
    let late = json!({"stack.maily.dev/ready-after": "5s"});
    // Longer than a holder may take to find out about a fence.
    let slow = json!({"stack.maily.dev/ready-after": "30s"});
    let versions = [
        ("v1", app("alpha", "v1", json!({}))),
        ("v2", app("alpha", "v2", late)),
        ("v3", app("alpha", "v3", json!({}))),
        ("v4", app("alpha", "v4", slow)),
    ];
    Site::bound(purpose, &versions).await
}

fn project(site: &Site) -> String {
    std::fs::read_to_string(site.path().join("maily.yaml")).expect("is there")
}

fn fence(site: &Site) -> serde_json::Value {
    site.run(&["status", "-o", "json"]).expect(0).json()["fence"].clone()
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_fence_is_installed_raised_by_every_run_and_taken_down() {
    let site = site("fence").await;
    assert_eq!(fence(&site), json!({"state": "not-installed"}));
    let done = site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    assert!(done.err.contains("refuses what is older than epoch 1"), "{}", done.err);
    assert!(project(&site).contains("fence: installed"), "{}", project(&site));
    assert_eq!(fence(&site), json!({"state": "installed", "epoch": 1}));
    // The plan of a person, with its dry runs, is judged by nobody.
    site.run(&["plan", "--env", "production", "--version", "v1"]).expect(0);
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    assert_eq!(fence(&site), json!({"state": "installed", "epoch": 2}));
    site.run(&["deploy", "--version", "v3", "--dry-run"]).expect(0);
    site.run(&["deploy", "--version", "v3", "--yes"]).expect(0);
    assert_eq!(fence(&site)["epoch"], 3);
    // Without changes nothing is claimed or raised.
    site.run(&["deploy", "--version", "v3", "--yes"]).expect(0);
    assert_eq!(fence(&site)["epoch"], 3);
    let doctor = site.run(&["doctor"]).expect(0);
    assert!(doctor.out.contains("refuses what is older than epoch 3"), "{}", doctor.out);
    // A copied stamp, and what kubectl brings back, lock nothing.
    site.kubectl(&["annotate", "deployment/alpha", "maily.dev/epoch=41", "--overwrite"]).expect(0);
    site.run(&["rollback", "--env", "production", "--to-version", "v1", "--yes"]).expect(0);
    assert_eq!(fence(&site)["epoch"], 42);
    site.kubectl(&["rollout", "undo", "deployment/alpha"]).expect(0);
    site.run(&["deploy", "--version", "v3", "--yes"]).expect(0);
    assert_eq!(fence(&site)["epoch"], 43);
    site.run(&["env", "bind", "production", "--remove-fence"]).expect(0);
    assert!(project(&site).contains("fence: none"), "{}", project(&site));
    assert_eq!(fence(&site), json!({"state": "not-installed"}));
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_fence_that_is_open_stops_runs_until_it_is_repaired() {
    let site = site("open").await;
    site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let before = site.content().await;
    site.kubectl(&["delete", "configmap", "maily-fence-production"]).expect(0);
    assert_eq!(fence(&site), json!({"state": "open"}));
    let refused = site.run(&["deploy", "--version", "v3", "--yes"]).expect(4);
    assert!(refused.err.contains("is open") && refused.err.contains("--install-fence"), "{}", refused.err);
    let doctor = site.run(&["doctor"]).expect(1);
    assert!(doctor.out.contains("fence open"), "{}", doctor.out);
    assert_eq!(site.content().await, before);
    site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    site.run(&["deploy", "--version", "v3", "--yes"]).expect(0);
    // A binding that is gone does not refuse, which every new holder finds out.
    let binding = format!("maily-fence.{}.production", site.namespace);
    site.kubectl(&["delete", "validatingadmissionpolicybinding", &binding]).expect(0);
    assert_eq!(fence(&site)["state"], "gone");
    // The server goes by its cache for a moment: as long as it refuses, the fence holds.
    let old = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "old",
        "labels": {"maily.dev/environment": "production", "maily.dev/namespace": site.namespace},
        "annotations": {"maily.dev/epoch": "0"},
    }});
    site.write("old.json", &old.to_string());
    let apply = ["apply", "--server-side", "--field-manager=maily", "--dry-run=server", "-f", "old.json"];
    site.until("the server has forgotten the binding", async || site.kubectl(&apply).code == 0).await;
    let before = site.content().await;
    let refused = site.run(&["deploy", "--version", "v1", "--yes"]).expect(4);
    assert!(
        refused.err.contains("does not refuse") && refused.err.contains("--remove-fence"),
        "{}",
        refused.err
    );
    assert_eq!(site.content().await, before);
    site.run(&["env", "bind", "production", "--remove-fence"]).expect(0);
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_holder_stops_when_its_fence_is_gone() {
    let site = site("gone").await;
    site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let holder =
        Running::start(&site, &site.kubeconfig().to_owned(), &["deploy", "--version", "v2", "--yes"]);
    site.until("alpha is changed", async || site.image("alpha").await.ends_with(":v2")).await;
    site.kubectl(&["delete", "configmap", "maily-fence-production"]).expect(0);
    let stopped = holder.end().expect(4);
    assert!(stopped.err.contains("is open"), "{}", stopped.err);
    let refused = site.run(&["resume", "--env", "production"]).expect(4);
    assert!(refused.err.contains("--install-fence"), "{}", refused.err);
    site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    // The lease was given back.
    let resumed = site.run(&["resume", "--env", "production"]).expect(0);
    assert!(resumed.took.as_secs() < 14, "{:?}", resumed.took);
    assert_eq!(fence(&site)["state"], "installed");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_holder_stops_when_the_binding_of_its_fence_is_gone() {
    let site = site("unbound").await;
    site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let holder =
        Running::start(&site, &site.kubeconfig().to_owned(), &["deploy", "--version", "v4", "--yes"]);
    site.until("alpha is changed", async || site.image("alpha").await.ends_with(":v4")).await;
    let binding = format!("maily-fence.{}.production", site.namespace);
    site.kubectl(&["delete", "validatingadmissionpolicybinding", &binding]).expect(0);
    let stopped = holder.end();
    assert!(stopped.err.contains("does not refuse") && stopped.err.contains("130887"), "{}", stopped.err);
    let stopped = stopped.expect(4);
    assert!(stopped.took.as_secs() < 25, "{:?}", stopped.took);
    // The anchor kept the server reading parameters.
    site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    site.run(&["resume", "--env", "production"]).expect(0);
    assert_eq!(fence(&site)["state"], "installed");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_fence_that_was_taken_down_can_be_installed_again() {
    let site = site("again").await;
    for _ in 0..2 {
        site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
        site.run(&["env", "bind", "production", "--remove-fence"]).expect(0);
        // As long as the server needs to end what nobody uses.
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        site.kubectl(&["get", "validatingadmissionpolicybinding", "maily-fence.anchor"]).expect(0);
    }
    site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
}

/// It is the same cluster, in which the fence stands.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn another_authority_leaves_the_fence_as_it_is() {
    let site = site("authority").await;
    site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    let bound = project(&site);
    let at = bound.find("sha256:").expect("names its authority") + "sha256:".len();
    let authority = &bound[at..at + 64];
    let other = "0".repeat(64);
    site.write("maily.yaml", &bound.replace(authority, &other));
    let refused = site.run(&["env", "bind", "production"]).expect(1).err;
    assert!(refused.contains(&other) && refused.contains(authority), "{refused}");
    let done = site.run(&["env", "bind", "production", "--rebind"]).expect(0);
    assert!(!done.err.contains("former binding"), "{}", done.err);
    assert_eq!(project(&site), bound);
    site.run(&["env", "bind", "production", "--remove-fence"]).expect(0);
}

/// Who may not install policies goes on without the fence, and hands the manifest to somebody who may.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn who_may_not_install_a_fence_gets_its_manifest() {
    let site = site("manifest").await;
    let operators = Operators::new(&site);
    let first = operators.kubeconfig(&site, "first", None);
    let done = run(&site, &first, &["env", "bind", "production", "--install-fence"]).expect(0);
    assert!(done.err.contains("is not installed") && done.err.contains("once more"), "{}", done.err);
    assert!(!project(&site).contains("fence: installed"), "{}", project(&site));
    run(&site, &first, &["deploy", "--version", "v1", "--yes"]).expect(0);
    site.write("fence.yaml", &done.out);
    site.kubectl(&["apply", "-f", "fence.yaml"]).expect(0);
    let done = run(&site, &first, &["env", "bind", "production", "--install-fence"]).expect(0);
    assert_eq!(done.out, "");
    assert!(project(&site).contains("fence: installed"), "{}", project(&site));
    run(&site, &first, &["deploy", "--version", "v3", "--yes"]).expect(0);
    let status = run(&site, &first, &["status", "-o", "json"]).expect(0).json();
    assert_eq!(status["fence"]["state"], "unseen");
    let doctor = run(&site, &first, &["doctor"]);
    assert!(doctor.out.contains("refuses what is older than"), "{}", doctor.out);
}

/// What a fence costs: of the requests of a run at most six are about it.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_fence_costs_a_run_two_writes() {
    let site = site("cost").await;
    let operators = Operators::new(&site);
    let first = operators.kubeconfig(&site, "first", None);
    site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    run(&site, &first, &["deploy", "--version", "v1", "--yes"]).expect(0);
    let parameter = |event: &&serde_json::Value| {
        event["objectRef"]["name"] == "maily-fence-production"
            && event["objectRef"]["namespace"] == site.namespace.as_str()
            && event["user"]["username"].as_str().is_some_and(|name| name.ends_with(":first"))
    };
    let events = operators.stack.audit().expect("is written");
    let events: Vec<&serde_json::Value> = events.iter().filter(parameter).collect();
    let codes: Vec<_> = events.iter().map(|event| event["responseStatus"]["code"].clone()).collect();
    // Raised, and proven by one dry run that was refused.
    assert_eq!(codes, [200, 403], "{events:?}");
}
