//! Drills of a small project: killed at every request, refused at every step, every step and every undo carried out
//! twice.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use maily_core::engine::Outcome;
use maily_testkit::harness::{Drill, Drilled, Stage, Straggler, Trap, drill, steps};

const SHOP: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 3}}
  web: {needs: [api], workload: {port: 8080, scale: 2..4}}
  worker: {workload: {command: [work], scale: 1}}
  queue: {workload: {port: 6379, scale: 1, config: {q.conf: 'size {version}'}}}
";

/// The same with a migration that can be taken back.
const MIGRATED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
  worker: {workload: {command: [work], scale: 1}}
  schema: {before: api, job: {image: 'registry.example/shop/schema:{version}', command: [up], undo: [down]}}
";

/// The same with a migration that cannot be taken back.
const ONE_WAY: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
  worker: {workload: {command: [work], scale: 1}}
  schema: {before: api, job: {image: 'registry.example/shop/schema:{version}', command: [up]}}
";

/// The same in two phases with a gate between them.
const GATED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {workload: {port: 8080, scale: 1}}
phases:
  - {name: first, environment: production, services: [api], gates: [smoke]}
  - {name: second, environment: production, services: [web]}
gates:
  smoke: {job: {image: 'registry.example/shop/smoke:{version}', command: [look]}}
";

fn stage() -> &'static Arc<Stage> {
    static STAGE: OnceLock<Arc<Stage>> = OnceLock::new();
    STAGE.get_or_init(|| Arc::new(Stage::new(SHOP).expect("can be built")))
}

fn migrated() -> &'static Arc<Stage> {
    static STAGE: OnceLock<Arc<Stage>> = OnceLock::new();
    STAGE.get_or_init(|| Arc::new(Stage::new(MIGRATED).expect("can be built")))
}

fn clean(wanted: &Drill) -> Option<Outcome> {
    let drilled = drill(stage(), wanted);
    assert!(drilled.violations.is_empty(), "{wanted:?}: {:#?}", drilled.violations);
    drilled.outcome
}

/// Resumed it ends at the new release, aborted or turned at the old one. No outcome is told where nothing was on
/// record yet or all of it was: there the world is one of the two.
fn ends_as_wished(drilled: &Drilled, back: bool) -> bool {
    match &drilled.outcome {
        None => drilled.died,
        Some(Outcome::RolledBack { .. } | Outcome::Cancelled { .. }) => back,
        Some(Outcome::Succeeded { .. }) => !back,
        Some(_) => false,
    }
}

/// Every prefix of the journal, with the pending call having taken effect and not having.
fn killed_at_every_request(stage: &Arc<Stage>, back: bool, refused: bool) {
    let refused =
        if refused { steps(stage).into_iter().find(|step| step.as_str().contains("web")) } else { None };
    let (mut deaths, mut turned) = (0, false);
    for number in 1.. {
        let mut survived = false;
        for after_effect in [false, true] {
            let trap = Some(Trap::Request { number, after_effect });
            let drilled = drill(
                stage,
                &Drill { trap: trap.clone(), refused: refused.clone(), back, ..Drill::default() },
            );
            assert!(drilled.violations.is_empty(), "{trap:?}: {:#?}", drilled.violations);
            // Whoever takes over is refused nothing: the run goes on until it is on record that it turned, and never after.
            turned |= refused.is_some() && matches!(drilled.outcome, Some(Outcome::RolledBack { .. }));
            let goes_back = turned || back && drilled.died;
            assert!(ends_as_wished(&drilled, goes_back), "{trap:?}: {:?}", drilled.outcome);
            survived |= !drilled.died;
            deaths += u32::from(drilled.died);
        }
        if survived {
            break;
        }
    }
    assert!(deaths > 60, "{deaths} deaths");
    assert_eq!(turned, refused.is_some(), "a run that was refused something turns");
}

#[test]
fn killed_at_every_request_and_resumed() {
    killed_at_every_request(stage(), false, false);
}

#[test]
fn killed_at_every_request_and_aborted() {
    killed_at_every_request(stage(), true, false);
}

#[test]
fn killed_at_every_request_on_the_way_back() {
    killed_at_every_request(stage(), false, true);
}

#[test]
fn failing_at_every_step_everything_goes_back() {
    for step in steps(stage()) {
        let outcome = clean(&Drill { refused: Some(step.clone()), ..Drill::default() });
        assert!(matches!(outcome, Some(Outcome::RolledBack { .. })), "{step}: {outcome:?}");
    }
}

#[test]
fn every_step_may_be_carried_out_twice() {
    for step in steps(stage()) {
        let trap = Some(Trap::BeforeApplied(step.clone()));
        let outcome = clean(&Drill { trap, ..Drill::default() });
        assert!(matches!(outcome, Some(Outcome::Succeeded { .. })), "{step}: {outcome:?}");
    }
}

#[test]
fn every_undo_may_be_carried_out_twice() {
    let all = steps(stage());
    let refused = all.iter().find(|step| step.as_str().contains("web")).cloned();
    let mut undone = 0;
    for step in all.iter().filter(|step| Some(*step) != refused.as_ref()) {
        let trap = Some(Trap::BeforeUndone(step.clone()));
        let drilled = drill(stage(), &Drill { trap, refused: refused.clone(), ..Drill::default() });
        assert!(drilled.violations.is_empty(), "{step}: {:#?}", drilled.violations);
        assert!(matches!(drilled.outcome, Some(Outcome::RolledBack { .. })), "{step}: {:?}", drilled.outcome);
        undone += u32::from(drilled.died);
    }
    assert!(undone > 0, "no undo was repeated");
}

