//! Records whose store is slow, or refuses, and counts how often it is read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use maily_core::{
    engine::Environment,
    provider::{Created, ErrorKind, ProviderError, RecordStore},
    runtime::Runtime,
};

use crate::setup::Setup;

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) inner: Arc<dyn RecordStore>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) reads: AtomicU32,
    /// Each segment of a journal takes so long to read.
    pub(crate) reads_take: Duration,
    /// A request to abort takes so long to be written.
    pub(crate) requests_take: Duration,
    /// Requests to abort are written, and nobody is told so.
    pub(crate) requests_unanswered: bool,
    /// What is refused, by the beginning of its key.
    pub(crate) refuses: Option<&'static str>,
    /// How it is refused.
    pub(crate) refusal: (ErrorKind, &'static str),
}

impl Ledger {
    pub(crate) fn of(setup: &Setup) -> Self {
        Self {
            inner: setup.environment().records,
            runtime: Arc::clone(&setup.runtime),
            reads: AtomicU32::new(0),
            reads_take: Duration::ZERO,
            requests_take: Duration::ZERO,
            requests_unanswered: false,
            refuses: None,
            refusal: (ErrorKind::PermissionDenied, "forbidden"),
        }
    }

    /// An environment with these records.
    pub(crate) fn open(self, setup: &Setup) -> (Environment, Arc<Self>) {
        let ledger = Arc::new(self);
        let records: Arc<dyn RecordStore> = Arc::clone(&ledger) as _;
        (Environment { records, ..setup.environment() }, ledger)
    }
}

#[async_trait]
impl RecordStore for Ledger {
    async fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, ProviderError> {
        if self.refuses.is_some_and(|refused| key.starts_with(refused)) {
            let (kind, message) = self.refusal;
            return Err(ProviderError::new(kind, "kubernetes", "create", "Secret record", message));
        }
        if key.starts_with("request/") {
            self.runtime.sleep(self.requests_take).await;
            if self.requests_unanswered {
                self.inner.create(key, bytes).await?;
                let (kind, message) = (ErrorKind::DeadlineExceeded, "no answer in time");
                return Err(ProviderError::new(kind, "kubernetes", "create", "Secret record", message));
            }
        }
        self.inner.create(key, bytes).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ProviderError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if key.starts_with("run/") {
            self.runtime.sleep(self.reads_take).await;
        }
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ProviderError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        self.inner.delete(key).await
    }
}
