//! What the records say of an environment: who holds it, what is released, what is unfinished.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Change, Claim, Epoch, Left, Operation, Outcome, Plan, ReleaseId, RunId, Stuck,
    epoch::{claim_of, claimed},
    journal::{self, JournalError, JournalEvent, Recorded, ReleaseHead, pack, unpack},
};
use crate::{
    object::{FieldSet, Object, ObjectKey},
    planted::{Defect, is_planted},
    provider::{ClusterIdentity, RecordStore},
    run::compared,
};

/// Version of the release record's format.
const RELEASE_FORMAT: u32 = 1;

/// A release with everything needed to have it again.
#[derive(Clone, Debug)]
pub struct Release {
    /// The project.
    pub project: String,
    /// The run that made it.
    pub run: RunId,
    /// Its short form.
    pub head: ReleaseHead,
    /// Its objects, Secrets sealed.
    pub objects: BTreeMap<ObjectKey, Released>,
    /// What a run before it had left, and it has not taken away.
    pub left: Vec<Left>,
}

/// An object of a release.
#[derive(Clone, Debug)]
pub struct Released {
    /// The service; none where it is shared.
    pub service: Option<String>,
    /// As it was wanted.
    pub desired: Object,
    /// Fingerprint of what the server made of it.
    pub fingerprint: Option<String>,
}

/// The record of a release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReleaseRecord {
    format: u32,
    run: RunId,
    pub(super) epoch: Epoch,
    pub(super) head: ReleaseHead,
}

/// A run that has not ended.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The last claim on it.
    pub claim: Claim,
    /// Its journal.
    pub recorded: Recorded,
}

/// The state of an environment's records.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The cluster that they were read from, where it was seen to be the one that the environment is bound to.
    pub cluster: Option<ClusterIdentity>,
    /// The highest epoch claimed.
    pub epoch: Option<Epoch>,
    /// The releases on record, ascending.
    pub releases: Vec<ReleaseId>,
    /// The release in force.
    pub release: Option<(RunId, ReleaseHead)>,
    /// The epoch in which that one was made.
    pub release_epoch: Option<Epoch>,
    /// The run that has to be resumed or aborted first.
    pub unfinished: Option<Unfinished>,
    /// The last run, where it has ended and made no release.
    pub ended: Option<Recorded>,
    /// The last one before it that had a plan, where it has none itself.
    pub planned: Option<Recorded>,
    /// Runs that claimed the environment and have written nothing yet: whoever comes next closes them first.
    pub pending: Vec<RunId>,
}

impl Head {
    /// By which run and in which epoch the release in force was made.
    pub(crate) fn made(&self) -> Option<(&RunId, Epoch)> {
        self.release.as_ref().map(|(run, _)| run).zip(self.release_epoch)
    }

    /// The plan of the last run that had one, where no run since has made a release.
    fn last_plan(&self) -> Option<&Plan> {
        [&self.ended, &self.planned].into_iter().flatten().find_map(|run| run.plan.as_ref())
    }
}

fn release_key(id: ReleaseId) -> String {
    format!("release/{:09}", id.0)
}

/// Reads the state of an environment; writes down a release whose run was seen to end but whose record is missing, where
/// that is allowed.
///
/// # Errors
/// When the records cannot be read.
pub async fn head(records: &dyn RecordStore) -> Result<Head, JournalError> {
    match read_head(records).await? {
        (head, None) => Ok(head),
        (_, Some(damage)) => Err(damage),
    }
}

