//! Logs of a service: many pods, many containers, one stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream, SelectAll},
};
use serde_json::Value;

use super::container_log::{ContainerLog, Containers, LONGEST_PAUSE};
use crate::{
    engine::{
        Environment, EnvironmentError, claimants,
        history::to_be_made,
        journal::{self, JournalError},
        patiently,
    },
    object::{LabelSelector, Object, ObjectKey, ObjectKind},
    provider::{
        Cluster, ErrorKind, Follow, ListQuery, LogLine, LogOptions, ProviderError, RecordStore, WatchEvent,
        WatchStream,
    },
    run::{Direction, Step, Work},
    runtime::Runtime,
    steps::job_name,
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

/// What containers of a service have said.
pub struct Logs {
    /// Their lines.
    pub lines: PodLines,
    /// Containers that were restarted, and of whose earlier instance the node has no log any more, as `POD CONTAINER`.
    pub lost: Vec<String>,
}

/// The logs of a service of the release in force or of the run that has not ended, or of a job, a hook or a gate of the
/// last run that had one of this name. `None` where there is neither, or the service has nothing that runs in pods.
///
/// Following goes on across restarts and new pods, and ends only when dropped.
///
/// # Errors
/// When the records or the pods cannot be read.
pub async fn logs(
    environment: &Environment,
    service: &str,
    options: &LogOptions,
) -> Result<Option<Logs>, EnvironmentError> {
    let head = environment.head().await?;
    let release = environment.released(&head).await?;
    let coming = head.unfinished.as_ref().and_then(|run| to_be_made(&run.recorded));
    let objects = release.iter().chain(&coming).flat_map(|release| release.objects.values());
    let of_service = objects.filter(|object| object.service.as_deref() == Some(service));
    let mut owners: BTreeSet<Owner> = of_service.filter_map(|object| Owner::of(&object.desired)).collect();
    if owners.is_empty() {
        owners = jobs(environment, service).await?.into_iter().map(Owner::Job).collect();
    }
    if owners.is_empty() {
        return Ok(None);
    }
    let queries: BTreeSet<BTreeMap<String, String>> = owners.iter().map(Owner::labels).collect();
    let queries: Vec<ListQuery> = queries
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
        owners,
        cron_jobs: BTreeMap::new(),
        containers: Containers::default(),
        lines: SelectAll::new(),
        lost: Vec::new(),
    };
    if options.follow == Follow::No {
        let mut wanted = Vec::new();
        for query in &queries {
            let pods = patiently(&*environment.runtime, || cluster.list(query)).await;
            for pod in pods.map_err(EnvironmentError::Provider)? {
                if reader.is_wanted(&pod).await.map_err(EnvironmentError::Provider)? {
                    wanted.push(pod);
                }
            }
        }
        // Last of all: logs that nobody reads yet fill the connection on which other answers would come.
        for pod in &wanted {
            reader.begin(pod, true).await.map_err(EnvironmentError::Provider)?;
        }
        return Ok(Some(Logs { lines: reader.lines.boxed(), lost: reader.lost }));
    }
    let mut watches = SelectAll::new();
    for (number, query) in queries.iter().enumerate() {
        let watch = patiently(&*environment.runtime, || cluster.watch(query)).await;
        watches.push(numbered(number, watch.map_err(EnvironmentError::Provider)?));
    }
    Ok(Some(Logs { lines: follow(reader, watches), lost: Vec::new() }))
}

/// Names of the Jobs that the last run which had one of this name has started for it, in both directions. The last run
/// is the one that claimed the environment last: ids follow the clocks of those who began, and clocks differ.
async fn jobs(environment: &Environment, name: &str) -> Result<BTreeSet<String>, EnvironmentError> {
    environment.read(|records| find_jobs(records, name).boxed()).await
}

/// So many claims are read at once.
const CLAIMS: usize = 4;

async fn find_jobs(records: &dyn RecordStore, name: &str) -> Result<BTreeSet<String>, JournalError> {
    let mut seen = BTreeSet::new();
    let mut claimants = claimants(records, CLAIMS).await?;
    // A record that is damaged does not hide the others.
    while let Some((_, claimant)) = claimants.try_next().await? {
        let Some(run) = claimant.filter(|run| seen.insert(run.clone())) else { continue };
        let plan = match journal::read_plan(records, &run).await {
            Err(JournalError::Damaged { .. }) => continue,
            plan => plan?,
        };
        let steps = plan.iter().flat_map(|plan| &plan.steps);
        let named: BTreeSet<String> = steps
            .filter_map(|step| match &step.work {
                Work::Job { job, .. } => Some((step, job.name())),
                _ => None,
            })
            .filter(|(step, job)| *job == name || is_gate_of(step, name))
            .map(|(_, job)| job)
            .flat_map(|job| [Direction::Forward, Direction::Back].map(|way| job_name(job, &run, way)))
            .collect();
        if !named.is_empty() {
            return Ok(named);
        }
    }
    Ok(BTreeSet::new())
}

