//! What the commands do, from the first release to the last.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::desk::{Desk, done};

fn released() -> Desk {
    let desk = Desk::example();
    desk.sandbox(&["phased-deploy", "--version", "v1.0.0", "--yes"]).expect(0);
    desk
}

fn version(desk: &Desk, service: &str) -> Value {
    let status = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
    let services = status["services"].as_array().expect("is a list").clone();
    services.into_iter().find(|one| one["name"] == service).map_or(Value::Null, |one| one["version"].clone())
}

#[test]
fn the_platform_is_released_in_three_phases_in_under_ten_seconds() {
    let desk = Desk::example();
    let start = Instant::now();
    let done = desk.sandbox(&["phased-deploy", "--version", "v1.0.0", "--yes"]).expect(0);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(done.out.contains("staging is at release 1") && done.out.contains("production is at release 1"));
    let status = desk.sandbox(&["status", "--env=production", "--output=json"]).expect(0).json();
    assert_eq!(status["kind"], "status");
    let services = status["services"].as_array().expect("is a list");
    let names: Vec<&str> = services.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["ai-service", "analytics", "api", "blockchain", "canvas", "email", "frontend"]);
    for service in services {
        assert_eq!(
            (&service["state"], &service["version"]),
            (&json!("serving"), &json!("v1.0.0")),
            "{service}"
        );
    }
    let api = services.iter().find(|one| one["name"] == "api").expect("is there");
    assert_eq!((&api["ready"], &api["desired"]), (&json!(2), &json!(2)), "the autoscaler's least");
}

#[test]
fn a_new_version_goes_out_and_back() {
    let desk = released();
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.1.0", "--yes"]).expect(0);
    assert_eq!(version(&desk, "api"), "v1.1.0");
    desk.sandbox(&[
        "rollback",
        "--environment",
        "production",
        "--components",
        "api,email",
        "--to-version",
        "v1.0.0",
        "--yes",
    ])
    .expect(0);
    assert_eq!((version(&desk, "api"), version(&desk, "canvas")), (json!("v1.0.0"), json!("v1.1.0")));
    desk.sandbox(&["rollback", "--env", "production", "--release", "1", "--yes"]).expect(0);
    assert_eq!(version(&desk, "canvas"), "v1.0.0");
    // Going back has left what came after release 1; forward again goes by its number alone.
    desk.sandbox(&["rollback", "--env", "production", "--last-good", "--yes"]).expect(2);
    desk.sandbox(&["rollback", "--env", "production", "--release", "3", "--yes"]).expect(0);
    assert_eq!(version(&desk, "canvas"), "v1.1.0");
    let history = desk.sandbox(&["history", "--env", "production", "-o", "json"]).expect(0).json();
    let titles: Vec<&str> = history["runs"]
        .as_array()
        .expect("is a list")
        .iter()
        .filter_map(|run| run["title"].as_str())
        .collect();
    assert_eq!(
        titles,
        [
            "roll back to release 3",
            "roll back to release 1",
            "roll back api, email to v1.0.0",
            "deploy v1.1.0",
            "deploy v1.0.0"
        ]
    );
    let logs = desk.sandbox(&["logs", "--env", "production", "api", "--tail", "1"]).expect(0);
    assert!(logs.out.lines().count() == 2 && logs.out.contains("maily-api-"), "{}", logs.out);
}

#[test]
fn the_last_good_release_is_never_one_that_was_left_by_going_back() {
    let desk = Desk::with(
        "maily: 1\nproject: shop\nimages: 'registry.example/{service}:{version}'\n\
         environments:\n  production: {}\nservices:\n  api: {workload: {port: 8000, scale: 1}}\n",
    );
    let run = |args: &[&str]| desk.sandbox(&[args, &["--env", "production", "--yes"]].concat());
    for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
        run(&["deploy", "--version", version]).expect(0);
    }
    let versions = || version(&desk, "api");
    run(&["rollback", "--last-good"]).expect(0);
    assert_eq!(versions(), "v1.1.0");
    // v1.2.0 was left for a reason.
    run(&["rollback", "--last-good"]).expect(0);
    assert_eq!(versions(), "v1.0.0");
    let refused = run(&["rollback", "--last-good"]).expect(2);
    assert!(refused.err.contains("nothing was there before release 1"), "{}", refused.err);
    run(&["deploy", "--version", "v1.3.0"]).expect(0);
    run(&["rollback", "--last-good"]).expect(0);
    assert_eq!(versions(), "v1.0.0");
}

