//! A shop out of manifests.

use maily_core::{
    engine::{Depth, Planned, RunEnd, planner::PlanOptions},
    model::Resolved,
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster as _, Precondition, WriteOptions},
    release::{DeployRequest, PrepareError, prepare},
    source::ProgramTools,
};
use maily_testkit::sim::SimCluster;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::setup::Setup;

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

    pub(crate) async fn deploy(&self, version: &str) -> RunEnd {
        let planned = self.plan(version).await.expect("can be planned");
        self.setup.environment().run(planned, &self.setup.options("tester")).await.expect("runs")
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
