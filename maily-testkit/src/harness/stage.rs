//! What is the same for every seed: the project, its versions, a world in which the first one is in force, and what
//! each version leaves behind when nothing goes wrong.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use maily_core::{
    Providers,
    engine::{
        Depth, Environment, EnvironmentError, Outcome, Planned, RunEnd, RunOptions, Storage,
        planner::PlanOptions,
    },
    model::{Fencing, Project, Resolved, Version},
    object::{Object, ObjectError, ObjectKey, ObjectKind},
    provider::{Cluster, ClusterIdentity, FrontendHost, Precondition, WriteOptions},
    records::ClusterRecords,
    release::{DeployScope, deploy},
    runtime::Runtime,
    source::{ProgramTools, RenderRequest, Rendered, render},
};
use serde_json::json;

use super::{
    chance::Chance,
    content::content,
    host::NetFrontend,
    network::NetCluster,
    place::{Place, lock},
    prober::NetProber,
    scheduler::{Scheduler, Seat},
    witness::Witness,
};
use crate::world::World;

/// The versions of a simulation: in force at the beginning, brought by the first operator, by the second.
pub const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];

/// A secret value that stands in the application and must stand in no record.
const SECRET: &str = "hunter2-hunter2-hunter2";

/// A service that runs as a StatefulSet in order, and the type that alone is written of its update strategy.
type InOrder = (&'static str, Option<&'static str>);

/// Why a stage cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("failed to build the stage: {0}")]
pub struct StageError(String);

fn failed(error: impl std::fmt::Display) -> StageError {
    StageError(error.to_string())
}

/// The stage.
pub struct Stage {
    /// Environments in the order of the phases, resolved.
    pub environments: Vec<Resolved>,
    rendered: BTreeMap<(String, String), Rendered>,
    world: World,
    content: BTreeMap<(String, String), Vec<Object>>,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("environments", &self.environments.len()).finish_non_exhaustive()
    }
}

/// An annotation that a person writes on objects and that is nobody else's business.
pub(super) const NOTE: &str = "example.com/note";

impl Stage {
    /// Builds the stage of a project: renders its versions, and installs each in a world of its own.
    ///
    /// # Errors
    /// When the project is invalid or a calm run does not succeed.
    pub fn new(project: &str) -> Result<Self, StageError> {
        Self::in_order(project, &[])
    }

    /// The same, where some services run as StatefulSets in order.
    ///
    /// # Errors
    /// When the project is invalid or a calm run does not succeed.
    pub fn in_order(project: &str, sets: &'static [InOrder]) -> Result<Self, StageError> {
        let project = Project::parse(project, "maily.yaml").map_err(failed)?;
        let mut names: Vec<String> = Vec::new();
        // Phases of environments that the project does not have are skipped.
        for phase in
            project.phases.iter().filter(|phase| project.environments.contains_key(&phase.environment))
        {
            if !names.iter().any(|name| *name == *phase.environment) {
                names.push(phase.environment.to_string());
            }
        }
        let mut environments = Vec::new();
        for name in &names {
            environments.push(project.resolve(name).map_err(failed)?);
        }
        let rendered = render_all(environments.clone(), sets)?;
        let mut stage = Self {
            environments,
            rendered,
            world: World::new(jiff::Timestamp::UNIX_EPOCH, 0, &[]),
            content: BTreeMap::new(),
        };
        for version in VERSIONS {
            stage.install(&[version])?;
        }
        // More releases than are kept, so that runs find something to sweep.
        let releases: Vec<&str> = VERSIONS.into_iter().rev().collect();
        stage.install(&releases)?;
        Ok(stage)
    }

    /// A copy of the world in which the first version is in force.
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// What a version leaves in an environment.
    pub fn content_of(&self, environment: &str, version: &str) -> Option<&Vec<Object>> {
        self.content.get(&(environment.to_owned(), version.to_owned()))
    }

