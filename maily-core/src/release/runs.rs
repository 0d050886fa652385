//! Runs on record, newest first.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    engine::{
        Outcome, ReleaseId, RunId, claimants, history,
        journal::{self, JournalError, JournalEvent, Recorded, ReleaseHead},
    },
    provider::RecordStore,
};

/// A run in a few words.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct RunSummary {
    /// Its id.
    pub run: RunId,
    /// What it did.
    pub title: String,
    /// Who started it.
    pub by: String,
    /// Why, where a reason was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When its first step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How it ended; none: it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The release that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// Version of each service that it was to bring.
    pub versions: BTreeMap<String, String>,
    /// What keeps it, where it has not ended and waits for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
    /// What is wrong with its journal; the rest then says little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// The last runs, by when they claimed the environment, newest first. The run of the release in force is always among
/// them.
///
/// # Errors
/// When the records cannot be read.
pub async fn runs(records: &dyn RecordStore, limit: usize) -> Result<Vec<RunSummary>, JournalError> {
    let mut ids = journal::runs(records).await?;
    let lost = lost_run(records, &ids).await?;
    ids.extend(lost.iter().map(|lost| lost.run.clone()));
    let mut order = newest_first(records, ids, limit).await?;
    if let Some(lost) = &lost
        && !order.iter().take(limit).any(|id| *id == lost.run)
    {
        order.retain(|id| *id != lost.run);
        order.insert(0, lost.run.clone());
    }
    let (mut told, mut order) = (Vec::new(), order.into_iter());
    // Of what was swept something may be left, which is no run any more: then there is room for others.
    while told.len() < limit {
        let some: Vec<RunId> = order.by_ref().take(limit - told.len()).collect();
        if some.is_empty() {
            break;
        }
        let reads = some.iter().map(|id| lenient(records, id, lost.as_ref()));
        told.extend(futures::future::try_join_all(reads).await?.into_iter().flatten());
    }
    Ok(told)
}

/// So many claims are read at once.
const CLAIMS: usize = 8;

/// These runs in the order of their claims, the last one first; at least as many as are enough in their right places.
async fn newest_first(
    records: &dyn RecordStore,
    mut ids: BTreeSet<RunId>,
    enough: usize,
) -> Result<Vec<RunId>, JournalError> {
    let mut order = Vec::new();
    let mut gap = None;
    let mut claimants = claimants(records, CLAIMS).await?;
    while (order.len() < enough || gap.is_some())
        && let Some((_, claimant)) = claimants.try_next().await?
    {
        match claimant {
            Some(run) => order.extend(ids.take(&run)),
            // Whose it was shows when all others are known.
            None => drop(gap.get_or_insert(order.len())),
        }
    }
    let at = gap.unwrap_or(order.len());
    order.splice(at..at, ids.into_iter().rev());
    Ok(order)
}

/// The run of the release in force, where no list of the records tells of it: it cannot have been forgotten.
struct Lost {
    run: RunId,
    head: ReleaseHead,
    key: String,
    how: &'static str,
}

impl Lost {
    fn error(&self) -> JournalError {
        JournalError::Damaged { key: self.key.clone(), message: self.how.to_owned() }
    }
}

async fn lost_run(records: &dyn RecordStore, ids: &BTreeSet<RunId>) -> Result<Option<Lost>, JournalError> {
    let newest = match history::newest_release(records).await {
        // Which run it was is not known.
        Err(JournalError::Damaged { .. }) => None,
        newest => newest?,
    };
    let Some((run, head)) = newest else { return Ok(None) };
    if ids.contains(&run) {
        return Ok(None);
    }
    let key = journal::segment_key(&run, 0);
    let how = match records.get(&key).await? {
        Some(_) => "it is there, and no list has it: the labels of its object are gone",
        None => "it is missing, and the release that it made is in force",
    };
    Ok(Some(Lost { run, head, key, how }))
}

/// Reads a run; a damaged journal does not hide the others.
async fn lenient(
    records: &dyn RecordStore,
    id: &RunId,
    lost: Option<&Lost>,
) -> Result<Option<RunSummary>, JournalError> {
    let nothing = || summary(&Recorded { run: id.clone(), plan: None, events: Vec::new(), next: 0 });
    if let Some(lost) = lost.filter(|lost| lost.run == *id) {
        return Ok(Some(RunSummary {
            title: lost.head.title.clone(),
            release: Some(lost.head.id),
            ended: Some(lost.head.at),
            versions: lost.head.versions.clone(),
            damaged: Some(lost.error().to_string()),
            ..nothing()
        }));
    }
    match journal::read(records, id).await {
        Ok(read) => Ok(read.map(|recorded| summary(&recorded))),
        Err(error @ JournalError::Damaged { .. }) => {
            Ok(Some(RunSummary { damaged: Some(error.to_string()), ..nothing() }))
        }
        Err(error) => Err(error),
    }
}

/// One run with everything on record.
///
/// # Errors
/// When the records cannot be read, or are lost although the run made the release in force.
pub async fn run(
    records: &dyn RecordStore,
    id: &RunId,
) -> Result<Option<(RunSummary, Recorded)>, JournalError> {
    if let Some(recorded) = journal::read(records, id).await? {
        return Ok(Some((summary(&recorded), recorded)));
    }
    match lost_run(records, &BTreeSet::new()).await? {
        Some(lost) if lost.run == *id => Err(lost.error()),
        _ => Ok(None),
    }
}

