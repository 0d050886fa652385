//! Deploys of some phases, and gates between them.

use std::time::Duration;

use maily_core::{
    engine::{Depth, EnvironmentError, Outcome, Planned, RunEnd, Storage, Wish, planner::PlanOptions},
    object::{Object, ObjectKey},
    release::{DeployScope, RollbackTo, deploy},
    runtime::within,
    source::{ProgramTools, RenderRequest, render},
};
use serde_json::json;

use crate::{
    setup::{Setup, fault, succeeded},
    shop::{Shop, components, deployment, notes, phases},
};

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
    let request = RenderRequest { resolved: &resolved, version: &version, only: None, accept_new: false };
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

#[tokio::test(start_paused = true)]
async fn a_phase_in_which_only_shared_objects_change_has_its_gates() {
    let setup = Setup::of(GATED, 313);
    let planned = plan(&setup, "v1", None, &["one"]).await.expect("can be planned");
    assert!(succeeded(&carry_out(&setup, planned).await));
    let planned = plan(&setup, "v1", None, &["one", "two"]).await.expect("can be planned");
    let steps: Vec<&str> = planned.plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        steps,
        ["production/shared/apply", "production/first/gate/smoke", "production/first/phase-end"]
    );
    assert!(succeeded(&carry_out(&setup, planned).await));
    let planned = plan(&setup, "v1", None, &["one", "two"]).await.expect("can be planned");
    assert!(planned.plan.is_empty(), "nothing changes, and nothing looks");
}

/// Each phase is looked at by a Job of its own: that the first one passed says nothing of what came later.
#[tokio::test(start_paused = true)]
async fn a_gate_of_two_phases_looks_at_the_end_of_each() {
    const TWICE: &str = "services: [web]}\n";
    let project = GATED.replace(TWICE, "services: [web], gates: [smoke]}\n");
    let setup = Setup::of(Box::leak(project.into_boxed_str()), 318);
    let planned = plan(&setup, "v1", None, &[]).await.expect("can be planned");
    let gates = planned.plan.steps.iter().filter(|step| step.is_gate()).count();
    assert_eq!(gates, 2);
    assert!(succeeded(&carry_out(&setup, planned).await));
    let looked = |version: &str| {
        let image = json!(format!("registry.example/shop/smoke:{version}"));
        let is_of = |job: &&Object| job.at("/spec/template/spec/containers/0/image") == Some(&image);
        setup.shared.world().of_kind("Job").into_iter().filter(is_of).count()
    };
    assert_eq!(looked("v1"), 2);
    let planned = plan(&setup, "v2", None, &[]).await.expect("can be planned");
    let breaks = async {
        let serves = |version: &str| {
            let image = json!(format!("registry.example/shop/web:{version}"));
            let world = setup.shared.world();
            let web = world.of_kind("Deployment").into_iter().find(|object| object.name() == "web");
            web.is_some_and(|web| web.at("/spec/template/spec/containers/0/image") == Some(&image))
        };
        while !serves("v2") {
            setup.runtime.sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(looked("v2"), 1, "the first phase has passed");
        setup.shared.world().faults.push(fault("crash smoke@v2"));
    };
    let (end, ()) = futures::future::join(carry_out(&setup, planned), breaks).await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
}

const MANIFESTS: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
sources:
  all: {manifests: '{version}.yaml'}
services:
  api: {critical: true, from: all}
  web: {from: all}
phases:
  - {name: first, environment: production, services: non-critical}
  - {name: second, environment: production, services: critical}
";

/// Manifests in which these read `settings`, if it is there, and each has an image of the version.
fn reading(shop: &Shop, version: &str, api: bool, web: bool) {
    let reads = |reads: bool| if reads { &["settings"][..] } else { &[] };
    let mut objects = vec![deployment("api", reads(api)), deployment("web", reads(web))];
    for object in &mut objects {
        let name = object["metadata"]["name"].as_str().expect("has one").to_owned();
        object["spec"]["template"]["spec"]["containers"][0]["image"] =
            json!(format!("registry.example/{name}:{version}"));
    }
    if api || web {
        objects.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
            "data": {"of": version}}));
    }
    shop.write(version, &objects);
}

