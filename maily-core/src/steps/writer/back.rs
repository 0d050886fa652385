//! Back: an object becomes what was captured, with the marks and the owners that it had.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Writer, keep_suspended, look::Standing};
use crate::{
    object::{FieldSet, Object, managers},
    planted::{Defect, is_planted},
    provider::{Precondition, WriteOptions, exactly, patch_of},
    run::{
        Before, Change, ENVIRONMENT, EPOCH, Failure, NAMESPACE, Operation, PROJECT, RECORDS_MANAGER,
        SCALE_MANAGER, SERVICE, STAMP, changed_since, compared, epoch_of, is_deployer, object_digest,
        told_edit,
    },
    steps::context::Trouble,
};

/// Whether an object's replicas, which this change hands over, are with the manager that keeps them. Those of what is made
/// again may have been with him before.
fn handed_over(change: &Change, live: &Object) -> bool {
    change.hand_over_replicas.is_some()
        && change.operation != Operation::Replace
        && !FieldSet::owned_by(live, |manager| manager == SCALE_MANAGER).is_empty()
}

/// Whether an object that was not ours before this change carries our marks.
fn adopted(change: &Change, live: &Object) -> bool {
    change.before.as_ref().is_some_and(|before| before.adopted) && live.label(PROJECT).is_some()
}

/// Whether it is a Job that the cluster takes away after its end, as it was before the run or since.
pub(crate) fn goes_by_itself(change: &Change) -> bool {
    let before = change.before.as_ref().map(|before| &before.object);
    before.into_iter().chain(&change.desired).any(Object::goes_by_itself)
}

/// Clients by which people deploy that hold, since an edit that was undone, what the run has added: an apply takes nothing
/// away that somebody else holds as well. None that has set something else on the object, which would go along.
fn holding_what_was_added(change: &Change, before: &Before, live: &Object) -> BTreeSet<String> {
    let Some(desired) = &change.desired else { return BTreeSet::new() };
    let added = compared(desired).difference(&FieldSet::of(&before.object));
    let scope = change.scope();
    let holds = |manager: &&str| {
        let theirs = FieldSet::owned_by(live, |name| name == *manager);
        !theirs.intersection(&added).is_empty() && theirs.difference(&scope).is_empty()
    };
    let deployers = managers(live).into_iter().filter(|manager| is_deployer(manager));
    deployers.filter(holds).map(str::to_owned).collect()
}

