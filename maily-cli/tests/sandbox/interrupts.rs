//! Ctrl-C: the state is saved at once, and the command to go on is on the screen.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    desk::{Desk, hearing_hangups},
    terminal::Terminal,
};

fn interrupt(child: &Child) {
    signal(child, Signal::INT);
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("is ours");
}

/// A deploy that would take long, after its run began.
pub(crate) fn begun(desk: &Desk) -> Child {
    begun_beside(desk, Stdio::piped())
}

/// The same with a standard error of its own.
fn begun_beside(desk: &Desk, err: Stdio) -> Child {
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "slow", "email@v1.1.0"]).expect(0);
    let deploy =
        desk.command(&["--sandbox", "deploy", "--env", "production", "--version", "v1.1.0", "--yes"]);
    let child = hearing_hangups(&deploy).stdout(Stdio::null()).stderr(err).spawn().expect("starts");
    let until = Instant::now() + Duration::from_secs(20);
    let begun =
        || desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json()["run"].is_string();
    while !begun() {
        assert!(Instant::now() < until, "the run never began");
        std::thread::sleep(Duration::from_millis(100));
    }
    child
}

fn end(mut child: Child) -> (i32, String) {
    let code = child.wait().expect("ends").code().unwrap_or(-1);
    let mut err = String::new();
    child.stderr.take().expect("is piped").read_to_string(&mut err).expect("is text");
    (code, err)
}

#[test]
fn one_interrupt_saves_the_state_within_a_second_and_says_how_to_go_on() {
    let desk = Desk::example();
    let child = begun(&desk);
    let start = Instant::now();
    interrupt(&child);
    let (code, err) = end(child);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(code, 130, "{err}");
    let next = err.lines().find_map(|line| line.trim().strip_prefix("next: mailyctl ")).expect("says how");
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    let resumed = desk.run(&next.split_whitespace().collect::<Vec<_>>()).expect(0);
    assert!(resumed.out.contains("production is at release 2"), "{}", resumed.out);
}

