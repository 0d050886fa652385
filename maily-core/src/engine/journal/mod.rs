//! The journal: what a run intended, did and decided, in immutable segments.

mod event;
mod log;
mod pack;
#[cfg(test)]
mod tests;

use crate::{engine::Epoch, provider::ProviderError};

pub use event::{JournalEvent, ReleaseHead};
pub(super) use log::format_of;
pub(crate) use log::runs;
pub(super) use log::sweep;
pub use log::{JOURNAL_FORMAT, Recorded, Segment, Writer, read, read_plan, segment_key};
pub use pack::{pack, uncompressed, unpack};

pub use crate::run::{StepResult, Written};

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Somebody else writes: this process is no longer the holder and must stop.
    #[error("epoch {epoch} lost the environment to {}", .other.map_or("another holder".to_owned(), |other| format!("epoch {other}")))]
    NotHolder {
        /// Ours.
        epoch: Epoch,
        /// Theirs, where it was seen.
        other: Option<Epoch>,
    },
    /// A record cannot be understood.
    #[error("record `{key}` is damaged: {message}")]
    Damaged {
        /// Which.
        key: String,
        /// How.
        message: String,
    },
    /// A record of a newer maily.
    #[error("record `{key}` was written by a newer maily (format {format}): update this one")]
    Newer {
        /// Which.
        key: String,
        /// Its format.
        format: u32,
    },
    /// The store failed.
    #[error("failed to use the records")]
    Store(#[source] ProviderError),
}
