//! A cluster some of whose answers come late, or not any more.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, stream};
use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterInfo, Deleted, Dependents, Effect, ErrorKind, ListQuery,
        LogLine, LogOptions, LogStream, Permission, Precondition, ProviderError, WatchEvent, WatchStream,
        WriteMode, WriteOptions,
    },
    runtime::{Moment, Runtime},
};
use maily_testkit::sim::SimCluster;

use crate::setup::Setup;

/// How watches end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// With an error, and every further one at once.
    Broken,
    /// They say that they go on, and say nothing more.
    Interrupted,
    /// They say that they go on, and list all anew after ten seconds: their history was lost.
    Forgotten,
    /// Without a word, which no watch is to do. Those that are begun later go on.
    Ended,
}

/// The hindered cluster.
#[derive(Debug)]
pub(crate) struct Hindered {
    pub(crate) cluster: SimCluster,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Lists of Services take so long.
    pub(crate) lists_take: Duration,
    /// When and how watches of Deployments, or of another kind, end.
    pub(crate) cut: Option<(Moment, Cut)>,
    pub(crate) cut_kind: &'static str,
    /// From when on Services can neither be listed nor read, and of what kind the error is.
    pub(crate) refused: Option<(Moment, ErrorKind)>,
    /// Patches of Deployments find none, whatever is there.
    pub(crate) patches_vanish: bool,
    /// Writes of the object of this name are conflicts whatever they carry, as a webhook may answer; how many were.
    pub(crate) conflicts: Option<(&'static str, Arc<AtomicU32>)>,
    /// From when on the object of this name may not be written.
    pub(crate) forbidden: Option<(Moment, &'static str)>,
    /// Writes of this field manager are never answered, and change nothing.
    pub(crate) silent_to: Option<&'static str>,
    /// Writes and deletes of the object of this name take effect, and so many of their answers are lost.
    pub(crate) lost: Option<(&'static str, AtomicU32)>,
    /// Objects of this kind cannot be deleted.
    pub(crate) keeps: Option<&'static str>,
    /// The first deletion of a pod is on its way for long.
    pub(crate) late: Option<Arc<Late>>,
    /// A webhook denies all that is done with objects whose kind begins so.
    pub(crate) denied: Option<&'static str>,
    /// Patches of pods are refused with an error of this kind.
    pub(crate) no_marks: Option<ErrorKind>,
    /// The object of this name may not be read.
    pub(crate) hidden: Option<&'static str>,
    /// So many reads of objects of this kind are turned away.
    pub(crate) away: Option<(&'static str, AtomicU32)>,
    /// Logs have lines of so many bytes.
    pub(crate) lines_of: Option<usize>,
    /// This kind is not served, by whatever answers.
    pub(crate) unserved: Option<&'static str>,
}

/// A deletion that arrives when the next one of its kind is sent: nobody who waits for its answer gets one.
#[derive(Debug)]
pub(crate) struct Late {
    /// Deletions before this moment are turned away.
    pub(crate) from: Moment,
    sent: Mutex<Option<(ObjectKey, Precondition)>>,
    came_to: OnceLock<Result<(), ErrorKind>>,
}

impl Late {
    pub(crate) fn from(from: Moment) -> Arc<Self> {
        Arc::new(Self { from, sent: Mutex::default(), came_to: OnceLock::new() })
    }

    /// What became of it once it arrived.
    pub(crate) fn came_to(&self) -> Option<Result<(), ErrorKind>> {
        self.came_to.get().copied()
    }

    /// Before another deletion: keeps the first one for ever, and lets it arrive ahead of the second.
    async fn meet(
        &self,
        hindered: &Hindered,
        key: &ObjectKey,
        precondition: &Precondition,
    ) -> Result<(), ProviderError> {
        if !self.from.since(hindered.runtime.now()).is_zero() {
            let (kind, message) = (ErrorKind::Unavailable, "not now");
            return Err(ProviderError::new(kind, "kubernetes", "delete", key.to_string(), message)
                .with_effect(Effect::None));
        }
        let sent = self.sent.lock().expect("not poisoned").replace((key.clone(), precondition.clone()));
        let Some((key, precondition)) = sent else { return std::future::pending().await };
        if self.came_to.get().is_none() {
            let arrived = hindered.cluster.delete(&key, &precondition, Dependents::Follow).await;
            self.came_to.get_or_init(|| arrived.map(|_| ()).map_err(|error| error.kind()));
        }
        Ok(())
    }
}

impl Hindered {
    pub(crate) fn of(setup: &Setup) -> Self {
        let cluster = SimCluster::new(Arc::clone(&setup.shared));
        let runtime = Arc::clone(&setup.runtime);
        Self {
            cluster,
            runtime,
            lists_take: Duration::ZERO,
            cut: None,
            cut_kind: "Deployment",
            refused: None,
            patches_vanish: false,
            conflicts: None,
            forbidden: None,
            silent_to: None,
            lost: None,
            keeps: None,
            late: None,
            denied: None,
            no_marks: None,
            hidden: None,
            away: None,
            lines_of: None,
            unserved: None,
        }
    }

    pub(crate) fn has_lost_all(&self) -> bool {
        self.lost.as_ref().is_none_or(|(_, left)| left.load(Ordering::SeqCst) == 0)
    }

    async fn listing(&self, query: &ListQuery) -> Result<(), ProviderError> {
        if query.kind.kind == "Service" {
            self.runtime.sleep(self.lists_take).await;
        }
        self.answers(&query.kind)
    }

    fn answers(&self, kind: &ObjectKind) -> Result<(), ProviderError> {
        if self.unserved == Some(&*kind.kind) {
            let (why, message) = (ErrorKind::Unsupported, "the cluster does not serve this kind");
            return Err(ProviderError::new(why, "kubernetes", "read", kind.to_string(), message));
        }
        let over = |at: Moment| at.since(self.runtime.now()).is_zero();
        match self.refused {
            Some((at, why)) if kind.kind == "Service" && over(at) => {
                Err(ProviderError::new(why, "kubernetes", "read", "services", "nobody is told of services"))
            }
            _ => Ok(()),
        }
    }

    fn denies(&self, key: &ObjectKey) -> Result<(), ProviderError> {
        if !self.denied.is_some_and(|kind| key.kind.kind.starts_with(kind)) {
            return Ok(());
        }
        let message = "admission webhook \"guard.example\" denied the request: tenants have no policies";
        Err(ProviderError::new(ErrorKind::Invalid, "kubernetes", "write", key.to_string(), message))
    }

    fn arrives<T>(&self, name: &str, answer: T) -> Result<T, ProviderError> {
        let Some((_, left)) = self.lost.as_ref().filter(|(lost, _)| *lost == name) else { return Ok(answer) };
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => {
                let (kind, message) = (ErrorKind::DeadlineExceeded, "no answer in time");
                Err(ProviderError::new(kind, "kubernetes", "call", name, message))
            }
            Err(_) => Ok(answer),
        }
    }
}

fn broken() -> ProviderError {
    ProviderError::new(ErrorKind::Unavailable, "kubernetes", "watch", "deployments", "it breaks off")
}

#[async_trait]
impl Cluster for Hindered {
    async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        self.cluster.describe().await
    }

    async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError> {
        let mut served = self.cluster.resources(kinds).await?;
        served.retain(|resource| self.unserved != Some(&*resource.kind.kind));
        Ok(served)
    }

    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        self.cluster.allowed(permissions).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        self.answers(&key.kind)?;
        if let Some((_, left)) = self.away.as_ref().filter(|(kind, _)| *kind == key.kind.kind)
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            let (kind, message) = (ErrorKind::Unavailable, "not now");
            return Err(ProviderError::new(kind, "kubernetes", "read", key.to_string(), message));
        }
        if self.hidden == Some(&*key.name) {
            let resource = key.to_string();
            return Err(ProviderError::new(
                ErrorKind::PermissionDenied,
                "cluster",
                "read",
                resource,
                "forbidden",
            ));
        }
        self.cluster.get(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.listing(query).await?;
        self.cluster.list(query).await
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.listing(query).await?;
        self.cluster.list_metadata(query).await
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        if let Some((name, count)) = &self.conflicts
            && object.name() == *name
        {
            count.fetch_add(1, Ordering::SeqCst);
            let message = "admission webhook \"quota.example.com\" denied the request: try again";
            return Err(ProviderError::new(ErrorKind::Conflict, "kubernetes", "apply", *name, message)
                .with_effect(Effect::None));
        }
        if let Some((from, name)) = self.forbidden
            && object.name() == name
            && from.since(self.runtime.now()).is_zero()
        {
            let (kind, message) = (ErrorKind::PermissionDenied, "leases are forbidden");
            let hint = "ask for a Role in namespace `shop` that allows `patch` on `leases`";
            return Err(ProviderError::new(kind, "kubernetes", "patch", name, message).with_hint(hint));
        }
        if self.silent_to == Some(options.manager) {
            std::future::pending::<()>().await;
        }
        if self.patches_vanish && object.kind() == "Deployment" && options.mode == WriteMode::Merge {
            let (kind, what) = (ErrorKind::NotFound, object.key().to_string());
            return Err(ProviderError::new(kind, "kubernetes", "patch", what, "there is none"));
        }
        self.denies(object.key())?;
        if let Some(kind) = self.no_marks.filter(|_| object.kind() == "Pod") {
            let message = "admission webhook \"pods.example.com\" denied the request: pods are not changed";
            return Err(ProviderError::new(kind, "kubernetes", "patch", object.key().to_string(), message));
        }
        let answer = self.cluster.write(object, options).await?;
        self.arrives(object.name(), answer)
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        if self.keeps == Some(&*key.kind.kind) {
            let (kind, message) = (ErrorKind::PermissionDenied, "nobody may delete these");
            return Err(ProviderError::new(kind, "kubernetes", "delete", key.to_string(), message)
                .with_effect(Effect::None));
        }
        self.denies(key)?;
        if let Some(late) = self.late.as_ref().filter(|_| key.kind.kind == "Pod") {
            late.meet(self, key, precondition).await?;
        }
        let answer = self.cluster.delete(key, precondition, dependents).await?;
        self.arrives(&key.name, answer)
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        let Some((at, how)) = self.cut.filter(|_| query.kind.kind == self.cut_kind) else {
            return self.cluster.watch(query).await;
        };
        let left = at.since(self.runtime.now());
        if left.is_zero() && how == Cut::Ended {
            return self.cluster.watch(query).await;
        }
        if left.is_zero() {
            return Err(broken());
        }
        let runtime = Arc::clone(&self.runtime);
        let until = async move { runtime.sleep(left).await }.boxed();
        let before = self.cluster.watch(query).await?.take_until(until);
        let interrupted = || stream::iter([Ok(WatchEvent::Interrupted("it breaks off".to_owned()))]);
        let after = match how {
            Cut::Broken => stream::iter([Err(broken())]).boxed(),
            Cut::Ended => stream::empty().boxed(),
            Cut::Interrupted => interrupted().chain(stream::pending()).boxed(),
            Cut::Forgotten => {
                let (runtime, cluster, query) =
                    (Arc::clone(&self.runtime), self.cluster.clone(), query.clone());
                let anew = async move {
                    runtime.sleep(Duration::from_secs(10)).await;
                    cluster.watch(&query).await.expect("opens")
                };
                interrupted().chain(stream::once(anew).flatten()).boxed()
            }
        };
        Ok(before.chain(after).boxed())
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        let lines = self.cluster.logs(pod, options).await?;
        let Some(length) = self.lines_of else { return Ok(lines) };
        assert!(options.bytes.is_some(), "nobody asks for all of it: {options:?}");
        let line = LogLine { time: None, text: "=".repeat(length) };
        Ok(stream::iter(vec![line; 20].into_iter().map(Ok)).boxed())
    }
}
