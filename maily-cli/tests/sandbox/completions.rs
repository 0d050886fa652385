//! What a shell offers at the cursor.

use std::path::Path;

use crate::desk::{Desk, Done, done};

/// Bound to a server that nobody asks.
const SHOP: &str = "maily: 1\nproject: shop\nimages: 'registry.example/{service}:{version}'\n\
    environments:\n  production: {namespace: shop, cluster: {context: c, identity: {uid: u}}}\n  staging: {}\n\
    services:\n  api: {workload: {port: 80}}\n  web: {workload: {port: 80}}\n  worker: {workload: {port: 80}}\n";

/// What is offered for the last word.
fn offered(desk: &Desk, words: &[&str]) -> Vec<String> {
    let mut command = desk.command(&["--"]);
    let index = (words.len() - 1).to_string();
    command.args(words).env("MAILYCTL_COMPLETE", "bash");
    command.env("_CLAP_COMPLETE_INDEX", index).env("_CLAP_IFS", "\n");
    let Done { out, err, .. } = done(command).expect(0);
    assert_eq!(err, "");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn names_of_the_project_are_offered() {
    let desk = Desk::with(SHOP);
    for (words, wanted) in [
        (&["deploy", "--env", ""][..], &["production", "staging"][..]),
        (&["deploy", "--environment", "pro"], &["production"]),
        (&["status", "-e", "s"], &["staging"]),
        (&["deploy", "--env=p"], &["--env=production"]),
        (&["env", "bind", "st"], &["staging"]),
        (&["deploy", "--version", "v1", "--components", "w"], &["web", "worker"]),
        (&["plan", "--components", "api,we"], &["api,web"]),
        (&["remove", "--components", "a"], &["api", "all"]),
        (&["logs", "--env", "staging", "ap"], &["api"]),
        (&["--sandbox", "phased-deploy", "--skip"], &["--skip-staging"]),
        (&["schema", "--for", "stat"], &["status"]),
    ] {
        let words = [&["mailyctl"], words].concat();
        assert_eq!(offered(&desk, &words), wanted, "{words:?}");
    }
}

#[test]
fn the_project_is_the_one_of_the_line() {
    let desk = Desk::empty();
    desk.write("shops/other.yaml", SHOP);
    let line = |globals: &[&'static str]| [&["mailyctl"], globals, &["deploy", "--env", "s"]].concat();
    let globals: &[&str] = &["-C", "shops", "--file", "other.yaml"];
    assert_eq!(offered(&desk, &line(globals)), ["staging"]);
    let behind = ["mailyctl", "deploy", "--file=shops/other.yaml", "--components", "api,wo"];
    assert_eq!(offered(&desk, &behind), ["api,worker"]);
    // Where there is no project, or one that cannot be read, there is nothing to say.
    let none: [&str; 0] = [];
    assert_eq!(offered(&desk, &line(&[])), none);
    desk.write("maily.yaml", "maily: [");
    assert_eq!(offered(&desk, &line(&[])), none);
}

#[test]
fn the_script_makes_a_shell_ask() {
    let desk = Desk::with(SHOP);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(desk.run(&["completions", shell]).expect(0).out.contains("MAILYCTL_COMPLETE"), "{shell}");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_mailyctl"));
    let mut command = std::process::Command::new("bash");
    command.current_dir(desk.path()).args([
        "-c",
        "PATH=\"$1:$PATH\"; eval \"$(mailyctl completions bash)\"\n\
         COMP_WORDS=(mailyctl deploy --components w); COMP_CWORD=3\n\
         _clap_complete_mailyctl mailyctl w --components; printf '%s\\n' \"${COMPREPLY[@]}\"",
        "bash",
    ]);
    command.arg(program.parent().expect("is in a folder"));
    assert_eq!(done(command).expect(0).out.lines().collect::<Vec<_>>(), ["web", "worker"]);
}
