//! The state of a run: a pure fold of its journal, and what may be done next.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Epoch, Failure, Outcome, Plan, Reversibility, Step, StepId, Stuck,
    journal::{JournalEvent, ReleaseHead, StepResult},
};
use crate::{
    planted::{Defect, is_planted},
    provider::Effect,
};

/// How long the verdict of a gate counts. A run that is resumed later takes it again.
pub const GATE_VALID: Duration = Duration::from_secs(3_600);

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not begun.
    Pending,
    /// Begun; its effect may be there.
    Started,
    /// Seen to succeed.
    Applied,
    /// Failed.
    Failed(Failure),
    /// Being undone.
    Undoing,
    /// Undone.
    Undone,
    /// Could not be undone.
    UndoFailed(Failure, String),
}

/// What the journal says of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepState {
    /// How far it is.
    pub progress: Progress,
    /// What it left behind.
    pub result: StepResult,
    /// Whether some call of it may have had an effect.
    pub may_have_effect: bool,
    /// When it began.
    pub started_at: Option<jiff::Timestamp>,
    /// It failed, and a later process tries it again.
    pub again: bool,
    /// What it decided last, where it is a gate: the verdict and its time.
    pub decided: Option<(String, jiff::Timestamp)>,
}

/// Forward, or back for a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// To the new state.
    Forward,
    /// To the old state.
    Back {
        /// Why.
        why: Failure,
        /// Whose failure it was.
        step: Option<StepId>,
    },
}

/// What may be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Begin a step.
    Start(StepId),
    /// Begin to undo a step.
    Undo(StepId),
}

/// State of a run.
#[derive(Clone, Debug)]
pub struct RunState {
    plan: Plan,
    steps: BTreeMap<StepId, StepState>,
    /// Position of each step in the plan.
    order: BTreeMap<StepId, usize>,
    /// Steps that need a step.
    dependents: BTreeMap<StepId, Vec<StepId>>,
    /// Number of needs that are not applied yet.
    missing: BTreeMap<StepId, usize>,
    /// Steps that have not begun and whose needs are all applied, by position: keeps a run of thousands linear.
    candidates: BTreeSet<usize>,
    /// Every epoch under which this run wrote.
    pub epochs: Vec<Epoch>,
    /// Its direction.
    pub course: Course,
    /// How it ended.
    pub finished: Option<(Outcome, Option<ReleaseHead>)>,
    /// Steps that failed and that nobody has tried again since, by position.
    failed: BTreeSet<usize>,
    /// Steps that cannot be undone, by position.
    irreversible: Vec<usize>,
    /// Gates that had passed and are taken again, by position.
    retaken: BTreeSet<usize>,
}

