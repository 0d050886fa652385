//! Who saw everything: the invariants, checked at every effect, every record and every told event.
//!
//! It reads the journal as the records store it, so that only what is durable counts, and the world as it is.

mod book;
mod pods;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maily_core::{
    engine::{
        self, Claim, ENVIRONMENT, Event, MANAGER, Progress, RunState, SCALE_MANAGER, STAMP, Step, StepId,
        What, Work, epoch_of,
        journal::{JournalEvent, Segment, uncompressed, unpack},
    },
    object::{Object, ObjectKey},
};
use serde_json::Value;

use self::book::Book;
use super::scheduler::Participant;
use crate::world::World;

/// An effect of a request on an object.
pub(super) struct Deed<'a> {
    pub(super) by: Participant,
    pub(super) operation: &'static str,
    pub(super) manager: &'static str,
    pub(super) key: &'a ObjectKey,
    pub(super) body: Option<&'a Object>,
    pub(super) old: Option<Object>,
    pub(super) new: Option<Object>,
    /// It came through a server whose policies lag.
    pub(super) behind: bool,
}

/// The witness.
#[derive(Default)]
pub struct Witness {
    /// What must never happen and did, in words.
    pub violations: Vec<String>,
    /// One line for everything that happened, where it is kept.
    pub log: Option<Vec<String>>,
    /// Digest over all lines.
    pub digest: u64,
    /// Steps that were seen to end.
    pub steps: u64,
    /// Verdicts of gates that became durable.
    pub verdicts: u32,
    /// Texts that must not be seen in any record, event or error.
    pub secrets: Vec<String>,
    books: BTreeMap<String, Book>,
    /// The run that claimed an epoch of an environment.
    claims: BTreeMap<(String, u64), String>,
    /// The last epoch that a participant claimed in an environment.
    held: BTreeMap<(Participant, String), u64>,
    /// The newest epoch that had an effect on an object that exists.
    newest: BTreeMap<String, u64>,
    /// The newest epoch that has gone on with a run: its barrier is behind it.
    went_on: BTreeMap<String, u64>,
    /// What a person wrote on objects: where, what, and whether a release sets it.
    edits: BTreeMap<(ObjectKey, String), (Value, bool)>,
    /// The epoch of an environment's fence, where it has one that is shut.
    fences: BTreeMap<String, u64>,
    /// Deployments that were seen to serve.
    serving: BTreeSet<ObjectKey>,
    now: jiff::Timestamp,
}

impl Witness {
    /// A witness who keeps his log if asked to.
    pub fn new(secrets: Vec<String>, keep: bool) -> Self {
        Self { secrets, log: keep.then(Vec::new), ..Self::default() }
    }

    /// Notes something.
    pub fn note(&mut self, line: &str) {
        // FNV-1a: what counts is that two equal runs give equal digests.
        for byte in line.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(log) = &mut self.log {
            log.push(format!("{} {line}", self.now));
        }
    }

    /// Notes a violation.
    pub fn violation(&mut self, invariant: &str, what: impl std::fmt::Display) {
        let line = format!("{invariant}: {what}");
        self.note(&line);
        self.violations.push(format!("{} {line}", self.now));
    }

    /// Sees an effect.
    pub(super) fn deed(&mut self, deed: &Deed<'_>, world: &World) {
        self.now = world.now;
        let verb = if deed.new.is_none() { "delete" } else { deed.operation };
        let stamp = deed.body.and_then(|body| body.annotation(STAMP)).unwrap_or_default();
        self.note(&format!("{:?} {verb} {} [{}] {stamp}", deed.by, deed.key, deed.manager));
        match deed.manager {
            // A wish that was left for a holder is taken away as records are.
            MANAGER if deed.key.kind.kind == "Pod" => self.pod(deed, world),
            MANAGER | SCALE_MANAGER if !deed.old.as_ref().is_some_and(is_record) => self.effect(deed),
            _ if deed.key.kind.kind == "Secret" && deed.old.is_none() => self.record(deed, world),
            _ if deed.key.name.starts_with("maily-fence-") => self.fence(deed),
            _ => {}
        }
    }

    /// Sees a person's edit.
    pub(super) fn edited(&mut self, object: &Object, pointer: &str, of_release: bool) {
        self.note(&format!("a person edits {}", object.key()));
        let value = object.at(pointer).cloned().unwrap_or_default();
        self.edits.insert((object.key().clone(), pointer.to_owned()), (value, of_release));
    }

    /// Objects on which a person edited what a release sets.
    pub(super) fn edits(&self) -> impl Iterator<Item = &ObjectKey> {
        self.edits.iter().filter(|(_, (_, of_release))| *of_release).map(|((key, _), _)| key)
    }

