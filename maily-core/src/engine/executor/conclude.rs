//! How a run ends, and the release that it leaves.

use std::{collections::BTreeMap, sync::Arc};

use futures::FutureExt as _;
use jiff::Timestamp;

use super::{Executor, Look};
use crate::{
    engine::{
        Outcome, RunEnd, Step,
        journal::{JournalEvent, ReleaseHead},
        state::{Conclusion, Progress},
    },
    steps::restored,
};

impl Executor {
    /// Nothing runs and nothing is ready.
    pub(super) fn conclude(&mut self, interrupted: bool) -> (RunEnd, Option<ReleaseHead>) {
        let (run, at) = (self.context.run.clone(), self.context.runtime.wall());
        match self.state.conclusion() {
            Conclusion::Succeeded => {
                let head = self.release_head(at);
                self.over(Outcome::Succeeded { release: head.id }, Some(head), at)
            }
            Conclusion::RolledBack { step, why } if let Some(not_serving) = self.restored.take() => {
                self.over(Outcome::RolledBack { step, why, not_serving }, None, at)
            }
            Conclusion::Stuck(items) => {
                let why = items.first().map(|item| item.why.message.clone()).unwrap_or_default();
                self.push(JournalEvent::Paused { why });
                (RunEnd::Stuck { run, items }, None)
            }
            // Told to stop before it was seen whether the old state serves.
            Conclusion::Unfinished | Conclusion::RolledBack { .. } => {
                let otherwise = if interrupted { "interrupted" } else { "stopped" };
                let why = self.context.why_interrupted().unwrap_or_else(|| otherwise.to_owned());
                self.push(JournalEvent::Paused { why: why.clone() });
                (RunEnd::Paused { run, why }, None)
            }
        }
    }

    /// Whether everything begun was taken back.
    pub(super) fn is_back(&self) -> bool {
        matches!(self.state.conclusion(), Conclusion::RolledBack { .. })
    }

    /// Looks whether what served before the run serves again; none where it is told to stop.
    pub(super) fn look_at_restored(&self) -> Look {
        let context = Arc::clone(&self.context);
        let undone = |step: &&Step| {
            self.state.of(&step.id).is_some_and(|state| matches!(state.progress, Progress::Undone))
        };
        let steps: Vec<Step> = self.state.plan().steps.iter().filter(undone).cloned().collect();
        async move { restored(&context, &steps).await }.boxed()
    }

    fn over(
        &mut self,
        outcome: Outcome,
        release: Option<ReleaseHead>,
        at: Timestamp,
    ) -> (RunEnd, Option<ReleaseHead>) {
        let finished = JournalEvent::RunFinished { outcome: outcome.clone(), release: release.clone(), at };
        self.push(finished);
        (RunEnd::Over { run: Some(self.context.run.clone()), outcome }, release)
    }

    fn release_head(&self, at: Timestamp) -> ReleaseHead {
        let plan = self.state.plan();
        let mut head = ReleaseHead {
            id: self.release,
            versions: plan.versions.clone(),
            title: plan.goal.title(),
            fingerprints: BTreeMap::new(),
            frontends: self.frontends.clone(),
            at,
        };
        head.frontends.retain(|service, _| plan.versions.contains_key(service));
        for kept in &plan.unchanged {
            head.fingerprints.insert(kept.desired.key().to_string(), kept.fingerprint.clone());
        }
        for step in &plan.steps {
            let Some(state) = self.state.of(&step.id) else { continue };
            for (key, written) in &state.result.written {
                if written.uid.is_some() {
                    head.fingerprints.insert(key.clone(), written.released.clone());
                }
            }
            if let (Some(service), Some(artefact)) = (&step.service, &state.result.artefact) {
                head.frontends.insert(service.clone(), artefact.clone());
            }
        }
        head
    }
}