/// Whether a step is the gate of this name, with `gate-` before it or not, at the end of whichever phase.
fn is_gate_of(step: &Step, name: &str) -> bool {
    let gate = step.id.as_str().rsplit_once("/gate/").map(|(_, gate)| gate);
    step.is_gate() && (gate == Some(name) || gate.is_some() && gate == name.strip_prefix("gate-"))
}

/// By which the pods of a Job are found.
const JOB_NAME: &str = "job-name";

/// Whose pods are read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// A workload, by the labels that it selects.
    Selector(LabelSelector),
    /// A Job.
    Job(String),
    /// The Jobs of a CronJob.
    CronJob(String),
    /// A pod of its own.
    Pod(String),
}

impl Owner {
    fn of(workload: &Object) -> Option<Self> {
        let name = workload.name().to_owned();
        match workload.kind() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => {
                Some(Self::Selector(LabelSelector::parse(workload.at("/spec/selector")?)))
            }
            "Job" => Some(Self::Job(name)),
            "CronJob" => Some(Self::CronJob(name)),
            "Pod" => Some(Self::Pod(name)),
            _ => None,
        }
    }

    /// What the server can narrow the pods by: nothing that its Jobs of unknown names have, or a name alone.
    fn labels(&self) -> BTreeMap<String, String> {
        match self {
            Self::Selector(selector) => selector.labels().clone(),
            Self::Job(name) => BTreeMap::from([(JOB_NAME.to_owned(), name.clone())]),
            Self::CronJob(_) | Self::Pod(_) => BTreeMap::new(),
        }
    }
}

/// The name of an object's owner of this kind.
fn owner<'o>(object: &'o Object, kind: &str) -> Option<&'o str> {
    let owners = object.items("/metadata/ownerReferences").iter();
    let mut of_kind = owners.filter(|owner| owner.get("kind").and_then(Value::as_str) == Some(kind));
    of_kind.find_map(|owner| owner.get("name").and_then(Value::as_str))
}

/// What a watch tells, which one it is, and whether it is what was there when it began.
type Told = (usize, bool, Result<WatchEvent, ProviderError>);

/// Each watch has its own beginning.
fn numbered(number: usize, watch: WatchStream) -> BoxStream<'static, Told> {
    let told = watch.scan(true, move |first, event| {
        let began = *first;
        *first &= !matches!(event, Ok(WatchEvent::Listed { .. }));
        std::future::ready(Some((number, began, event)))
    });
    told.boxed()
}

/// The pods that each watch has told of, by uid.
#[derive(Default)]
struct Present(BTreeMap<usize, BTreeSet<String>>);

impl Present {
    fn is(&mut self, watch: usize, pod: &Object) {
        self.0.entry(watch).or_default().insert(pod.uid().unwrap_or_default().to_owned());
    }

    fn gone(&mut self, watch: usize, pod: &Object) {
        self.0.entry(watch).or_default().remove(pod.uid().unwrap_or_default());
    }

    /// A watch whose history was lost lists what there is: answers what has gone meanwhile.
    fn listed(&mut self, watch: usize, pods: &[Object]) -> Vec<String> {
        let now: BTreeSet<String> = pods.iter().filter_map(|pod| pod.uid().map(str::to_owned)).collect();
        let before = self.0.insert(watch, now.clone()).unwrap_or_default();
        before.difference(&now).cloned().collect()
    }
}

fn follow(reader: Reader, watches: SelectAll<BoxStream<'static, Told>>) -> PodLines {
    let start = (reader, watches, Present::default());
    stream::unfold(start, |(mut reader, mut watches, mut present)| async move {
        loop {
            let line = async {
                if reader.lines.is_empty() { std::future::pending().await } else { reader.lines.next().await }
            };
            let event = watches.next();
            futures::pin_mut!(line, event);
            let (watch, first, event) = match futures::future::select(line, event).await {
                futures::future::Either::Left((Some(line), _)) => {
                    return Some((line, (reader, watches, present)));
                }
                // All streams have ended: new ones come with the next pod.
                futures::future::Either::Left((None, _)) => continue,
                futures::future::Either::Right((event, _)) => event?,
            };
            let pods = match event {
                Ok(WatchEvent::Listed { objects, .. }) => {
                    for uid in present.listed(watch, &objects) {
                        reader.containers.gone(&uid);
                    }
                    objects
                }
                Ok(WatchEvent::Applied(pod)) => {
                    present.is(watch, &pod);
                    vec![pod]
                }
                Ok(WatchEvent::Deleted(pod)) => {
                    present.gone(watch, &pod);
                    reader.containers.gone(pod.uid().unwrap_or_default());
                    continue;
                }
                Ok(WatchEvent::Interrupted(_)) => continue,
                Err(error) => return Some((Err(error), (reader, watches, present))),
            };
            for pod in &pods {
                if let Err(error) = reader.begin(pod, first).await {
                    return Some((Err(error), (reader, watches, present)));
                }
            }
        }
    })
    .boxed()
}