pub(super) fn summary(recorded: &Recorded) -> RunSummary {
    let mut summary = RunSummary {
        run: recorded.run.clone(),
        title: recorded.plan.as_ref().map_or_else(|| "unknown".to_owned(), |plan| plan.goal.title()),
        by: String::new(),
        reason: None,
        started: None,
        ended: None,
        outcome: None,
        release: None,
        versions: recorded.plan.as_ref().map(|plan| plan.versions.clone()).unwrap_or_default(),
        stuck: recorded.stuck().map(|item| item.why.message.clone()),
        damaged: None,
    };
    for (_, event) in &recorded.events {
        match event {
            JournalEvent::RunStarted { by, reason, .. } => {
                summary.by.clone_from(by);
                summary.reason.clone_from(reason);
            }
            JournalEvent::StepStarted { at, .. } if summary.started.is_none() => summary.started = Some(*at),
            JournalEvent::RunFinished { outcome, release, at } => {
                summary.outcome = Some(outcome.clone());
                summary.release = release.as_ref().map(|release| release.id);
                summary.ended = Some(*at);
            }
            _ => {}
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        engine::{
            Claim, Epoch,
            journal::{Writer, pack},
        },
        provider::RecordStore,
        records::MemoryRecords,
        runtime::{Runtime, TokioRuntime},
    };

    /// A run that claims and begins, with so many segments.
    async fn begin(store: &Arc<dyn RecordStore>, epoch: u64, id: &str, segments: usize) {
        let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
        let (run, at) = (RunId::from(id), TokioRuntime.wall());
        let claim = Claim { format: 1, run: run.clone(), by: "somebody".to_owned(), at, nonce: epoch };
        store.create(&format!("epoch/{epoch:015}"), &pack(&claim)).await.unwrap();
        let mut writer = Writer::new(Arc::clone(store), runtime, run, Epoch(epoch), 0);
        for _ in 0..segments {
            let begun =
                JournalEvent::RunStarted { plan: String::new(), by: format!("run {epoch}"), reason: None };
            writer.append(&[begun], TokioRuntime.now()).await.unwrap();
        }
    }

    async fn told(store: &Arc<dyn RecordStore>, limit: usize) -> Vec<String> {
        let known = runs(&**store, limit).await.unwrap();
        known
            .into_iter()
            .map(|run| if run.damaged.is_some() { "damaged".to_owned() } else { run.by })
            .collect()
    }

    #[tokio::test]
    async fn the_run_that_claimed_last_stands_first_whatever_its_id_says() {
        let store: Arc<dyn RecordStore> = Arc::new(MemoryRecords::default());
        begin(&store, 1, "20260101-020000-ffffff", 1).await;
        begin(&store, 2, "20260101-020000-000000", 1).await;
        assert_eq!(told(&store, 1).await, ["run 2"], "one second holds several runs");
        for number in 3..10 {
            begin(&store, number, &format!("20260101-02000{number}-aaaaaa"), 1).await;
        }
        begin(&store, 10, "20260101-000000-aaaaaa", 1).await;
        assert_eq!(told(&store, 2).await, ["run 10", "run 9"], "clocks of two machines differ");
        assert_eq!(told(&store, 99).await.len(), 10);
    }

    #[tokio::test]
    async fn a_missing_segment_is_told_at_its_place_and_hides_no_other_run() {
        let store: Arc<dyn RecordStore> = Arc::new(MemoryRecords::default());
        for (epoch, id) in [(1, "20260101-000000-aaaaaa"), (2, "20260101-000001-bbbbbb")] {
            begin(&store, epoch, id, 3).await;
        }
        for number in [0, 1] {
            let run = RunId::from("20260101-000001-bbbbbb");
            let key = journal::segment_key(&run, number);
            let kept = store.get(&key).await.unwrap().unwrap();
            store.delete(&key).await.unwrap();
            let error = journal::read(&*store, &run).await.unwrap_err();
            assert!(error.to_string().contains(&format!("{run}/00000{number}")), "{error}");
            assert_eq!(told(&store, 5).await, ["damaged", "run 1"]);
            assert_eq!(told(&store, 1).await, ["damaged"]);
            store.create(&key, &kept).await.unwrap();
        }
        assert_eq!(told(&store, 5).await, ["run 2", "run 1"]);
    }

    #[tokio::test]
    async fn a_run_whose_claim_is_damaged_stands_where_it_claimed() {
        let store: Arc<dyn RecordStore> = Arc::new(MemoryRecords::default());
        for epoch in 1..=4 {
            begin(&store, epoch, &format!("20260101-00000{epoch}-aaaaaa"), 1).await;
        }
        let key = "epoch/000000000000003";
        store.delete(key).await.unwrap();
        store.create(key, b"{").await.unwrap();
        assert_eq!(told(&store, 9).await, ["run 4", "run 3", "run 2", "run 1"]);
        assert_eq!(told(&store, 2).await, ["run 4", "run 3"]);
    }
}
