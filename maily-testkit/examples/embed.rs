//! A release from another Rust program: load a project, plan, run, follow the events, cancel.
//!
//! It works in a simulated world; with `maily_k8s::KubeCluster` as the cluster it works in a real one.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::{error::Error, path::Path, sync::Arc};

use maily_core::{
    engine::{Depth, Event, RunOptions, Storage, planner::PlanOptions},
    model::{Project, Version},
    release::{DeployScope, deploy},
    runtime::{Runtime, TokioRuntime},
    source::{ProgramTools, RenderRequest, render},
};
use maily_testkit::{
    sim::{Shared, environment},
    world::World,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
    let world = Shared::new(World::new(runtime.wall(), runtime.random(), &["maily"]), Arc::clone(&runtime));

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/maily/maily.yaml");
    let resolved = Project::load(&file)?.resolve("production")?;
    let production = environment(&world, &resolved, runtime);
    let version: Version = "v1.0.0".parse()?;

    // What is wanted: the objects of a version, over what is released now.
    let request = RenderRequest {
        resolved: &resolved,
        version: &version,
        only: None,
        accept_new: false,
        timeout_s: None,
    };
    let rendered = render(&request, &ProgramTools).await?;
    let head = production.head().await?;
    let base = production.released(&head).await?;
    let wanted = deploy(&resolved, rendered, &version, base.as_ref(), &DeployScope::default());

    // The plan is a value: look at it, save it with `to_text`, or run it.
    let options = PlanOptions::default();
    let planned =
        production.plan(&wanted, head, base.as_ref(), &options, Depth::DryRun, Storage::Lasting).await?;
    println!("{} steps, digest {}", planned.plan.steps.len(), planned.plan.digest);

    let mut options = RunOptions::new("embedding-example");
    options.listener = Arc::new(|event: &Event| println!("{} {:?}", event.at, event.what));
    // `cancel()` on a clone of this token stops the run in an orderly way: it can be resumed from anywhere.
    let _cancel = options.cancel.clone();
    let end = production.run(planned, &options).await?;
    println!("{end:?}");
    Ok(())
}
