//! What is released, whether it serves, and what was changed by hand since.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    engine::{
        Environment, EnvironmentError, FenceSight, LeaseSight, Operation, ReleaseId, RunId, Sealer, Storage,
        drifted, epoch_of, forward_run_of,
        history::{Release, Released, Unfinished},
        read_objects, released_view, run_of, sight_of_lease, told, told_added,
    },
    model::Fencing,
    object::{Object, ObjectKey, ObjectKind, editors},
    provider::ListQuery,
    rollout::{Evidence, Health, Target, judge},
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
    /// Its version in the release in force.
    pub version: String,
    /// The version that the unfinished run is bringing, where it has begun to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas that shall.
    pub desired: u32,
    /// `serving`, `progressing`, `failing`, `missing`.
    pub state: &'static str,
    /// Why it is not serving.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was changed by hand since the release.
    pub drift: Vec<String>,
}

/// Reads the state of an environment.
///
/// # Errors
/// When something cannot be read.
pub async fn status(environment: &Environment) -> Result<Status, EnvironmentError> {
    environment.check().await?;
    let cluster = &*environment.providers.cluster;
    let head = environment.head().await?;
    let lease = sight_of_lease(cluster, &environment.name, &environment.namespace)
        .await
        .map_err(EnvironmentError::Provider)?;
    let fence = environment.fence().sight(environment.fencing == Fencing::Installed).await?;
    let mut status = Status {
        environment: environment.name.clone(),
        release: head.release.as_ref().map(|(_, release)| release.id),
        run: head.unfinished.as_ref().map(|unfinished| unfinished.recorded.run.clone()),
        unfinished: head.unfinished.as_ref().map(|run| told_run(run, &lease, environment.runtime.wall())),
        holder: lease.holder,
        fence,
        services: Vec::new(),
        drift: Vec::new(),
    };
    let Some(release) = environment.released(&head).await? else { return Ok(status) };
    let sealer = Sealer::open(
        cluster,
        &*environment.runtime,
        &environment.name,
        &environment.namespace,
        Storage::Passing,
    )
    .await
    .map_err(EnvironmentError::Provider)?;
    let live = read_objects(cluster, release.objects.keys()).await?;
    let pods = ListQuery::new(ObjectKind::new("v1", "Pod"), Some(&environment.namespace));
    let pods = cluster.list(&pods).await.map_err(EnvironmentError::Provider)?;
    let work =
        Work { release: &release, live: &live, pods: &pods, sealer: &sealer, run: head.unfinished.as_ref() };
    status.services =
        release.head.versions.iter().map(|(name, version)| work.service(name, version)).collect();
    status.drift = work.drift(None);
    Ok(status)
}

struct Work<'a> {
    release: &'a Release,
    live: &'a BTreeMap<ObjectKey, Object>,
    pods: &'a [Object],
    sealer: &'a Sealer,
    run: Option<&'a Unfinished>,
}

fn told_run(run: &Unfinished, lease: &LeaseSight, now: Timestamp) -> UnfinishedRun {
    let summary = super::runs::summary(&run.recorded);
    UnfinishedRun {
        title: summary.title,
        by: summary.by,
        since: summary.started.unwrap_or(run.claim.at),
        alive: lease.lives(now),
        holder: lease.holder.clone(),
        seen: lease.renewed,
    }
}

impl Work<'_> {
    fn of<'s>(&'s self, service: Option<&'s str>) -> impl Iterator<Item = (&'s ObjectKey, &'s Released)> {
        self.release.objects.iter().filter(move |(_, object)| object.service.as_deref() == service)
    }

    fn service(&self, name: &str, version: &str) -> ServiceState {
        let mut state = ServiceState {
            name: name.to_owned(),
            version: version.to_owned(),
            next: self.next(name, version),
            ready: 0,
            desired: 0,
            state: "serving",
            why: None,
            drift: self.drift(Some(name)),
        };
        for (key, _) in self.of(Some(name)) {
            if !matches!(key.kind.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet") {
                continue;
            }
            let Some(live) = self.live.get(key) else {
                state.state = "missing";
                state.why = Some(format!("{} does not exist", key.short()));
                continue;
            };
            let Some(target) = Target::pin(live) else { continue };
            let pods = self.pods.iter().filter(|pod| target.selects(pod)).collect();
            let wanted = u32::try_from(live.int("/spec/replicas").unwrap_or(1)).unwrap_or_default();
            match judge(&target, &Evidence { live: Some(live), pods, replica_sets: Vec::new() }) {
                Health::Done => {
                    let daemons = live.int("/status/desiredNumberScheduled");
                    let count = daemons.and_then(|n| u32::try_from(n).ok()).unwrap_or(wanted);
                    state.ready += count;
                    state.desired += count;
                }
                Health::Waiting { ready, desired, why } => {
                    state.ready += ready;
                    state.desired += desired;
                    if state.state == "serving" {
                        (state.state, state.why) = ("progressing", Some(why));
                    }
                }
                Health::Ask(_) => {
                    let available = live.int("/status/availableReplicas").and_then(|n| u32::try_from(n).ok());
                    state.ready += available.unwrap_or_default().min(wanted);
                    state.desired += wanted;
                    (state.state, state.why) = ("failing", Some("some of its pods cannot start".to_owned()));
                }
                Health::Failed(reason) => {
                    state.desired += wanted;
                    (state.state, state.why) = ("failing", Some(reason.message.clone()));
                }
            }
        }
        state
    }

    /// The version that the unfinished run has begun to bring.
    fn next(&self, name: &str, version: &str) -> Option<String> {
        let run = self.run?;
        let next = run.recorded.plan.as_ref()?.versions.get(name).filter(|next| *next != version)?;
        let is_new = |(key, _): (&ObjectKey, &Released)| {
            self.live.get(key).and_then(forward_run_of).as_ref() == Some(&run.recorded.run)
        };
        self.of(Some(name)).any(is_new).then(|| next.clone())
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
                found.push(format!("{} was deleted", key.short()));
                continue;
            };
            if let Some(added) = told_added(live, &released.desired) {
                found.push(format!("{}: {added}", key.short()));
            }
            let Some(fingerprint) = &released.fingerprint else { continue };
            let (now, digest) = released_view(self.sealer, live, &released.desired);
            if *fingerprint != digest {
                let fields = drifted(&released.desired, &now);
                let fields: Vec<String> = fields.iter().take(3).map(told).collect();
                let by = others(live);
                let by = if by.is_empty() { String::new() } else { format!(" (by {})", by.join(", ")) };
                found.push(format!("{}: {}{by}", key.short(), fields.join(", ")));
            }
        }
        found
    }
}

fn takes_out(operation: Operation) -> bool {
    matches!(operation, Operation::Delete | Operation::Replace)
}

/// Clients by which people change things.
fn others(live: &Object) -> Vec<&str> {
    editors(live).filter(|name| !name.starts_with("kube-") && !name.starts_with("maily")).collect()
}