/// The same as far as it can be read; with what is damaged, and counts as not there.
pub(crate) async fn read_head(
    records: &dyn RecordStore,
) -> Result<(Head, Option<JournalError>), JournalError> {
    let mut damage = None;
    let (epochs, releases) = futures::future::try_join(claimed(records), list_releases(records)).await?;
    let mut head = Head { epoch: epochs.last().copied(), releases, ..Head::default() };
    let known = |head: &Head| head.release.as_ref().map(|(_, release)| release.id);
    if let Some(id) = head.releases.last()
        && let Some(record) = forgive(read_release(records, *id).await, &mut damage)?
    {
        head.release_epoch = Some(record.epoch);
        head.release = Some((record.run, record.head));
    }
    let last_epoch = head.release_epoch;
    // Only the run of the highest epoch that has a journal can be unfinished: nobody starts a run beside one. Each says
    // from which release it began: one that is not on record was made by a run before it.
    for epoch in epochs.iter().rev() {
        if last_epoch == Some(*epoch) {
            break;
        }
        let claim = match claim_of(records, *epoch).await {
            // Whose run it was, and whether that has ended, is not known.
            Err(error @ JournalError::Damaged { .. }) => {
                damage = Some(error);
                break;
            }
            claim => claim?,
        };
        let Some(claim) = claim else { continue };
        let read = journal::read(records, &claim.run).await;
        if let Err(JournalError::Damaged { .. }) = &read {
            damage = read.err();
            break;
        }
        let Some(recorded) = read? else {
            head.pending.push(claim.run);
            continue;
        };
        if recorded.ended_before(*epoch) {
            continue;
        }
        match recorded.outcome() {
            None => {
                let base = recorded.plan.as_ref().and_then(|plan| plan.base);
                head.unfinished.get_or_insert(Unfinished { claim, recorded });
                if base > known(&head) {
                    continue;
                }
            }
            Some((Outcome::Succeeded { .. }, Some(_))) if is_planted(Defect::ReleaseNotDerived) => {}
            Some((Outcome::Succeeded { .. }, Some(release))) => {
                if head.release.as_ref().is_none_or(|(_, known)| known.id < release.id) {
                    write_down(records, &claim.run, *epoch, release).await?;
                    if !head.releases.contains(&release.id) {
                        head.releases.push(release.id);
                    }
                    head.release = Some((claim.run.clone(), release.clone()));
                    head.release_epoch = Some(*epoch);
                }
            }
            Some(_) => {
                let base = recorded.plan.as_ref().map(|plan| plan.base);
                match &head.ended {
                    _ if head.unfinished.is_some() => {}
                    None => head.ended = Some(recorded),
                    Some(last) if last.plan.is_none() && base.is_some() => {
                        head.planned.get_or_insert(recorded);
                    }
                    Some(_) => {}
                }
                if base.is_none_or(|base| base > known(&head)) {
                    continue;
                }
            }
        }
        break;
    }
    Ok((head, damage))
}

/// What is damaged is as if it were not there, and is told.
fn forgive<T>(
    read: Result<Option<T>, JournalError>,
    damage: &mut Option<JournalError>,
) -> Result<Option<T>, JournalError> {
    match read {
        Err(error @ JournalError::Damaged { .. }) => {
            damage.get_or_insert(error);
            Ok(None)
        }
        read => read,
    }
}

/// Releases, ascending; with the short form and the run of those that were only just derived from the journals.
pub(crate) type Restored = (Vec<ReleaseId>, BTreeMap<ReleaseId, (RunId, ReleaseHead)>);

/// Writes down again what is missing among the releases before the one in force, where the journals of their runs are
/// there; answers all that there are then. What retention forgot has no journal any more.
///
/// # Errors
/// When the records cannot be read.
pub(crate) async fn restore_releases(
    records: &dyn RecordStore,
    in_force: Option<ReleaseId>,
) -> Result<Restored, JournalError> {
    let mut derived = BTreeMap::new();
    let mut releases = list_releases(records).await?;
    // Who may only read knows of it, and its record is missing all the same.
    releases.extend(in_force.filter(|id| !releases.contains(id)));
    if (1..).zip(&releases).all(|(expected, found)| expected == found.0) {
        return Ok((releases, derived));
    }
    let mut known = BTreeSet::new();
    for id in &releases {
        let record = forgive(read_release(records, *id).await, &mut None)?;
        known.extend(record.map(|record| record.epoch));
    }
    for epoch in claimed(records).await?.into_iter().filter(|epoch| !known.contains(epoch)) {
        let Some(claim) = forgive(claim_of(records, epoch).await, &mut None)? else { continue };
        let recorded = match journal::read(records, &claim.run).await {
            Ok(Some(recorded)) => recorded,
            Ok(None) | Err(JournalError::Damaged { .. }) => continue,
            Err(error) => return Err(error),
        };
        let Some((Outcome::Succeeded { .. }, Some(release))) = recorded.outcome() else { continue };
        if !releases.contains(&release.id) {
            write_down(records, &claim.run, epoch, release).await?;
            releases.push(release.id);
            derived.insert(release.id, (claim.run, release.clone()));
        }
    }
    releases.sort_unstable();
    Ok((releases, derived))
}

pub(super) async fn list_releases(records: &dyn RecordStore) -> Result<Vec<ReleaseId>, JournalError> {
    let keys = records.list("release/").await?;
    Ok(keys.iter().filter_map(|key| key.strip_prefix("release/")?.parse().ok().map(ReleaseId)).collect())
}

/// Reads a release's record.
///
/// # Errors
/// When it cannot be read.
pub(super) async fn read_release(
    records: &dyn RecordStore,
    id: ReleaseId,
) -> Result<Option<ReleaseRecord>, JournalError> {
    let key = release_key(id);
    let Some(bytes) = records.get(&key).await? else { return Ok(None) };
    let format = journal::format_of(&key, &bytes)?;
    if format > RELEASE_FORMAT {
        return Err(JournalError::Newer { key, format });
    }
    unpack(&key, &bytes).map(Some)
}

