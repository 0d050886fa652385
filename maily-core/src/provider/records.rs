//! Where journals, epochs and releases are kept.

use std::fmt;

use async_trait::async_trait;

use super::ProviderError;

/// Result of a create-if-absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The record is ours.
    Created,
    /// A record of that key exists; it was not touched.
    Exists,
}

/// A store of immutable records that are created only if absent.
///
/// Keys are `/`-separated: `epoch/<n>`, `run/<id>/<seq>`, `blob/<run>/<sha256>/<part>`, `release/<n>`,
/// `request/<run>/abort`, `swept/<run>`.
/// One store holds the records of one environment.
///
/// # Contract
/// 1. `create` of an absent key stores the bytes and answers `Created`; afterwards `get` returns them unchanged.
/// 2. `create` of a present key answers `Exists` and changes nothing, also when the bytes are equal.
/// 3. Of many concurrent `create`s of one key exactly one answers `Created`.
/// 4. `get` of an absent key is `None`.
/// 5. `list` returns every key under the prefix, in order, including what was created just before by anybody:
///    it reads from a quorum, never from a cache.
/// 6. `delete` removes a record; deleting what is absent succeeds.
/// 7. A record of 700 KiB is stored whole.
#[async_trait]
pub trait RecordStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a record if its key is absent.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses; after an error with unknown effect the record may exist.
    async fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, ProviderError>;

    /// Reads a record.
    ///
    /// # Errors
    /// When the store cannot be reached. What is damaged is answered as it is, perhaps without a byte.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ProviderError>;

    /// All keys that start with the prefix, in ascending order of text.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, ProviderError>;

    /// Removes a record; absence is success.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses.
    async fn delete(&self, key: &str) -> Result<(), ProviderError>;
}