    /// Secrets that are planted in the application.
    pub fn secrets() -> Vec<String> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        vec![SECRET.to_owned(), STANDARD.encode(SECRET)]
    }

    /// Brings versions one after the other into a world of their own.
    fn install(&mut self, versions: &[&str]) -> Result<(), StageError> {
        let scheduler = Scheduler::new();
        let (network, operator) = (scheduler.join(1, 1_000_000), scheduler.join(2, 1_000_000));
        let namespaces: Vec<&str> =
            self.environments.iter().map(|e| e.environment.namespace.as_str()).collect();
        let world = World::new(operator.wall(), 1, &namespaces);
        let place = Place::new(world, network, 1, Witness::default());
        let ends: Arc<Mutex<Vec<Result<RunEnd, EnvironmentError>>>> = Arc::default();
        let work = {
            let (place, ends) = (Arc::clone(&place), Arc::clone(&ends));
            let mut parts: Vec<(Resolved, Rendered, Version)> = Vec::new();
            for version in versions {
                let parsed: Version = version.parse().map_err(failed)?;
                parts.extend(self.environments.iter().map(|resolved| {
                    let rendered = self.rendered_of(&resolved.environment.name, version);
                    (resolved.clone(), rendered, parsed.clone())
                }));
            }
            let seat = operator.clone();
            async move {
                for (resolved, rendered, version) in parts {
                    let environment = environment(&place, &seat, &resolved);
                    let end =
                        release(&environment, &resolved, rendered, &version, &RunOptions::new("stage")).await;
                    lock(&ends).push(end);
                }
            }
        };
        operator.detach(work);
        let count = self.environments.len() * versions.len();
        scheduler.run(&mut Chance::new(1), Duration::from_secs(3_600), || lock(&ends).len() == count);
        scheduler.close();
        for end in lock(&ends).iter() {
            match end {
                Ok(RunEnd::Over { outcome: Outcome::Succeeded { .. }, .. }) => {}
                other => return Err(StageError(format!("{other:?}"))),
            }
        }
        let mut world = place.world();
        let settled = world.now + jiff::SignedDuration::from_secs(60);
        world.advance(settled);
        for resolved in &self.environments {
            let Some(version) = versions.last() else { continue };
            let key = (resolved.environment.name.to_string(), (*version).to_owned());
            self.content.insert(key, content(&world, &resolved.environment.namespace));
        }
        self.world = world.clone();
        // Every seed gets a copy, and no watch of theirs is open yet.
        self.world.forget_history();
        Ok(())
    }

    /// What a version renders to in an environment.
    pub fn rendered_of(&self, environment: &str, version: &str) -> Rendered {
        self.rendered.get(&(environment.to_owned(), version.to_owned())).cloned().unwrap_or_default()
    }
}

fn render_all(
    environments: Vec<Resolved>,
    sets: &'static [InOrder],
) -> Result<BTreeMap<(String, String), Rendered>, StageError> {
    type Rendering = Result<BTreeMap<(String, String), Rendered>, StageError>;
    let done: Arc<Mutex<Option<Rendering>>> = Arc::default();
    let scheduler = Scheduler::new();
    let told = Arc::clone(&done);
    scheduler.join(1, 1_000_000).detach(async move {
        let mut all = BTreeMap::new();
        for resolved in &environments {
            for version in VERSIONS {
                match render_one(resolved, version, sets).await {
                    Ok(rendered) => {
                        all.insert((resolved.environment.name.to_string(), version.to_owned()), rendered);
                    }
                    Err(error) => {
                        *lock(&told) = Some(Err(error));
                        return;
                    }
                }
            }
        }
        *lock(&told) = Some(Ok(all));
    });
    scheduler.run(&mut Chance::new(1), Duration::from_secs(60), || lock(&done).is_some());
    scheduler.close();
    lock(&done).take().unwrap_or_else(|| Err(StageError("rendering does not end".to_owned())))
}

async fn render_one(resolved: &Resolved, version: &str, sets: &[InOrder]) -> Result<Rendered, StageError> {
    let version: Version = version.parse().map_err(failed)?;
    let request = RenderRequest { resolved, version: &version, only: None, accept_new: false };
    let mut rendered = render(&request, &ProgramTools).await.map_err(failed)?;
    rendered.services.values_mut().for_each(|service| service.timeout_s = Some(120));
    // A Secret whose value changes with the version.
    if let Some(api) = rendered.services.get_mut("api") {
        let secret = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "api-token", "namespace": resolved.environment.namespace},
            "stringData": {"token": SECRET, "version": version.to_string()}});
        api.objects.insert(0, Object::from_value(secret).map_err(failed)?);
    }
    // An object that comes and goes with the version.
    if let Some(worker) = rendered.services.get_mut("worker") {
        let notes = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": notes_of(&version), "namespace": resolved.environment.namespace},
            "data": {"version": version.to_string()}});
        worker.objects.insert(0, Object::from_value(notes).map_err(failed)?);
    }
    for (name, service) in &mut rendered.services {
        let Some((_, strategy)) = sets.iter().find(|(set, _)| set == name) else { continue };
        for object in service.objects.iter_mut().filter(|object| object.kind() == "Deployment") {
            *object = set_of(object, *strategy).map_err(failed)?;
        }
    }
    Ok(rendered)
}

