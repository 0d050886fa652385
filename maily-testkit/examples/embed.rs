//! A release from another Rust program: load a project, plan, run, follow the events, cancel.
//!
//! It works in a simulated world; with `maily_k8s::KubeCluster` as the cluster it works in a real one.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use maily_core::{
    engine::{Environment, Event, RunEnd, RunOptions},
    model::{Project, Resolved, Version},
    release::{DeployRequest, prepare},
    runtime::{Runtime, TokioRuntime},
    source::ProgramTools,
};
use maily_testkit::{
    sim::{Shared, environment},
    world::World,
};

/// Brings a version to an environment.
async fn release(
    environment: &Environment,
    resolved: &Resolved,
    version: &Version,
) -> Result<RunEnd, Box<dyn Error>> {
    let mut options = RunOptions::new("embedding-example");
    options.listener = Arc::new(|event: &Event| println!("{} {:?}", event.at, event.what));

    // The plan is a value: look at it, save it with `to_text`, or run it.
    let request = DeployRequest::new(version.clone());
    let planned = prepare(environment, resolved, &request, &ProgramTools, &options).await?;
    println!("{} steps, digest {}", planned.plan.steps.len(), planned.plan.digest);

    // Stops the run in an orderly way if it lasts too long: `resume` goes on with it, from anywhere.
    let (cancel, clock) = (options.cancel.clone(), Arc::clone(&environment.runtime));
    tokio::spawn(async move {
        clock.sleep(Duration::from_secs(600)).await;
        cancel.cancel();
    });
    Ok(environment.run(planned, &options).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/maily/maily.yaml");
    let resolved = Project::load(&file)?.resolve("production")?;
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
    let world = Shared::new(World::new(runtime.wall(), runtime.random(), &["maily"]), Arc::clone(&runtime));
    let production = environment(&world, &resolved, runtime);
    println!("{:?}", release(&production, &resolved, &"v1.0.0".parse()?).await?);
    Ok(())
}
