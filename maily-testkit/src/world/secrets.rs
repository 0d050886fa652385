//! Versioned secrets, as Vault's key/value engine keeps them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use maily_core::provider::{
    Cas, ErrorKind, SecretData, SecretMetadata, SecretVersion, VersionChange, VersionInfo, VersionState,
};
use serde::{Deserialize, Serialize};

use super::{Refusal, World};

/// Versions that are kept where a secret says nothing else.
const KEPT: u64 = 10;

/// Secrets by path.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretStore(BTreeMap<String, Secret>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Secret {
    current: u64,
    max_versions: u64,
    cas_required: bool,
    updated: Timestamp,
    notes: BTreeMap<String, String>,
    versions: BTreeMap<u64, Version>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Version {
    info: VersionInfo,
    data: BTreeMap<String, String>,
}

/// Without the values.
impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version").field("info", &self.info).finish_non_exhaustive()
    }
}

fn refuse<T>(kind: ErrorKind, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { kind, message: message.into() })
}

fn well_formed(path: &str) -> Result<(), Refusal> {
    if path.split('/').any(str::is_empty) {
        return refuse(ErrorKind::Invalid, format!("`{path}` is no path of a secret"));
    }
    Ok(())
}

impl SecretStore {
    pub(crate) fn read(&self, path: &str, version: Option<u64>) -> Option<SecretVersion> {
        let secret = self.0.get(path)?;
        let found = secret.versions.get(&version.unwrap_or(secret.current))?;
        let data = (found.info.state == VersionState::Live)
            .then(|| found.data.iter().map(|(field, value)| (field.clone(), value.clone().into())).collect());
        Some(SecretVersion { info: found.info, data })
    }

    pub(crate) fn metadata(&self, path: &str) -> Option<SecretMetadata> {
        let secret = self.0.get(path)?;
        Some(SecretMetadata {
            current: secret.current,
            max_versions: secret.max_versions,
            cas_required: secret.cas_required,
            updated: secret.updated,
            versions: secret.versions.values().map(|version| version.info).collect(),
            notes: secret.notes.clone(),
        })
    }

    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let folder = folder.trim_matches('/');
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let names: BTreeSet<String> = self
            .0
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(|rest| rest.split_once('/').map_or(rest.to_owned(), |(folder, _)| format!("{folder}/")))
            .collect();
        names.into_iter().collect()
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.0.remove(path);
    }

    fn entry(&mut self, path: &str, now: Timestamp) -> &mut Secret {
        self.0.entry(path.to_owned()).or_insert_with(|| Secret {
            current: 0,
            max_versions: 0,
            cas_required: false,
            updated: now,
            notes: BTreeMap::new(),
            versions: BTreeMap::new(),
        })
    }
}

impl World {
    /// Sets how many versions of a secret are kept (zero for the default), and whether it needs check-and-set.
    pub fn configure_secret(&mut self, path: &str, max_versions: u64, cas_required: bool) {
        let now = self.now;
        let secret = self.secrets.entry(path, now);
        (secret.max_versions, secret.cas_required) = (max_versions, cas_required);
    }

    pub(crate) fn write_secret(
        &mut self,
        path: &str,
        data: &SecretData,
        cas: Cas,
    ) -> Result<VersionInfo, Refusal> {
        well_formed(path)?;
        let now = self.now;
        let (current, cas_required) =
            self.secrets.0.get(path).map_or((0, false), |secret| (secret.current, secret.cas_required));
        let asked = match cas {
            Cas::Any if cas_required => {
                return refuse(ErrorKind::Invalid, "check-and-set parameter required for this call");
            }
            Cas::Any => current,
            Cas::Absent => 0,
            Cas::Version(version) => version,
        };
        if asked != current {
            return refuse(ErrorKind::Conflict, "check-and-set parameter did not match the current version");
        }
        let secret = self.secrets.entry(path, now);
        secret.current += 1;
        secret.updated = now;
        let info = VersionInfo { version: secret.current, created: now, state: VersionState::Live };
        let data = data.expose().map(|(field, value)| (field.to_owned(), value.to_owned())).collect();
        secret.versions.insert(info.version, Version { info, data });
        let most = if secret.max_versions == 0 { KEPT } else { secret.max_versions };
        let oldest = secret.current.saturating_sub(most);
        secret.versions.retain(|version, _| *version > oldest);
        Ok(info)
    }

    pub(crate) fn annotate_secret(
        &mut self,
        path: &str,
        notes: &BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        well_formed(path)?;
        let now = self.now;
        let secret = self.secrets.entry(path, now);
        (secret.notes, secret.updated) = (notes.clone(), now);
        Ok(())
    }

    pub(crate) fn change_secret_versions(&mut self, path: &str, versions: &[u64], change: VersionChange) {
        let now = self.now;
        let Some(secret) = self.secrets.0.get_mut(path) else { return };
        for number in versions {
            let Some(version) = secret.versions.get_mut(number) else { continue };
            version.info.state = match (change, version.info.state) {
                (_, VersionState::Destroyed) | (VersionChange::Destroy, _) => VersionState::Destroyed,
                (VersionChange::Undelete, _) => VersionState::Live,
                (VersionChange::Delete, VersionState::Live) => VersionState::Deleted { at: now },
                (VersionChange::Delete, state) => state,
            };
            if version.info.state == VersionState::Destroyed {
                version.data.clear();
            }
        }
    }
}