#[test]
fn a_migration_is_taken_back_if_it_ran_and_only_then() {
    killed_at_every_request(migrated(), false, false);
    killed_at_every_request(migrated(), true, false);
    killed_at_every_request(migrated(), false, true);
}

/// The witness sees to it that nothing begins beside it and that no gate is left out.
#[test]
fn a_migration_without_a_way_back_runs_alone_and_the_run_goes_forward() {
    let stage = Arc::new(Stage::new(ONE_WAY).expect("can be built"));
    killed_at_every_request(&stage, false, false);
}

/// The takeover has marked the object with its epoch before it sends: that mark says nothing of its own requests.
#[test]
fn a_write_that_arrives_after_the_undo_has_no_effect() {
    // Its first object is a Secret, whose version nobody but us changes.
    let api = steps(stage()).into_iter().find(|step| step.as_str().contains("api"));
    let trap = api.clone().map(Trap::AfterStarted);
    let outcome = clean(&Drill { trap, late: api, ..Drill::default() });
    assert!(matches!(outcome, Some(Outcome::RolledBack { .. })), "{outcome:?}");
}

/// What was captured as absent is there now: the step fails, and the object stays as it is.
#[test]
fn what_a_person_has_made_since_the_plan_is_not_written_over() {
    let outcome = clean(&Drill { squatted: true, ..Drill::default() });
    let Some(Outcome::RolledBack { why, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(why.cause, "changed", "{why:?}");
}

/// What remains possible, and no more than that: absence has no version, and a server that lags does not know the new
/// epoch.
#[test]
fn a_create_that_the_network_keeps_lands_alone_and_never_past_a_fence_that_knows_the_epoch() {
    for (fenced, behind, lands) in [(false, false, true), (true, false, false), (true, true, true)] {
        let mut kept = 0;
        for create in 1.. {
            let wanted = Drill { kept: Some(create), back: true, fenced, behind, ..Drill::default() };
            let drilled = drill(stage(), &wanted);
            if !drilled.met {
                assert!(drilled.violations.is_empty(), "{wanted:?}: {:#?}", drilled.violations);
                break;
            }
            kept += 1;
            let outcome = &drilled.outcome;
            assert!(matches!(outcome, Some(Outcome::RolledBack { .. })), "{wanted:?}: {outcome:?}");
            assert_eq!(!drilled.violations.is_empty(), lands, "{wanted:?}: {:#?}", drilled.violations);
            let others = drilled.violations.iter().filter(|what| !what.contains("notes-of-v2"));
            assert_eq!(others.count(), 0, "{wanted:?}: {:#?}", drilled.violations);
        }
        assert_eq!(kept, 1, "the second version brings one object");
    }
}

#[test]
fn nothing_lands_late_through_a_server_that_lags_on_what_is_there() {
    let mut late = 0;
    for write in 1.. {
        let straggler = Some(Straggler { write, after: Duration::from_secs(40), dies: true });
        let wanted = Drill { straggler, back: true, fenced: true, behind: true, ..Drill::default() };
        let drilled = drill(stage(), &wanted);
        assert!(drilled.violations.is_empty(), "{wanted:?}: {:#?}", drilled.violations);
        if !drilled.met {
            break;
        }
        late += 1;
    }
    assert!(late > 5, "{late} writes were late");
}

/// A step that may not send because the lease is not renewed has a deadline all the same.
#[test]
fn a_run_without_its_lease_ends_and_can_be_taken_over() {
    let drilled = drill(stage(), &Drill { unrenewed: true, slow: vec!["api".into()], ..Drill::default() });
    assert!(drilled.violations.is_empty(), "{:#?}", drilled.violations);
    assert!(drilled.stuck);
    assert!(matches!(drilled.outcome, Some(Outcome::RolledBack { .. })), "{:?}", drilled.outcome);
}

#[test]
fn the_job_of_a_gate_does_not_outlive_a_run_that_goes_back() {
    let stage = Arc::new(Stage::new(GATED).expect("can be built"));
    killed_at_every_request(&stage, true, false);
    killed_at_every_request(&stage, false, true);
}

#[test]
fn an_old_verdict_is_taken_again_before_the_run_goes_on() {
    let stage = Arc::new(Stage::new(GATED).expect("can be built"));
    let trap = steps(&stage).into_iter().find(|step| step.as_str().contains("web")).map(Trap::AfterStarted);
    for (pause, verdicts) in [(10 * 60, 1), (2 * 3_600, 2)] {
        let pause = Duration::from_secs(pause);
        let drilled = drill(&stage, &Drill { trap: trap.clone(), pause, ..Drill::default() });
        assert!(drilled.violations.is_empty(), "{:#?}", drilled.violations);
        assert!(matches!(drilled.outcome, Some(Outcome::Succeeded { .. })), "{:?}", drilled.outcome);
        assert_eq!(drilled.verdicts, verdicts, "after {pause:?}");
    }
}
