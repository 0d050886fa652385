//! One environment: the door through which tools plan, run, resume, abort and look.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::{
    Lease, LeaseError, LeaseRequest, Listener, Outcome, Plan, RunId, Sealer, Storage, Stuck, What,
    executor::{Executor, Finish},
    fence::{Fence, FenceError, Gate},
    history::{self, Head, Release, record_release},
    journal::{JournalError, JournalEvent},
    observe,
    patience::patiently,
    planner::{self, PlanOptions, PlanProblems, Wanted},
    state::RunState,
};
use crate::{
    model::Fencing,
    object::{Object, ObjectKey},
    provider::{ClusterIdentity, ProviderError, RecordStore},
    runtime::Runtime,
    steps::{Context, Providers},
};

/// An environment and what is needed to work on it.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The project.
    pub project: String,
    /// The environment.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The cluster that it is bound to.
    pub identity: Option<ClusterIdentity>,
    /// Whether its cluster fences it.
    pub fencing: Fencing,
    /// Providers.
    pub providers: Providers,
    /// Records.
    pub records: Arc<dyn RecordStore>,
    /// Clock, chance and tasks.
    pub runtime: Arc<dyn Runtime>,
}

/// How a run is carried out.
#[derive(Clone)]
pub struct RunOptions {
    /// Who runs it: person, machine, process.
    pub by: String,
    /// Why, where a reason was asked for.
    pub reason: Option<String>,
    /// How long to wait for one's turn; none: not at all.
    pub wait: Option<Duration>,
    /// Interrupts the run in an orderly way: it can be resumed.
    pub cancel: CancellationToken,
    /// Receives the events.
    pub listener: Arc<dyn Listener>,
}

impl std::fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions").field("by", &self.by).field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl RunOptions {
    /// Runs for somebody, who is told nothing on the way.
    pub fn new(by: impl Into<String>) -> Self {
        Self {
            by: by.into(),
            reason: None,
            wait: None,
            cancel: CancellationToken::new(),
            listener: Arc::new(|_: &super::Event| {}),
        }
    }
}

/// How a process ended its work on a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The run is over.
    Over {
        /// The run; none where there was nothing to do.
        run: Option<RunId>,
        /// How it ended.
        outcome: Outcome,
    },
    /// The run was interrupted; `resume` goes on with it.
    Paused {
        /// The run.
        run: RunId,
        /// Why.
        why: String,
    },
    /// The run needs a person; `resume` goes on with it afterwards.
    Stuck {
        /// The run.
        run: RunId,
        /// What needs a person.
        items: Vec<Stuck>,
    },
}

/// Why nothing could be planned or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// The environment is bound to no cluster.
    #[error("environment `{0}` is not bound to a cluster")]
    Unbound(String),
    /// It is another cluster.
    #[error(
        "environment `{environment}` is bound to another cluster (uid {bound}); {server} is the cluster with uid {found}"
    )]
    WrongCluster {
        /// The environment.
        environment: String,
        /// The cluster that it is bound to.
        bound: String,
        /// The cluster that was met.
        found: String,
        /// Its address.
        server: String,
    },
    /// The namespace does not exist.
    #[error("namespace `{0}` does not exist")]
    NoNamespace(String),
    /// The namespace is being deleted.
    #[error("namespace `{0}` is being deleted")]
    NamespaceTerminating(String),
    /// A run has to be resumed or aborted first.
    #[error("run {run} of environment `{environment}` has not ended")]
    Unfinished {
        /// The environment.
        environment: String,
        /// The run.
        run: RunId,
    },
    /// The plan is for another environment.
    #[error("the plan is for environment `{found}` of project `{project}`")]
    OtherEnvironment {
        /// The plan's environment.
        found: String,
        /// The plan's project.
        project: String,
    },
    /// The plan does not fit what is there any more.
    #[error("the plan is out of date:\n{}", .0.join("\n"))]
    OutOfDate(Vec<String>),
    /// There is no plan.
    #[error("{0}")]
    Problems(PlanProblems),
    /// Somebody else works on the environment.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The records failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A provider failed.
    #[error("failed to read the state of the environment")]
    Provider(#[source] ProviderError),
    /// There is no such run.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// The fence does not hold.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// A run cannot go back any more.
    #[error("run {0} cannot go back: a step that cannot be undone has begun")]
    NoReturn(RunId),
}

