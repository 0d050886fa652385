//! Whether a run can still turn, whether it waits for a person, and what it comes to.

use super::{Course, Progress, RunState, StepState};
use crate::{
    engine::{Failure, Operation, Step, StepId, Stuck},
    planted::{Defect, is_planted},
    run::VANISHED,
};

/// What the journal of a run adds up to once nothing runs and nothing is ready: a verdict of the pure fold, which knows
/// neither clock nor number of a release. The executor makes of it what is written down, an [`Outcome`](crate::engine::Outcome) or a pause.
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

impl RunState {
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

    /// How the run ends, once nothing runs and nothing is ready.
    pub fn conclusion(&self) -> Conclusion {
        match &self.course {
            Course::Forward => {
                if let Some((step, failure)) = self.paused() {
                    let environment = &self.plan.environment;
                    let resume = format!("`mailyctl resume --env {environment}`");
                    let remedy = match failure.cause.as_str() {
                        VANISHED => format!(
                            "it cannot be undone: see in what it changes how it ended; then {resume} runs it again, or \
                             `mailyctl abort --leave --env {environment} --yes` ends the run with everything as it is"
                        ),
                        _ => format!("a step that cannot be undone has begun: mend the cause, then {resume}"),
                    };
                    return Conclusion::Stuck(vec![Stuck {
                        step: step.clone(),
                        why: failure.clone(),
                        remedy,
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
                remedy: after_leaving(step, &self.plan.environment),
            })
            .collect()
    }
}

/// What is to be done where a step stays as it is.
fn after_leaving(step: &Step, environment: &str) -> String {
    let made = step.work.changes().iter().filter(|change| change.operation == Operation::Create);
    let made: Vec<String> = made.map(|change| change.key.short()).collect();
    let seen =
        format!("none: `mailyctl status --env {environment}` shows what differs from the last release");
    if made.is_empty() {
        return seen;
    }
    format!(
        "{seen}; what the run made beside it, the next deploy or rollback of all services takes away, unless it brings \
         it, too: {}",
        made.join(", ")
    )
}
