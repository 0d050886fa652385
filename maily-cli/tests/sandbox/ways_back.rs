//! What going back brings, what it leaves, and what it says of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::desk::{Desk, Done};

const SHOP: &str = "maily: 1\nproject: shop\nimages: 'registry.example/{service}:{version}'\n\
                    environments:\n  production: {}\nservices:\n  \
                    web: {workload: {port: 80, scale: 1}}\n  api: {workload: {port: 81, scale: 1}}\n";

fn run(desk: &Desk, args: &[&str]) -> Done {
    desk.sandbox(&[args, &["--env", "production", "--yes"]].concat())
}

fn deploy(desk: &Desk, version: &str) {
    run(desk, &["deploy", "--version", version]).expect(0);
}

/// Each service with its version.
fn versions(desk: &Desk) -> Value {
    let status = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
    let services = status["services"].as_array().expect("is a list").clone();
    services
        .into_iter()
        .map(|one| (one["name"].as_str().expect("has a name").to_owned(), one["version"].clone()))
        .collect()
}

fn told(done: &Done) -> String {
    format!("{}{}", done.out, done.err)
}

/// Two services that share configuration: `settings`, and from v2 on `flags`.
fn sharing() -> Desk {
    let desk = Desk::with(
        "maily: 1\nproject: shop\nimages: 'registry.example/{service}:{version}'\n\
         environments:\n  production: {}\nsources:\n  all: {manifests: 'k8s/{version}'}\n\
         services:\n  web: {from: all}\n  api: {from: all}\n",
    );
    for (version, size, maps) in [("v1", 1, &["settings"][..]), ("v2", 2, &["settings", "flags"])] {
        let map = |name: &&str| {
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{size: '{size}'}}\n")
        };
        let reads: Vec<String> =
            maps.iter().map(|name| format!("{{configMapRef: {{name: {name}}}}}")).collect();
        let workload = |name: &&str| {
            format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  \
                 selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
                 metadata: {{labels: {{app: {name}}}}}\n    spec: {{containers: [{{name: {name}, \
                 image: 'registry.example/{name}:{version}', envFrom: [{}]}}]}}\n",
                reads.join(", ")
            )
        };
        let objects: Vec<String> = maps.iter().map(map).chain(["web", "api"].iter().map(workload)).collect();
        desk.write(&format!("k8s/{version}/all.yaml"), &objects.join("---\n"));
    }
    desk
}

#[test]
fn a_version_is_the_release_that_had_the_least_beside_it() {
    let desk = Desk::with(SHOP);
    deploy(&desk, "v1");
    run(&desk, &["remove", "--components", "api"]).expect(0);
    deploy(&desk, "v2");
    run(&desk, &["rollback", "--to-version", "v1"]).expect(0);
    assert_eq!(versions(&desk), json!({"web": "v1", "api": "v1"}));
}

#[test]
fn a_version_brings_its_shared_objects_also_after_a_part_of_it_went_ahead() {
    let desk = sharing();
    deploy(&desk, "v1");
    deploy(&desk, "v2");
    run(&desk, &["rollback", "--to-version", "v1", "--components", "web"]).expect(0);
    run(&desk, &["rollback", "--to-version", "v1"]).expect(0);
    // All is as v1 has it.
    desk.sandbox(&["plan", "--env", "production", "--version", "v1", "--exit-code"]).expect(0);
}

#[test]
fn a_service_that_never_had_the_version_is_named() {
    let desk = Desk::with(SHOP);
    run(&desk, &["deploy", "--version", "v7", "--components", "web"]).expect(0);
    run(&desk, &["deploy", "--version", "v1", "--components", "api"]).expect(0);
    run(&desk, &["deploy", "--version", "v2", "--components", "api"]).expect(0);
    let back = |version| told(&run(&desk, &["rollback", "--to-version", version]).expect(0));
    let said = back("v1");
    assert!(said.contains("web never had v1: it gets v7, as in release 2"), "{said}");
    assert_eq!(versions(&desk), json!({"web": "v7", "api": "v1"}));
    let said = back("v7");
    assert!(said.contains("api never had v7 and is not in release 1: it goes"), "{said}");
    assert_eq!(versions(&desk), json!({"web": "v7"}));
}

