//! When there is colour, and when there is none.

use std::process::Command;

use crate::{
    desk::{Desk, done},
    terminal,
};

/// Colours and weights of a text, each once.
fn styles(text: &str) -> std::collections::BTreeSet<String> {
    let style = regex::Regex::new("\u{1b}\\[[0-9;]*m").expect("is a pattern");
    style.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

fn released() -> Desk {
    let desk = Desk::example();
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    desk
}

fn with(desk: &Desk, variables: &[(&str, &str)], args: &[&str]) -> Command {
    let mut command = desk.command(&[&["--sandbox"], args].concat());
    command.env_remove("NO_COLOR").envs(variables.iter().copied());
    command
}

const STATUS: [&str; 3] = ["status", "--env", "production"];

#[test]
fn a_terminal_has_colour_unless_it_is_not_wanted() {
    let desk = released();
    let seen =
        |variables: &[(&str, &str)], args: &[&str]| terminal::run(with(&desk, variables, args), 80, None).1;
    let coloured = seen(&[], &STATUS);
    assert!(!styles(&coloured).is_empty(), "{coloured:?}");
    // An empty variable says nothing.
    assert!(!styles(&seen(&[("NO_COLOR", "")], &STATUS)).is_empty());
    for variables in [&[("NO_COLOR", "1")][..], &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]] {
        let plain = seen(variables, &STATUS);
        assert!(styles(&plain).is_empty() && plain.contains("production"), "{plain:?}");
    }
    // Errors and warnings as well.
    let unknown = ["status", "--env", "prodction"];
    assert!(!styles(&seen(&[], &unknown)).is_empty());
    assert!(styles(&seen(&[("NO_COLOR", "1")], &unknown)).is_empty());
    assert!(
        styles(&seen(&[], &[&STATUS[..], &["-o", "json"]].concat())).is_empty(),
        "a document is for machines"
    );
}

/// What stands beside the results goes elsewhere than they do.
#[test]
fn each_stream_has_the_colours_that_it_can_show() {
    let desk = released();
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api@v2.0.0"]).expect(0);
    let sent = |variables: &str, args: &str| {
        let mut shell = Command::new("sh");
        let tool = with(&desk, &[], &[]).get_program().to_owned();
        shell.current_dir(desk.path()).env_remove("NO_COLOR").env("TOOL", tool);
        shell.args(["-c", &format!("{variables} \"$TOOL\" --sandbox {args}")]);
        terminal::run(shell, 80, None)
    };
    let (code, _) = sent("", "deploy --env production --version v2.0.0 --yes 2>told");
    assert_eq!(code, 3);
    let told = std::fs::read_to_string(desk.path().join("told")).expect("is written");
    assert!(told.contains("rolled back") && styles(&told).is_empty(), "{told:?}");
    let dumb = sent("TERM=dumb", "status --env prodction").1;
    assert!(styles(&dumb).is_empty() && dumb.contains("prodction"), "{dumb:?}");
}

#[test]
fn a_pipe_has_no_colour_unless_it_is_forced() {
    let desk = released();
    let out = |variables: &[(&str, &str)], args: &[&str]| done(with(&desk, variables, args)).expect(0).out;
    assert!(styles(&out(&[], &STATUS)).is_empty());
    assert!(!styles(&out(&[("CLICOLOR_FORCE", "1")], &STATUS)).is_empty());
    assert!(styles(&out(&[("CLICOLOR_FORCE", "0")], &STATUS)).is_empty());
    assert!(styles(&out(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &STATUS)).is_empty());
    assert!(styles(&out(&[("CLICOLOR_FORCE", "1")], &[&STATUS[..], &["-o", "json"]].concat())).is_empty());
}

#[test]
fn each_pod_of_a_log_has_a_colour_of_its_own() {
    let desk = released();
    let logs = ["logs", "--env", "production", "api"];
    let coloured = done(with(&desk, &[("CLICOLOR_FORCE", "1")], &logs)).expect(0).out;
    let plain = done(with(&desk, &[], &logs)).expect(0).out;
    let mut by_pod = std::collections::BTreeMap::new();
    for (line, wanted) in coloured.lines().zip(plain.lines()) {
        let pod = wanted.split(' ').next().expect("has a pod");
        // The prefix alone is painted: what a container says stays as it is.
        let prefix: Vec<&str> = wanted.splitn(3, ' ').collect();
        let style = styles(line.split(pod).next().expect("begins"));
        let style = style.first().expect("begins with a colour").clone();
        assert_eq!(line, format!("{style}{} {}\u{1b}[0m {}", prefix[0], prefix[1], prefix[2]));
        by_pod.entry(pod).or_insert_with(std::collections::BTreeSet::new).insert(style);
    }
    assert!(by_pod.len() > 1 && by_pod.values().all(|styles| styles.len() == 1), "{by_pod:?}");
    let different: std::collections::BTreeSet<_> = by_pod.values().flatten().collect();
    assert!(different.len() > 1, "{by_pod:?}");
}