impl EnvironmentError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unbound(name) => {
                format!("bind it: `mailyctl env bind {name} --context CONTEXT --namespace NAMESPACE`")
            }
            Self::WrongCluster { environment, .. } => format!(
                "choose the right context, or bind the environment anew: `mailyctl env bind {environment} --rebind`"
            ),
            Self::NoNamespace(name) => format!("make it: `kubectl create namespace {name}`"),
            Self::NamespaceTerminating(_) => "wait until it is gone, and make it again".to_owned(),
            Self::Unfinished { environment, .. } => format!(
                "`mailyctl resume --env {environment}` goes on, `mailyctl abort --env {environment}` goes back"
            ),
            Self::OtherEnvironment { .. } => "make a plan for this environment".to_owned(),
            Self::OutOfDate(_) => "make a new plan".to_owned(),
            Self::Lease(LeaseError::Held { environment, .. }) => format!(
                "wait for your turn with `--wait-lock`; if that process has died, \
                 `mailyctl resume --env {environment}` takes its run over once its lease has run out"
            ),
            Self::NoRun(_) => "`mailyctl history` lists the runs on record".to_owned(),
            Self::Fence(error) => return error.hint(),
            Self::NoReturn(_) => "mend the cause and `mailyctl resume`".to_owned(),
            Self::Provider(error)
            | Self::Lease(LeaseError::Provider(error))
            | Self::Journal(JournalError::Store(error)) => {
                return error.hint().map(str::to_owned);
            }
            Self::Journal(JournalError::NotHolder { .. }) => {
                "somebody else took the environment over: look with `mailyctl status`".to_owned()
            }
            Self::Problems(_) | Self::Journal(_) => return None,
        })
    }
}

/// A plan with what it was made from, to be run at once.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// The state of the records at that time.
    pub head: Head,
    pub(crate) seen: BTreeMap<ObjectKey, Object>,
    pub(crate) sealer: Arc<Sealer>,
}

impl Environment {
    /// Checks that the cluster is the one that the environment is bound to, and that its namespace is there.
    ///
    /// # Errors
    /// When it is not, or the cluster cannot be reached.
    pub async fn check(&self) -> Result<ClusterIdentity, EnvironmentError> {
        patiently(&*self.runtime, || self.check_once().boxed()).await
    }

    async fn check_once(&self) -> Result<ClusterIdentity, EnvironmentError> {
        let bound = self.identity.as_ref().ok_or_else(|| EnvironmentError::Unbound(self.name.clone()))?;
        let namespace = crate::object::ObjectKind::new("v1", "Namespace");
        let key = ObjectKey::new(namespace, None, &self.namespace);
        let cluster = &self.providers.cluster;
        let (info, namespace) = futures::future::try_join(cluster.describe(), cluster.get(&key))
            .await
            .map_err(EnvironmentError::Provider)?;
        if info.identity.uid != bound.uid || (!bound.ca.is_empty() && info.identity.ca != bound.ca) {
            return Err(EnvironmentError::WrongCluster {
                environment: self.name.clone(),
                bound: bound.uid.clone(),
                found: info.identity.uid,
                server: info.server,
            });
        }
        match namespace {
            None => Err(EnvironmentError::NoNamespace(self.namespace.clone())),
            Some(namespace) if namespace.is_terminating() => {
                Err(EnvironmentError::NamespaceTerminating(self.namespace.clone()))
            }
            Some(_) => Ok(info.identity),
        }
    }

