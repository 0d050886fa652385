//! Every rule of the engine that can be taken away is missed: for each defect the check that turns red, and that is
//! not red without it.

use std::{
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use maily_core::{
    engine::{Outcome, StepId},
    planted::{Defect, plant},
};
use maily_testkit::harness::{Contest, Drill, Drilled, Stage, Stages, Straggler, Trap, drill, prove, steps};

/// What notices a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// One of so many seeds from zero on breaks this promise.
    Seeds(u64, &'static str),
    /// A write that arrives late, at each write of a run: its sender dies, or goes back.
    Straggler { dies: bool },
    /// Somebody else takes over at each request of a run: its holder is halted, or as lively as before.
    Contest { halted: bool },
    /// The same with a halted holder, and with somebody else who claims a higher number than the next.
    HigherClaim,
    /// Somebody else takes over while the holder's first write of a step is refused as one too many.
    Busy,
    /// A person makes an object between plan and run that was captured as absent.
    Squatted,
    /// The same: the run goes back, and leaves the object as it is.
    Left,
    /// A gate fails, and what cannot be taken back stands behind it.
    FailingGate,
    /// The first write of whoever takes a run over arrives late, after he has marked the object.
    LateAfterTakeover,
    /// A holder cannot renew his lease.
    Unrenewed,
    /// A test of its own, which is shown at its place to turn red.
    Named,
}

const CHECKS: &[(Defect, Check)] = &[
    (Defect::EffectBeforeJournal, Check::Seeds(4, "I3")),
    (Defect::AppliedBeforeEffect, Check::Seeds(4, "I7")),
    (Defect::ReadinessNotAwaited, Check::Seeds(4, "I7")),
    (Defect::SegmentsOverlap, Check::Seeds(4, "I3")),
    (Defect::JournalFailureIgnored, Check::Seeds(400, "I13")),
    (Defect::CapturedAgain, Check::Straggler { dies: true }),
    (Defect::CaptureNotCompared, Check::Squatted),
    (Defect::CreateUnguarded, Check::Straggler { dies: true }),
    (Defect::WriteUnguarded, Check::Straggler { dies: true }),
    (Defect::ConflictFails, Check::Named),
    (Defect::DeleteUnguarded, Check::Named),
    (Defect::DeletedIsGone, Check::Named),
    (Defect::OwnWriteUnknown, Check::Straggler { dies: true }),
    (Defect::NoStampingBarrier, Check::Straggler { dies: true }),
    (Defect::AbsentNotStamped, Check::LateAfterTakeover),
    (Defect::PodsNotStamped, Check::Named),
    (Defect::StampErases, Check::Straggler { dies: true }),
    (Defect::AbsenceAssumed, Check::Straggler { dies: false }),
    (Defect::UndoSkipsEqual, Check::Straggler { dies: false }),
    (Defect::UndoUnstamped, Check::Straggler { dies: false }),
    (Defect::UnansweredForgotten, Check::LateAfterTakeover),
    (Defect::NewerEpochIgnored, Check::Busy),
    (Defect::StaleEpochFails, Check::Named),
    (Defect::FenceLowered, Check::Named),
    (Defect::FenceUnproven, Check::Named),
    (Defect::LeaseIgnored, Check::Unrenewed),
    (Defect::LostHolderRenews, Check::Seeds(400, "I8")),
    (Defect::TakenSegmentIgnored, Check::Contest { halted: false }),
    (Defect::LateSegmentStops, Check::Named),
    (Defect::OwnSegmentUnknown, Check::Seeds(400, "I13")),
    (Defect::ClaimNotCompared, Check::HigherClaim),
    (Defect::PendingNotClosed, Check::Contest { halted: true }),
    (Defect::ReleaseNotDerived, Check::Contest { halted: true }),
    (Defect::OnlyAppliedUndone, Check::Straggler { dies: true }),
    (Defect::RefusedUndone, Check::Left),
    (Defect::UndoFailureStops, Check::Named),
    (Defect::UndoOutOfOrder, Check::Straggler { dies: true }),
    (Defect::TwicePlanned, Check::Named),
    (Defect::UnchangedClaims, Check::Named),
    (Defect::NeedsIgnored, Check::Seeds(4, "I5")),
    (Defect::UndoRecreates, Check::Seeds(400, "I8")),
    (Defect::GoneRemade, Check::Named),
    (Defect::ForeignTaken, Check::Seeds(400, "I10")),
    (Defect::TurnPastReturn, Check::Seeds(400, "I6")),
    (Defect::GatesIgnored, Check::FailingGate),
    (Defect::CreateRepeatedBlindly, Check::Seeds(400, "I9")),
    (Defect::HighestEpochSwept, Check::Named),
    (Defect::LatestReleaseSwept, Check::Named),
    (Defect::ClaimsSwept, Check::Named),
    (Defect::SecretsUnsealed, Check::Seeds(4, "I11")),
    (Defect::ReplayUnmarked, Check::Seeds(400, "I13")),
    (Defect::HeldUpAwaited, Check::Named),
    (Defect::StatusOfBefore, Check::Named),
    (Defect::FailedJobAwaited, Check::Named),
    (Defect::StaleDeadlineCounts, Check::Named),
    (Defect::PausedAwaited, Check::Named),
    (Defect::OldPodsForgotten, Check::Named),
    (Defect::OtherUidTaken, Check::Named),
    (Defect::SupersededIgnored, Check::Named),
    (Defect::ReadyIsAvailable, Check::Named),
    (Defect::AddressNotAwaited, Check::Named),
    (Defect::UnschedulableDooms, Check::Named),
    (Defect::DoomedAwaited, Check::Named),
    (Defect::TransientDooms, Check::Named),
    (Defect::ClosedWatchEnds, Check::Named),
    (Defect::LostHistoryKept, Check::Named),
    (Defect::SilentWatchBelieved, Check::Named),
    (Defect::OldReadsTaken, Check::Named),
    (Defect::LoadHidden, Check::Named),
    (Defect::AnswersAwaited, Check::Named),
    (Defect::ServerUnlimited, Check::Named),
    (Defect::GivenUpIsRefused, Check::Named),
    (Defect::ConfigRestartsNothing, Check::Named),
    (Defect::FieldsNotMigrated, Check::Named),
    (Defect::NoTimeToEnd, Check::Named),
];

const SHOP: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 2}}
  web: {needs: [api], workload: {port: 8080, scale: 2..4}}
  worker: {workload: {command: [work], scale: 1, config: {w.conf: 'size {version}'}}}
