//! A shop in the simulated world whose records are files of a folder.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use maily_core::{
    engine::{Environment, EnvironmentError, Planned, RunEnd, RunOptions},
    model::{Project, Resolved},
    records::FolderRecords,
    release::{DeployRequest, prepare},
    runtime::Runtime,
    source::ProgramTools,
};
use maily_testkit::{
    sim::{Shared, SimRuntime, environment},
    world::World,
};

const PROJECT: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
";

/// The project in its environment.
pub(crate) fn resolved() -> Resolved {
    let project = Project::parse(PROJECT, "maily.yaml").expect("is a project");
    project.resolve("production").expect("is there")
}

pub(crate) async fn plan(environment: &Environment, version: &str) -> Planned {
    let request = DeployRequest::new(version.parse().expect("is a version"));
    let options = RunOptions::new("tester");
    prepare(environment, &resolved(), &request, &ProgramTools, &options).await.expect("can be planned")
}

/// Releases a version.
pub(crate) async fn deploy(
    environment: &Environment,
    version: &str,
    options: &RunOptions,
) -> Result<RunEnd, EnvironmentError> {
    environment.run(plan(environment, version).await, options).await
}

pub(crate) struct Place {
    pub(crate) shared: Arc<Shared>,
    pub(crate) runtime: Arc<dyn Runtime>,
    records: PathBuf,
}

impl Place {
    /// To be made with tokio's clock paused.
    pub(crate) fn new(seed: u64, records: &Path) -> Self {
        let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(seed));
        let world = World::new(runtime.wall(), seed, &["shop"]);
        let shared = Shared::new(world, Arc::clone(&runtime));
        Self { shared, runtime, records: records.to_owned() }
    }

    pub(crate) fn environment(&self) -> Environment {
        let simulated = environment(&self.shared, &resolved(), Arc::clone(&self.runtime));
        Environment { records: Arc::new(FolderRecords::new(&self.records)), ..simulated }
    }

    /// Version that a service is brought to in the world.
    pub(crate) fn image(&self, service: &str) -> String {
        let world = self.shared.world();
        let deployments = world.of_kind("Deployment");
        let deployment = deployments.iter().find(|deployment| deployment.name() == service);
        let image = deployment.and_then(|found| found.text("/spec/template/spec/containers/0/image"));
        image.expect("is there").to_owned()
    }
}
