//! Databases on RDS: instances and their snapshots. Clusters (Aurora) are another API and not covered.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use aws_sdk_rds::{
    Client,
    error::ProvideErrorMetadata as _,
    primitives::DateTime,
    types::{DbInstance, DbSnapshot, Tag},
};
use jiff::Timestamp;
use maily_core::provider::{
    Database, DatabaseSettings, DatabaseState, Databases, Deleted, Endpoint, NewSnapshot, ProviderError,
    Restore, Snapshot, SnapshotQuery, SnapshotState,
};

use crate::error::About;

/// Databases of an account in a region. Restoring, renaming and deleting databases are not implemented.
pub struct RdsDatabases {
    client: Client,
}

impl RdsDatabases {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl fmt::Debug for RdsDatabases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdsDatabases").finish_non_exhaustive()
    }
}

#[async_trait]
impl Databases for RdsDatabases {
    async fn get(&self, name: &str) -> Result<Option<Database>, ProviderError> {
        let about = About { operation: "read database", resource: name };
        match self.client.describe_db_instances().db_instance_identifier(name).send().await {
            Ok(answer) => {
                let found = answer.db_instances.unwrap_or_default().into_iter().next();
                found.map(|instance| database(about, instance)).transpose()
            }
            Err(error) if is_absent(error.code(), "DBInstance") => Ok(None),
            Err(error) => Err(about.failed(error)),
        }
    }

    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, ProviderError> {
        let resource = query.name.as_deref().or(query.database.as_deref()).unwrap_or("all");
        let about = About { operation: "list snapshots", resource };
        let mut pages = self
            .client
            .describe_db_snapshots()
            .set_db_instance_identifier(query.database.clone())
            .set_db_snapshot_identifier(query.name.clone())
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => found.extend(page.db_snapshots.unwrap_or_default()),
                Err(error) if is_absent(error.code(), "DB") => return Ok(Vec::new()),
                Err(error) => return Err(about.failed(error)),
            }
        }
        // One that is being taken has no time yet: it is the newest.
        found.sort_by_key(|one| {
            std::cmp::Reverse(
                one.snapshot_create_time.map_or((i64::MAX, 0), |t| (t.secs(), t.subsec_nanos())),
            )
        });
        found.into_iter().map(|one| snapshot(about, one)).collect()
    }

    async fn create_snapshot(&self, wanted: &NewSnapshot) -> Result<Snapshot, ProviderError> {
        let about = About { operation: "create snapshot", resource: &wanted.name };
        let tags: Vec<Tag> =
            wanted.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let answer = self
            .client
            .create_db_snapshot()
            .db_instance_identifier(&wanted.database)
            .db_snapshot_identifier(&wanted.name)
            .set_tags((!tags.is_empty()).then_some(tags))
            .send()
            .await
            .map_err(|error| about.failed(error))?;
        snapshot(about, answer.db_snapshot.ok_or_else(|| about.garbled("snapshot"))?)
    }

    async fn delete_snapshot(&self, name: &str) -> Result<Deleted, ProviderError> {
        let about = About { operation: "delete snapshot", resource: name };
        match self.client.delete_db_snapshot().db_snapshot_identifier(name).send().await {
            Ok(_) => Ok(Deleted::Gone),
            Err(error) if is_absent(error.code(), "DBSnapshot") => Ok(Deleted::AlreadyAbsent),
            Err(error) => Err(about.failed(error)),
        }
    }

    async fn restore(&self, restore: &Restore) -> Result<Database, ProviderError> {
        let about = About { operation: "restore database", resource: &restore.name };
        Err(about.unsupported(
            "restoring (RDS `RestoreDBInstanceFromDBSnapshot`, `RestoreDBInstanceToPointInTime`)",
        ))
    }

    async fn rename(&self, name: &str, _to: &str) -> Result<Database, ProviderError> {
        let about = About { operation: "rename database", resource: name };
        Err(about.unsupported("renaming (RDS `ModifyDBInstance`)"))
    }

    async fn delete(&self, name: &str, _final_snapshot: Option<&str>) -> Result<Deleted, ProviderError> {
        let about = About { operation: "delete database", resource: name };
        Err(about.unsupported("deleting databases (RDS `DeleteDBInstance`)"))
    }
}

/// Whether the code says that what was asked for does not exist; RDS writes it with and without `Fault`.
fn is_absent(code: Option<&str>, what: &str) -> bool {
    code.is_some_and(|code| code.starts_with(what) && code.trim_end_matches("Fault").ends_with("NotFound"))
}

