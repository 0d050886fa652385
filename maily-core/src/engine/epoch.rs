//! Claiming an environment: every holder raises the epoch, and the highest one writes.

use serde::{Deserialize, Serialize};

use super::{
    Epoch, RunId,
    journal::{JournalError, pack, unpack},
};
use crate::{
    provider::{Created, ErrorKind, RecordStore},
    runtime::Runtime,
};

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
    match records.get(&key).await? {
        Some(bytes) => unpack(&key, &bytes).map(Some),
        None => Ok(None),
    }
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
        None => claimed(records).await?.last().copied(),
    };
    let epoch = Epoch(highest.max(seen).unwrap_or_default().0 + 1);
    let claim =
        Claim { format: 1, run: run.clone(), by: by.to_owned(), at: runtime.wall(), nonce: runtime.random() };
    let bytes = pack(&claim);
    let taken = JournalError::NotHolder { epoch, other: epoch };
    let mut tries = 0;
    loop {
        match records.create(&key(epoch), &bytes).await {
            Ok(Created::Created) => break,
            Ok(Created::Exists) => {
                // Our own answer may have been lost.
                if records.get(&key(epoch)).await?.as_deref() == Some(&bytes[..]) {
                    break;
                }
                return Err(taken);
            }
            Err(error) if error.is_transient() && error.kind() != ErrorKind::StaleEpoch && tries < 5 => {
                tries += 1;
                runtime.sleep(std::time::Duration::from_millis(200 << tries)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    // A claimer that was paused between reading and creating may have made a lower number: the highest counts.
    match claimed(records).await?.last() {
        Some(highest) if *highest > epoch => Err(JournalError::NotHolder { epoch, other: *highest }),
        _ => Ok(epoch),
    }
}
