//! Objects of a source that several services share, or nobody.

use std::time::Duration;

use maily_core::{
    engine::{
        Depth, EnvironmentError, Plan, RunEnd, Storage, Wish, Work,
        planner::{JobSpec, PlanOptions},
    },
    object::Object,
    runtime::within,
};
use serde_json::{Value, json};

use crate::{
    setup::{Setup, fault, succeeded},
    shop::{Shop, components, deployment},
};

const PROJECT: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
sources:
  all: {manifests: '{version}.yaml'}
services:
  api: {from: all}
  web: {from: all}
";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

#[tokio::test(start_paused = true)]
async fn what_two_services_claim_or_nobody_is_listed_and_applied_before_them() {
    let shop = Shop::new(PROJECT, 121);
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "9"}}});
    let objects = [
        deployment("api", &["both", "own"]),
        deployment("web", &["both"]),
        map("both"),
        map("own"),
        map("lonely"),
        quota,
    ];
    shop.write("v1", &objects);
    let planned = shop.plan("v1").await.expect("can be planned");
    let plan = &planned.plan;
    let step = |id: &str| plan.steps.iter().find(|step| step.id.as_str() == id).expect(id);
    let objects = |id: &str| -> Vec<String> {
        step(id).work.changes().iter().map(|change| change.key.short()).collect()
    };
    assert_eq!(
        objects("production/shared/apply"),
        ["ResourceQuota/few", "ConfigMap/both", "ConfigMap/lonely"]
    );
    assert_eq!(objects("production/api/rollout"), ["ConfigMap/own", "Deployment/api"]);
    assert_eq!(objects("production/web/rollout"), ["Deployment/web"]);
    let place = |id: &str| plan.steps.iter().position(|step| step.id.as_str() == id).expect(id);
    for service in ["production/api/rollout", "production/web/rollout"] {
        assert!(place("production/shared/apply") < place(service));
        let needs: Vec<&str> = step(service).needs.iter().map(|need| need.as_str()).collect();
        assert_eq!(needs, ["production/shared/apply"]);
    }
    assert!(matches!(step("production/shared/apply").work, Work::Rollout { .. }));
    let mut told: Vec<&str> =
        plan.notes.iter().filter(|note| note.topic == "shared").map(|note| note.text.as_str()).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "ConfigMap/both is used by api, web: applied before the services",
            "ConfigMap/lonely belongs to no service: applied before the services",
            "ResourceQuota/few belongs to no service: applied before the services",
        ]
    );
    let end = shop.setup.environment().run(planned, &shop.setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    for (kind, name) in [("ConfigMap", "both"), ("ConfigMap", "lonely"), ("ResourceQuota", "few")] {
        let live = shop.live("v1", kind, Some("shop"), name).expect("is there");
        assert_eq!(live.label("maily.dev/project"), Some("shop"), "{name}");
        assert_eq!(live.label("maily.dev/service"), None, "{name}");
    }
    // They were written before any pod of the services was.
    let world = shop.setup.shared.world();
    let writes: Vec<&str> = world
        .log
        .iter()
        .filter(|call| call.operation == "write" && !call.resource.starts_with("Secret"))
        .map(|call| call.resource.as_str())
        .collect();
    let last = |name: &str| writes.iter().rposition(|resource| *resource == name).expect(name);
    for shared in ["ConfigMap shop/both", "ConfigMap shop/lonely", "ResourceQuota shop/few"] {
        for deployment in ["Deployment shop/api", "Deployment shop/web"] {
            assert!(last(shared) < last(deployment), "{shared} before {deployment}: {writes:?}");
        }
    }
}

/// A service may be called as what is no service.
const NAMESAKES: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
sources:
  all: {manifests: '{version}.yaml'}
services:
  phase: {from: all}
  shared: {from: all}
phases:
  - {name: rollout, environment: production, services: all}
";

#[tokio::test(start_paused = true)]
async fn a_service_that_is_called_shared_is_told_from_what_is_shared() {
    let shop = Shop::new(NAMESAKES, 122);
    let there = |name: &str| shop.live("v1", "ConfigMap", Some("shop"), name).is_some();
    let [phase, kept] = [deployment("phase", &[]), deployment("shared", &[])];
    shop.write("v1", &[phase.clone(), deployment("shared", &["own"]), map("own"), map("lonely")]);
    shop.write("v2", &[phase, kept]);
    for _ in 0..2 {
        assert!(succeeded(&shop.deploy("v1").await));
        assert!(there("own") && there("lonely"));
        // A version that drops one of each.
        assert!(succeeded(&shop.deploy("v2").await));
        assert!(!there("own") && !there("lonely"));
        assert!(succeeded(&shop.deploy("v1").await));
        let removal = within(&*shop.setup.runtime, Duration::from_secs(300), shop.run(shop.removal().await));
        assert!(succeeded(&removal.await.expect("ends")));
        assert!(!there("own") && !there("lonely"));
    }
}

