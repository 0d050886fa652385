//! Logs of a service: many pods, many containers, one stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{
    StreamExt as _,
    stream::{self, BoxStream, SelectAll},
};
use serde_json::Value;

use crate::{
    engine::{Environment, EnvironmentError, patiently},
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Cluster, ErrorKind, Follow, ListQuery, LogLine, LogOptions, LogStream, ProviderError, WatchEvent,
        WatchStream,
    },
    runtime::Runtime,
};

/// A line of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLine {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// The line.
    pub line: LogLine,
}

/// Lines of many containers: in order within each, as they come between them.
pub type PodLines = BoxStream<'static, Result<PodLine, ProviderError>>;

/// The logs of a service of the release in force. `None` where the release has no such service, or it has no pods.
///
/// Following goes on across restarts and new pods, and ends only when dropped.
///
/// # Errors
/// When the records or the pods cannot be read.
pub async fn logs(
    environment: &Environment,
    service: &str,
    options: &LogOptions,
) -> Result<Option<PodLines>, EnvironmentError> {
    let head = environment.head().await?;
    let Some(release) = environment.released(&head).await? else { return Ok(None) };
    let objects = release.objects.values().filter(|object| object.service.as_deref() == Some(service));
    let selectors: BTreeSet<BTreeMap<String, String>> =
        objects.filter_map(|object| selector(&object.desired)).collect();
    if selectors.is_empty() {
        return Ok(None);
    }
    let queries: Vec<ListQuery> = selectors
        .into_iter()
        .map(|labels| ListQuery {
            labels,
            ..ListQuery::new(ObjectKind::new("v1", "Pod"), Some(&environment.namespace))
        })
        .collect();
    let cluster = Arc::clone(&environment.providers.cluster);
    let mut reader = Reader {
        cluster: Arc::clone(&cluster),
        runtime: Arc::clone(&environment.runtime),
        options: options.clone(),
        begun: BTreeSet::new(),
        lines: SelectAll::new(),
        first: true,
    };
    if options.follow == Follow::No {
        for query in &queries {
            let pods = patiently(&*environment.runtime, || cluster.list(query)).await;
            let pods = pods.map_err(EnvironmentError::Provider)?;
            for pod in &pods {
                reader.begin(pod).await.map_err(EnvironmentError::Provider)?;
            }
        }
        return Ok(Some(reader.lines.boxed()));
    }
    let mut watches = SelectAll::new();
    for query in &queries {
        let watch = patiently(&*environment.runtime, || cluster.watch(query)).await;
        watches.push(watch.map_err(EnvironmentError::Provider)?);
    }
    Ok(Some(follow(reader, watches)))
}

fn selector(workload: &Object) -> Option<BTreeMap<String, String>> {
    let labels = match workload.key().kind.kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => {
            workload.at("/spec/selector/matchLabels")?
        }
        _ => return None,
    };
    let labels = labels.as_object()?.iter();
    Some(labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect())
}

fn follow(reader: Reader, watches: SelectAll<WatchStream>) -> PodLines {
    stream::unfold((reader, watches), |(mut reader, mut watches)| async move {
        loop {
            let line = async {
                if reader.lines.is_empty() { std::future::pending().await } else { reader.lines.next().await }
            };
            let event = watches.next();
            futures::pin_mut!(line, event);
            let event = match futures::future::select(line, event).await {
                futures::future::Either::Left((Some(line), _)) => return Some((line, (reader, watches))),
                // All streams have ended: new ones come with the next pod.
                futures::future::Either::Left((None, _)) => continue,
                futures::future::Either::Right((event, _)) => event?,
            };
            let pods = match event {
                Ok(WatchEvent::Listed(pods)) => pods,
                Ok(WatchEvent::Applied(pod)) => vec![pod],
                Ok(WatchEvent::Deleted(_) | WatchEvent::Interrupted(_)) => continue,
                Err(error) => return Some((Err(error), (reader, watches))),
            };
            for pod in &pods {
                if let Err(error) = reader.begin(pod).await {
                    return Some((Err(error), (reader, watches)));
                }
            }
            reader.first = false;
        }
    })
    .boxed()
}

struct Reader {
    cluster: Arc<dyn Cluster>,
    runtime: Arc<dyn Runtime>,
    options: LogOptions,
    /// Pod, container and number of its restarts.
    begun: BTreeSet<(String, String, i64)>,
    lines: SelectAll<PodLines>,
    first: bool,
}

