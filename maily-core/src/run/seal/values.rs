//! The values of sealed Secrets, each an immutable Secret of ours: stored before a plan may need them, forgotten long
//! after the last release that had them.
//!
//! Forgetting takes two runs. The first marks a value that nothing on record has; a later one deletes what is still
//! marked, as it was when its mark was read. Who stores a value that is there takes the mark off: he wins, or is refused
//! and stores it anew. So a sweeper who was halted deletes nothing that somebody has come to need meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{STANDARD, Sealer, Storage, hashes, lock, ours, secret_kind};
use crate::{
    object::Object,
    provider::{
        Cluster, Dependents, ErrorKind, ListQuery, Precondition, ProviderError, WriteOptions, exactly,
        patch_of,
    },
    run::{ENVIRONMENT, Epoch, RECORDS_MANAGER},
};

/// Since which epoch, and when, nothing on record has a value.
const UNUSED: &str = "maily.dev/unused-since";
/// Values that are stored at once.
const PARALLEL: usize = 8;
/// How often a value that others change at the same time is looked at again.
const TRIES: usize = 5;

pub(super) const NAME: &str = "maily-payload-";

impl Sealer {
    /// Stores the values of sealed objects, so that another process can open them.
    ///
    /// # Errors
    /// When the cluster cannot be reached or refuses.
    pub async fn store<'a>(
        &self,
        cluster: &dyn Cluster,
        sealed: impl IntoIterator<Item = &'a Object>,
    ) -> Result<(), ProviderError> {
        if self.storage == Storage::Passing {
            return Ok(());
        }
        let mut wanted: BTreeSet<String> = sealed.into_iter().flat_map(hashes).collect();
        {
            let (values, stored) = (lock(&self.values), lock(&self.stored));
            wanted.retain(|hash| values.contains_key(hash) && !stored.contains(hash));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let there = self.values(cluster).await?;
        // Boxed one by one: a stream over borrowing closures could not be sent to another thread.
        let stores: Vec<BoxFuture<'_, Result<(), ProviderError>>> = wanted
            .iter()
            .map(|hash| self.store_one(cluster, hash, there.get(hash).cloned()).boxed())
            .collect();
        let mut stores = stream::iter(stores).buffer_unordered(PARALLEL);
        while stores.try_next().await?.is_some() {}
        drop(stores);
        lock(&self.stored).extend(wanted);
        Ok(())
    }

    async fn store_one(
        &self,
        cluster: &dyn Cluster,
        hash: &str,
        mut there: Option<Object>,
    ) -> Result<(), ProviderError> {
        let key = self.payload(hash);
        for _ in 0..TRIES {
            let done = match &there {
                Some(object) if object.annotation(UNUSED).is_none() => return Ok(()),
                Some(object) => mark(cluster, object, Value::Null).await,
                None => {
                    let Some(value) =
                        lock(&self.values).get(hash).map(|value| STANDARD.encode(value.expose_secret()))
                    else {
                        return Ok(());
                    };
                    let object = ours(&key, &self.environment, "value", &value);
                    let options = WriteOptions::apply(RECORDS_MANAGER, Precondition::Absent);
                    cluster.write(&object, &options).await.map(drop)
                }
            };
            match done {
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                    there = cluster.get(&key).await?;
                }
                done => return done,
            }
        }
        let message = "others change it all the time";
        Err(ProviderError::new(ErrorKind::Conflict, "records", "store", key.to_string(), message))
    }

    /// The values that are stored, by hash; of each Secret at least its metadata.
    pub(crate) async fn values(
        &self,
        cluster: &dyn Cluster,
    ) -> Result<BTreeMap<String, Object>, ProviderError> {
        let query = ListQuery::new(secret_kind(), Some(&self.namespace))
            .label(ENVIRONMENT, &self.environment)
            .label("maily.dev/record", "value");
        let found = cluster.list_metadata(&query).await?;
        let named = |object: Object| Some((object.name().strip_prefix(NAME)?.to_owned(), object));
        Ok(found.into_iter().filter_map(named).collect())
    }
}

/// Marks a value that nothing on record has; deletes it where an earlier run has marked it, long enough ago.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub(crate) async fn forget(
    cluster: &dyn Cluster,
    object: &Object,
    epoch: Epoch,
    now: Timestamp,
    age: SignedDuration,
) -> Result<(), ProviderError> {
    let marked = object.annotation(UNUSED).and_then(|text| {
        let (epoch, since) = text.split_once(' ')?;
        Some((Epoch(epoch.parse().ok()?), since.parse::<Timestamp>().ok()?))
    });
    let done = match marked {
        None => mark(cluster, object, format!("{} {now}", epoch.0).into()).await,
        Some((before, since)) if before < epoch && now.duration_since(since) >= age => {
            cluster.delete(object.key(), &exactly(object), Dependents::Follow).await.map(drop)
        }
        Some(_) => Ok(()),
    };
    match done {
        // Somebody has come to need it.
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(()),
        done => done,
    }
}

async fn mark(cluster: &dyn Cluster, object: &Object, value: Value) -> Result<(), ProviderError> {
    let annotations = json!({"metadata": {"annotations": {UNUSED: value}}});
    let patch = patch_of(object.key(), annotations).expect("has kind and name");
    cluster.write(&patch, &WriteOptions::merge(RECORDS_MANAGER, exactly(object))).await.map(drop)
}