/// A job of a service, without a way back.
fn migrate() -> JobSpec {
    let body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate", "namespace": "shop"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "r.example/a:1"}]}}}});
    let job = Object::from_value(body).expect("is an object");
    JobSpec { name: "migrate".into(), job, undo: None, timeout_s: None }
}

#[tokio::test(start_paused = true)]
async fn two_steps_of_one_name_are_no_plan() {
    let setup = Setup::new(123);
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let spec = migrate();
    let api = wanted.services.get_mut("api").expect("is there");
    api.before.push(spec.clone());
    api.after.push(spec);
    let head = environment.head().await.expect("can be read");
    let options = PlanOptions::default();
    let planned = environment.plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
    let Err(EnvironmentError::Problems(problems, _)) = planned else { panic!("{planned:?}") };
    let said = problems.to_string();
    assert!(said.contains("production/api/job/migrate") && said.contains("twice"), "{said}");
}

/// The second would find the first one's done.
#[tokio::test(start_paused = true)]
async fn two_jobs_of_one_name_are_no_plan() {
    let setup = Setup::new(319);
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let spec = migrate();
    wanted.services.get_mut("api").expect("is there").before.push(spec.clone());
    wanted.services.get_mut("worker").expect("is there").before.push(spec);
    let head = environment.head().await.expect("can be read");
    let options = PlanOptions::default();
    let planned = environment.plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
    let Err(EnvironmentError::Problems(problems, _)) = planned else { panic!("{planned:?}") };
    let said = problems.to_string();
    let parts = ["production/api/job/migrate", "production/worker/job/migrate", "Job shop/migrate"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
}

/// Two steps would write it, and nothing says in which order.
#[tokio::test(start_paused = true)]
pub(crate) async fn an_object_of_two_services_is_no_plan() {
    let setup = Setup::new(125);
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let of_api = wanted.services["api"].objects[0].clone();
    wanted.services.get_mut("worker").expect("is there").objects.push(of_api.clone());
    let head = environment.head().await.expect("can be read");
    let options = PlanOptions::default();
    let planned = environment.plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
    let Err(EnvironmentError::Problems(problems, _)) = planned else { panic!("{planned:?}") };
    let said = problems.to_string();
    assert!([&of_api.key().to_string(), "api", "worker"].iter().all(|what| said.contains(*what)), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_with_two_steps_of_one_name_is_refused() {
    let setup = Setup::new(124);
    let mut plan = setup.plan("v1", Depth::Read).await.expect("can be planned").plan;
    let again = plan.steps.first().expect("has steps").clone();
    let text = format!("the plan has step {} twice", again.id);
    plan.steps.push(again);
    let error = Plan::parse(&plan.sealed().to_text()).expect_err("is refused");
    assert_eq!(error.to_string(), text);
}

/// What a part leaves out is handed on, too, and a plan of a part is no older for it.
#[tokio::test(start_paused = true)]
async fn what_a_run_has_left_of_the_shared_objects_is_not_forgotten_by_a_part() {
    let shop = Shop::new(PROJECT, 134);
    shop.write("v1", &[deployment("api", &[]), deployment("web", &[])]);
    shop.write("v2", &[map("x"), deployment("api", &["x"]), deployment("web", &["x"])]);
    assert!(succeeded(&shop.deploy("v1").await));
    let x = || shop.live("v1", "ConfigMap", Some("shop"), "x");
    shop.setup.shared.world().faults.push(fault("never-ready web"));
    let died = within(&*shop.setup.runtime, Duration::from_secs(5), shop.deploy("v2")).await;
    assert!(died.is_none());
    shop.setup.shared.world().faults.clear();
    assert!(x().is_some());
    let left = shop.setup.environment().take_over(None, Wish::Leave, &shop.setup.options("second")).await;
    assert!(matches!(left, Ok(Some(RunEnd::Over { .. }))), "{left:?}");
    let part = shop.part("v2", components(&["web"])).await.expect("can be planned");
    let adopted = shop.setup.environment().adopt_plan(part.plan).await.expect("fits");
    assert!(succeeded(&shop.run(adopted).await));
    let planned = shop.plan("v1").await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!(x(), None);
}
