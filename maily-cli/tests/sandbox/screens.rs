//! Screens, as a person sees them.

use std::num::NonZeroU16;

use crate::{
    desk::Desk,
    terminal::{COLUMNS, ROWS, Terminal},
};

/// Names and times that differ from run to run.
fn settled(text: &str) -> String {
    let mut settings = Vec::new();
    for (pattern, name) in [
        (r"\d{8}-\d{6}-[0-9a-f]{6}", "[run]"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[time]"),
        (r"tester@[^\s/]+/\d+", "tester@host/1"),
        (r"\b\d+(\.\d)?s\b", "[span]"),
        (r"-[0-9a-f]{10}-[0-9a-z]{5}\b", "-[pod]"),
        (r"plan [0-9a-f]{11}", "plan [digest]"),
    ] {
        settings.push((pattern, name));
    }
    let mut text = text.to_owned();
    for (pattern, name) in settings {
        text = regex::Regex::new(pattern).expect("is a pattern").replace_all(&text, name).into_owned();
    }
    // Columns are as wide as what was replaced.
    regex::Regex::new(" {2,}").expect("is a pattern").replace_all(&text, "  ").into_owned()
}

#[test]
fn plans_tables_and_failures() {
    let desk = Desk::example();
    let first = desk.sandbox(&["plan", "--env", "production", "--version", "v1.0.0"]).expect(0);
    insta::assert_snapshot!("plan_of_a_first_release", settled(&first.out));
    desk.sandbox(&["phased-deploy", "--version", "v1.0.0", "--yes"]).expect(0);
    let next = desk.sandbox(&["plan", "--env", "production", "--version", "v1.1.0"]).expect(0);
    insta::assert_snapshot!("plan_of_a_new_version", settled(&next.out));
    let status = desk.sandbox(&["status", "--env", "production"]).expect(0);
    insta::assert_snapshot!("status", settled(&status.out));
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api@v1.1.0"]).expect(0);
    let failed = desk.sandbox(&["deploy", "--env", "production", "--version", "v1.1.0", "--yes"]).expect(3);
    insta::assert_snapshot!("failed_deploy", settled(&failed.err));
    let run = desk.sandbox(&["show", "run", "--env", "production"]).expect(0).out;
    let (back, times) = (["undo ", "undid"], regex::Regex::new(r"^\S+Z +e\d").expect("is a pattern"));
    let back: Vec<&str> = run.lines().filter(|line| back.iter().any(|word| line.contains(word))).collect();
    assert!(!back.is_empty() && back.iter().all(|line| times.is_match(line)), "{run}");
    assert!(back.iter().any(|line| line.ends_with("s)")), "how long it took: {run}");
    let history = desk.sandbox(&["history", "--env", "production"]).expect(0);
    insta::assert_snapshot!("history", settled(&history.out));
    let release = desk.sandbox(&["show", "release", "--env", "production"]).expect(0);
    insta::assert_snapshot!("release", settled(&release.out));
    let project = desk.sandbox(&["show", "project", "--env", "staging"]).expect(0);
    insta::assert_snapshot!("project", settled(&project.out));
    let doctor = desk.sandbox(&["doctor", "--env", "production"]).expect(0);
    insta::assert_snapshot!("doctor", settled(&doctor.out));
}

#[test]
fn lines_are_broken_at_the_width_of_a_terminal_and_commands_never() {
    let folder = "a-folder-of-a-project-with-a-name-that-leaves-no-room-for-more";
    let desk = Desk::empty();
    let example =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/maily/maily.yaml"));
    desk.write(&format!("{folder}/maily.yaml"), &example.expect("can be read"));
    let deploy = |version: &'static str| {
        ["-C", folder, "--sandbox", "-o", "text", "deploy", "--env", "production", "--version", version]
    };
    desk.run(&[&deploy("v1.0.0")[..], &["--yes"]].concat()).expect(0);
    let asked = desk.on_terminal(&deploy("v1.1.0"), None).expect(7).out;
    let call = format!("mailyctl -C {folder} --sandbox");
    let alone = format!("`{call} plan --env production --version v1.1.0 --out FILE`,");
    assert!(asked.lines().any(|line| line == alone), "{asked}");
    desk.run(&["-C", folder, "--sandbox", "sandbox", "fault", "add", "crash", "api@v1.1.0"]).expect(0);
    let failed = desk.on_terminal(&[&deploy("v1.1.0")[..], &["--yes"]].concat(), None).expect(3).out;
    assert!(failed.lines().any(|line| line.starts_with(&format!("{call} show run "))), "{failed}");
    for line in asked.lines().chain(failed.lines()).filter(|line| !line.contains("mailyctl")) {
        // A word may be longer than a line: the image in a plan, and in a log of others.
        let long = line.chars().count() > 80;
        assert!(!long || line.trim().split(' ').count() == 1, "{line:?}");
    }
    // In a pipe a line is a line.
    let piped = desk.run(&deploy("v1.1.0")).expect(7);
    assert!(
        piped.err.lines().any(|line| line.starts_with("  help: ") && line.contains(&alone)),
        "{}",
        piped.err
    );
}

