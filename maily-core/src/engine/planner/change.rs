//! One object: what is wanted against what was observed.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    adopted::deployers,
    conflict::is_held,
    problem::{PlanProblem, Taken},
    replace::{meaning, replaced_fields},
    volumes::{claims_of, go_with_it},
    wanted::PlanOptions,
};
use crate::{
    engine::{
        Before, Change, ENVIRONMENT, EPOCH, Epoch, FieldChange, Kept, MANAGER, Note, Operation, PROJECT,
        RunId, SUSPEND, Sealer, belongs_to, compared, difference, digest_of_all, edited, foreign_labels,
        history::{Release, Released},
        is_beyond_any_epoch, left_over, object_digest, strip_bookkeeping, told, without_bookkeeping,
    },
    object::{FieldSet, Object, ObjectKey, ObjectKind, atomics, covers},
    provider::ClusterIdentity,
    rollout::serves,
};

/// What was read before planning.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The cluster.
    pub identity: Option<ClusterIdentity>,
    /// Live objects of the kinds that matter.
    pub objects: BTreeMap<ObjectKey, Object>,
    /// The same in the version in which the last release has them, where that is another one and served still.
    pub released: BTreeMap<ObjectKey, Object>,
    /// Kinds, of the last release or of what a plan leaves as it is, that the cluster does not serve any more.
    pub unserved: BTreeSet<ObjectKind>,
    /// Autoscalers of the namespaces in which wanted workloads run, whoever made them; none where they may not be
    /// listed.
    pub autoscalers: Option<Vec<Object>>,
    /// ConfigMaps and Secrets that pods refer to, and that neither the plan brings nor the cluster has.
    pub missing: BTreeSet<ObjectKey>,
    /// Those of which nobody may look whether the cluster has them.
    pub unseen: BTreeSet<ObjectKey>,
    /// Claims that are there, or may not be looked for, of pods that a StatefulSet gets and that a way back takes along.
    pub claims: BTreeSet<ObjectKey>,
    /// What a run has made that was ended as it was, and no release has; with its service.
    pub left: BTreeMap<ObjectKey, Option<String>>,
    /// What a run had added to objects that was ended as it was, and no release has.
    pub added: BTreeMap<ObjectKey, FieldSet>,
    /// What it had set otherwise than it was, and no release sets: as it was.
    pub written_over: BTreeMap<ObjectKey, Object>,
    /// The run by which, and the epoch in which, the release in force was made.
    pub since: Option<(RunId, Epoch)>,
    /// What the server would make of the wanted objects, where it was asked.
    pub dry_runs: BTreeMap<ObjectKey, DryRun>,
    /// Somebody reads the plan before it is carried out: it holds for exactly what was observed.
    pub closely: bool,
}

impl Observed {
    /// By which run and in which epoch the release in force was made.
    pub(super) fn since(&self) -> Option<(&RunId, Epoch)> {
        self.since.as_ref().map(|(run, epoch)| (run, *epoch))
    }
}

/// Answer to a dry run.
#[derive(Clone, Debug)]
pub enum DryRun {
    /// The object as it would become.
    Would(Box<Object>),
    /// It is refused because a field cannot be changed in place.
    Immutable(String),
    /// It is refused.
    Refused(String),
}

/// What one object comes to.
pub(super) enum Verdict {
    /// It is as wanted.
    Keep(Kept),
    /// It changes.
    Change(Box<Change>),
}

pub(super) struct Comparison<'a> {
    pub(super) project: &'a str,
    pub(super) environment: &'a str,
    pub(super) namespace: &'a str,
    pub(super) observed: &'a Observed,
    pub(super) base: Option<&'a Release>,
    pub(super) sealer: &'a Sealer,
    pub(super) options: &'a PlanOptions,
    /// Workloads whose replicas an autoscaler sets.
    pub(super) scaled: &'a Scaled,
    /// Whether a release of before is brought back.
    pub(super) goes_back: bool,
    pub(super) notes: Vec<Note>,
    pub(super) problems: Vec<PlanProblem>,
}

