//! A shop out of manifests.

use maily_core::{
    engine::{Depth, EnvironmentError, Planned, RunEnd, Storage, history::Release, planner::PlanOptions},
    model::Resolved,
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster as _, Precondition, WriteOptions},
    release::{
        DeployRequest, DeployScope, PrepareError, RollbackError, RollbackTo, prepare, remove, rollback,
    },
    source::ProgramTools,
};
use maily_testkit::sim::SimCluster;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::setup::{Setup, succeeded};

/// A project of one service, whose manifests are its version's.
pub(crate) const OF_MANIFESTS: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  api: {manifests: '{version}.yaml'}
";

pub(crate) struct Shop {
    pub(crate) setup: Setup,
    folder: TempDir,
}

impl Shop {
    pub(crate) fn new(project: &'static str, seed: u64) -> Self {
        Self { setup: Setup::of(project, seed), folder: TempDir::new().expect("can be made") }
    }

    /// The manifests of a version.
    pub(crate) fn write(&self, version: &str, objects: &[Value]) {
        let text: String = objects.iter().map(|object| format!("---\n{object}\n")).collect();
        std::fs::write(self.folder.path().join(format!("{version}.yaml")), text).expect("can be written");
    }

    pub(crate) fn resolved(&self) -> Resolved {
        let mut resolved = self.setup.resolved();
        resolved.project.root = self.folder.path().to_owned();
        resolved
    }

    pub(crate) async fn plan(&self, version: &str) -> Result<Planned, PrepareError> {
        self.plan_with(version, PlanOptions::default(), Depth::DryRun).await
    }

    pub(crate) async fn plan_with(
        &self,
        version: &str,
        options: PlanOptions,
        depth: Depth,
    ) -> Result<Planned, PrepareError> {
        let version = version.parse().expect("is a version");
        let request = DeployRequest { options, depth, ..DeployRequest::new(version) };
        let (environment, run) = (self.setup.environment(), self.setup.options("tester"));
        prepare(&environment, &self.resolved(), &request, &ProgramTools, &run).await
    }

    /// A plan of a part of a version.
    pub(crate) async fn part(&self, version: &str, scope: DeployScope) -> Result<Planned, PrepareError> {
        let version = version.parse().expect("is a version");
        let request = DeployRequest { scope, ..DeployRequest::new(version) };
        let (environment, run) = (self.setup.environment(), self.setup.options("tester"));
        prepare(&environment, &self.resolved(), &request, &ProgramTools, &run).await
    }

    /// A plan of a way back, of all components where none are named.
    pub(crate) async fn back(
        &self,
        to: RollbackTo,
        components: Option<&[&str]>,
        options: PlanOptions,
    ) -> Result<Planned, RollbackError> {
        let (environment, resolved) = (self.setup.environment(), self.resolved());
        let head = environment.head().await.expect("can be read");
        let base = environment.released(&head).await.expect("can be read");
        let only = components.map(names);
        let wanted = rollback(&environment, &resolved, &head, base.as_ref(), &to, only.as_deref()).await?;
        let planned =
            environment.plan(&wanted, head, base.as_ref(), &options, Depth::DryRun, Storage::Lasting).await;
        Ok(planned.expect("can be planned"))
    }

    /// A plan of a way back of all components, or why there is none.
    pub(crate) async fn try_back(&self, to: RollbackTo) -> Result<Planned, EnvironmentError> {
        let (environment, resolved) = (self.setup.environment(), self.resolved());
        let head = environment.head().await.expect("can be read");
        let base = environment.released(&head).await.expect("can be read");
        let wanted = rollback(&environment, &resolved, &head, base.as_ref(), &to, None).await;
        let (wanted, options) = (wanted.expect("is on record"), PlanOptions::default());
        environment.plan(&wanted, head, base.as_ref(), &options, Depth::DryRun, Storage::Lasting).await
    }

    /// A plan that takes everything away.
    pub(crate) async fn removal(&self) -> Planned {
        self.try_removal().await.expect("can be planned")
    }

    /// The same, or why there is none.
    pub(crate) async fn try_removal(&self) -> Result<Planned, EnvironmentError> {
        let environment = self.setup.environment();
        let head = environment.head().await.expect("can be read");
        let base = environment.released(&head).await.expect("can be read").expect("is there");
        let wanted = remove(&self.resolved(), &base, None).expect("can be removed");
        let options = PlanOptions::default();
        environment.plan(&wanted, head, Some(&base), &options, Depth::Read, Storage::Lasting).await
    }

