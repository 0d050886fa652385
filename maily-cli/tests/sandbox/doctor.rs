//! What `doctor` sees before a release or a way back fails.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maily_testkit::harness::Loopback;
use serde_json::{Map, Value, json};

use crate::{
    bad_input::services,
    desk::{Desk, Done},
    server::{answer, bound, refuse, reviewed, serve},
};

fn secret(password: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: db}}\nstringData: {{password: {password}}}\n")
}

/// A shop that has released a Secret.
fn released() -> Desk {
    let desk = Desk::with(&services("  api: {manifests: m.yaml}"));
    deploy(&desk, "v1", "hunter2");
    desk
}

fn deploy(desk: &Desk, version: &str, password: &str) {
    desk.write("m.yaml", &secret(password));
    desk.sandbox(&["deploy", "--version", version, "--yes"]).expect(0);
}

fn doctor(desk: &Desk) -> Done {
    desk.sandbox(&["doctor"])
}

/// Changes the objects of the sandbox behind everybody's back.
fn edit(desk: &Desk, change: impl FnOnce(&mut Map<String, Value>)) {
    let path = desk.path().join(".maily/sandbox.json");
    let mut saved: Value = serde_json::from_slice(&std::fs::read(&path).expect("is there")).expect("is JSON");
    change(saved["world"]["objects"].as_object_mut().expect("is a map"));
    std::fs::write(&path, saved.to_string()).expect("is ours");
}

fn lose(desk: &Desk, name: &str) {
    edit(desk, |objects| {
        let before = objects.len();
        objects.retain(|key, _| !key.contains(name));
        assert_eq!(objects.len() + 1, before, "{name}");
    });
}

/// The stored values.
fn payloads(desk: &Desk) -> Vec<String> {
    let mut names = Vec::new();
    edit(desk, |objects| {
        let stored = objects.keys().filter(|key| key.contains("maily-payload-"));
        names.extend(stored.filter_map(|key| key.rsplit('|').next().map(str::to_owned)));
    });
    names
}

#[test]
fn a_lost_value_of_the_release_in_force_is_told_and_can_be_stored_again() {
    let desk = released();
    let well = doctor(&desk).expect(0).out;
    assert!(well.contains("1 value of Secrets can be restored"), "{well}");
    let [payload] = payloads(&desk).try_into().expect("is one");
    lose(&desk, &payload);
    let ill = doctor(&desk).expect(1).out;
    for part in ["release 1, which is in force", "`password` of Secret/db", &format!("({payload} is gone)")] {
        assert!(ill.contains(part), "{part} in {ill}");
    }
    let remedy = "plan --env production --version v1 --out FILE";
    assert!(ill.contains(remedy), "{ill}");
    desk.sandbox(&remedy.split(' ').collect::<Vec<_>>()).expect(0);
    doctor(&desk).expect(0);
    // Another content than the one that the name stands for is worth nothing.
    edit(&desk, |objects| {
        let key = objects.keys().find(|key| key.contains(&payload)).expect("is back").clone();
        objects[&key]["data"]["value"] = "b3RoZXI=".into();
    });
    let ill = doctor(&desk).expect(1).out;
    assert!(ill.contains("does not fit its name") && ill.contains("delete what is not"), "{ill}");
    assert!(!ill.contains("hunter2") && !ill.contains("other="), "{ill}");
}

#[test]
fn a_lost_value_of_an_earlier_release_is_told_and_hinders_nobody() {
    let desk = released();
    let [first] = payloads(&desk).try_into().expect("is one");
    deploy(&desk, "v2", "hunter3");
    lose(&desk, &first);
    let told = doctor(&desk).expect(0).out;
    assert!(told.contains("there is no way back to release 1: `password` of Secret/db"), "{told}");
    let back = desk.sandbox(&["rollback", "--release", "1", "--yes"]);
    assert!(back.code != 0 && back.err.contains("a stored value of a Secret is missing"), "{back:?}");
}

