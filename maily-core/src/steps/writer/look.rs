//! Looking: what is there, and whose it is.

use super::{Writer, ways::Edit};
use crate::{
    object::{FieldSet, Object, ObjectKey, last_editor},
    planted::{Defect, is_planted},
    provider::{Precondition, WriteOptions},
    run::{
        Change, Direction, Failure, FieldChange, MANAGER, What, changed_by, difference, drifted, epoch_of,
        object_digest, run_of, told_edit,
    },
    steps::context::Trouble,
};

const MADE_AGAIN: &str = "it was deleted and made again meanwhile";

/// What an object is to this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not there.
    Absent,
    /// As captured.
    Before,
    /// As this run wrote it last.
    Ours,
    /// Neither: a person or another tool changed it meanwhile.
    Foreign,
}

impl Writer<'_> {
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
    pub(super) async fn absence_is_certain(&self) -> Result<bool, Trouble> {
        let left = self.context.left(self.quiet_from);
        if !self.unanswered || left.is_zero() || is_planted(Defect::AbsenceAssumed) {
            return Ok(true);
        }
        let why = format!("a call got no answer, and may take effect for {} s more", left.as_secs() + 1);
        self.context.tell(What::StepProgress { step: self.step.id.clone(), ready: None, desired: None, why });
        self.context.pause(self.direction, left).await?;
        Ok(false)
    }

    /// What is there now: as last seen at the first look, freshly read afterwards.
    pub(super) async fn look(&mut self, change: &Change, first: bool) -> Result<Option<Object>, Trouble> {
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
    pub(super) fn checked(&self, object: Object) -> Result<Object, Trouble> {
        let newer = epoch_of(&object).is_some_and(|epoch| epoch > self.context.epoch);
        if newer && !is_planted(Defect::NewerEpochIgnored) {
            return Err(self.context.lost());
        }
        Ok(object)
    }

    /// Whether this run wrote it last.
    pub(super) fn is_ours(&self, live: &Object) -> bool {
        run_of(live).is_some_and(|run| run == self.context.run)
    }

    pub(super) async fn standing(
        &mut self,
        change: &Change,
        scope: &FieldSet,
        live: Option<&Object>,
    ) -> Result<Standing, Trouble> {
        let Some(live) = live else { return Ok(Standing::Absent) };
        let seen = self.context.sealer.view(live, scope);
        if let Some(before) = &change.before {
            if live.uid() == Some(&before.uid) && object_digest(&seen) == before.fingerprint {
                return Ok(Standing::Before);
            }
            // Made again, with the captured content: by the undo of a delete, under our stamp; or on the way back by a
            // person. A late write of ours carries the old uid, and cannot land on it.
            if (self.direction == Direction::Back || self.is_ours(live))
                && object_digest(&seen) == before.fingerprint
            {
                return Ok(Standing::Before);
            }
        }
        if is_planted(Defect::ForeignTaken) {
            return Ok(Standing::Ours);
        }
        if !self.is_ours(live) {
            let taken = self.direction == Direction::Forward && is_planted(Defect::CaptureNotCompared);
            return Ok(if taken { Standing::Before } else { Standing::Foreign });
        }
        // That it was taken away says nothing of what was made in its place.
        let written = self.context.written(&self.step.id, &change.key);
        if let Some(written) = written.filter(|written| written.uid.is_some()) {
            let same = written.fingerprint == object_digest(&seen);
            return Ok(if same { Standing::Ours } else { Standing::Foreign });
        }
        // A former process wrote it and could not note what came of it: ask the server what our content looks like
        // there now. It carries our stamp, so equal content means that nobody came after.
        let Some(desired) = change.desired.as_ref().filter(|_| !is_planted(Defect::OwnWriteUnknown)) else {
            return Ok(Standing::Foreign);
        };
        loop {
            let mut object = self.open(desired).await?;
            self.context.label(&mut object, self.step);
            let options = WriteOptions::apply(MANAGER, Precondition::Any).dry_run();
            match self.context.providers.cluster.write(&self.stamped(object), &options).await {
                Ok(answer) => {
                    let same = self.context.sealer.view(&answer, scope) == seen;
                    return Ok(if same { Standing::Ours } else { Standing::Foreign });
                }
                Err(error) => self.after(error).await?,
            }
        }
    }

    pub(super) fn foreign(&self, change: &Change, live: Option<&Object>) -> Trouble {
        self.told_foreign(change, live).into()
    }

    /// What somebody did to an object, and on the way back what can be done about it.
    pub(super) fn told_foreign(&self, change: &Change, live: Option<&Object>) -> Failure {
        let edit = live.map(|live| self.edit(change, live)).unwrap_or_default();
        let is_ours = live.is_some_and(|live| self.is_ours(live));
        let what = match live {
            None => "it was deleted meanwhile".to_owned(),
            Some(live) if change.before.is_some() || is_ours => self.told(change, &edit, live),
            // This run had made it.
            Some(_) if self.context.written(&self.step.id, &change.key).is_some() => MADE_AGAIN.to_owned(),
            Some(live) => {
                let by = last_editor(live).map(|who| format!(" (by {who})")).unwrap_or_default();
                format!("something of that name was made meanwhile{by}")
            }
        };
        let failure = Failure::new("changed", format!("{}: {what}", change.key))
            .with_object(change.key.to_string())
            .with_effect(self.effect);
        match self.direction {
            Direction::Forward => failure.with_hint("look at the object, then make a new plan"),
            // The remedy of the step takes it up.
            Direction::Back => {
                let written = (change.desired.is_some() && is_ours).then_some(&edit);
                failure.with_hint(self.ways(change, written, live))
            }
        }
    }

    /// What somebody changed on an object: of what this run had written, and against what was there before.
    fn edit(&self, change: &Change, live: &Object) -> Edit {
        let scope = change.scope();
        let seen = self.context.sealer.view(live, &scope);
        let from_before =
            change.before.as_ref().map(|before| difference(&scope.project(&before.object), &seen));
        let written = change.desired.as_ref().filter(|_| self.is_ours(live));
        Edit {
            since: written.map(|desired| drifted(desired, &seen, live)).unwrap_or_default(),
            from_before: from_before.unwrap_or_default(),
        }
    }

    /// What somebody changed on an object, and who: of what this run had written without what it set itself.
    fn told(&self, change: &Change, edit: &Edit, live: &Object) -> String {
        let others = |field: &FieldChange| edit.from_before.iter().any(|other| other.path == field.path);
        let written = change.desired.as_ref().filter(|_| self.is_ours(live));
        // What was set to what it was before the run differs from what the run wrote alone.
        let both: Vec<FieldChange> = edit.since.iter().filter(|field| others(field)).cloned().collect();
        let fields = match written {
            None => &edit.from_before,
            Some(_) if both.is_empty() => &edit.since,
            Some(_) => &both,
        };
        let set = written.or(change.before.as_ref().map(|before| &before.object));
        match set.filter(|_| !fields.is_empty()) {
            None => MADE_AGAIN.to_owned(),
            Some(set) => {
                let by = changed_by(&self.context.sealer, live, set);
                format!("it was changed meanwhile: {}", told_edit(fields, &by))
            }
        }
    }
}
