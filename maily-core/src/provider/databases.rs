//! Managed relational databases and their snapshots.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Deleted, ProviderError};

/// A managed database instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Name, which a rename changes.
    pub name: String,
    /// The provider's id, which stays the same across renames (`DbiResourceId` on RDS).
    pub id: String,
    /// What it is doing.
    pub state: DatabaseState,
    /// Engine, such as `postgres`.
    pub engine: String,
    /// Version of the engine.
    pub engine_version: String,
    /// Where it listens; absent while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Newest moment that a restore can reach. It trails the present by about five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_restorable: Option<Timestamp>,
    /// Days for which automatic backups are kept; zero means that there are none.
    pub backup_retention_days: u32,
    /// Key that encrypts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<String>,
    /// Name of the database that this one is a read replica of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_of: Option<String>,
    /// Whether deleting is refused.
    #[serde(default)]
    pub deletion_protection: bool,
    /// What a restored copy has to be given anew.
    pub settings: DatabaseSettings,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Settings that a restore does not take over from the source: what is not given becomes the provider's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatabaseSettings {
    /// Instance class, such as `db.t4g.medium`.
    pub class: String,
    /// Subnet group.
    pub subnet_group: String,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// Parameter group.
    pub parameter_group: String,
    /// Option group.
    pub option_group: String,
    /// Whether a standby is kept in another zone.
    pub multi_az: bool,
}

/// An address and a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What a database is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseState {
    /// Is being made or restored.
    Creating,
    /// Serves, and takes every request.
    Available,
    /// Serves; a snapshot is being taken.
    BackingUp,
    /// Serves; settings are being changed.
    Modifying,
    /// Is getting another name; neither name resolves for sure.
    Renaming,
    /// Is being deleted.
    Deleting,
    /// Does not run and can be started.
    Stopped,
    /// Its encryption key cannot be used. Recoverable means that the key was disabled less than seven days ago.
    KeyUnavailable {
        /// Whether enabling the key brings it back.
        recoverable: bool,
    },
    /// Cannot be used any more, with the provider's word for it.
    Failed(String),
    /// Anything else, by the provider's word: neither ready nor lost.
    Other(String),
}

/// A snapshot of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Name: unique in the account and region, chosen by who makes it.
    pub name: String,
    /// Name of its database at that time.
    pub database: String,
    /// How far it is.
    pub state: SnapshotState,
    /// Part that is stored, in percent.
    pub percent: u8,
    /// When it was taken; absent while it is being taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Timestamp>,
    /// Whether the provider made it by itself.
    pub automatic: bool,
    /// Key that encrypts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// How far a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotState {
    /// Is being taken.
    Creating,
    /// Can be restored.
    Available,
    /// Is being deleted.
    Deleting,
    /// Cannot be used, with the provider's word for it.
    Failed(String),
    /// Anything else, by the provider's word.
    Other(String),
}

/// Which snapshots to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// Of one database.
    pub database: Option<String>,
    /// The one of this name.
    pub name: Option<String>,
}

/// A snapshot to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Its name.
    pub name: String,
    /// Of which database.
    pub database: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// From what a database is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreFrom {
    /// A snapshot.
    Snapshot(String),
    /// What a database was at a moment, by its continuous backup.
    Moment {
        /// The database.
        database: String,
        /// The moment; the newest one possible where absent.
        at: Option<Timestamp>,
    },
}

/// A restore, which always makes a new database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// From what.
    pub from: RestoreFrom,
    /// Name of the new database.
    pub name: String,
    /// Its settings; what is empty becomes the provider's default and not the source's value.
    pub settings: DatabaseSettings,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// Managed databases, such as RDS.
///
/// Every change answers before it is through: the state of what it changed tells when. None has an idempotency
/// token; names are what makes a repetition harmless. Reads are eventually consistent: for some seconds after a
/// change was answered they may tell the state before it, so that absence right after a creation proves nothing.
///
/// # Contract
/// 1. `get` of an unknown name is `None`.
/// 2. `create_snapshot` answers while the snapshot is `Creating`; it becomes `Available` later, at 100 percent, with
///    the time at which it was taken.
/// 3. `create_snapshot` under a name that is taken fails with `Conflict` and changes nothing, also when it repeats
///    the call that took the name.
/// 4. `create_snapshot` of an unknown database fails with `NotFound`; of one that is not ready for it, with
///    `Conflict`.
/// 5. `snapshots` of a database are newest first; of an unknown database or name there are none.
/// 6. `restore` makes a new database under another id, `Creating` first and `Available` later; the source stays as it
///    is. Under a name that is taken it fails with `Conflict`.
/// 7. A restored database has the settings that were given; those that were not are the provider's defaults.
/// 8. A restore to a moment later than `latest_restorable`, or before the backups begin, fails with `Invalid`; of an
///    unknown snapshot or database with `NotFound`; of a snapshot that is not available with `Conflict`.
/// 9. `latest_restorable` is never later than the present, and moves on with it.
/// 10. After `rename` answered, the old name becomes unknown at once or soon, and the new one is known later, with the
///     same id. To a name that is taken it fails with `Conflict`.
/// 11. `delete` of a protected database fails with `Conflict`; of an absent one it is `AlreadyAbsent`; otherwise it is
///     `Pending` until the database is gone. A final snapshot that was asked for exists before the database is gone.
/// 12. `delete_snapshot` of an absent snapshot is `AlreadyAbsent`.
/// 13. A name that is malformed (1 to 63 letters, digits and single hyphens, a letter first, no hyphen last) is
///     `Invalid`.
#[async_trait]
pub trait Databases: fmt::Debug + Send + Sync + 'static {
    /// Reads a database.
    ///
    /// # Errors
    /// When the provider cannot be reached or refuses; `NotFound` is never one.
    async fn get(&self, name: &str) -> Result<Option<Database>, ProviderError>;

    /// Reads snapshots, all pages.
    ///
    /// # Errors
    /// When the provider cannot be reached or refuses.
    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, ProviderError>;

    /// Starts to take a snapshot.
    ///
    /// # Errors
    /// See the contract.
    async fn create_snapshot(&self, snapshot: &NewSnapshot) -> Result<Snapshot, ProviderError>;

    /// Deletes a snapshot that somebody took.
    ///
    /// # Errors
    /// When the provider cannot be reached or refuses.
    async fn delete_snapshot(&self, name: &str) -> Result<Deleted, ProviderError>;

    /// Starts to restore into a new database.
    ///
    /// # Errors
    /// See the contract.
    async fn restore(&self, restore: &Restore) -> Result<Database, ProviderError>;

    /// Starts to give a database another name. Read replicas stay with it under either name.
    ///
    /// # Errors
    /// See the contract.
    async fn rename(&self, name: &str, to: &str) -> Result<Database, ProviderError>;

    /// Starts to delete a database, with its automatic backups; `final_snapshot` names a snapshot to take before.
    ///
    /// # Errors
    /// See the contract.
    async fn delete(&self, name: &str, final_snapshot: Option<&str>) -> Result<Deleted, ProviderError>;
}