impl RunState {
    /// The state before the first event.
    pub fn new(plan: Plan) -> Self {
        let pending = || StepState {
            progress: Progress::Pending,
            result: StepResult::default(),
            may_have_effect: false,
            started_at: None,
            again: false,
            decided: None,
        };
        let mut dependents: BTreeMap<StepId, Vec<StepId>> = BTreeMap::new();
        for step in &plan.steps {
            for need in &step.needs {
                dependents.entry(need.clone()).or_default().push(step.id.clone());
            }
        }
        Self {
            steps: plan.steps.iter().map(|step| (step.id.clone(), pending())).collect(),
            order: plan.steps.iter().enumerate().map(|(index, step)| (step.id.clone(), index)).collect(),
            missing: plan.steps.iter().map(|step| (step.id.clone(), step.needs.len())).collect(),
            candidates: (0..plan.steps.len())
                .filter(|index| plan.steps[*index].needs.is_empty() || is_planted(Defect::NeedsIgnored))
                .collect(),
            irreversible: (0..plan.steps.len())
                .filter(|index| plan.steps[*index].reversibility == Reversibility::Irreversible)
                .collect(),
            failed: BTreeSet::new(),
            retaken: BTreeSet::new(),
            dependents,
            plan,
            epochs: Vec::new(),
            course: Course::Forward,
            finished: None,
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// A step of the plan.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.plan.steps.get(*self.order.get(id)?)
    }

    /// What the journal says of a step.
    pub fn of(&self, id: &StepId) -> Option<&StepState> {
        self.steps.get(id)
    }

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
                });
                if let Some(index) = self.order.get(step) {
                    self.failed.insert(*index);
                }
            }
            JournalEvent::Turned { why, step, .. } => {
                self.course = Course::Back { why: why.clone(), step: step.clone() };
            }
            JournalEvent::UndoStarted { step } => self.set(step, |state| {
                state.progress = Progress::Undoing;
                state.again = false;
            }),
            JournalEvent::Undone { step, .. } => self.set(step, |state| state.progress = Progress::Undone),
            JournalEvent::UndoFailed { step, failure, remedy } => self.set(step, |state| {
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

    /// Gates whose verdict is older than [`GATE_VALID`] and behind which something is still to be done: what they saw
    /// may be true no more.
    pub fn outdated_gates(&self, now: jiff::Timestamp) -> Vec<StepId> {
        if self.course != Course::Forward || self.finished.is_some() {
            return Vec::new();
        }
        let old = |step: &&Step| {
            let state = self.steps.get(&step.id).filter(|state| state.progress == Progress::Applied);
            let age = |at: jiff::Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default();
            state.is_some_and(|state| state.decided.as_ref().is_none_or(|(_, at)| age(*at) > GATE_VALID))
        };
        let gates = self.plan.steps.iter().filter(|step| step.is_gate()).filter(old);
        gates.filter(|gate| self.is_open_behind(&gate.id)).map(|gate| gate.id.clone()).collect()
    }

    fn is_open_behind(&self, step: &StepId) -> bool {
        self.dependents.get(step).into_iter().flatten().any(|dependent| {
            self.steps.get(dependent).is_some_and(|state| state.progress != Progress::Applied)
                || self.is_open_behind(dependent)
        })
    }

    /// Whether gates are being taken again: until they have passed, nothing else goes on.
    pub fn takes_gates_again(&self) -> bool {
        !self.retaken.is_empty()
    }

    /// Whoever takes a run over tries again what failed: a person has mended its cause, or wants to know.
    fn try_again(&mut self) {
        for state in self.steps.values_mut() {
            state.again |= matches!(state.progress, Progress::Failed(_) | Progress::UndoFailed(..));
        }
        let failed = std::mem::take(&mut self.failed);
        self.candidates.extend(failed);
    }

    /// Whether an irreversible step has begun: from there the run cannot turn.
    pub fn past_return(&self) -> bool {
        if is_planted(Defect::TurnPastReturn) {
            return false;
        }
        self.irreversible.iter().any(|index| {
            self.at(*index).is_some_and(|state| state.may_have_effect && state.progress != Progress::Pending)
        })
    }

    /// Why the run cannot go on forward without a person, past a point of no return.
    pub fn paused(&self) -> Option<(&StepId, &Failure)> {
        let step = &self.plan.steps[*self.failed.first()?].id;
        match (&self.course, &self.steps.get(step)?.progress) {
            (Course::Forward, Progress::Failed(failure)) => Some((step, failure)),
            _ => None,
        }
    }

    fn at(&self, index: usize) -> Option<&StepState> {
        self.steps.get(&self.plan.steps.get(index)?.id)
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

    /// Everything that may begin now, in the order of the plan. A step that the journal shows as begun is not among
    /// it: who runs it knows, who takes the run over asks [`Self::interrupted`].
    pub fn ready(&self) -> Vec<Next> {
        if self.finished.is_some() {
            return Vec::new();
        }
        match &self.course {
            Course::Forward if self.paused().is_some() || self.alone().is_some() => Vec::new(),
            Course::Forward => self.beginning(),
            Course::Back { .. } => self
                .plan
                .steps
                .iter()
                .filter(|step| self.begun(&step.id) && self.free_of_dependents(&step.id))
                .map(|step| Next::Undo(step.id.clone()))
                .collect(),
        }
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

    /// The irreversible step that is under way: nothing begins beside it, because whatever failed then could not be
    /// taken back any more.
    fn alone(&self) -> Option<usize> {
        let started =
            |index: &usize| self.at(*index).is_some_and(|state| state.progress == Progress::Started);
        self.irreversible.iter().copied().find(started)
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

    /// Whether every gate that stands before a step in the plan was passed. Those that need the step stand behind it.
    fn gates_have_passed(&self, index: usize) -> bool {
        let mut before = self.plan.steps[..index].iter();
        before.all(|step| {
            is_planted(Defect::GatesIgnored)
                || !step.is_gate()
                || self.steps.get(&step.id).is_some_and(|state| state.progress == Progress::Applied)
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

    /// Steps that are neither applied nor undone, for a person who ends the run as it is.
    pub fn left_behind(&self) -> Vec<Stuck> {
        self.plan
            .steps
            .iter()
            .filter(|step| {
                self.steps
                    .get(&step.id)
                    .is_some_and(|state| !matches!(state.progress, Progress::Pending | Progress::Undone))
            })
            .map(|step| Stuck {
                step: step.id.clone(),
                why: Failure::new("left", "a person ended the run with everything as it is"),
                remedy: "none: `mailyctl status` shows what differs from the last release".to_owned(),
            })
            .collect()
    }

    /// How the run ends, once nothing runs and nothing is ready.
    pub fn conclusion(&self) -> Conclusion {
        match &self.course {
            Course::Forward => {
                if let Some((step, failure)) = self.paused() {
                    let remedy =
                        "a step that cannot be undone has begun: mend the cause, then `mailyctl resume`";
                    return Conclusion::Stuck(vec![Stuck {
                        step: step.clone(),
                        why: failure.clone(),
                        remedy: remedy.to_owned(),
                    }]);
                }
                let applied = self.steps.values().all(|state| state.progress == Progress::Applied);
                if applied { Conclusion::Succeeded } else { Conclusion::Unfinished }
            }
            Course::Back { why, step } => {
                let stuck: Vec<Stuck> = self
                    .plan
                    .steps
                    .iter()
                    .filter_map(|step| {
                        match self.steps.get(&step.id).filter(|state| !state.again)?.progress {
                            Progress::UndoFailed(ref failure, ref remedy) => Some(Stuck {
                                step: step.id.clone(),
                                why: failure.clone(),
                                remedy: remedy.clone(),
                            }),
                            _ => None,
                        }
                    })
                    .collect();
                if !stuck.is_empty() {
                    return Conclusion::Stuck(stuck);
                }
                let resting =
                    |state: &StepState| matches!(state.progress, Progress::Pending | Progress::Undone);
                if self.steps.values().all(resting) {
                    Conclusion::RolledBack { step: step.clone(), why: why.clone() }
                } else {
                    Conclusion::Unfinished
                }
            }
        }
    }
}

/// What the journal adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Every step was applied.
    Succeeded,
    /// Everything begun was undone.
    RolledBack {
        /// Whose failure it was.
        step: Option<StepId>,
        /// Why.
        why: Failure,
    },
    /// A person is needed.
    Stuck(Vec<Stuck>),
    /// There is more to do.
    Unfinished,
}

#[cfg(test)]
mod tests;