/// Deletes a release's record.
///
/// # Errors
/// When the store fails.
pub(super) async fn forget_release(records: &dyn RecordStore, id: ReleaseId) -> Result<(), JournalError> {
    Ok(records.delete(&release_key(id)).await?)
}

/// Writes down a release; it is derived, so that somebody else may have done so already.
///
/// # Errors
/// When the store fails.
pub(crate) async fn record_release(
    records: &dyn RecordStore,
    run: &RunId,
    epoch: Epoch,
    head: &ReleaseHead,
) -> Result<(), JournalError> {
    let record = ReleaseRecord { format: RELEASE_FORMAT, run: run.clone(), epoch, head: head.clone() };
    records.create(&release_key(head.id), &pack(&record)).await?;
    Ok(())
}

/// Writes down a release whose record is missing; who may only read does without, be it for this week.
async fn write_down(
    records: &dyn RecordStore,
    run: &RunId,
    epoch: Epoch,
    head: &ReleaseHead,
) -> Result<(), JournalError> {
    match record_release(records, run, epoch, head).await {
        Err(JournalError::Store(error)) if error.is_refusal() => Ok(()),
        written => written,
    }
}

/// Reads the short form of a release and its run.
///
/// # Errors
/// When the records cannot be read.
pub async fn release_head(
    records: &dyn RecordStore,
    id: ReleaseId,
) -> Result<Option<(RunId, ReleaseHead)>, JournalError> {
    Ok(read_release(records, id).await?.map(|record| (record.run, record.head)))
}

/// The short form of the newest release on record, and its run.
///
/// # Errors
/// When the records cannot be read.
pub(crate) async fn newest_release(
    records: &dyn RecordStore,
) -> Result<Option<(RunId, ReleaseHead)>, JournalError> {
    match list_releases(records).await?.last() {
        Some(id) => release_head(records, *id).await,
        None => Ok(None),
    }
}

/// Reads a release with its objects. Release 0 is what the first run found and took over.
///
/// # Errors
/// When the records cannot be read.
pub async fn release(records: &dyn RecordStore, id: ReleaseId) -> Result<Option<Release>, JournalError> {
    let source = if id == ReleaseId(0) { ReleaseId(1) } else { id };
    let mut found = release_head(records, source).await?;
    if found.is_none() {
        // The newest leaves no gap where it is missing: whoever reads the head derives it.
        found = read_head(records).await?.0.release;
        let in_force = found.as_ref().map(|(_, head)| head.id);
        if in_force != Some(source) {
            let (releases, mut derived) = restore_releases(records, in_force).await?;
            found = match derived.remove(&source) {
                None if releases.contains(&source) => release_head(records, source).await?,
                derived => derived,
            };
        }
    }
    let Some((run, head)) = found else { return Ok(None) };
    if id != ReleaseId(0) {
        return with_objects(records, run, head).await;
    }
    Ok(journal::read_plan(records, &run).await?.map(|plan| found_by(run, &head, &plan)))
}

/// Reads the objects of a release whose short form is known.
///
/// # Errors
/// When the records cannot be read.
pub(crate) async fn with_objects(
    records: &dyn RecordStore,
    run: RunId,
    head: ReleaseHead,
) -> Result<Option<Release>, JournalError> {
    Ok(journal::read_plan(records, &run).await?.map(|plan| made_by(run, head, plan)))
}

/// What the last run has made, or found left by the one before it, where it made no release, and what the release in force
/// has left there: of no release, and whose service it is. What was there before a run of ours is nobody's to take away, and not among it.
pub(super) fn left(head: &Head, base: Option<&Release>) -> BTreeMap<ObjectKey, Option<String>> {
    let plan = head.last_plan();
    let told =
        base.into_iter().flat_map(|base| &base.left).chain(plan.into_iter().flat_map(|plan| &plan.left));
    let released = |key: &ObjectKey| base.is_some_and(|base| base.objects.contains_key(key));
    let told = told.filter(|left| !released(&left.key));
    let mut left: BTreeMap<_, _> = told.map(|left| (left.key.clone(), left.service.clone())).collect();
    for step in plan.into_iter().flat_map(|plan| &plan.steps) {
        for change in step.work.changes() {
            let made = matches!(change.operation, Operation::Create | Operation::Delete);
            if made && !released(&change.key) {
                left.insert(change.key.clone(), step.service.clone());
            }
        }
    }
    left
}

