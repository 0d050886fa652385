//! A project, a world and somebody who releases.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use maily_core::{
    Providers,
    engine::{
        Depth, Environment, EnvironmentError, Epoch, Goal, Outcome, Planned, RunEnd, RunOptions, Storage,
        What,
        planner::{PlanOptions, Wanted, WantedPhase},
    },
    model::{Fencing, Project, Resolved, Retention},
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster, ClusterIdentity, Dependents, FrontendHost, Precondition},
    records::ClusterRecords,
    runtime::Runtime,
    source::{ProgramTools, RenderRequest, render},
};
use maily_testkit::{
    sim::{Shared, SimCluster, SimRuntime},
    world::{Fault, World},
};

/// A small shop.
const PROJECT: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 3}}
  web: {needs: [api], workload: {port: 8080, scale: 2..4}}
  worker: {workload: {command: [work], scale: 1}}
  queue: {workload: {port: 6379, scale: 1, config: {q.conf: 'size 1'}}}
";

pub(crate) struct Setup {
    pub(crate) shared: Arc<Shared>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) told: Arc<Mutex<Vec<What>>>,
    pub(crate) project: &'static str,
    pub(crate) frontend: Option<Arc<dyn FrontendHost>>,
    /// Stands before the world's own cluster.
    pub(crate) cluster: Option<Arc<dyn Cluster>>,
    pub(crate) fencing: Fencing,
    pub(crate) retention: Retention,
}

impl Setup {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(PROJECT, seed)
    }

    pub(crate) fn of(project: &'static str, seed: u64) -> Self {
        let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(seed));
        let world = World::new(runtime.wall(), seed, &["shop"]);
        Self {
            shared: Shared::new(world, Arc::clone(&runtime)),
            runtime,
            told: Arc::default(),
            project,
            frontend: None,
            cluster: None,
            fencing: Fencing::None,
            retention: Retention::default(),
        }
    }

    /// The same behind a fence.
    pub(crate) async fn fenced(seed: u64) -> Self {
        let setup = Self { fencing: Fencing::Installed, ..Self::new(seed) };
        setup.environment().fence().install(Epoch(0)).await.expect("is installed");
        setup
    }

    pub(crate) async fn open_the_fence(&self) {
        let key = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), "maily-fence-production");
        let cluster = SimCluster::new(Arc::clone(&self.shared));
        cluster.delete(&key, &Precondition::Any, Dependents::Follow).await.expect("is deleted");
    }

    pub(crate) fn environment(&self) -> Environment {
        let world: Arc<dyn Cluster> = Arc::new(SimCluster::new(Arc::clone(&self.shared)));
        let cluster = self.cluster.clone().unwrap_or(world);
        let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, "kube-system");
        let uid = self.shared.world().get(&key).and_then(|n| n.uid()).expect("has a uid").to_owned();
        Environment {
            project: "shop".into(),
            name: "production".into(),
            namespace: "shop".into(),
            identity: Some(ClusterIdentity { uid, ca: String::new() }),
            fencing: self.fencing,
            retention: self.retention,
            providers: Providers {
                cluster: Arc::clone(&cluster),
                frontend: self.frontend.clone(),
                prober: None,
            },
            records: Arc::new(ClusterRecords::new(cluster, "production", "shop")),
            runtime: Arc::clone(&self.runtime),
        }
    }

    pub(crate) fn options(&self, by: &str) -> RunOptions {
        let told = Arc::clone(&self.told);
        let mut options = RunOptions::new(by);
        options.listener = Arc::new(move |event: &maily_core::engine::Event| {
            told.lock().expect("not poisoned").push(event.what.clone());
        });
        options
    }

    pub(crate) fn resolved(&self) -> Resolved {
        let project = Project::parse(self.project, "maily.yaml").expect("a project");
        project.resolve("production").expect("is there")
    }

    pub(crate) async fn wanted(&self, version: &str) -> Wanted {
        let resolved = self.resolved();
        let version = version.parse().expect("a version");
        let request = RenderRequest { resolved: &resolved, version: &version, only: None, accept_new: false };
        let mut rendered = render(&request, &ProgramTools).await.expect("renders");
        rendered.services.values_mut().for_each(|service| service.timeout_s = Some(60));
        let names: Vec<String> = rendered.services.keys().cloned().collect();
        Wanted {
            project: "shop".into(),
            environment: "production".into(),
            namespace: "shop".into(),
            goal: Goal::Deploy { version: version.to_string(), only: None },
            prune: names.iter().cloned().collect::<BTreeSet<_>>(),
            phases: vec![WantedPhase { name: "all".into(), services: names, gates: Vec::new() }],
            services: rendered.services,
            shared: rendered.shared,
            notes: rendered.notes,
            prune_shared: true,
            left_out: Vec::new(),
        }
    }

    pub(crate) async fn deploy(&self, version: &str) -> RunEnd {
        self.try_to_deploy(version).await.expect("runs")
    }

    pub(crate) async fn try_to_deploy(&self, version: &str) -> Result<RunEnd, EnvironmentError> {
        let planned = self.plan(version, Depth::Read).await.expect("can be planned");
        self.environment().run(planned, &self.options("tester")).await
    }

    pub(crate) async fn plan(&self, version: &str, depth: Depth) -> Result<Planned, EnvironmentError> {
        let environment = self.environment();
        let wanted = self.wanted(version).await;
        let head = environment.head().await.expect("can be read");
        let base = environment.released(&head).await.expect("can be read");
        environment.plan(&wanted, head, base.as_ref(), &PlanOptions::default(), depth, Storage::Lasting).await
    }

    /// What belongs to the application, without what the server and the engine keep on it.
    pub(crate) fn content(&self) -> Vec<Object> {
        let world = self.shared.world();
        let mut objects: Vec<Object> = world
            .objects()
            .filter(|object| object.label("maily.dev/project") == Some("shop"))
            .map(|object| {
                let mut object = object.clone().without_server_fields();
                const OF_CONTROLLERS: [&str; 2] =
                    ["deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"];
                for annotation in ["maily.dev/epoch", "maily.dev/stamp"].into_iter().chain(OF_CONTROLLERS) {
                    object.set_annotation(annotation, None);
                }
                if object.kind() == "Service" {
                    object.edit(|body| {
                        body["spec"].as_object_mut().expect("a map").remove("clusterIP");
                    });
                }
                object
            })
            .collect();
        objects.sort_by(|a, b| a.key().cmp(b.key()));
        objects
    }
}

pub(crate) fn succeeded(end: &RunEnd) -> bool {
    matches!(end, RunEnd::Over { outcome: Outcome::Succeeded { .. }, .. })
}

pub(crate) fn fault(text: &str) -> Fault {
    text.parse().expect("a fault")
}
