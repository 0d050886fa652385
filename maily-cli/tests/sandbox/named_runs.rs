//! A run that is named to be gone on with: the right one, one that has ended, and none that anybody knows.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    desk::{Desk, Done},
    interrupts::begun,
};

fn resume(desk: &Desk, more: &[&str]) -> Done {
    desk.sandbox(&[&["resume", "--env", "production"], more].concat())
}

#[test]
fn a_run_is_gone_on_with_by_its_name_and_no_other_is() {
    let desk = Desk::example();
    let mut child = begun(&desk);
    kill_process(Pid::from_child(&child), Signal::INT).expect("is ours");
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    let status = || desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
    let open = status()["run"].as_str().expect("has not ended").to_owned();
    let history = desk.sandbox(&["history", "--env", "production", "-o", "json"]).expect(0).json();
    let runs = history["runs"].as_array().expect("a list").iter();
    let ids: Vec<&str> = runs.filter_map(|run| run["run"].as_str()).collect();
    let ended = *ids.iter().find(|id| **id != open).expect("the first deploy");
    // Nobody knows it.
    for unknown in ["20200101-000000-abcdef", "nonsense", "../run"] {
        let refused = resume(&desk, &[unknown]).expect(2).err;
        assert!(refused.contains(&format!("there is no run {unknown}")), "{refused}");
        assert!(refused.contains("history"), "{refused}");
    }
    // It has ended: that nothing is unfinished would not be true.
    let told = resume(&desk, &[ended]).expect(0);
    assert!(told.out.contains(&format!("nothing to resume: run {ended} has ended")), "{told:?}");
    assert!(!told.out.contains("no run of"), "{told:?}");
    let document = resume(&desk, &[ended, "-o", "json"]).expect(0).json();
    assert_eq!((&document["environment"], &document["run"]), (&json!("production"), &Value::Null));
    assert_eq!((&status()["run"], &status()["release"]), (&json!(open), &json!(1)), "it is as it was");
    // It is the one.
    resume(&desk, &[&open]).expect(0);
    assert_eq!((&status()["run"], &status()["release"]), (&Value::Null, &json!(2)));
    let told = resume(&desk, &[&open]).expect(0);
    assert!(told.out.contains(&format!("run {open} has ended")), "{told:?}");
    let told = resume(&desk, &[]).expect(0);
    assert!(told.out.contains("nothing to resume: no run of `production` is unfinished"), "{told:?}");
    // What is taken back is the one that has not ended, and never one by name.
    desk.sandbox(&["abort", &open, "--env", "production", "--yes"]).expect(2);
}

/// What the plan did not show has no line in the story of a run.
#[test]
fn a_run_tells_of_no_step_that_its_plan_does_not_show() {
    let desk = Desk::example();
    desk.sandbox(&["phased-deploy", "--version", "v1.0.0", "--yes"]).expect(0);
    let told = desk.sandbox(&["show", "run", "--env", "production"]).expect(0).out;
    assert!(told.contains("production/api/rollout") && !told.contains("phase-end"), "{told}");
}
