//! Mocks of every provider trait, for tests that say call by call what a provider answers.
//!
//! What a world can show is better shown by [`crate::sim`]: a mock answers what its test believes, the world what the
//! contract says.
#![expect(missing_docs, reason = "the generated items are mockall's")]

mod cloud;
mod cluster;
mod insight;

pub use cloud::{MockDatabases, MockIdentities, MockObjectStorage, MockSecrets};
pub use cluster::{MockCluster, MockFrontendHost, MockProber, MockRecordStore};
pub use insight::MockMonitoring;