    fn environment(object: &Object) -> String {
        object.label(ENVIRONMENT).unwrap_or_default().to_owned()
    }

    /// An effect on an object of the application.
    fn effect(&mut self, deed: &Deed<'_>) {
        let lost = self.edits.iter().any(|((key, pointer), (value, _))| {
            let has = |object: &Option<Object>| object.as_ref().and_then(|o| o.at(pointer)) == Some(value);
            key == deed.key && has(&deed.old) && !has(&deed.new)
        });
        if lost {
            let what = format!("{:?}: {} of {} loses a person's edit", deed.by, deed.operation, deed.key);
            self.violation("I10", what);
        }
        let Some(any) = deed.new.as_ref().or(deed.old.as_ref()) else { return };
        let environment = Self::environment(any);
        let held = self.held.get(&(deed.by, environment.clone())).copied();
        let epoch = deed.body.and_then(epoch_of).map(|epoch| epoch.0).or(held);
        let Some(epoch) = epoch else {
            return self.violation("I2", format!("{} without an epoch", deed.key));
        };
        self.behind_the_fence(deed, &environment, epoch);
        if let Some(uid) = deed.old.as_ref().and_then(Object::uid) {
            let newest = self.newest.get(uid).copied().unwrap_or_default();
            if epoch < newest {
                let what = format!(
                    "{:?}: {} of epoch {epoch} on {} after epoch {newest}",
                    deed.by, deed.operation, deed.key
                );
                self.violation("I2", what);
            }
        }
        if let Some(uid) = any.uid() {
            let newest = self.newest.entry(uid.to_owned()).or_default();
            *newest = epoch.max(*newest);
        }
        let Some(run) = self.claims.get(&(environment.clone(), epoch)).cloned() else {
            return self
                .violation("I3", format!("{}: epoch {epoch} of {environment} was never claimed", deed.key));
        };
        let stamp = deed.body.and_then(|body| body.annotation(STAMP)).map(str::to_owned);
        if let Some(problem) = self.books.get(&run).and_then(|book| book.covers(deed.key, stamp.as_deref())) {
            let (invariant, what) = problem;
            self.violation(invariant, format!("{:?} {} {}: {what}", deed.by, deed.operation, deed.key));
        }
        let book = self.books.get_mut(&run).filter(|_| !is_mark(deed));
        if let Some(what) = book.and_then(|book| book.not_captured(deed.key, deed.old.as_ref())) {
            self.violation("I4", format!("{:?} {} {}: {what}", deed.by, deed.operation, deed.key));
        }
    }

    /// A fence was installed, or opened.
    pub(super) fn fenced(&mut self, environment: &str, epoch: Option<u64>) {
        match epoch {
            Some(epoch) => self.fences.insert(environment.to_owned(), epoch),
            None => self.fences.remove(environment),
        };
    }

