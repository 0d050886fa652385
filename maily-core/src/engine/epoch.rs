//! Claiming an environment: every holder raises the epoch, and the highest one writes.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, ready},
    stream::{self, BoxStream},
};
use serde::{Deserialize, Serialize};

use super::{
    Epoch, Outcome, RunId,
    journal::{self, JournalError, JournalEvent, format_of, pack, unpack},
    patience::patiently,
};
use crate::{
    planted::{Defect, is_planted},
    provider::{Created, ErrorKind, RecordStore},
    runtime::Runtime,
};

/// Version of the claim's format.
const CLAIM_FORMAT: u32 = 1;
/// How long the records may be out of reach.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who claimed an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Format of the record.
    pub format: u32,
    /// The run that writes under it.
    pub run: RunId,
    /// Who.
    pub by: String,
    /// When, for people.
    pub at: jiff::Timestamp,
    /// Tells our own record from an equal one.
    pub nonce: u64,
}

/// Key of an epoch's record.
pub(crate) fn key(epoch: Epoch) -> String {
    format!("epoch/{:015}", epoch.0)
}

/// The epochs that were claimed, ascending.
///
/// # Errors
/// When the store cannot be reached.
pub(super) async fn claimed(records: &dyn RecordStore) -> Result<Vec<Epoch>, JournalError> {
    let keys = records.list("epoch/").await?;
    Ok(keys.iter().filter_map(|key| key.strip_prefix("epoch/")?.parse().ok().map(Epoch)).collect())
}

/// Reads an epoch's record.
///
/// # Errors
/// When it cannot be read.
pub(super) async fn claim_of(records: &dyn RecordStore, epoch: Epoch) -> Result<Option<Claim>, JournalError> {
    let key = key(epoch);
    let Some(bytes) = records.get(&key).await? else { return Ok(None) };
    let format = format_of(&key, &bytes)?;
    if format > CLAIM_FORMAT {
        return Err(JournalError::Newer { key, format });
    }
    unpack(&key, &bytes).map(Some)
}

/// The runs that claimed the environment with their epochs, whoever did last first, each as often as it did; no run for a
/// claim that is damaged. Their ids would not tell the order: clocks of two machines differ, and one second holds several runs.
///
/// # Errors
/// When the claims cannot be read. So many of them are read at once.
pub(crate) async fn claimants(
    records: &dyn RecordStore,
    at_once: usize,
) -> Result<BoxStream<'_, Result<(Epoch, Option<RunId>), JournalError>>, JournalError> {
    let epochs = claimed(records).await?;
    let reads: Vec<BoxFuture<'_, _>> = epochs
        .into_iter()
        .rev()
        .map(|epoch| async move { (epoch, claim_of(records, epoch).await) }.boxed())
        .collect();
    let claimant = |(epoch, read): (Epoch, Result<Option<Claim>, JournalError>)| match read {
        Ok(claim) => claim.map(|claim| Ok((epoch, Some(claim.run)))),
        Err(JournalError::Damaged { .. }) => Some(Ok((epoch, None))),
        Err(error) => Some(Err(error)),
    };
    Ok(stream::iter(reads).buffered(at_once).filter_map(move |read| ready(claimant(read))).boxed())
}

/// The claims of the environment after this run's last one, newest first. One of its own that came when it had ended does
/// not count; whether others did, their journals tell.
///
/// # Errors
/// When the claims cannot be read.
pub(crate) async fn runs_after(
    records: &dyn RecordStore,
    run: &RunId,
) -> Result<Vec<(Epoch, RunId)>, JournalError> {
    let mut after = Vec::new();
    let mut claimants = claimants(records, 1).await?;
    while let Some((epoch, claimant)) = claimants.try_next().await? {
        let Some(claimant) = claimant else { continue };
        if claimant != *run {
            after.push((epoch, claimant));
        } else if !came_too_late(records, run, epoch).await? {
            break;
        }
    }
    Ok(after)
}