fn database(about: About<'_>, instance: DbInstance) -> Result<Database, ProviderError> {
    let status = instance.db_instance_status.unwrap_or_default();
    let groups = instance.vpc_security_groups.unwrap_or_default();
    let parameters = instance.db_parameter_groups.unwrap_or_default();
    let options = instance.option_group_memberships.unwrap_or_default();
    let endpoint = instance.endpoint.and_then(|endpoint| {
        let port = u16::try_from(endpoint.port?).ok()?;
        Some(Endpoint { host: endpoint.address?, port })
    });
    Ok(Database {
        name: instance.db_instance_identifier.ok_or_else(|| about.garbled("DBInstanceIdentifier"))?,
        id: instance.dbi_resource_id.ok_or_else(|| about.garbled("DbiResourceId"))?,
        state: state(&status),
        engine: instance.engine.unwrap_or_default(),
        engine_version: instance.engine_version.unwrap_or_default(),
        endpoint,
        created: instance.instance_create_time.and_then(time),
        latest_restorable: instance.latest_restorable_time.and_then(time),
        backup_retention_days: instance
            .backup_retention_period
            .and_then(|d| u32::try_from(d).ok())
            .unwrap_or(0),
        encryption_key: instance.kms_key_id,
        replica_of: instance.read_replica_source_db_instance_identifier,
        deletion_protection: instance.deletion_protection.unwrap_or_default(),
        settings: DatabaseSettings {
            class: instance.db_instance_class.unwrap_or_default(),
            subnet_group: instance
                .db_subnet_group
                .and_then(|group| group.db_subnet_group_name)
                .unwrap_or_default(),
            security_groups: groups.into_iter().filter_map(|group| group.vpc_security_group_id).collect(),
            parameter_group: parameters
                .into_iter()
                .find_map(|group| group.db_parameter_group_name)
                .unwrap_or_default(),
            option_group: options.into_iter().find_map(|group| group.option_group_name).unwrap_or_default(),
            multi_az: instance.multi_az.unwrap_or_default(),
        },
        tags: tags(instance.tag_list),
    })
}

fn snapshot(about: About<'_>, snapshot: DbSnapshot) -> Result<Snapshot, ProviderError> {
    let status = snapshot.status.unwrap_or_default();
    let state = match status.as_str() {
        "creating" => SnapshotState::Creating,
        "available" => SnapshotState::Available,
        "deleting" => SnapshotState::Deleting,
        status if status.starts_with("failed") || status.starts_with("incompatible") => {
            SnapshotState::Failed(status.to_owned())
        }
        status => SnapshotState::Other(status.to_owned()),
    };
    Ok(Snapshot {
        name: snapshot.db_snapshot_identifier.ok_or_else(|| about.garbled("DBSnapshotIdentifier"))?,
        database: snapshot.db_instance_identifier.unwrap_or_default(),
        state,
        percent: snapshot
            .percent_progress
            .map_or(0, |percent| u8::try_from(percent.clamp(0, 100)).unwrap_or(0)),
        taken: snapshot.snapshot_create_time.and_then(time),
        automatic: snapshot.snapshot_type.as_deref() == Some("automated"),
        encryption_key: snapshot.kms_key_id,
        tags: tags(snapshot.tag_list),
    })
}

/// States of an instance, by the names of the RDS user guide ("DB instance status").
fn state(status: &str) -> DatabaseState {
    match status {
        "creating" => DatabaseState::Creating,
        // These serve, and take every request.
        "available" | "storage-optimization" => DatabaseState::Available,
        "backing-up" => DatabaseState::BackingUp,
        "modifying" | "configuring-enhanced-monitoring" | "configuring-log-exports" | "upgrading" => {
            DatabaseState::Modifying
        }
        "renaming" => DatabaseState::Renaming,
        "deleting" => DatabaseState::Deleting,
        "stopped" => DatabaseState::Stopped,
        "inaccessible-encryption-credentials-recoverable" => {
            DatabaseState::KeyUnavailable { recoverable: true }
        }
        "inaccessible-encryption-credentials" => DatabaseState::KeyUnavailable { recoverable: false },
        "failed" | "restore-error" => DatabaseState::Failed(status.to_owned()),
        status if status.starts_with("incompatible-") => DatabaseState::Failed(status.to_owned()),
        status => DatabaseState::Other(status.to_owned()),
    }
}

fn time(time: DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

fn tags(tags: Option<Vec<Tag>>) -> BTreeMap<String, String> {
    let tags = tags.unwrap_or_default().into_iter();
    tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_requests_is_available() {
        assert_eq!(state("available"), DatabaseState::Available);
        assert_eq!(state("backing-up"), DatabaseState::BackingUp);
        assert_eq!(state("rebooting"), DatabaseState::Other("rebooting".into()));
        assert_eq!(state("incompatible-restore"), DatabaseState::Failed("incompatible-restore".into()));
        let key = DatabaseState::KeyUnavailable { recoverable: true };
        assert_eq!(state("inaccessible-encryption-credentials-recoverable"), key);
    }
}
