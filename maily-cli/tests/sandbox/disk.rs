//! A disk that becomes full under a run.

use std::{
    io::Read as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::desk::Desk;

fn run(desk: &Desk) -> Value {
    desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json()["run"].clone()
}

#[test]
fn a_disk_that_becomes_full_under_a_run_loses_nothing() {
    let desk = Desk::example();
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "slow", "email@v1.1.0"]).expect(0);
    let program = env!("CARGO_BIN_EXE_mailyctl");
    let deploy = "--sandbox deploy --env production --version v1.1.0 --yes";
    let mut command = Command::new("sh");
    // A write beyond the limit then fails, as on a full disk; else it would end the process.
    command.args(["-c", &format!("trap '' XFSZ; exec '{program}' {deploy}")]).current_dir(desk.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let until = Instant::now() + Duration::from_secs(20);
    while run(&desk).is_null() {
        assert!(Instant::now() < until, "the run never began");
        std::thread::sleep(Duration::from_millis(100));
    }
    let begun = run(&desk);
    let limit = Rlimit { current: Some(4_096), maximum: None };
    prlimit(Some(Pid::from_child(&child)), Resource::Fsize, limit).expect("is ours");
    let code = child.wait().expect("ends").code();
    let mut err = String::new();
    child.stderr.take().expect("is piped").read_to_string(&mut err).expect("is text");
    assert_eq!(code, Some(130), "{err}");
    assert!(err.contains("sandbox.json") && err.contains("too large"), "{err}");
    assert!(err.contains("resume --env production"), "{err}");
    assert!(!desk.path().join(".maily/sandbox.new").exists(), "nothing half is left behind");
    assert_eq!(run(&desk), begun, "what was committed is there");
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    desk.sandbox(&["resume", "--env", "production"]).expect(0);
    let status = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
    assert_eq!((&status["release"], &status["run"]), (&json!(2), &Value::Null), "{status}");
}