    /// The state of the records.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn head(&self) -> Result<Head, EnvironmentError> {
        patiently(&*self.runtime, || async { Ok(history::head(&*self.records).await?) }.boxed()).await
    }

    /// The release in force, with its objects.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn released(&self, head: &Head) -> Result<Option<Release>, EnvironmentError> {
        let Some((run, release)) = &head.release else { return Ok(None) };
        let read = || history::with_objects(&*self.records, run.clone(), release.clone()).boxed();
        Ok(patiently(&*self.runtime, read).await?)
    }

    /// Makes a plan from what is wanted and what is there.
    ///
    /// # Errors
    /// When something cannot be read, or there is no way: all problems at once.
    pub async fn plan(
        &self,
        wanted: &Wanted,
        head: Head,
        base: Option<&Release>,
        options: &PlanOptions,
        depth: observe::Depth,
        storage: Storage,
    ) -> Result<Planned, EnvironmentError> {
        let cluster = &*self.providers.cluster;
        let observe = || observe::observe(cluster, wanted, base, depth).boxed();
        // The sealer may write: not before it is known that this is the right cluster.
        let check = async {
            let identity = match &head.cluster {
                Some(checked) => checked.clone(),
                None => self.check().await?,
            };
            Ok::<_, EnvironmentError>((identity, self.sealer(storage).await?))
        };
        let (checked, observed) = futures::future::join(check, patiently(&*self.runtime, observe)).await;
        // What is wrong with the cluster as such is the better answer.
        let (identity, sealer) = checked?;
        let mut observed = observed?;
        observed.identity = Some(identity);
        let mut options = options.clone();
        let host = self.providers.frontend.as_deref();
        options.frontends = patiently(&*self.runtime, || observe::frontends(host, wanted).boxed()).await?;
        let plan =
            planner::plan(wanted, &observed, base, &sealer, &options).map_err(EnvironmentError::Problems)?;
        Ok(Planned { plan, head, seen: observed.objects, sealer: Arc::new(sealer) })
    }

    /// Prepares a plan from a file: reads the world anew and refuses, object by object, what has changed since.
    ///
    /// # Errors
    /// [`EnvironmentError::OutOfDate`] when the plan does not fit any more.
    pub async fn adopt_plan(&self, plan: Plan) -> Result<Planned, EnvironmentError> {
        if plan.environment != self.name || plan.project != self.project {
            let (found, project) = (plan.environment, plan.project);
            return Err(EnvironmentError::OtherEnvironment { found, project });
        }
        let identity = self.check().await?;
        if plan.cluster != identity {
            return Err(EnvironmentError::OutOfDate(vec!["it was made for another cluster".to_owned()]));
        }
        let head = self.head().await?;
        let release = head.release.as_ref().map(|(_, release)| release.id);
        if plan.base != release {
            let text = |id: Option<super::ReleaseId>| id.map_or("none".to_owned(), |id| id.to_string());
            let found = format!("it starts from release {}, in force is {}", text(plan.base), text(release));
            return Err(EnvironmentError::OutOfDate(vec![found]));
        }
        let sealer = self.sealer(Storage::Lasting).await?;
        let keys: Vec<&ObjectKey> =
            plan.steps.iter().flat_map(|step| step.work.changes()).map(|change| &change.key).collect();
        let cluster = &*self.providers.cluster;
        let seen = patiently(&*self.runtime, || observe::read(cluster, keys.iter().copied()).boxed()).await?;
        let stale = observe::out_of_date(&plan, &seen, &sealer);
        if stale.is_empty() {
            Ok(Planned { plan, head, seen, sealer: Arc::new(sealer) })
        } else {
            Err(EnvironmentError::OutOfDate(stale))
        }
    }

    /// The environment's sealer.
    pub(super) async fn sealer(&self, storage: Storage) -> Result<Sealer, EnvironmentError> {
        let open = || {
            let (cluster, runtime) = (&*self.providers.cluster, &*self.runtime);
            async move {
                let sealer = Sealer::open(cluster, runtime, &self.name, &self.namespace, storage).await;
                sealer.map_err(EnvironmentError::Provider)
            }
            .boxed()
        };
        patiently(&*self.runtime, open).await
    }

    /// Stores the values of Secrets that a plan refers to, so that it can be applied by another process.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn keep_values(&self, planned: &Planned) -> Result<(), EnvironmentError> {
        let plan = &planned.plan;
        let mut objects: Vec<&Object> = plan.unchanged.iter().map(|kept| &kept.desired).collect();
        for change in plan.steps.iter().flat_map(|step| step.work.changes()) {
            objects.extend(&change.desired);
            objects.extend(change.before.as_ref().map(|before| &before.object));
        }
        for object in objects {
            let stored = planned.sealer.store(&*self.providers.cluster, object).await;
            stored.map_err(EnvironmentError::Provider)?;
        }
        Ok(())
    }

    /// Carries out a plan.
    ///
    /// # Errors
    /// When it could not begin, or the environment was lost to another process on the way.
    pub async fn run(&self, planned: Planned, options: &RunOptions) -> Result<RunEnd, EnvironmentError> {
        if planned.plan.is_empty() {
            return Ok(RunEnd::Over { run: None, outcome: Outcome::Unchanged });
        }
        if let Some(unfinished) = &planned.head.unfinished {
            return Err(self.unfinished(&unfinished.recorded.run));
        }
        let run = RunId::new(&*self.runtime);
        let lease = self.lease(&run, options).await?;
        let mut gate = match self.gate().await {
            Ok(gate) => gate,
            Err(error) => {
                lease.release().await;
                return Err(error);
            }
        };
        let stamps = planned.seen.values().filter_map(super::epoch_of).max();
        let seen = stamps.max(gate.as_ref().and_then(Gate::epoch));
        let records = &*self.records;
        let claimed = super::epoch::claim(
            records,
            &*self.runtime,
            planned.head.epoch.or(Some(super::Epoch(0))),
            seen,
            &run,
            &options.by,
        )
        .await;
        if let (Ok(epoch), Some(gate)) = (&claimed, &mut gate)
            && let Err(error) = gate.shut(*epoch).await
        {
            lease.release().await;
            return Err(error.into());
        }
        let closed = match &claimed {
            Ok(epoch) => {
                let pending = &planned.head.pending;
                super::epoch::close(&self.records, &self.runtime, pending, *epoch, &options.by).await
            }
            Err(_) => Ok(()),
        };
        let epoch = match closed.and(claimed) {
            Ok(epoch) => epoch,
            Err(JournalError::NotHolder { .. }) => {
                lease.release().await;
                let why = "somebody else changed the environment since the plan was made".to_owned();
                return Err(EnvironmentError::OutOfDate(vec![why]));
            }
            Err(error) => {
                lease.release().await;
                return Err(error.into());
            }
        };
        if let Err(error) = self.keep_values(&planned).await {
            lease.release().await;
            return Err(error);
        }
        let plan = planned.plan;
        let context = Arc::new(Context::new(
            self.providers.clone(),
            Arc::clone(&self.runtime),
            planned.sealer,
            lease,
            run.clone(),
            epoch,
            vec![epoch],
            &plan,
            planned.seen,
            Arc::clone(&options.listener),
        ));
        if let Some(gate) = gate {
            gate.guard(&context);
        }
        let journal =
            super::journal::Writer::new(Arc::clone(&self.records), Arc::clone(&self.runtime), run, epoch, 0);
        let digest = plan.digest.clone();
        let mut executor = Executor::new(
            Arc::clone(&context),
            RunState::new(plan),
            journal,
            Arc::clone(&self.records),
            planned.head.next_release(),
            planned.head.frontends(),
            options.cancel.clone(),
            options.by.clone(),
        );
        let (by, reason) = (options.by.clone(), options.reason.clone());
        executor.begin(JournalEvent::RunStarted { plan: digest, by, reason }).await?;
        let finish = executor.run().await;
        self.finish(context, finish).await
    }

    /// The state of the records of the right cluster, once nobody else works on the environment: waits for one's turn
    /// where asked to.
    ///
    /// # Errors
    /// [`LeaseError::Held`] when somebody works on it for longer than we wait, [`EnvironmentError::Unfinished`] when
    /// a run has to be resumed or aborted first; else like [`Self::check`].
    pub async fn turn(&self, options: &RunOptions) -> Result<Head, EnvironmentError> {
        let (checked, head) = futures::future::join(self.check(), self.wait_for_turn(options)).await;
        // What is wrong with the cluster as such is the better answer.
        let cluster = Some(checked?);
        Ok(Head { cluster, ..head? })
    }

    async fn wait_for_turn(&self, options: &RunOptions) -> Result<Head, EnvironmentError> {
        let begun = self.runtime.now();
        let mut seen: Option<(String, crate::runtime::Moment)> = None;
        loop {
            let head = self.head().await?;
            let Some(unfinished) = &head.unfinished else { return Ok(head) };
            let run = unfinished.recorded.run.clone();
            let look = || super::lease::look(&*self.providers.cluster, &self.name, &self.namespace).boxed();
            let found = patiently(&*self.runtime, look).await.map_err(EnvironmentError::Provider)?;
            let Some((holder, version)) = found else { return Err(self.unfinished(&run)) };
            let now = self.runtime.now();
            let since = seen.as_ref().filter(|(known, _)| *known == version).map_or(now, |(_, since)| *since);
            // The holder has died: his run is to be resumed or aborted.
            if now.since(since) > super::lease::LEASE {
                return Err(self.unfinished(&run));
            }
            if options.wait.is_none_or(|wait| now.since(begun) > wait) {
                let environment = self.name.clone();
                return Err(LeaseError::Held { environment, holder }.into());
            }
            self.tell_queued(&run, options, &holder);
            seen = Some((version, since));
            self.runtime.sleep(Duration::from_millis(500)).await;
        }
    }

    fn tell_queued(&self, run: &RunId, options: &RunOptions, holder: &str) {
        options.listener.event(&super::Event {
            format: super::EVENT_FORMAT,
            at: self.runtime.wall(),
            run: run.clone(),
            environment: self.name.clone(),
            replayed: false,
            what: What::Queued { holder: holder.to_owned() },
        });
    }

    /// The fence, where the environment has one: to be read before the claim, and shut behind it.
    pub(super) async fn gate(&self) -> Result<Option<Gate>, EnvironmentError> {
        match self.fencing {
            Fencing::None => Ok(None),
            Fencing::Installed => Ok(Some(Gate::approach(self.fence()).await?)),
        }
    }

    /// The fence of the environment, which need not stand.
    pub fn fence(&self) -> Fence {
        let cluster = Arc::clone(&self.providers.cluster);
        Fence::new(cluster, Arc::clone(&self.runtime), &self.name, &self.namespace)
    }

    pub(super) async fn lease(&self, run: &RunId, options: &RunOptions) -> Result<Lease, EnvironmentError> {
        let request = LeaseRequest {
            environment: self.name.clone(),
            namespace: self.namespace.clone(),
            holder: options.by.clone(),
            run: run.clone(),
            wait: options.wait,
        };
        let last = std::sync::Mutex::new(String::new());
        let queued = |holder: &str| {
            let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *last != holder {
                holder.clone_into(&mut last);
                self.tell_queued(run, options, holder);
            }
        };
        let cluster = Arc::clone(&self.providers.cluster);
        Ok(Lease::acquire(cluster, Arc::clone(&self.runtime), &request, &queued).await?)
    }

    /// Writes down what follows from how a run ended, and gives the lease back.
    pub(super) async fn finish(
        &self,
        context: Arc<Context>,
        finish: Result<Finish, JournalError>,
    ) -> Result<RunEnd, EnvironmentError> {
        let run = context.run.clone();
        let epoch = context.epoch;
        let finish = match finish {
            Ok(finish) => finish,
            Err(error) => {
                context.give_up_lease();
                return Err(context.take_unfenced().map_or_else(|| error.into(), EnvironmentError::from));
            }
        };
        let record = async {
            if let Finish::Over(_, Some(release)) = &finish {
                // The journal is what counts; who finds this record missing writes it again.
                let _ = record_release(&*self.records, &run, epoch, release).await;
            }
        };
        let release = async {
            if let Some(lease) = context.take_lease() {
                lease.release().await;
            }
        };
        futures::future::join(record, release).await;
        let unfenced = context.take_unfenced();
        Ok(match finish {
            Finish::Over(outcome, _) => RunEnd::Over { run: Some(run), outcome },
            Finish::Paused(why) => match unfenced {
                Some(error) => return Err(error.into()),
                None => RunEnd::Paused { run, why },
            },
            Finish::Stuck(items) => RunEnd::Stuck { run, items },
        })
    }

    pub(super) fn unfinished(&self, run: &RunId) -> EnvironmentError {
        EnvironmentError::Unfinished { environment: self.name.clone(), run: run.clone() }
    }
}