#[test]
fn the_last_good_release_is_never_nothing_and_never_one_too_far() {
    let desk = released();
    let rollback = |more: &[&str]| {
        let mut args = vec!["rollback", "--env", "production", "--yes"];
        args.extend(more);
        desk.sandbox(&args)
    };
    for to in [&["--last-good"][..], &["--release", "0"]] {
        let refused = rollback(to).expect(2);
        assert!(refused.err.contains("nothing was there before release 1"), "{}", refused.err);
        assert!(refused.err.contains("remove --env production --components all"), "{}", refused.err);
    }
    let refused = rollback(&["--last-good", "--components", "api"]).expect(2);
    assert!(refused.err.contains("remove --env production --components api"), "{}", refused.err);
    assert_eq!(version(&desk, "api"), "v1.0.0");

    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.1.0", "--yes"]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api@v1.2.0"]).expect(0);
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.2.0", "--yes"]).expect(3);
    for more in [&["--last-good"][..], &["--last-good", "--dry-run"]] {
        let already = rollback(more).expect(0);
        let told = format!("{}{}", already.out, already.err);
        assert!(told.contains("release 2 is in force and the last good one"), "{told}");
        assert!(told.contains("rollback --env production --release 1"), "{told}");
    }
    assert_eq!(version(&desk, "api"), "v1.1.0");

    // A rollback that fails leaves the wish as it was: away from the release in force.
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.3.0", "--yes"]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api@v1.1.0"]).expect(0);
    rollback(&["--last-good"]).expect(3);
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    rollback(&["--last-good"]).expect(0);
    assert_eq!(version(&desk, "api"), "v1.1.0");
}

#[test]
fn a_fault_is_named_and_the_release_taken_back() {
    let desk = released();
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api@v1.1.0"]).expect(0);
    let failed = desk.sandbox(&["deploy", "--env", "production", "--version", "v1.1.0", "--yes"]).expect(3);
    assert!(
        failed.err.contains("[crash-loop]") && failed.err.contains("last lines of its log"),
        "{}",
        failed.err
    );
    assert_eq!((version(&desk, "api"), version(&desk, "email")), (json!("v1.0.0"), json!("v1.0.0")));
    let listed = desk.sandbox(&["sandbox", "fault", "list", "-o", "json"]).expect(0).json();
    assert_eq!(listed["faults"], json!(["crash api@v1.1.0"]));
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.1.0", "--yes"]).expect(0);
    // A failure in a later phase of a phased deploy leaves staging at the new version.
    desk.sandbox(&["sandbox", "fault", "add", "never-ready", "blockchain@v1.2.0"]).expect(0);
    let failed =
        desk.sandbox(&["phased-deploy", "--version", "v1.2.0", "--yes", "--timeout", "3s"]).expect(3);
    assert!(failed.err.contains("not begun: production"), "{}", failed.err);
}