impl Reader {
    /// Begins to read every container of a pod that has something to say and is not read yet.
    async fn begin(&mut self, pod: &Object) -> Result<(), ProviderError> {
        let uid = pod.uid().unwrap_or_default().to_owned();
        let statuses =
            pod.items("/status/initContainerStatuses").iter().chain(pod.items("/status/containerStatuses"));
        for status in statuses {
            let Some(container) = status.get("name").and_then(Value::as_str) else { continue };
            if self.options.container.as_deref().is_some_and(|wanted| wanted != container) {
                continue;
            }
            let restarts = status.get("restartCount").and_then(Value::as_i64).unwrap_or_default();
            let waits = status.pointer("/state/waiting").is_some();
            let has_begun = if self.options.previous || waits { restarts > 0 } else { true };
            let instance = (uid.clone(), container.to_owned(), restarts);
            if !has_begun || self.begun.contains(&instance) {
                continue;
            }
            let mut options = LogOptions { container: Some(container.to_owned()), ..self.options.clone() };
            if !self.first {
                // What began while we looked on is read from its start.
                (options.since, options.tail) = (None, None);
            }
            let opened = match options.follow {
                Follow::Yes => self.cluster.logs(pod.key(), &options).await,
                Follow::No => patiently(&*self.runtime, || self.cluster.logs(pod.key(), &options)).await,
            };
            let lines = match opened {
                Ok(lines) => Some(lines),
                // The next change of the pod has it opened.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => continue,
                Err(error) if options.follow == Follow::Yes && error.is_transient() => None,
                Err(error) => return Err(error),
            };
            self.begun.insert(instance);
            let (name, container) = (pod.key().name.clone(), container.to_owned());
            let log = Log {
                cluster: Arc::clone(&self.cluster),
                runtime: Arc::clone(&self.runtime),
                pod: pod.key().clone(),
                options,
                lines,
                last: None,
                told: None,
                pause: PAUSE,
            };
            let lines = log.lines().map(move |line| {
                line.map(|line| PodLine { pod: name.clone(), container: container.clone(), line })
            });
            self.lines.push(lines.boxed());
        }
        Ok(())
    }
}

/// First pause before a log that broke off is taken up again; doubles up to the last.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The log of one container, which outlives the connection it is followed over.
struct Log {
    cluster: Arc<dyn Cluster>,
    runtime: Arc<dyn Runtime>,
    pod: ObjectKey,
    options: LogOptions,
    /// None while the connection is broken.
    lines: Option<LogStream>,
    /// Time of the last line.
    last: Option<jiff::Timestamp>,
    /// Up to here everything was told before the connection broke.
    told: Option<jiff::Timestamp>,
    pause: Duration,
}

impl Log {
    fn lines(self) -> BoxStream<'static, Result<LogLine, ProviderError>> {
        stream::unfold(Some(self), |log| async move {
            let mut log = log?;
            match log.next().await? {
                Ok(line) => Some((Ok(line), Some(log))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<LogLine, ProviderError>> {
        loop {
            let Some(lines) = &mut self.lines else {
                match self.cluster.logs(&self.pod, &self.since()).await {
                    Ok(lines) => self.lines = Some(lines),
                    // The pod or its container is gone: what comes after it is told by the watch.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => {
                        return None;
                    }
                    Err(error) if error.is_transient() => self.rest().await,
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            match lines.next().await? {
                Ok(line) => {
                    if line.time.is_some() && line.time <= self.told {
                        continue;
                    }
                    self.last = line.time.or(self.last);
                    self.pause = PAUSE;
                    return Some(Ok(line));
                }
                Err(error) if self.options.follow == Follow::Yes && error.is_transient() => {
                    (self.lines, self.told) = (None, self.last);
                    self.rest().await;
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    async fn rest(&mut self) {
        self.runtime.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// From the last line on; whole seconds are asked for, so that some lines come twice and are left out.
    fn since(&self) -> LogOptions {
        let Some(last) = self.last else { return self.options.clone() };
        let age = self.runtime.wall().duration_since(last).unsigned_abs() + Duration::from_secs(2);
        LogOptions { since: Some(age), tail: None, ..self.options.clone() }
    }
}
