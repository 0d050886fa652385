//! What is released, whether it serves, and what was changed by hand since.

use std::{collections::BTreeMap, fmt};

use futures::FutureExt as _;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    frontends::{self, Sight},
    runs::{RunSummary, summary},
};
use crate::{
    engine::{
        Ailment, Environment, EnvironmentError, Epoch, FenceError, FenceSight, FenceState, LeaseSight,
        NAMESPACE, Operation, ReleaseId, RunId, Sealer, Storage, edited, epoch_of, foreign_labels,
        forward_run_of,
        history::{self, Head, Release, Released, Unfinished, to_be_made},
        journal::JournalEvent,
        patiently, read_objects, read_otherwise, released_view, run_of, sight_of_lease, told_added,
        told_edit, told_left_over, told_written_over, way_back,
    },
    model::{Fencing, Resolved},
    object::{FieldSet, Object, ObjectKey},
    provider::ErrorKind,
    rollout::{Evidence, Health, Obstacle, Target, judge},
};

/// State of an environment.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Status {
    /// The environment.
    pub environment: String,
    /// The release in force.
    pub release: Option<ReleaseId>,
    /// A run that has not ended.
    pub run: Option<RunId>,
    /// What that run does, and who carries it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<UnfinishedRun>,
    /// The last run, where it has ended and made no release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<RunSummary>,
    /// Who works on it now.
    pub holder: Option<String>,
    /// Whether the API server fences it.
    pub fence: FenceSight,
    /// Its services.
    pub services: Vec<ServiceState>,
    /// Objects of no single service that were changed by hand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
}

/// A run that has not ended.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct UnfinishedRun {
    /// What it does.
    pub title: String,
    /// Who began it.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether whoever carries it out shows life; else it waits to be resumed or aborted.
    pub alive: bool,
    /// What keeps it, where it waits for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
    /// Who carries it out; none: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The last sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Timestamp>,
}

/// State of a service.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct ServiceState {
    /// Its name.
    pub name: String,
    /// Its version in the release in force; none where the unfinished run brings it anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version that the unfinished run is bringing, where it has begun to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas that shall.
    pub desired: u32,
    /// Whether it serves.
    pub state: ServiceHealth,
    /// Why it is not serving, or why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What a person can do about it, where it is failing and no run is at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What was changed by hand since the release.
    pub drift: Vec<String>,
}

/// Whether a service serves, as far as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceHealth {
    /// All of it was seen to serve: pods of the release's version, or the release's deployment at its domain.
    Serving,
    /// It shall have no pods: somebody has scaled it to 0, or no node is for it.
    Stopped,
    /// It is on its way there.
    Progressing,
    /// It does not get there.
    Failing,
    /// Something of it is not there.
    Missing,
    /// Its domain shows another deployment than the release's.
    Drifted,
    /// Nothing of it can be judged, or could be looked at.
    Unknown,
}

impl fmt::Display for ServiceHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Stopped => "stopped",
            Self::Progressing => "progressing",
            Self::Failing => "failing",
            Self::Missing => "missing",
            Self::Drifted => "drifted",
            Self::Unknown => "unknown",
        })
    }
}

