//! The state of a run: a pure fold of its journal, what may be done next, and what it all adds up to.

mod conclusion;
mod fold;
mod ready;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Epoch, Failure, Outcome, Plan, Reversibility, Step, StepId,
    journal::{Recorded, ReleaseHead, StepResult},
};
use crate::{
    planted::{Defect, is_planted},
    run::Begun,
};

pub use conclusion::Conclusion;
pub use ready::GATE_VALID;

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
    /// What of it has no answer on record.
    pub begun: Begun,
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
    /// The state that a journal tells of; none where its run has no plan.
    pub(crate) fn of_journal(recorded: &Recorded) -> Option<Self> {
        let mut state = Self::new(recorded.plan.clone()?);
        for (epoch, event) in &recorded.events {
            state.fold(*epoch, event);
        }
        Some(state)
    }

    /// The state before the first event.
    pub fn new(plan: Plan) -> Self {
        let pending = || StepState {
            progress: Progress::Pending,
            result: StepResult::default(),
            may_have_effect: false,
            started_at: None,
            begun: Begun::default(),
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

    fn at(&self, index: usize) -> Option<&StepState> {
        self.steps.get(&self.plan.steps.get(index)?.id)
    }
}

#[cfg(test)]
mod tests;
