//! Pods of a revision that nobody wants any more, for whose readiness their own controller waits: deleted, so that it
//! goes on.

use super::context::{Context, Trouble};
use crate::{
    object::Object,
    planted::{Defect, is_planted},
    provider::{ErrorKind, ProviderError, exactly},
    run::Direction,
    runtime::Moment,
};

/// Clears the way for one rollout.
///
/// A pod goes exactly as it was seen, not ready: one that moves meanwhile is looked at again. Nothing of this is
/// journaled. A deletion that lands late takes a pod that served nobody, and its controller makes it anew of whatever
/// revision is wanted by then.
pub(super) struct Clearing<'a> {
    context: &'a Context,
    direction: Direction,
    deadline: Moment,
    /// The uid of the pod that was deleted last.
    deleted: Option<String>,
    /// Why the last one could not be.
    refused: Option<String>,
}

impl<'a> Clearing<'a> {
    pub(super) fn new(context: &'a Context, direction: Direction, deadline: Moment) -> Self {
        Self { context, direction, deadline, deleted: None, refused: None }
    }

    /// Deletes a pod that is in the way; answers what is waited for then. On the way back every one, as it is of what is
    /// taken back; on the way forward only one that never becomes ready.
    ///
    /// # Errors
    /// When the step has to stop.
    pub(super) async fn clear(&mut self, pod: &Object, doomed: bool, why: String) -> Result<String, Trouble> {
        let uid = pod.uid().map(str::to_owned);
        if self.deleted.is_some() && self.deleted == uid {
            return Ok(format!("{why}; it was deleted"));
        }
        let wanted = doomed || self.direction == Direction::Back;
        if !wanted || self.refused.is_some() || is_planted(Defect::HeldUpAwaited) {
            return Ok(self.told(pod, &why));
        }
        let permit = self.context.turn_to_send(self.direction, self.deadline).await?;
        let answer = self.context.providers.cluster.delete(pod.key(), &exactly(pod)).await;
        drop(permit);
        match answer {
            Ok(_) => {
                self.deleted = uid;
                Ok(format!("{why}; it was deleted"))
            }
            // It has moved on, or nobody knows whether it goes: it is looked at again.
            Err(error) if error.kind() == ErrorKind::Conflict || error.is_transient() => {
                Ok(format!("{why}; its deletion is tried again: {}", error.brief()))
            }
            Err(error) => {
                self.refused = Some(ProviderError::brief(&error));
                Ok(self.told(pod, &why))
            }
        }
    }

    /// What a person can do where this one may not, or does not want to.
    pub(super) fn hint(&self, pod: &Object) -> Option<String> {
        let deleted = self.deleted.is_some() && self.deleted.as_deref() == pod.uid();
        (!deleted).then(|| way_on(pod))
    }

    fn told(&self, pod: &Object, why: &str) -> String {
        let refused = self.refused.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
        // First the command: a line may be cut.
        format!("{} lets it go on: {why}{refused}", command(pod))
    }
}

/// What lets the controller of a pod go on that is in its way.
pub(super) fn way_on(pod: &Object) -> String {
    format!("{} lets its controller go on", command(pod))
}

fn command(pod: &Object) -> String {
    let place = pod.namespace().map(|namespace| format!(" --namespace {namespace}")).unwrap_or_default();
    format!("`kubectl delete pod {}{place}`", pod.name())
}
