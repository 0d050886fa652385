//! How steps begin, and what follows from how they end.

use std::sync::Arc;

use futures::FutureExt as _;

use super::Executor;
use crate::{
    engine::{
        Direction, Failure, StepId,
        journal::JournalEvent,
        name_added,
        state::{Course, Next},
    },
    planted::{Defect, is_planted},
    run::{NO_WAY_BACK, VANISHED},
    steps::{self, End, Halt, Past},
};

impl Executor {
    /// Goes on with steps that a former process had begun, after gates whose verdict is old were taken again.
    pub(crate) fn carry_on(&mut self) {
        self.resumed = self.state.open().into_iter().map(|step| step.id.clone()).collect();
        self.held = self.state.interrupted();
        let at = self.context.runtime.wall();
        for gate in self.state.outdated_gates(at) {
            self.resumed.insert(gate.clone());
            self.active.insert(gate.clone());
            self.push(JournalEvent::StepStarted { step: gate.clone(), at });
            self.launches.push(Next::Start(gate));
        }
    }

    /// Lets held steps go on once nothing is in their way.
    fn let_go(&mut self) {
        let forward = self.state.course == Course::Forward;
        let gates_first = forward && self.state.takes_gates_again();
        for next in std::mem::take(&mut self.held) {
            match &next {
                // What is held up by gates goes on after them, and among it may be one of them.
                Next::Start(step) if gates_first && !self.state.is_taken_again(step) => self.held.push(next),
                // After a turn what goes forward is undone instead.
                Next::Start(_) if !forward => {}
                Next::Start(_) | Next::Undo(_) => self.launch(next),
            }
        }
    }

    /// Announces everything that may begin now.
    pub(super) fn schedule(&mut self) {
        let order = self.context.ordered();
        if order >= Halt::Interrupt {
            return;
        }
        self.let_go();
        let at = self.context.runtime.wall();
        for next in self.state.ready() {
            let (Next::Start(step) | Next::Undo(step)) = &next;
            // From its announcement on: a step whose beginning is still being written down is not undone beside it.
            if !self.active.insert(step.clone()) {
                continue;
            }
            self.push(match &next {
                Next::Start(step) => JournalEvent::StepStarted { step: step.clone(), at },
                Next::Undo(step) => JournalEvent::UndoStarted { step: step.clone(), at: Some(at) },
            });
            if is_planted(Defect::EffectBeforeJournal) {
                self.launch(next);
            } else {
                self.launches.push(next);
            }
        }
    }

    pub(super) fn launch(&mut self, next: Next) {
        let (id, direction) = match next {
            Next::Start(id) => (id, Direction::Forward),
            Next::Undo(id) => (id, Direction::Back),
        };
        let (Some(step), Some(state)) = (self.state.step(&id).cloned(), self.state.of(&id)) else { return };
        let begun = state.begun;
        let past = match direction {
            Direction::Back if !state.may_have_effect && !is_planted(Defect::RefusedUndone) => Past::Nothing,
            _ if self.resumed.contains(&id) => Past::Unknown,
            Direction::Back => Past::Known,
            Direction::Forward => Past::Nothing,
        };
        if is_planted(Defect::AppliedBeforeEffect) && direction == Direction::Forward {
            let (step, at) = (id.clone(), self.context.runtime.wall());
            self.push(JournalEvent::StepApplied { step, result: state.result.clone(), at });
        }
        self.context.note_past_return(self.state.past_return());
        if past == Past::Unknown {
            self.context.has_begun(&id, begun);
        }
        let context = Arc::clone(&self.context);
        self.active.insert(id.clone());
        self.running.push(
            async move {
                let end = steps::execute(&context, &step, direction, past).await;
                (id, direction, end)
            }
            .boxed(),
        );
    }

    pub(super) fn ended(&mut self, id: &StepId, direction: Direction, end: End) {
        self.active.remove(id);
        let at = self.context.runtime.wall();
        let step = id.clone();
        if let Some((verdict, evidence)) = self.context.take_decision(id) {
            let by = self.by.clone();
            self.push(JournalEvent::GateDecided { step: step.clone(), verdict, evidence, by, at });
        }
        match (direction, end) {
            (_, End::Halted) => {}
            (Direction::Forward, End::Done(_)) if is_planted(Defect::AppliedBeforeEffect) => {}
            (Direction::Forward, End::Done(result)) => {
                self.push(JournalEvent::StepApplied { step, result, at });
            }
            (Direction::Forward, End::Failed(mut failure, result)) => {
                let changes = self.state.step(id).map(|step| step.work.changes()).unwrap_or_default();
                let workloads = changes
                    .iter()
                    .filter_map(|change| Some((self.context.seen(&change.key)?, change.desired.as_ref()?)));
                name_added([&mut *failure], &workloads.collect::<Vec<_>>());
                let why = (*failure).clone();
                self.push(JournalEvent::StepFailed { step: step.clone(), failure: *failure, result, at });
                if self.state.course == Course::Forward && !self.state.past_return() {
                    let by = "maily".to_owned();
                    self.push(JournalEvent::Turned { why, step: Some(step), by, at: Some(at) });
                    self.context.halt(Halt::Turn);
                }
            }
            (Direction::Back, End::Done(_)) => self.push(JournalEvent::Undone { step, at }),
            (Direction::Back, End::Failed(mut failure, _)) => {
                let remedy = remedy(&mut failure, &self.context.environment);
                self.push(JournalEvent::UndoFailed { step, failure: *failure, remedy, at: Some(at) });
            }
        }
    }
}

/// What a person has to do; a hint of what that is goes into it.
fn remedy(failure: &mut Failure, environment: &str) -> String {
    let resume = format!("`mailyctl resume --env {environment}`");
    let leave = format!("`mailyctl abort --leave --env {environment} --yes`");
    match failure.cause.as_str() {
        "changed" => {
            let object = failure.object.as_deref().unwrap_or("the object");
            let ways = failure.hint.take();
            let ways = ways.unwrap_or_else(|| format!("put {object} back as it was before the run"));
            format!(
                "decide which state is right: {ways}; then {resume} takes the rest back. Or end the run with everything \
                 as it is: {leave}; the next deploy or rollback brings a whole release"
            )
        }
        VANISHED => format!(
            "see in what it changes how it ended: if there is something to take back, {resume} runs the Job that does; if \
             not, {leave} ends the run with everything as it is, and the next deploy or rollback brings a whole release"
        ),
        NO_WAY_BACK => format!(
            "unset at its host what is shown, then {resume} takes the rest back. Or end the run with everything as it is: \
             {leave}; the next deploy or rollback brings a whole release"
        ),
        _ => format!("mend the cause, then {resume}"),
    }
}
