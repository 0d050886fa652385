//! Old records go, while a run waits for its pods: nobody waits for the sweeping, and what one run leaves the next one
//! takes.
//!
//! A process may be halted at any point in here, or between reading and deleting, and go on much later. That does no
//! harm, because only what is out of date for good is named: releases that newer ones have pushed out, and runs that
//! claimed the environment no later than those. The highest epoch stays, so that a claimer who was halted is still told
//! of it; and segments with a takeover's claim stay, so that a former holder who was halted before an append still meets
//! it there.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    Epoch, ReleaseId, Sealer,
    epoch::{self, claim_of, claimed},
    history::{forget_release, read_release},
    journal::{self, JournalError},
    wish::forget_wish,
};
use crate::{
    model::Retention,
    planted::{Defect, is_planted},
    provider::{Cluster, RecordStore},
    run::seal::{forget, hashes},
    runtime::Runtime,
};

/// Releases that one run sweeps at most.
const AT_ONCE: usize = 20;

/// Forgets runs that are neither among those of the newest releases nor young; answers whether there were some.
/// `releases` are those on record, ascending.
///
/// # Errors
/// When the records cannot be read or written. What was not swept is swept another time.
pub(super) async fn sweep_runs(
    records: &dyn RecordStore,
    runtime: &dyn Runtime,
    retention: Retention,
    releases: &[ReleaseId],
) -> Result<bool, JournalError> {
    let least = usize::from(!is_planted(Defect::LatestReleaseSwept));
    let keep = usize::try_from(retention.releases).unwrap_or(usize::MAX).max(least);
    let Some(last) =
        forget_releases(records, runtime, retention, &releases[..releases.len().saturating_sub(keep)])
            .await?
    else {
        return Ok(false);
    };
    let epochs = claimed(records).await?;
    let highest = epochs.last().copied();
    let goes = |epoch: &Epoch| *epoch <= last && Some(*epoch) != highest;
    for epoch in epochs.into_iter().filter(|epoch| goes(epoch) || is_planted(Defect::HighestEpochSwept)) {
        let claim = match claim_of(records, epoch).await {
            Ok(claim) => claim,
            // What it leads to is not known: it stays, and the others go.
            Err(JournalError::Damaged { .. }) => continue,
            Err(error) => return Err(error),
        };
        if let Some(claim) = claim {
            journal::sweep(records, &claim.run).await?;
            forget_wish(records, &claim.run).await?;
        }
        // The claim goes last: it is what leads to the rest.
        records.delete(&epoch::key(epoch)).await?;
    }
    Ok(true)
}

/// Forgets values of Secrets that neither a run on record nor the `present` one has, by hash.
///
/// # Errors
/// When the records or the cluster fail. What was not swept is swept another time.
pub(super) async fn sweep_values(
    cluster: &dyn Cluster,
    records: &dyn RecordStore,
    sealer: &Sealer,
    present: &BTreeSet<String>,
    (epoch, now, retention): (Epoch, Timestamp, Retention),
) -> Result<(), JournalError> {
    let mut unused = sealer.values(cluster).await?;
    unused.retain(|hash, _| !present.contains(hash));
    if unused.is_empty() {
        return Ok(());
    }
    for run in journal::runs(records).await? {
        if let Some(plan) = journal::read_plan(records, &run).await? {
            plan.objects().flat_map(hashes).for_each(|hash| drop(unused.remove(&hash)));
        }
    }
    for object in unused.values() {
        forget(cluster, object, epoch, now, age(retention)).await?;
    }
    Ok(())
}

fn age(retention: Retention) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(retention.age.0).unwrap_or(i64::MAX))
}

