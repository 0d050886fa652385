//! Writing one object so that nothing is lost and nobody is overwritten: every write carries uid and resource
//! version of what was read, every attempt its own stamp, and whatever does not fit what was captured or what this
//! run wrote last is somebody else's and is left alone.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::SemaphorePermit;

use super::context::{Context, Past, Trouble};
use crate::{
    engine::{
        Before, Change, Direction, ENVIRONMENT, EPOCH, Failure, MANAGER, NAMESPACE, Operation, PROJECT,
        RECORDS_MANAGER, SCALE_MANAGER, SERVICE, STAMP, Sealer, Step, epoch_of, exactly, journal::Written,
        object_digest, run_of, strip_bookkeeping, without_bookkeeping,
    },
    object::{FieldSet, Object, ObjectKey},
    planted::{Defect, is_planted},
    provider::{Effect, ErrorKind, Precondition, ProviderError, WriteMode, WriteOptions, patch_of},
    runtime::Moment,
};

/// The server aborts a mutating request by itself after this time, so that after it absence is certain.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// So long after a call without an answer, with a margin for two clocks.
const QUIET_AFTER: Duration = Duration::from_secs(REQUEST_LIMIT.as_secs() + 1);

/// The fields on which two states of a changed object are compared.
pub(crate) fn scope(change: &Change) -> FieldSet {
    let mut scope = change.desired.as_ref().map(FieldSet::of).unwrap_or_default();
    if let Some(before) = &change.before {
        scope.absorb(FieldSet::of(&before.object));
    }
    without_bookkeeping(scope)
}

/// The part of a live object inside a scope, Secrets sealed, without our bookkeeping.
pub(crate) fn view_with(sealer: &Sealer, live: &Object, scope: &FieldSet) -> Object {
    let mut view = sealer.seal(&scope.project(live));
    strip_bookkeeping(&mut view);
    view
}

fn view(context: &Context, live: &Object, scope: &FieldSet) -> Object {
    view_with(&context.sealer, live, scope)
}

/// Whether an object's replicas, which this change hands over, are with the manager that keeps them.
fn handed_over(change: &Change, live: &Object) -> bool {
    change.hand_over_replicas.is_some()
        && !FieldSet::owned_by(live, |manager| manager == SCALE_MANAGER).is_empty()
}

/// Whether an object that was not ours before this change carries our marks.
fn adopted(change: &Change, live: &Object) -> bool {
    change.operation == Operation::Adopt && live.label(PROJECT).is_some()
}

/// What an object is to this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Not there.
    Absent,
    /// As captured.
    Before,
    /// As this run wrote it last.
    Ours,
    /// Neither: a person or another tool changed it meanwhile.
    Foreign,
}

/// Writes the objects of one step in one direction.
pub(crate) struct Writer<'a> {
    context: &'a Context,
    step: &'a Step,
    direction: Direction,
    deadline: Moment,
    /// A call of this step had an effect.
    pub(crate) effect: Effect,
    /// A create, write or delete of this step may be unanswered, here or in a former process.
    unanswered: bool,
    /// From then on nothing that was sent can take effect any more.
    quiet_from: Moment,
    pause: Duration,
}

