//! The secrets of the world.

use std::collections::BTreeMap;

use async_trait::async_trait;
use maily_core::provider::{
    Cas, ProviderError, SecretData, SecretMetadata, SecretVersion, Secrets, VersionChange, VersionInfo,
};

use super::door::{Door, client};

/// A client of the simulated secret store.
#[derive(Clone, Debug)]
pub struct SimSecrets {
    door: Door,
}

client!(SimSecrets, "secrets");

#[async_trait]
impl Secrets for SimSecrets {
    async fn read(&self, path: &str, version: Option<u64>) -> Result<Option<SecretVersion>, ProviderError> {
        self.door.read("read", path, |world| Ok(world.secrets.read(path, version))).await
    }

    async fn write(&self, path: &str, data: &SecretData, cas: Cas) -> Result<VersionInfo, ProviderError> {
        self.door.write("write", path, |world| world.write_secret(path, data, cas)).await
    }

    async fn metadata(&self, path: &str) -> Result<Option<SecretMetadata>, ProviderError> {
        self.door.read("metadata", path, |world| Ok(world.secrets.metadata(path))).await
    }

    async fn annotate(&self, path: &str, notes: &BTreeMap<String, String>) -> Result<(), ProviderError> {
        self.door.write("annotate", path, |world| world.annotate_secret(path, notes)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, ProviderError> {
        self.door.read("list", folder, |world| Ok(world.secrets.list(folder))).await
    }

    async fn change_versions(
        &self,
        path: &str,
        versions: &[u64],
        change: VersionChange,
    ) -> Result<(), ProviderError> {
        let operation = match change {
            VersionChange::Delete => "delete",
            VersionChange::Undelete => "undelete",
            VersionChange::Destroy => "destroy",
        };
        self.door
            .write(operation, path, |world| {
                world.change_secret_versions(path, versions, change);
                Ok(())
            })
            .await
    }

    async fn remove(&self, path: &str) -> Result<(), ProviderError> {
        self.door
            .write("remove", path, |world| {
                world.secrets.remove(path);
                Ok(())
            })
            .await
    }
}