impl Head {
    /// The number of the release that a run would make.
    pub fn next_release(&self) -> super::ReleaseId {
        super::ReleaseId(self.releases.last().map_or(1, |last| last.0 + 1))
    }

    /// Deployments of the frontends in the release in force.
    pub fn frontends(&self) -> BTreeMap<String, String> {
        self.release.as_ref().map(|(_, release)| release.frontends.clone()).unwrap_or_default()
    }
}

/// Who embeds the engine runs it as a task of his own: every future can be sent to another thread.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Depth, takeover::Wish};

    fn send<T: Send>(_: T) {}

    #[expect(dead_code, reason = "it only has to compile")]
    fn futures_are_send(
        environment: &'static Environment,
        (wanted, release): (&'static Wanted, &'static Release),
        (head, planned): (Head, Planned),
        (plan, options): (&'static PlanOptions, &'static RunOptions),
    ) {
        send(environment.check());
        send(environment.head());
        send(environment.released(&planned.head));
        send(environment.plan(wanted, head, Some(release), plan, Depth::DryRun, Storage::Lasting));
        send(environment.adopt_plan(planned.plan.clone()));
        send(environment.keep_values(&planned));
        send(environment.take_over(None, Wish::Resume, options));
        send(environment.run(planned.clone(), options));
    }
}
