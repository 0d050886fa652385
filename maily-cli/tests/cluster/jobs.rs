//! Jobs that a release runs around its services, by a real Job controller.

use maily_core::object::Object;
use serde_json::{Value, json};

use crate::site::{Done, Site, app, behaves, documents};

/// `api` between two Jobs, and `web` after all of it.
async fn around(purpose: &str, undo: &str) -> Site {
    let site = Site::new(purpose).await;
    let file = format!(
        "maily: 1
project: shop
images: registry.example/shop/{{service}}:{{version}}
environments: {{}}
services:
  api: {{workload: {{port: 8080, scale: 1}}}}
  migrate: {{before: api, image: 'registry.example/shop/api:{{version}}', job: {{command: [migrate, up]{undo}}}}}
  warm: {{after: api, image: 'registry.example/shop/api:{{version}}', job: {{command: [warm], undo: [cool]}}}}
  web: {{needs: [api], manifests: 'web-{{version}}.yaml'}}
"
    );
    site.write("maily.yaml", &file);
    site.write("web-v1.yaml", &app("web", "v1", json!({})));
    site.bind();
    site
}

/// Name without the run, command, and what ended well, of every Job, by name.
async fn jobs(site: &Site, run: &str) -> Vec<(String, Value, i64)> {
    let jobs = site.list("batch/v1", "Job").await;
    let ours = jobs.iter().filter(|job| job.name().contains(run));
    let seen = |job: &Object| {
        let container = "/spec/template/spec/containers/0";
        let command = job.at(&format!("{container}/command")).cloned().unwrap_or_default();
        (job.name().replace(run, "RUN"), command, job.int("/status/succeeded").unwrap_or_default())
    };
    ours.map(seen).collect()
}

fn run_of(done: &Done) -> String {
    done.events()[0]["run"].as_str().expect("is text").to_owned()
}

async fn without_jobs(site: &Site) -> Vec<Value> {
    let mut content = site.content().await;
    content.retain(|object| object["kind"] != "Job");
    content
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn jobs_run_once_in_a_run_and_are_taken_back_in_reverse() {
    let site = around("jobs", ", undo: [migrate, down]").await;
    let plan = site.run(&["plan", "--version", "v1"]).expect(0).out;
    assert!(plan.contains("▸ run Job migrate\n") && plan.contains("▸ run Job warm\n"), "{plan}");
    let first = site.run(&["deploy", "--version", "v1", "--yes", "-o", "json"]).expect(0);
    let order = ["api/job/migrate", "api/rollout", "api/job/warm", "web/rollout"]
        .map(|step| format!("production/{step}"));
    assert_eq!(first.steps("step-applied"), order);
    let done = [
        ("migrate-RUN".to_owned(), json!(["migrate", "up"]), 1),
        ("warm-RUN".to_owned(), json!(["warm"]), 1),
    ];
    assert_eq!(jobs(&site, &run_of(&first)).await, done);
    for job in site.list("batch/v1", "Job").await {
        assert_eq!(
            (job.int("/spec/backoffLimit"), job.int("/spec/ttlSecondsAfterFinished")),
            (Some(0), Some(86_400))
        );
    }
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    assert_eq!(site.list("batch/v1", "Job").await.len(), 2, "nothing changes, nothing runs");

    let before = without_jobs(&site).await;
    site.write("web-v2.yaml", &app("web", "v2", behaves("crash-loop")));
    let failed = site.run(&["deploy", "--version", "v2", "--yes", "-o", "json"]).expect(3);
    assert_eq!(failed.steps("step-failed"), ["production/web/rollout"]);
    let back: Vec<String> = order.iter().rev().cloned().collect();
    assert_eq!(failed.steps("undone"), back);
    let undone = [
        ("migrate-RUN".to_owned(), json!(["migrate", "up"]), 1),
        ("migrate-RUN-undo".to_owned(), json!(["migrate", "down"]), 1),
        ("warm-RUN".to_owned(), json!(["warm"]), 1),
        ("warm-RUN-undo".to_owned(), json!(["cool"]), 1),
    ];
    assert_eq!(jobs(&site, &run_of(&failed)).await, undone);
    assert_eq!(without_jobs(&site).await, before, "everything else is as it was");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn after_a_job_that_cannot_be_undone_a_run_waits_for_a_person() {
    let site = around("forward", "").await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    site.write("web-v2.yaml", &app("web", "v2", behaves("image-not-found")));
    let plan = site.run(&["plan", "--version", "v2"]).expect(0).out;
    assert!(plan.contains("▸ run Job migrate (cannot be undone)"), "{plan}");
    assert!(plan.contains("some of it cannot be undone"), "{plan}");
    let stuck = site.run(&["deploy", "--version", "v2", "--yes", "-o", "json"]).expect(4);
    assert_eq!(stuck.steps("undo-started"), [""; 0]);
    assert!(site.image("api").await.ends_with(":v2"), "what was reached stays");
    // The image is pushed: the simulated nodes are told, of each pod that comes.
    let pushed = "stack.maily.dev/behaviour=ready";
    site.until("the pods run", async || {
        site.kubectl(&["annotate", "pods", "-l", "app=web", "--overwrite", pushed]);
        let web = site.get("apps/v1", "Deployment", "web").await.expect("is there");
        ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|field| web.int(&format!("/status/{field}")) == Some(2))
    })
    .await;
    site.run(&["resume"]).expect(0);
    let ran = jobs(&site, &run_of(&stuck)).await;
    let names: Vec<&str> = ran.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["migrate-RUN", "warm-RUN"], "each once, also by whoever resumes");
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(status["run"], Value::Null, "{status}");
}

