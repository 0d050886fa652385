//! The cloud of the world: databases, buckets, identities.

use async_trait::async_trait;
use maily_core::provider::{
    Access, CallerIdentity, Database, Databases, Deleted, Identities, NewSnapshot, ObjectInfo, ObjectStorage,
    ProviderError, PutIf, Restore, Role, Snapshot, SnapshotQuery, StoredObject,
};

use super::door::{Door, client};

/// A client of the simulated databases.
#[derive(Clone, Debug)]
pub struct SimDatabases {
    door: Door,
}

client!(SimDatabases, "databases");

#[async_trait]
impl Databases for SimDatabases {
    async fn get(&self, name: &str) -> Result<Option<Database>, ProviderError> {
        self.door.read("get", name, |world| Ok(world.database(name))).await
    }

    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, ProviderError> {
        let (database, name) = (query.database.as_deref(), query.name.as_deref());
        let resource = name.or(database).unwrap_or("all");
        self.door.read("snapshots", resource, |world| Ok(world.snapshots(database, name))).await
    }

    async fn create_snapshot(&self, snapshot: &NewSnapshot) -> Result<Snapshot, ProviderError> {
        self.door.write("create-snapshot", &snapshot.name, |world| world.create_snapshot(snapshot)).await
    }

    async fn delete_snapshot(&self, name: &str) -> Result<Deleted, ProviderError> {
        self.door.write("delete-snapshot", name, |world| world.delete_snapshot(name)).await
    }

    async fn restore(&self, restore: &Restore) -> Result<Database, ProviderError> {
        self.door.write("restore", &restore.name, |world| world.restore(restore)).await
    }

    async fn rename(&self, name: &str, to: &str) -> Result<Database, ProviderError> {
        self.door.write("rename", name, |world| world.rename_database(name, to)).await
    }

    async fn delete(&self, name: &str, final_snapshot: Option<&str>) -> Result<Deleted, ProviderError> {
        self.door.write("delete", name, |world| world.delete_database(name, final_snapshot)).await
    }
}

/// A client of the simulated buckets.
#[derive(Clone, Debug)]
pub struct SimStorage {
    door: Door,
}

client!(SimStorage, "storage");

#[async_trait]
impl ObjectStorage for SimStorage {
    async fn get(&self, bucket: &str, key: &str) -> Result<Option<StoredObject>, ProviderError> {
        let resource = format!("{bucket}/{key}");
        self.door.read("get", &resource, |world| world.account.object(bucket, key)).await
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<Option<ObjectInfo>, ProviderError> {
        let resource = format!("{bucket}/{key}");
        let act = self.door.read("head", &resource, |world| world.account.object(bucket, key));
        Ok(act.await?.map(|object| object.info))
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: &[u8],
        when: &PutIf,
    ) -> Result<ObjectInfo, ProviderError> {
        let resource = format!("{bucket}/{key}");
        self.door.write("put", &resource, |world| world.put_object(bucket, key, bytes, when)).await
    }

    async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<ObjectInfo>, ProviderError> {
        let resource = format!("{bucket}/{prefix}");
        self.door.read("list", &resource, |world| world.account.objects(bucket, prefix)).await
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), ProviderError> {
        let resource = format!("{bucket}/{key}");
        self.door.write("delete", &resource, |world| world.delete_object(bucket, key)).await
    }
}

/// A client of the simulated identities.
#[derive(Clone, Debug)]
pub struct SimIdentities {
    door: Door,
}

client!(SimIdentities, "identities");

#[async_trait]
impl Identities for SimIdentities {
    async fn caller(&self) -> Result<CallerIdentity, ProviderError> {
        self.door.read("caller", "account", |world| Ok(world.account.caller.clone())).await
    }

    async fn role(&self, name: &str) -> Result<Option<Role>, ProviderError> {
        self.door.read("role", name, |world| Ok(world.account.roles.get(name).cloned())).await
    }

    async fn allowed(
        &self,
        principal: &str,
        actions: &[String],
        _resource: &str,
    ) -> Result<Vec<Access>, ProviderError> {
        self.door
            .read("allowed", principal, |world| {
                Ok(actions.iter().map(|action| world.account.allowed(principal, action)).collect())
            })
            .await
    }
}