";

/// What cannot be taken back behind a gate.
const GATED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {workload: {port: 8080, scale: 1}}
  cleanup: {after: web, job: {image: 'registry.example/shop/cleanup:{version}', command: [drop]}}
phases:
  - {name: first, environment: production, services: [api], gates: [smoke]}
  - {name: second, environment: production, services: [web]}
gates:
  smoke: {command: [look], timeout: 40s}
";

fn stage() -> &'static Arc<Stage> {
    static STAGE: OnceLock<Arc<Stage>> = OnceLock::new();
    STAGE.get_or_init(|| Arc::new(Stage::new(SHOP).expect("can be built")))
}

fn stages() -> &'static Stages {
    static STAGES: OnceLock<Stages> = OnceLock::new();
    STAGES.get_or_init(|| Stages::new().expect("can be built"))
}

/// The step whose first object is a Secret, whose version nobody but us changes.
fn api() -> Option<StepId> {
    steps(stage()).into_iter().find(|step| step.as_str().contains("api"))
}

/// Plays drills until one is not met any more, or is red.
fn first_red(drill_of: impl Fn(u64) -> Vec<Drill>) -> Option<Drilled> {
    for number in 1.. {
        let mut met = false;
        for wanted in drill_of(number) {
            let drilled = drill(stage(), &wanted);
            if !drilled.violations.is_empty() {
                return Some(drilled);
            }
            met |= drilled.met;
        }
        if !met {
            break;
        }
    }
    None
}