pub(super) const REPLICAS: [&str; 2] = ["spec", "replicas"];

/// Whether a workload is to have no pods.
pub(super) fn is_stopped(live: &Object) -> bool {
    matches!(live.kind(), "Deployment" | "StatefulSet") && live.int("/spec/replicas") == Some(0)
}

/// Kind and name of what autoscalers scale, with the fewest replicas that they leave.
pub(super) type Scaled = BTreeMap<(String, String), i64>;

/// The fewest replicas that an autoscaler leaves a workload; none where none scales it.
fn least(object: &Object, scaled: &Scaled) -> Option<i64> {
    scaled.get(&(object.kind().to_owned(), object.name().to_owned())).copied()
}

/// A wanted object as releases have it: Secrets sealed, and without the replicas that an autoscaler sets.
pub(super) fn settled(wanted: &Object, sealer: &Sealer, scaled: &Scaled) -> Object {
    let mut desired = sealer.seal(wanted);
    strip_bookkeeping(&mut desired);
    if least(&desired, scaled).is_some() {
        desired.edit(|body| {
            if let Some(spec) = body.get_mut("spec").and_then(|spec| spec.as_object_mut()) {
                spec.remove("replicas");
            }
        });
    }
    desired
}

/// A workload with the number of pods that it keeps.
fn with_number(mut object: Object, number: Option<i64>) -> Object {
    if let Some(number) = number {
        object.edit(|body| body["spec"]["replicas"] = number.into());
    }
    object
}

/// Whether an object is just as a release with the same wish has left it: nothing of it is written, but labels that are
/// gone.
pub(super) fn is_in_force(known: &Released, desired: &Object, fingerprint: &str) -> bool {
    known.desired == *desired && known.fingerprint.as_deref() == Some(fingerprint)
}

