//! Pods of a revision that nobody wants any more, for whose readiness their own controller waits: deleted, so that it
//! goes on. A takeover marks them ([`super::stamp_pods`]), so that a deletion of whoever was before lands on none.

use std::{collections::BTreeMap, time::Duration};

use super::context::{Context, Trouble};
use crate::{
    object::Object,
    planted::{Defect, is_planted},
    provider::{Dependents, ErrorKind, exactly},
    rollout::Obstacle,
    run::{Direction, StepId, What},
    runtime::Moment,
};

/// So often is a pod of a name deleted. A controller may not have heard of the wanted revision yet, or may still count
/// one that went a moment ago.
const MOST: u32 = 3;

/// Clears the way for one rollout.
///
/// A pod goes exactly as it was seen, not ready: one that moves meanwhile is looked at again. Nothing of this is
/// journaled: the pod served nobody, and its controller makes it anew of whatever revision is wanted by then.
pub(super) struct Clearing<'a> {
    context: &'a Context,
    step: &'a StepId,
    direction: Direction,
    deadline: Moment,
    /// Until then a pod may become ready by itself.
    patient_until: Moment,
    /// The uid of the pod that was asked for last, and why it could not be deleted.
    asked: Option<(String, Option<String>)>,
    /// How often a pod of a name was deleted.
    deleted: BTreeMap<String, u32>,
}

impl<'a> Clearing<'a> {
    pub(super) fn new(
        context: &'a Context,
        step: &'a StepId,
        direction: Direction,
        deadline: Moment,
    ) -> Self {
        let patience = if context.goes_back(direction) { Duration::ZERO } else { context.left(deadline) / 2 };
        let patient_until = context.runtime.now() + patience;
        Self { context, step, direction, deadline, patient_until, asked: None, deleted: BTreeMap::new() }
    }

    /// Deletes a pod that is in the way; answers what is waited for then. At once where it is of what is taken back or
    /// never becomes ready; else when half of the time is over, so that the other half is left for its successor.
    ///
    /// # Errors
    /// When the step has to stop.
    pub(super) async fn clear(
        &mut self,
        pod: &Object,
        obstacle: Obstacle,
        why: String,
        way_on: &str,
    ) -> Result<String, Trouble> {
        let patient = self.context.left(self.patient_until);
        match obstacle {
            _ if is_planted(Defect::HeldUpAwaited) => return Ok(why),
            Obstacle::ByHand | Obstacle::Stays => return Ok(format!("{way_on}: {why}")),
            Obstacle::Lost => return Ok(format!("{why}: {way_on}")),
            Obstacle::Unready if !patient.is_zero() => {
                return Ok(format!("{why}; it is deleted when half of the time is over"));
            }
            Obstacle::Unready | Obstacle::Doomed => {}
        }
        if self.asked_for(pod).is_none() {
            if self.deleted.get(pod.name()).is_some_and(|times| *times >= MOST) {
                return Ok(format!("{way_on}: {why}; it was deleted {MOST} times, and came again as it was"));
            }
            let permit = self.context.turn_to_send(self.direction, self.deadline).await?;
            let answer =
                self.context.providers.cluster.delete(pod.key(), &exactly(pod), Dependents::Follow).await;
            drop(permit);
            let refused = match answer {
                Ok(_) => {
                    let (name, why) = (pod.name().to_owned(), why.clone());
                    let pod = pod.key().to_string();
                    self.context.tell(What::PodDeleted { step: self.step.clone(), pod, why });
                    *self.deleted.entry(name).or_default() += 1;
                    None
                }
                // It has moved on, or nobody knows whether it goes: it is looked at again.
                Err(error) if error.kind() == ErrorKind::Conflict || error.is_transient() => {
                    return Ok(format!("{why}; its deletion is tried again: {}", error.brief()));
                }
                Err(error) => Some(error.brief()),
            };
            self.asked = Some((pod.uid().unwrap_or_default().to_owned(), refused));
        }
        Ok(match self.asked_for(pod) {
            // First the command: a line may be cut.
            Some(Some(refused)) => format!("{way_on}: {why}; {refused}"),
            _ => format!("{why}; it was deleted"),
        })
    }

    /// Whether a person has to do something about a pod that is still in the way.
    pub(super) fn needs_help(&self, pod: &Object) -> bool {
        self.asked_for(pod) != Some(&None)
    }

    /// What came of it where this pod was asked for.
    fn asked_for(&self, pod: &Object) -> Option<&Option<String>> {
        self.asked.as_ref().filter(|(uid, _)| pod.uid() == Some(uid)).map(|(_, refused)| refused)
    }
}
