//! A store that says a record is there, and has none: a conflict need not mean that somebody was first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use maily_core::{
    engine::{
        Epoch, Note, Plan, RunId,
        journal::{self, JournalError, JournalEvent, Writer},
    },
    provider::{Created, ProviderError, RecordStore},
    records::MemoryRecords,
    runtime::Runtime,
};
use maily_testkit::sim::SimRuntime;

use crate::place::{Place, plan};

/// Answers `Exists` to the first creates below a prefix, and stores nothing.
#[derive(Debug)]
struct Denies {
    inner: MemoryRecords,
    prefix: &'static str,
    left: AtomicU32,
}

#[async_trait]
impl RecordStore for Denies {
    async fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, ProviderError> {
        let one_less = |left: u32| left.checked_sub(1);
        let denied = key.starts_with(self.prefix)
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        if denied { Ok(Created::Exists) } else { self.inner.create(key, bytes).await }
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ProviderError> {
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ProviderError> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        self.inner.delete(key).await
    }
}

/// A plan that is too large for the first segment.
async fn large(runtime: &dyn Runtime) -> Plan {
    let folder = tempfile::tempdir().expect("can be made");
    let place = Place::new(1, folder.path());
    let mut plan = plan(&place.environment(), "v1").await.plan;
    let text: String = (0..80_000).map(|_| format!("{:016x}", runtime.random())).collect();
    plan.notes.push(Note { topic: "long".to_owned(), text });
    plan.sealed()
}

async fn begin(prefix: &'static str, denials: u32) -> (Plan, Arc<Denies>, Result<(), JournalError>) {
    let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(1));
    let plan = large(&*runtime).await;
    let store = Arc::new(Denies { inner: MemoryRecords::default(), prefix, left: AtomicU32::new(denials) });
    let (run, until) = (RunId::from("20260101-000000-aaaaaa"), runtime.now() + Duration::from_secs(20));
    let records: Arc<dyn RecordStore> = Arc::clone(&store) as _;
    let mut writer = Writer::new(records, Arc::clone(&runtime), run, Epoch(1), 0);
    let started = [JournalEvent::RunStarted { plan: plan.digest.clone(), by: "tester".into(), reason: None }];
    let begun = writer.begin(&plan, &started, until);
    let end = maily_core::runtime::within(&*runtime, Duration::from_secs(120), begun).await;
    (plan, store, end.expect("gives up in time"))
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_plan_that_is_said_to_be_there_is_looked_at() {
    let (plan, store, end) = begin("blob/", 3).await;
    end.expect("is written in the end");
    let read = journal::read(&*store, &RunId::from("20260101-000000-aaaaaa")).await.expect("can be read");
    assert_eq!(read.expect("is there").plan, Some(plan), "the whole plan was stored before the run goes on");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_so_for_good_ends_the_run() {
    for prefix in ["blob/", "run/"] {
        let (_, _, end) = begin(prefix, u32::MAX).await;
        assert!(matches!(end, Err(JournalError::Store(_))), "{prefix}: {end:?}");
    }
}