/// Fields beside those of the release in force that the last run had set, or had found so, where it made no release. Those
/// of them that are still there were left by a run that was ended as it was. What it has found and set anew was there before:
/// a way back writes it as ours with all the rest, whoever had set it, and it is nobody's to take away.
pub(crate) fn added(head: &Head, base: Option<&Release>) -> BTreeMap<ObjectKey, FieldSet> {
    let plan = head.last_plan();
    let mut added = BTreeMap::new();
    for change in plan.into_iter().flat_map(Plan::changes) {
        let Some(released) = base.and_then(|base| base.objects.get(&change.key)) else { continue };
        let before = change.before.as_ref().map(|before| compared(&before.object)).unwrap_or_default();
        let desired = change.desired.as_ref().map(compared).unwrap_or_default();
        let mut set = desired.difference(&before);
        if change.operation == Operation::Update {
            set.absorb(before.difference(&desired));
        }
        let set = set.difference(&compared(&released.desired));
        if !set.is_empty() {
            added.insert(change.key.clone(), set);
        }
    }
    added
}

/// What the last run has found otherwise on objects and set, where it made no release and the release in force does not set
/// it: as it was.
pub(crate) fn written_over(head: &Head, base: Option<&Release>) -> BTreeMap<ObjectKey, Object> {
    let plan = head.last_plan();
    let of_change = |change: &Change| {
        let released = base.and_then(|base| base.objects.get(&change.key))?;
        let (before, desired) = (&change.before.as_ref()?.object, change.desired.as_ref()?);
        let both = compared(before).intersection(&compared(desired));
        let beside = both.difference(&compared(&released.desired));
        (!beside.is_empty()).then(|| (change.key.clone(), beside.project(before)))
    };
    plan.into_iter().flat_map(Plan::changes).filter_map(of_change).collect()
}

fn made_by(run: RunId, head: ReleaseHead, plan: Plan) -> Release {
    let mut objects = BTreeMap::new();
    let mut add = |service: Option<String>, desired: Object| {
        let fingerprint = head.fingerprints.get(&desired.key().to_string()).cloned();
        objects.insert(desired.key().clone(), Released { service, desired, fingerprint });
    };
    for kept in plan.unchanged {
        add(kept.service, kept.desired);
    }
    for step in plan.steps {
        for change in step.work.changes() {
            if let Some(desired) = &change.desired {
                add(step.service.clone(), desired.clone());
            }
        }
    }
    Release { project: plan.project, run, head, objects, left: plan.left }
}

/// What a run is to make, as a release that has no number yet; none where it has no plan.
pub(crate) fn to_be_made(recorded: &Recorded) -> Option<Release> {
    let plan = recorded.plan.clone()?;
    let head = ReleaseHead {
        id: ReleaseId(0),
        versions: plan.versions.clone(),
        title: plan.goal.title(),
        fingerprints: BTreeMap::new(),
        images: BTreeMap::new(),
        frontends: BTreeMap::new(),
        origins: BTreeMap::new(),
        beside_trouble: false,
        at: recorded.events.iter().find_map(|(_, event)| event.at()).unwrap_or_default(),
    };
    Some(made_by(recorded.run.clone(), head, plan))
}

fn found_by(run: RunId, first: &ReleaseHead, plan: &Plan) -> Release {
    let mut objects = BTreeMap::new();
    for step in &plan.steps {
        for change in step.work.changes() {
            if let Some(before) = &change.before {
                let released = Released {
                    service: step.service.clone(),
                    desired: before.object.clone(),
                    fingerprint: None,
                };
                objects.insert(change.key.clone(), released);
            }
        }
    }
    let head = ReleaseHead {
        id: ReleaseId(0),
        versions: first.versions.keys().map(|service| (service.clone(), "as found".to_owned())).collect(),
        title: "as found".to_owned(),
        fingerprints: BTreeMap::new(),
        images: BTreeMap::new(),
        frontends: BTreeMap::new(),
        origins: BTreeMap::new(),
        beside_trouble: false,
        at: first.at,
    };
    Release { project: plan.project.clone(), run, head, objects, left: Vec::new() }
}

impl Recorded {
    /// What a person has to do before the run can go on; none where it only has to be gone on with.
    pub fn stuck(&self) -> Option<&Stuck> {
        // Who has claimed it since has done nothing yet.
        let claim = |event: &JournalEvent| matches!(event, JournalEvent::EpochClaimed { .. });
        match self.events.iter().rev().find(|(_, event)| !claim(event)) {
            Some((_, JournalEvent::Paused { items, .. })) => items.first(),
            _ => None,
        }
    }

    /// Whether the run had ended when an epoch was claimed for it: by somebody who was halted in the middle of taking it
    /// over, and came too late. Others have held the environment since, and this claim is not to hide them.
    pub(crate) fn ended_before(&self, epoch: Epoch) -> bool {
        self.outcome().is_some() && self.events.iter().all(|(written_in, _)| *written_in < epoch)
    }

    /// How the run ended.
    pub fn outcome(&self) -> Option<(&Outcome, Option<&ReleaseHead>)> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            JournalEvent::RunFinished { outcome, release, .. } => Some((outcome, release.as_ref())),
            _ => None,
        })
    }
}
