//! The cloud and the secrets.

use std::collections::BTreeMap;

use async_trait::async_trait;
use maily_core::provider::{
    Access, CallerIdentity, Cas, Database, Databases, Deleted, Identities, NewSnapshot, ObjectInfo,
    ObjectStorage, ProviderError, PutIf, Restore, Role, SecretData, SecretMetadata, SecretVersion, Secrets,
    Snapshot, SnapshotQuery, StoredObject, VersionChange, VersionInfo,
};

// mockall cannot mock an asynchronous method with an optional reference: the trait is implemented by hand.
mockall::mock! {
    #[derive(Debug)]
    pub Databases {
        pub fn get(&self, name: &str) -> Result<Option<Database>, ProviderError>;
        pub fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, ProviderError>;
        pub fn create_snapshot(&self, snapshot: &NewSnapshot) -> Result<Snapshot, ProviderError>;
        pub fn delete_snapshot(&self, name: &str) -> Result<Deleted, ProviderError>;
        pub fn restore(&self, restore: &Restore) -> Result<Database, ProviderError>;
        pub fn rename(&self, name: &str, to: &str) -> Result<Database, ProviderError>;
        pub fn delete(&self, name: &str, final_snapshot: Option<String>) -> Result<Deleted, ProviderError>;
    }
}

#[async_trait]
impl Databases for MockDatabases {
    async fn get(&self, name: &str) -> Result<Option<Database>, ProviderError> {
        self.get(name)
    }

    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, ProviderError> {
        self.snapshots(query)
    }

    async fn create_snapshot(&self, snapshot: &NewSnapshot) -> Result<Snapshot, ProviderError> {
        self.create_snapshot(snapshot)
    }

    async fn delete_snapshot(&self, name: &str) -> Result<Deleted, ProviderError> {
        self.delete_snapshot(name)
    }

    async fn restore(&self, restore: &Restore) -> Result<Database, ProviderError> {
        self.restore(restore)
    }

    async fn rename(&self, name: &str, to: &str) -> Result<Database, ProviderError> {
        self.rename(name, to)
    }

    async fn delete(&self, name: &str, final_snapshot: Option<&str>) -> Result<Deleted, ProviderError> {
        self.delete(name, final_snapshot.map(str::to_owned))
    }
}

mockall::mock! {
    #[derive(Debug)]
    pub ObjectStorage {}

    #[async_trait]
    impl ObjectStorage for ObjectStorage {
        async fn get(&self, bucket: &str, key: &str) -> Result<Option<StoredObject>, ProviderError>;
        async fn head(&self, bucket: &str, key: &str) -> Result<Option<ObjectInfo>, ProviderError>;
        async fn put(
            &self,
            bucket: &str,
            key: &str,
            bytes: &[u8],
            when: &PutIf,
        ) -> Result<ObjectInfo, ProviderError>;
        async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<ObjectInfo>, ProviderError>;
        async fn delete(&self, bucket: &str, key: &str) -> Result<(), ProviderError>;
    }
}

mockall::mock! {
    #[derive(Debug)]
    pub Identities {}

    #[async_trait]
    impl Identities for Identities {
        async fn caller(&self) -> Result<CallerIdentity, ProviderError>;
        async fn role(&self, name: &str) -> Result<Option<Role>, ProviderError>;
        async fn allowed(
            &self,
            principal: &str,
            actions: &[String],
            resource: &str,
        ) -> Result<Vec<Access>, ProviderError>;
    }
}

mockall::mock! {
    #[derive(Debug)]
    pub Secrets {}

    #[async_trait]
    impl Secrets for Secrets {
        async fn read(&self, path: &str, version: Option<u64>) -> Result<Option<SecretVersion>, ProviderError>;
        async fn write(&self, path: &str, data: &SecretData, cas: Cas) -> Result<VersionInfo, ProviderError>;
        async fn metadata(&self, path: &str) -> Result<Option<SecretMetadata>, ProviderError>;
        async fn annotate(&self, path: &str, notes: &BTreeMap<String, String>) -> Result<(), ProviderError>;
        async fn list(&self, folder: &str) -> Result<Vec<String>, ProviderError>;
        async fn change_versions(
            &self,
            path: &str,
            versions: &[u64],
            change: VersionChange,
        ) -> Result<(), ProviderError>;
        async fn remove(&self, path: &str) -> Result<(), ProviderError>;
    }
}
