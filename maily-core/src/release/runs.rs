//! Runs on record, newest first.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    engine::{
        Outcome, ReleaseId, RunId,
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
}

/// The last runs, newest first.
///
/// # Errors
/// When the records cannot be read.
pub async fn runs(records: &dyn RecordStore, limit: usize) -> Result<Vec<RunSummary>, JournalError> {
    let keys = records.list("run/").await?;
    let mut ids: Vec<RunId> =
        keys.iter().filter_map(|key| key.strip_prefix("run/")?.split('/').next().map(RunId::from)).collect();
    ids.sort();
    ids.dedup();
    // An id tells the second alone: of runs of one second the epoch tells which came later.
    let reads = ids.iter().rev().take(limit.saturating_add(SAME_SECOND)).map(|id| journal::read(records, id));
    let mut read: Vec<Recorded> = futures::future::try_join_all(reads).await?.into_iter().flatten().collect();
    read.sort_by_key(|recorded| std::cmp::Reverse(recorded.events.first().map(|(epoch, _)| *epoch)));
    read.truncate(limit);
    Ok(read.iter().map(summary).collect())
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

fn summary(recorded: &Recorded) -> RunSummary {
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
}