impl Comparison<'_> {
    /// Whether an autoscaler sets the replicas of a workload.
    pub(super) fn is_scaled(&self, object: &Object) -> bool {
        least(object, self.scaled).is_some()
    }

    /// Compares a wanted object; `None` where a problem was noted.
    pub(super) fn wanted(&mut self, service: Option<&str>, desired: &Object) -> Option<Verdict> {
        let number = self.keeps_number(desired);
        let verdict = self.verdict(service, desired, number)?;
        if let Some(live) = self.observed.objects.get(desired.key()) {
            self.note_beside(live, &verdict);
        }
        Some(verdict)
    }

    fn verdict(&mut self, service: Option<&str>, desired: &Object, number: Option<i64>) -> Option<Verdict> {
        let key = desired.key().clone();
        let asked = desired.int("/spec/replicas").unwrap_or_default();
        let desired = with_number(settled(desired, self.sealer, self.scaled), number);
        let least = least(&desired, self.scaled);
        let scaled = least.is_some();
        // An autoscaler leaves alone what has no pods, and takes its time: it gets as many as it would leave.
        let first = least.map(|least| asked.max(least).max(1));
        let Some(live) = self.observed.objects.get(&key) else {
            if let Some(DryRun::Refused(message)) = self.observed.dry_runs.get(&key) {
                self.problems.push(PlanProblem::Refused { key, message: message.clone() });
                return None;
            }
            if let Some(fingerprint) = self.ended(&key, &desired) {
                let service = service.map(str::to_owned);
                return Some(Verdict::Keep(Kept { service, desired, fingerprint, all: None }));
            }
            let fields = Vec::new();
            return Some(Verdict::Change(Box::new(Change {
                key,
                operation: Operation::Create,
                before: None,
                desired: Some(desired),
                migrate: BTreeSet::new(),
                // The server itself makes one.
                hand_over_replicas: first.filter(|replicas| *replicas > 1),
                fields,
            })));
        };
        if live.is_terminating() {
            self.problems.push(PlanProblem::Terminating { key });
            return None;
        }
        if !self.may_own(live) {
            return None;
        }
        if self.is_out_of_reach(live) {
            return None;
        }
        let known = self.base.and_then(|base| base.objects.get(&key));
        let adopted = live.label(PROJECT).is_none();
        let migrate = if adopted { deployers(live) } else { BTreeSet::new() };
        let owned = FieldSet::owned_by(live, |manager| manager == MANAGER || migrate.contains(manager));
        let set = compared(&desired);
        let mut owned = without_bookkeeping(owned);
        let unsuspended = desired.is_suspended().then(|| set.project(&desired));
        if unsuspended.is_some() {
            owned = owned.without(&SUSPEND);
        }
        let aim = unsuspended.as_ref().unwrap_or(&desired);
        let owned_only = owned.difference(&set);
        let mut scope = set.union(&owned);
        if scaled {
            scope = scope.without(&REPLICAS);
        }
        let before = self.view(live, &scope);
        // Of most objects we own what the release sets, and both looks are one.
        let fingerprint = object_digest(&if scope == set { before.clone() } else { self.view(live, &set) });
        let labels = foreign_labels(live, self.project, self.environment, self.namespace);
        let labelled = labels.is_empty();
        if !adopted {
            self.notes.extend(labels.into_iter().map(|(label, now)| {
                let text = format!("{key}: its label {label} is {now}: it is written again");
                Note { topic: "label".into(), text }
            }));
        }
        let added = self.observed.added.get(&key);
        let is_clean = labelled && left_over(live, &desired, added).is_empty();
        if is_clean && known.is_some_and(|known| is_in_force(known, &desired, &fingerprint)) {
            return Some(self.keep(service, live, desired, fingerprint));
        }
        let as_released = known.map(|known| self.is_as_released(live, known, &set, &fingerprint));
        // Nor is that known of what cannot be read as the release has it: it may be a person's, field by field.
        let otherwise = known.filter(|_| as_released != Some(Some(true)));
        let is_told = |known: &&Released| as_released.flatten().is_some() && known.fingerprint.is_some();
        if let Some(known) = otherwise.filter(is_told) {
            self.note_drift(live, &known.desired);
        }
        let dry_run = self.observed.dry_runs.get(&key);
        let after = match dry_run {
            Some(DryRun::Would(object)) => Some(with_number(self.view(object, &scope), number)),
            Some(DryRun::Refused(_) | DryRun::Immutable(_)) | None => None,
        };
        let mut frozen = replaced_fields(&before, aim, after.as_ref());
        // What cannot be changed in place servers refuse in many words.
        if let (true, Some(DryRun::Refused(message))) = (frozen.is_empty(), dry_run) {
            self.problems.push(PlanProblem::Refused { key, message: message.clone() });
            return None;
        }
        let unchanged = match &after {
            Some(after) => *after == before,
            None => {
                let released = known.filter(|known| known.fingerprint.as_deref() == Some(&*fingerprint));
                owned_only.is_empty()
                    && is_as_wanted(&before, aim, released.map(|known| &known.desired), &owned)
            }
        };
        let hand_over = scaled && owned.contains(&REPLICAS);
        // That there are none was our own doing.
        let stopped = hand_over && is_stopped(live);
        let now = live.int("/spec/replicas").map(|now| now.max(least.unwrap_or(now)));
        let kept = if stopped { first } else { now };
        if unchanged && labelled && !stopped {
            return Some(self.keep(service, live, desired, fingerprint));
        }
        if let (true, Some(DryRun::Immutable(message))) =
            (frozen.is_empty(), self.observed.dry_runs.get(&key))
        {
            frozen.push(message.clone());
        }
        if !frozen.is_empty() {
            let fields = fields(&before, None, aim, &owned_only);
            let begins = least.and(if is_stopped(live) { first } else { now.or(first) });
            return self.replace(key, live, desired, frozen, fields, begins);
        }
        let wanted = after.as_ref().unwrap_or(aim);
        let mut conflicts = self.conflicts(live, wanted, &migrate, known, otherwise.is_none());
        conflicts.extend(otherwise.and_then(|known| self.nobodys(live, wanted, known)));
        if is_held(live, &desired) {
            conflicts.push(PlanProblem::Paused { key: key.clone() });
        }
        if !conflicts.is_empty() {
            self.problems.extend(conflicts);
            return None;
        }
        self.note_claims(&before, live, wanted);
        let fields = fields(&before, after.as_ref(), aim, &owned_only);
        let operation = if adopted { Operation::Adopt } else { Operation::Update };
        let found = if scope == set { fingerprint } else { object_digest(&before) };
        let mut before = self.before(live, before, found);
        if stopped {
            // Who goes back stops it again.
            before.object.edit(|body| body["spec"]["replicas"] = 0.into());
        }
        Some(Verdict::Change(Box::new(Change {
            operation,
            before: Some(before),
            desired: Some(desired),
            migrate,
            hand_over_replicas: kept.filter(|_| hand_over),
            fields,
            key,
        })))
    }

    /// The fingerprint of a Job that goes by itself after its end, and is not there: a release has waited for that end,
    /// and whoever made it again would run it a second time.
    fn ended(&self, key: &ObjectKey, desired: &Object) -> Option<String> {
        let known = self.base?.objects.get(key).filter(|known| known.desired == *desired)?;
        if !desired.goes_by_itself() {
            return None;
        }
        known.fingerprint.clone()
    }

    /// The deletion of an object of the last release; `None` where it is gone already or must stay.
    pub(super) fn unwanted(&mut self, key: &ObjectKey) -> Option<Change> {
        let Some(live) = self.observed.objects.get(key) else {
            self.note_unserved(key, "nothing of it is deleted");
            return None;
        };
        if live.is_terminating() {
            return None;
        }
        if self.is_ours(live) && self.is_out_of_reach(live) {
            return None;
        }
        // What lost our labels, or got somebody else's, is not ours any more.
        if !self.is_ours(live) {
            let text =
                format!("{key} was in the last release but does not carry our labels any more: it stays");
            self.notes.push(Note { topic: "kept".into(), text });
            return None;
        }
        if holds_data(key) {
            let text =
                format!("{key} is no longer in this release, but holds data: it stays; delete it by hand");
            self.notes.push(Note { topic: "kept".into(), text });
            return None;
        }
        if is_to_be_kept(live) {
            let text = format!(
                "{key} is no longer in this release, but says `{KEPT_BY_HELM}: keep`: it stays; delete it by hand"
            );
            self.notes.push(Note { topic: "kept".into(), text });
            return None;
        }
        if let Some(claims) = claims_of(live) {
            if go_with_it(live) {
                let how = Taken::Deleted;
                self.problems.push(PlanProblem::TakesClaims { key: key.clone(), claims, how });
                return None;
            }
            let text = format!("claims of {key} hold data and stay: {claims}; delete them by hand");
            self.notes.push(Note { topic: "kept".into(), text });
        }
        // In the version in which it was found.
        Some(self.delete(live.key().clone(), live))
    }

    /// Says that nothing is known of what a release has, because its kind is not served any more.
    pub(super) fn note_unserved(&mut self, key: &ObjectKey, what: &str) {
        if self.observed.unserved.contains(&key.kind) {
            let text = format!(
                "{key} cannot be looked at: the cluster does not serve its kind ({}) any more, and {what}",
                key.kind.api_version
            );
            self.notes.push(Note { topic: "unserved".into(), text });
        }
    }

    /// Whether an object carries the labels of this project and environment.
    pub(super) fn is_ours(&self, live: &Object) -> bool {
        belongs_to(live, self.project, self.environment)
    }

    fn delete(&self, key: ObjectKey, live: &Object) -> Change {
        Change {
            operation: Operation::Delete,
            before: Some(self.whole(live, live.is_suspended().then_some(SUSPEND))),
            desired: None,
            migrate: BTreeSet::new(),
            hand_over_replicas: None,
            fields: Vec::new(),
            key,
        }
    }

    /// An object that is made again; where an autoscaler scales it, with the number with which it begins.
    fn replace(
        &mut self,
        key: ObjectKey,
        live: &Object,
        desired: Object,
        frozen: Vec<String>,
        fields: Vec<FieldChange>,
        begins: Option<i64>,
    ) -> Option<Verdict> {
        if holds_data(&key) {
            self.problems.push(PlanProblem::HoldsData { key, fields: frozen.join(", ") });
            return None;
        }
        // Of what is made anew under the same policy a way back would take the claims as well.
        if let Some(claims) = claims_of(live).filter(|_| go_with_it(live) || go_with_it(&desired)) {
            let how = if go_with_it(live) { Taken::MadeAgain } else { Taken::MadeSo };
            self.problems.push(PlanProblem::TakesClaims { key, claims, how });
            return None;
        }
        let means = meaning(live, &desired);
        if !self.options.replace.contains(&key.short()) {
            self.problems.push(PlanProblem::Replace { key, fields: frozen.join(", "), means });
            return None;
        }
        let text = format!("{key} is deleted and made again: {means}");
        self.notes.push(Note { topic: "replace".into(), text });
        let of_suspended = live.is_suspended() || desired.is_suspended();
        let but = begins.map(|_| REPLICAS).or(of_suspended.then_some(SUSPEND));
        let before = self.whole(live, but);
        Some(Verdict::Change(Box::new(Change {
            operation: Operation::Replace,
            before: Some(before),
            desired: Some(desired),
            migrate: BTreeSet::new(),
            hand_over_replicas: begins,
            fields,
            key,
        })))
    }

    /// All of an object that can be written again. One field does not count where others may change it at any moment: a
    /// number of replicas that an autoscaler sets, or whether a Job is suspended that somebody may let run.
    fn whole(&self, live: &Object, but: Option<[&str; 2]>) -> Before {
        let mut object = self.sealer.seal(&live.clone().without_server_fields());
        strip_bookkeeping(&mut object);
        // What is null is no field of it: a server has no rules as `rules: null`.
        let mut scope = FieldSet::of(&object);
        if let Some(field) = but {
            scope = scope.without(&field);
        }
        let fingerprint = object_digest(&scope.project(&object));
        self.before(live, object, fingerprint)
    }

    /// What was found of an object, of which `object` is the part that counts.
    fn before(&self, live: &Object, object: Object, fingerprint: String) -> Before {
        Before {
            uid: live.uid().unwrap_or_default().to_owned(),
            fingerprint,
            object,
            all: self.all(live),
            served: serves(live),
            adopted: live.label(PROJECT).is_none(),
        }
    }

    fn keep(&self, service: Option<&str>, live: &Object, desired: Object, fingerprint: String) -> Verdict {
        Verdict::Keep(Kept { service: service.map(str::to_owned), desired, fingerprint, all: self.all(live) })
    }

    /// Digest of all that is set on an object.
    pub(super) fn all(&self, live: &Object) -> Option<String> {
        self.observed.closely.then(|| digest_of_all(self.sealer, live))
    }

    pub(super) fn view(&self, live: &Object, scope: &FieldSet) -> Object {
        self.sealer.view(live, scope)
    }

    /// Whether an object carries an epoch above which no run can write.
    fn is_out_of_reach(&mut self, live: &Object) -> bool {
        let beyond = is_beyond_any_epoch(live);
        if beyond {
            let epoch = live.annotation(EPOCH).unwrap_or_default().to_owned();
            self.problems.push(PlanProblem::BeyondAnyEpoch { key: live.key().clone(), epoch });
        }
        beyond
    }

    fn may_own(&mut self, live: &Object) -> bool {
        let (project, environment) = (live.label(PROJECT), live.label(ENVIRONMENT));
        let ours =
            project.is_none_or(|p| p == self.project) && environment.is_none_or(|e| e == self.environment);
        if !ours {
            let owner = format!(
                "project `{}`, environment `{}`",
                project.unwrap_or("unknown"),
                environment.unwrap_or("unknown")
            );
            self.problems.push(PlanProblem::Owned { key: live.key().clone(), owner });
        }
        ours
    }

    /// Whether an object is as the release has left it; given what a release would set, and the fingerprint of that. `None`
    /// where it cannot be read as the release has it: of all of it nothing is known, and nothing is told.
    fn is_as_released(
        &self,
        live: &Object,
        known: &Released,
        set: &FieldSet,
        fingerprint: &String,
    ) -> Option<bool> {
        let then = self.as_then(live, &known.desired)?;
        let known_set = compared(&known.desired);
        // Most releases set what the one before it set, and one look tells of both.
        let is_other = known_set != *set || live.key().kind != known.desired.key().kind;
        let anew = is_other.then(|| object_digest(&self.view(then, &known_set)));
        Some(known.fingerprint.as_ref() == Some(anew.as_ref().unwrap_or(fingerprint)))
    }

    /// A live object in the version in which a release has it.
    fn as_then<'a>(&'a self, live: &'a Object, released: &Object) -> Option<&'a Object> {
        if live.key().kind == released.key().kind {
            return Some(live);
        }
        self.observed.released.get(live.key())
    }

    fn note_drift(&mut self, live: &Object, released: &Object) {
        let live = self.as_then(live, released).unwrap_or(live).clone();
        let live = &live;
        let now = self.view(live, &compared(released));
        let (fields, by) = edited(self.sealer, live, released, &now, self.observed.since());
        let fields: Vec<String> = fields.iter().take(3).map(told).collect();
        let what = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
        let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
        let text = format!("{} was changed since the last release{by}{what}", live.key());
        self.notes.push(Note { topic: "drift".into(), text });
    }
}

