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

/// The runs that claimed the environment, whoever did last first, each as often as it did; none for a claim that is
/// damaged. Their ids would not tell the order: clocks of two machines differ, and one second holds several runs.
///
/// # Errors
/// When the claims cannot be read. So many of them are read at once.
pub(crate) async fn claimants(
    records: &dyn RecordStore,
    at_once: usize,
) -> Result<BoxStream<'_, Result<Option<RunId>, JournalError>>, JournalError> {
    let epochs = claimed(records).await?;
    let reads: Vec<BoxFuture<'_, _>> =
        epochs.into_iter().rev().map(|epoch| claim_of(records, epoch).boxed()).collect();
    let claimant = |read: Result<Option<Claim>, JournalError>| match read {
        Ok(claim) => claim.map(|claim| Ok(Some(claim.run))),
        Err(JournalError::Damaged { .. }) => Some(Ok(None)),
        Err(error) => Some(Err(error)),
    };
    Ok(stream::iter(reads).buffered(at_once).filter_map(move |read| ready(claimant(read))).boxed())
}

/// The runs that claimed the environment after this one did for the last time, newest first.
///
/// # Errors
/// When the claims cannot be read.
pub(crate) async fn runs_after(records: &dyn RecordStore, run: &RunId) -> Result<Vec<RunId>, JournalError> {
    let mut after = Vec::new();
    let mut claimants = claimants(records, 1).await?;
    while let Some(claimant) = claimants.try_next().await? {
        match claimant {
            Some(claimant) if claimant == *run => break,
            Some(claimant) if !after.contains(&claimant) => after.push(claimant),
            _ => {}
        }
    }
    Ok(after)
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
    use super::*;
    use crate::{records::MemoryRecords, runtime::TokioRuntime};

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
        assert_eq!(runs_after(&records, &released).await.expect("can be read"), [late, taken]);
    }
}