/// Forgets releases; answers the epoch of the newest one that went. A release goes before its run, so that none points
/// to what is not there. A damaged one does not tell its age, and goes with a newer one.
async fn forget_releases(
    records: &dyn RecordStore,
    runtime: &dyn Runtime,
    retention: Retention,
    releases: &[ReleaseId],
) -> Result<Option<Epoch>, JournalError> {
    let (mut last, mut damaged) = (None, Vec::new());
    let mut left = AT_ONCE;
    for id in releases {
        let record = match read_release(records, *id).await {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            // Its age cannot be read. It is older than the next one that goes, and goes with it.
            Err(JournalError::Damaged { .. }) => {
                damaged.push(*id);
                continue;
            }
            Err(error) => return Err(error),
        };
        if left == 0 || runtime.wall().duration_since(record.head.at) < age(retention) {
            break;
        }
        for id in std::mem::take(&mut damaged).into_iter().chain([*id]) {
            forget_release(records, id).await?;
        }
        left -= 1;
        last = Some(record.epoch);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use async_trait::async_trait;

    use super::*;
    use crate::{
        engine::{
            Outcome, RunId, StepId, history,
            journal::{JournalEvent, ReleaseHead, Writer},
        },
        model::Seconds,
        provider::{Created, ErrorKind, ProviderError},
        records::MemoryRecords,
        release::runs,
        runtime::TokioRuntime,
    };

    /// A store that answers so many calls and no more.
    #[derive(Debug, Default)]
    struct Records {
        inner: Arc<MemoryRecords>,
        left: AtomicUsize,
        /// The run that somebody sweeps before a record of it is read, and how many calls that takes him until then.
        swept: Mutex<Option<(RunId, usize)>>,
    }

    impl Records {
        fn endless() -> Arc<Self> {
            Arc::new(Self { left: AtomicUsize::new(usize::MAX), ..Self::default() })
        }

        fn answer(&self) -> Result<(), ProviderError> {
            let one_less = |left: usize| left.checked_sub(1);
            match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
                Ok(_) => Ok(()),
                Err(_) => Err(ProviderError::new(ErrorKind::Internal, "test", "use", "records", "stopped")),
            }
        }
    }

    #[async_trait]
    impl RecordStore for Records {
        async fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, ProviderError> {
            self.answer()?;
            self.inner.create(key, bytes).await
        }
        async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ProviderError> {
            self.answer()?;
            let swept = self.swept.lock().expect("is not poisoned").take();
            if let Some((run, calls)) = swept {
                let (inner, left) = (Arc::clone(&self.inner), AtomicUsize::new(calls));
                let _ = journal::sweep(&Records { inner, left, swept: Mutex::default() }, &run).await;
            }
            self.inner.get(key).await
        }
        async fn list(&self, prefix: &str) -> Result<Vec<String>, ProviderError> {
            self.answer()?;
            self.inner.list(prefix).await
        }
        async fn delete(&self, key: &str) -> Result<(), ProviderError> {
            self.answer()?;
            self.inner.delete(key).await
        }
    }

    const TWO: Retention = Retention { releases: 2, age: Seconds(3600) };

    fn run_of(number: u64) -> RunId {
        RunId::from(format!("20260101-0000{number:02}-aaaaaa").as_str())
    }

    fn runtime() -> Arc<dyn Runtime> {
        Arc::new(TokioRuntime)
    }

    async fn claim(records: &Arc<Records>, run: &RunId) -> Epoch {
        epoch::claim(&**records, &TokioRuntime, None, None, run, "somebody").await.expect("is free")
    }

    /// A run that made a release so many hours ago; taken over in the middle where asked.
    async fn release(records: &Arc<Records>, number: u64, hours: i64, taken: bool) -> Writer {
        let (run, at) = (run_of(number), TokioRuntime.wall() - SignedDuration::from_hours(hours));
        let id = ReleaseId(number);
        let store: Arc<dyn RecordStore> = Arc::clone(records) as _;
        let mut epoch = claim(records, &run).await;
        let mut writer = Writer::new(Arc::clone(&store), runtime(), run.clone(), epoch, 0);
        let begun = JournalEvent::RunStarted { plan: String::new(), by: "somebody".into(), reason: None };
        writer.append(&[begun], TokioRuntime.now()).await.expect("is written");
        let first = writer.clone();
        if taken {
            epoch = claim(records, &run).await;
            writer = Writer::new(store, runtime(), run.clone(), epoch, 1);
            writer.claim("another", None, TokioRuntime.now()).await.expect("is written");
        }
        let head = ReleaseHead {
            id,
            versions: BTreeMap::new(),
            title: "deploy".into(),
            fingerprints: BTreeMap::new(),
            images: BTreeMap::new(),
            frontends: BTreeMap::new(),
            origins: BTreeMap::new(),
            beside_trouble: false,
            at,
        };
        let outcome = Outcome::Succeeded { release: id, not_serving: Vec::new() };
        let finished = JournalEvent::RunFinished { outcome, release: Some(head.clone()), at };
        writer.append(&[finished], TokioRuntime.now()).await.expect("is written");
        history::record_release(&**records, &run, epoch, &head).await.expect("is written");
        first
    }

    async fn sweep_all(records: &Arc<Records>, retention: Retention) -> Result<bool, JournalError> {
        let releases = history::head(&**records).await?.releases;
        sweep_runs(&**records, &TokioRuntime, retention, &releases).await
    }

    async fn on_record(records: &Arc<Records>) -> Vec<RunId> {
        let runs = runs(&**records, 99).await.expect("can be read");
        assert!(runs.iter().all(|run| run.damaged.is_none()), "{runs:?}");
        let mut runs: Vec<RunId> = runs.into_iter().map(|run| run.run).collect();
        runs.sort();
        runs
    }

    #[tokio::test]
    async fn what_is_neither_new_nor_young_is_forgotten() {
        let records = Records::endless();
        for (number, hours) in [(1, 9), (2, 8), (3, 0), (4, 0), (5, 0)] {
            release(&records, number, hours, false).await;
        }
        let keep_all = Retention { releases: 5, ..TWO };
        sweep_all(&records, keep_all).await.expect("answers");
        assert_eq!(on_record(&records).await.len(), 5);
        sweep_all(&records, TWO).await.expect("answers");
        // The third is not among the newest two, but young.
        assert_eq!(on_record(&records).await, [run_of(3), run_of(4), run_of(5)]);
        assert_eq!(history::head(&*records).await.expect("answers").releases, [3, 4, 5].map(ReleaseId));
        for number in [1, 2] {
            let run = run_of(number);
            for prefix in [format!("run/{run}/"), format!("swept/{run}"), format!("release/{number:09}")] {
                assert_eq!(records.list(&prefix).await.expect("answers"), [""; 0], "{prefix}");
            }
        }
        assert_eq!(records.list("epoch/").await.expect("answers").len(), 3);
    }

    async fn damage(records: &Arc<Records>, key: &str) {
        records.delete(key).await.expect("answers");
        records.create(key, b"{").await.expect("answers");
    }

    #[tokio::test]
    async fn what_is_damaged_does_not_keep_the_rest_from_being_forgotten() {
        let records = Records::endless();
        for number in 1..=6 {
            release(&records, number, 9, false).await;
        }
        damage(&records, "release/000000001").await;
        damage(&records, &epoch::key(Epoch(2))).await;
        damage(&records, &journal::segment_key(&run_of(3), 0)).await;
        assert!(sweep_all(&records, TWO).await.expect("goes on"));
        let left = history::list_releases(&*records).await.expect("answers");
        assert_eq!(left, [5, 6].map(ReleaseId));
        // Which run a damaged claim was for is not known; what is left of a forgotten run is no damage.
        assert_eq!(on_record(&records).await, [run_of(2), run_of(5), run_of(6)]);
        assert_eq!(journal::read_plan(&*records, &run_of(3)).await.expect("is forgotten"), None);
    }

    #[tokio::test]
    async fn a_former_holder_of_a_swept_run_still_meets_the_claim() {
        let records = Records::endless();
        let mut former = release(&records, 1, 9, true).await;
        for number in [2, 3, 4] {
            release(&records, number, 8, false).await;
        }
        sweep_all(&records, TWO).await.expect("answers");
        assert_eq!(on_record(&records).await, [run_of(3), run_of(4)]);
        let at = TokioRuntime.wall();
        let late = JournalEvent::Undone { step: StepId::new("production", "api", "rollout"), at };
        let error = former.append(&[late], TokioRuntime.now()).await.expect_err("the place is taken");
        assert!(matches!(error, JournalError::NotHolder { .. }), "{error}");
        assert_eq!(on_record(&records).await, [run_of(3), run_of(4)]);
    }

    #[tokio::test]
    async fn the_latest_release_and_what_has_not_ended_stay_also_where_nothing_is_to_be_kept() {
        let records = Records::endless();
        for number in [1, 2, 3] {
            release(&records, number, 9, false).await;
        }
        let open = run_of(4);
        let epoch = claim(&records, &open).await;
        let mut writer = Writer::new(Arc::clone(&records) as _, runtime(), open.clone(), epoch, 0);
        let begun = JournalEvent::RunStarted { plan: String::new(), by: "somebody".into(), reason: None };
        writer.append(&[begun], TokioRuntime.now()).await.expect("is written");
        let nothing = Retention { releases: 0, age: Seconds(0) };
        sweep_all(&records, nothing).await.expect("answers");
        assert_eq!(on_record(&records).await, [run_of(3), open.clone()]);
        let head = history::head(&*records).await.expect("can be read");
        assert_eq!(head.releases, [ReleaseId(3)]);
        assert_eq!(head.unfinished.map(|unfinished| unfinished.recorded.run), Some(open));
    }

    #[tokio::test]
    async fn a_claimer_who_was_halted_learns_of_the_highest_epoch_after_the_sweeping() {
        let records = Records::endless();
        for number in 1..=5 {
            release(&records, number, 9, false).await;
        }
        sweep_all(&records, TWO).await.expect("answers");
        // He had read that two epochs were claimed.
        let run = run_of(9);
        let claimed = epoch::claim(&*records, &TokioRuntime, Some(Epoch(2)), None, &run, "late").await;
        assert!(matches!(claimed, Err(JournalError::NotHolder { .. })), "{claimed:?}");
    }

    /// Each rule is worth what turns red without it.
    #[cfg(feature = "planted-defects")]
    #[test]
    fn what_has_to_stay_is_missed_when_it_is_swept() {
        use crate::planted::turns_red;

        let halted = a_claimer_who_was_halted_learns_of_the_highest_epoch_after_the_sweeping;
        turns_red(Defect::HighestEpochSwept, halted);
        let stay = the_latest_release_and_what_has_not_ended_stay_also_where_nothing_is_to_be_kept;
        turns_red(Defect::HighestEpochSwept, stay);
        turns_red(Defect::LatestReleaseSwept, stay);
        turns_red(Defect::ClaimsSwept, a_former_holder_of_a_swept_run_still_meets_the_claim);
    }

    /// Whoever looks has listed its segments, and reads one that is gone.
    #[tokio::test]
    async fn a_run_that_is_swept_while_it_is_read_is_not_called_damaged() {
        for taken in [false, true] {
            for calls in 0..12 {
                let records = Records::endless();
                release(&records, 1, 9, taken).await;
                release(&records, 2, 0, false).await;
                *records.swept.lock().expect("is not poisoned") = Some((run_of(1), calls));
                let read = journal::read(&*records, &run_of(1)).await;
                assert!(read.is_ok(), "taken over: {taken}, after {calls} calls: {read:?}");
            }
        }
    }

    #[tokio::test]
    async fn it_may_stop_anywhere() {
        let mut stops = 0;
        loop {
            let records = Records::endless();
            for (number, taken) in [(1, false), (2, true), (3, false), (4, false)] {
                release(&records, number, 9, taken).await;
            }
            let releases: Vec<ReleaseId> = (1..=4).map(ReleaseId).collect();
            records.left.store(stops, Ordering::SeqCst);
            let end = sweep_runs(&*records, &TokioRuntime, TWO, &releases).await;
            records.left.store(usize::MAX, Ordering::SeqCst);
            let head = history::head(&*records).await.expect("can be read");
            assert_eq!(
                head.release.map(|(_, release)| release.id),
                Some(ReleaseId(4)),
                "stopped after {stops}"
            );
            assert!(head.unfinished.is_none(), "stopped after {stops}");
            let known = on_record(&records).await;
            assert!(known.ends_with(&[run_of(3), run_of(4)]), "stopped after {stops}: {known:?}");
            // What one leaves, another takes.
            release(&records, 5, 9, false).await;
            sweep_all(&records, TWO).await.expect("answers");
            assert_eq!(on_record(&records).await, [run_of(4), run_of(5)], "stopped after {stops}");
            if end.is_ok() {
                break;
            }
            stops += 1;
        }
        assert!(stops > 10, "{stops} stops were tried");
    }
}
