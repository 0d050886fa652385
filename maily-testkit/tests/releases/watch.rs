//! A watch that the server breaks off in its first answer.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterInfo, Deleted, ErrorKind, ListQuery, LogOptions, LogStream,
        Permission, Precondition, ProviderError, WatchStream, WriteOptions,
    },
};
use maily_testkit::sim::SimCluster;

use crate::setup::{Setup, succeeded};

/// A cluster whose first watches end with an error of this kind.
#[derive(Debug)]
struct Broken {
    cluster: SimCluster,
    kind: ErrorKind,
    left: AtomicU32,
}

#[async_trait]
impl Cluster for Broken {
    async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        self.cluster.describe().await
    }

    async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError> {
        self.cluster.resources(kinds).await
    }

    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        self.cluster.allowed(permissions).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        self.cluster.get(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.cluster.list(query).await
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        self.cluster.write(object, options).await
    }

    async fn delete(&self, key: &ObjectKey, precondition: &Precondition) -> Result<Deleted, ProviderError> {
        self.cluster.delete(key, precondition).await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_err() {
            return self.cluster.watch(query).await;
        }
        let error = ProviderError::new(self.kind, "kubernetes", "watch", "pods", "the answer breaks off");
        Ok(stream::iter([Err(error)]).boxed())
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        self.cluster.logs(pod, options).await
    }
}

async fn deploys(kind: ErrorKind) -> bool {
    let mut setup = Setup::new(71);
    let cluster = SimCluster::new(Arc::clone(&setup.shared));
    setup.cluster = Some(Arc::new(Broken { cluster, kind, left: AtomicU32::new(3) }));
    succeeded(&setup.deploy("v1").await)
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_off_in_its_first_answer_is_begun_anew() {
    assert!(deploys(ErrorKind::Unavailable).await);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_forbidden_fails_the_step() {
    assert!(!deploys(ErrorKind::PermissionDenied).await);
}
