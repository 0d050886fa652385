//! Records in memory, for tests and embedding.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use super::check_key;
use crate::provider::{Created, ProviderError, RecordStore};

/// Records that end with the process.
#[derive(Debug, Default)]
pub struct MemoryRecords(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryRecords {
    fn records(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RecordStore for MemoryRecords {
    async fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, ProviderError> {
        check_key("create", key)?;
        let mut records = self.records();
        if records.contains_key(key) {
            return Ok(Created::Exists);
        }
        records.insert(key.to_owned(), bytes.to_vec());
        Ok(Created::Created)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ProviderError> {
        Ok(self.records().get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ProviderError> {
        let records = self.records();
        Ok(records.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        self.records().remove(key);
        Ok(())
    }
}