#[test]
fn phases_are_chosen_and_contradictions_refused() {
    let desk = released();
    let phased = |args: &[&str]| {
        let mut all = vec!["phased-deploy", "--version", "v1.1.0"];
        all.extend(args);
        desk.sandbox(&all)
    };
    for (args, said) in [
        (&["--env", "staging", "--skip-staging", "--yes"][..], "contradict"),
        (&["--start-phase", "3", "--end-phase", "2", "--yes"], "comes after"),
        (&["--end-phase", "4", "--yes"], "there is no phase 4"),
        (&["--canary", "--yes"], "cannot be shifted"),
        (&["--canary-weight", "10", "--yes"], "cannot be shifted"),
        (&["--canary-weight", "100", "--yes"], "100 is not in 1..=99"),
        (&["--canary-weight=0", "--yes"], "0 is not in 1..=99"),
        (&["--env", "production", "--start-phase", "1", "--end-phase", "1", "--yes"], "no phase is left"),
        (&["--env", "prodction", "--yes"], "unknown environment"),
    ] {
        let refused = phased(args).expect(2);
        assert!(refused.err.contains(said), "{args:?}: {}", refused.err);
    }
    // Production without staging: only with a reason.
    for args in [&["--skip-staging", "--yes"][..], &["--start-phase", "2", "--yes"], &["--start-phase=2"]] {
        let waits = phased(args).expect(7);
        assert!(waits.err.contains("never seen to succeed on staging"), "{}", waits.err);
    }
    phased(&["--start-phase", "2", "--end-phase", "2", "--yes", "--reason", "a test"]).expect(0);
    assert_eq!((version(&desk, "email"), version(&desk, "api")), (json!("v1.1.0"), json!("v1.0.0")));
    let run = desk.sandbox(&["show", "run", "--env", "production", "-o", "json"]).expect(0).json();
    assert_eq!(run["summary"]["reason"], "a test");
    // One service on staging is not the version.
    desk.sandbox(&["deploy", "--env", "staging", "--components", "email", "--version", "v1.1.0", "--yes"])
        .expect(0);
    let waits = phased(&["--skip-staging", "--yes"]).expect(7);
    assert!(waits.err.contains("version v1.1.0 of ai-service, analytics, api"), "{}", waits.err);
    assert!(!waits.err.contains("email"), "{}", waits.err);
    phased(&["--env", "staging", "--yes"]).expect(0);
    phased(&["--skip-staging", "--yes"]).expect(0);
    assert_eq!(version(&desk, "api"), "v1.1.0");
}

#[test]
fn approval_is_asked_for_and_dry_runs_change_nothing() {
    let desk = released();
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.1.0"]).expect(7);
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v1.1.0"]).expect(2);
    let dry = desk.sandbox(&["deploy", "--env", "production", "--version", "v1.1.0", "--dry-run"]).expect(0);
    assert!(dry.out.contains("to change"), "{}", dry.out);
    desk.sandbox(&["phased-deploy", "--version", "v1.1.0", "--dry-run"]).expect(0);
    assert_eq!(version(&desk, "api"), "v1.0.0");
    desk.sandbox(&["plan", "--env", "production", "--version", "v1.1.0", "--exit-code"]).expect(8);
    desk.sandbox(&["plan", "--env", "production", "--version", "v1.0.0", "--exit-code"]).expect(0);
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
}

#[test]
fn a_run_tells_its_story_as_json_lines() {
    let desk = released();
    let done = desk
        .sandbox(&["deploy", "--env", "production", "--version", "v1.1.0", "--yes", "-o", "json"])
        .expect(0);
    let events: Vec<Value> =
        done.out.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    assert_eq!(events[0]["event"], "run-started");
    assert!(events.iter().all(|event| event["format"] == 1 && event["environment"] == "production"));
    let end = events.last().expect("ends");
    assert_eq!(
        (&end["event"], &end["outcome"]["result"], &end["release"]),
        (&json!("run-finished"), &json!("succeeded"), &json!(2))
    );
    let again = desk
        .sandbox(&["deploy", "--env", "production", "--version", "v1.1.0", "--yes", "-o", "json"])
        .expect(0)
        .json();
    assert_eq!((&again["event"], &again["not_serving"]), (&json!("unchanged"), &json!(null)));
    let error = desk.sandbox(&["status", "--env", "nowhere", "-o", "json"]).expect(2);
    let error: Value = serde_json::from_str(&error.err).expect("is JSON");
    assert_eq!((&error["kind"], &error["code"]), (&json!("error"), &json!(2)));
}

#[test]
fn services_are_removed_by_a_plan_and_can_be_had_again() {
    let desk = released();
    desk.sandbox(&["remove", "--env", "production", "--components", "canvas", "--yes"]).expect(0);
    assert_eq!(version(&desk, "canvas"), Value::Null);
    desk.sandbox(&["rollback", "--env", "production", "--last-good", "--yes"]).expect(0);
    assert_eq!(version(&desk, "canvas"), "v1.0.0");
    desk.sandbox(&["remove", "--env", "production", "--components", "all", "--yes"]).expect(0);
    let status = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
    let left: Vec<&Value> =
        status["services"].as_array().expect("is a list").iter().map(|one| &one["name"]).collect();
    assert_eq!(left, ["frontend"], "no run takes the host's domain away");
}

