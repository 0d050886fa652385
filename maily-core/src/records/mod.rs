//! The places where records can live.

mod cluster;
mod folder;
mod memory;

pub use cluster::ClusterRecords;
pub use folder::FolderRecords;
pub use memory::MemoryRecords;

use crate::provider::{ErrorKind, ProviderError};

/// Keys are path-like, of lower-case letters, digits and `-`, so that every backend can hold them.
fn check_key(operation: &'static str, key: &str) -> Result<(), ProviderError> {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if key.split('/').all(part) {
        Ok(())
    } else {
        Err(ProviderError::new(ErrorKind::Invalid, "records", operation, key, "not a record key"))
    }
}
