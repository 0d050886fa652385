//! The sandbox's clock, which can go at a factor.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::desk::Desk;

fn clock(desk: &Desk) -> Value {
    desk.sandbox(&["sandbox", "clock", "-o", "json"]).expect(0).json()
}

#[test]
fn a_sandbox_at_a_factor_saves_waiting() {
    let desk = Desk::example();
    assert!(desk.sandbox(&["sandbox", "clock"]).expect(0).out.starts_with("factor 1: "));
    let told = desk.sandbox(&["sandbox", "clock", "--factor", "20"]).expect(0).out;
    assert!(told.starts_with("factor 20: in a second here 20 s pass in the sandbox\nit is 2"), "{told}");
    assert_eq!((&clock(&desk)["kind"], &clock(&desk)["factor"]), (&json!("clock"), &json!(20.0)));
    // Its pods take half a minute.
    desk.sandbox(&["sandbox", "fault", "add", "slow", "email"]).expect(0);
    let begun = Instant::now();
    let only = ["--components", "email", "--yes"];
    desk.sandbox(&[&["deploy", "--env", "production", "--version", "v1.0.0"], &only[..]].concat()).expect(0);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    desk.sandbox(&["sandbox", "reset"]).expect(0);
    assert_eq!(clock(&desk)["factor"], 1.0);
}

#[test]
fn a_factor_that_is_none_is_refused() {
    let desk = Desk::example();
    for factor in ["0", "1001", "fast"] {
        let refused = desk.sandbox(&["sandbox", "clock", "--factor", factor]).expect(2);
        assert!(refused.err.contains("a factor is a number from 0.01 to 1000"), "{}", refused.err);
    }
    assert_eq!(clock(&desk)["factor"], 1.0);
}

#[test]
fn a_clock_that_has_run_ahead_is_told_by_doctor() {
    let desk = Desk::example();
    let found = |desk: &Desk| {
        let document = desk.sandbox(&["doctor", "--env", "production", "-o", "json"]).expect(0).json();
        let findings = document["findings"].as_array().expect("is a list").clone();
        findings.into_iter().find(|one| one["what"] == "clock").expect("is looked at")
    };
    assert_eq!((&found(&desk)["state"], &found(&desk)["detail"]), (&json!("ok"), &json!("differs by 0 ms")));
    desk.sandbox(&["sandbox", "clock", "--factor", "1000"]).expect(0);
    std::thread::sleep(Duration::from_millis(50));
    let ahead = found(&desk);
    assert_eq!(ahead["state"], "warn", "{ahead}");
    assert!(
        ahead["detail"].as_str().expect("a text").starts_with("the server's clock differs by "),
        "{ahead}"
    );
}
