//! Runs on record, newest first.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    engine::{
        Outcome, ReleaseId, RunId, history,
        journal::{self, JournalError, JournalEvent, Recorded},
    },
    provider::RecordStore,
};

/// So many runs may have begun in one second.
const SAME_SECOND: usize = 4;

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
    /// What is wrong with its journal; the rest then says little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// The last runs, newest first.
///
/// # Errors
/// When the records cannot be read.
pub async fn runs(records: &dyn RecordStore, limit: usize) -> Result<Vec<RunSummary>, JournalError> {
    let ids = journal::runs(records).await?;
    let lost = lost_run(records, &ids).await?;
    // An id tells the second alone: of runs of one second the epoch tells which came later.
    let reads = ids.iter().rev().take(limit.saturating_add(SAME_SECOND)).map(|id| lenient(records, id));
    let mut read: Vec<(Recorded, Option<String>)> =
        futures::future::try_join_all(reads).await?.into_iter().flatten().collect();
    read.sort_by_key(|(recorded, _)| std::cmp::Reverse(recorded.events.first().map(|(epoch, _)| *epoch)));
    read.truncate(limit);
    let told = |(recorded, damaged)| RunSummary { damaged, ..summary(&recorded) };
    let lost = lost.into_iter().take(limit);
    Ok(lost.chain(read.into_iter().map(told)).collect())
}

/// The run of the release in force, where no list of the records tells of it: it cannot have been forgotten.
async fn lost_run(
    records: &dyn RecordStore,
    ids: &BTreeSet<RunId>,
) -> Result<Option<RunSummary>, JournalError> {
    let Some((run, head)) = history::newest_release(records).await? else { return Ok(None) };
    if ids.contains(&run) {
        return Ok(None);
    }
    let key = journal::segment_key(&run, 0);
    let how = match records.get(&key).await? {
        Some(_) => "it is there, and no list has it: the labels of its object are gone",
        None => "it is missing, and the release that it made is in force",
    };
    let message = how.to_owned();
    let recorded = Recorded { run, plan: None, events: Vec::new(), next: 0 };
    Ok(Some(RunSummary {
        title: head.title.clone(),
        release: Some(head.id),
        ended: Some(head.at),
        versions: head.versions,
        damaged: Some(JournalError::Damaged { key, message }.to_string()),
        ..summary(&recorded)
    }))
}

/// Reads a run; a damaged journal does not hide the others.
async fn lenient(
    records: &dyn RecordStore,
    id: &RunId,
) -> Result<Option<(Recorded, Option<String>)>, JournalError> {
    match journal::read(records, id).await {
        Ok(read) => Ok(read.map(|recorded| (recorded, None))),
        Err(error @ JournalError::Damaged { .. }) => {
            let recorded = Recorded { run: id.clone(), plan: None, events: Vec::new(), next: 0 };
            Ok(Some((recorded, Some(error.to_string()))))
        }
        Err(error) => Err(error),
    }
}

/// One run with everything on record.
///
/// # Errors
/// When the records cannot be read.
pub async fn run(
    records: &dyn RecordStore,
    id: &RunId,
) -> Result<Option<(RunSummary, Recorded)>, JournalError> {
    Ok(journal::read(records, id).await?.map(|recorded| (summary(&recorded), recorded)))
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
        engine::{Epoch, journal::Writer},
        provider::RecordStore,
        records::MemoryRecords,
        runtime::{Runtime, TokioRuntime},
    };

    #[tokio::test]
    async fn of_two_runs_of_one_second_the_later_stands_first() {
        let store: Arc<dyn RecordStore> = Arc::new(MemoryRecords::default());
        let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
        for (epoch, id) in [(1, "20260101-000000-ffffff"), (2, "20260101-000000-000000")] {
            let (store, runtime) = (Arc::clone(&store), Arc::clone(&runtime));
            let mut writer = Writer::new(store, runtime, RunId::from(id), Epoch(epoch), 0);
            let begun =
                JournalEvent::RunStarted { plan: String::new(), by: format!("run {epoch}"), reason: None };
            writer.append(vec![begun], TokioRuntime.now()).await.unwrap();
        }
        let newest = runs(&*store, 1).await.unwrap();
        assert_eq!(newest[0].by, "run 2");
    }

    #[tokio::test]
    async fn a_missing_segment_is_told_and_hides_no_other_run() {
        let store: Arc<dyn RecordStore> = Arc::new(MemoryRecords::default());
        for (epoch, id) in [(1, "20260101-000000-aaaaaa"), (2, "20260101-000001-bbbbbb")] {
            let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
            let mut writer = Writer::new(Arc::clone(&store), runtime, RunId::from(id), Epoch(epoch), 0);
            for by in ["first", "second", "third"] {
                let begun = JournalEvent::RunStarted { plan: String::new(), by: by.to_owned(), reason: None };
                writer.append(vec![begun], TokioRuntime.now()).await.unwrap();
            }
        }
        for number in [0, 1] {
            let run = RunId::from("20260101-000001-bbbbbb");
            let key = journal::segment_key(&run, number);
            let kept = store.get(&key).await.unwrap().unwrap();
            store.delete(&key).await.unwrap();
            let error = journal::read(&*store, &run).await.unwrap_err();
            assert!(error.to_string().contains(&format!("{run}/00000{number}")), "{error}");
            let known = runs(&*store, 5).await.unwrap();
            let damaged: Vec<bool> = known.iter().map(|run| run.damaged.is_some()).collect();
            assert_eq!((known.len(), damaged.iter().filter(|damaged| **damaged).count()), (2, 1));
            store.create(&key, &kept).await.unwrap();
        }
        assert!(runs(&*store, 5).await.unwrap().iter().all(|run| run.damaged.is_none()));
    }
}
