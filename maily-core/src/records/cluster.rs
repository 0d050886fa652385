//! Records as immutable Secrets in the environment's own namespace: the state lives with what it describes, for
//! every operator.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::check_key;
use crate::{
    engine::{ENVIRONMENT, RECORDS_MANAGER},
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Cluster, Created, Deleted, Dependents, Effect, ErrorKind, ListQuery, Precondition, ProviderError,
        RecordStore, WriteOptions,
    },
};

const KIND: &str = "maily.dev/record";
const RUN: &str = "maily.dev/run";
const KEY: &str = "maily.dev/key";

/// Records of one environment in its namespace.
#[derive(Clone, Debug)]
pub struct ClusterRecords {
    cluster: Arc<dyn Cluster>,
    environment: String,
    namespace: String,
}

impl ClusterRecords {
    /// Records of this environment.
    pub fn new(cluster: Arc<dyn Cluster>, environment: &str, namespace: &str) -> Self {
        Self { cluster, environment: environment.to_owned(), namespace: namespace.to_owned() }
    }

    fn object_key(&self, key: &str) -> ObjectKey {
        let name = format!("maily-{}.{}", self.environment, key.replace('/', "."));
        ObjectKey::new(secret(), Some(&self.namespace), name)
    }
}

fn secret() -> ObjectKind {
    ObjectKind::new("v1", "Secret")
}

/// Kind of record and, for those of a run, the run.
fn labels_of(key: &str) -> (&str, Option<&str>) {
    let mut parts = key.split('/');
    let kind = parts.next().unwrap_or_default();
    let run = if matches!(kind, "run" | "blob") { parts.next().filter(|run| !run.is_empty()) } else { None };
    (kind, run)
}

#[async_trait]
impl RecordStore for ClusterRecords {
    async fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, ProviderError> {
        check_key("create", key)?;
        let (kind, run) = labels_of(key);
        let name = self.object_key(key);
        let mut labels = json!({ENVIRONMENT: self.environment, KIND: kind});
        if let Some(run) = run {
            labels[RUN] = run.into();
        }
        let object = Object::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "maily.dev/record", "immutable": true,
            "metadata": {
                "name": name.name, "namespace": name.namespace,
                "labels": labels, "annotations": {KEY: key},
            },
            "data": {"record": STANDARD.encode(bytes)},
        }))
        .expect("has kind and name");
        match self.cluster.write(&object, &WriteOptions::apply(RECORDS_MANAGER, Precondition::Absent)).await {
            Ok(_) => Ok(Created::Created),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                // A quota that is counted at the same moment is one as well: what is not there does not exist.
                if self.cluster.get(&name).await?.is_some() {
                    return Ok(Created::Exists);
                }
                let message = "it was refused by a conflict over something else";
                Err(ProviderError::new(ErrorKind::Unavailable, "records", "create", key, message)
                    .with_effect(Effect::None)
                    .with_source(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ProviderError> {
        let Some(object) = self.cluster.get(&self.object_key(key)).await? else { return Ok(None) };
        // A Secret without a record is a damaged record, which whoever unpacks it tells.
        let bytes = object.text("/data/record").and_then(|text| STANDARD.decode(text).ok());
        Ok(Some(bytes.unwrap_or_default()))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ProviderError> {
        let mut query = ListQuery::new(secret(), Some(&self.namespace)).label(ENVIRONMENT, &self.environment);
        if let Some((kind, rest)) = prefix.split_once('/') {
            query = query.label(KIND, kind);
            // Only a complete run id can be asked for.
            if let (true, Some((run, _))) = (matches!(kind, "run" | "blob"), rest.split_once('/')) {
                query = query.label(RUN, run);
            }
        }
        let objects = self.cluster.list_metadata(&query).await?;
        let mut keys: Vec<String> =
            objects.iter().filter_map(|object| object.annotation(KEY).map(str::to_owned)).collect();
        keys.retain(|key| key.starts_with(prefix));
        keys.sort();
        Ok(keys)
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        match self.cluster.delete(&self.object_key(key), &Precondition::Any, Dependents::Follow).await? {
            Deleted::AlreadyAbsent | Deleted::Gone | Deleted::Pending { .. } => Ok(()),
        }
    }
}