fn settings(shop: &Shop) -> Option<String> {
    let live = shop.live("v1", "ConfigMap", Some("shop"), "settings")?;
    live.text("/data/of").map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn a_part_leaves_what_others_share_also_where_it_would_have_it_alone() {
    let shop = Shop::new(MANIFESTS, 314);
    reading(&shop, "v0", false, true);
    reading(&shop, "v1", true, true);
    reading(&shop, "v2", false, true);
    reading(&shop, "v3", false, false);
    assert!(succeeded(&shop.deploy("v0").await));
    assert_eq!(shop.owner("settings").await, Some(Some("web".to_owned())));
    assert!(succeeded(&shop.deploy("v1").await));
    assert_eq!(shop.owner("settings").await, Some(None));
    let planned = shop.part("v2", components(&["web"])).await.expect("can be planned");
    let said = notes(&planned, "shared-left-out");
    assert!(matches!(&said[..], [said] if said.contains("ConfigMap/settings would change")), "{said:?}");
    assert!(succeeded(&shop.run(planned).await));
    // A way back of a part does the same.
    let to = RollbackTo::Version("v0".into());
    let planned = shop.back(to, Some(&["web"]), PlanOptions::default()).await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!((shop.owner("settings").await, settings(&shop).as_deref()), (Some(None), Some("v1")));
    let planned = shop.part("v3", components(&["web"])).await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!((shop.owner("settings").await, settings(&shop).as_deref()), (Some(None), Some("v1")));
    // All of a version decides anew.
    assert!(succeeded(&shop.deploy("v2").await));
    assert_eq!(shop.owner("settings").await, Some(Some("web".to_owned())));
    assert!(succeeded(&shop.deploy("v3").await));
    assert_eq!((shop.owner("settings").await, settings(&shop)), (None, None));
}

#[tokio::test(start_paused = true)]
async fn some_phases_leave_shared_what_they_would_have_alone() {
    let shop = Shop::new(MANIFESTS, 315);
    reading(&shop, "v1", true, true);
    reading(&shop, "v2", false, true);
    reading(&shop, "v3", false, false);
    assert!(succeeded(&shop.deploy("v1").await));
    let planned = shop.part("v2", phases(&["first"])).await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!((shop.owner("settings").await, settings(&shop).as_deref()), (Some(None), Some("v2")));
    let planned = shop.part("v3", phases(&["first"])).await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!(settings(&shop).as_deref(), Some("v2"));
}

#[tokio::test(start_paused = true)]
async fn what_a_part_brings_and_another_service_had_moves_with_a_word() {
    let shop = Shop::new(MANIFESTS, 316);
    reading(&shop, "v1", true, false);
    reading(&shop, "v2", true, true);
    reading(&shop, "v3", false, true);
    // To be shared from now on.
    assert!(succeeded(&shop.deploy("v1").await));
    let planned = shop.part("v2", phases(&["first"])).await.expect("can be planned");
    let said = notes(&planned, "moves");
    assert_eq!(said, ["ConfigMap/settings moves from api to the shared objects"]);
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!((shop.owner("settings").await, settings(&shop).as_deref()), (Some(None), Some("v2")));
    // To another service.
    for scope in [phases(&["first"]), components(&["web"])] {
        assert!(succeeded(&shop.deploy("v1").await));
        let before = shop.released().await.head.id;
        let planned = shop.part("v3", scope).await.expect("can be planned");
        assert_eq!(notes(&planned, "moves"), ["ConfigMap/settings moves from api to web"]);
        assert!(succeeded(&shop.run(planned).await));
        let owner = shop.owner("settings").await;
        assert_eq!((owner, settings(&shop).as_deref()), (Some(Some("web".to_owned())), Some("v3")));
        // And back.
        let to = RollbackTo::Release(before);
        let planned = shop.back(to, Some(&["api"]), PlanOptions::default()).await.expect("can be planned");
        assert_eq!(notes(&planned, "moves"), ["ConfigMap/settings moves from web to api"]);
        assert!(succeeded(&shop.run(planned).await));
        let owner = shop.owner("settings").await;
        assert_eq!((owner, settings(&shop).as_deref()), (Some(Some("api".to_owned())), Some("v1")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_way_back_out_of_several_releases_has_every_object_once() {
    let shop = Shop::new(MANIFESTS, 317);
    reading(&shop, "v1", true, false);
    reading(&shop, "v2", false, false);
    assert!(succeeded(&shop.deploy("v1").await));
    assert!(succeeded(&shop.deploy("v2").await));
    reading(&shop, "v1", false, true);
    let planned = shop.part("v1", components(&["web"])).await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
    assert!(succeeded(&shop.deploy("v2").await));
    // Of the newer release is web, of the older one api, and both had it.
    let to = RollbackTo::Version("v1".into());
    let planned = shop.back(to, None, PlanOptions::default()).await.expect("can be planned");
    assert_eq!(
        notes(&planned, "moves"),
        ["ConfigMap/settings was of api and of web in their releases: it is of web"]
    );
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!(shop.owner("settings").await, Some(Some("web".to_owned())));
}
