//! Object storage: bytes under keys in buckets.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use super::ProviderError;

/// What is known of a stored object without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Key.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// Entity tag: differs when the bytes differ. Opaque; not always a checksum of the bytes.
    pub etag: String,
    /// When it was stored, to the second.
    pub modified: Option<Timestamp>,
}

/// A stored object.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// What is known of it.
    pub info: ObjectInfo,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Without the bytes, which may be anything.
impl fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredObject").field("info", &self.info).finish_non_exhaustive()
    }
}

/// What must hold of the key for a put to take effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PutIf {
    /// Nothing.
    #[default]
    Any,
    /// No object has the key (`If-None-Match: *`).
    Absent,
    /// The object has this entity tag (`If-Match`).
    Matches(String),
}

/// Object storage, such as S3.
///
/// # Contract
/// 1. Reads and lists see every put and delete that was answered before they were sent.
/// 2. `get` and `head` of an absent key are `None`; of an absent bucket they fail with `NotFound`.
/// 3. A put with [`PutIf::Absent`] onto a present key fails with `Conflict` and changes nothing, also when the bytes
///    are equal.
/// 4. Of many concurrent puts with [`PutIf::Absent`] exactly one succeeds. Another one may be told to come again
///    (`Unavailable` with no effect) as long as the first is under way.
/// 5. A put with [`PutIf::Matches`] fails with `Conflict` where the object has another entity tag or is absent.
/// 6. `list` returns every key under the prefix, all pages, in ascending order of UTF-8 bytes.
/// 7. `delete` of an absent key succeeds: the provider does not tell the difference.
/// 8. Keys are taken as they are: slashes, blanks, `+`, `%`, `?` and letters of every script.
#[async_trait]
pub trait ObjectStorage: fmt::Debug + Send + Sync + 'static {
    /// Reads an object.
    ///
    /// # Errors
    /// See the contract.
    async fn get(&self, bucket: &str, key: &str) -> Result<Option<StoredObject>, ProviderError>;

    /// Reads what is known of an object.
    ///
    /// # Errors
    /// See the contract.
    async fn head(&self, bucket: &str, key: &str) -> Result<Option<ObjectInfo>, ProviderError>;

    /// Stores an object whole, or not at all.
    ///
    /// # Errors
    /// See the contract.
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: &[u8],
        when: &PutIf,
    ) -> Result<ObjectInfo, ProviderError>;

    /// Objects whose keys start with the prefix.
    ///
    /// # Errors
    /// See the contract.
    async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<ObjectInfo>, ProviderError>;

    /// Removes an object; absence is success.
    ///
    /// # Errors
    /// When the bucket is absent, or the provider cannot be reached or refuses.
    async fn delete(&self, bucket: &str, key: &str) -> Result<(), ProviderError>;
}
