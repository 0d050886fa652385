//! Seeds: what must always hold does, and a seed replays.

use std::process::{Command, Output};

use maily_testkit::harness::Stages;

#[test]
fn nothing_that_must_hold_is_broken() {
    let stages = Stages::new().expect("can be built");
    for seed in 1_000_000..1_000_012 {
        let report = stages.simulate(seed, false);
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
    }
}

fn play(seed: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulate")).args(["--seed", seed]).output().expect("runs")
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
