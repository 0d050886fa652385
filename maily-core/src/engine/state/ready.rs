//! What may begin now, and what a former process had begun.

use std::{collections::BTreeSet, time::Duration};

use super::{Course, Next, Progress, RunState};
use crate::{
    engine::{Reversibility, Step, StepId},
    planted::{Defect, is_planted},
};

/// How long the verdict of a gate counts. A run that is resumed later takes it again.
pub const GATE_VALID: Duration = Duration::from_secs(3_600);

impl RunState {
    /// Everything that may begin now, in the order of the plan. A step that the journal shows as begun is not among
    /// it: who runs it knows, who takes the run over asks [`Self::interrupted`].
    pub fn ready(&self) -> Vec<Next> {
        if self.finished.is_some() {
            return Vec::new();
        }
        match &self.course {
            Course::Forward if self.paused().is_some() => Vec::new(),
            // Gates that are taken again come before everything, also before what a former process had begun.
            Course::Forward if self.alone().is_some() && !self.takes_gates_again() => Vec::new(),
            Course::Forward => self.beginning(),
            Course::Back { .. } if is_planted(Defect::UndoFailureStops) && self.has_undo_failed() => {
                Vec::new()
            }
            Course::Back { .. } => self
                .plan
                .steps
                .iter()
                .filter(|step| self.begun(&step.id) && self.free_of_dependents(&step.id))
                .map(|step| Next::Undo(step.id.clone()))
                .collect(),
        }
    }

    /// What may begin on the way forward: everything that can be taken back, and only when nothing of it is left or
    /// under way, one step that cannot.
    fn beginning(&self) -> Vec<Next> {
        if self.takes_gates_again() {
            let again = self.candidates.intersection(&self.retaken);
            return again.map(|index| Next::Start(self.plan.steps[*index].id.clone())).collect();
        }
        let can_return =
            |index: &&usize| self.plan.steps[**index].reversibility != Reversibility::Irreversible;
        let start = |index: &usize| Next::Start(self.plan.steps[*index].id.clone());
        let ready: Vec<Next> = self.candidates.iter().filter(can_return).map(start).collect();
        // The second is asked last: it looks at every step.
        if !ready.is_empty()
            || self.candidates.is_empty()
            || self.steps.values().any(|state| state.progress == Progress::Started)
        {
            return ready;
        }
        let next = self.candidates.iter().find(|index| self.gates_have_passed(**index));
        next.map(start).into_iter().collect()
    }

    /// The irreversible step that is under way: nothing begins beside it, because whatever failed then could not be
    /// taken back any more.
    fn alone(&self) -> Option<usize> {
        let started =
            |index: &usize| self.at(*index).is_some_and(|state| state.progress == Progress::Started);
        self.irreversible.iter().copied().find(started)
    }

    /// Whether every gate that stands before a step in the plan was passed. Those that need the step stand behind it.
    fn gates_have_passed(&self, index: usize) -> bool {
        let mut before = self.plan.steps[..index].iter();
        before.all(|step| {
            is_planted(Defect::GatesIgnored)
                || !step.is_gate()
                || self.steps.get(&step.id).is_some_and(|state| state.progress == Progress::Applied)
        })
    }

    /// Gates whose verdict is older than [`GATE_VALID`] and behind which something is still to be done: what they saw
    /// may be true no more.
    pub fn outdated_gates(&self, now: jiff::Timestamp) -> Vec<StepId> {
        if self.course != Course::Forward || self.finished.is_some() {
            return Vec::new();
        }
        let old = |step: &&Step| {
            let state = self.steps.get(&step.id).filter(|state| state.progress == Progress::Applied);
            // A verdict of later than now is as doubtful: the clock of one of the machines is wrong.
            let age = |at: jiff::Timestamp| now.duration_since(at).unsigned_abs();
            state.is_some_and(|state| state.decided.as_ref().is_none_or(|(_, at)| age(*at) > GATE_VALID))
        };
        let gates = self.plan.steps.iter().filter(|step| step.is_gate()).filter(old);
        gates.filter(|gate| self.is_open_behind(&gate.id)).map(|gate| gate.id.clone()).collect()
    }

    fn is_open_behind(&self, step: &StepId) -> bool {
        let mut known = BTreeSet::new();
        let mut rest = vec![step];
        while let Some(step) = rest.pop() {
            for dependent in self.dependents.get(step).into_iter().flatten() {
                if self.steps.get(dependent).is_some_and(|state| state.progress != Progress::Applied) {
                    return true;
                }
                if known.insert(dependent) {
                    rest.push(dependent);
                }
            }
        }
        false
    }

    /// Whether gates are being taken again: until they have passed, nothing else goes on.
    pub fn takes_gates_again(&self) -> bool {
        !self.retaken.is_empty()
    }

    /// Whether a step is a gate that had passed and has not passed again yet.
    pub fn is_taken_again(&self, step: &StepId) -> bool {
        self.order.get(step).is_some_and(|index| self.retaken.contains(index))
    }

    fn has_undo_failed(&self) -> bool {
        self.steps.values().any(|state| matches!(state.progress, Progress::UndoFailed(..)))
    }

    fn begun(&self, id: &StepId) -> bool {
        self.steps.get(id).is_some_and(|state| {
            if is_planted(Defect::OnlyAppliedUndone) && state.progress != Progress::Applied {
                return false;
            }
            matches!(state.progress, Progress::Started | Progress::Applied | Progress::Failed(_))
                || (state.again && matches!(state.progress, Progress::UndoFailed(..)))
        })
    }

    fn free_of_dependents(&self, id: &StepId) -> bool {
        if is_planted(Defect::UndoOutOfOrder) {
            return true;
        }
        self.dependents.get(id).is_none_or(|dependents| {
            dependents.iter().all(|dependent| {
                self.steps
                    .get(dependent)
                    .is_none_or(|state| matches!(state.progress, Progress::Pending | Progress::Undone))
            })
        })
    }

    /// Steps that a former process had begun and not ended: to be carried on with.
    pub fn interrupted(&self) -> Vec<Next> {
        self.plan
            .steps
            .iter()
            .filter_map(|step| match self.steps.get(&step.id).map(|state| &state.progress) {
                Some(Progress::Started) if self.course == Course::Forward => {
                    Some(Next::Start(step.id.clone()))
                }
                Some(Progress::Undoing) => Some(Next::Undo(step.id.clone())),
                _ => None,
            })
            .collect()
    }

    /// Steps whose effect may be on its way: what a takeover has to stamp first.
    pub fn open(&self) -> Vec<&Step> {
        self.plan
            .steps
            .iter()
            .filter(|step| {
                self.steps.get(&step.id).is_some_and(|state| match &state.progress {
                    Progress::Started | Progress::Undoing => true,
                    Progress::Failed(_) | Progress::UndoFailed(..) => state.may_have_effect,
                    Progress::Pending | Progress::Applied | Progress::Undone => false,
                })
            })
            .collect()
    }

    /// Steps whose workloads a former process may have followed at last. What was taken back is followed once more in
    /// the end.
    pub fn followed(&self) -> Vec<&Step> {
        let steps = self.plan.steps.iter();
        let progress = |step: &Step| self.steps.get(&step.id).map(|state| &state.progress);
        let past = |step: &Step| matches!(progress(step), None | Some(Progress::Pending | Progress::Applied));
        steps.filter(|step| !past(step)).collect()
    }
}
