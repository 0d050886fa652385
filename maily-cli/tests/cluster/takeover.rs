//! Runs that are killed, interrupted, held and waited for.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    site::{Done, Site, app, finished},
    terminal::Terminal,
};

/// Pods of the second version take their time.
async fn slow(purpose: &str) -> Site {
    slower(purpose, "4s").await
}

async fn slower(purpose: &str, ready_after: &str) -> Site {
    let late = json!({"stack.maily.dev/ready-after": ready_after});
    let versions = [
        ("v1", app("alpha", "v1", json!({})) + &app("beta", "v1", json!({}))),
        ("v2", app("alpha", "v2", json!({})) + &app("beta", "v2", late)),
        ("v3", app("alpha", "v3", json!({})) + &app("beta", "v3", json!({}))),
    ];
    let site = Site::bound(purpose, &versions).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    site
}

async fn begun(site: &Site) -> Child {
    let child = site.spawn(&["deploy", "--version", "v2", "--yes"]);
    site.until("the run has changed something", async || site.image("beta").await.ends_with(":v2")).await;
    child
}

fn end(child: Child) -> Done {
    let start = Instant::now();
    finished(child.wait_with_output().expect("ends"), start.elapsed())
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_killed_run_is_resumed_to_the_new_release() {
    let site = slow("resume").await;
    let mut child = begun(&site).await;
    child.kill().expect("is killed");
    child.wait().expect("is gone");
    let refused = site.run(&["deploy", "--version", "v3", "--yes"]).expect(5);
    assert!(refused.err.contains("mailyctl resume"), "{}", refused.err);
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    assert!(status["run"].is_string(), "{status}");
    site.run(&["resume", "--env", "production"]).expect(0);
    assert!(site.image("alpha").await.ends_with(":v2") && site.image("beta").await.ends_with(":v2"));
    let again = site.run(&["resume", "--env", "production"]).expect(0);
    assert!(again.out.contains("nothing to resume"), "{}", again.out);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_killed_run_is_aborted_to_the_old_release() {
    let site = slow("abort").await;
    let before = site.content().await;
    let mut child = begun(&site).await;
    child.kill().expect("is killed");
    child.wait().expect("is gone");
    site.run(&["abort", "--env", "production", "--yes"]).expect(3);
    assert_eq!(site.content().await, before);
    site.run(&["deploy", "--version", "v3", "--yes"]).expect(0);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn an_interrupted_run_says_how_to_go_on() {
    let site = slow("interrupt").await;
    let child = begun(&site).await;
    let id = i32::try_from(child.id()).expect("is small");
    let pid = rustix::process::Pid::from_raw(id).expect("is a process");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("is told");
    let done = end(child).expect(130);
    assert!(done.err.contains("mailyctl resume"), "{}", done.err);
    assert!(done.took < Duration::from_secs(3), "{:?}", done.took);
    // The lease was given back: nobody waits for it to run out.
    let resumed = site.run(&["resume", "--env", "production"]).expect(0);
    assert!(resumed.took < Duration::from_secs(12), "{:?}", resumed.took);
}

/// Process and run of the holder that a text names, with who it is, where and since when.
fn holder(told: &str, after: &str) -> (String, String) {
    let (_, holder) = told.split_once(after).unwrap_or_else(|| panic!("{after}: {told}"));
    let (who, rest) = holder.split_once(" since ").unwrap_or_else(|| panic!("since when: {told}"));
    let (since, rest) = rest.split_once(" (run ").unwrap_or_else(|| panic!("in which run: {told}"));
    let (run, _) = rest.split_once(')').expect("ends");
    assert!(since.contains(':') && since.chars().any(|digit| digit.is_ascii_digit()), "a time: {since}");
    assert!(who.contains('@'), "who, and where: {who}");
    let process = who.rsplit(|other: char| !other.is_ascii_digit()).find(|part| !part.is_empty());
    (process.unwrap_or_default().to_owned(), run.to_owned())
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_second_run_is_told_who_holds_it_or_waits_in_line() {
    let site = slow("queue").await;
    let child = begun(&site).await;
    let refused = site.run(&["deploy", "--version", "v3", "--yes"]).expect(5);
    assert!(refused.err.contains("is held by") && refused.err.contains("--wait-lock"), "{}", refused.err);
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    let run = status["run"].as_str().expect("is under way");
    let told = refused.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(holder(&told, "is held by "), (child.id().to_string(), run.to_owned()), "{told}");
    let second = site.spawn(&["deploy", "--version", "v3", "--yes", "--wait-lock", "60s"]);
    end(child).expect(0);
    let second = end(second).expect(0);
    let told = second.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(holder(&told, "waits for ").1, run, "{told}");
    assert!(site.image("alpha").await.ends_with(":v3") && site.image("beta").await.ends_with(":v3"));
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_plan_that_waits_in_line_begins_from_what_the_run_before_has_left() {
    // It goes back: what the plan would see at once is not what it begins from.
    let site = slower("line", "60s").await;
    let child = site.spawn(&["deploy", "--version", "v2", "--yes", "--timeout", "10s"]);
    let changed =
        async || site.image("alpha").await.ends_with(":v2") && site.image("beta").await.ends_with(":v2");
    site.until("the run has changed everything", changed).await;
    let plan = site.spawn(&["plan", "--version", "v3", "--wait-lock", "60s"]);
    end(child).expect(3);
    let plan = end(plan).expect(0);
    assert!(plan.err.contains("waits for"), "{}", plan.err);
    assert!(plan.out.contains("alpha:v1") && !plan.out.contains("alpha:v2"), "{}", plan.out);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_plan_that_is_overtaken_while_somebody_reads_it_is_made_anew_and_asked_about_again() {
    let site = slow("overtaken").await;
    let question = "Carry it out? [y/N]";
    let mut terminal = Terminal::start(site.command(&["deploy", "--version", "v3", "--wait-lock", "60s"]));
    terminal.until(question, 1);
    let first = begun(&site).await;
    terminal.types("y\n");
    terminal.until(question, 2);
    end(first).expect(0);
    assert!(site.image("alpha").await.ends_with(":v2"), "nothing was changed without a yes");
    terminal.types("y\n");
    let (code, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    let (old, new) = seen.split_once("has changed since the plan was made: plans anew").expect("is told");
    assert!(old.contains("alpha:v1") && !old.contains("alpha:v2"), "{old}");
    assert!(new.contains("alpha:v2") && !new.contains("alpha:v1"), "{new}");
    assert!(site.image("alpha").await.ends_with(":v3") && site.image("beta").await.ends_with(":v3"));
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_removal_that_is_overtaken_is_planned_anew() {
    let site = slow("removal").await;
    let question = "Carry it out? [y/N]";
    let removal = ["remove", "--components", "alpha", "--wait-lock", "60s"];
    let mut terminal = Terminal::start(site.command(&removal));
    terminal.until(question, 1);
    end(begun(&site).await).expect(0);
    terminal.types("y\n");
    terminal.until(question, 2);
    terminal.types("y\n");
    let (code, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("has changed since the plan was made: plans anew"), "{seen}");
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    let names: Vec<&Value> =
        status["services"].as_array().expect("is a list").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["beta"]);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_living_run_is_aborted_from_elsewhere() {
    // The holder looks for wishes every 3 s: he must not have ended before, however busy the machine is.
    let site = slower("turn", "20s").await;
    let before = site.content().await;
    let child = begun(&site).await;
    let aborted = site.run(&["abort", "--env", "production", "--yes"]);
    assert_eq!(end(child).code, 3, "the holder itself went back");
    aborted.expect(3);
    assert_eq!(site.content().await, before);
    let history: Value = site.run(&["history", "-o", "json"]).expect(0).json();
    assert_eq!(history["runs"][0]["outcome"]["result"], "rolled-back");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_paused_holder_that_was_taken_over_writes_nothing_more() {
    use rustix::process::{Signal, kill_process};
    let site = slow("paused").await;
    let before = site.content().await;
    let child = begun(&site).await;
    let pid =
        rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("is small")).expect("is a process");
    kill_process(pid, Signal::STOP).expect("is halted");
    // It renews no more; somebody else takes its place and goes back.
    site.run(&["abort", "--env", "production", "--yes", "--wait-lock", "60s"]).expect(3);
    assert_eq!(site.content().await, before);
    let versions = async || {
        let objects = site.objects().await;
        objects.iter().map(|object| object.resource_version().map(str::to_owned)).collect::<Vec<_>>()
    };
    let settled = versions().await;
    kill_process(pid, Signal::CONT).expect("goes on");
    let done = end(child);
    assert_eq!(done.code, 5, "{done:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(site.content().await, before, "what it had in hand did not land");
    assert_eq!(versions().await, settled, "nothing was written at all");
}

/// A yes is for the run that the question names, and for no other.
#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_yes_to_end_a_run_is_for_the_run_that_was_asked_about() {
    let site = slow("other").await;
    let killed = async || {
        let mut child = begun(&site).await;
        child.kill().expect("is killed");
        child.wait().expect("is gone");
        site.run(&["status", "-o", "json"]).expect(0).json()["run"].as_str().expect("is there").to_owned()
    };
    let first = killed().await;
    let leave = ["abort", "--leave", "--env", "production"];
    let mut terminal = Terminal::start(site.command(&leave));
    terminal.until(&format!("End run {first} and leave everything as it is now"), 1);
    site.run(&["abort", "--env", "production", "--yes"]).expect(3);
    let second = killed().await;
    terminal.types("y\n");
    let (code, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains(&format!("nothing to leave: run {first} has ended")), "{seen}");
    let left = site.run(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(left["run"], second.as_str(), "nobody has said yes to its end");
    site.run(&["resume", "--env", "production"]).expect(0);
    assert!(site.image("beta").await.ends_with(":v2"));
}