impl Check {
    /// What is found with the present rules.
    fn red(self) -> Option<Drilled> {
        match self {
            Self::Straggler { dies } => first_red(|write| {
                // A create lands within the server's limit; a guarded write may come much later.
                let after = if dies { [4, 17, 40] } else { [4, 8, 9] };
                let straggler = |seconds| Straggler { write, after: Duration::from_secs(seconds), dies };
                let drill = |s| Drill { straggler: Some(straggler(s)), back: true, ..Drill::default() };
                after.into_iter().map(drill).collect()
            }),
            Self::Contest { halted } => first_red(|request| {
                let contest = Some(Contest { request, halted, stamped: false });
                vec![Drill { contest, ..Drill::default() }]
            }),
            Self::HigherClaim => first_red(|request| {
                let contest = Some(Contest { request, halted: true, stamped: true });
                vec![Drill { contest, ..Drill::default() }]
            }),
            Self::Busy => first_red(|request| {
                let contest = Some(Contest { request, halted: false, stamped: false });
                vec![Drill { contest, busy: api(), ..Drill::default() }]
            }),
            Self::Squatted => {
                let drilled = drill(stage(), &Drill { squatted: true, ..Drill::default() });
                drilled.violations.iter().any(|what| what.contains(" I4: ")).then_some(drilled)
            }
            Self::Left => {
                let drilled = drill(stage(), &Drill { squatted: true, ..Drill::default() });
                let went_back = matches!(drilled.outcome, Some(Outcome::RolledBack { .. }));
                (!went_back || !drilled.violations.is_empty()).then_some(drilled)
            }
            Self::FailingGate => {
                let stage = Arc::new(Stage::new(GATED).expect("can be built"));
                let drilled = drill(&stage, &Drill { gates_fail: true, ..Drill::default() });
                let went_back = matches!(drilled.outcome, Some(Outcome::RolledBack { .. }));
                (!went_back || !drilled.violations.is_empty()).then_some(drilled)
            }
            Self::LateAfterTakeover => {
                let api = api();
                let trap = api.clone().map(Trap::AfterStarted);
                let drilled = drill(stage(), &Drill { trap, late: api, ..Drill::default() });
                (!drilled.violations.is_empty()).then_some(drilled)
            }
            Self::Unrenewed => {
                let slow = vec!["api".to_owned()];
                let drilled = drill(stage(), &Drill { unrenewed: true, slow, ..Drill::default() });
                (!drilled.stuck || !drilled.violations.is_empty()).then_some(drilled)
            }
            Self::Seeds(..) | Self::Named => None,
        }
    }
}

#[test]
fn every_defect_has_its_check() {
    for defect in Defect::ALL {
        let checks = CHECKS.iter().filter(|(known, _)| known == defect).count();
        assert_eq!(checks, 1, "{}", defect.name());
    }
}

#[test]
fn every_defect_stands_in_the_page_of_tests() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tests.md")).expect("is there");
    for defect in Defect::ALL {
        assert!(page.contains(&format!("| `{}` |", defect.name())), "{} is not in it", defect.name());
    }
}

/// Whether one of so many seeds breaks a promise with a defect.
fn breaks(defect: Defect, seeds: u64, promise: &str) -> bool {
    let broken = format!(" {promise}: ");
    let mut from = 0;
    while from < seeds {
        let Some(red) = prove(stages(), defect, from, seeds - from).red else { return false };
        if red.violations.iter().any(|violation| violation.contains(&broken)) {
            return true;
        }
        from = red.seed + 1;
    }
    false
}

#[test]
fn seeds_notice_what_is_taken_away() {
    for (defect, check) in CHECKS {
        if let Check::Seeds(seeds, promise) = check {
            let broken = breaks(*defect, *seeds, promise);
            assert!(broken, "{} breaks {promise} in none of {seeds} seeds", defect.name());
        }
    }
}