#[test]
fn what_a_release_and_a_project_have_is_broken_between_words_too() {
    let desk = Desk::example();
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    for (show, words) in [
        (
            ["show", "release", "--env", "production"],
            &[" sha256:cde18c3a5f62dfa8", "blockchain:v1.0.0 is"][..],
        ),
        (["show", "project", "--env", "production"], &["amazonaws.com/{service}:{version}", "maily.yaml:21"]),
    ] {
        let told = desk.on_terminal(&[&["--sandbox"], &show[..]].concat(), None).expect(0).out;
        for line in told.lines() {
            let long = line.chars().count() > 80;
            assert!(!long || line.trim().split(' ').count() == 1, "{line:?}");
        }
        for word in words {
            assert!(told.contains(word), "`{word}` in {told}");
        }
        // In a pipe a line is a line.
        let piped = desk.sandbox(&show).expect(0).out;
        assert!(piped.lines().any(|line| line.chars().count() > 80), "{piped}");
    }
    // Where each value is from stands in one column, also beside those that are long.
    let told = desk.on_terminal(&["--sandbox", "show", "project", "--env", "production"], None).expect(0).out;
    let place = regex::Regex::new(r" (default|maily\.yaml:\d+)$").expect("is a pattern");
    let columns: std::collections::BTreeSet<usize> =
        told.lines().filter_map(|line| place.find(line)).map(|found| found.start()).collect();
    assert_eq!(columns.len(), 1, "{told}");
}

#[test]
fn the_tutorial_shows_what_the_program_says() {
    let desk = Desk::example();
    desk.sandbox(&["phased-deploy", "--version", "v1.0.0", "--yes"]).expect(0);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tutorial/sandbox.md");
    let page = std::fs::read_to_string(page).expect("can be read");
    for command in ["status --env production", "plan --env production --version v1.1.0"] {
        let said = desk.sandbox(&command.split(' ').collect::<Vec<_>>()).expect(0).out;
        let (_, shown) = page.split_once(&format!("$ mailyctl --sandbox {command}\n")).expect("is shown");
        let shown = shown.lines().take_while(|line| !line.starts_with(['$', '`']));
        for line in shown.filter(|line| *line != "…") {
            assert!(said.lines().any(|said| said == line), "`{line}` in:\n{said}");
        }
    }
}

#[test]
fn what_is_carried_out_without_a_question_is_shown_before() {
    let desk = Desk::example();
    let deploy = ["deploy", "--env", "production", "--version", "v1.0.0"];
    let with = |more: &[&str]| desk.sandbox(&[&deploy, more].concat());
    let refused = with(&[]).expect(7);
    assert!(refused.out.contains("+ Deployment maily-api"), "{}", refused.out);
    let done = with(&["--yes"]).expect(0);
    let (plan, run) = done.out.split_once(" begin ").expect("begins");
    assert!(plan.contains("+ Deployment maily-api"), "{plan}");
    assert!(!plan.contains("spec."), "{plan}");
    assert!(!run.contains("+ Deployment"), "{run}");
    assert!(!with(&["--yes"]).expect(0).out.contains("production →"), "there is nothing to show");
    let quiet = ["deploy", "--env", "production", "--version", "v1.1.0", "--yes", "--quiet"];
    assert_eq!(desk.sandbox(&quiet).expect(0).out, "");
}