#[test]
fn the_state_tells_of_a_run_whether_it_is_under_way_or_left() {
    let desk = Desk::example();
    let mut child = begun(&desk);
    let until = Instant::now() + Duration::from_secs(10);
    // Until the run has written something of its own.
    let state = loop {
        let state = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
        let services = state["services"].as_array().expect("a list");
        if services.iter().any(|service| service["next"] == "v1.1.0") {
            break state;
        }
        assert!(Instant::now() < until, "{state}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let unfinished = &state["unfinished"];
    assert_eq!((&unfinished["alive"], &unfinished["title"]), (&json!(true), &json!("deploy v1.1.0")));
    assert!(unfinished["by"].as_str().is_some_and(|by| by.starts_with("tester@")), "{state}");
    for service in state["services"].as_array().expect("a list") {
        assert_eq!(service["drift"], json!([]), "nobody's hand: {service}");
    }
    let told = desk.sandbox(&["status", "--env", "production"]).expect(0).out;
    assert!(told.contains("under way, held by tester@") && told.contains("v1.0.0 > v1.1.0"), "{told}");
    assert!(!told.contains("mailyctl resume") && !told.contains("changed since"), "{told}");
    // Whoever looks for what is wrong is not told to take it over.
    let doctor = || desk.sandbox(&["doctor", "--env", "production"]).out;
    let told = doctor();
    assert!(told.contains("is under way, held by tester@") && !told.contains("mailyctl abort"), "{told}");
    interrupt(&child);
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    let told = desk.sandbox(&["status", "--env", "production"]).expect(0).out;
    assert!(told.contains("nobody carries it out") && told.contains("resume --env production"), "{told}");
    let told = doctor();
    assert!(told.contains("nobody carries it out") && told.contains("abort --env production"), "{told}");
}

/// What somebody edits while a run is at work keeps it from going back, and every command that meets it says so.
#[test]
fn a_run_that_is_stuck_says_why_wherever_it_is_met() {
    let desk = Desk::example();
    let mut child = begun(&desk);
    let until = Instant::now() + Duration::from_secs(10);
    let is_written = || {
        let state = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
        let mut services = state["services"].as_array().expect("a list").iter();
        services.any(|service| service["name"] == "email" && service["next"] == "v1.1.0")
    };
    while !is_written() {
        assert!(Instant::now() < until, "the run never came to it");
        std::thread::sleep(Duration::from_millis(100));
    }
    interrupt(&child);
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    let path = desk.path().join(".maily/sandbox.json");
    let mut saved: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("is there")).expect("is JSON");
    let objects = saved["world"]["objects"].as_object_mut().expect("a map");
    let (_, email) = objects
        .iter_mut()
        .find(|(key, _)| key.starts_with("apps|Deployment|") && key.ends_with("|email"))
        .expect("is there");
    email["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/hot:fix");
    let name = email["spec"]["template"]["spec"]["containers"][0]["name"].as_str().expect("has one");
    let item = format!("k:{{\"name\":\"{name}\"}}");
    let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {item: {"f:image": {}}}}}}});
    let entry = json!({"manager": "kubectl-set", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields});
    email["metadata"]["managedFields"].as_array_mut().expect("a list").push(entry);
    std::fs::write(&path, saved.to_string()).expect("is ours");
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let aborted = desk.sandbox(&["abort", "--env", "production", "--yes"]).expect(4);
    assert!(flat(&aborted.err).contains("undo the edit"), "{aborted:?}");
    let why = "hot:fix (by kubectl-set)";
    let see = "tells what is to do first";
    let status = flat(&desk.sandbox(&["status", "--env", "production"]).expect(0).out);
    assert!(
        status.contains(": stuck: Deployment") && status.contains(why) && status.contains(see),
        "{status}"
    );
    let doctor = flat(&desk.sandbox(&["doctor", "--env", "production"]).out);
    assert!(
        doctor.contains("is stuck: Deployment") && doctor.contains(why) && doctor.contains(see),
        "{doctor}"
    );
    let history = flat(&desk.sandbox(&["history", "--env", "production"]).expect(0).out);
    assert!(history.contains("stuck: Deployment") && history.contains(why), "{history}");
    let deploy = desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(5);
    assert!(deploy.err.contains("is stuck: Deployment") && deploy.err.contains(see), "{}", deploy.err);
    let run = deploy.err.split("show run ").nth(1).and_then(|text| text.split(' ').next()).expect("is named");
    let shown = desk.sandbox(&["show", "run", run, "--env", "production"]).expect(0);
    assert!(flat(&shown.out).contains("to do: decide which state is right: undo the edit"), "{}", shown.out);
}

