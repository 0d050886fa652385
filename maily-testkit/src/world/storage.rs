//! Buckets and what is in them; the account and its roles.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use maily_core::provider::{Access, CallerIdentity, ErrorKind, ObjectInfo, PutIf, Role, StoredObject};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Refusal, World};

/// An account of the cloud: who we are, roles, buckets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Who the present credentials belong to.
    pub caller: CallerIdentity,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// Actions that nobody may do.
    pub denied: BTreeSet<String>,
    buckets: BTreeMap<String, BTreeMap<String, Blob>>,
}

impl Default for Account {
    fn default() -> Self {
        let caller = CallerIdentity {
            account: "000000000000".to_owned(),
            principal: "arn:aws:iam::000000000000:user/sandbox".to_owned(),
            region: "sandbox-1".to_owned(),
        };
        Self { caller, roles: BTreeMap::new(), denied: BTreeSet::new(), buckets: BTreeMap::new() }
    }
}

impl Account {
    /// Makes a bucket, unless it is there.
    pub fn add_bucket(&mut self, name: &str) {
        self.buckets.entry(name.to_owned()).or_default();
    }

    /// Whether a principal may do something.
    pub(crate) fn allowed(&self, principal: &str, action: &str) -> Access {
        let known =
            principal == self.caller.principal || self.roles.values().any(|role| role.principal == principal);
        match (known, self.denied.contains(action)) {
            (false, _) => Access::Unknown,
            (true, true) => Access::Denied,
            (true, false) => Access::Allowed,
        }
    }

    fn bucket(&self, name: &str) -> Result<&BTreeMap<String, Blob>, Refusal> {
        let message = || format!("the bucket `{name}` does not exist");
        self.buckets.get(name).ok_or_else(|| Refusal { kind: ErrorKind::NotFound, message: message() })
    }

    pub(crate) fn object(&self, bucket: &str, key: &str) -> Result<Option<StoredObject>, Refusal> {
        Ok(self
            .bucket(bucket)?
            .get(key)
            .map(|blob| StoredObject { info: blob.info(key), bytes: blob.bytes() }))
    }

    pub(crate) fn objects(&self, bucket: &str, prefix: &str) -> Result<Vec<ObjectInfo>, Refusal> {
        let bucket = self.bucket(bucket)?;
        Ok(bucket
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(key, blob)| blob.info(key))
            .collect())
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Blob {
    /// Base64.
    data: String,
    etag: String,
    modified: Timestamp,
}

/// Without the data, which may be anything.
impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob").field("etag", &self.etag).finish_non_exhaustive()
    }
}

impl Blob {
    fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.data).unwrap_or_default()
    }

    fn info(&self, key: &str) -> ObjectInfo {
        let size = u64::try_from(self.bytes().len()).unwrap_or_default();
        ObjectInfo { key: key.to_owned(), size, etag: self.etag.clone(), modified: Some(self.modified) }
    }
}

impl World {
    pub(crate) fn put_object(
        &mut self,
        bucket: &str,
        key: &str,
        bytes: &[u8],
        when: &PutIf,
    ) -> Result<ObjectInfo, Refusal> {
        let live = self.account.bucket(bucket)?.get(key).map(|blob| blob.etag.as_str());
        let holds = match (when, live) {
            (PutIf::Any, _) | (PutIf::Absent, None) => true,
            (PutIf::Absent, Some(_)) | (PutIf::Matches(_), None) => false,
            (PutIf::Matches(etag), Some(live)) => etag == live,
        };
        if !holds {
            let message = "at least one of the preconditions did not hold".to_owned();
            return Err(Refusal { kind: ErrorKind::Conflict, message });
        }
        let hash: String = Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let blob = Blob { data: STANDARD.encode(bytes), etag: format!("\"{hash}\""), modified: self.now };
        let info = blob.info(key);
        if let Some(bucket) = self.account.buckets.get_mut(bucket) {
            bucket.insert(key.to_owned(), blob);
        }
        Ok(info)
    }

    pub(crate) fn delete_object(&mut self, bucket: &str, key: &str) -> Result<(), Refusal> {
        self.account.bucket(bucket)?;
        if let Some(bucket) = self.account.buckets.get_mut(bucket) {
            bucket.remove(key);
        }
        Ok(())
    }
}