    /// A fence was raised.
    fn fence(&mut self, deed: &Deed<'_>) {
        let Some(object) = &deed.new else { return };
        let environment = Self::environment(object);
        let epoch: u64 = object.text("/data/epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default();
        let known = self.fences.entry(environment.clone()).or_default();
        let lowered = epoch < *known;
        *known = epoch;
        if lowered {
            self.violation("I2", format!("the fence of {environment} was lowered to {epoch}"));
        }
    }

    /// Behind a fence nothing older takes effect, not even a create, and nobody writes before he has raised it.
    fn behind_the_fence(&mut self, deed: &Deed<'_>, environment: &str, epoch: u64) {
        let Some(fence) = self.fences.get(environment).copied() else { return };
        if epoch > fence {
            self.violation(
                "I2",
                format!("{} of epoch {epoch} before the fence at {fence} was raised", deed.key),
            );
        }
        // Deletes are not judged, and a server that lags knows the epoch of the object alone.
        if epoch < fence && deed.new.is_some() && !deed.behind {
            self.violation("I2", format!("{} of epoch {epoch} past the fence at {fence}", deed.key));
        }
    }

    /// A record became durable.
    fn record(&mut self, deed: &Deed<'_>, world: &World) {
        let Some(object) = &deed.new else { return };
        let bytes = object.text("/data/record").and_then(|text| STANDARD.decode(text).ok());
        let (Some(key), Some(bytes)) = (object.annotation("maily.dev/key"), bytes) else { return };
        let environment = Self::environment(object);
        let Ok(bytes) = uncompressed(key, &bytes) else {
            return self.violation("I3", format!("{key} cannot be read"));
        };
        self.leaks(key, &String::from_utf8_lossy(&bytes));
        let parts: Vec<&str> = key.split('/').collect();
        match parts.as_slice() {
            ["epoch", number] => {
                let claim: Option<Claim> = unpack(key, &bytes).ok();
                if let (Ok(epoch), Some(claim)) = (number.parse(), claim) {
                    self.claims.insert((environment.clone(), epoch), claim.run.to_string());
                    self.held.insert((deed.by, environment), epoch);
                }
            }
            ["run", run, number] => match (number.parse(), unpack::<Segment<'_>>(key, &bytes)) {
                (Ok(number), Ok(segment)) => self.segment(run, number, segment, world),
                _ => self.violation("I3", format!("{key} cannot be read")),
            },
            _ => {}
        }
    }

    fn segment(&mut self, run: &str, number: u64, mut segment: Segment<'_>, world: &World) {
        let plan = segment.plan.take().map(Cow::into_owned);
        let planned = plan.is_some();
        if let (0, Some(plan)) = (number, plan) {
            let mut steps: BTreeMap<ObjectKey, Vec<StepId>> = BTreeMap::new();
            for step in &plan.steps {
                for change in step.work.changes() {
                    steps.entry(change.key.clone()).or_default().push(step.id.clone());
                }
            }
            let makes_job = |step: &&Step| matches!(step.work, Work::Job { .. });
            let jobs = plan.steps.iter().filter(makes_job).map(|step| step.id.clone()).collect();
            let state = RunState::new(plan);
            self.books.insert(run.to_owned(), Book::new(state, steps, jobs));
        }
        // Whoever comes next closes a run that has written nothing.
        let closes = |event: &JournalEvent| {
            matches!(event, JournalEvent::RunFinished { outcome: engine::Outcome::Cancelled { .. }, .. })
        };
        if number == 0 && !planned && segment.events.iter().any(closes) {
            return self.note(&format!("  {run} {} closed before it began", segment.epoch));
        }
        let Some(mut book) = self.books.remove(run) else {
            return self.violation("I3", format!("run {run} begins without a plan"));
        };
        if book.next != number {
            self.violation("I3", format!("run {run}: segment {number} follows segment {}", book.next));
        }
        book.next = number + 1;
        if segment.events.iter().any(|event| !matches!(event, JournalEvent::EpochClaimed { .. })) {
            self.went_on.insert(run.to_owned(), segment.epoch.0);
        }
        for event in segment.events.iter() {
            for (invariant, what) in book.breaks(event) {
                self.violation(invariant, format!("run {run}: {what}"));
            }
            let is_edited = |key: &ObjectKey| self.edits().any(|edited| edited == key);
            for what in book.not_serving(event, world, is_edited) {
                self.violation("I7", format!("run {run}: {what}"));
            }
            if matches!(event, JournalEvent::StepApplied { .. } | JournalEvent::Undone { .. }) {
                self.steps += 1;
            }
            self.verdicts += u32::from(matches!(event, JournalEvent::GateDecided { .. }));
            let line = format!("  {run} {} {}", segment.epoch, name(event));
            self.note(&line);
            match event {
                // A gate whose verdict was too old is passed once more.
                JournalEvent::StepStarted { step, .. } if book.verdicts.remove(step).is_some() => {
                    book.told.remove(&(step.clone(), "applied"));
                }
                JournalEvent::GateDecided { step, verdict, .. } => {
                    book.verdicts.insert(step.clone(), verdict.clone());
                }
                _ => {}
            }
            book.state.fold(segment.epoch, event);
        }
        self.books.insert(run.to_owned(), book);
    }

    /// Sees what the world made of itself since a version.
    pub(super) fn saw(&mut self, world: &World, since: u64) {
        self.now = world.now;
        for change in world.changes(since) {
            if change.object.kind() != "Deployment" {
                continue;
            }
            let key = change.object.key();
            let available = change.object.int("/status/availableReplicas").unwrap_or_default();
            if change.deleted || change.object.int("/spec/replicas") == Some(0) {
                self.serving.remove(key);
            } else if available > 0 {
                self.serving.insert(key.clone());
            } else if self.serving.remove(key) {
                self.violation("I7", format!("{key} has no available replica any more"));
            }
        }
    }

    /// Hears what a listener is told.
    pub fn hears(&mut self, by: Participant, event: &Event) {
        let text = serde_json::to_string(&event.what).unwrap_or_default();
        self.leaks("an event", &text);
        self.note(&format!("{by:?} tells{} {text}", if event.replayed { " again" } else { "" }));
        let (step, end) = match &event.what {
            What::StepApplied { step, .. } => (step, "applied"),
            What::StepFailed { step, .. } => (step, "failed"),
            What::Undone { step } => (step, "undone"),
            _ => return,
        };
        let Some(book) = self.books.get_mut(event.run.as_str()) else {
            return self.violation("I13", format!("{step} of an unknown run is told"));
        };
        if event.replayed {
            return;
        }
        let count = book.told.entry((step.clone(), end)).or_default();
        *count += 1;
        let often = *count > 1 && end != "failed";
        let known = match (&book.state.of(step).map(|state| &state.progress), end) {
            (Some(Progress::Undone), _) => true,
            (Some(Progress::Applied), "applied") | (Some(Progress::Failed(_)), "failed") => true,
            // It has gone on since it was committed.
            (Some(Progress::Undoing | Progress::UndoFailed(..)), "applied" | "failed") => true,
            _ => false,
        };
        if often {
            self.violation("I13", format!("{step} is told to be {end} again"));
        }
        if !known {
            self.violation("I13", format!("{step} is told to be {end}, and the journal does not say so"));
        }
    }

    /// Looks for planted secrets.
    pub fn leaks(&mut self, place: &str, text: &str) {
        let found = self.secrets.iter().any(|secret| text.contains(secret.as_str()));
        if found {
            self.violation("I11", format!("{place} holds a secret"));
        }
    }

    /// Whether an epoch of an environment is its highest, and this participant's claim.
    pub(super) fn holds_alone(&self, by: Participant, environment: &str, epoch: u64) -> bool {
        if self.held.get(&(by, environment.to_owned())) != Some(&epoch) {
            return false;
        }
        let claims = self.claims.range((environment.to_owned(), 0)..=(environment.to_owned(), u64::MAX));
        claims.last().is_some_and(|((_, last), _)| *last == epoch)
    }

    /// Whether nobody has claimed an environment since a run's last claim.
    pub(super) fn is_newest(&self, environment: &str, run: &str) -> bool {
        let claims = self.claims.range((environment.to_owned(), 0)..=(environment.to_owned(), u64::MAX));
        claims.last().is_some_and(|(_, last)| last == run)
    }

    /// Whether a run has ended in success; `None` where it is none that was seen.
    pub(super) fn has_succeeded(&self, run: &str) -> Option<bool> {
        let succeeded =
            |(outcome, _): &(engine::Outcome, _)| matches!(outcome, engine::Outcome::Succeeded { .. });
        self.books.get(run).map(|book| book.state.finished.as_ref().is_some_and(succeeded))
    }

    /// Runs whose journal does not say how they ended.
    pub fn unfinished(&self) -> Vec<&str> {
        let open = self.books.iter().filter(|(_, book)| book.state.finished.is_none());
        open.map(|(run, _)| run.as_str()).collect()
    }
}

/// Whether a write only marks an object that is there: a takeover does so before it changes anything.
fn is_mark(deed: &Deed<'_>) -> bool {
    let marks = |body: &Object| {
        body.body().iter().all(|(field, _)| matches!(field.as_str(), "apiVersion" | "kind" | "metadata"))
    };
    deed.old.is_some() && deed.body.is_some_and(marks)
}

fn is_record(object: &Object) -> bool {
    object.text("/type") == Some("maily.dev/record")
}

/// The key of a record, and the segment of a journal in it.
pub(super) fn segment_of(object: &Object) -> Option<(String, Segment<'static>)> {
    let key = object.annotation("maily.dev/key").filter(|key| key.starts_with("run/"))?;
    let bytes = STANDARD.decode(object.text("/data/record")?).ok()?;
    Some((key.to_owned(), unpack(key, &bytes).ok()?))
}

fn name(event: &JournalEvent) -> String {
    match event {
        JournalEvent::RunStarted { .. } => "begins".to_owned(),
        JournalEvent::EpochClaimed { epoch, by, .. } => format!("epoch {epoch} claimed by {by}"),
        JournalEvent::StepStarted { step, .. } => format!("{step} started"),
        JournalEvent::StepApplied { step, .. } => format!("{step} applied"),
        JournalEvent::StepFailed { step, failure, .. } => format!("{step} failed: {}", failure.cause),
        JournalEvent::Turned { why, .. } => format!("turned: {}", why.cause),
        JournalEvent::UndoStarted { step, .. } => format!("{step} undo started"),
        JournalEvent::Undone { step, .. } => format!("{step} undone"),
        JournalEvent::UndoFailed { step, failure, .. } => {
            format!("{step} undo failed: {}: {}", failure.cause, failure.message)
        }
        JournalEvent::GateDecided { step, verdict, .. } => format!("{step} {verdict}"),
        JournalEvent::Paused { why, .. } => format!("paused: {why}"),
        JournalEvent::RunFinished { outcome, .. } => format!("finished: {outcome:?}"),
    }
}
