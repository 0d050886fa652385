//! A phased deploy that ends on the way.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::Value;

use crate::{
    desk::{Desk, Done},
    server::{kubeconfig, refuse, serve},
};

const PROJECT: &str = "maily: 1
project: shop
environments:
  staging: {namespace: shop-staging}
  production: {namespace: shop}
services:
  api: {manifests: '{env}.yaml'}
";

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n";

fn phased(desk: &Desk, more: &[&str]) -> Done {
    desk.sandbox(&[&["phased-deploy", "--version", "v1", "--yes"][..], more].concat())
}

#[test]
fn what_an_earlier_environment_has_become_decides_the_code_too() {
    let desk = Desk::with(PROJECT);
    desk.write("staging.yaml", MAP);
    // Nobody serves this kind, which is known before anything is changed.
    desk.write("production.yaml", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\n");
    let failed = phased(&desk, &[]).expect(4).err;
    assert!(failed.contains("error: staging is at v1, production is as it was: "), "{failed}");
    assert!(failed.contains("the same command goes on"), "{failed}");
    assert!(failed.contains("`mailyctl --sandbox rollback --env staging --last-good`"), "{failed}");
    // Where this command has changed nothing, that is what its code says.
    let failed = phased(&desk, &[]).expect(1).err;
    assert!(failed.contains("Widget") && !failed.contains("staging is at"), "{failed}");
    desk.write("staging.yaml", &MAP.replace("b}", "c}"));
    let machine = phased(&desk, &["-o", "json"]).expect(4);
    let error: Value = serde_json::from_str(&machine.err).expect("is a document");
    assert_eq!(error["code"], 4, "{error}");
    assert!(error["message"].as_str().is_some_and(|said| said.contains("staging is at v1")), "{error}");
    // The remedy is one.
    desk.write("production.yaml", MAP);
    phased(&desk, &[]).expect(0);
}

#[test]
fn other_codes_stay_and_the_environments_are_named() {
    let desk = Desk::with(&PROJECT.replace("namespace: shop}", "namespace: shop, approval: required}"));
    desk.write("staging.yaml", MAP);
    desk.write("production.yaml", "apiVersion: v1\nmetadata: {name: a}\n");
    let refused = phased(&desk, &[]).expect(2).err;
    assert!(
        refused.contains("staging is at v1; back: `mailyctl --sandbox rollback --env staging"),
        "{refused}"
    );
    assert!(refused.contains("production.yaml:1"), "{refused}");
}

#[test]
fn machines_and_the_quiet_hear_what_an_earlier_environment_has_become() {
    let desk = Desk::with(PROJECT);
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api@v1"]).expect(0);
    desk.write(
        "production.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec:\n  \
         selector: {matchLabels: {app: api}}\n  template:\n    metadata: {labels: {app: api}}\n    \
         spec: {containers: [{name: api, image: 'r.example/api:v1'}]}\n",
    );
    let back = "`mailyctl --sandbox rollback --env staging --last-good`";
    // Each time anew: what is done has nothing to do, and is not told.
    let staging = |value: &str| desk.write("staging.yaml", &MAP.replace("b}", value));
    staging("c}");
    let told = phased(&desk, &["-q"]).expect(3).err;
    assert!(told.contains(&format!("staging is at v1; back: {back}")), "{told}");
    let document = |code: i32| -> Value {
        let told = phased(&desk, &["-o", "json"]).expect(code).err;
        let error: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
        assert_eq!(error["code"], code, "{error}");
        error
    };
    staging("d}");
    let error = document(3);
    assert_eq!(error["message"], "staging is at v1, production is not");
    assert!(error["help"].as_str().is_some_and(|help| help.contains(back)), "{error}");
    // Whatever else is wrong stands first.
    staging("e}");
    desk.write("production.yaml", "apiVersion: v1\nmetadata: {name: a}\n");
    let error = document(2);
    assert!(error["message"].as_str().is_some_and(|said| said.contains("production.yaml:1")), "{error}");
    let help = error["help"].as_str().unwrap_or_default();
    assert!(help.contains("staging is at v1") && help.contains(back), "{error}");
}

/// Earlier phases of staging may have been taken back since, or never begun.
#[test]
fn what_the_earlier_phases_of_staging_would_have_brought_is_asked_about_as_well() {
    let services = "services:\n  api: {manifests: 'api.yaml'}\n  web: {manifests: 'web.yaml'}\n";
    let phases = "phases:\n  - {name: api, environment: staging, services: [api]}\n  \
        - {name: web, environment: staging, services: [web]}\n  \
        - {name: all, environment: production, services: all}\n";
    let environments = PROJECT.split("services:").next().unwrap_or_default();
    let desk = Desk::with(&[environments, services, phases].concat());
    desk.write("api.yaml", MAP);
    desk.write("web.yaml", &MAP.replace("name: a", "name: w"));
    let refused = phased(&desk, &["--start-phase", "2"]).expect(7).err;
    assert!(refused.contains("version v1 of api was never seen to succeed on staging"), "{refused}");
    assert!(!released(&desk));
    phased(&desk, &["--end-phase", "1"]).expect(0);
    phased(&desk, &["--start-phase", "2"]).expect(0);
    assert!(released(&desk));
}

/// Whether production has a release.
fn released(desk: &Desk) -> bool {
    let status = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
    status["release"].is_number()
}

#[test]
fn what_was_never_seen_on_staging_is_asked_about_on_a_terminal() {
    let desk = Desk::with(PROJECT);
    desk.write("staging.yaml", MAP);
    desk.write("production.yaml", MAP);
    let message = "version v1 was never seen to succeed on staging";
    let skip = ["--sandbox", "phased-deploy", "--version", "v1", "--skip-staging"];
    let from_the_second = ["--sandbox", "phased-deploy", "--version", "v1", "--start-phase", "2"];
    for args in [&skip[..], &from_the_second] {
        // No answer is a no.
        for answer in ["n", "", "yess"] {
            let asked = desk.on_terminal(args, Some(answer)).expect(1).out;
            assert!(asked.contains(&format!("{message}. Go on? [y/N]")), "{asked}");
            assert!(asked.contains("not approved: nothing was changed"), "{asked}");
            assert!(!asked.contains("Carry it out?"), "{asked}");
        }
        // To go on is not yet to carry it out.
        let asked = desk.on_terminal(args, Some("y\nn")).expect(1).out;
        assert!(asked.contains("Carry it out? [y/N]") && asked.contains("not approved"), "{asked}");
        assert!(!released(&desk));
        // Where nobody can be asked it takes a reason.
        for more in [&[][..], &["--yes"]] {
            let refused = desk.run(&[args, more].concat()).expect(7).err;
            assert!(refused.contains(message) && refused.contains("`--yes --reason TEXT`"), "{refused}");
        }
        assert!(!released(&desk));
    }
    let asked = desk.on_terminal(&skip, Some("y\nyes")).expect(0).out;
    assert!(asked.contains("Go on? [y/N]") && released(&desk), "{asked}");
    // What was seen there is not asked about.
    phased(&desk, &[]).expect(0);
    let asked = desk.on_terminal(&from_the_second, Some("n"));
    assert!(!asked.out.contains("Go on?"), "{asked:?}");
}

#[test]
fn a_reason_goes_on_without_a_question_and_on_record() {
    let desk = Desk::with(PROJECT);
    desk.write("production.yaml", MAP);
    let told = phased(&desk, &["--skip-staging", "--reason", "staging is being rebuilt"]).expect(0);
    assert!(told.err.contains("version v1 was never seen to succeed on staging"), "{told:?}");
    let run = desk.sandbox(&["show", "run", "--env", "production"]).expect(0).out;
    assert!(run.contains("staging is being rebuilt"), "{run}");
}

#[test]
fn a_job_is_part_of_its_service_when_staging_is_asked_for_a_version() {
    let desk = Desk::with(
        "maily: 1\nproject: shop\nimages: 'registry.example/{service}:{version}'\n\
         environments: {staging: {namespace: shop-staging}, production: {namespace: shop}}\n\
         services:\n  api: {workload: {port: 80}}\n  migrate: {before: api, job: {command: [up]}}\n",
    );
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v1", "--yes"]).expect(0);
    let told = phased(&desk, &["--start-phase", "2"]).expect(0);
    assert!(!told.err.contains("was never seen"), "{}", told.err);
    assert!(released(&desk));
}

/// Staging is away, which is what going past it is for: a person has to say so, and the rest goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_staging_that_cannot_be_looked_at_is_gone_past_with_a_reason() {
    for (staging, why) in [
        ("{namespace: staging}", "environment `staging` is not bound to a cluster"),
        ("{namespace: staging, cluster: {context: gone, identity: {uid: u}}}", "gone"),
        ("{namespace: staging, cluster: {context: c, identity: {uid: u}}}", "no entry"),
    ] {
        let reached = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&reached);
        let server = serve("u", move |request| {
            seen.fetch_or(request.path.contains("/namespaces/shop/"), Ordering::Relaxed);
            let refused = request.path == "/api/v1/namespaces/staging";
            refused.then(|| refuse(403, "Forbidden", "no entry"))
        })
        .await;
        let desk = Desk::with(&format!(
            "maily: 1\nproject: shop\nenvironments:\n  staging: {staging}\n\
             \x20 production: {{namespace: shop, cluster: {{context: c, identity: {{uid: u}}}}}}\n\
             services: {{web: {{image: 'r.example/web:{{version}}', workload: {{port: 80}}}}}}\n"
        ));
        desk.write("kubeconfig", &kubeconfig(&server.url()));
        let skip = ["--kubeconfig", "kubeconfig", "phased-deploy", "--version", "v1", "--skip-staging"];
        let message = "version v1 could not be looked for on staging: ";
        for more in [&[][..], &["--yes"]] {
            let refused = desk.run(&[&skip[..], more].concat()).expect(7).err;
            assert!(refused.contains(message) && refused.contains(why), "{refused}");
            assert!(refused.contains("`--yes --reason TEXT`"), "{refused}");
        }
        let asked = desk.on_terminal(&skip, Some("n")).expect(1).out;
        assert!(asked.contains("Go on? [y/N]") && asked.contains(message), "{asked}");
        assert!(!reached.load(Ordering::Relaxed), "{why}");
        let told = desk.run(&[&skip[..], &["--yes", "--reason", "staging is being rebuilt"]].concat()).err;
        assert!(told.contains(&format!("! {message}")) && told.contains(why), "{told}");
        assert!(reached.load(Ordering::Relaxed), "{told}");
    }
}

/// The code says that something does not serve, and the words that the version is there all the same.
#[test]
fn a_last_environment_that_was_released_beside_something_idle_is_not_said_to_be_without_the_version() {
    let desk = Desk::with(
        "maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments: {staging: {namespace: shop-staging}, production: {namespace: shop}}
services:
  cache: {manifests: '{env}.yaml'}
  web: {workload: {port: 80}}
phases: [{name: try, environment: staging, services: all}, {name: all, environment: production, services: all}]
",
    );
    desk.write("staging.yaml", MAP);
    desk.write(
        "production.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cache}\nspec:\n  \
         selector: {matchLabels: {app: cache}}\n  template:\n    metadata: {labels: {app: cache}}\n    \
         spec: {containers: [{name: cache, image: 'r.example/cache:1'}]}\n",
    );
    phased(&desk, &[]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "crash", "cache@1"]).expect(0);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let told = desk.sandbox(&["phased-deploy", "--version", "v2", "--yes", "-o", "json"]).expect(4).err;
    let error: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    let said = "staging is at v2, production as well, but not all that it left as it was serves";
    assert_eq!(error["message"], said, "{error}");
}