#[test]
fn an_earlier_release_that_cannot_be_read_is_told_and_hides_no_lost_value() {
    for (record, code, said) in [
        (
            r#"{"format":9}"#,
            1,
            "✗ release      record `release/000000001` was written by a newer maily (format 9)",
        ),
        ("{}", 0, "! release      record `release/000000001` is damaged"),
    ] {
        let desk = released();
        let [first] = payloads(&desk).try_into().expect("is one");
        deploy(&desk, "v2", "hunter3");
        let second = payloads(&desk).into_iter().find(|name| *name != first).expect("is another one");
        edit(&desk, |objects| {
            let key = objects.keys().find(|key| key.ends_with("maily-production.release.000000001"));
            let key = key.expect("is on record").clone();
            objects[&key]["data"]["record"] = STANDARD.encode(record).into();
        });
        let told = doctor(&desk).expect(code).out;
        assert!(told.contains(said), "`{said}` in:\n{told}");
        assert!(told.contains("✓ payloads     1 value of Secrets can be restored"), "{told}");
        lose(&desk, &second);
        let told = doctor(&desk).expect(1).out;
        assert!(told.contains("release 2, which is in force, could not be gone back to"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_asks_a_server_again_that_is_away_for_a_moment() {
    let asked = AtomicUsize::new(0);
    let server = serve("u", move |request| {
        let first = request.path == "/version" && asked.fetch_add(1, Ordering::SeqCst) == 0;
        first.then(|| refuse(503, "ServiceUnavailable", "restarts"))
    })
    .await;
    let told = bound(&server).run(&["--kubeconfig", "kubeconfig", "doctor"]).expect(0).out;
    assert!(told.contains("✓ server       1.36.0"), "{told}");
}

/// Of a moment in which it does not answer nothing is told, whatever was asked in it.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_asks_again_for_rights_namespaces_and_the_fence() {
    let asked = Mutex::new(BTreeMap::<String, usize>::new());
    let server = serve("u", move |request| {
        let path = &request.path;
        let mut asked = asked.lock().expect("is not poisoned");
        let turn = asked.entry(path.clone()).and_modify(|turn| *turn += 1).or_insert(1);
        let forbidden =
            || refuse(403, "Forbidden", &format!("{path} is forbidden: User \"u\" cannot get it"));
        match path.as_str() {
            "/api/v1/namespaces/shop/configmaps/maily-fence-production"
            | "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
                if *turn == 1 =>
            {
                Some(refuse(503, "ServiceUnavailable", "restarts"))
            }
            // First the check, which is refused, then the look for what was refused.
            "/api/v1/namespaces/shop" if turn.is_multiple_of(2) => {
                Some(refuse(503, "ServiceUnavailable", "restarts"))
            }
            "/api/v1/namespaces/shop" | "/api/v1/namespaces/shop/configmaps/maily-fence-production" => {
                Some(forbidden())
            }
            _ => None,
        }
    })
    .await;
    let told = bound(&server).run(&["--kubeconfig", "kubeconfig", "doctor"]).expect(1).out;
    for part in [
        "not allowed: get namespaces `shop`",
        "! fence        none is recorded, and these credentials may not see whether there is one",
        "✓ permissions  all ",
    ] {
        assert!(told.contains(part), "`{part}` in:\n{told}");
    }
    assert!(!told.contains("restarts"), "{told}");
}

#[test]
fn a_lost_key_is_told_before_the_next_run_makes_another_one() {
    let desk = released();
    lose(&desk, "maily-key-production");
    let ill = doctor(&desk).expect(1).out;
    assert!(ill.contains("Secret shop/maily-key-production is gone"), "{ill}");
    // Nothing is called changed that cannot be compared.
    assert!(!ill.contains("does not fit"), "{ill}");
    deploy(&desk, "v2", "hunter3");
    let told = doctor(&desk).expect(0).out;
    assert!(
        told.contains("no way back to release 1") && told.contains("or the key is another one"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_hides_no_other_one() {
    let server = serve("u", |request| {
        if let Some(asked) = reviewed(request) {
            let denied = asked["resource"] == "deployments" && asked["verb"] == "patch";
            let review = json!({"kind": "SelfSubjectAccessReview", "status": {"allowed": !denied}});
            return Some(answer(201, &review));
        }
        let path = &request.path;
        let hidden = path.starts_with("/api/v1/namespaces/") && !path.ends_with("/secrets");
        let message = format!("{path} is forbidden: User \"u\" cannot get it");
        hidden.then(|| refuse(403, "Forbidden", &message))
    })
    .await;
    let desk = bound(&server);
    let told = desk.run(&["--kubeconfig", "kubeconfig", "doctor"]).expect(1).out;
    for part in [
        "not allowed: get namespaces `kube-system`, get namespaces `shop`",
        "a ClusterRole that allows `get` on `namespaces` with `resourceNames: [kube-system, shop]`",
        "not allowed: patch deployments.apps (needed, by the project file)",
        "a Role in namespace `shop`",
        "`mailyctl --kubeconfig kubeconfig doctor --env production --role` prints it",
        "nothing released yet",
    ] {
        assert!(told.contains(part), "`{part}` in:\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_to_ask_for_is_printed_alone() {
    let server = serve("u", |_| None).await;
    let desk = bound(&server);
    let role = desk.run(&["--kubeconfig", "kubeconfig", "doctor", "--role"]).expect(0);
    assert!(
        role.out.starts_with("# What releases of `production` need, by the project file.\n"),
        "{}",
        role.out
    );
    for part in [
        "kind: Role\nmetadata: {name: maily-production, namespace: shop}\n",
        "  - {apiGroups: [apps], resources: [deployments], verbs: [create, delete, get, list, patch, watch]}\n",
        "  - {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [create, delete, get, list, patch]}\n",
        "kind: ClusterRole\nmetadata: {name: maily-shop-production}\n",
        "  - {apiGroups: [\"\"], resources: [namespaces], resourceNames: [kube-system], verbs: [get]}\n",
    ] {
        assert!(role.out.contains(part), "`{part}` in:\n{}", role.out);
    }
    assert!(!role.out.contains('✓') && role.err.contains("✓ permissions"), "{}", role.err);
    let document =
        desk.run(&["--kubeconfig", "kubeconfig", "doctor", "--role", "-o", "json"]).expect(0).json();
    assert_eq!(document["role"], role.out.as_str());
}

/// Whoever sends it to a file has a manifest there, or nothing.
#[test]
fn where_no_role_can_be_derived_none_is_printed() {
    let desk = Desk::example();
    let done = desk.run(&["doctor", "--role", "--env", "production"]).expect(1);
    assert!(done.out.is_empty() && done.err.contains("production"), "{done:?}");
}

#[test]
fn the_manual_shows_the_role_as_it_is_printed() {
    let desk = Desk::with(&services("  web: {workload: {port: 80}}\n  work: {workload: {command: [work]}}"));
    let printed = desk.sandbox(&["doctor", "--role"]).expect(0).out;
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/how-to/bind-an-environment.md");
    let page = std::fs::read_to_string(page).expect("can be read");
    let (_, shown) = page.split_once("```yaml\n").expect("shows one");
    let (shown, _) = shown.split_once("```").expect("ends");
    let words = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.skip_while(|line| *line == "---").map(str::to_owned).collect()
    };
    assert_eq!(words(shown), words(&printed));
}

/// Files of no version tell nothing; those of one that is named do.
#[test]
fn services_whose_needs_are_not_known_are_named() {
    let desk = Desk::with(&services("  api: {manifests: 'm/{version}.yaml'}\n  web: {workload: {port: 80}}"));
    let told = doctor(&desk).expect(0).out;
    let part = "! permissions  what service `api` needs is not known: ";
    assert!(told.contains(part) && told.contains("m/v0.yaml"), "{told}");
    assert!(told.contains("doctor --env production --version VERSION"), "{told}");
    assert!(told.contains("that a release needs, by the project file"), "{told}");
    // Where a path is the same at every version, another one changes nothing.
    let fixed = Desk::with(&services("  api: {manifests: k8s}\n  web: {manifests: k8s}"));
    let told = doctor(&fixed).out;
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    let once = "what services `api`, `web` need is not known: `k8s`: there is no such file or folder help: correct the path";
    assert!(told.contains(once) && !told.contains("--version VERSION"), "{told}");
    let plan = fixed.sandbox(&["plan", "--version", "v1"]).expect(2).err;
    assert!(plan.contains("correct the path") && !plan.contains("another version"), "{plan}");
    let plan = desk.sandbox(&["plan", "--version", "v1"]).expect(2).err;
    assert!(plan.contains("correct the path, or choose another version"), "{plan}");
    desk.write("m/v3.yaml", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: api}\nspec: {schedule: '* * * * *', jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: 'r.example/api:v3'}]}}}}}\n");
    let told = doctor(&desk).expect(0).out;
    assert!(told.contains("by the project file and the files at v3"), "{told}");
    let role = desk.sandbox(&["doctor", "--version", "v3", "--role"]).expect(0).out;
    assert!(role.contains("resources: [cronjobs]"), "{role}");
    let refused = desk.sandbox(&["doctor", "--version", "latest"]).expect(2).err;
    assert!(refused.contains("--version latest"), "{refused}");
    // A kind that nobody serves would stop the next plan.
    desk.write("m/v4.yaml", "apiVersion: nobody.example/v1\nkind: Thing\nmetadata: {name: api}\n");
    let told = desk.sandbox(&["doctor", "--version", "v4"]).expect(1).out;
    assert!(told.contains("the cluster does not serve Thing (nobody.example/v1)"), "{told}");
}

/// A server whose clock is that much ahead.
async fn ahead(seconds: i64) -> Loopback {
    serve("u", move |request| {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let date =
            jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).expect("has one");
        let version = answer(200, &json!({"gitVersion": "v1.36.0"}));
        (request.path == "/version").then(|| version.header("date", &date))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_are_told() {
    for (seconds, state) in [(0, "ok"), (3, "ok"), (-3, "ok"), (9, "warn"), (-9, "warn"), (7200, "warn")] {
        let server = ahead(seconds).await;
        let desk = bound(&server);
        // Good to know, and nothing that keeps from a release.
        let told = desk.run(&["--kubeconfig", "kubeconfig", "doctor", "-o", "json"]).expect(0).json();
        let clock = told["findings"].as_array().expect("is a list").iter().find(|one| one["what"] == "clock");
        let clock = clock.expect("is told");
        assert_eq!(clock["state"], state, "{seconds}: {clock}");
        let detail = clock["detail"].as_str().expect("is text");
        let differs: f64 = detail.split(' ').find_map(|word| word.parse().ok()).expect("says by how much");
        let differs = if detail.ends_with(" ms") { differs / 1000.0 } else { differs };
        // The header has whole seconds.
        assert!((differs - seconds as f64).abs() < 1.5, "{seconds}: {detail}");
        assert_eq!(clock["help"].is_string(), state == "warn", "{clock}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_not_told_is_not_a_good_one() {
    for date in [None, Some("yesterday"), Some("Thu, 99 Nov 2026 08:00:00 GMT")] {
        let server = serve("u", move |request| {
            let version = answer(200, &json!({"gitVersion": "v1.36.0"}));
            let version = date.map_or(version.clone(), |date| version.header("date", date));
            (request.path == "/version").then_some(version)
        })
        .await;
        let told = bound(&server).run(&["--kubeconfig", "kubeconfig", "doctor"]).expect(0).out;
        assert!(told.contains("! clock") && told.contains("the server did not tell its time"), "{told}");
    }
}