/// What changes, as far as is known: from the dry run, or else from what is wanted.
fn fields(before: &Object, after: Option<&Object>, desired: &Object, removed: &FieldSet) -> Vec<FieldChange> {
    if let Some(after) = after {
        return difference(before, after);
    }
    // Without a dry run defaults of the server look like removals: tell of what we set or give up alone.
    let mut fields = difference(before, desired);
    fields.retain(|field| field.to.is_some());
    let mut without = before.to_value();
    removed.prune(&compared(desired), &mut without);
    let without = Object::from_value(without).unwrap_or_else(|_| before.clone());
    fields.extend(difference(before, &without));
    fields
}

/// Whether everything that is wanted is there, as far as is told without the server. It adds defaults, also inside of what
/// is replaced as a whole, where a key more may as well be one that is not wanted any more: such a value has to be what is
/// wanted, or what a release has asked for that the server has answered with all that is there now.
fn is_as_wanted(live: &Object, desired: &Object, released: Option<&Object>, owned: &FieldSet) -> bool {
    let covered = desired
        .body()
        .iter()
        .filter(|(key, _)| *key != "apiVersion")
        .all(|(key, wanted)| live.body().get(key).is_some_and(|found| covers(found, wanted)));
    if !covered {
        return false;
    }
    let found = atomics(live, owned);
    let released = released.map(|released| atomics(released, owned)).unwrap_or_default();
    atomics(desired, owned)
        .iter()
        .all(|(place, wanted)| found.get(place) == Some(wanted) || released.get(place) == Some(wanted))
}

/// Where charts say what helm leaves in place.
const KEPT_BY_HELM: &str = "helm.sh/resource-policy";

/// Whether an object says that it stays, whatever becomes of its release. As helm reads it.
pub(crate) fn is_to_be_kept(object: &Object) -> bool {
    object.annotation(KEPT_BY_HELM).is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"))
}

/// What no plan deletes, be it to make it again.
pub(crate) fn holds_data(key: &ObjectKey) -> bool {
    matches!(
        key.kind.kind.as_str(),
        "PersistentVolumeClaim" | "PersistentVolume" | "Namespace" | "CustomResourceDefinition"
    )
}
