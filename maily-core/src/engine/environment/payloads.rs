//! Whether the values of Secrets that releases refer to can still be had: without them there is no way back to these
//! releases.

use std::collections::{BTreeMap, BTreeSet};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use super::{Environment, EnvironmentError};
use crate::{
    engine::{
        ReleaseId, Sealer, Storage,
        history::{self, Head, Release},
        journal::JournalError,
        patience::patiently,
    },
    object::{Object, ObjectKey},
    provider::ProviderError,
    run::seal::hashes,
};

/// Releases that are read at once.
const READS: usize = 8;

/// What is stored of the values that releases refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredValues {
    /// Number of different values that all releases on record refer to.
    pub count: usize,
    /// The Secret with the environment's key, where it is missing: no stored value can be told from another then.
    pub lost_key: Option<ObjectKey>,
    /// Values that cannot be had any more.
    pub lost: Vec<LostValue>,
}

/// A value that cannot be had any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostValue {
    /// The Secret that has it.
    pub object: ObjectKey,
    /// Its key in there.
    pub field: String,
    /// Our Secret that held it.
    pub payload: ObjectKey,
    /// What became of that.
    pub loss: Loss,
    /// Releases that refer to it, ascending.
    pub releases: BTreeSet<ReleaseId>,
}

/// What became of a stored value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is not there.
    Missing,
    /// It is another one than it was, or the environment's key is.
    Changed,
}

/// Releases by the values that they refer to: Secret, key in it, hash.
type Wanted = BTreeMap<(ObjectKey, String, String), BTreeSet<ReleaseId>>;

impl Environment {
    /// Looks whether every value of a Secret that a release on record refers to is still stored; of releases that are
    /// damaged, or of a newer format, that cannot be told. Changes nothing.
    ///
    /// # Errors
    /// When records or Secrets cannot be read.
    pub async fn stored_values(&self, head: &Head) -> Result<StoredValues, EnvironmentError> {
        patiently(&*self.runtime, || self.look_for_values(head).boxed()).await
    }

    async fn look_for_values(&self, head: &Head) -> Result<StoredValues, EnvironmentError> {
        let wanted = self.wanted_values(head).await?;
        if wanted.is_empty() {
            return Ok(StoredValues::default());
        }
        let cluster = &*self.providers.cluster;
        let key = Sealer::key_of(&self.name, &self.namespace);
        let has_key = cluster.get(&key).await.map_err(EnvironmentError::Provider)?.is_some();
        let sealer = self.sealer(Storage::Passing).await?;
        let stored = sealer.values(cluster).await.map_err(EnvironmentError::Provider)?;
        let needed: BTreeSet<&String> = wanted.keys().map(|(_, _, hash)| hash).collect();
        // Without the key nothing can be compared: a passing one would call everything changed.
        let present = needed.iter().filter(|hash| has_key && stored.contains_key(**hash));
        let looks: Vec<BoxFuture<'_, Result<(String, bool), ProviderError>>> =
            present.map(|hash| self.is_whole(&sealer, hash).boxed()).collect();
        let whole: BTreeMap<String, bool> =
            stream::iter(looks).buffered(READS).try_collect().await.map_err(EnvironmentError::Provider)?;
        let count = needed.len();
        let mut lost = Vec::new();
        for ((object, field, hash), releases) in wanted {
            let loss = match (stored.contains_key(&hash), whole.get(&hash)) {
                (false, _) => Loss::Missing,
                (true, Some(false)) => Loss::Changed,
                (true, _) => continue,
            };
            let payload = sealer.payload(&hash);
            lost.push(LostValue { object, field, payload, loss, releases });
        }
        Ok(StoredValues { count, lost_key: (!has_key).then_some(key), lost })
    }

    /// Whether a stored value is the one that its name stands for: sealed again, it has to come out.
    async fn is_whole(&self, sealer: &Sealer, hash: &str) -> Result<(String, bool), ProviderError> {
        let payload = self.providers.cluster.get(&sealer.payload(hash)).await?;
        let whole = payload.is_some_and(|payload| hashes(&sealer.seal(&payload)).iter().any(|h| h == hash));
        Ok((hash.to_owned(), whole))
    }

    async fn wanted_values(&self, head: &Head) -> Result<Wanted, EnvironmentError> {
        let records = &*self.records;
        // What the first run found and took over can be had again, too.
        let ids =
            head.releases.first().map(|_| ReleaseId(0)).into_iter().chain(head.releases.iter().copied());
        // Boxed one by one: a stream over borrowing closures could not be sent to another thread.
        let reads: Vec<BoxFuture<'_, Result<Option<Release>, JournalError>>> =
            ids.map(|id| history::release(records, id).boxed()).collect();
        let mut reads = stream::iter(reads).buffered(READS);
        let mut wanted = Wanted::new();
        while let Some(read) = reads.next().await {
            let release = match read {
                Ok(Some(release)) => release,
                Ok(None) => continue,
                // What it refers to is not known, and hides nothing that others have lost.
                Err(JournalError::Damaged { .. } | JournalError::Newer { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            for (key, released) in &release.objects {
                for (field, hash) in values(&released.desired) {
                    wanted.entry((key.clone(), field, hash)).or_default().insert(release.head.id);
                }
            }
        }
        Ok(wanted)
    }
}

/// The keys of a sealed Secret with the hashes of their values. All of its values are sealed.
fn values(sealed: &Object) -> Vec<(String, String)> {
    let keys = sealed.at("/data").and_then(|data| data.as_object()).into_iter().flat_map(|data| data.keys());
    keys.cloned().zip(hashes(sealed)).collect()
}
