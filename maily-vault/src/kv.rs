//! Secrets in the key/value engine, version 2.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use async_trait::async_trait;
use jiff::Timestamp;
use maily_core::provider::{
    Cas, ErrorKind, ProviderError, SecretData, SecretMetadata, SecretVersion, Secrets, VersionChange,
    VersionInfo, VersionState,
};
use secrecy::SecretString;
use serde_json::{Map, Value};
use vaultrs::{
    api::{
        self,
        kv2::{
            requests::{ReadSecretRequest, SetSecretMetadataRequest, SetSecretRequestOptions},
            responses::SecretVersionMetadata,
        },
    },
    client::VaultClient,
    error::ClientError,
    kv2,
};

use crate::error::{About, answer};

/// A key/value engine of a Vault.
pub struct VaultSecrets {
    client: VaultClient,
    mount: String,
    address: String,
}

impl VaultSecrets {
    pub(crate) fn new(client: VaultClient, mount: String, address: String) -> Self {
        Self { client, mount, address }
    }

    fn resource(&self, path: &str) -> String {
        format!("{}/{path}", self.mount)
    }
}

/// Without the client, which shows its token.
impl fmt::Debug for VaultSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultSecrets")
            .field("address", &self.address)
            .field("mount", &self.mount)
            .finish_non_exhaustive()
    }
}

/// Refuses what the client would leave out of the URL: another secret would be meant.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    match path {
        path if path.split('/').any(|part| matches!(part, "" | "." | "..")) => {
            Err("has an empty part, or one of dots")
        }
        path if path.chars().any(char::is_control) => Err("contains a control character"),
        _ => Ok(()),
    }
}

fn checked(about: About<'_>, path: &str) -> Result<(), ProviderError> {
    check_path(path).map_err(|why| about.error(ErrorKind::Invalid, format!("the path {why}")))
}

/// Absence, which Vault answers with 404 and no word.
fn is_absent(error: &ClientError) -> bool {
    matches!(error, ClientError::APIError { code: 404, errors } if errors.is_empty())
}

fn absent_is_done(about: About<'_>, result: Result<(), ClientError>) -> Result<(), ProviderError> {
    match result {
        Err(error) if !is_absent(&error) => Err(about.failed(error)),
        _ => Ok(()),
    }
}

fn time(about: About<'_>, text: &str) -> Result<Timestamp, ProviderError> {
    text.parse().map_err(|_| about.garbled())
}

fn state(about: About<'_>, deletion: &str, destroyed: bool) -> Result<VersionState, ProviderError> {
    Ok(match (destroyed, deletion) {
        (true, _) => VersionState::Destroyed,
        (false, "") => VersionState::Live,
        (false, at) => VersionState::Deleted { at: time(about, at)? },
    })
}

fn info(about: About<'_>, metadata: &SecretVersionMetadata) -> Result<VersionInfo, ProviderError> {
    Ok(VersionInfo {
        version: metadata.version,
        created: time(about, &metadata.created_time)?,
        state: state(about, &metadata.deletion_time, metadata.destroyed)?,
    })
}

fn values(about: About<'_>, data: Value) -> Result<SecretData, ProviderError> {
    let Value::Object(fields) = data else { return Err(about.garbled()) };
    let text = |(field, value)| match value {
        Value::String(value) => Ok((field, SecretString::from(value))),
        _ => {
            let message = format!("the value of `{field}` is no text");
            Err(about.error(ErrorKind::Unsupported, message).with_hint("store it as a text"))
        }
    };
    fields.into_iter().map(text).collect()
}

/// A version that is deleted or destroyed is answered with 404 and what is known of it.
fn hidden(about: About<'_>, error: &ClientError) -> Option<Result<SecretVersion, ProviderError>> {
    let ClientError::RestClientError { source } = error else { return None };
    let (404, Some(content)) = answer(source)? else { return None };
    let body: Value = serde_json::from_str(content).ok()?;
    let metadata = serde_json::from_value(body.pointer("/data/metadata")?.clone()).ok()?;
    Some(info(about, &metadata).map(|info| SecretVersion { info, data: None }))
}

