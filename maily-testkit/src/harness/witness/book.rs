//! What a journal announces, and which effects and entries go against it.

use std::collections::{BTreeMap, BTreeSet};

use maily_core::{
    engine::{self, Change, Course, Progress, Reversibility, RunState, Step, StepId, journal::JournalEvent},
    object::{Object, ObjectKey},
};

use super::name;
use crate::{harness::capture, world::World};

/// What the durable journal of a run says.
pub(super) struct Book {
    pub(super) state: RunState,
    pub(super) next: u64,
    /// Steps that may change an object.
    pub(super) steps: BTreeMap<ObjectKey, Vec<StepId>>,
    /// Steps that make a Job, whose name is completed by the run.
    pub(super) jobs: Vec<StepId>,
    pub(super) told: BTreeMap<(StepId, &'static str), u32>,
    /// What gates have decided since they began last.
    pub(super) verdicts: BTreeMap<StepId, String>,
    /// Objects that the run has had an effect on.
    pub(super) touched: BTreeSet<ObjectKey>,
}

impl Book {
    pub(super) fn new(state: RunState, steps: BTreeMap<ObjectKey, Vec<StepId>>, jobs: Vec<StepId>) -> Self {
        let (told, verdicts, touched) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { state, next: 0, steps, jobs, told, verdicts, touched }
    }

    /// Whether the journal announces an effect on an object; else what is wrong.
    pub(super) fn covers(&self, key: &ObjectKey, stamp: Option<&str>) -> Option<(&'static str, String)> {
        let of_job = (key.kind.kind == "Job").then_some(&self.jobs);
        let Some(steps) = self.steps.get(key).or(of_job) else {
            return Some(("I10", "it is in no step of the run's plan".to_owned()));
        };
        let open = |step: &StepId, back: Option<bool>| {
            self.state.of(step).is_some_and(|state| match &state.progress {
                Progress::Started => back != Some(true),
                // A late call of the way forward: the undo finds what it left, and waits for it.
                Progress::Undoing => true,
                // A takeover stamps what may still be written.
                Progress::Failed(_) | Progress::UndoFailed(..) => state.may_have_effect,
                _ => false,
            })
        };
        let mut words = stamp.unwrap_or_default().split(' ').skip(1);
        let (step, back) = (words.next(), words.next().map(|direction| direction == "back"));
        let announced = match step {
            Some(step) => steps.iter().any(|known| known.as_str() == step && open(known, back)),
            None => steps.iter().any(|known| open(known, None)),
        };
        (!announced)
            .then(|| ("I3", format!("no step that is announced covers it ({})", stamp.unwrap_or("no stamp"))))
    }

    /// Whether a step is a gate without a verdict in its favour since it began. Times of day say nothing of that.
    pub(super) fn has_not_passed(&self, step: &StepId) -> bool {
        let passed = self.verdicts.get(step).is_some_and(|verdict| verdict == "pass");
        self.state.step(step).is_some_and(Step::is_gate) && !passed
    }

    /// At the run's first effect on an object: how the object is not as it was captured by the steps that have begun.
    pub(super) fn not_captured(&mut self, key: &ObjectKey, old: Option<&Object>) -> Option<String> {
        // A Job's name is the run's own: there is nothing to capture.
        let steps = self.steps.get(key)?;
        if !self.touched.insert(key.clone()) {
            return None;
        }
        let begun = |step: &&StepId| self.state.of(step).is_some_and(|state| state.started_at.is_some());
        let mut problem = "no step that has begun captures it".to_owned();
        for step in steps.iter().filter(begun) {
            let changes = self.state.step(step).map(|step| step.work.changes()).unwrap_or_default();
            let Some(change) = changes.iter().find(|change| change.key == *key) else { continue };
            problem = capture::differs(change, old)?;
        }
        Some(problem)
    }