#[test]
fn a_killed_run_is_resumed_or_aborted_by_another_process() {
    let desk = released();
    for (command, next, code, wanted) in
        [(&["resume"][..], "v1.1.0", 0, "v1.1.0"), (&["abort", "--yes"], "v1.2.0", 3, "v1.1.0")]
    {
        desk.sandbox(&["sandbox", "fault", "add", "slow", &format!("email@{next}")]).expect(0);
        let mut child =
            desk.spawn(&["--sandbox", "deploy", "--env", "production", "--version", next, "--yes"]);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let status = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
            if status["run"].is_string() {
                break;
            }
            assert!(Instant::now() < until, "the run never began");
        }
        child.kill().expect("is ours");
        child.wait().expect("is ours");
        desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
        let held = desk.sandbox(&["deploy", "--env", "production", "--version", "v9.0.0", "--yes"]).expect(5);
        assert!(held.err.contains("mailyctl --sandbox resume"), "{}", held.err);
        let done = desk
            .sandbox(&[command, &["--env", "production", "--reason", "the machine is gone"]].concat())
            .expect(code);
        assert_eq!(version(&desk, "email"), wanted);
        assert_eq!(done.out.matches("taken over by").count(), 1, "{}", done.out);
        let history = desk.sandbox(&["history", "--env", "production", "-o", "json"]).expect(0).json();
        let run = history["runs"][0]["run"].as_str().expect("has an id").to_owned();
        let shown = desk.sandbox(&["show", "run", &run, "--env", "production"]).expect(0);
        let line = shown.out.lines().find(|line| line.contains("taken over by")).expect("is on record");
        assert!(line.ends_with(": the machine is gone"), "{line}");
    }
    desk.sandbox(&["resume", "--env", "production"]).expect(0);
    desk.sandbox(&["abort", "--env", "production"]).expect(0);
    // Nothing is asked there, and an option without an effect would be a promise.
    desk.sandbox(&["resume", "--env", "production", "--yes"]).expect(2);
}

#[test]
fn what_was_derived_from_manifests_works_in_the_sandbox() {
    let desk = Desk::empty();
    let labels = "{app: web}";
    desk.write(
        "k8s/web.yaml",
        &format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {labels}}}\n  \
             template:\n    metadata: {{labels: {labels}}}\n    spec: {{containers: [{{name: web, image: 'r.example/shop/web:v1'}}]}}\n"
        ),
    );
    desk.run(&["init", "--from", "k8s", "--version", "v1", "--name", "shop"]).expect(0);
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    assert_eq!(version(&desk, "web"), "v1");
    // Without an environment the remedy is one that the sandbox takes.
    let desk = Desk::with(
        "maily: 1\nproject: shop\nservices: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n",
    );
    for environment in [&[][..], &["--env", "production"]] {
        let mut args = vec!["deploy", "--version", "v1", "--yes"];
        args.extend(environment);
        let refused = desk.sandbox(&args).expect(2);
        let remedy = ["environments:", ": {namespace: shop}", "maily.yaml"];
        assert!(remedy.iter().all(|part| refused.err.contains(part)), "{}", refused.err);
        assert!(!refused.err.contains("env bind"), "{}", refused.err);
    }
}

#[test]
fn a_gate_goes_by_its_name() {
    let desk = Desk::example();
    let done = desk.sandbox(&["phased-deploy", "--version", "v1.0.0", "--end-phase", "1", "--yes"]).expect(0);
    assert!(done.out.contains("start smoke job"), "{}", done.out);
    assert!(!done.out.contains(" staging job"), "{}", done.out);
}

#[test]
fn requests_are_told_to_who_asks_for_them() {
    let desk = Desk::with(
        "maily: 1\nproject: shop\nenvironments: {production: {namespace: shop, cluster: {context: c, identity: {uid: u}}}}\n\
         services: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n",
    );
    // Nobody listens there.
    desk.write(
        "kubeconfig",
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n\
         clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\nusers: [{name: u, user: {token: hidden-token}}]\n",
    );
    let quiet = desk.run(&["--kubeconfig", "kubeconfig", "status"]).expect(1);
    // What is waited for before it is given up, and no requests.
    let (waits, error) = quiet.err.split_once('\n').expect("has lines");
    assert!(waits.starts_with("waits: ") && error.starts_with("error: "), "{}", quiet.err);
    assert!(!quiet.err.contains("method="), "{}", quiet.err);
    assert!(quiet.err.contains("the API server at 127.0.0.1:9 could not be reached"), "{}", quiet.err);
    let told = desk.run(&["-v", "--kubeconfig", "kubeconfig", "status"]).expect(1);
    assert!(told.err.contains("method=GET path=\"/"), "{}", told.err);
    assert!(!told.err.contains("kube_client") && !told.err.contains("hidden-token"), "{}", told.err);
}

