//! The story of a run as listeners hear it: told from the very entries of the journal, once they are durable.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Executor;
use crate::{
    engine::{StepId, StepInfo, What, journal::JournalEvent},
    planted::{Defect, is_planted},
};

impl Executor {
    /// What a journal entry is to a listener.
    pub(super) fn story(&self, event: &JournalEvent) -> Option<What> {
        self.told(event, |step| self.state.of(step)?.started_at)
    }

    /// The same where steps began at these times.
    fn told(&self, event: &JournalEvent, began: impl Fn(&StepId) -> Option<Timestamp>) -> Option<What> {
        Some(match event {
            JournalEvent::RunStarted { .. } => {
                let plan = self.state.plan();
                What::RunStarted {
                    title: plan.goal.title(),
                    epoch: self.epoch(),
                    versions: plan.versions.clone(),
                    steps: plan
                        .steps
                        .iter()
                        .map(|step| StepInfo {
                            id: step.id.clone(),
                            kind: step.work.kind().to_owned(),
                            service: step.service.clone(),
                            phase: step.phase.clone(),
                            needs: step.needs.iter().cloned().collect(),
                        })
                        .collect(),
                }
            }
            JournalEvent::EpochClaimed { epoch, by, .. } => What::Resumed { epoch: *epoch, by: by.clone() },
            JournalEvent::StepStarted { step, .. } => What::StepStarted { step: step.clone() },
            JournalEvent::StepApplied { step, at, .. } => {
                let took = began(step).map(|began| at.duration_since(began).as_millis());
                let took_ms = took.and_then(|took| u64::try_from(took).ok()).unwrap_or_default();
                What::StepApplied { step: step.clone(), took_ms }
            }
            JournalEvent::StepFailed { step, failure, .. } => {
                What::StepFailed { step: step.clone(), failure: failure.clone() }
            }
            JournalEvent::Turned { why, step, .. } => What::Turned { why: why.clone(), step: step.clone() },
            JournalEvent::UndoStarted { step, .. } => What::UndoStarted { step: step.clone() },
            JournalEvent::Undone { step, .. } => What::Undone { step: step.clone() },
            JournalEvent::UndoFailed { step, failure, remedy, .. } => {
                What::UndoFailed { step: step.clone(), failure: failure.clone(), remedy: remedy.clone() }
            }
            JournalEvent::GateDecided { step, verdict, evidence, .. } => {
                What::GateDecided { step: step.clone(), verdict: verdict.clone(), evidence: evidence.clone() }
            }
            JournalEvent::Paused { why, items, .. } => {
                What::Paused { why: why.clone(), items: items.clone() }
            }
            JournalEvent::RunFinished { outcome, release, .. } => What::RunFinished {
                outcome: outcome.clone(),
                release: release.as_ref().map(|release| release.id),
            },
        })
    }

    /// Tells again what an earlier process of the run did, and when. An entry without a time, of an earlier version, has
    /// that of the one before, and is marked.
    pub(crate) fn replay(&self, events: &[JournalEvent]) {
        let mut at = events.iter().find_map(JournalEvent::at).unwrap_or_else(|| self.context.runtime.wall());
        // The state knows when a step began last; it may have begun before.
        let mut began = BTreeMap::new();
        for event in events {
            let untimed = event.at().is_none() && !matches!(event, JournalEvent::RunStarted { .. });
            at = event.at().unwrap_or(at);
            if let JournalEvent::StepStarted { step, at } = event {
                began.insert(step, *at);
            }
            if let Some(what) = self.told(event, |step| began.get(step).copied()) {
                self.context.tell_again(what, !is_planted(Defect::ReplayUnmarked), at, untimed);
            }
        }
    }
}
