//! One environment: the door through which tools plan, run, resume, abort and look.

mod causes;
mod error;
mod looks;
mod payloads;
mod run;
mod turn;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{FutureExt as _, future::BoxFuture};

use super::{
    Plan, Sealer, Storage, belongs_to,
    fence::Fence,
    history::{self, Head, Release},
    journal::{JournalError, ReleaseHead},
    observe,
    patience::patiently,
    placed,
    planner::{self, Force, PlanOptions, PlanProblems, Wanted, holds_data, is_to_be_kept},
};
use crate::{
    model::{Fencing, Retention},
    object::{Object, ObjectKey},
    provider::{ClusterIdentity, RecordStore},
    runtime::Runtime,
    steps::Providers,
};

pub use error::EnvironmentError;
pub use payloads::{Loss, LostValue, StoredValues};
pub use run::RunOptions;

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
    /// What stays on record.
    pub retention: Retention,
    /// Providers.
    pub providers: Providers,
    /// Records.
    pub records: Arc<dyn RecordStore>,
    /// Clock, chance and tasks.
    pub runtime: Arc<dyn Runtime>,
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
        if let Some((bound, found)) = bound.mismatch(&info.identity) {
            let (environment, server) = (self.name.clone(), info.server);
            return Err(EnvironmentError::WrongCluster { environment, bound, found, server });
        }
        match namespace {
            None => Err(EnvironmentError::NoNamespace {
                environment: self.name.clone(),
                namespace: self.namespace.clone(),
            }),
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
        self.read(|records| history::head(records).boxed()).await
    }

    /// The same for who ends the run that has not ended: what is damaged beside it does not keep him from that.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn head_to_end(&self) -> Result<Head, EnvironmentError> {
        match self.read(|records| history::read_head(records).boxed()).await? {
            (head, Some(damage)) if head.unfinished.is_none() => Err(damage.into()),
            (head, _) => Ok(head),
        }
    }

    /// Reads something of the records, again while they cannot be reached for the moment.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn read<'a, T>(
        &'a self,
        read: impl Fn(&'a dyn RecordStore) -> BoxFuture<'a, Result<T, JournalError>> + Send + Sync,
    ) -> Result<T, EnvironmentError> {
        Ok(patiently(&*self.runtime, || read(&*self.records)).await?)
    }

    /// The state of the records where those of the release in force, or of the last run, are damaged or lost: what
    /// cannot be read counts as not there. `None` where nothing is wrong with them.
    ///
    /// Waits for one's turn as [`Self::turn`] does.
    ///
    /// # Errors
    /// When they cannot be reached; else like [`Self::turn`].
    pub async fn begin_anew(&self, options: &RunOptions) -> Result<Option<Head>, EnvironmentError> {
        options.before_any_change(self.begins_anew(options)).await
    }

    async fn begins_anew(&self, options: &RunOptions) -> Result<Option<Head>, EnvironmentError> {
        let cluster = Some(self.check().await?);
        let read = || self.read(|records| history::read_head(records).boxed()).boxed();
        let (head, damage) = self.in_line(options, read).await?;
        if damage.is_none() {
            match self.released(&head).await {
                Ok(_) => return Ok(None),
                Err(
                    EnvironmentError::Journal(JournalError::Damaged { .. })
                    | EnvironmentError::ReleaseLost { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Head { cluster, release: None, ..head }))
    }

    /// The release in force, with its objects.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn released(&self, head: &Head) -> Result<Option<Release>, EnvironmentError> {
        let Some((run, head)) = &head.release else { return Ok(None) };
        let read = |records| history::with_objects(records, run.clone(), head.clone()).boxed();
        // Without its objects everything of it would look like somebody else's.
        let Some(release) = self.read(read).await? else {
            return Err(EnvironmentError::ReleaseLost { release: head.id, run: run.clone() });
        };
        self.is_of(&release.project)?;
        Ok(Some(release))
    }

    /// The records of two projects in one namespace would be one history.
    pub(super) fn is_of(&self, project: &str) -> Result<(), EnvironmentError> {
        if project == self.project {
            return Ok(());
        }
        Err(EnvironmentError::OtherProject {
            environment: self.name.clone(),
            namespace: self.namespace.clone(),
            project: project.to_owned(),
        })
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
        let observe = async {
            let ask = || placed::scopes(cluster, wanted, base).boxed();
            let scopes = patiently(&*self.runtime, ask).await?;
            let (wanted, base) = (placed::wanted(wanted, &scopes), placed::base(base, &scopes));
            let left = history::left(&head, base.as_deref());
            let observe = || observe::observe(cluster, &wanted, base.as_deref(), &left, depth).boxed();
            let observed = patiently(&*self.runtime, observe).await?;
            Ok::<_, EnvironmentError>((wanted, base, observed))
        };
        // The sealer may write: not before it is known that this is the right cluster.
        let check = async {
            let identity = match &head.cluster {
                Some(checked) => checked.clone(),
                None => self.check().await?,
            };
            Ok::<_, EnvironmentError>((identity, self.sealer(storage).await?))
        };
        let (checked, observed) = futures::future::join(check, observe).await;
        // What is wrong with the cluster as such is the better answer.
        let (identity, sealer) = checked?;
        let (wanted, base, mut observed) = observed?;
        let stay = planner::claims_that_stay(&wanted, &observed);
        let (wanted, base) = (stay.as_ref().unwrap_or(&wanted), base.as_deref());
        observed.identity = Some(identity);
        observed.added = history::added(&head, base);
        observed.written_over = history::written_over(&head, base);
        observed.since = head.made().map(|(run, epoch)| (run.clone(), epoch));
        // What may be made anew is what the server refuses to change, and only it knows all of that.
        let all = depth == observe::Depth::DryRun || !options.replace.is_empty();
        let ask = || observe::dry_runs(cluster, &sealer, wanted, &observed, base, all).boxed();
        observed.dry_runs = patiently(&*self.runtime, ask).await?;
        let mut options = options.clone();
        let host = self.providers.frontend.as_deref();
        options.frontends = patiently(&*self.runtime, || observe::frontends(host, wanted).boxed()).await?;
        let plan = |options: &PlanOptions| planner::plan(wanted, &observed, base, &sealer, options);
        let closely = depth == observe::Depth::DryRun;
        let planned = plan(&options);
        let causes = match &planned {
            Ok(plan) if closely => self.causes(plan, &observed.objects).await,
            _ => BTreeMap::new(),
        };
        let forced = match &planned {
            Err(problems) if closely && problems.are_conflicts() => {
                Some(plan(&PlanOptions { force: Force::All, ..options }))
            }
            _ => None,
        };
        let made = |plan| {
            let plan = planner::tell_idle(plan, &observed.objects, &causes, base);
            Planned { plan, head, seen: observed.objects, sealer: Arc::new(sealer) }
        };
        match (planned, forced) {
            (Ok(plan), _) => Ok(made(plan)),
            (Err(problems), None) => Err(EnvironmentError::Problems(problems, None)),
            (Err(problems), Some(Ok(forced))) => {
                Err(EnvironmentError::Problems(problems, Some(Box::new(made(forced)))))
            }
            // Who takes what others have set would find the next reason.
            (Err(PlanProblems(mut problems)), Some(Err(behind))) => {
                problems.extend(behind.0);
                Err(EnvironmentError::Problems(PlanProblems(problems), None))
            }
        }
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
        let changed = plan.changes().map(|change| &change.key);
        let kept = plan.unchanged.iter().map(|kept| kept.desired.key());
        let known: BTreeSet<&ObjectKey> =
            changed.chain(kept).chain(plan.left.iter().map(|left| &left.key)).collect();
        // A run that was ended as it was has made no release, and the plan may be older.
        let left = history::left(&head, None);
        let since: BTreeSet<&ObjectKey> = left.keys().filter(|key| !known.contains(key)).collect();
        let cluster = &*self.providers.cluster;
        let read = || observe::read(cluster, known.union(&since).copied()).boxed();
        let seen = patiently(&*self.runtime, read).await?;
        let host = self.providers.frontend.as_deref();
        let promoted = patiently(&*self.runtime, || observe::promoted_since(host, &plan).boxed()).await?;
        let mut stale = observe::out_of_date(&plan, &seen, &sealer);
        stale.extend(promoted);
        let ours = since.iter().filter_map(|key| seen.get(*key)).filter(|live| {
            // Of what no plan takes away none says a word.
            belongs_to(live, &self.project, &self.name)
                && !live.is_terminating()
                && !holds_data(live.key())
                && !is_to_be_kept(live)
        });
        stale.extend(ours.map(|live| format!("  {} was left by a run since", live.key())));
        if stale.is_empty() {
            Ok(Planned { plan, head, seen, sealer: Arc::new(sealer) })
        } else {
            Err(EnvironmentError::OutOfDate(stale))
        }
    }

    /// The environment's sealer.
    pub(crate) async fn sealer(&self, storage: Storage) -> Result<Sealer, EnvironmentError> {
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
        let cluster = &*self.providers.cluster;
        let store = || planned.sealer.store(cluster, planned.plan.objects()).boxed();
        patiently(&*self.runtime, store).await.map_err(EnvironmentError::Provider)
    }

    /// The fence of the environment, which need not stand.
    pub fn fence(&self) -> Fence {
        let cluster = Arc::clone(&self.providers.cluster);
        Fence::new(cluster, Arc::clone(&self.runtime), &self.name, &self.namespace)
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

    /// The release in force without the fingerprints of its objects, which are many.
    pub(super) fn base(&self) -> Option<ReleaseHead> {
        let (_, head) = self.release.as_ref()?;
        let ReleaseHead { id, versions, title, images, frontends, origins, beside_trouble, at, .. } = head;
        Some(ReleaseHead {
            id: *id,
            versions: versions.clone(),
            title: title.clone(),
            fingerprints: BTreeMap::new(),
            images: images.clone(),
            frontends: frontends.clone(),
            origins: origins.clone(),
            beside_trouble: *beside_trouble,
            at: *at,
        })
    }
}

/// Who embeds the engine runs it as a task of his own: every future can be sent to another thread.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Depth, Wish};

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