#[test]
fn a_plan_of_very_many_objects_is_whole_only_where_it_is_asked_for() {
    let services: String = (0..120).map(|n| format!("  s{n}: {{workload: {{port: 80}}}}\n")).collect();
    let desk = Desk::with(&crate::bad_input::services(&services));
    let objects = |text: &str| text.lines().filter(|line| line.starts_with("    + ")).count();
    let whole = desk.sandbox(&["plan", "--version", "v1.0.0"]).expect(0).out;
    let all = objects(&whole);
    assert!(all > 200 && !whole.contains("more objects"), "{all} objects");
    // Nobody has said yes, so that nothing is carried out.
    let told = desk.sandbox(&["deploy", "--version", "v1.0.0"]).expect(2).out;
    assert_eq!(objects(&told), 200);
    let rest = format!("… and {} more objects: `--dry-run` shows all, as does `-v`", all - 200);
    assert!(told.contains(&rest) && told.trim_end().ends_with(&format!("{all} to create")), "{told}");
    let verbose = desk.sandbox(&["deploy", "-v", "--version", "v1.0.0"]).expect(2).out;
    assert_eq!(objects(&verbose), all);
}

#[test]
fn what_a_new_object_will_be_is_shown_to_who_asks_for_more() {
    let desk = Desk::example();
    let plan = desk.sandbox(&["plan", "-v", "--env", "production", "--version", "v1.0.0"]).expect(0);
    let api = plan.out.split("+ Deployment maily-api\n").nth(1).expect("is new");
    let api = api.split("    + ").next().expect("has fields");
    assert!(api.contains("        spec.strategy.type: RollingUpdate"), "{api}");
    assert!(!api.contains("        kind"), "{api}");
}