/// Reads the state of an environment. The project says where its frontends are shown.
///
/// # Errors
/// When something cannot be read. Of a frontend whose host cannot be asked that is told instead.
pub async fn status(environment: &Environment, resolved: &Resolved) -> Result<Status, EnvironmentError> {
    environment.check().await?;
    let (cluster, runtime) = (&*environment.providers.cluster, &*environment.runtime);
    let head = environment.head().await?;
    let lease = sight(environment).await?;
    let recorded = environment.fencing == Fencing::Installed;
    let fence = match environment.fence_sight().await {
        Ok(sight) => sight,
        // Nothing of a release needs one that nobody has written down.
        Err(FenceError::Provider { source, .. })
            if !recorded && source.kind() == ErrorKind::PermissionDenied =>
        {
            FenceSight { state: FenceState::Unknown, epoch: None }
        }
        Err(error) => return Err(error.into()),
    };
    let mut status = Status {
        environment: environment.name.clone(),
        release: head.release.as_ref().map(|(_, release)| release.id),
        run: head.unfinished.as_ref().map(|unfinished| unfinished.recorded.run.clone()),
        unfinished: head.unfinished.as_ref().map(|run| told_run(run, &lease, environment.runtime.wall())),
        last_run: head.ended.as_ref().map(summary),
        // A lease outlives who has died without giving it back.
        holder: lease.holder.clone().filter(|_| lease.lives(environment.runtime.wall())),
        fence,
        services: Vec::new(),
        drift: Vec::new(),
    };
    let release = environment.released(&head).await?;
    let in_force =
        |service: &str| release.as_ref().is_some_and(|release| release.head.versions.contains_key(service));
    // What a run brings that no release has yet.
    let coming = head.unfinished.as_ref().and_then(|run| to_be_made(&run.recorded)).map(|mut coming| {
        coming.head.versions.retain(|service, _| !in_force(service));
        coming
            .objects
            .retain(|_, object| object.service.as_deref().is_some_and(|service| !in_force(service)));
        coming
    });
    if release.is_none() && coming.is_none() {
        return Ok(status);
    }
    let sealer = environment.sealer(Storage::Passing).await?;
    let keys = || release.iter().chain(&coming).flat_map(|release| release.objects.keys());
    let mut live = patiently(runtime, || read_objects(cluster, keys()).boxed()).await?;
    let unseen: Vec<&ObjectKey> = keys().filter(|key| !live.contains_key(*key)).collect();
    let otherwise = || read_otherwise(cluster, unseen.iter().copied()).boxed();
    live.extend(patiently(runtime, otherwise).await?);
    let pods = environment.pods().await.map_err(EnvironmentError::Provider)?;
    let workloads: Vec<&Object> = live.values().filter(|live| live.key().kind.keeps_pods()).collect();
    let replica_sets = environment.replica_sets(&workloads, &pods).await;
    let frontends = match &release {
        Some(release) => frontends::look(environment, resolved, release).await,
        None => BTreeMap::new(),
    };
    let added = history::added(&head, release.as_ref());
    let written_over = history::written_over(&head, release.as_ref());
    let look = |release, is_coming| Look {
        release,
        added: &added,
        written_over: &written_over,
        since: head.made(),
        is_coming,
        live: &live,
        pods: &pods,
        replica_sets: &replica_sets,
        frontends: &frontends,
        sealer: &sealer,
        run: head.unfinished.as_ref(),
        project: &environment.project,
        environment: &environment.name,
        namespace: &environment.namespace,
    };
    for (release, is_coming) in [(&release, false), (&coming, true)] {
        let Some(release) = release else { continue };
        let look = look(release, is_coming);
        status
            .services
            .extend(release.head.versions.iter().map(|(name, version)| look.service(name, version)));
        if !is_coming {
            status.drift = look.drift(None);
        }
    }
    status.services.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(status)
}

struct Look<'a> {
    release: &'a Release,
    /// What a run that was ended as it was may have left on its objects.
    added: &'a BTreeMap<ObjectKey, FieldSet>,
    /// What it has set otherwise than it was, and no release sets: as it was.
    written_over: &'a BTreeMap<ObjectKey, Object>,
    /// By which run, and in which epoch, the release in force was made.
    since: Option<(&'a RunId, Epoch)>,
    /// It is what the unfinished run is to make, and not in force.
    is_coming: bool,
    live: &'a BTreeMap<ObjectKey, Object>,
    pods: &'a [Object],
    replica_sets: &'a [Object],
    frontends: &'a BTreeMap<String, Sight>,
    sealer: &'a Sealer,
    run: Option<&'a Unfinished>,
    project: &'a str,
    environment: &'a str,
    namespace: &'a str,
}