#[test]
fn two_processes_do_not_change_one_sandbox_at_once() {
    let desk = released();
    desk.sandbox(&["sandbox", "fault", "add", "slow", "email@v1.1.0"]).expect(0);
    let mut child =
        desk.spawn(&["--sandbox", "deploy", "--env", "production", "--version", "v1.1.0", "--yes"]);
    std::thread::sleep(Duration::from_secs(1));
    let refused = desk.sandbox(&["deploy", "--env", "production", "--version", "v1.2.0", "--yes"]).expect(5);
    assert!(refused.err.contains("in use by process"), "{}", refused.err);
    desk.sandbox(&["status", "--env", "production"]).expect(0);
    child.kill().expect("is ours");
    child.wait().expect("is ours");
}

#[test]
fn github_actions_gets_groups_annotations_and_a_summary() {
    let desk = released();
    desk.sandbox(&["sandbox", "fault", "add", "image-missing", "canvas@v1.1.0"]).expect(0);
    let mut command =
        desk.command(&["--sandbox", "deploy", "--env", "production", "--version", "v1.1.0", "--yes"]);
    let summary = desk.path().join("summary.md");
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary);
    let failed = done(command).expect(3);
    for part in
        ["::group::deploy v1.1.0 to production", "::endgroup::", "::error title=release to production::"]
    {
        assert!(failed.out.contains(part), "{part} in {}", failed.out);
    }
    assert!(std::fs::read_to_string(summary).expect("is written").contains("was rolled back"));
}

#[test]
fn documents_for_editors_and_readers_are_made() {
    let desk = Desk::empty();
    desk.run(&["man", "pages"]).expect(0);
    assert!(desk.path().join("pages/mailyctl-deploy.1").is_file());
    let schema = desk.run(&["schema"]).expect(0).json();
    assert!(schema["properties"]["services"].is_object());
    desk.run(&["init", "--name", "shop"]).expect(0);
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    desk.run(&["init", "--name", "shop"]).expect(2);
    desk.sandbox(&["doctor"]).expect(0);
}

#[test]
fn a_check_sees_the_errors_of_a_fault() {
    let desk =
        Desk::with(&crate::bad_input::services("  api: {workload: {port: 80}, checks: [{http: /health}]}"));
    desk.sandbox(&["deploy", "--version", "v1.0.0", "--yes"]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "errors", "api@v1.1.0"]).expect(0);
    let failed = desk.sandbox(&["deploy", "--version", "v1.1.0", "--yes", "--timeout", "5s"]).expect(3);
    assert!(failed.err.contains("answered 500"), "{}", failed.err);
}

#[test]
fn nothing_to_do_is_no_success_where_something_does_not_serve() {
    let desk = Desk::example();
    let deploy = ["deploy", "--env", "production", "--version", "v1.0.0", "--yes"];
    desk.sandbox(&deploy).expect(0);
    assert!(desk.sandbox(&deploy).expect(0).out.contains("nothing to do"));
    desk.sandbox(&["sandbox", "fault", "add", "crash", "email@v1.0.0"]).expect(0);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let told = desk.sandbox(&deploy).expect(4).err;
    assert!(told.contains("not all of it serves") && told.contains("email"), "{told}");
    let lines = desk.sandbox(&[&deploy[..], &["-o", "json"]].concat()).expect(4).out;
    let line: Value = serde_json::from_str(lines.lines().last().expect("is told")).expect("is JSON");
    assert_eq!(
        (&line["event"], &line["not_serving"][0]["cause"]),
        (&json!("unchanged"), &json!("crash-loop"))
    );
    // The state names the pod and how it ended.
    let state = desk.sandbox(&["status", "--env", "production"]).expect(0).out;
    assert!(state.contains("failing") && state.contains("exit code 1"), "{state}");
    // What to do next stands below.
    assert!(state.contains("logs email --env production --previous"), "{state}");
}