/// Whether a run had ended when this epoch was claimed for it.
async fn came_too_late(records: &dyn RecordStore, run: &RunId, epoch: Epoch) -> Result<bool, JournalError> {
    match journal::read(records, run).await {
        Ok(recorded) => Ok(recorded.is_some_and(|recorded| recorded.ended_before(epoch))),
        // Whoever needs its journal is told.
        Err(JournalError::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Closes runs that claimed the environment before us and have written nothing: one that was only halted could begin
/// later, beside us.
///
/// # Errors
/// [`JournalError::NotHolder`] when one has begun meanwhile: what we planned does not count any more.
pub(super) async fn close(
    records: &Arc<dyn RecordStore>,
    runtime: &Arc<dyn Runtime>,
    pending: &[RunId],
    epoch: Epoch,
    by: &str,
) -> Result<(), JournalError> {
    for run in pending.iter().filter(|_| !is_planted(Defect::PendingNotClosed)) {
        let outcome = Outcome::Cancelled { why: format!("it had written nothing when {by} came") };
        let at = runtime.wall();
        let events = [
            JournalEvent::EpochClaimed { epoch, by: by.to_owned(), reason: None, at: Some(at) },
            JournalEvent::RunFinished { outcome, release: None, at },
        ];
        let mut writer =
            journal::Writer::new(Arc::clone(records), Arc::clone(runtime), run.clone(), epoch, 0);
        writer.append(&events, runtime.now() + PATIENCE).await?;
    }
    Ok(())
}

/// Claims the next epoch above all records and everything seen on objects.
///
/// # Errors
/// [`JournalError::NotHolder`] when somebody claims at the same time.
pub(super) async fn claim(
    records: &dyn RecordStore,
    runtime: &dyn Runtime,
    known: Option<Epoch>,
    seen: Option<Epoch>,
    run: &RunId,
    by: &str,
) -> Result<Epoch, JournalError> {
    let highest = match known {
        Some(epoch) => Some(epoch),
        None => patiently(runtime, || claimed(records).boxed()).await?.last().copied(),
    };
    let epoch = Epoch(highest.max(seen).unwrap_or_default().0 + 1);
    let claim = Claim {
        format: CLAIM_FORMAT,
        run: run.clone(),
        by: by.to_owned(),
        at: runtime.wall(),
        nonce: runtime.random(),
    };
    let bytes = pack(&claim);
    let name = key(epoch);
    let taken = JournalError::NotHolder { epoch, other: None };
    let mut tries = 0;
    loop {
        match records.create(&name, &bytes).await {
            Ok(Created::Created) => break,
            Ok(Created::Exists) => {
                // Our own answer may have been lost.
                let there = patiently(runtime, || records.get(&name)).await?;
                if there.as_deref() == Some(&bytes[..]) {
                    break;
                }
                // What no list shows would be in the way of every run, and of none that could be waited for.
                if !patiently(runtime, || claimed(records).boxed()).await?.contains(&epoch) {
                    let message = "it is there, and no list has it: the labels of its object are gone";
                    return Err(JournalError::Damaged { key: name, message: message.to_owned() });
                }
                return Err(taken);
            }
            Err(error) if error.is_transient() && error.kind() != ErrorKind::StaleEpoch && tries < 5 => {
                tries += 1;
                runtime.sleep(Duration::from_millis(200 << tries)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if is_planted(Defect::ClaimNotCompared) {
        return Ok(epoch);
    }
    // A claimer that was paused between reading and creating may have made a lower number: the highest counts. And what
    // was planned from a known state counts only as long as nobody has held the environment since, whatever number
    // the objects made us take.
    let all = patiently(runtime, || claimed(records).boxed()).await?;
    let other = all.into_iter().rev().find(|other| *other != epoch);
    match (other, known) {
        (Some(other), _) if other > epoch => Err(JournalError::NotHolder { epoch, other: Some(other) }),
        (Some(other), Some(known)) if other > known => {
            Err(JournalError::NotHolder { epoch, other: Some(other) })
        }
        _ => Ok(epoch),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        engine::{
            ReleaseId,
            history::{head, record_release},
        },
        records::MemoryRecords,
        runtime::TokioRuntime,
    };

    #[tokio::test]
    async fn which_run_came_later_is_told_by_its_claim_and_not_by_its_id() {
        let records = MemoryRecords::default();
        let [early, released, taken, late] = [
            "20260101-000000-ffffff",
            "20260101-000000-555555",
            "20260101-000000-000000",
            "20251231-235959-ffffff",
        ]
        .map(RunId::from);
        for run in [&early, &released, &taken, &taken, &late] {
            claim(&records, &TokioRuntime, None, None, run, "somebody").await.expect("is free");
        }
        let after = runs_after(&records, &released).await.expect("can be read");
        assert_eq!(after, [(Epoch(5), late), (Epoch(4), taken.clone()), (Epoch(3), taken)]);
    }

    /// A run's journal, written under one epoch after another.
    async fn writes(records: &Arc<dyn RecordStore>, run: &RunId, epochs: &[u64], outcome: Option<Outcome>) {
        let at = TokioRuntime.wall();
        let begun = JournalEvent::RunStarted { plan: String::new(), by: "somebody".into(), reason: None };
        let goes_on =
            |epoch| JournalEvent::EpochClaimed { epoch, by: "another".into(), reason: None, at: None };
        for (number, epoch) in (0..).zip(epochs) {
            let mut events = vec![if number == 0 { begun.clone() } else { goes_on(Epoch(*epoch)) }];
            if number + 1 == epochs.len() as u64 {
                events.extend(outcome.clone().map(|outcome| finished(outcome, at)));
            }
            let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
            let mut writer =
                journal::Writer::new(Arc::clone(records), runtime, run.clone(), Epoch(*epoch), number);
            writer.append(&events, TokioRuntime.now()).await.expect("is written");
        }
    }

    fn finished(outcome: Outcome, at: jiff::Timestamp) -> JournalEvent {
        let release = match &outcome {
            Outcome::Succeeded { release, .. } => Some(journal::ReleaseHead {
                id: *release,
                versions: BTreeMap::new(),
                title: "deploy".into(),
                fingerprints: BTreeMap::new(),
                images: BTreeMap::new(),
                frontends: BTreeMap::new(),
                origins: BTreeMap::new(),
                beside_trouble: false,
                at,
            }),
            _ => None,
        };
        JournalEvent::RunFinished { outcome, release, at }
    }

    /// Somebody takes a run over, and sleeps; another ends it, a second run begins and stamps objects; then the first
    /// wakes up, and claims an epoch above those stamps for the run that has ended.
    async fn claimed_too_late(second: Option<Outcome>) -> (Arc<dyn RecordStore>, [RunId; 2]) {
        let records: Arc<dyn RecordStore> = Arc::new(MemoryRecords::default());
        let runs = ["20260101-000000-aaaaaa", "20260101-000100-bbbbbb"].map(RunId::from);
        for run in [&runs[0], &runs[0], &runs[1]] {
            claim(&*records, &TokioRuntime, None, None, run, "somebody").await.expect("is free");
        }
        let made = Outcome::Succeeded { release: ReleaseId(1), not_serving: Vec::new() };
        if let JournalEvent::RunFinished { release: Some(release), .. } =
            finished(made.clone(), TokioRuntime.wall())
        {
            record_release(&*records, &runs[0], Epoch(2), &release).await.expect("is written");
        }
        writes(&records, &runs[0], &[1, 2], Some(made)).await;
        writes(&records, &runs[1], &[3], second).await;
        let late = claim(&*records, &TokioRuntime, Some(Epoch(1)), Some(Epoch(3)), &runs[0], "late").await;
        assert!(matches!(late, Err(JournalError::NotHolder { .. })), "{late:?}");
        assert_eq!(claimed(&*records).await.expect("can be read").last(), Some(&Epoch(4)), "it stays");
        (records, runs)
    }

    #[tokio::test]
    async fn a_claim_that_came_too_late_hides_no_run_that_has_not_ended() {
        let (records, [_, open]) = claimed_too_late(None).await;
        let head = head(&*records).await.expect("can be read");
        assert_eq!(head.unfinished.map(|unfinished| unfinished.recorded.run), Some(open));
    }

    #[tokio::test]
    async fn a_claim_that_came_too_late_hides_no_release_whose_record_is_missing() {
        let succeeded = Outcome::Succeeded { release: ReleaseId(2), not_serving: Vec::new() };
        let (records, [ended, released]) = claimed_too_late(Some(succeeded)).await;
        let head = head(&*records).await.expect("can be read");
        assert_eq!(
            head.release.map(|(run, release)| (run, release.id)),
            Some((released.clone(), ReleaseId(2)))
        );
        assert_eq!(head.releases, [1, 2].map(ReleaseId), "its number is not taken again");
        let after = runs_after(&*records, &ended).await.expect("can be read");
        assert_eq!(after, [(Epoch(3), released)]);
    }
}