/// Reads a Job. Whoever follows waits for it as long as it takes.
async fn find_job(
    cluster: &dyn Cluster,
    runtime: &dyn Runtime,
    follow: Follow,
    key: &ObjectKey,
) -> Result<Option<Object>, ProviderError> {
    loop {
        match patiently(runtime, || cluster.get(key)).await {
            Err(error) if follow == Follow::Yes && error.is_transient() => {
                runtime.sleep(LONGEST_PAUSE).await;
            }
            found => return found,
        }
    }
}

struct Reader {
    cluster: Arc<dyn Cluster>,
    runtime: Arc<dyn Runtime>,
    options: LogOptions,
    owners: BTreeSet<Owner>,
    /// The CronJob of each Job that was met; none where it has none.
    cron_jobs: BTreeMap<String, Option<String>>,
    containers: Containers,
    lines: SelectAll<PodLines>,
    lost: Vec<String>,
}

impl Reader {
    /// Whether a pod is one of those that are asked for.
    async fn is_wanted(&mut self, pod: &Object) -> Result<bool, ProviderError> {
        let by_sight = self.owners.iter().any(|wanted| match wanted {
            Owner::Selector(selector) => selector.selects(pod),
            Owner::Job(name) => pod.label(JOB_NAME) == Some(name),
            Owner::Pod(name) => pod.name() == name,
            Owner::CronJob(_) => false,
        });
        if by_sight || !self.owners.iter().any(|wanted| matches!(wanted, Owner::CronJob(_))) {
            return Ok(by_sight);
        }
        let Some(job) = owner(pod, "Job") else { return Ok(false) };
        if !self.cron_jobs.contains_key(job) {
            let kind = ObjectKind::new("batch/v1", "Job");
            let key = ObjectKey::new(kind, pod.namespace(), job);
            let found = find_job(&*self.cluster, &*self.runtime, self.options.follow, &key).await?;
            let of = found.as_ref().and_then(|job| owner(job, "CronJob")).map(str::to_owned);
            self.cron_jobs.insert(job.to_owned(), of);
        }
        let of = self.cron_jobs.get(job).cloned().flatten();
        Ok(of.is_some_and(|name| self.owners.contains(&Owner::CronJob(name))))
    }

    /// Begins to read every container of a pod that has something to say and is not read yet. What was not there from
    /// the first is read from its start.
    async fn begin(&mut self, pod: &Object, first: bool) -> Result<(), ProviderError> {
        if !self.is_wanted(pod).await? {
            return Ok(());
        }
        let statuses =
            pod.items("/status/initContainerStatuses").iter().chain(pod.items("/status/containerStatuses"));
        for status in statuses {
            let Some(container) = status.get("name").and_then(Value::as_str) else { continue };
            if self.options.container.as_deref().is_some_and(|wanted| wanted != container) {
                continue;
            }
            let instance = self.containers.told(pod, container, status);
            let waits = status.pointer("/state/waiting").is_some();
            let has_begun = if self.options.previous || waits { instance.restarts() > 0 } else { true };
            if !has_begun || instance.is_begun() {
                continue;
            }
            let mut options = LogOptions { container: Some(container.to_owned()), ..self.options.clone() };
            if !first {
                (options.since, options.tail) = (None, None);
            }
            let lines = match options.follow {
                // Opened by whoever reads it: a node answers with the first line of a container, and until then holds
                // up nobody else.
                Follow::Yes => None,
                Follow::No => {
                    match patiently(&*self.runtime, || self.cluster.logs(pod.key(), &options)).await {
                        Ok(lines) => Some(lines),
                        // It was restarted, and its pod is there.
                        Err(error) if self.options.previous && error.kind() == ErrorKind::Invalid => {
                            self.lost.push(format!("{} {container}", pod.name()));
                            continue;
                        }
                        // There is nothing to read yet, or no more.
                        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => {
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            let (name, container) = (pod.key().name.clone(), container.to_owned());
            let key = pod.key().clone();
            let log = ContainerLog::new(&self.cluster, &self.runtime, instance, key, options, lines);
            let lines = log.lines().map(move |line| {
                line.map(|line| PodLine { pod: name.clone(), container: container.clone(), line })
            });
            self.lines.push(lines.boxed());
        }
        Ok(())
    }
}