/// A StatefulSet with the pods of a Deployment.
fn set_of(deployment: &Object, strategy: Option<&str>) -> Result<Object, ObjectError> {
    let mut spec = deployment.at("/spec").cloned().unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|field, _| matches!(field.as_str(), "replicas" | "selector" | "template"));
        spec.insert("serviceName".to_owned(), deployment.name().into());
        if let Some(strategy) = strategy {
            spec.insert("updateStrategy".to_owned(), json!({"type": strategy}));
        }
    }
    let metadata = deployment.at("/metadata").cloned().unwrap_or_default();
    Object::from_value(
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}),
    )
}

/// Name of the object that a version alone has.
fn notes_of(version: &str) -> String {
    format!("notes-of-{version}")
}

/// A person makes an object that the second version would make.
pub(super) fn squat(place: &Place, resolved: &Resolved) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"version": "mine"},
        "metadata": {"name": notes_of(VERSIONS[1]), "namespace": resolved.environment.namespace}});
    let Ok(object) = Object::from_value(object) else { return };
    let options = WriteOptions::apply("another-tool", Precondition::Absent);
    place.by_hand("/data/version", true, |world| world.write(&object, &options));
}

/// The lease of an environment.
pub(super) fn lease_of(resolved: &Resolved) -> ObjectKey {
    let of = &resolved.environment;
    let kind = ObjectKind::new("coordination.k8s.io/v1", "Lease");
    ObjectKey::new(kind, Some(&of.namespace), format!("maily-{}", of.name))
}

/// An environment as one participant sees it.
pub fn environment(place: &Arc<Place>, seat: &Seat, resolved: &Resolved) -> Environment {
    let name = resolved.environment.name.to_string();
    let namespace = resolved.environment.namespace.clone();
    let cluster: Arc<dyn Cluster> = Arc::new(NetCluster::new(Arc::clone(place), seat.clone()));
    let frontend: Arc<dyn FrontendHost> = Arc::new(NetFrontend::new(Arc::clone(place), seat.clone(), &name));
    let uid = place.world().identity();
    Environment {
        project: resolved.project.name.to_string(),
        records: Arc::new(ClusterRecords::new(Arc::clone(&cluster), &name, &namespace)),
        name,
        namespace,
        identity: Some(ClusterIdentity { uid, ca: String::new() }),
        fencing: if place.is_fenced() { Fencing::Installed } else { resolved.environment.fence },
        retention: resolved.project.history,
        providers: Providers {
            cluster,
            frontend: Some(frontend),
            prober: Some(Arc::new(NetProber::new(Arc::clone(place), seat.clone()))),
        },
        runtime: Arc::new(seat.clone()),
    }
}

/// Plans and carries out a deploy.
pub async fn release(
    environment: &Environment,
    resolved: &Resolved,
    rendered: Rendered,
    version: &Version,
    options: &RunOptions,
) -> Result<RunEnd, EnvironmentError> {
    let planned = planned(environment, resolved, rendered, version).await?;
    environment.run(planned, options).await
}

/// Plans a deploy.
pub(super) async fn planned(
    environment: &Environment,
    resolved: &Resolved,
    rendered: Rendered,
    version: &Version,
) -> Result<Planned, EnvironmentError> {
    environment.check().await?;
    let head = environment.head().await?;
    let base = environment.released(&head).await?;
    let wanted = deploy(resolved, rendered, version, base.as_ref(), &DeployScope::default());
    environment
        .plan(&wanted, head, base.as_ref(), &PlanOptions::default(), Depth::Read, Storage::Lasting)
        .await
}