#[test]
fn the_last_good_release_is_none_that_a_part_of_it_was_taken_back_from() {
    let desk = Desk::with(SHOP);
    deploy(&desk, "v1");
    deploy(&desk, "v2");
    run(&desk, &["rollback", "--components", "api", "--to-version", "v1"]).expect(0);
    run(&desk, &["rollback", "--last-good"]).expect(0);
    assert_eq!(versions(&desk), json!({"web": "v1", "api": "v1"}));
    let refused = run(&desk, &["rollback", "--last-good"]).expect(2);
    assert!(refused.err.contains("nothing was there before release 1"), "{}", refused.err);
    deploy(&desk, "v3");
    run(&desk, &["rollback", "--last-good", "--components", "web"]).expect(0);
    run(&desk, &["rollback", "--last-good", "--components", "api"]).expect(0);
    assert_eq!(versions(&desk), json!({"web": "v1", "api": "v1"}));
}

#[test]
fn a_rollback_that_another_process_ends_has_left_the_same() {
    let desk = Desk::with(SHOP);
    deploy(&desk, "v1");
    deploy(&desk, "v2");
    desk.sandbox(&["sandbox", "fault", "add", "slow", "api@v1"]).expect(0);
    let back = ["rollback", "--components", "api", "--to-version", "v1", "--env", "production", "--yes"];
    let mut child = desk.spawn(&[&["--sandbox"], &back[..]].concat());
    let until = Instant::now() + Duration::from_secs(20);
    let begun =
        || desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json()["run"].is_string();
    while !begun() {
        assert!(Instant::now() < until, "the run never began");
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill().expect("is ours");
    child.wait().expect("is ours");
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    desk.sandbox(&["resume", "--env", "production"]).expect(0);
    assert_eq!(versions(&desk), json!({"web": "v2", "api": "v1"}));
    run(&desk, &["rollback", "--last-good"]).expect(0);
    assert_eq!(versions(&desk), json!({"web": "v1", "api": "v1"}));
}

#[test]
fn an_image_that_comes_back_as_another_one_is_told_to_machines_and_the_quiet() {
    for (form, mark) in [(&["-o", "json"][..], "warning: "), (&["-q"], "! "), (&[], "! ")] {
        let desk = Desk::with(SHOP);
        deploy(&desk, "v1");
        deploy(&desk, "v2");
        let path = desk.path().join(".maily/sandbox.json");
        let mut saved: Value =
            serde_json::from_slice(&std::fs::read(&path).expect("is there")).expect("is JSON");
        saved["world"]["moved_tags"] = json!({"registry.example/api:v1": 1});
        std::fs::write(&path, saved.to_string()).expect("is ours");
        let back = run(&desk, &[&["rollback", "--last-good"][..], form].concat()).expect(0);
        let told = format!("{mark}api runs registry.example/api:v1 as ");
        assert!(back.err.contains(&told) && back.err.contains("the tag was moved"), "{form:?}: {back:?}");
        assert!(!back.err.contains("web runs"), "{form:?}: {back:?}");
    }
}

#[test]
fn what_was_forgotten_is_called_so() {
    let desk = Desk::with(&format!("{SHOP}history: {{releases: 2, age: 1s}}\n"));
    deploy(&desk, "v1");
    for version in ["v2", "v3", "v4", "v5", "v6"] {
        run(&desk, &["deploy", "--version", version, "--components", "web"]).expect(0);
        std::thread::sleep(Duration::from_millis(1100));
    }
    run(&desk, &["deploy", "--version", "v7", "--components", "web"]).expect(0);
    let forgotten = |args: &[&str], parts: &[&str]| {
        let refused = run(&desk, &[&["rollback"], args].concat()).expect(2);
        assert!(parts.iter().all(|part| refused.err.contains(part)), "{args:?}: {}", refused.err);
    };
    forgotten(
        &["--to-version", "v1", "--components", "web"],
        &["version v1 of `web` is in no release on record; older ones are forgotten"],
    );
    forgotten(&["--to-version", "v2"], &["version v2 is in no release on record; older ones are forgotten"]);
    forgotten(&["--to-version", "v1"], &["version v1 of `web` is in no", "--components api --to-version v1"]);
    forgotten(&["--release", "2"], &["release 2 is no longer on record (the project keeps 2 releases)"]);
    forgotten(&["--release", "99"], &["there is no release 99"]);
    let mut last = run(&desk, &["rollback", "--last-good"]);
    for _ in 0..4 {
        if last.code != 0 {
            break;
        }
        last = run(&desk, &["rollback", "--last-good"]);
    }
    let last = last.expect(2);
    assert!(last.err.contains("no longer on record"), "{}", last.err);
}

#[test]
fn shared_objects_that_a_part_leaves_out_are_named() {
    let desk = sharing();
    deploy(&desk, "v1");
    let part = run(&desk, &["deploy", "--version", "v2", "--components", "web"]).expect(0);
    let said = told(&part);
    for sentence in [
        "shared objects are not part of a deploy of components",
        "ConfigMap/settings would change",
        "ConfigMap/flags is new",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    // What does not differ is not worth a word.
    let same = run(&desk, &["deploy", "--version", "v1", "--components", "web"]).expect(0);
    assert!(!told(&same).contains("shared objects are not part"), "{}", told(&same));
    deploy(&desk, "v2");
    let back = run(&desk, &["rollback", "--to-version", "v1", "--components", "api"]).expect(0);
    let said = told(&back);
    assert!(said.contains("not part of a rollback of components"), "{said}");
    assert!(said.contains("ConfigMap/settings would change"), "{said}");
}

#[test]
fn what_was_one_services_and_comes_to_be_shared_stays_where_a_part_is_released() {
    let desk = sharing();
    let alone = std::fs::read_to_string(desk.path().join("k8s/v1/all.yaml")).expect("can be read");
    let (map, rest) = alone.split_once("---\n").expect("has parts");
    let (web, api) = rest.split_once("---\n").expect("has parts");
    let api = api.replace(", envFrom: [{configMapRef: {name: settings}}]", "");
    desk.write("k8s/v1/all.yaml", &[map, web, &api].join("---\n"));
    deploy(&desk, "v1");
    let part = run(&desk, &["deploy", "--version", "v2", "--components", "web"]).expect(0);
    assert!(told(&part).contains("ConfigMap/settings would change"), "{}", told(&part));
    assert!(!told(&part).contains("- ConfigMap settings"), "{}", told(&part));
    let whole = desk.sandbox(&["plan", "--env", "production", "--version", "v2"]).expect(0);
    assert!(whole.out.contains("~ ConfigMap settings"), "{}", whole.out);
}

#[test]
fn checks_that_a_way_back_leaves_out_are_named() {
    let desk =
        Desk::with(&SHOP.replace("port: 81, scale: 1}}", "port: 81, scale: 1}, checks: [{http: /up}]}"));
    deploy(&desk, "v1");
    deploy(&desk, "v2");
    let back = run(&desk, &["rollback", "--to-version", "v1"]).expect(0);
    assert!(told(&back).contains("not run on a way back: checks of api"), "{}", told(&back));
    let desk = Desk::example();
    let staging = |args: &[&str]| desk.sandbox(&[args, &["--env", "staging", "--yes"]].concat()).expect(0);
    for version in ["v1.0.0", "v1.1.0"] {
        staging(&["deploy", "--version", version]);
    }
    let said = told(&staging(&["rollback", "--to-version", "v1.0.0"]));
    assert!(said.contains("not run on a way back: checks of api; gate smoke"), "{said}");
}

#[test]
fn the_domain_of_a_frontend_stays_and_that_is_said() {
    let desk = Desk::example();
    deploy(&desk, "v1.0.0");
    let refused = run(&desk, &["remove", "--components", "frontend"]).expect(2);
    assert!(refused.err.contains("`frontend`") && refused.err.contains("maily.example"), "{}", refused.err);
    let gone = run(&desk, &["remove", "--components", "all"]).expect(0);
    let said = told(&gone);
    assert!(said.contains("frontend keeps serving v1.0.0 at maily.example"), "{said}");
    assert_eq!(versions(&desk), json!({"frontend": "v1.0.0"}));
}

#[test]
fn names_that_are_in_no_plan_are_told() {
    let desk = Desk::with(SHOP);
    deploy(&desk, "v1");
    let done = run(&desk, &["deploy", "--version", "v2", "--allow-replace", "ConfigMap/nonexist"]).expect(0);
    assert!(told(&done).contains("`ConfigMap/nonexist` is no object of this plan"), "{}", told(&done));
    let done = run(&desk, &["deploy", "--version", "v2", "--force-conflicts=Deployment/nobody"]).expect(0);
    assert!(told(&done).contains("`Deployment/nobody` is no object of this plan"), "{}", told(&done));
    let quiet = run(&desk, &["deploy", "--version", "v3", "--allow-replace", "Deployment/api"]).expect(0);
    assert!(!told(&quiet).contains("is no object of this plan"), "{}", told(&quiet));
}

#[test]
fn a_part_that_went_back_is_told_from_all() {
    let desk = Desk::with(SHOP);
    deploy(&desk, "v1");
    deploy(&desk, "v2");
    run(&desk, &["rollback", "--to-version", "v1", "--components", "api"]).expect(0);
    let history = desk.sandbox(&["history", "--env", "production", "-o", "json"]).expect(0).json();
    assert_eq!(history["runs"][0]["title"], "roll back api to v1");
    let release = desk.sandbox(&["show", "release", "--env", "production", "-o", "json"]).expect(0).json();
    assert!(release.to_string().contains("roll back api to v1"), "{release}");
}

#[test]
fn a_frontend_counts_as_a_change() {
    let desk = Desk::example();
    deploy(&desk, "v1.0.0");
    let args = ["plan", "--env", "production", "--version", "v1.1.0", "--components", "frontend"];
    let plan = desk.sandbox(&args).expect(0);
    assert!(plan.out.contains("1 to change"), "{}", plan.out);
}

/// Somebody has scaled `web` by `kubectl`.
pub(crate) fn scale_by_hand(desk: &Desk) {
    let path = desk.path().join(".maily/sandbox.json");
    let mut saved: Value = serde_json::from_slice(&std::fs::read(&path).expect("is there")).expect("is JSON");
    let web = &mut saved["world"]["objects"]["apps|Deployment|shop|web"];
    web["spec"]["replicas"] = json!(3);
    let fields = web["metadata"]["managedFields"].as_array_mut().expect("is a list");
    fields[0]["fieldsV1"]["f:spec"].as_object_mut().expect("a map").remove("f:replicas");
    let mut by_hand = fields[0].clone();
    by_hand["manager"] = json!("kubectl-edit");
    by_hand["operation"] = json!("Update");
    by_hand["fieldsV1"] = json!({"f:spec": {"f:replicas": {}}});
    fields.push(by_hand);
    std::fs::write(&path, saved.to_string()).expect("is ours");
}

#[test]
fn drift_hides_no_plan_and_refuses_it_as_before() {
    let desk = Desk::with(SHOP);
    deploy(&desk, "v1");
    deploy(&desk, "v2");
    scale_by_hand(&desk);
    let before = std::fs::read(desk.path().join(".maily/sandbox.json")).expect("is there");
    let back = ["rollback", "--env", "production", "--last-good", "--dry-run"];
    for args in [&["plan", "--env", "production", "--version", "v3", "--out", "p.json"][..], &back] {
        let refused = desk.sandbox(args).expect(1);
        let drift = "error: drift: Deployment shop/web was changed since the last release by kubectl-edit: spec.replicas 1 -> 3";
        assert!(refused.err.contains(drift), "{}", refused.err);
        assert!(
            refused.err.contains("this is the plan with `--force-conflicts`; without it:"),
            "{}",
            refused.err
        );
        let note = "drift: Deployment shop/web was changed since the last release by kubectl-edit: spec.replicas 1 -> 3";
        assert!(refused.out.contains(note), "{}", refused.out);
        assert!(
            refused.out.contains("spec.replicas: 3 → 1") && refused.out.contains("2 to change"),
            "{}",
            refused.out
        );
    }
    assert!(!desk.path().join("p.json").exists());
    // A machine gets nothing that it could take for a plan, and nobody who said yes anything but the refusal.
    let machine = desk.sandbox(&["plan", "--env", "production", "--version", "v3", "-o", "json"]).expect(1);
    assert_eq!(machine.out, "");
    let refused = run(&desk, &["deploy", "--version", "v3"]).expect(1);
    assert!(refused.out.is_empty() && !refused.err.contains("to change"), "{refused:?}");
    assert_eq!(versions(&desk), json!({"web": "v2", "api": "v2"}));
    // What the cluster does by itself goes on.
    let written = |saved: &[u8]| {
        let saved: Value = serde_json::from_slice(saved).expect("is JSON");
        let web = &saved["world"]["objects"]["apps|Deployment|shop|web"];
        (web["spec"].clone(), web["metadata"]["managedFields"].clone())
    };
    let after = std::fs::read(desk.path().join(".maily/sandbox.json")).expect("is there");
    assert_eq!(written(&before), written(&after));
}

/// `kubectl scale` goes by a part of the object's API, and is on record under it; who did something else has not done this.
#[test]
fn drift_is_put_down_to_who_owns_the_field_also_where_it_was_scaled() {
    let desk = Desk::with(SHOP);
    deploy(&desk, "v1");
    scale_by_hand(&desk);
    let path = desk.path().join(".maily/sandbox.json");
    let mut saved: Value = serde_json::from_slice(&std::fs::read(&path).expect("is there")).expect("is JSON");
    let fields = &mut saved["world"]["objects"]["apps|Deployment|shop|web"]["metadata"]["managedFields"];
    let fields = fields.as_array_mut().expect("is a list");
    let scaled = fields.iter_mut().find(|entry| entry["manager"] == "kubectl-edit").expect("is there");
    (scaled["manager"], scaled["subresource"]) = (json!("kubectl"), json!("scale"));
    let mut restarted = scaled.clone();
    restarted.as_object_mut().expect("a map").remove("subresource");
    restarted["manager"] = json!("kubectl-rollout");
    restarted["fieldsV1"] = json!({"f:metadata": {"f:annotations": {"f:restarted": {}}}});
    fields.push(restarted);
    std::fs::write(&path, saved.to_string()).expect("is ours");
    let refused = desk.sandbox(&["plan", "--env", "production", "--version", "v2"]).expect(1);
    let told = "was changed since the last release by kubectl: spec.replicas 1 -> 3";
    assert!(refused.err.contains(told), "{}", refused.err);
    assert!(refused.out.contains(told), "{}", refused.out);
    let status = desk.sandbox(&["status", "--env", "production"]).expect(0);
    assert!(status.out.contains("spec.replicas 1 -> 3 (by kubectl)"), "{}", status.out);
}

#[test]
fn a_plan_without_changes_of_what_does_not_serve_ends_with_4_and_says_why() {
    let desk = Desk::with(SHOP);
    deploy(&desk, "v1");
    deploy(&desk, "v2");
    desk.sandbox(&["sandbox", "fault", "add", "crash web@v2"]).expect(0);
    let plan =
        |version: &str| desk.sandbox(&["plan", "--env", "production", "--exit-code", "--version", version]);
    let until = Instant::now() + Duration::from_secs(60);
    let mut seen = plan("v2");
    while seen.code == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(500));
        seen = plan("v2");
    }
    let seen = seen.expect(4);
    let said = seen.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("Deployment shop/web stays as it is, and does not serve now: "), "{said}");
    assert!(said.contains("logs web --env production --previous"), "{said}");
    assert!(said.contains("rollback --env production --components web --last-good"), "{said}");
    // What changes is no look at what is there.
    plan("v1").expect(8);
}

#[test]
fn a_removal_is_called_by_what_it_removes() {
    let desk = Desk::with(SHOP);
    deploy(&desk, "v1");
    let title = |components: &str| {
        let args = ["remove", "--env", "production", "--components", components, "--dry-run"];
        desk.sandbox(&args).expect(0).out.lines().next().unwrap_or_default().to_owned()
    };
    assert!(title("web").starts_with("remove web → production"), "{}", title("web"));
    assert!(title("all").starts_with("remove all services → production"), "{}", title("all"));
}

#[test]
fn a_release_of_the_same_objects_is_told_in_one_note() {
    let desk = Desk::with(
        &SHOP
            .replace("images: 'registry.example/{service}:{version}'\n", "")
            .replace("scale: 1", "scale: 1, image: 'registry.example/x:1'"),
    );
    deploy(&desk, "v1");
    let plan = desk.sandbox(&["plan", "--env", "production", "--version", "v2"]).expect(0).out;
    let said = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    let note =
        "same objects as release 1: only a new release is recorded, in which web and api are v2; no image";
    assert!(said.contains(note), "{said}");
    assert_eq!(plan.lines().filter(|line| line.starts_with("  ! ")).count(), 1, "{plan}");
}
