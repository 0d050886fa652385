//! Watches that the server breaks off in their first answer, and what cannot be read beside them for a while.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use maily_core::{
    engine::{Depth, Failure, Outcome, RunEnd},
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterInfo, Deleted, Dependents, ErrorKind, ListQuery, LogOptions,
        LogStream, Permission, Precondition, ProviderError, WatchStream, WriteOptions,
    },
};
use maily_testkit::sim::SimCluster;

use crate::setup::{Setup, fault, succeeded};

/// A cluster whose first watches, lists of pods, or reads of a ReplicaSet, end with an error of this kind.
#[derive(Debug)]
struct Broken {
    cluster: SimCluster,
    kind: ErrorKind,
    watches: AtomicU32,
    lists: AtomicU32,
    sets: AtomicU32,
    /// What was asked of pods.
    asked: Mutex<Vec<ListQuery>>,
}

/// Takes one away, if there is one left.
fn takes(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

impl Broken {
    fn new(setup: &Setup, kind: ErrorKind, [watches, lists, sets]: [u32; 3]) -> Arc<Self> {
        let cluster = SimCluster::new(Arc::clone(&setup.shared));
        let [watches, lists, sets] = [watches, lists, sets].map(AtomicU32::new);
        Arc::new(Self { cluster, kind, watches, lists, sets, asked: Mutex::default() })
    }

    fn error(&self, operation: &'static str, what: &str) -> ProviderError {
        ProviderError::new(self.kind, "kubernetes", operation, what, "the answer breaks off")
    }
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
        if key.kind.kind == "ReplicaSet" && takes(&self.sets) {
            return Err(self.error("get", &key.to_string()));
        }
        self.cluster.get(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        if query.kind.kind == "Pod" {
            self.asked.lock().expect("not poisoned").push(query.clone());
            if takes(&self.lists) {
                return Err(self.error("list", "pods"));
            }
        }
        self.cluster.list(query).await
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.cluster.list_metadata(query).await
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        self.cluster.write(object, options).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        self.cluster.delete(key, precondition, dependents).await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        if !takes(&self.watches) {
            return self.cluster.watch(query).await;
        }
        Ok(stream::iter([Err(self.error("watch", "pods"))]).boxed())
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        self.cluster.logs(pod, options).await
    }
}

async fn deploys(kind: ErrorKind) -> bool {
    let mut setup = Setup::new(71);
    setup.cluster = Some(Broken::new(&setup, kind, [3, 0, 0]));
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

/// A release whose pods are doomed, to a cluster that does not tell at first whose they are: why it went back, and how
/// long that took.
async fn goes_back(kind: ErrorKind) -> (Failure, Duration) {
    let mut setup = Setup::new(72);
    assert!(succeeded(&setup.deploy("v1").await));
    let broken = Broken::new(&setup, kind, [0, 0, 3]);
    setup.cluster = Some(broken.clone());
    setup.shared.world().faults.push(fault("image-missing worker@v2"));
    let start = setup.runtime.now();
    let end = setup.deploy("v2").await;
    assert!(broken.sets.load(Ordering::SeqCst) < 3, "it was asked whose the pods are");
    let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = end else { panic!("{end:?}") };
    (why, setup.runtime.now().since(start))
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_that_cannot_be_read_for_a_while_is_read_again() {
    let (why, took) = goes_back(ErrorKind::Unavailable).await;
    assert_eq!(why.cause, "image-not-found", "{why:?}");
    // Nothing changes any more that a watch could tell of.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_that_must_not_be_read_fails_the_step() {
    let (why, _) = goes_back(ErrorKind::PermissionDenied).await;
    assert!(why.message.contains("the answer breaks off"), "{why:?}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_asks_why_of_what_stays_and_does_not_serve_alone_and_more_than_once() {
    let mut setup = Setup::new(74);
    assert!(succeeded(&setup.deploy("v1").await));
    let queue = {
        let mut world = setup.shared.world();
        world.faults.push(fault("image-missing queue@v1"));
        world
            .of_kind("Pod")
            .into_iter()
            .map(|pod| pod.key().clone())
            .find(|pod| pod.name.starts_with("queue-"))
    };
    setup.shared.world().delete(&queue.expect("is there"), &Precondition::Any).expect("is there");
    setup.runtime.sleep(Duration::from_secs(20)).await;
    let broken = Broken::new(&setup, ErrorKind::Unavailable, [0, 1, 1]);
    setup.cluster = Some(broken.clone());
    // All of it will be another: nobody reads why it does not serve now.
    setup.plan("v2", Depth::DryRun).await.expect("can be planned");
    assert_eq!(broken.asked.lock().expect("not poisoned")[..], []);
    let planned = setup.plan("v1", Depth::DryRun).await.expect("can be planned");
    let note = planned.plan.notes.iter().find(|note| note.topic == "not-serving").expect("is told");
    assert!(note.text.contains("does not exist"), "{note:?}");
    let asked = broken.asked.lock().expect("not poisoned");
    assert!(asked.len() == 2 && asked.iter().all(|query| query.state_only), "{asked:?}");
    assert_eq!([&broken.lists, &broken.sets].map(|left| left.load(Ordering::SeqCst)), [0, 0]);
}

/// As a server answers it: what reads on has to ask for more, in every simulation.
#[tokio::test(start_paused = true)]
async fn a_list_of_metadata_has_metadata_alone() {
    let setup = Setup::new(73);
    assert!(succeeded(&setup.deploy("v1").await));
    let query = ListQuery::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"));
    let cluster = SimCluster::new(Arc::clone(&setup.shared));
    let listed = cluster.list_metadata(&query).await.expect("is listed");
    assert!(!listed.is_empty() && listed.iter().all(|object| object.uid().is_some()), "{listed:?}");
    assert!(listed.iter().all(|object| object.at("/spec").is_none() && object.at("/status").is_none()));
}