#[test]
fn what_a_resumed_run_did_earlier_is_told_with_its_own_time() {
    let desk = Desk::example();
    let mut child = begun(&desk);
    std::thread::sleep(Duration::from_secs(1));
    interrupt(&child);
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    std::thread::sleep(Duration::from_millis(1500));
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    let resumed = desk.sandbox(&["resume", "--env", "production", "-o", "json"]).expect(0);
    let events: Vec<serde_json::Value> =
        resumed.out.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    let time = |event: &serde_json::Value| {
        event["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok()).expect("a time")
    };
    let earlier: Vec<_> = events.iter().filter(|event| event["replayed"] == true).map(time).collect();
    let now = events.iter().find(|event| event["event"] == "resumed").map(time).expect("is resumed");
    assert!(!earlier.is_empty() && earlier.is_sorted(), "{}", resumed.out);
    for at in earlier {
        assert!(now.duration_since(at).as_millis() > 1000, "{at} and {now}");
    }
}

#[test]
fn a_question_is_ended_at_once() {
    let desk = Desk::example();
    let deploy = desk.command(&["--sandbox", "deploy", "--env", "production", "--version", "v1.0.0"]);
    let mut terminal = Terminal::start(deploy);
    terminal.until("Carry it out? [y/N]", 1);
    let start = Instant::now();
    terminal.interrupt();
    let (code, seen) = terminal.end();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(code, 130, "{seen}");
    let last = seen.trim_end().lines().last().unwrap_or_default();
    assert!(last.ends_with("error: interrupted before any change") && !last.contains("[y/N]"), "{seen}");
    let state = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
    assert_eq!((&state["run"], &state["release"]), (&json!(null), &json!(null)), "{state}");
}

#[test]
fn who_ends_the_question_of_a_later_environment_is_told_what_was_done_before() {
    let desk = Desk::example();
    let deploy = desk.command(&["--sandbox", "phased-deploy", "--version", "v1.0.0"]);
    let mut terminal = Terminal::start(deploy);
    terminal.until("Carry it out? [y/N]", 1);
    terminal.types("y\n");
    terminal.until("Carry it out? [y/N]", 2);
    terminal.interrupt();
    let (code, seen) = terminal.end();
    assert_eq!(code, 130, "{seen}");
    let last = seen.trim_end().lines().last().unwrap_or_default();
    let told = "interrupted before any change here: staging is at v1.0.0; back: `mailyctl --sandbox rollback --env staging";
    assert!(last.contains(told), "{seen}");
}

/// Interrupts it twice, and looks that the second one ends it.
#[cfg(target_os = "linux")]
fn interrupt_twice(mut child: Child) {
    interrupt(&child);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(child.try_wait().expect("can be asked"), None, "the first one waits for an orderly end");
    let start = Instant::now();
    interrupt(&child);
    let code = loop {
        match child.try_wait().expect("can be asked") {
            Some(status) => break status.code(),
            None if start.elapsed() > Duration::from_secs(1) => {
                child.kill().expect("is killed");
                child.wait().expect("is gone");
                panic!("the second one is not heard");
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert_eq!(code, Some(130));
}

/// The line that answers the first one waits for a reader, and so does the end of the run.
#[cfg(target_os = "linux")]
#[test]
fn a_second_interrupt_is_heard_also_where_nobody_reads_what_is_said() {
    let desk = Desk::example();
    let (_unread, mut full) = std::io::pipe().expect("is made");
    let size = rustix::pipe::fcntl_setpipe_size(&full, 4096).expect("can be small");
    full.write_all(&vec![b'.'; size]).expect("is filled");
    interrupt_twice(begun_beside(&desk, full.into()));
}

/// Nobody reads what it tells, so that its orderly end takes for ever.
#[cfg(target_os = "linux")]
#[test]
fn a_second_interrupt_ends_at_once_and_the_run_can_be_taken_back() {
    let desk = Desk::example();
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "slow", "email@v1.1.0"]).expect(0);
    let deploy = ["--sandbox", "deploy", "--env", "production", "--version", "v1.1.0", "--yes", "-o", "json"];
    let mut command = desk.command(&deploy);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("starts");
    let mut told = child.stdout.take().expect("is piped");
    rustix::pipe::fcntl_setpipe_size(&told, 4096).expect("can be small");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("run-started") {
        let mut byte = [0];
        assert_eq!(told.read(&mut byte).expect("is read"), 1, "the run never began");
        seen.extend(byte);
    }
    std::thread::sleep(Duration::from_secs(2));
    interrupt_twice(child);
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    // The approval was for the new version.
    let refused = desk.sandbox(&["abort", "--env", "production"]).expect(7);
    assert!(refused.err.contains("needs approval") && refused.err.contains("`--yes`"), "{}", refused.err);
    let asked = desk.on_terminal(&["--sandbox", "abort", "--env", "production"], Some("n")).expect(1).out;
    assert!(asked.contains("back? [y/N]") && asked.contains("the run is as it was"), "{asked}");
    desk.sandbox(&["abort", "--env", "production", "--yes"]).expect(3);
}

#[test]
fn who_waits_in_line_is_stopped_whatever_he_waits_for() {
    let desk = Desk::example();
    desk.sandbox(&["plan", "--env", "production", "--version", "v1.0.0", "--out", "plan.json"]).expect(0);
    let mut died = begun(&desk);
    died.kill().expect("is killed");
    died.wait().expect("is gone");
    // Its lease has still to run out.
    for command in [
        &["rollback", "--env", "production", "--last-good"][..],
        &["remove", "--env", "production", "--components", "email"],
        &["apply", "plan.json"],
    ] {
        let all = [&["--sandbox"], command, &["--yes", "--wait-lock", "60s"]].concat();
        let waits = hearing_hangups(&desk.command(&all))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        std::thread::sleep(Duration::from_secs(1));
        interrupt(&waits);
        let (code, err) = end(waits);
        assert_eq!(code, 130, "{command:?}: {err}");
        assert!(err.contains("interrupted before any change"), "{command:?}: {err}");
    }
}

#[test]
fn a_takeover_that_waits_for_a_lease_ends_at_once_and_has_taken_nothing() {
    let desk = Desk::example();
    let mut child = begun(&desk);
    child.kill().expect("is killed");
    child.wait().expect("is gone");
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    let resume = desk.command(&["--sandbox", "resume", "--env", "production"]);
    let waits =
        hearing_hangups(&resume).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    std::thread::sleep(Duration::from_secs(2));
    let start = Instant::now();
    interrupt(&waits);
    let (code, err) = end(waits);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(code, 130, "{err}");
    assert!(err.contains("interrupted before any change"), "{err}");
    let told = desk.sandbox(&["resume", "--env", "production"]).expect(0).out;
    assert_eq!(told.matches("taken over by").count(), 1, "{told}");
}

#[test]
fn a_terminal_that_closes_stops_a_run_as_an_interrupt_does() {
    let desk = Desk::example();
    let child = begun(&desk);
    // The kernel and the shell both tell of it: twice is not more than once.
    signal(&child, Signal::HUP);
    signal(&child, Signal::HUP);
    let (code, err) = end(child);
    assert_eq!(code, 130, "{err}");
    assert!(err.contains("next: mailyctl"), "stopped in order: {err}");
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    desk.sandbox(&["resume", "--env", "production"]).expect(0);
}

#[cfg(target_os = "linux")]
#[test]
fn who_asks_for_hangups_to_be_ignored_gets_that() {
    let desk = Desk::example();
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    let program = env!("CARGO_BIN_EXE_mailyctl");
    let deploy = "--sandbox deploy --env production --version v1.1.0 --yes";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("trap '' HUP; exec '{program}' {deploy}")]).current_dir(desk.path());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("starts");
    let mut child = child;
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(50));
        if child.try_wait().expect("can be asked").is_some() {
            break;
        }
        signal(&child, Signal::HUP);
    }
    assert_eq!(child.wait().expect("ends").code(), Some(0));
}