#[test]
fn a_release_beside_something_that_does_not_serve_is_no_success() {
    let desk = Desk::with(
        "maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments: {staging: {namespace: shop-staging}, production: {namespace: shop}}
services:
  cache: {image: 'registry.example/cache:1', workload: {port: 6379}}
  web: {workload: {port: 80}}
phases: [{name: try, environment: staging, services: all}, {name: all, environment: production, services: all}]
",
    );
    desk.sandbox(&["phased-deploy", "--version", "v1", "--yes"]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "crash", "cache@1"]).expect(0);
    std::thread::sleep(std::time::Duration::from_secs(4));
    // Staging is at the version, and production has to wait.
    let told = desk.sandbox(&["phased-deploy", "--version", "v2", "--yes"]).expect(4).err;
    for part in [
        "✗ staging is at release 2, but not all that it left as it was serves",
        "[crash-loop]",
        "next: mailyctl --sandbox status --env staging",
        "not begun: production",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let past = desk.sandbox(&["phased-deploy", "--version", "v2", "--yes", "--skip-staging"]).expect(7);
    assert!(past.err.contains("never seen to succeed on staging"), "{}", past.err);
    let runs = desk.sandbox(&["history", "--env", "staging"]).expect(0).out;
    assert!(runs.contains("released, not serving: "), "{runs}");
    let deploy = ["deploy", "--env", "production", "--version", "v2", "--yes", "-o", "json"];
    let lines = desk.sandbox(&deploy).expect(4).out;
    let line: Value = serde_json::from_str(lines.lines().last().expect("is told")).expect("is JSON");
    let outcome = &line["outcome"];
    assert_eq!(
        (&outcome["result"], &outcome["release"], &outcome["not_serving"][0]["cause"]),
        (&json!("succeeded"), &json!(2), &json!("crash-loop"))
    );
    assert!(desk.sandbox(&["status", "--env", "production"]).expect(0).out.contains("failing"));
}

#[test]
fn a_command_that_is_refused_leaves_no_world_behind() {
    let desk = Desk::example();
    let world = desk.path().join(".maily");
    for args in [
        &["plan", "-e", "nope", "--version", "v1"][..],
        &["plan", "-e", "production", "--version", "v1", "--components", "apii"],
        &["phased-deploy", "--version", "v1", "--start-phase", "3", "--end-phase", "2", "--yes"],
        &["phased-deploy", "--version", "v1", "--start-phase", "4", "--yes"],
    ] {
        desk.sandbox(args).expect(2);
        assert!(!world.exists(), "{args:?}");
    }
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api"]).expect(0);
    desk.sandbox(&["plan", "-e", "nope", "--version", "v1"]).expect(2);
    assert!(desk.sandbox(&["sandbox", "fault", "list"]).expect(0).out.contains("crash api"));
}

#[test]
fn options_that_mean_nothing_together_are_refused() {
    let desk = Desk::example();
    let said = desk.run(&["--sandbox", "--kubeconfig", "k", "status", "--env", "production"]).expect(2).err;
    assert!(said.contains("`--kubeconfig` means nothing in a sandbox"), "{said}");
    let said = desk.sandbox(&["logs", "api", "--env", "production", "--previous", "-f"]).expect(2).err;
    assert!(said.contains("--previous") && said.contains("--follow"), "{said}");
}

#[test]
fn whoever_wants_json_hears_of_a_failure_also_quietly() {
    let desk = Desk::example();
    desk.sandbox(&["sandbox", "fault", "add", "crash", "email"]).expect(0);
    let deploy = ["deploy", "--env", "production", "--version", "v1.0.0", "--yes", "-q", "-o", "json"];
    let told = desk.sandbox(&deploy).expect(3).out;
    let end: Value = serde_json::from_str(told.lines().last().expect("is told")).expect("is JSON");
    assert_eq!((&end["event"], &end["outcome"]["result"]), (&json!("run-finished"), &json!("rolled-back")));
}
