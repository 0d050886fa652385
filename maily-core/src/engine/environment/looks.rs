//! What is asked of a cluster beside a run: again, while it does not answer for a moment.

use futures::FutureExt as _;

use super::Environment;
use crate::{
    engine::{FenceError, FenceSight, patience::patiently},
    model::Fencing,
    object::{Object, ObjectKey},
    provider::{Access, ClusterInfo, Permission, ProviderError},
};

impl Environment {
    /// What the cluster says of itself.
    ///
    /// # Errors
    /// When it cannot be reached, or does not let these credentials see it.
    pub async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        patiently(&*self.runtime, || self.providers.cluster.describe()).await
    }

    /// An object as it is; none where it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn object(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        patiently(&*self.runtime, || self.providers.cluster.get(key)).await
    }

    /// What the present credentials may do, in the order of the questions.
    ///
    /// # Errors
    /// When the cluster cannot say it.
    pub async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        patiently(&*self.runtime, || self.providers.cluster.allowed(permissions)).await
    }

    /// Whether the fence stands, which is not proved.
    ///
    /// # Errors
    /// When its parameter cannot be read.
    pub async fn fence_sight(&self) -> Result<FenceSight, FenceError> {
        let fence = self.fence();
        patiently(&*self.runtime, || fence.sight(self.fencing == Fencing::Installed).boxed()).await
    }
}