impl Writer<'_> {
    /// Brings an object back to what was captured.
    pub(crate) async fn restore(&mut self, change: &Change) -> Result<(), Trouble> {
        let scope = change.scope();
        let mut first = true;
        loop {
            let live = self.look(change, first).await?;
            first = false;
            if let Some(live) = live.as_ref().filter(|live| live.is_terminating()) {
                self.wait_gone(change, live).await?;
                continue;
            }
            let deleted = match change.operation {
                Operation::Delete => !self.has_left_alone(change),
                // What has gone by itself before its turn came had its end.
                Operation::Replace => !(goes_by_itself(change) && self.has_left_alone(change)),
                _ => false,
            };
            match (self.standing(change, &scope, live.as_ref()).await?, &live, &change.before) {
                (Standing::Absent, _, None) => {
                    if self.absence_is_certain().await? {
                        return Ok(());
                    }
                }
                (Standing::Absent, _, Some(before)) if deleted || is_planted(Defect::GoneRemade) => {
                    // What a version drops goes in the background, and its pods after it.
                    self.until_stopped(change).await?;
                    let object = self.open(&before.object).await?;
                    if let Some(answer) = self.send(change, object, Precondition::Absent).await?
                        && self.give_back(change, &answer).await?
                    {
                        return Ok(());
                    }
                }
                // It had its end, which no way back repeats.
                (Standing::Absent, ..) if goes_by_itself(change) => return Ok(()),
                (Standing::Before, Some(live), Some(before)) => {
                    // Our epoch on it proves that a former holder's calls are refused, and nothing of our own.
                    let marked = !self.unanswered
                        || epoch_of(live) == Some(self.context.epoch)
                        || is_planted(Defect::NoStampingBarrier);
                    // A person made it again: it gets its marks back.
                    let made_again = live.uid() != Some(&before.uid) && !self.is_ours(live);
                    let clean = !made_again && !handed_over(change, live) && !adopted(change, live);
                    let at_rest = marked && clean && !self.context.in_flight(live);
                    if at_rest || is_planted(Defect::UndoSkipsEqual) {
                        return Ok(());
                    }
                    if self.put_back(change, before, live).await? {
                        return Ok(());
                    }
                }
                (Standing::Ours, Some(_), _) if self.unanswered && is_planted(Defect::CapturedAgain) => {
                    return Ok(());
                }
                (Standing::Ours, Some(live), before) => {
                    let ours = epoch_of(live).is_some_and(|epoch| self.context.epochs.contains(&epoch));
                    match before {
                        Some(before) if is_planted(Defect::UndoRecreates) => {
                            self.delete(change, live).await?;
                            let object = self.open(&before.object).await?;
                            if self.send(change, object, Precondition::Absent).await?.is_some() {
                                return Ok(());
                            }
                        }
                        Some(before) if change.operation != Operation::Replace => {
                            if self.put_back(change, before, live).await? {
                                return Ok(());
                            }
                        }
                        _ if ours => {
                            // A replaced object is made again in the next turn of the loop.
                            self.delete(change, live).await?;
                        }
                        _ => return Err(self.foreign(change, Some(live))),
                    }
                }
                // What somebody changed before this run came to it is his.
                _ if self.has_left_alone(change) => return Ok(()),
                _ => return Err(self.foreign(change, live.as_ref())),
            }
        }
    }

    /// Whether somebody has changed this object, too, of a step that cannot be taken back because of another one: only
    /// looks.
    pub(crate) async fn edited_too(&mut self, change: &Change) -> Result<Option<Box<Failure>>, Trouble> {
        let live = self.look(change, false).await?;
        if live.as_ref().is_some_and(Object::is_terminating) {
            return Ok(None);
        }
        let standing = self.standing(change, &change.scope(), live.as_ref()).await?;
        let goes = matches!(change.operation, Operation::Delete | Operation::Replace);
        let is_foreign = match standing {
            Standing::Foreign => true,
            Standing::Absent => change.before.is_some() && !goes && !goes_by_itself(change),
            Standing::Before | Standing::Ours => false,
        };
        let is_foreign = is_foreign && !self.has_left_alone(change);
        Ok(is_foreign.then(|| Box::new(self.told_foreign(change, live.as_ref()))))
    }

    /// An object that was taken back, as it is now: what was put back may have been changed since.
    pub(crate) async fn taken_back(&mut self, change: &Change) -> Result<Option<Object>, Trouble> {
        let Some(live) = self.find(&change.key).await? else { return Ok(None) };
        let Some(before) = &change.before else { return Ok(Some(live)) };
        let ours = self.is_ours(&live) || self.context.written(&self.step.id, &change.key).is_some();
        // These have a number, or a word, that was left as it was found on the way back. What was made again is compared
        // without its number.
        let handed_over = change.hand_over_replicas.is_some() && change.operation != Operation::Replace;
        let differs = handed_over || change.is_of_suspended();
        let seen = self.context.sealer.view(&live, &change.scope());
        if !ours || differs || object_digest(&seen) == before.fingerprint {
            return Ok(Some(live));
        }
        let (fields, by) = changed_since(&self.context.sealer, &live, change, &before.object);
        if fields.is_empty() {
            return Ok(Some(live));
        }
        let message =
            format!("{} was changed since it was put back: {}", change.key, told_edit(&fields, &by));
        Err(Failure::new("changed", message)
            .with_object(change.key.to_string())
            .with_hint("it stays as it is now: see which of the two it should be")
            .into())
    }

    /// Whether no call of this run has changed the object, and none is on its way.
    fn has_left_alone(&self, change: &Change) -> bool {
        !self.is_doubtful(change)
            && self.context.written(&self.step.id, &change.key).is_none()
            && !is_planted(Defect::RefusedUndone)
    }

    /// Writes what was captured; `false` where the object has to be looked at again.
    async fn put_back(&mut self, change: &Change, before: &Before, live: &Object) -> Result<bool, Trouble> {
        let mut object = self.open(&before.object).await?;
        // The number that was captured may be old by now: what serves goes on serving.
        if let (Some(_), Some(replicas)) = (change.hand_over_replicas, live.int("/spec/replicas"))
            && object.int("/spec/replicas") != Some(0)
        {
            object.edit(|body| body["spec"]["replicas"] = replicas.into());
        }
        if change.is_of_suspended() {
            keep_suspended(&mut object, live);
        }
        let mut precondition = exactly(live);
        let from = holding_what_was_added(change, before, live);
        if !from.is_empty() {
            match self.migrate(change, live, from).await? {
                Some(answer) => precondition = exactly(&answer),
                None => return Ok(false),
            }
        }
        let Some(mut answer) = self.send(change, object, precondition).await? else { return Ok(false) };
        if handed_over(change, &answer) {
            // Replicas are ours again: whoever kept them gives them up.
            let options = WriteOptions::apply(SCALE_MANAGER, exactly(&answer));
            match self.follow_up(change, serde_json::json!({}), options).await? {
                Some(next) => answer = next,
                None => return Ok(false),
            }
        }
        self.give_back(change, &answer).await
    }

    /// Takes our marks off what was not ours before this change; `false` where the object has to be looked at again.
    async fn give_back(&mut self, change: &Change, answer: &Object) -> Result<bool, Trouble> {
        if adopted(change, answer) {
            // It was not ours. Under the name of the records: it ends without an epoch, which a fence would refuse.
            let labels =
                [ENVIRONMENT, NAMESPACE, PROJECT, SERVICE].map(|name| (name.to_owned(), Value::Null));
            let annotations = [EPOCH, STAMP].map(|name| (name.to_owned(), Value::Null));
            let marks = serde_json::json!({"metadata": {
                "labels": serde_json::Map::from_iter(labels),
                "annotations": serde_json::Map::from_iter(annotations),
            }});
            let options = WriteOptions::merge(RECORDS_MANAGER, exactly(answer));
            return Ok(self.follow_up(change, marks, options).await?.is_some());
        }
        Ok(true)
    }

    /// A write that completes the one before it; `None` where the object has to be looked at again.
    async fn follow_up(
        &mut self,
        change: &Change,
        fields: Value,
        options: WriteOptions,
    ) -> Result<Option<Object>, Trouble> {
        let object = patch_of(&change.key, fields).map_err(|e| Failure::new("internal", e.to_string()))?;
        let permit = self.turn().await?;
        let answer = self.context.providers.cluster.write(&object, &options).await;
        drop(permit);
        match answer {
            Ok(answer) => {
                self.context.remember(&change.key, Some(answer.clone()));
                Ok(Some(answer))
            }
            Err(error) => {
                self.context.remember(&change.key, None);
                self.after_write(change, &options.precondition, error).await.map(|()| None)
            }
        }
    }
}