    /// Workloads of a step that counts as applied and none of whose pods serves. A StatefulSet has a pod less while it is
    /// changed: what a person does to it the moment before is his.
    pub(super) fn not_serving(
        &self,
        event: &JournalEvent,
        world: &World,
        is_edited: impl Fn(&ObjectKey) -> bool,
    ) -> Vec<String> {
        let JournalEvent::StepApplied { step, .. } = event else { return Vec::new() };
        let changes = self.state.step(step).map(|step| step.work.changes()).unwrap_or_default();
        let written = changes.iter().filter(|change| change.desired.is_some());
        let followed = |change: &&Change| match &*change.key.kind.kind {
            "StatefulSet" => !is_edited(&change.key),
            kind => kind == "Deployment",
        };
        let idle = written.filter(followed).filter(|change| !world.serves(&change.key));
        idle.map(|change| format!("{step} is applied, and no pod of {} serves", change.key)).collect()
    }

    /// What an event breaks.
    pub(super) fn breaks(&self, event: &JournalEvent) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let progress = |step: &StepId| self.state.of(step).map(|state| state.progress.clone());
        if self.state.finished.is_some() && !matches!(event, JournalEvent::EpochClaimed { .. }) {
            found.push(("I3", format!("{} after the end", name(event))));
        }
        match event {
            JournalEvent::StepStarted { step, .. } => {
                if self.state.course != Course::Forward {
                    found.push(("I5", format!("{step} starts after the turn")));
                }
                let Some(planned) = self.state.step(step) else {
                    found.push(("I5", format!("{step} is not in the plan")));
                    return found;
                };
                for need in &planned.needs {
                    if progress(need) != Some(Progress::Applied) {
                        found.push(("I5", format!("{step} starts before {need} is applied")));
                    }
                }
                let irreversible = |step: &Step| step.reversibility == Reversibility::Irreversible;
                let steps = &self.state.plan().steps;
                let gates =
                    steps.iter().take_while(|other| other.id != *step).filter(|other| other.is_gate());
                for gate in gates.filter(|_| irreversible(planned)) {
                    if progress(&gate.id) != Some(Progress::Applied) {
                        found.push(("I6", format!("{step} starts before {} has passed", gate.id)));
                    }
                }
                for other in &self.state.plan().steps {
                    let runs = progress(&other.id) == Some(Progress::Started);
                    if runs && (irreversible(planned) || irreversible(other)) {
                        found.push(("I6", format!("{step} starts beside {}", other.id)));
                    }
                }
            }
            JournalEvent::StepApplied { step, .. } if self.has_not_passed(step) => {
                found.push(("I6", format!("{step} is applied without a verdict")));
            }
            JournalEvent::StepApplied { step, .. } if progress(step) != Some(Progress::Started) => {
                found.push(("I3", format!("{step} is applied without having been started")));
            }
            JournalEvent::UndoStarted { step, .. } => {
                if self.state.course == Course::Forward {
                    found.push(("I5", format!("{step} is undone going forward")));
                }
                for other in &self.state.plan().steps {
                    let rests = matches!(progress(&other.id), Some(Progress::Pending | Progress::Undone));
                    if other.needs.contains(step) && !rests {
                        found.push(("I5", format!("{step} is undone before {}", other.id)));
                    }
                }
            }
            JournalEvent::Turned { .. } => {
                if self.state.course != Course::Forward {
                    found.push(("I5", "it turns twice".to_owned()));
                }
                let begun = self.state.plan().steps.iter().find(|step| {
                    step.reversibility == Reversibility::Irreversible
                        && self.state.of(&step.id).is_some_and(|state| state.may_have_effect)
                });
                if let Some(step) = begun {
                    found.push(("I6", format!("it turns although {} has begun", step.id)));
                }
            }
            JournalEvent::RunFinished { outcome: engine::Outcome::Succeeded { .. }, .. } => {
                for step in &self.state.plan().steps {
                    if progress(&step.id) != Some(Progress::Applied) {
                        found.push(("I1", format!("it succeeds without {}", step.id)));
                    }
                }
            }
            _ => {}
        }
        found
    }
}
