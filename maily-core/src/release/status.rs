//! What is released, whether it serves, and what was changed by hand since.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    engine::{
        Environment, EnvironmentError, FenceSight, ReleaseId, RunId, Sealer, Storage, drifted,
        history::{Release, Released},
        read_objects, released_view, told, told_added,
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

/// State of a service.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct ServiceState {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
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
    let holder = crate::engine::holder(cluster, &environment.name, &environment.namespace)
        .await
        .map_err(EnvironmentError::Provider)?;
    let fence = environment.fence().sight(environment.fencing == Fencing::Installed).await?;
    let mut status = Status {
        environment: environment.name.clone(),
        release: head.release.as_ref().map(|(_, release)| release.id),
        run: head.unfinished.as_ref().map(|unfinished| unfinished.recorded.run.clone()),
        holder,
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
    let work = Work { release: &release, live: &live, pods: &pods, sealer: &sealer };
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
}

impl Work<'_> {
    fn of<'s>(&'s self, service: Option<&'s str>) -> impl Iterator<Item = (&'s ObjectKey, &'s Released)> {
        self.release.objects.iter().filter(move |(_, object)| object.service.as_deref() == service)
    }

    fn service(&self, name: &str, version: &str) -> ServiceState {
        let mut state = ServiceState {
            name: name.to_owned(),
            version: version.to_owned(),
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

    /// Objects that are not as the release left them.
    fn drift(&self, service: Option<&str>) -> Vec<String> {
        let mut found = Vec::new();
        for (key, released) in self.of(service) {
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

/// Clients by which people change things.
fn others(live: &Object) -> Vec<&str> {
    editors(live).filter(|name| !name.starts_with("kube-") && !name.starts_with("maily")).collect()
}
