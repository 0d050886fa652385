//! Deploys of some phases, and gates between them.

use std::time::Duration;

use maily_core::{
    engine::{Depth, EnvironmentError, Planned, RunEnd, Storage, Wish, planner::PlanOptions},
    object::{Object, ObjectKey},
    release::{DeployScope, deploy},
    runtime::within,
    source::{ProgramTools, RenderRequest, render},
};
use serde_json::json;

use crate::setup::{Setup, fault, succeeded};

const GATED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {workload: {port: 8080, scale: 1}}
phases:
  - {name: first, environment: production, services: [api], gates: [smoke]}
  - {name: second, environment: production, services: [web]}
gates:
  smoke: {job: {image: 'registry.example/shop/smoke:{version}', command: [look]}}
";

/// A plan of some phases of a version, with shared objects of these names.
async fn plan(
    setup: &Setup,
    version: &str,
    phases: Option<&[&str]>,
    shared: &[&str],
) -> Result<Planned, EnvironmentError> {
    let (environment, resolved) = (setup.environment(), setup.resolved());
    let version = version.parse().expect("a version");
    let request = RenderRequest {
        resolved: &resolved,
        version: &version,
        only: None,
        accept_new: false,
        timeout_s: Some(60),
    };
    let mut rendered = render(&request, &ProgramTools).await.expect("renders");
    rendered.shared = shared.iter().map(|name| map(name)).collect();
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let named = |phases: &[&str]| phases.iter().map(|name| name.parse().expect("a name")).collect();
    let scope = DeployScope { phases: phases.map(named), components: None };
    let wanted = deploy(&resolved, rendered, &version, base.as_ref(), &scope);
    environment
        .plan(&wanted, head, base.as_ref(), &PlanOptions::default(), Depth::Read, Storage::Lasting)
        .await
}

fn map(name: &str) -> Object {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"}, "data": {"a": "1"}});
    Object::from_value(map).expect("is an object")
}

async fn carry_out(setup: &Setup, planned: Planned) -> RunEnd {
    setup.environment().run(planned, &setup.options("tester")).await.expect("runs")
}

#[tokio::test(start_paused = true)]
async fn a_shared_object_stays_on_record_until_a_whole_deploy_takes_it_away() {
    let setup = Setup::of(GATED, 311);
    let planned = plan(&setup, "v1", None, &["old", "kept"]).await.expect("can be planned");
    assert!(succeeded(&carry_out(&setup, planned).await));
    let old = map("old").key().clone();
    let there = |key: &ObjectKey| setup.shared.world().get(key).is_some();
    for phase in ["first", "second"] {
        let planned = plan(&setup, "v2", Some(&[phase]), &["kept"]).await.expect("can be planned");
        let kept = |name: &str| {
            let known = planned.plan.unchanged.iter().filter(|kept| kept.desired.name() == name);
            known.map(|kept| kept.service.clone()).collect::<Vec<_>>()
        };
        assert_eq!((kept("old"), kept("kept")), (vec![None], vec![None]), "{phase}");
        assert!(succeeded(&carry_out(&setup, planned).await));
        assert!(there(&old));
    }
    let planned = plan(&setup, "v3", None, &["kept"]).await.expect("can be planned");
    assert!(succeeded(&carry_out(&setup, planned).await));
    assert!(!there(&old), "nobody else would ever take it away");
}

/// The process that takes an old gate again dies while it looks.
#[tokio::test(start_paused = true)]
async fn a_run_that_ends_while_it_takes_an_old_gate_again_goes_on_afterwards() {
    let setup = Setup::of(GATED, 312);
    let planned = plan(&setup, "v1", None, &[]).await.expect("can be planned");
    assert!(succeeded(&carry_out(&setup, planned).await));
    let planned = plan(&setup, "v2", None, &[]).await.expect("can be planned");
    setup.shared.world().faults.push(fault("never-ready web@v2"));
    let died = within(&*setup.runtime, Duration::from_secs(25), carry_out(&setup, planned)).await;
    assert!(died.is_none());
    setup.runtime.sleep(Duration::from_secs(2 * 3_600)).await;
    setup.shared.world().faults = vec![fault("slow smoke@v2")];
    let take_over = || async {
        let end = setup.environment().take_over(None, Wish::Resume, &setup.options("another")).await;
        end.expect("runs").expect("there is a run")
    };
    let smoke = || {
        let world = setup.shared.world();
        world.of_kind("Job").iter().filter(|job| job.items("/status/conditions").is_empty()).count()
    };
    let died = within(&*setup.runtime, Duration::from_secs(35), take_over()).await;
    assert!(died.is_none());
    assert_eq!(smoke(), 1, "the gate is being taken again");
    let end = take_over().await;
    assert!(succeeded(&end), "{end:?}");
}
