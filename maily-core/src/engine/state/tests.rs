use super::*;
use crate::{
    engine::{Goal, PLAN_FORMAT, Work, journal::JournalEvent},
    provider::{ClusterIdentity, Effect, ProbeRequest},
};

fn id(name: &str) -> StepId {
    StepId::new("e", name, "s")
}

fn step(name: &str, needs: &[&str], reversibility: Reversibility, gate: bool) -> Step {
    let probe = ProbeRequest::Command { argv: vec!["true".to_owned()] };
    Step {
        id: id(name),
        service: None,
        phase: None,
        needs: needs.iter().map(|need| id(need)).collect(),
        reversibility,
        timeout_s: 60,
        work: if gate { Work::Check { probe, gate: true } } else { Work::Barrier {} },
    }
}

fn undoable(name: &str, needs: &[&str]) -> Step {
    step(name, needs, Reversibility::Undoable, false)
}

fn irreversible(name: &str, needs: &[&str]) -> Step {
    step(name, needs, Reversibility::Irreversible, false)
}

fn state(steps: Vec<Step>) -> RunState {
    RunState::new(
        Plan {
            format: PLAN_FORMAT,
            project: "p".into(),
            environment: "e".into(),
            namespace: "n".into(),
            cluster: ClusterIdentity { uid: "u".into(), ca: String::new() },
            goal: Goal::Remove { only: None },
            base: None,
            versions: BTreeMap::new(),
            steps,
            unchanged: Vec::new(),
            regroups: false,
            as_before: BTreeSet::new(),
            left: Vec::new(),
            notes: Vec::new(),
            digest: String::new(),
        }
        .sealed(),
    )
}

impl RunState {
    fn with(&mut self, event: JournalEvent) -> &mut Self {
        self.fold(Epoch(1), &event);
        self
    }

    fn starts(&mut self, name: &str) -> &mut Self {
        self.with(JournalEvent::StepStarted { step: id(name), at: jiff::Timestamp::UNIX_EPOCH })
    }

    fn applies(&mut self, name: &str) -> &mut Self {
        let (result, at) = (StepResult::default(), jiff::Timestamp::UNIX_EPOCH);
        self.with(JournalEvent::StepApplied { step: id(name), result, at })
    }

    fn fails(&mut self, name: &str, effect: Effect) -> &mut Self {
        let failure = Failure::new("crash-loop", "it crashes").with_effect(effect);
        let (result, at) = (StepResult::default(), jiff::Timestamp::UNIX_EPOCH);
        self.with(JournalEvent::StepFailed { step: id(name), failure, result, at })
    }

    fn claimed(&mut self, epoch: u64) -> &mut Self {
        let epoch = Epoch(epoch);
        self.fold(epoch, &JournalEvent::EpochClaimed { epoch, by: "second".into(), reason: None, at: None });
        self
    }

    fn may_start(&self) -> Vec<String> {
        let name = |next: Next| match next {
            Next::Start(step) | Next::Undo(step) => step.to_string().split('/').nth(1).map(str::to_owned),
        };
        self.ready().into_iter().filter_map(name).collect()
    }
}

#[test]
fn an_irreversible_step_waits_until_nothing_can_fail_beside_it() {
    let mut state =
        state(vec![irreversible("migrate", &[]), undoable("web", &[]), undoable("api", &["web"])]);
    assert_eq!(state.may_start(), ["web"]);
    assert_eq!(state.starts("web").may_start(), [""; 0]);
    assert_eq!(state.applies("web").may_start(), ["api"]);
    state.starts("api");
    assert_eq!(state.may_start(), [""; 0]);
    assert_eq!(state.applies("api").may_start(), ["migrate"]);
}

#[test]
fn nothing_begins_beside_an_irreversible_step() {
    let mut state =
        state(vec![irreversible("migrate", &[]), irreversible("other", &[]), undoable("api", &["migrate"])]);
    assert_eq!(state.may_start(), ["migrate"]);
    assert_eq!(state.starts("migrate").may_start(), [""; 0]);
    // What can be taken back comes first, and two that cannot come one after the other.
    assert_eq!(state.applies("migrate").may_start(), ["api"]);
    assert_eq!(state.starts("api").applies("api").may_start(), ["other"]);
    state.starts("other").applies("other");
    assert_eq!(state.conclusion(), Conclusion::Succeeded);
}

#[test]
fn an_irreversible_step_waits_for_the_gates_before_it() {
    let mut state = state(vec![
        irreversible("first", &[]),
        step("gate", &["first"], Reversibility::NoEffect, true),
        irreversible("second", &[]),
    ]);
    assert_eq!(state.may_start(), ["first"]);
    assert_eq!(state.starts("first").applies("first").may_start(), ["gate"]);
    assert_eq!(state.starts("gate").applies("gate").may_start(), ["second"]);
}

#[test]
fn a_failed_step_begins_anew_after_a_takeover_and_not_before() {
    let mut state = state(vec![irreversible("migrate", &[]), undoable("api", &["migrate"])]);
    state.starts("migrate").applies("migrate").starts("api").fails("api", Effect::None);
    assert!(state.paused().is_some());
    assert_eq!(state.may_start(), [""; 0]);
    state.claimed(2);
    assert!(state.paused().is_none());
    assert_eq!(state.may_start(), ["api"]);
    assert_eq!(state.interrupted(), []);
    assert_eq!(state.starts("api").may_start(), [""; 0]);
    assert!(state.of(&id("api")).is_some_and(|api| api.may_have_effect));
    state.applies("api");
    assert_eq!(state.conclusion(), Conclusion::Succeeded);
}

