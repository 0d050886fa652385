//! What each entry of the journal changes.

use super::{Course, Progress, RunState, StepState};
use crate::{
    engine::{Epoch, Failure, StepId, journal::JournalEvent},
    provider::Effect,
    run::{JOB_FAILED, VANISHED},
};

impl RunState {
    /// Folds one event, written under an epoch.
    pub fn fold(&mut self, epoch: Epoch, event: &JournalEvent) {
        if !self.epochs.contains(&epoch) {
            self.epochs.push(epoch);
        }
        match event {
            JournalEvent::EpochClaimed { .. } => self.try_again(),
            JournalEvent::RunStarted { .. } | JournalEvent::Paused { .. } => {}
            JournalEvent::GateDecided { step, verdict, at, .. } => {
                self.set(step, |state| state.decided = Some((verdict.clone(), *at)));
            }
            JournalEvent::StepStarted { step, at } => {
                if let Some(index) = self.order.get(step).copied() {
                    self.candidates.remove(&index);
                    self.failed.remove(&index);
                    if self.at(index).is_some_and(|state| state.progress == Progress::Applied) {
                        self.retaken.insert(index);
                        self.take_back(step);
                    }
                }
                self.set(step, |state| {
                    // Whoever goes on although nobody knows how it ended begins anew.
                    let anew = matches!(&state.progress, Progress::Failed(why) if why.cause == VANISHED);
                    state.begun.forward = state.begun.forward.filter(|_| !anew).or(Some(*at));
                    state.begun.anew = matches!(state.progress, Progress::Failed(_));
                    state.progress = Progress::Started;
                    state.again = false;
                    state.may_have_effect = true;
                    state.started_at = Some(*at);
                });
            }
            JournalEvent::StepApplied { step, result, .. } => {
                self.set(step, |state| {
                    state.progress = Progress::Applied;
                    state.result = result.clone();
                    state.begun.forward = None;
                });
                if let Some(index) = self.order.get(step) {
                    self.retaken.remove(index);
                    self.candidates.remove(index);
                }
                for dependent in self.dependents.get(step).cloned().unwrap_or_default() {
                    let Some(missing) = self.missing.get_mut(&dependent) else { continue };
                    *missing = missing.saturating_sub(1);
                    let waits = self
                        .steps
                        .get(&dependent)
                        .is_some_and(|state| state.progress == Progress::Pending || state.again);
                    if let (0, true, Some(index)) = (*missing, waits, self.order.get(&dependent)) {
                        self.candidates.insert(*index);
                    }
                }
            }
            JournalEvent::StepFailed { step, failure, result, .. } => {
                let at_rest = failure.effect == Effect::None;
                self.set(step, |state| {
                    state.progress = Progress::Failed(failure.clone());
                    state.result = result.clone();
                    state.may_have_effect = !at_rest;
                    state.begun.forward = state.begun.forward.filter(|_| !is_answer(failure));
                });
                if let Some(index) = self.order.get(step) {
                    self.failed.insert(*index);
                }
            }
            JournalEvent::Turned { why, step, .. } => {
                self.course = Course::Back { why: why.clone(), step: step.clone() };
            }
            JournalEvent::UndoStarted { step, at } => self.set(step, |state| {
                state.begun.back = state.begun.back.or(*at);
                state.begun.anew = matches!(state.progress, Progress::UndoFailed(..));
                state.progress = Progress::Undoing;
                state.again = false;
            }),
            JournalEvent::Undone { step, .. } => self.set(step, |state| state.progress = Progress::Undone),
            JournalEvent::UndoFailed { step, failure, remedy, .. } => self.set(step, |state| {
                let vanished = failure.cause == VANISHED;
                state.begun.told |= vanished;
                state.begun.back = state.begun.back.filter(|_| !vanished && !is_answer(failure));
                state.progress = Progress::UndoFailed(failure.clone(), remedy.clone());
            }),
            JournalEvent::RunFinished { outcome, release, .. } => {
                self.finished = Some((outcome.clone(), release.clone()));
            }
        }
    }

    fn set(&mut self, step: &StepId, change: impl FnOnce(&mut StepState)) {
        if let Some(state) = self.steps.get_mut(step) {
            change(state);
        }
    }

    /// What needs a step that was applied and begins anew waits for it again.
    fn take_back(&mut self, step: &StepId) {
        for dependent in self.dependents.get(step).cloned().unwrap_or_default() {
            if let Some(missing) = self.missing.get_mut(&dependent) {
                *missing += 1;
            }
            if let Some(index) = self.order.get(&dependent) {
                self.candidates.remove(index);
            }
        }
    }

    /// Whoever takes a run over tries again what failed: a person has mended its cause, or wants to know.
    fn try_again(&mut self) {
        for state in self.steps.values_mut() {
            state.again |= matches!(state.progress, Progress::Failed(_) | Progress::UndoFailed(..));
            // How far a former process came with it is not known.
            state.begun.anew = false;
        }
        let failed = std::mem::take(&mut self.failed);
        self.candidates.extend(failed);
    }
}

/// Whether a failure says how all that was begun has ended.
fn is_answer(failure: &Failure) -> bool {
    failure.effect == Effect::None || failure.cause == JOB_FAILED
}
