//! Which kubeconfig is read, and what is said of one that does not do.

use std::process::Command;

use maily_testkit::harness::Loopback;
use serde_json::json;

use crate::{
    desk::{Desk, done},
    server::{BOUND, bound, context, kubeconfig, refuse, serve},
};

/// Three servers, and a desk with a kubeconfig for each, of which the third is that of the home folder.
async fn three() -> (Desk, [Loopback; 3]) {
    let servers = [serve("one", |_| None).await, serve("two", |_| None).await, serve("home", |_| None).await];
    let desk = Desk::empty();
    desk.write("one", &context("first", &servers[0].url()));
    desk.write("two", &context("second", &servers[1].url()));
    desk.write(".kube/config", &context("home", &servers[2].url()));
    (desk, servers)
}

/// The uid of the cluster that is bound.
#[track_caller]
fn reached(mut command: Command, kubeconfig: Option<&str>) -> String {
    if let Some(value) = kubeconfig {
        command.env("KUBECONFIG", value);
    }
    let bound = done(command).expect(0).json();
    bound["cluster"]["uid"].as_str().expect("is told").to_owned()
}

/// Binds a project that was never bound: a binding remembers its context.
fn bind(desk: &Desk, more: &[&str]) -> Command {
    desk.write(
        "maily.yaml",
        "maily: 1\nproject: shop\nservices: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n",
    );
    let bind = ["env", "bind", "production", "--namespace", "shop", "-o", "json"];
    desk.command(&[&bind, more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubeconfig_is_that_of_the_option_then_of_the_variable_then_of_the_home_folder() {
    let (desk, _servers) = three().await;
    let with = |more: &[&'static str]| bind(&desk, more);
    assert_eq!(reached(with(&["--kubeconfig", "one"]), Some("two")), "one");
    assert_eq!(reached(with(&[]), Some("two")), "two");
    assert_eq!(reached(with(&[]), None), "home");
    assert_eq!(reached(with(&[]), Some("")), "home", "an empty variable is none");
    // The one that was chosen is not there: another one is never taken for it.
    for (option, variable) in [(Some("absent"), Some("two")), (None, Some("absent"))] {
        let mut command =
            with(&option.map(|file| ["--kubeconfig", file]).into_iter().flatten().collect::<Vec<_>>());
        variable.map(|value| command.env("KUBECONFIG", value));
        let refused = done(command).expect(1).err;
        assert!(refused.contains("absent") && refused.contains("cannot be read"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_of_the_variable_are_one_kubeconfig() {
    let (desk, _servers) = three().await;
    let with = |more: &[&'static str]| bind(&desk, more);
    // The first that has a current context says which, and every context can be chosen.
    assert_eq!(reached(with(&[]), Some("one:two")), "one");
    assert_eq!(reached(with(&[]), Some("two:one")), "two");
    assert_eq!(reached(with(&["--context", "second"]), Some("one:two")), "two");
    // The first that has a name keeps it.
    desk.write(
        "thief",
        &std::fs::read_to_string(desk.path().join("two")).expect("is there").replace("second", "first"),
    );
    assert_eq!(reached(with(&["--context", "first"]), Some("one:thief")), "one");
    // As for kubectl, what is empty or not there says nothing.
    assert_eq!(reached(with(&[]), Some(":absent:two:")), "two");
    let refused = {
        let mut command = with(&["--context", "home"]);
        command.env("KUBECONFIG", "one:two");
        done(command).expect(1).err
    };
    assert!(refused.contains("no context `home`") && refused.contains("first, second"), "{refused}");
}

/// Messages of the page's table, with `…` where anything may stand.
fn messages() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/how-to/credentials.md");
    let page = std::fs::read_to_string(page).expect("can be read");
    let (_, table) = page.split_once("| message | remedy |\n|---|---|\n").expect("has a table");
    let rows = table.lines().take_while(|line| line.starts_with("| "));
    rows.map(|row| {
        let message = row.trim_start_matches("| ").split(" | ").next().expect("has a cell").trim();
        message.trim_matches('`').trim().to_owned()
    })
    .collect()
}

/// Whether the parts of a message stand in a text, in their order.
fn says(text: &str, message: &str) -> bool {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = text.as_str();
    message.split('…').map(str::trim).filter(|part| !part.is_empty()).all(|part| {
        let at = rest.find(part);
        at.is_some_and(|at| {
            rest = &rest[at + part.len()..];
            true
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_the_page_is_said_by_the_program() {
    let other = serve("another", |_| None).await;
    let forbidden = serve("u", |request| {
        let lease = request.path.contains("/leases/");
        lease.then(|| refuse(403, "Forbidden", "leases.coordination.k8s.io \"maily-production\" is forbidden: User \"ci\" cannot get resource \"leases\" in API group \"coordination.k8s.io\" in the namespace \"shop\""))
    })
    .await;
    let expired = serve("u", |_| Some(refuse(401, "Unauthorized", "Unauthorized"))).await;
    let status = |desk: &Desk, file: &str| desk.run(&["--kubeconfig", file, "status"]).err;
    let unbound = Desk::with(&BOUND.replace(", cluster: {context: c, identity: {uid: u}}", ""));
    unbound.write("kubeconfig", &kubeconfig(&other.url()));
    let nameless = bound(&other);
    nameless.write("kubeconfig", &context("else", &other.url()));
    let said = [
        status(&bound(&other), "absent"),
        status(&nameless, "kubeconfig"),
        status(&bound(&other), "kubeconfig"),
        status(&bound(&expired), "kubeconfig"),
        status(&bound(&forbidden), "kubeconfig"),
        status(&unbound, "kubeconfig"),
    ];
    let messages = messages();
    assert_eq!(messages.len(), said.len(), "{messages:?}");
    for message in &messages {
        assert!(said.iter().any(|text| says(text, message)), "`{message}` is not said: {said:#?}");
    }
    for text in &said {
        assert!(messages.iter().any(|message| says(text, message)), "the page does not know: {text}");
    }
    assert_eq!(json!(says("a b c", "a … d")), json!(false), "the comparison can fail");
}