#[async_trait]
impl Secrets for VaultSecrets {
    async fn read(&self, path: &str, version: Option<u64>) -> Result<Option<SecretVersion>, ProviderError> {
        let resource = self.resource(path);
        let about = About { operation: "read secret", resource: &resource };
        checked(about, path)?;
        let request = ReadSecretRequest::builder().mount(&self.mount).path(path).version(version).build();
        let request = request.map_err(|_| about.garbled())?;
        match api::exec_with_result(&self.client, request).await {
            Ok(found) => {
                let info = info(about, &found.metadata)?;
                Ok(Some(SecretVersion { info, data: Some(values(about, found.data)?) }))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => match hidden(about, &error) {
                Some(version) => version.map(Some),
                None => Err(about.failed(error)),
            },
        }
    }

    async fn write(&self, path: &str, data: &SecretData, cas: Cas) -> Result<VersionInfo, ProviderError> {
        let resource = self.resource(path);
        let about = About { operation: "write secret", resource: &resource };
        checked(about, path)?;
        let body: Map<String, Value> =
            data.expose().map(|(field, value)| (field.to_owned(), value.into())).collect();
        let cas = match cas {
            Cas::Any => None,
            Cas::Absent => Some(0),
            // Zero means absence to Vault.
            Cas::Version(0) => return Err(about.error(ErrorKind::Invalid, "versions count from one")),
            Cas::Version(version) => Some(
                u32::try_from(version)
                    .map_err(|_| about.error(ErrorKind::Invalid, "the version is beyond what can be sent"))?,
            ),
        };
        let written = match cas {
            None => kv2::set(&self.client, &self.mount, path, &body).await,
            Some(cas) => {
                let options = SetSecretRequestOptions { cas };
                kv2::set_with_options(&self.client, &self.mount, path, &body, options).await
            }
        };
        info(about, &written.map_err(|error| about.failed(error))?)
    }

    async fn metadata(&self, path: &str) -> Result<Option<SecretMetadata>, ProviderError> {
        let resource = self.resource(path);
        let about = About { operation: "read metadata of secret", resource: &resource };
        checked(about, path)?;
        let found = match kv2::read_metadata(&self.client, &self.mount, path).await {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(about.failed(error)),
        };
        let mut versions = Vec::new();
        for (number, version) in &found.versions {
            versions.push(VersionInfo {
                version: number.parse().map_err(|_| about.garbled())?,
                created: time(about, &version.created_time)?,
                state: state(about, &version.deletion_time, version.destroyed)?,
            });
        }
        versions.sort_by_key(|version| version.version);
        Ok(Some(SecretMetadata {
            current: found.current_version,
            max_versions: found.max_versions,
            cas_required: found.cas_required,
            updated: time(about, &found.updated_time)?,
            versions,
            notes: found.custom_metadata.unwrap_or_default().into_iter().collect(),
        }))
    }

    async fn annotate(&self, path: &str, notes: &BTreeMap<String, String>) -> Result<(), ProviderError> {
        let resource = self.resource(path);
        let about = About { operation: "annotate secret", resource: &resource };
        checked(about, path)?;
        let notes: HashMap<String, String> = notes.clone().into_iter().collect();
        let mut request = SetSecretMetadataRequest::builder();
        request.custom_metadata(notes);
        let sent = kv2::set_metadata(&self.client, &self.mount, path, Some(&mut request)).await;
        sent.map_err(|error| about.failed(error))
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, ProviderError> {
        let folder = folder.trim_matches('/');
        let resource = self.resource(folder);
        let about = About { operation: "list secrets", resource: &resource };
        if !folder.is_empty() {
            checked(about, folder)?;
        }
        match kv2::list(&self.client, &self.mount, folder).await {
            Ok(mut names) => {
                names.sort();
                Ok(names)
            }
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            Err(error) => Err(about.failed(error)),
        }
    }

    async fn change_versions(
        &self,
        path: &str,
        versions: &[u64],
        change: VersionChange,
    ) -> Result<(), ProviderError> {
        let resource = self.resource(path);
        let operation = match change {
            VersionChange::Delete => "delete versions of secret",
            VersionChange::Undelete => "undelete versions of secret",
            VersionChange::Destroy => "destroy versions of secret",
        };
        let about = About { operation, resource: &resource };
        checked(about, path)?;
        let (client, mount, versions) = (&self.client, self.mount.as_str(), versions.to_vec());
        let result = match change {
            VersionChange::Delete => kv2::delete_versions(client, mount, path, versions).await,
            VersionChange::Undelete => kv2::undelete_versions(client, mount, path, versions).await,
            VersionChange::Destroy => kv2::destroy_versions(client, mount, path, versions).await,
        };
        absent_is_done(about, result)
    }

    async fn remove(&self, path: &str) -> Result<(), ProviderError> {
        let resource = self.resource(path);
        let about = About { operation: "remove secret", resource: &resource };
        checked(about, path)?;
        absent_is_done(about, kv2::delete_metadata(&self.client, &self.mount, path).await)
    }
}
