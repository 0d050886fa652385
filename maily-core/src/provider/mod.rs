//! What the engine needs from the outside, as traits.
//!
//! Each trait's documentation has a `# Contract`; every sentence of it is a case of the contract suite in
//! the testkit, which runs against the real adapters and the simulated world alike.

mod cluster;
mod error;
mod frontend;
mod probe;
mod records;

pub use cluster::{
    Access, ApiResource, Cluster, ClusterIdentity, ClusterInfo, Deleted, Follow, ListQuery, LogLine,
    LogOptions, LogStream, Permission, Precondition, WatchEvent, WatchStream, WriteMode, WriteOptions,
    patch_of,
};
pub use error::{Effect, ErrorKind, ProviderError};
pub use frontend::{FrontendDeployment, FrontendHost, FrontendState};
pub use probe::{ProbeRequest, ProbeService, Prober, Verdict};
pub use records::{Created, RecordStore};
