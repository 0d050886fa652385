//! How a run ends, and the release that it leaves.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Executor;
use crate::{
    engine::{
        Outcome, RunEnd, Stuck,
        journal::{JournalEvent, ReleaseHead},
        origins::origins,
        state::Conclusion,
    },
    run::Work,
};

impl Executor {
    /// Nothing runs and nothing is ready, and the last look was taken.
    pub(super) fn conclude(&mut self, interrupted: bool) -> (RunEnd, Option<ReleaseHead>) {
        let at = self.context.runtime.wall();
        match self.state.conclusion() {
            Conclusion::Succeeded if self.looked => {
                let head = self.release_head(at);
                let not_serving = std::mem::take(&mut self.not_serving);
                self.over(Outcome::Succeeded { release: head.id, not_serving }, Some(head), at)
            }
            Conclusion::RolledBack { step, why } if self.looked => {
                let not_serving = std::mem::take(&mut self.not_serving);
                self.over(Outcome::RolledBack { step, why, not_serving }, None, at)
            }
            Conclusion::Stuck(items) => self.stuck(items),
            // Told to stop before the last look.
            Conclusion::Unfinished | Conclusion::RolledBack { .. } | Conclusion::Succeeded => {
                let otherwise = if interrupted { "interrupted" } else { "stopped" };
                let why = self.context.why_interrupted().unwrap_or_else(|| otherwise.to_owned());
                self.paused(why)
            }
        }
    }

    /// Stops until a person has done something.
    pub(super) fn stuck(&mut self, items: Vec<Stuck>) -> (RunEnd, Option<ReleaseHead>) {
        let why = items.first().map(|item| item.why.message.clone()).unwrap_or_default();
        let at = Some(self.context.runtime.wall());
        self.push(JournalEvent::Paused { why, items: items.clone(), at });
        (RunEnd::Stuck { run: self.context.run.clone(), items }, None)
    }

    /// Stops, to be resumed.
    pub(super) fn paused(&mut self, why: String) -> (RunEnd, Option<ReleaseHead>) {
        let at = Some(self.context.runtime.wall());
        self.push(JournalEvent::Paused { why: why.clone(), items: Vec::new(), at });
        (RunEnd::Paused { run: self.context.run.clone(), why }, None)
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
        let base = self.base.as_ref();
        let mut head = ReleaseHead {
            id: self.release,
            versions: plan.versions.clone(),
            title: plan.goal.title(),
            fingerprints: BTreeMap::new(),
            images: BTreeMap::new(),
            frontends: base.map(|base| base.frontends.clone()).unwrap_or_default(),
            origins: origins(&plan.goal, &plan.versions, &plan.as_before, base, self.release),
            beside_trouble: !self.not_serving.is_empty(),
            at,
        };
        // A service that has objects now is a frontend no more.
        let rolled_out = plan.steps.iter().filter(|step| matches!(step.work, Work::Rollout { .. }));
        let with_objects: BTreeSet<&String> = rolled_out
            .filter_map(|step| step.service.as_ref())
            .chain(plan.unchanged.iter().filter_map(|kept| kept.service.as_ref()))
            .collect();
        head.frontends
            .retain(|service, _| plan.versions.contains_key(service) && !with_objects.contains(service));
        for kept in &plan.unchanged {
            let key = kept.desired.key().to_string();
            if let Some(images) = base.and_then(|base| base.images.get(&key)) {
                head.images.insert(key.clone(), images.clone());
            }
            head.fingerprints.insert(key, kept.fingerprint.clone());
        }
        for step in &plan.steps {
            let Some(state) = self.state.of(&step.id) else { continue };
            for (key, written) in &state.result.written {
                if written.uid.is_some() {
                    head.fingerprints.insert(key.clone(), written.released.clone());
                    if !written.images.is_empty() {
                        head.images.insert(key.clone(), written.images.clone());
                    }
                }
            }
            if let (Some(service), Some(artefact)) = (&step.service, &state.result.artefact) {
                head.frontends.insert(service.clone(), artefact.clone());
            }
        }
        head
    }
}
