//! A server that takes requests and does not answer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use maily_core::{
    engine::{Depth, Outcome, RunEnd, What, Wish},
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterInfo, Deleted, Dependents, ErrorKind, ListQuery, LogOptions,
        LogStream, Permission, Precondition, ProviderError, WatchStream, WriteOptions,
    },
    runtime::{Moment, Runtime, within},
};
use maily_testkit::sim::SimCluster;

use crate::setup::{Setup, fault, succeeded};

/// Silent from the first write of a Deployment on, as long as it is broken.
#[derive(Debug)]
struct Silent {
    cluster: SimCluster,
    runtime: Arc<dyn Runtime>,
    broken: AtomicBool,
    since: Mutex<Option<Moment>>,
}

impl Silent {
    async fn pass(&self) -> Result<(), ProviderError> {
        let silent = self.since.lock().expect("not poisoned").is_some();
        if silent && self.broken.load(Ordering::SeqCst) {
            self.runtime.sleep(Duration::from_secs(15)).await;
            return Err(ProviderError::new(
                ErrorKind::DeadlineExceeded,
                "kubernetes",
                "call",
                "x",
                "no answer within 15 s",
            ));
        }
        Ok(())
    }
}

#[async_trait]
impl Cluster for Silent {
    async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        self.pass().await?;
        self.cluster.describe().await
    }

    async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError> {
        self.pass().await?;
        self.cluster.resources(kinds).await
    }

    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        self.cluster.allowed(permissions).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        self.pass().await?;
        self.cluster.get(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.pass().await?;
        self.cluster.list(query).await
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.pass().await?;
        self.cluster.list_metadata(query).await
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        if object.kind() == "Deployment" && !options.dry_run && self.broken.load(Ordering::SeqCst) {
            self.since.lock().expect("not poisoned").get_or_insert(self.runtime.now());
        }
        self.pass().await?;
        self.cluster.write(object, options).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        self.pass().await?;
        self.cluster.delete(key, precondition, dependents).await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        self.pass().await?;
        self.cluster.watch(query).await
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        self.cluster.logs(pod, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_told_within_seconds_and_an_interrupt_does_not_wait_for_it() {
    let mut setup = Setup::new(81);
    let silent = Arc::new(Silent {
        cluster: SimCluster::new(Arc::clone(&setup.shared)),
        runtime: Arc::clone(&setup.runtime),
        broken: AtomicBool::new(true),
        since: Mutex::default(),
    });
    setup.cluster = Some(Arc::clone(&silent) as Arc<dyn Cluster>);
    let environment = setup.environment();
    let planned = setup.plan("v1", Depth::Read).await.expect("can be planned");
    let mut options = setup.options("first");
    let (told, runtime) = (Arc::new(Mutex::new(None)), Arc::clone(&setup.runtime));
    let tells = Arc::clone(&told);
    options.listener = Arc::new(move |event: &maily_core::engine::Event| {
        if let What::Waiting { why } = &event.what {
            tells.lock().expect("not poisoned").get_or_insert((runtime.now(), why.clone()));
        }
    });
    let cancel = options.cancel.clone();
    let run = environment.run(planned, &options);
    let interrupt = async {
        while told.lock().expect("not poisoned").is_none() {
            setup.runtime.sleep(Duration::from_millis(100)).await;
        }
        setup.runtime.sleep(Duration::from_secs(3)).await;
        cancel.cancel();
        setup.runtime.now()
    };
    let (end, asked) = futures::future::join(run, interrupt).await;
    let (at, why) = told.lock().expect("not poisoned").clone().expect("was told");
    let since = silent.since.lock().expect("not poisoned").expect("fell silent");
    assert!(at.since(since) <= Duration::from_secs(5), "{:?}", at.since(since));
    assert!(why.starts_with("no answer for 2 s: writes "), "{why}");
    assert!(matches!(end, Ok(RunEnd::Paused { .. })), "{end:?}");
    // The state is as after a crash; the lease is given back if the server answers soon.
    assert!(setup.runtime.now().since(asked) <= Duration::from_secs(1));
    silent.broken.store(false, Ordering::SeqCst);
    setup.runtime.sleep(Duration::from_secs(30)).await;
    let end = environment.take_over(None, Wish::Resume, &setup.options("second")).await.expect("goes on");
    let Some(RunEnd::Over { outcome, .. }) = end else { panic!("{end:?}") };
    assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_does_not_wait_for_the_marks_of_a_takeover() {
    let mut setup = Setup::new(82);
    let silent = Arc::new(Silent {
        cluster: SimCluster::new(Arc::clone(&setup.shared)),
        runtime: Arc::clone(&setup.runtime),
        broken: AtomicBool::new(false),
        since: Mutex::default(),
    });
    setup.cluster = Some(Arc::clone(&silent) as Arc<dyn Cluster>);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready api@v2"));
    let died = within(&*setup.runtime, Duration::from_secs(12), setup.deploy("v2")).await;
    assert!(died.is_none());
    setup.shared.world().faults.clear();
    setup.runtime.sleep(Duration::from_secs(20)).await;
    silent.broken.store(true, Ordering::SeqCst);
    let environment = setup.environment();
    let options = setup.options("second");
    let cancel = options.cancel.clone();
    let interrupt = async {
        while silent.since.lock().expect("not poisoned").is_none() {
            setup.runtime.sleep(Duration::from_millis(100)).await;
        }
        setup.runtime.sleep(Duration::from_secs(3)).await;
        cancel.cancel();
        setup.runtime.now()
    };
    let takes = async { (environment.take_over(None, Wish::Resume, &options).await, setup.runtime.now()) };
    let ((end, ended), asked) = futures::future::join(takes, interrupt).await;
    assert!(matches!(end, Ok(Some(RunEnd::Paused { .. }))), "{end:?}");
    assert!(ended.since(asked) <= Duration::from_secs(1), "{:?}", ended.since(asked));
    let told = setup.told.lock().expect("not poisoned").clone();
    assert!(matches!(told.last(), Some(What::Paused { .. })), "{:?}", told.last());
    silent.broken.store(false, Ordering::SeqCst);
    setup.runtime.sleep(Duration::from_secs(30)).await;
    let end = environment.take_over(None, Wish::Resume, &setup.options("third")).await.expect("goes on");
    assert!(end.as_ref().is_some_and(succeeded), "{end:?}");
}
