//! Nobody waits without being told for what: calls that get no answer for a while, and errors that are only tried again.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{
    StreamExt as _,
    future::{Either, select},
};

use super::{Environment, Event, Listener, RunId, What, patience::TRIES};
use crate::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterInfo, Created, Deleted, Dependents, ListQuery, LogLine,
        LogOptions, LogStream, Permission, Precondition, ProviderError, RecordStore, WatchEvent, WatchStream,
        WriteOptions,
    },
    runtime::{Moment, Runtime},
};

/// So long a call may be silent.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two lines: where one call gets no answer, others do not either.
const AGAIN: Duration = Duration::from_secs(10);

/// Tells a listener what is waited for.
struct Voice {
    listener: Arc<dyn Listener>,
    runtime: Arc<dyn Runtime>,
    run: RunId,
    environment: String,
    /// How often something is asked at most, where that is known before.
    most: Option<u32>,
    last: Mutex<Option<Moment>>,
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice").field("run", &self.run).finish_non_exhaustive()
    }
}

impl Voice {
    fn say(&self, why: impl FnOnce() -> String) {
        let now = self.runtime.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.since(last) < AGAIN) {
            return;
        }
        *last = Some(now);
        drop(last);
        let (at, what) = (self.runtime.wall(), What::Waiting { why: why() });
        self.listener.event(&Event::new(self.run.clone(), &self.environment, at, what));
    }

    async fn hear<T>(
        &self,
        what: impl Fn() -> String,
        call: impl Future<Output = Result<T, ProviderError>> + Send,
    ) -> Result<T, ProviderError> {
        futures::pin_mut!(call);
        let answer = match select(call, self.runtime.sleep(SILENCE)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), call)) => {
                self.say(|| format!("no answer for {} s: {}", SILENCE.as_secs(), what()));
                call.await
            }
        };
        if let Err(error) = &answer
            && error.is_transient()
        {
            self.say(|| match self.most {
                Some(most) => format!("{}: asks up to {most} times", error.brief()),
                None => error.brief(),
            });
        }
        answer
    }
}

impl Environment {
    /// The same environment, which tells a listener what it waits for: whoever only looks has no run that would.
    #[must_use]
    pub fn told_to(&self, listener: &Arc<dyn Listener>) -> Self {
        self.told(listener, &RunId::from("-"), Some(TRIES + 1))
    }

    /// The same environment, whose listener hears when the cluster or the records keep it waiting.
    #[must_use]
    pub(crate) fn heard(&self, listener: &Arc<dyn Listener>, run: &RunId) -> Self {
        self.told(listener, run, None)
    }

    fn told(&self, listener: &Arc<dyn Listener>, run: &RunId, most: Option<u32>) -> Self {
        let voice = Arc::new(Voice {
            listener: Arc::clone(listener),
            runtime: Arc::clone(&self.runtime),
            run: run.clone(),
            environment: self.name.clone(),
            most,
            last: Mutex::default(),
        });
        let mut heard = self.clone();
        heard.providers.cluster = Arc::new(HeardCluster {
            cluster: Arc::clone(&self.providers.cluster),
            voice: Arc::clone(&voice),
        });
        heard.records = Arc::new(HeardRecords { records: Arc::clone(&self.records), voice });
        heard
    }
}

#[derive(Debug)]
struct HeardCluster {
    cluster: Arc<dyn Cluster>,
    voice: Arc<Voice>,
}

#[async_trait]
impl Cluster for HeardCluster {
    async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        self.voice
            .hear(|| "asks the API server which cluster it is".to_owned(), self.cluster.describe())
            .await
    }

    async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError> {
        self.voice.hear(|| "asks which kinds are served".to_owned(), self.cluster.resources(kinds)).await
    }

    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        self.voice.hear(|| "asks what is allowed".to_owned(), self.cluster.allowed(permissions)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        self.voice.hear(|| format!("reads {key}"), self.cluster.get(key)).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.voice.hear(|| format!("lists {}", query.kind), self.cluster.list(query)).await
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.voice.hear(|| format!("lists {}", query.kind), self.cluster.list_metadata(query)).await
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        self.voice.hear(|| format!("writes {}", object.key()), self.cluster.write(object, options)).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        self.voice.hear(|| format!("deletes {key}"), self.cluster.delete(key, precondition, dependents)).await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        let stream = self.voice.hear(|| format!("watches {}", query.kind), self.cluster.watch(query)).await?;
        let (voice, kind) = (Arc::clone(&self.voice), query.kind.clone());
        let told = move |event: &Result<WatchEvent, ProviderError>| match event {
            Ok(WatchEvent::Interrupted(why)) => voice.say(|| format!("the watch of {kind} broke off: {why}")),
            Err(error) => voice.say(|| error.to_string()),
            Ok(_) => {}
        };
        Ok(stream.inspect(told).boxed())
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        let stream = self.voice.hear(|| format!("reads the log of {pod}"), self.cluster.logs(pod, options));
        let (voice, pod) = (Arc::clone(&self.voice), pod.clone());
        let told = move |line: &Result<LogLine, ProviderError>| {
            if let Err(error) = line {
                voice.say(|| format!("the log of {pod} broke off: {error}"));
            }
        };
        Ok(stream.await?.inspect(told).boxed())
    }
}

#[derive(Debug)]
struct HeardRecords {
    records: Arc<dyn RecordStore>,
    voice: Arc<Voice>,
}

#[async_trait]
impl RecordStore for HeardRecords {
    async fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, ProviderError> {
        self.voice.hear(|| "writes its records".to_owned(), self.records.create(key, bytes)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ProviderError> {
        self.voice.hear(|| "reads its records".to_owned(), self.records.get(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ProviderError> {
        self.voice.hear(|| "reads its records".to_owned(), self.records.list(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        self.voice.hear(|| "deletes old records".to_owned(), self.records.delete(key)).await
    }
}