impl<'a> Writer<'a> {
    /// A writer for a step.
    pub(crate) fn new(
        context: &'a Context,
        step: &'a Step,
        direction: Direction,
        deadline: Moment,
        past: Past,
    ) -> Self {
        let unanswered = past == Past::Unknown || context.result(&step.id).unanswered;
        let quiet_from = context.runtime.now() + QUIET_AFTER;
        Self {
            context,
            step,
            direction,
            deadline,
            effect: Effect::None,
            unanswered,
            quiet_from,
            pause: Duration::from_millis(100),
        }
    }

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
                let gone = Written { uid: None, fingerprint: String::new(), released: String::new() };
                self.context.wrote(&self.step.id, change, gone);
                Ok(None)
            }
        }
    }

    async fn converge(&mut self, change: &Change) -> Result<Object, Trouble> {
        let Some(desired) = &change.desired else {
            return Err(Failure::new("internal", format!("{} has no desired state", change.key)).into());
        };
        let mut first = true;
        loop {
            let live = self.look(change, first).await?;
            first = false;
            let standing = self.standing(change, live.as_ref()).await?;
            let precondition = match (standing, &live) {
                (Standing::Absent, _)
                    if change.before.is_none() || change.operation == Operation::Replace =>
                {
                    Precondition::Absent
                }
                (Standing::Before, Some(live)) => exactly(live),
                (Standing::Ours, Some(live)) => {
                    if epoch_of(live) == Some(self.context.epoch) {
                        return Ok(self.keep(change, live.clone()));
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
            let opened = self.open(desired).await?;
            if let Some(answer) = self.send(change, opened, precondition).await? {
                return Ok(self.keep(change, answer));
            }
        }
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
            let options = WriteOptions {
                mode: WriteMode::Migrate,
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
                Ok(answer) => precondition = exactly(&answer),
                Err(error) => return self.after_write(change, &precondition, error).await.map(|()| None),
            }
        }
        if let Some(replicas) = change.hand_over_replicas {
            let kind = &change.key;
            let object = patch_of(kind, serde_json::json!({"spec": {"replicas": replicas}}))
                .map_err(|error| Failure::new("internal", error.to_string()))?;
            let options = WriteOptions::apply(SCALE_MANAGER, precondition.clone());
            let permit = self.turn().await?;
            let answer = self.context.providers.cluster.write(&self.stamped(object), &options).await;
            drop(permit);
            match answer {
                Ok(answer) => {
                    self.effect = Effect::Done;
                    precondition = exactly(&answer);
                }
                Err(error) => return self.after_write(change, &precondition, error).await.map(|()| None),
            }
        }
        Ok(Some(precondition))
    }

    /// Deletes an object and waits until it is gone.
    async fn clear(&mut self, change: &Change) -> Result<(), Trouble> {
        let mut first = true;
        loop {
            let live = self.look(change, first).await?;
            first = false;
            // What is made again right away needs no certainty: its create is guarded.
            let certain = change.operation == Operation::Replace;
            let Some(live) = live else {
                if certain || self.absence_is_certain().await? {
                    return Ok(());
                }
                continue;
            };
            if live.is_terminating() {
                self.wait_gone(change, &live).await?;
                continue;
            }
            let standing = self.standing(change, Some(&live)).await?;
            // Already made again by this run.
            if standing == Standing::Ours && change.operation == Operation::Replace {
                return Ok(());
            }
            if standing == Standing::Foreign {
                return Err(self.foreign(change, Some(&live)));
            }
            if self.delete(change, &live).await? && (certain || !self.unanswered) {
                return Ok(());
            }
        }
    }

    /// Reads an object. Where a call that makes it may be on its way, absence is certain only after a while.
    pub(crate) async fn find(&mut self, key: &ObjectKey) -> Result<Option<Object>, Trouble> {
        loop {
            match self.context.read(key).await {
                Ok(Some(live)) => return Ok(Some(live)),
                Ok(None) if self.absence_is_certain().await? => return Ok(None),
                Ok(None) => {}
                Err(error) => self.after(error).await?,
            }
        }
    }

    /// Absence cannot be guarded: where a create may be on its way, waits until none can land any more; `false` where
    /// it waited, so that one has to look again.
    async fn absence_is_certain(&self) -> Result<bool, Trouble> {
        let left = self.context.left(self.quiet_from);
        if !self.unanswered || left.is_zero() || is_planted(Defect::AbsenceAssumed) {
            return Ok(true);
        }
        self.context.pause(self.direction, left).await?;
        Ok(false)
    }

    /// Deletes this run's own Job of a former process if it has failed, or however it has ended, so that it can run
    /// again.
    pub(crate) async fn clear_ended(&mut self, change: &Change, however: bool) -> Result<(), Trouble> {
        loop {
            let Some(live) = self.look(change, false).await? else { return Ok(()) };
            let ended = |condition: &Value| {
                (condition["type"] == "Failed" || (however && condition["type"] == "Complete"))
                    && condition["status"] == "True"
            };
            if live.is_terminating() {
                return self.wait_gone(change, &live).await;
            }
            if !self.is_of_this_run(&live) || !live.items("/status/conditions").iter().any(ended) {
                return Ok(());
            }
            if self.delete(change, &live).await? {
                return Ok(());
            }
        }
    }

    /// Deletes this run's own Job, and waits until its pods are gone as well.
    pub(crate) async fn end_job(&mut self, change: &Change) -> Result<(), Trouble> {
        while let Some(live) = self.find(&change.key).await? {
            if live.is_terminating() {
                self.wait_gone(change, &live).await?;
            } else if self.is_of_this_run(&live) {
                self.delete(change, &live).await?;
            } else {
                return Err(self.foreign(change, Some(&live)));
            }
        }
        let kind = crate::object::ObjectKind::new("v1", "Pod");
        let query = crate::provider::ListQuery::new(kind, change.key.namespace.as_deref())
            .label("job-name", change.key.name.clone());
        let mut pause = Duration::from_millis(50);
        loop {
            match self.context.providers.cluster.list(&query).await {
                Ok(pods) if pods.is_empty() => return Ok(()),
                Ok(pods) if self.context.runtime.now() >= self.deadline => {
                    let message = format!("{} of its pods are still there", pods.len());
                    return Err(Failure::new("not-gone", format!("{}: {message}", change.key))
                        .with_object(change.key.to_string())
                        .into());
                }
                Ok(_) => {}
                Err(error) => self.after(error).await?,
            }
            self.context.pause(self.direction, pause).await?;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    fn is_of_this_run(&self, live: &Object) -> bool {
        run_of(live).is_some_and(|run| run == self.context.run)
    }

    /// Sends a delete of exactly what was read; `false` where it has to be looked at again.
    async fn delete(&mut self, change: &Change, live: &Object) -> Result<bool, Trouble> {
        let permit = self.turn().await?;
        self.effect = Effect::Unknown;
        let precondition = exactly(live);
        let answer = self.context.providers.cluster.delete(&change.key, &precondition).await;
        drop(permit);
        match answer {
            Ok(_) => {
                self.effect = Effect::Done;
                self.context.remember(&change.key, None);
                self.wait_gone(change, live).await?;
                Ok(true)
            }
            Err(error) => {
                self.after_write(change, &precondition, error).await?;
                Ok(false)
            }
        }
    }

    /// Gone means that this uid is gone: the answer to a delete comes before finalizers are through.
    async fn wait_gone(&mut self, change: &Change, going: &Object) -> Result<(), Trouble> {
        let mut pause = Duration::from_millis(20);
        loop {
            match self.context.read(&change.key).await {
                Ok(None) => return Ok(()),
                Ok(Some(live)) if live.uid() != going.uid() => return Ok(()),
                Ok(Some(live)) => {
                    if self.context.runtime.now() >= self.deadline {
                        let finalizers: Vec<&str> =
                            live.items("/metadata/finalizers").iter().filter_map(|f| f.as_str()).collect();
                        let what = if finalizers.is_empty() {
                            "its dependents are still being deleted".to_owned()
                        } else {
                            format!("it waits for its finalizers: {}", finalizers.join(", "))
                        };
                        return Err(Failure::new("not-gone", format!("{} is not gone: {what}", change.key))
                            .with_object(change.key.to_string())
                            .with_hint("find out why the controller of the finalizer does not finish")
                            .into());
                    }
                }
                Err(error) => self.after(error).await?,
            }
            self.context.pause(self.direction, pause).await?;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Brings an object back to what was captured.
    pub(crate) async fn restore(&mut self, change: &Change) -> Result<(), Trouble> {
        let mut first = true;
        loop {
            let live = self.look(change, first).await?;
            first = false;
            if let Some(live) = live.as_ref().filter(|live| live.is_terminating()) {
                self.wait_gone(change, live).await?;
                continue;
            }
            let deleted = matches!(change.operation, Operation::Delete | Operation::Replace);
            match (self.standing(change, live.as_ref()).await?, &live, &change.before) {
                (Standing::Absent, _, None) => {
                    if self.absence_is_certain().await? {
                        return Ok(());
                    }
                }
                (Standing::Absent, _, Some(before)) if deleted => {
                    let object = self.open(&before.object).await?;
                    if self.send(change, object, Precondition::Absent).await?.is_some() {
                        return Ok(());
                    }
                }
                (Standing::Before, Some(live), Some(before)) => {
                    // Our epoch on it proves that a former holder's calls are refused, and nothing of our own.
                    let marked = !self.unanswered
                        || epoch_of(live) == Some(self.context.epoch)
                        || is_planted(Defect::NoStampingBarrier);
                    let clean = !handed_over(change, live) && !adopted(change, live);
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
                _ => return Err(self.foreign(change, live.as_ref())),
            }
        }
    }

    /// Writes what was captured; `false` where the object has to be looked at again.
    async fn put_back(&mut self, change: &Change, before: &Before, live: &Object) -> Result<bool, Trouble> {
        let mut object = self.open(&before.object).await?;
        // The number that was captured may be old by now: what serves goes on serving.
        if let (Some(_), Some(replicas)) = (change.hand_over_replicas, live.int("/spec/replicas")) {
            object.edit(|body| body["spec"]["replicas"] = replicas.into());
        }
        let Some(mut answer) = self.send(change, object, exactly(live)).await? else { return Ok(false) };
        if handed_over(change, &answer) {
            // Replicas are ours again: whoever kept them gives them up.
            let options = WriteOptions::apply(SCALE_MANAGER, exactly(&answer));
            match self.follow_up(change, serde_json::json!({}), options).await? {
                Some(next) => answer = next,
                None => return Ok(false),
            }
        }
        if adopted(change, &answer) {
            // It was not ours. Under the name of the records: it ends without an epoch, which a fence would refuse.
            let labels =
                [ENVIRONMENT, NAMESPACE, PROJECT, SERVICE].map(|name| (name.to_owned(), Value::Null));
            let annotations = [EPOCH, STAMP].map(|name| (name.to_owned(), Value::Null));
            let marks = serde_json::json!({"metadata": {
                "labels": serde_json::Map::from_iter(labels),
                "annotations": serde_json::Map::from_iter(annotations),
            }});
            let options = WriteOptions::merge(RECORDS_MANAGER, exactly(&answer));
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

    /// Marks an object of an open step with our epoch, so that late requests of the holder before us are refused.
    pub(crate) async fn stamp(&mut self, change: &Change) -> Result<(), Trouble> {
        loop {
            let Some(live) = self.look(change, false).await? else { return Ok(()) };
            if live.is_terminating() || epoch_of(&live) == Some(self.context.epoch) {
                return Ok(());
            }
            let mut patch = patch_of(&change.key, serde_json::json!({}))
                .map_err(|error| Failure::new("internal", error.to_string()))?;
            self.context.label(&mut patch, self.step);
            // The run's own mark is kept: it tells a later look that the content is ours.
            let ours = run_of(&live).is_some_and(|run| run == self.context.run);
            let mut stamp = self.stamped(patch);
            if !ours {
                stamp.set_annotation(STAMP, None);
            }
            let permit = self.turn().await?;
            let precondition = exactly(&live);
            let options = WriteOptions::merge(MANAGER, precondition.clone());
            let answer = self.context.providers.cluster.write(&stamp, &options).await;
            drop(permit);
            match answer {
                Ok(answer) => {
                    self.context.remember(&change.key, Some(answer));
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => self.after_write(change, &precondition, error).await?,
            }
        }
    }

    fn stamped(&self, object: Object) -> Object {
        let mut object = object;
        self.context.stamp(&self.step.id, self.direction).put(&mut object);
        object
    }

    async fn open(&mut self, sealed: &Object) -> Result<Object, Trouble> {
        loop {
            match self.context.sealer.unseal(&*self.context.providers.cluster, sealed).await {
                Ok(object) => return Ok(object),
                Err(error) => self.after(error).await?,
            }
        }
    }

    async fn turn(&self) -> Result<Option<SemaphorePermit<'a>>, Trouble> {
        match self.context.turn_to_send(self.direction, self.deadline).await {
            Err(Trouble::Failed(failure)) => Err((*failure).with_effect(self.effect).into()),
            turn => turn,
        }
    }

    /// Sends an apply; `None` where the object has to be looked at again.
    async fn send(
        &mut self,
        change: &Change,
        object: Object,
        precondition: Precondition,
    ) -> Result<Option<Object>, Trouble> {
        let mut object = object;
        self.context.label(&mut object, self.step);
        let object = self.stamped(object);
        let permit = self.turn().await?;
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
    async fn after_write(
        &mut self,
        change: &Change,
        precondition: &Precondition,
        error: ProviderError,
    ) -> Result<(), Trouble> {
        if error.effect() == Effect::Unknown {
            self.context.may_land(&change.key, precondition);
        }
        self.after(error).await
    }

    /// Decides after a failed call: goes on (after a pause, with a fresh look), or gives up.
    async fn after(&mut self, error: ProviderError) -> Result<(), Trouble> {
        if error.effect() == Effect::Unknown {
            self.unanswered = true;
            self.quiet_from = self.context.runtime.now() + QUIET_AFTER;
            self.context.unanswered(&self.step.id);
            if self.effect == Effect::None {
                self.effect = Effect::Unknown;
            }
        }
        if error.kind() == ErrorKind::StaleEpoch {
            return Err(self.context.lost());
        }
        let again = error.kind() == ErrorKind::Conflict || error.is_transient();
        if !again || self.context.runtime.now() >= self.deadline {
            return Err(Failure::of(&error).with_effect(self.effect).into());
        }
        if error.kind() != ErrorKind::Conflict {
            let pause = error.retry_after().unwrap_or(self.pause);
            self.context.tell(crate::engine::What::StepRetried {
                step: self.step.id.clone(),
                error: error.to_string(),
                after_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            });
            self.context.pause(self.direction, pause).await?;
        } else {
            self.context.pause(self.direction, self.pause.min(Duration::from_millis(50))).await?;
        }
        self.pause = (self.pause * 2).min(Duration::from_secs(5));
        Ok(())
    }

    /// What is there now: as last seen at the first look, freshly read afterwards.
    async fn look(&mut self, change: &Change, first: bool) -> Result<Option<Object>, Trouble> {
        if first && !self.unanswered {
            if let Some(seen) = self.context.seen(&change.key) {
                return self.checked(seen).map(Some);
            }
            // Planned as absent, and the create itself is guarded.
            if change.before.is_none() && self.direction == Direction::Forward {
                return Ok(None);
            }
        }
        loop {
            let permit = self.context.requests.acquire().await;
            let read = self.context.read(&change.key).await;
            drop(permit);
            match read {
                Ok(Some(object)) => return self.checked(object).map(Some),
                Ok(None) => return Ok(None),
                Err(error) => self.after(error).await?,
            }
        }
    }

    /// A newer epoch than ours on an object ends the holder.
    fn checked(&self, object: Object) -> Result<Object, Trouble> {
        let newer = epoch_of(&object).is_some_and(|epoch| epoch > self.context.epoch);
        if newer && !is_planted(Defect::NewerEpochIgnored) {
            return Err(self.context.lost());
        }
        Ok(object)
    }

    async fn standing(&mut self, change: &Change, live: Option<&Object>) -> Result<Standing, Trouble> {
        let Some(live) = live else { return Ok(Standing::Absent) };
        let scope = scope(change);
        let seen = view(self.context, live, &scope);
        if let Some(before) = &change.before {
            if live.uid() == Some(&before.uid) && object_digest(&seen) == before.fingerprint {
                return Ok(Standing::Before);
            }
            // Made again by the undo of a delete: another uid, the captured content, our stamp.
            if run_of(live).is_some_and(|run| run == self.context.run)
                && object_digest(&seen) == before.fingerprint
            {
                return Ok(Standing::Before);
            }
        }
        if is_planted(Defect::ForeignTaken) {
            return Ok(Standing::Ours);
        }
        if run_of(live).is_none_or(|run| run != self.context.run) {
            return Ok(Standing::Foreign);
        }
        if let Some(written) = self.context.written(&self.step.id, &change.key) {
            let same = written.fingerprint == object_digest(&seen);
            return Ok(if same { Standing::Ours } else { Standing::Foreign });
        }
        // A former process wrote it and could not note what came of it: ask the server what our content looks like
        // there now. It carries our stamp, so equal content means that nobody came after.
        let Some(desired) = &change.desired else { return Ok(Standing::Foreign) };
        loop {
            let mut object = self.open(desired).await?;
            self.context.label(&mut object, self.step);
            let options = WriteOptions::apply(MANAGER, Precondition::Any).dry_run();
            match self.context.providers.cluster.write(&self.stamped(object), &options).await {
                Ok(answer) => {
                    let same = view(self.context, &answer, &scope) == seen;
                    return Ok(if same { Standing::Ours } else { Standing::Foreign });
                }
                Err(error) => self.after(error).await?,
            }
        }
    }

    fn keep(&self, change: &Change, answer: Object) -> Object {
        let desired = without_bookkeeping(change.desired.as_ref().map(FieldSet::of).unwrap_or_default());
        let scope = scope(change);
        let released = object_digest(&view(self.context, &answer, &desired));
        // Most changes set the very fields that were captured.
        let fingerprint = if scope == desired {
            released.clone()
        } else {
            object_digest(&view(self.context, &answer, &scope))
        };
        let written = Written { uid: answer.uid().map(str::to_owned), fingerprint, released };
        self.context.wrote(&self.step.id, change, written);
        answer
    }

    fn foreign(&self, change: &Change, live: Option<&Object>) -> Trouble {
        let what = match (live, &change.before) {
            (None, _) => "it was deleted meanwhile".to_owned(),
            (Some(_), None) => "something of that name was made meanwhile".to_owned(),
            (Some(live), Some(before)) => {
                let seen = view(self.context, live, &scope(change));
                let fields = crate::engine::difference(&before.object, &seen);
                let fields: Vec<String> = fields.iter().take(3).map(|field| field.path.clone()).collect();
                if fields.is_empty() {
                    "it was deleted and made again meanwhile".to_owned()
                } else {
                    format!("it was changed meanwhile: {}", fields.join(", "))
                }
            }
        };
        Failure::new("changed", format!("{}: {what}", change.key))
            .with_object(change.key.to_string())
            .with_effect(self.effect)
            .with_hint("look at the object, then make a new plan")
            .into()
    }
}