/// A Job as a chart has it.
fn hook(name: &str, version: &str, moments: &str, weight: &str, behaviour: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "annotations": {"helm.sh/hook": moments, "helm.sh/hook-weight": weight,
            "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded"}},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"annotations": behaves(behaviour)},
            "spec": {"restartPolicy": "Never",
                "containers": [{"name": "main", "image": format!("registry.example/shop/{name}:{version}")}]}}}})
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn hooks_of_a_chart_run_at_their_moment_and_in_the_order_of_their_weights() {
    let chart = |version: &str, migration: &str| {
        let hooks = [
            hook("migrate", version, "pre-install,pre-upgrade", "5", migration),
            hook("seed", version, "pre-install", "-5", "ready"),
            hook("warm", version, "post-install,post-upgrade", "0", "ready"),
            hook("probe", version, "test", "0", "ready"),
        ];
        app("api", version, json!({})) + &documents(&hooks)
    };
    let site = Site::new("hooks").await;
    site.write(
        "maily.yaml",
        "maily: 1\nproject: shop\nenvironments: {}\nservices:\n  api: {manifests: '{version}.yaml'}\n",
    );
    for (version, migration) in [("v1", "ready"), ("v2", "ready"), ("v3", "fails")] {
        site.write(&format!("{version}.yaml"), &chart(version, migration));
    }
    site.bind();
    let deploy = |version: &str, code: i32| {
        site.run(&["deploy", "--version", version, "--yes", "-o", "json"]).expect(code)
    };
    let step = |step: &str| format!("production/api/{step}");
    let first = deploy("v1", 0);
    assert_eq!(first.steps("step-applied"), ["job/seed", "job/migrate", "rollout", "job/warm"].map(step));
    let second = deploy("v2", 0);
    assert_eq!(second.steps("step-applied"), ["job/migrate", "rollout", "job/warm"].map(step));
    for job in site.list("batch/v1", "Job").await {
        assert!(!job.to_value()["metadata"].to_string().contains("helm.sh/"), "{job:?}");
        assert_eq!(job.int("/spec/ttlSecondsAfterFinished"), Some(86_400), "{}", job.name());
    }
    // A migration that fails is seen before anything rolls out.
    let third = deploy("v3", 4);
    assert_eq!(third.steps("step-failed"), [step("job/migrate")]);
    assert_eq!(third.steps("step-started"), [step("job/migrate")]);
    let failed = third.events().into_iter().find(|event| event["event"] == "step-failed").expect("failed");
    assert_eq!(failed["failure"]["cause"], "job-failed", "{failed}");
    assert!(site.image("api").await.ends_with(":v2"), "nothing has begun after it");
}