async fn sight(environment: &Environment) -> Result<LeaseSight, EnvironmentError> {
    let cluster = &*environment.providers.cluster;
    let look = || sight_of_lease(cluster, &environment.name, &environment.namespace).boxed();
    patiently(&*environment.runtime, look).await.map_err(EnvironmentError::Provider)
}

/// The run of a head that has not ended, and who carries it out.
///
/// # Errors
/// When the lease cannot be read.
pub async fn unfinished(
    environment: &Environment,
    head: &Head,
) -> Result<Option<UnfinishedRun>, EnvironmentError> {
    let Some(run) = &head.unfinished else { return Ok(None) };
    Ok(Some(told_run(run, &sight(environment).await?, environment.runtime.wall())))
}

fn told_run(run: &Unfinished, lease: &LeaseSight, now: Timestamp) -> UnfinishedRun {
    let summary = summary(&run.recorded);
    UnfinishedRun {
        title: summary.title,
        by: summary.by,
        since: summary.started.unwrap_or(run.claim.at),
        alive: lease.lives(now),
        stuck: summary.stuck,
        holder: lease.holder.clone(),
        seen: lease.renewed,
    }
}

impl Look<'_> {
    fn of<'s>(&'s self, service: Option<&'s str>) -> impl Iterator<Item = (&'s ObjectKey, &'s Released)> {
        self.release.objects.iter().filter(move |(_, object)| object.service.as_deref() == service)
    }

    fn service(&self, name: &str, version: &str) -> ServiceState {
        let mut state = ServiceState {
            name: name.to_owned(),
            version: (!self.is_coming).then(|| version.to_owned()),
            next: if self.is_coming { Some(version.to_owned()) } else { self.next(name, version) },
            ready: 0,
            desired: 0,
            state: ServiceHealth::Unknown,
            why: None,
            hint: None,
            // What the run has not come to is nobody's hand.
            drift: if self.is_coming { Vec::new() } else { self.drift(Some(name)) },
        };
        if let Some(sight) = self.frontends.get(name) {
            self.frontend(sight, &mut state);
        }
        let judged = |key: &&ObjectKey| key.kind.keeps_pods();
        let mut ailment = None;
        for key in self.of(Some(name)).map(|(key, _)| key).filter(judged) {
            ailment = self.workload(key, &mut state).or(ailment);
        }
        // Pods that serve serve nobody without their Service; why something does not get there says more than what is gone.
        let says_more =
            matches!(state.state, ServiceHealth::Failing | ServiceHealth::Missing | ServiceHealth::Drifted);
        if let Some(key) = self.gone(name).filter(|_| !says_more) {
            let why = format!("{} does not exist", key.short());
            (state.state, state.why) = (ServiceHealth::Missing, Some(why));
        } else if self.is_coming && state.state == ServiceHealth::Unknown && state.why.is_none() {
            let why = "the run that brings it has not ended".to_owned();
            (state.state, state.why) = (ServiceHealth::Progressing, Some(why));
        } else if state.state == ServiceHealth::Unknown && state.why.is_none() {
            let why = "nothing to judge: it has no Deployment, StatefulSet or DaemonSet, and no frontend";
            state.why = Some(why.to_owned());
        }
        // Where somebody has edited it, what holds his edit up is what serves: nobody is to take that away.
        let ailment = ailment.filter(|ailment| ailment.command().is_none() || state.drift.is_empty());
        // A run that is at work does something about it itself.
        if self.run.is_none() {
            let in_force = Some(&self.release.head);
            state.hint = match (state.state, ailment) {
                (ServiceHealth::Failing, Some(ailment)) => ailment.remedy(self.environment, name, in_force),
                (ServiceHealth::Failing, None) => way_back(self.environment, name, in_force),
                // It would not get there by itself.
                (ServiceHealth::Progressing, Some(ailment)) => ailment.command(),
                _ => None,
            };
        }
        state
    }

    fn frontend(&self, sight: &Sight, state: &mut ServiceState) {
        let released = self.release.head.frontends.get(&state.name);
        let judged = frontends::judge(&state.name, sight, released.map(String::as_str), self.run);
        if judged.is_of_run {
            state.next = state.version.as_ref().and_then(|version| self.planned(&state.name, version));
        }
        if judged.is_drift {
            state.drift.extend(judged.why.clone());
        }
        (state.state, state.why) = (judged.health, judged.why);
    }

    /// Adds a workload to what is known of its service; answers what ails it, where that is what counts.
    fn workload(&self, key: &ObjectKey, state: &mut ServiceState) -> Option<Ailment> {
        let Some(live) = self.live.get(key) else {
            if self.is_coming {
                let (health, why) = match self.goes_back() {
                    true => (ServiceHealth::Missing, "not there: its run goes back"),
                    false => (ServiceHealth::Progressing, "not there yet"),
                };
                (state.state, state.why) = (health, Some(format!("{} is {why}", key.short())));
                return None;
            }
            state.state = ServiceHealth::Missing;
            state.why = Some(format!("{} does not exist", key.short()));
            return None;
        };
        let target = Target::pin(live)?;
        let target = match self.release.objects.get(key) {
            Some(released) => target.meant_as(&released.desired),
            None => target,
        };
        let pods = self.pods.iter().filter(|pod| target.selects(pod)).collect();
        let (serve, shall) = counts(live);
        let calm =
            matches!(state.state, ServiceHealth::Serving | ServiceHealth::Stopped | ServiceHealth::Unknown);
        let replica_sets = self.replica_sets.iter().collect();
        let evidence =
            Evidence { live: Some(live), pods, all_pods: true, replica_sets, ..Evidence::default() };
        let health = judge(&target, &evidence);
        let ailment = Ailment::of(&health, &evidence.pods);
        match health {
            Health::Done => {
                state.ready += shall;
                state.desired += shall;
                if state.state == ServiceHealth::Unknown && shall == 0 {
                    let why = format!("{} is to have no pods", key.short());
                    (state.state, state.why) = (ServiceHealth::Stopped, Some(why));
                } else if state.state == ServiceHealth::Stopped && shall > 0 {
                    (state.state, state.why) = (ServiceHealth::Serving, None);
                } else if state.state == ServiceHealth::Unknown && state.why.is_none() {
                    state.state = ServiceHealth::Serving;
                }
            }
            Health::HeldUp { ready, desired, why, obstacle: Obstacle::Doomed, .. } => {
                state.ready += ready;
                state.desired += desired;
                (state.state, state.why) = (ServiceHealth::Failing, Some(why));
            }
            Health::Waiting { ready, desired, why } | Health::HeldUp { ready, desired, why, .. } => {
                state.ready += ready;
                state.desired += desired;
                if !calm {
                    return None;
                }
                (state.state, state.why) = (ServiceHealth::Progressing, Some(why));
            }
            Health::Ask(_) => {
                state.ready += serve;
                state.desired += shall;
                state.state = ServiceHealth::Failing;
                state.why = Some("some of its pods cannot start".to_owned());
            }
            Health::Failed(reason) => {
                state.ready += serve;
                state.desired += shall;
                (state.state, state.why) = (ServiceHealth::Failing, Some(reason.message.clone()));
            }
        }
        ailment
    }

    /// Whether the unfinished run has turned.
    fn goes_back(&self) -> bool {
        let turned = |(_, event): &(_, JournalEvent)| matches!(event, JournalEvent::Turned { .. });
        self.run.is_some_and(|run| run.recorded.events.iter().any(turned))
    }

    /// What of a service is not there, without a run that has taken it out.
    fn gone<'s>(&'s self, name: &'s str) -> Option<&'s ObjectKey> {
        if self.is_coming {
            return None;
        }
        let gone = |(key, released): &(&ObjectKey, &Released)| {
            !self.live.contains_key(*key) && !self.is_of_run(key) && !released.desired.goes_by_itself()
        };
        self.of(Some(name)).find(gone).map(|(key, _)| key)
    }

    /// The version that the unfinished run has begun to bring.
    fn next(&self, name: &str, version: &str) -> Option<String> {
        let run = self.run?;
        let next = self.planned(name, version)?;
        let is_new = |(key, _): (&ObjectKey, &Released)| {
            self.live.get(key).and_then(forward_run_of).as_ref() == Some(&run.recorded.run)
        };
        self.of(Some(name)).any(is_new).then_some(next)
    }

    /// The version that the unfinished run shall bring, where it is another.
    fn planned(&self, name: &str, version: &str) -> Option<String> {
        self.run?.recorded.plan.as_ref()?.versions.get(name).filter(|next| *next != version).cloned()
    }

    /// Whether the unfinished run has made the object what it is, or has taken it out: nobody's hand.
    fn is_of_run(&self, key: &ObjectKey) -> bool {
        let Some(run) = self.run else { return false };
        if let Some(live) = self.live.get(key) {
            let stamped = epoch_of(live);
            return run_of(live).as_ref() == Some(&run.recorded.run)
                && run.recorded.events.iter().any(|(epoch, _)| stamped == Some(*epoch));
        }
        let mut changes = run.recorded.plan.iter().flat_map(|plan| plan.changes());
        changes.any(|change| change.key == *key && takes_out(change.operation))
    }

    /// Objects that are not as the release left them, unless a run is changing them.
    fn drift(&self, service: Option<&str>) -> Vec<String> {
        let mut found = Vec::new();
        for (key, released) in self.of(service).filter(|(key, _)| !self.is_of_run(key)) {
            let Some(live) = self.live.get(key) else {
                if released.desired.goes_by_itself() {
                    continue;
                }
                found.push(format!("{} was deleted", key.short()));
                continue;
            };
            for (label, now) in foreign_labels(live, self.project, self.environment, self.namespace) {
                let follows = match label {
                    NAMESPACE => "no fence judges it",
                    _ => "maily does not take it for its own",
                };
                found.push(format!("{}: its label {label} is {now}: {follows}", key.short()));
            }
            let left_over = told_left_over(live, &released.desired, self.added.get(key));
            let over = told_written_over(self.sealer, live, self.written_over.get(key), self.since);
            let beside = [told_added(live, &released.desired), left_over, over];
            found.extend(beside.into_iter().flatten().map(|beside| format!("{}: {beside}", key.short())));
            let Some(fingerprint) = &released.fingerprint else { continue };
            let (now, digest) = released_view(self.sealer, live, &released.desired);
            if *fingerprint != digest {
                let (mut fields, by) = edited(self.sealer, live, &released.desired, &now, self.since);
                // In another version fields may have other names: what nobody has taken is no edit.
                if live.key().kind != released.desired.key().kind {
                    fields.retain(|field| field.to.is_some() && field.path != "apiVersion");
                    if fields.is_empty() || by.is_empty() {
                        continue;
                    }
                }
                found.push(format!("{}: {}", key.short(), told_edit(&fields, &by)));
            }
        }
        found
    }
}

/// Replicas of a workload that serve, and that shall. How many a DaemonSet shall have is in its status alone.
fn counts(live: &Object) -> (u32, u32) {
    let number = |path: &str| live.int(path).and_then(|number| u32::try_from(number).ok());
    let (serve, shall) = match live.kind() {
        "DaemonSet" => {
            (number("/status/numberAvailable"), number("/status/desiredNumberScheduled").unwrap_or_default())
        }
        _ => (number("/status/availableReplicas"), number("/spec/replicas").unwrap_or(1)),
    };
    (serve.unwrap_or_default().min(shall), shall)
}

fn takes_out(operation: Operation) -> bool {
    matches!(operation, Operation::Delete | Operation::Replace)
}