#[test]
fn drills_notice_what_is_taken_away() {
    for (defect, check) in CHECKS {
        if !matches!(check, Check::Seeds(..) | Check::Named) {
            plant(Some(*defect));
            let red = check.red();
            plant(None);
            assert!(red.is_some(), "{} is unnoticed by {check:?}", defect.name());
        }
    }
}

#[test]
fn a_late_write_changes_nothing_after_the_end() {
    for dies in [true, false] {
        let red = Check::Straggler { dies }.red();
        assert!(red.is_none(), "dies: {dies}: {red:#?}");
    }
}

#[test]
fn a_holder_that_was_taken_over_changes_nothing() {
    for halted in [true, false] {
        let red = Check::Contest { halted }.red();
        assert!(red.is_none(), "halted: {halted}: {red:#?}");
    }
}

#[test]
fn a_holder_that_meets_a_newer_epoch_changes_nothing() {
    let red = Check::Busy.red();
    assert!(red.is_none(), "{red:#?}");
}

#[test]
fn a_claim_below_another_one_begins_nothing() {
    let red = Check::HigherClaim.red();
    assert!(red.is_none(), "{red:#?}");
}

#[test]
fn a_gate_that_fails_keeps_back_what_cannot_be_taken_back() {
    let red = Check::FailingGate.red();
    assert!(red.is_none(), "{red:#?}");
}

/// What stands on the screen of whoever finds a red seed: which, of which sources, what is broken; and it comes again.
#[test]
fn a_red_seed_is_reported_and_replays() {
    let simulate = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simulate"));
        let played = command.args(arguments).env("MAILY_PLANTED", Defect::NeedsIgnored.name());
        let played = played.output().expect("runs");
        (played.status.code(), String::from_utf8(played.stdout).expect("is text"))
    };
    let (code, told) = simulate(&["--seeds", "4"]);
    assert_eq!(code, Some(1), "{told}");
    let mut lines = told.lines().skip_while(|line| !line.starts_with("seed "));
    let (seed, sources) =
        lines.next().and_then(|line| line.split_once(" at ")).expect("names seed and sources");
    assert!(sources.len() > ":".len() && sources.ends_with(':'), "{sources}");
    let broken = lines.next().and_then(|line| line.strip_prefix("  ")).expect("says what is broken");
    assert!(broken.contains(" I5: "), "{broken}");
    for word in [" simulated hours, ", " steps", " faults:", " violations in ", " of 4 seeds"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let seed = seed.trim_start_matches("seed ");
    let [one, other] = [(); 2].map(|()| simulate(&["--seed", seed]));
    assert_eq!(one.0, Some(1), "{}", one.1);
    assert!(one.1.contains(broken), "the same is broken: {broken}");
    // The last line names the sources, which somebody may commit meanwhile.
    let story = |told: &str| told.rsplit_once("\nseed ").map(|(story, _)| story.to_owned());
    assert!(story(&one.1).is_some() && story(&one.1) == story(&other.1), "seed {seed} differs");
}

/// For whoever looks for the check of a new defect: every check against every defect.
#[test]
#[ignore = "prints a table, and takes minutes"]
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn what_notices_what() {
    let drills = [
        Check::Straggler { dies: true },
        Check::Straggler { dies: true },
        Check::Straggler { dies: false },
        Check::Contest { halted: true },
        Check::Contest { halted: false },
        Check::HigherClaim,
        Check::Busy,
        Check::Squatted,
        Check::Left,
        Check::FailingGate,
        Check::LateAfterTakeover,
        Check::Unrenewed,
    ];
    for defect in Defect::ALL {
        plant(Some(*defect));
        for check in drills {
            if let Some(red) = check.red() {
                let what = red.violations.first().map(String::as_str).unwrap_or_default();
                println!("{}: {check:?}: {what}", defect.name());
            }
        }
        plant(None);
    }
}