/// Between two environments nothing is under way, and the end of the command waits for a reader.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_between_two_environments_is_heard_also_where_nobody_reads() {
    let desk = Desk::with(
        "maily: 1\nproject: shop\nenvironments:\n  staging: {namespace: shop-staging}\n  production: {namespace: shop}\n\
         services:\n  api: {manifests: '{env}.yaml'}\n",
    );
    desk.write("staging.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n");
    desk.write("production.yaml", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\n");
    let (_unread, mut full) = std::io::pipe().expect("is made");
    let size = rustix::pipe::fcntl_setpipe_size(&full, 4096).expect("can be small");
    full.write_all(&vec![b'.'; size]).expect("is filled");
    let mut command = desk.command(&["--sandbox", "phased-deploy", "--version", "v1", "--yes"]);
    let mut child = command.stdout(Stdio::null()).stderr(full).spawn().expect("starts");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(child.try_wait().expect("can be asked"), None, "its error waits for a reader");
    interrupt(&child);
    let start = Instant::now();
    let code = loop {
        match child.try_wait().expect("can be asked") {
            Some(status) => break status.code(),
            None if start.elapsed() > Duration::from_secs(3) => {
                child.kill().expect("is killed");
                child.wait().expect("is gone");
                panic!("it is not heard");
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert_eq!(code, Some(130));
}
