//! Logs of what a real API server and its controllers run. What a container says comes from the stack, one line.

use crate::site::Site;

const FILE: &str = "maily: 1
project: shop
images: registry.example/shop/{service}:{version}
environments: {}
phases:
  - {name: all, environment: production, gates: [smoke]}
gates:
  smoke: {job: {image: 'registry.example/shop/smoke:{version}'}}
services:
  api: {workload: {port: 8080, scale: 1}}
  migrate: {before: api, job: {command: [up]}}
  nightly: {manifests: nightly.yaml}
  alone: {manifests: alone.yaml}
";

const NIGHTLY: &str = "apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: '0 3 1 1 *'
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: main, image: 'registry.example/shop/nightly:v1'}]}
";

const ALONE: &str = "apiVersion: v1
kind: Pod
metadata: {name: alone}
spec: {containers: [{name: main, image: 'registry.example/shop/alone:v1'}]}
";

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn logs_of_jobs_and_cron_jobs_are_read() {
    let site = Site::new("logs").await;
    for (path, text) in [("maily.yaml", FILE), ("nightly.yaml", NIGHTLY), ("alone.yaml", ALONE)] {
        site.write(path, text);
    }
    site.bind();
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let pods = |name: &str, more: &[&str]| -> Vec<String> {
        let told = site.run(&[&["logs", name], more].concat()).expect(0).out;
        told.lines().map(|line| line.split(' ').next().expect("has a pod").to_owned()).collect()
    };
    for (name, begin) in
        [("migrate", "migrate-"), ("smoke", "gate-all-smoke-"), ("api", "api-"), ("alone", "alone")]
    {
        let told = pods(name, &[]);
        assert!(told.len() == 1 && told[0].starts_with(begin), "{name}: {told:?}");
    }
    assert!(pods("nightly", &[]).is_empty());
    for name in ["nightly-one", "nightly-two"] {
        site.kubectl(&["create", "job", "--from=cronjob/nightly", name]).expect(0);
    }
    site.kubectl(&["create", "job", "nightly-three", "--image=registry.example/other:v1"]).expect(0);
    site.until("both Jobs have ended", async || pods("nightly", &[]).len() == 2).await;
    let told = pods("nightly", &["--tail", "1"]);
    assert!(told[0].starts_with("nightly-one-") && told[1].starts_with("nightly-two-"), "{told:?}");
    // What the container said is older than any time that is asked for here.
    assert!(pods("api", &["--since", "10s"]).is_empty());
}
