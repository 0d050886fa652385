//! Seeds: what must always hold does, and a seed replays.

use std::process::{Command, Output};

use maily_testkit::harness::Stages;

#[test]
fn nothing_that_must_hold_is_broken() {
    let stages = Stages::new().expect("can be built");
    // The last one's second operator takes a gate anew whose verdict is too old by his clock.
    for seed in (1_000_000..1_000_012).chain([70_001_011]) {
        let report = stages.simulate(seed, false);
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
    }
}

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().expect("runs")
}

fn play(seed: &str) -> Output {
    simulate(&["--seed", seed])
}

#[test]
fn many_seeds_give_the_same_logs_in_two_processes() {
    let digest = |()| {
        let played = simulate(&["--seeds", "60"]);
        let told = String::from_utf8(played.stdout).expect("is text");
        told.lines().find(|line| line.starts_with("digest of all logs: ")).expect("is told").to_owned()
    };
    let [one, other] = [(); 2].map(digest);
    assert_eq!(one, other);
}

#[test]
fn a_seed_gives_the_same_log_in_two_processes() {
    for seed in ["2", "31"] {
        let (one, other) = (play(seed), play(seed));
        assert!(one.status.success(), "{}", String::from_utf8_lossy(&one.stdout));
        assert!(one.stdout.len() > 2_000, "seed {seed} hardly does anything");
        assert!(one.stdout == other.stdout, "seed {seed} differs");
    }
}

#[test]
fn to_play_nothing_is_refused() {
    for nothing in [["--threads", "0"], ["--seeds", "0"]] {
        let refused = simulate(&nothing);
        let (out, err) = (String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
        assert_eq!(refused.status.code(), Some(2), "{nothing:?}: {out}{err}");
        assert!(err.contains("usage: simulate") && out.is_empty(), "{nothing:?}: {out}{err}");
    }
}
