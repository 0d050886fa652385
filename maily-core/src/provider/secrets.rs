//! A store of versioned secrets with check-and-set.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::ProviderError;

/// Named values of a secret. Neither its `Debug` form nor anything else shows them, except [`SecretData::expose`].
#[derive(Clone, Default)]
pub struct SecretData(BTreeMap<String, SecretString>);

impl SecretData {
    /// Sets a value.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<SecretString>) -> Self {
        self.0.insert(field.into(), value.into());
        self
    }

    /// Names of the values, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A value.
    pub fn get(&self, field: &str) -> Option<&SecretString> {
        self.0.get(field)
    }

    /// All values in plain text, for whoever hands them to the store.
    pub fn expose(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(field, value)| (field.as_str(), value.expose_secret()))
    }
}

impl FromIterator<(String, SecretString)> for SecretData {
    fn from_iter<I: IntoIterator<Item = (String, SecretString)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|field| (field, "[redacted]"))).finish()
    }
}

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionState {
    /// Can be read.
    Live,
    /// Cannot be read, and can be brought back.
    Deleted {
        /// Since when.
        at: Timestamp,
    },
    /// Gone for good.
    Destroyed,
}

/// A version of a secret, without its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Number, from 1.
    pub version: u64,
    /// When it was written.
    pub created: Timestamp,
    /// What became of it.
    pub state: VersionState,
}

/// A version as it was read.
#[derive(Clone, Debug)]
pub struct SecretVersion {
    /// Which one.
    pub info: VersionInfo,
    /// Its values; absent unless it is [`VersionState::Live`].
    pub data: Option<SecretData>,
}

/// What is known of a secret without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMetadata {
    /// The newest version ever written, deleted or not; what check-and-set compares with. Zero before the first.
    pub current: u64,
    /// Most versions that are kept; zero means the store's default.
    pub max_versions: u64,
    /// Whether a write without check-and-set is refused.
    pub cas_required: bool,
    /// When it was last written.
    pub updated: Timestamp,
    /// Versions that are kept, oldest first.
    pub versions: Vec<VersionInfo>,
    /// Notes, which are not versioned.
    pub notes: BTreeMap<String, String>,
}

/// What must hold for a write to take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cas {
    /// Nothing.
    #[default]
    Any,
    /// The secret has never had a version.
    Absent,
    /// This is the newest version.
    Version(u64),
}

/// What to do with versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionChange {
    /// Hide, so that they can be brought back.
    Delete,
    /// Bring back what was deleted.
    Undelete,
    /// Remove for good.
    Destroy,
}

/// A store of versioned secrets, such as Vault's key/value engine, version 2.
///
/// # Contract
/// 1. `write` answers the new version: 1 first, one more each time; `read` without a version gives the newest one.
/// 2. With [`Cas::Version`] of anything but the newest version, or [`Cas::Absent`] where the secret has ever had a
///    version, `write` fails with `Conflict` and writes nothing. A deleted newest version is still the newest.
/// 3. Of many concurrent writes with the same check-and-set exactly one succeeds.
/// 4. There is no idempotency token: the same write twice makes two versions, unless check-and-set prevents it.
/// 5. A deleted version is read without data and told as `Deleted`; undeleted, it has its data again.
/// 6. A destroyed version is told as `Destroyed` and stays so.
/// 7. A version that was never written is `None`, as is every version of an unknown path; so is its metadata.
/// 8. Changing versions that do not exist succeeds and changes nothing.
/// 9. `list` gives the names directly under a folder, in order, folders with a slash at the end; of an unknown folder
///    none.
/// 10. `annotate` replaces the notes and makes no version.
/// 11. `remove` takes away every version and the notes; absence is success. The next write makes version 1.
/// 12. A write to a secret that requires check-and-set fails with `Invalid` without one.
/// 13. No value is in the `Debug` form of anything that the store returns.
#[async_trait]
pub trait Secrets: fmt::Debug + Send + Sync + 'static {
    /// Reads a version; the newest one where none is given.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses; `Unsupported` where a value is no text.
    async fn read(&self, path: &str, version: Option<u64>) -> Result<Option<SecretVersion>, ProviderError>;

    /// Writes a new version.
    ///
    /// # Errors
    /// See the contract.
    async fn write(&self, path: &str, data: &SecretData, cas: Cas) -> Result<VersionInfo, ProviderError>;

    /// Reads what is known of a secret.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses.
    async fn metadata(&self, path: &str) -> Result<Option<SecretMetadata>, ProviderError>;

    /// Replaces the notes of a secret; a secret that has no version yet is made without one.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses.
    async fn annotate(&self, path: &str, notes: &BTreeMap<String, String>) -> Result<(), ProviderError>;

    /// Names under a folder; the empty text is the root.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses.
    async fn list(&self, folder: &str) -> Result<Vec<String>, ProviderError>;

    /// Deletes, undeletes or destroys versions.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses.
    async fn change_versions(
        &self,
        path: &str,
        versions: &[u64],
        change: VersionChange,
    ) -> Result<(), ProviderError>;

    /// Removes a secret with all its versions.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses.
    async fn remove(&self, path: &str) -> Result<(), ProviderError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_names_and_no_values() {
        let data = SecretData::default().with("password", "hunter2");
        let version = SecretVersion {
            info: VersionInfo { version: 3, created: Timestamp::UNIX_EPOCH, state: VersionState::Live },
            data: Some(data),
        };
        let shown = format!("{version:?}");
        assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
    }
}
