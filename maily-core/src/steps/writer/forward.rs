//! Forward: an object becomes what is wanted, and what others keep of it is taken over.

use std::collections::BTreeSet;

use super::{Writer, keep_suspended, look::Standing};
use crate::{
    object::{FieldSet, Object},
    provider::{Effect, Precondition, WriteMode, WriteOptions, exactly, patch_of},
    run::{
        Change, Digests, ENVIRONMENT, Failure, MANAGER, Operation, SCALE_MANAGER, Work, Written, compared,
        epoch_of, object_digest,
    },
    steps::{
        context::{Past, Trouble},
        job::vanished,
    },
};

/// Seconds by which clocks may differ of whoever began a step and of whoever goes on with it; no more than half of what a
/// Job stays: one that was never made is not to be taken for one that has gone.
const CLOCKS_S: i64 = 60;

/// Whether an autoscaler has still to be given the number with which what was made begins: that an object is there says
/// nothing of it, because another process may have made it and come no further.
fn owes_replicas(change: &Change, live: &Object) -> bool {
    matches!(change.operation, Operation::Create | Operation::Replace)
        && change.hand_over_replicas.is_some_and(|replicas| live.int("/spec/replicas") != Some(replicas))
        && !FieldSet::owned_by(live, |manager| manager == SCALE_MANAGER).contains(&["spec", "replicas"])
}

impl Writer<'_> {
    /// Brings an object from what was captured to what is wanted; answers what the server made of it.
    pub(crate) async fn put(&mut self, change: &Change) -> Result<Option<Object>, Trouble> {
        match change.operation {
            Operation::Create | Operation::Update | Operation::Adopt => self.converge(change).await.map(Some),
            Operation::Replace => {
                self.clear(change).await?;
                self.converge(change).await.map(Some)
            }
            Operation::Delete => {
                self.clear(change).await?;
                Ok(None)
            }
        }
    }

    async fn converge(&mut self, change: &Change) -> Result<Object, Trouble> {
        let Some(desired) = &change.desired else {
            return Err(Failure::new("internal", format!("{} has no desired state", change.key)).into());
        };
        let scope = change.scope();
        let mut first = true;
        // Seen in time: what this process makes itself does not vanish.
        let mut never_ran = false;
        loop {
            let live = self.look(change, first).await?;
            first = false;
            let standing = self.standing(change, &scope, live.as_ref()).await?;
            let precondition = match (standing, &live) {
                (Standing::Absent, _)
                    if change.before.is_none() || change.operation == Operation::Replace =>
                {
                    if !never_ran && self.may_have_run(desired) {
                        return Err(vanished(change).into());
                    }
                    never_ran = true;
                    Precondition::Absent
                }
                (Standing::Before, Some(live)) => exactly(live),
                (Standing::Ours, Some(live)) => {
                    // A takeover has marked it: that it was made says nothing of what was to follow.
                    if epoch_of(live) == Some(self.context.epoch) && !owes_replicas(change, live) {
                        return Ok(self.keep(change, &scope, live.clone()));
                    }
                    exactly(live)
                }
                _ => return Err(self.foreign(change, live.as_ref())),
            };
            let mut precondition = precondition;
            if let (Standing::Before, Some(before)) = (standing, &live) {
                precondition = match self.take_over(change, before, precondition).await? {
                    Some(precondition) => precondition,
                    None => continue,
                };
            }
            let mut opened = self.open(desired).await?;
            if let Some(live) = live.as_ref().filter(|_| desired.is_suspended()) {
                keep_suspended(&mut opened, live);
            }
            let Some(mut answer) = self.send(change, opened, precondition).await? else { continue };
            if owes_replicas(change, &answer) {
                match self.hand_over(change, exactly(&answer)).await? {
                    Some(scaled) => answer = scaled,
                    None => continue,
                }
            }
            return Ok(self.keep(change, &scope, answer));
        }
    }

    /// Whether a Job of the manifests that is not there may be one that a former process made, and that has gone since. What
    /// is known of those that are steps of their own stands in the journal.
    fn may_have_run(&self, desired: &Object) -> bool {
        if matches!(self.step.work, Work::Job { .. }) {
            return false;
        }
        let begun = self.context.begun(&self.step.id).forward.filter(|_| self.past == Past::Unknown);
        let stays = desired.int("/spec/ttlSecondsAfterFinished").filter(|_| desired.goes_by_itself());
        let (Some(begun), Some(stays)) = (begun, stays) else { return false };
        self.context.runtime.wall().duration_since(begun).as_secs() >= stays - CLOCKS_S.min(stays / 2)
    }

    /// Moves fields of other clients to us, and replicas to the manager that keeps them for an autoscaler.
    async fn take_over(
        &mut self,
        change: &Change,
        live: &Object,
        precondition: Precondition,
    ) -> Result<Option<Precondition>, Trouble> {
        let mut precondition = precondition;
        if !change.migrate.is_empty() {
            match self.migrate(change, live, change.migrate.clone()).await? {
                Some(answer) => precondition = exactly(&answer),
                None => return Ok(None),
            }
        }
        if change.hand_over_replicas.is_some() {
            match self.hand_over(change, precondition).await? {
                Some(answer) => precondition = exactly(&answer),
                None => return Ok(None),
            }
        }
        Ok(Some(precondition))
    }

    /// Moves all that these clients hold of an object to us; `None` where it has to be looked at again.
    pub(super) async fn migrate(
        &mut self,
        change: &Change,
        live: &Object,
        from: BTreeSet<String>,
    ) -> Result<Option<Object>, Trouble> {
        let precondition = exactly(live);
        let options = WriteOptions {
            mode: WriteMode::Migrate { from },
            manager: MANAGER,
            precondition: precondition.clone(),
            dry_run: false,
        };
        // A fence judges it as any other write to what is ours already.
        let ours = live.label(ENVIRONMENT).is_some();
        let object = if ours { self.stamped(live.clone()) } else { live.clone() };
        let permit = self.turn().await?;
        let answer = self.context.providers.cluster.write(&object, &options).await;
        drop(permit);
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => self.after_write(change, &precondition, error).await.map(|()| None),
        }
    }

    /// Gives the replicas to the manager that keeps them for an autoscaler; `None` where the object has to be looked at
    /// again.
    async fn hand_over(
        &mut self,
        change: &Change,
        precondition: Precondition,
    ) -> Result<Option<Object>, Trouble> {
        let fields = serde_json::json!({"spec": {"replicas": change.hand_over_replicas}});
        let object =
            patch_of(&change.key, fields).map_err(|error| Failure::new("internal", error.to_string()))?;
        let options = WriteOptions::apply(SCALE_MANAGER, precondition.clone());
        let permit = self.turn().await?;
        let answer = self.context.providers.cluster.write(&self.stamped(object), &options).await;
        drop(permit);
        match answer {
            Ok(answer) => {
                self.effect = Effect::Done;
                Ok(Some(answer))
            }
            Err(error) => self.after_write(change, &precondition, error).await.map(|()| None),
        }
    }

    pub(super) fn keep(&self, change: &Change, scope: &FieldSet, answer: Object) -> Object {
        let desired = change.desired.as_ref().map(compared).unwrap_or_default();
        let released = object_digest(&self.context.sealer.view(&answer, &desired));
        // Most changes set the very fields that were captured.
        let fingerprint = if *scope == desired {
            released.clone()
        } else {
            object_digest(&self.context.sealer.view(&answer, scope))
        };
        let written =
            Written { uid: answer.uid().map(str::to_owned), fingerprint, released, images: Digests::new() };
        self.context.wrote(&self.step.id, change, written);
        answer
    }
}