    pub(crate) async fn run(&self, planned: Planned) -> RunEnd {
        self.setup.environment().run(planned, &self.setup.options("tester")).await.expect("runs")
    }

    pub(crate) async fn deploy(&self, version: &str) -> RunEnd {
        self.run(self.plan(version).await.expect("can be planned")).await
    }

    /// The release in force.
    pub(crate) async fn released(&self) -> Release {
        let environment = self.setup.environment();
        let head = environment.head().await.expect("can be read");
        environment.released(&head).await.expect("can be read").expect("is there")
    }

    /// Whose an object is in the release in force: a service's name, or nothing where it is shared; each time it is in it.
    pub(crate) async fn owner(&self, name: &str) -> Option<Option<String>> {
        let release = self.released().await;
        let released = release.objects.values().find(|released| released.desired.name() == name);
        released.map(|released| released.service.clone())
    }

    /// Makes an object as somebody else does.
    pub(crate) async fn make(&self, object: &Value) {
        let object = Object::from_value(object.clone()).expect("is an object");
        let options = WriteOptions::apply("kubectl", Precondition::Absent);
        SimCluster::new(self.setup.shared.clone()).write(&object, &options).await.expect("is made");
    }

    pub(crate) fn live(
        &self,
        version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Object> {
        let key = ObjectKey::new(ObjectKind::new(version, kind), namespace, name);
        self.setup.shared.world().get(&key).cloned()
    }
}

fn names(components: &[&str]) -> Vec<String> {
    components.iter().map(|name| (*name).to_owned()).collect()
}

/// Some components of a version.
pub(crate) fn components(names: &[&str]) -> DeployScope {
    let names = names.iter().map(|name| name.parse().expect("a name")).collect();
    DeployScope { phases: None, components: Some(names) }
}

/// Some phases of a version.
pub(crate) fn phases(names: &[&str]) -> DeployScope {
    let names = names.iter().map(|name| name.parse().expect("a name")).collect();
    DeployScope { phases: Some(names), components: None }
}

/// The notes of a plan about something.
pub(crate) fn notes(planned: &Planned, topic: &str) -> Vec<String> {
    let notes = planned.plan.notes.iter().filter(|note| note.topic == topic);
    notes.map(|note| note.text.clone()).collect()
}

/// A Deployment whose only container refers to these ConfigMaps.
pub(crate) fn deployment(name: &str, reads: &[&str]) -> Value {
    let labels = json!({"app": name});
    let sources: Vec<Value> = reads.iter().map(|map| json!({"configMapRef": {"name": map}})).collect();
    let container =
        json!({"name": "main", "image": format!("registry.example/{name}:1"), "envFrom": sources});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}})
}

/// What the second version has and the first one has not goes with it: by a deploy of the first, however close the plan
/// looks, and by a way back. `there` shows it, `changes` are the objects that differ.
pub(crate) async fn goes_with_its_version(
    released: impl AsyncFn(u64) -> Shop,
    there: impl Fn(&Shop) -> Vec<Value>,
    changes: usize,
    [forward, back]: [u64; 2],
) {
    for depth in [Depth::Read, Depth::DryRun] {
        let shop = released(forward).await;
        let planned = shop.plan_with("v1", PlanOptions::default(), depth).await.expect("can be planned");
        assert_eq!(planned.plan.changes().count(), changes, "{depth:?}: {:?}", planned.plan.steps);
        assert!(succeeded(&shop.run(planned).await));
        assert_eq!(there(&shop), vec![Value::Null; 7], "{depth:?}");
        // Nothing is left to do then, however close one looks.
        for depth in [Depth::Read, Depth::DryRun] {
            let again = shop.plan_with("v1", PlanOptions::default(), depth).await.expect("can be planned");
            assert!(again.plan.is_empty(), "{:?}", again.plan.steps);
        }
    }
    let shop = released(back).await;
    let back = shop.back(RollbackTo::LastGood, None, PlanOptions::default()).await.expect("can be planned");
    assert!(succeeded(&shop.run(back).await));
    assert_eq!(there(&shop), vec![Value::Null; 7]);
}
