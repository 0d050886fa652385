//! Sending: every attempt with a stamp of its own, at a moment at which it may be sent; and what follows from an
//! answer that did not come, or came as a refusal.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::SemaphorePermit;

use super::{FIRST_PAUSE, QUIET_AFTER, Writer};
use crate::{
    object::Object,
    planted::{Defect, is_planted},
    provider::{Effect, ErrorKind, Precondition, ProviderError, WriteOptions, exactly, patch_of},
    run::{Change, Direction, EPOCH, Failure, MANAGER, STAMP, What, epoch_of},
    steps::context::Trouble,
};

/// Controllers write at the same time as we do: so many conflicts in a row are nothing to tell of, and a fresh look
/// follows soon. More of them do not come from a race.
const RACES: u32 = 2;
/// Pause after such a conflict.
const RACE: Duration = Duration::from_millis(50);

impl<'a> Writer<'a> {
    /// Marks an object of an open step with our epoch, so that late requests of the holder before us are refused.
    pub(crate) async fn stamp(&mut self, change: &Change) -> Result<(), Trouble> {
        loop {
            let Some(live) = self.look(change, false).await? else {
                if is_planted(Defect::AbsentNotStamped) {
                    return Err(Failure::new("not-found", format!("{} not found", change.key)).into());
                }
                return Ok(());
            };
            if live.is_terminating() || epoch_of(&live) == Some(self.context.epoch) {
                return Ok(());
            }
            // What somebody else has made since, or made anew, is not ours to mark: no late create lands on it, and a late
            // write carries the uid of what is gone.
            let was_there = change.before.as_ref().is_some_and(|before| live.uid() == Some(&before.uid));
            if !was_there && !self.is_ours(&live) {
                return Ok(());
            }
            if self.patch(change, &live, serde_json::json!({})).await? {
                return Ok(());
            }
        }
    }

    /// Sends some fields onto exactly what was read, with our epoch; `false` where it has to be looked at again.
    pub(super) async fn patch(
        &mut self,
        change: &Change,
        live: &Object,
        fields: Value,
    ) -> Result<bool, Trouble> {
        let mut patch =
            patch_of(&change.key, fields).map_err(|error| Failure::new("internal", error.to_string()))?;
        self.context.label(&mut patch, self.step);
        // The run's own mark is kept: it tells a later look that the content is ours.
        let ours = self.is_ours(live);
        let mut patch = self.stamped(patch);
        if !ours {
            patch.set_annotation(STAMP, None);
        }
        let permit = self.turn().await?;
        let precondition = exactly(live);
        let options = if is_planted(Defect::StampErases) {
            WriteOptions::apply(MANAGER, precondition.clone())
        } else {
            WriteOptions::merge(MANAGER, precondition.clone())
        };
        let answer = self.context.providers.cluster.write(&patch, &options).await;
        drop(permit);
        match answer {
            Ok(answer) => {
                self.context.remember(&change.key, Some(answer));
                return Ok(true);
            }
            // The next look tells whether it is gone. Where it is not, the two contradict each other, and not for ever.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = "it was read a moment ago, and is not found";
                let resource = change.key.to_string();
                let conflict = ProviderError::new(ErrorKind::Conflict, "cluster", "write", resource, message);
                self.after(conflict.with_source(error)).await?;
            }
            Err(error) => self.after_write(change, &precondition, error).await?,
        }
        Ok(false)
    }

    pub(super) fn stamped(&self, object: Object) -> Object {
        let mut object = object;
        self.context.stamp(&self.step.id, self.direction).put(&mut object);
        if self.direction == Direction::Back
            && is_planted(Defect::UndoUnstamped)
            && let Some(seen) = self.context.seen(object.key())
        {
            object.set_annotation(EPOCH, seen.annotation(EPOCH));
            object.set_annotation(STAMP, seen.annotation(STAMP));
        }
        object
    }

    pub(super) async fn open(&mut self, sealed: &Object) -> Result<Object, Trouble> {
        loop {
            match self.context.sealer.unseal(&*self.context.providers.cluster, sealed).await {
                Ok(object) => return Ok(object),
                Err(error) => self.after(error).await?,
            }
        }
    }

    pub(super) async fn turn(&self) -> Result<Option<SemaphorePermit<'a>>, Trouble> {
        match self.context.turn_to_send(self.direction, self.deadline).await {
            Err(Trouble::Failed(failure)) => Err((*failure).with_effect(self.effect).into()),
            turn => turn,
        }
    }

    /// Sends an apply; `None` where the object has to be looked at again.
    pub(super) async fn send(
        &mut self,
        change: &Change,
        object: Object,
        precondition: Precondition,
    ) -> Result<Option<Object>, Trouble> {
        // Its turn first: what waits in line has no copy of its object yet.
        let permit = self.turn().await?;
        let mut object = object;
        self.context.label(&mut object, self.step);
        let object = self.stamped(object);
        let unguarded = match precondition {
            Precondition::Absent => is_planted(Defect::CreateUnguarded),
            _ => is_planted(Defect::WriteUnguarded),
        };
        let precondition = if unguarded { Precondition::Any } else { precondition };
        let options = WriteOptions::apply(MANAGER, precondition.clone());
        let answer = self.context.providers.cluster.write(&object, &options).await;
        drop(permit);
        match answer {
            Ok(answer) => {
                self.effect = Effect::Done;
                (self.pause, self.conflicts) = (FIRST_PAUSE, 0);
                self.context.remember(&change.key, Some(answer.clone()));
                Ok(Some(answer))
            }
            Err(error) => {
                self.context.remember(&change.key, None);
                self.after_write(change, &precondition, error).await.map(|()| None)
            }
        }
    }

    /// Decides after a write that failed; one without an answer may still take effect.
    pub(super) async fn after_write(
        &mut self,
        change: &Change,
        precondition: &Precondition,
        error: ProviderError,
    ) -> Result<(), Trouble> {
        if error.effect() == Effect::Unknown {
            self.context.may_land(&self.step.id, &change.key, precondition);
        }
        self.after(error).await
    }

    /// Decides after a failed call: goes on (after a pause, with a fresh look), or gives up.
    pub(super) async fn after(&mut self, error: ProviderError) -> Result<(), Trouble> {
        if error.effect() == Effect::Unknown {
            self.unanswered = true;
            self.quiet_from = self.context.runtime.now() + QUIET_AFTER;
            self.context.unanswered(&self.step.id);
            if self.effect == Effect::None {
                self.effect = Effect::Unknown;
            }
        }
        if error.kind() == ErrorKind::StaleEpoch && !is_planted(Defect::StaleEpochFails) {
            return Err(self.context.lost());
        }
        let conflict = error.kind() == ErrorKind::Conflict && !is_planted(Defect::ConflictFails);
        let again = conflict || error.is_transient();
        if !again || self.context.runtime.now() >= self.deadline {
            return Err(Failure::of(&error).with_effect(self.effect).into());
        }
        self.conflicts = if error.kind() == ErrorKind::Conflict { self.conflicts + 1 } else { 0 };
        if (1..=RACES).contains(&self.conflicts) {
            self.context.pause(self.direction, RACE).await?;
        } else {
            let pause = error.retry_after().unwrap_or(self.pause);
            self.context.tell(What::StepRetried {
                step: self.step.id.clone(),
                error: error.to_string(),
                after_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            });
            self.context.pause(self.direction, pause).await?;
        }
        self.pause = (self.pause * 2).min(Duration::from_secs(5));
        Ok(())
    }
}
