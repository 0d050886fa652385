//! What the engine needs from the outside, as traits.
//!
//! Each trait's documentation has a `# Contract`; every sentence of it is a case of the contract suite in
//! the testkit, which runs against the real adapters and the simulated world alike.

mod cluster;
mod databases;
mod error;
mod frontend;
mod identities;
mod monitoring;
mod probe;
mod records;
mod secrets;
mod storage;

pub use cluster::{
    Access, ApiResource, Cluster, ClusterIdentity, ClusterInfo, Deleted, Dependents, Follow, ListQuery,
    LogLine, LogOptions, LogStream, Permission, Precondition, WatchEvent, WatchStream, WriteMode,
    WriteOptions, patch_of,
};
pub(crate) use cluster::{LIST_FROM, exactly};
pub use databases::{
    Database, DatabaseSettings, DatabaseState, Databases, Endpoint, NewSnapshot, Restore, RestoreFrom,
    Snapshot, SnapshotQuery, SnapshotState,
};
pub use error::{Effect, ErrorKind, ProviderError, with_causes};
pub(crate) use error::{unserved_is_absent, unserved_is_none};
pub use frontend::{FrontendDeployment, FrontendHost, FrontendState, Production};
pub use identities::{CallerIdentity, Identities, Role, TrustedWorkload};
pub use monitoring::{
    Answer, Found, Marker, MarkerQuery, Monitor, MonitorState, Monitoring, RangeQuery, Reading, Series,
    Silence, Value,
};
pub use probe::{ProbeRequest, ProbeService, Prober, Verdict};
pub use records::{Created, RecordStore};
pub use secrets::{
    Cas, SecretData, SecretMetadata, SecretVersion, Secrets, VersionChange, VersionInfo, VersionState,
};
pub use storage::{ObjectInfo, ObjectStorage, PutIf, StoredObject};