#[test]
fn a_watch_in_a_pipe_says_when_it_looked() {
    let desk = Desk::example();
    let mut command = desk.command(&["--sandbox", "status", "--env", "production", "--watch"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("starts");
    std::thread::sleep(std::time::Duration::from_secs(4));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("is ours");
    let mut seen = String::new();
    let mut out = child.stdout.take().expect("is piped");
    std::io::Read::read_to_string(&mut out, &mut seen).expect("is text");
    assert_eq!(child.wait().expect("ends").code(), Some(0));
    let seen = settled(&seen);
    assert!(seen.starts_with("[time]\nproduction"), "{seen}");
    assert!(seen.contains("\n\n[time]\nproduction"), "{seen}");
}

#[test]
fn a_stream_ends_when_nobody_reads_it_any_more() {
    let desk = Desk::with(&crate::bad_input::services("  api: {workload: {port: 80}}"));
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    for stream in [&["status", "--watch"][..], &["logs", "-f", "api"]] {
        let mut command = desk.command(&[&["--sandbox"], stream].concat());
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("starts");
        let mut out = std::io::BufReader::new(child.stdout.take().expect("is piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).expect("is text");
        assert!(!line.is_empty(), "{stream:?}");
        drop(out);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let ended = loop {
            match child.try_wait().expect("is ours") {
                None if std::time::Instant::now() < until => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                ended => break ended,
            }
        };
        if ended.is_none() {
            child.kill().expect("is ours");
            child.wait().expect("ends");
        }
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "{stream:?}");
    }
}

#[test]
fn a_watch_on_a_terminal_is_drawn_over_itself_and_leaves_the_prompt_a_line_of_its_own() {
    let desk = Desk::example();
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    let mut terminal =
        Terminal::start(desk.command(&["--sandbox", "status", "--env", "production", "--watch"]));
    terminal.until("Ctrl-C ends", 2);
    terminal.interrupt();
    let (code, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    let looks = seen.matches("Ctrl-C ends").count();
    assert_eq!(seen.matches("\u{1b}[H\u{1b}[2J").count(), looks, "each look begins at the top: {seen:?}");
    let size = |n| NonZeroU16::new(n).expect("is not zero");
    let mut shown = vt100::Parser::new(size(ROWS), size(COLUMNS), 0);
    shown.process(seen.as_bytes());
    let text = settled(&shown.screen().contents());
    assert!(text.starts_with("as of [time], Ctrl-C ends\nproduction  release 1\n"), "{text}");
    assert_eq!(text.matches("Ctrl-C ends").count(), 1, "{text}");
    assert_eq!(text.trim_end().lines().last(), Some("^C"), "{text}");
    assert_eq!(shown.screen().cursor_position().1, 0, "the prompt begins a line");
}

#[test]
fn a_run_on_a_terminal_shows_of_each_service_how_many_serve_what_it_waits_for_and_for_how_long() {
    let desk = Desk::with(&crate::bad_input::services("  api: {workload: {port: 80, scale: 3}}"));
    desk.sandbox(&["sandbox", "fault", "add", "never-ready", "api"]).expect(0);
    let mut deploy = desk.command(&["--sandbox", "deploy", "--version", "v1.0.0", "--yes"]);
    deploy.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(deploy);
    let row = regex::Regex::new(r"[◐◓◑◒]  api +v1\.0\.0 +rollout +0/3 +(\d+(?:\.\d)?)s +(\S[^\r\n\x1b]+)");
    let row = row.expect("is a pattern");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // Drawn again and again, with a clock that moves.
    let rows = loop {
        let seen = terminal.seen();
        let rows: Vec<(f64, String)> = row
            .captures_iter(&seen)
            .map(|row| (row[1].parse().expect("a number"), row[2].trim().to_owned()))
            .collect();
        if rows.last().is_some_and(|(span, _)| *span > 2.0) {
            break rows;
        }
        assert!(std::time::Instant::now() < until, "{seen}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(rows.is_sorted_by(|a, b| a.0 <= b.0) && rows[0].0 < 2.0, "{rows:?}");
    assert!(rows.iter().any(|(_, why)| why == "container `api` runs but is not ready"), "{rows:?}");
    terminal.interrupt();
    assert_eq!(terminal.end().0, 130);
}

#[test]
fn every_line_of_a_log_carries_its_time() {
    let desk = Desk::example();
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    // It is of the last phase, so that others are done before it fails.
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api@v1.1.0"]).expect(0);
    let before = jiff::Timestamp::now();
    let out = desk.sandbox(&["deploy", "--env", "production", "--version", "v1.1.0", "--yes"]).expect(3).out;
    let lines: Vec<&str> = out
        .lines()
        .skip_while(|line| !line.contains(" begin deploy v1.1.0 "))
        .take_while(|line| !line.starts_with('↩'))
        .filter(|line| !line.is_empty())
        .collect();
    let times: Vec<jiff::Timestamp> = lines
        .iter()
        .map(|line| {
            line.split(' ').next().expect("a word").parse().unwrap_or_else(|_| panic!("{line}: {out}"))
        })
        .collect();
    assert!(times.is_sorted(), "{out}");
    let whole_second = std::time::Duration::from_secs(1);
    assert!(
        times[0] + whole_second >= before && times[times.len() - 1] <= jiff::Timestamp::now() + whole_second
    );
    for word in ["begin", "start", "done ", "fail ", "turn ", "undo ", "undid", "end  "] {
        let told = |line: &&str| line.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(word));
        assert!(lines.iter().any(told), "`{word}` in {out}");
    }
}

#[test]
fn a_watch_ends_also_while_the_cluster_is_silent() {
    let desk = Desk::with(
        "maily: 1\nproject: shop\nenvironments: {production: {namespace: shop, cluster: {context: c, identity: {uid: u}}}}\n\
         services: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n",
    );
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("has a port");
    let server = silent.local_addr().expect("has an address");
    desk.write(
        "kubeconfig",
        &format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'http://{server}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
        ),
    );
    let mut child = desk.spawn(&["--kubeconfig", "kubeconfig", "status", "--watch"]);
    let _asked = silent.accept().expect("is asked");
    let start = std::time::Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("is ours");
    assert_eq!(child.wait().expect("ends").code(), Some(0));
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_version_without_its_option_is_understood_as_one() {
    let done = Desk::empty().run(&["deploy", "v1.2.0"]).expect(2);
    assert!(done.err.contains("`--version v1.2.0`"), "{}", done.err);
}

#[test]
fn options_of_every_command_stay_out_of_the_short_help() {
    let desk = Desk::empty();
    assert!(!desk.run(&["deploy", "-h"]).expect(0).out.contains("--kubeconfig"));
    assert!(desk.run(&["deploy", "--help"]).expect(0).out.contains("--kubeconfig"));
}

#[test]
fn help() {
    let desk = Desk::empty();
    for command in ["", "deploy", "phased-deploy", "rollback", "plan", "env bind", "logs"] {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let name = format!("help {command}").trim().replace([' ', '-'], "_");
        insta::assert_snapshot!(name, desk.run(&args).expect(0).out);
    }
}

#[test]
fn a_service_of_configuration_alone_is_not_said_to_serve() {
    let desk = Desk::with(
        "maily: 1\nproject: shop\nenvironments: {production: {namespace: shop}}\nservices: {settings: {manifests: m.yaml}}\n",
    );
    desk.write("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n");
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let status = desk.sandbox(&["status"]).expect(0).out;
    let line = status.lines().find(|line| line.starts_with("settings")).expect("is listed");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..6], ["settings", "v1", "-", "unknown", "nothing", "to"], "{status}");
}