#[test]
fn an_undo_that_failed_begins_anew_after_a_takeover_and_not_before() {
    let mut state = state(vec![undoable("api", &[])]);
    state.starts("api").fails("api", Effect::Done).with(JournalEvent::Turned {
        why: Failure::new("crash-loop", "it crashes"),
        step: None,
        by: "maily".into(),
        at: None,
    });
    state.with(JournalEvent::UndoStarted { step: id("api"), at: None }).with(JournalEvent::UndoFailed {
        step: id("api"),
        failure: Failure::new("changed", "it was changed"),
        remedy: String::new(),
        at: None,
    });
    assert_eq!(state.may_start(), [""; 0]);
    assert!(matches!(state.conclusion(), Conclusion::Stuck(_)));
    assert_eq!(state.claimed(2).may_start(), ["api"]);
    assert!(matches!(state.conclusion(), Conclusion::Unfinished));
}

#[test]
fn an_undo_that_failed_keeps_back_what_the_step_needed_and_nothing_else() {
    let mut state = state(vec![undoable("api", &[]), undoable("web", &["api"]), undoable("worker", &[])]);
    for step in ["api", "web", "worker"] {
        state.starts(step).applies(step);
    }
    let why = Failure::new("aborted", "somebody asked to abort");
    state.with(JournalEvent::Turned { why, step: None, by: "maily".into(), at: None });
    state.with(JournalEvent::UndoStarted { step: id("web"), at: None }).with(JournalEvent::UndoFailed {
        step: id("web"),
        failure: Failure::new("changed", "it was changed"),
        remedy: String::new(),
        at: None,
    });
    assert_eq!(state.may_start(), ["worker"]);
}

/// Each rule is worth what turns red without it.
#[cfg(feature = "planted-defects")]
#[test]
fn an_undo_that_keeps_everything_back_is_missed() {
    use crate::planted::{Defect, turns_red};

    let failed = an_undo_that_failed_keeps_back_what_the_step_needed_and_nothing_else;
    turns_red(Defect::UndoFailureStops, failed);
}

#[test]
fn a_gate_that_is_taken_again_holds_everything_up() {
    let mut state = state(vec![
        undoable("api", &[]),
        step("gate", &["api"], Reversibility::NoEffect, true),
        undoable("phase", &["gate"]),
        undoable("web", &["phase"]),
    ]);
    let at = jiff::Timestamp::UNIX_EPOCH;
    state.starts("api").applies("api").starts("gate");
    let (verdict, evidence, by) = ("pass".to_owned(), String::new(), String::new());
    state.with(JournalEvent::GateDecided { step: id("gate"), verdict, evidence, by, at });
    state.applies("gate").starts("phase").applies("phase");
    let after = |seconds: i64| at + jiff::SignedDuration::from_secs(seconds);
    assert_eq!(state.outdated_gates(after(3_600)), []);
    assert_eq!(state.outdated_gates(after(3_601)), [id("gate")]);
    // On the clock of another machine it has not been decided yet.
    assert_eq!(state.outdated_gates(after(-3_600)), []);
    assert_eq!(state.outdated_gates(after(-3_601)), [id("gate")]);
    assert_eq!(state.claimed(2).starts("gate").may_start(), [""; 0]);
    assert!(state.takes_gates_again());
    assert_eq!(state.applies("gate").may_start(), ["web"]);
    state.starts("web").applies("web");
    assert_eq!(state.outdated_gates(after(9_999)), []);
    assert_eq!(state.conclusion(), Conclusion::Succeeded);
}

#[test]
fn a_gate_that_fails_when_it_is_taken_again_begins_anew_beside_a_step_that_cannot_be_undone() {
    let mut state = state(vec![
        undoable("api", &[]),
        step("gate", &["api"], Reversibility::NoEffect, true),
        irreversible("migrate", &["gate"]),
    ]);
    state.starts("api").applies("api").starts("gate").applies("gate").starts("migrate");
    state.claimed(2).starts("gate").fails("gate", Effect::Done);
    assert!(state.paused().is_some());
    assert_eq!(state.may_start(), [""; 0]);
    assert_eq!(state.claimed(3).may_start(), ["gate"]);
    assert_eq!(state.starts("gate").may_start(), [""; 0]);
    state.applies("gate");
    assert_eq!(state.may_start(), [""; 0]);
    assert_eq!(state.interrupted(), [Next::Start(id("migrate"))]);
    assert_eq!(state.applies("migrate").conclusion(), Conclusion::Succeeded);
}

/// Many ways lead past a gate to the end of a plan, and all of it was done: none of it has to be looked at twice.
#[test]
fn what_stands_behind_a_gate_is_looked_at_once() {
    let mut steps = vec![step("gate", &[], Reversibility::NoEffect, true)];
    let (mut left, mut right) = ("gate".to_owned(), "gate".to_owned());
    for layer in 0..32 {
        let needs = [left.as_str(), right.as_str()];
        let (one, other) = (format!("left-{layer}"), format!("right-{layer}"));
        steps.extend([undoable(&one, &needs), undoable(&other, &needs)]);
        (left, right) = (one, other);
    }
    let names: Vec<String> = steps.iter().map(|step| step.id.to_string()).collect();
    let mut state = state(steps);
    for name in names {
        let name = name.split('/').nth(1).expect("has a name").to_owned();
        state.starts(&name).applies(&name);
    }
    let later = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(9_999);
    assert_eq!(state.outdated_gates(later), []);
}
