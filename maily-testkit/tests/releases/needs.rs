//! Needs that cross phases.

use std::time::Duration;

use maily_core::{
    engine::{
        Depth, EnvironmentError, Goal, Planned, Storage,
        planner::{PlanOptions, Wanted, WantedPhase, WantedService},
    },
    object::{Object, ObjectKey, ObjectKind},
    provider::Precondition,
    release::{PrepareError, RollbackTo},
};
use serde_json::json;

use crate::{
    setup::{Setup, fault, succeeded},
    shop::{Shop, components, notes},
};

fn phase(name: &str, services: &[&str]) -> WantedPhase {
    WantedPhase {
        name: name.into(),
        services: services.iter().map(|service| (*service).to_owned()).collect(),
        gates: Vec::new(),
    }
}

async fn plan(setup: &Setup, wanted: &Wanted) -> Result<Planned, EnvironmentError> {
    let environment = setup.environment();
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let options = PlanOptions::default();
    environment.plan(wanted, head, base.as_ref(), &options, Depth::Read, Storage::Lasting).await
}

/// The pods of the service go, and no others become ready.
async fn break_down(setup: &Setup, name: &str) {
    setup.shared.world().faults.push(fault(&format!("slow {name}")));
    let pods: Vec<ObjectKey> =
        setup.shared.world().of_kind("Pod").iter().map(|pod| pod.key().clone()).collect();
    for pod in pods.iter().filter(|pod| pod.name.starts_with(&format!("{name}-"))) {
        setup.shared.world().delete(pod, &Precondition::Any).expect("can be deleted");
    }
    setup.runtime.sleep(Duration::from_secs(5)).await;
    let deployment = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), name);
    assert!(setup.shared.world().get(&deployment).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_need_on_a_later_phase_is_met_by_what_serves_and_by_nothing_else() {
    let setup = Setup::new(51);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.runtime.sleep(Duration::from_secs(60)).await;
    let mut wanted = setup.wanted("v2").await;
    wanted.phases = vec![phase("first", &["web", "worker", "queue"]), phase("second", &["api"])];
    plan(&setup, &wanted).await.expect("all serve");
    break_down(&setup, "api").await;
    let said = plan(&setup, &wanted).await.expect_err("none serves").to_string();
    assert!(said.contains("web needs api") && said.contains("not ready"), "{said}");
    assert!(said.contains("--components api"), "the way out at night: {said}");
}

/// A version in which a service has a second Deployment.
async fn with_a_second(setup: &Setup, version: &str, service: &str, name: &str) -> Wanted {
    let mut wanted = setup.wanted(version).await;
    let objects = &mut wanted.services[service].objects;
    let own = objects.iter().find(|object| object.kind() == "Deployment").expect("has one");
    let mut body = own.to_value();
    body["metadata"]["name"] = json!(name);
    body["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] = json!(name);
    body["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] = json!(name);
    objects.push(Object::from_value(body).expect("is an object"));
    wanted
}

#[tokio::test(start_paused = true)]
async fn a_need_of_which_a_part_is_gone_is_not_met() {
    let setup = Setup::new(58);
    let wanted = with_a_second(&setup, "v1", "api", "api-worker").await;
    let planned = plan(&setup, &wanted).await.expect("can be planned");
    assert!(succeeded(&setup.environment().run(planned, &setup.options("tester")).await.expect("runs")));
    setup.runtime.sleep(Duration::from_secs(60)).await;
    let mut wanted = with_a_second(&setup, "v2", "api", "api-worker").await;
    wanted.phases = vec![phase("first", &["web", "worker", "queue"]), phase("second", &["api"])];
    plan(&setup, &wanted).await.expect("all serve");
    for name in ["api-worker", "api"] {
        let kind = ObjectKind::new("apps/v1", "Deployment");
        let key = ObjectKey::new(kind, Some("shop"), name);
        setup.shared.world().delete(&key, &Precondition::Any).expect("a person may");
        let said = plan(&setup, &wanted).await.expect_err("it is not whole").to_string();
        let gone = match name {
            "api-worker" => "not ready now: Deployment/api-worker does not exist",
            _ => "web needs api, which comes in a later phase and does not run yet",
        };
        assert!(said.contains(gone), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn needs_of_what_stays_as_it_is_are_not_looked_at() {
    let setup = Setup::new(52);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.runtime.sleep(Duration::from_secs(60)).await;
    break_down(&setup, "api").await;
    let mut wanted = setup.wanted("v2").await;
    wanted.phases = vec![phase("first", &["web"]), phase("second", &["api"])];
    let as_before = setup.wanted("v1").await.services.swap_remove("web").expect("is there");
    wanted.services.insert("web".to_owned(), as_before);
    let planned = plan(&setup, &wanted).await.expect("web has nothing to wait for");
    assert!(planned.plan.steps.iter().all(|step| step.service.as_deref() != Some("web")));
}

#[tokio::test(start_paused = true)]
async fn a_way_back_is_not_refused_because_of_what_it_mends() {
    let setup = Setup::new(53);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.runtime.sleep(Duration::from_secs(60)).await;
    break_down(&setup, "api").await;
    let mut wanted = setup.wanted("v2").await;
    wanted.phases = vec![phase("first", &["web"]), phase("second", &["api"])];
    wanted.goal = Goal::Rollback {
        to: "v2".into(),
        release: None,
        origins: std::collections::BTreeMap::new(),
        only: None,
    };
    let planned = plan(&setup, &wanted).await.expect("is planned with a word");
    let said = notes(&planned, "needs");
    assert!(
        matches!(&said[..], [said] if said.contains("web needs api") && said.contains("not ready")),
        "{said:?}"
    );
    // Also where it brings what is not there.
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    setup.shared.world().delete(&key, &Precondition::Any).expect("can be deleted");
    let planned = plan(&setup, &wanted).await.expect("is planned with a word");
    let said = notes(&planned, "needs");
    assert!(matches!(&said[..], [said] if said.contains("does not run")), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_need_without_pods_of_its_own_is_met_where_it_was_released() {
    let setup = Setup::new(54);
    let night = |schedule: &str| {
        let body = json!({"apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": {"name": "night", "namespace": "shop"},
            "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "a", "image": "r.example/a:1"}]}}}}}});
        let objects = vec![Object::from_value(body).expect("is an object")];
        WantedService { version: "v1".into(), objects, timeout_s: Some(60), ..WantedService::default() }
    };
    let mut wanted = setup.wanted("v1").await;
    wanted.services.insert("night".to_owned(), night("0 0 * * *"));
    wanted.services.get_mut("web").expect("is there").needs.push("night".to_owned());
    wanted.phases = vec![phase("first", &["api", "web"]), phase("second", &["night", "worker", "queue"])];
    let said = plan(&setup, &wanted).await.expect_err("it was never there").to_string();
    assert!(said.contains("web needs night, which comes in a later phase"), "{said}");
    wanted.phases = vec![phase("first", &["night", "worker", "queue"]), phase("second", &["api", "web"])];
    let planned = plan(&setup, &wanted).await.expect("can be planned");
    let end = setup.environment().run(planned, &setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    let mut next = setup.wanted("v2").await;
    next.services.insert("night".to_owned(), night("0 1 * * *"));
    next.services.get_mut("web").expect("is there").needs.push("night".to_owned());
    next.phases = vec![phase("first", &["api", "web"]), phase("second", &["night", "worker", "queue"])];
    plan(&setup, &next).await.expect("it is there");
}

const PARTED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
data:
  database: {host: db.example}
services:
  api: {needs: [database], workload: {port: 8000, scale: 1}, timeout: 20m}
  web: {needs: [api, database], workload: {port: 8080, scale: 1}}
";

#[tokio::test(start_paused = true)]
async fn a_need_that_the_plan_does_not_bring_is_told() {
    let shop = Shop::new(PARTED, 55);
    let error = shop.part("v1", components(&["web"])).await.expect_err("api never ran");
    assert!(matches!(&error, PrepareError::Environment(EnvironmentError::Problems(..))), "{error}");
    let said = error.to_string();
    assert!(
        said.contains("web needs api, which this plan does not bring and which does not run yet"),
        "{said}"
    );
    assert!(!said.contains("database"), "{said}");
    shop.part("v1", components(&["api"])).await.expect("needs no service");
    assert!(succeeded(&shop.deploy("v1").await));
    let planned = shop.part("v2", components(&["web"])).await.expect("api runs");
    assert_eq!(notes(&planned, "needs"), [""; 0]);
    // What else is broken is no reason to refuse what somebody wants to mend.
    break_down(&shop.setup, "api").await;
    let planned = shop.part("v2", components(&["web"])).await.expect("is planned with a word");
    let said = notes(&planned, "needs");
    assert!(
        matches!(&said[..], [said] if said.contains("web needs api") && said.contains("not ready")),
        "{said:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn order_goes_through_what_stays_as_it_is() {
    let setup = Setup::new(56);
    assert!(succeeded(&setup.deploy("v1").await));
    let mut wanted = setup.wanted("v2").await;
    let mut between = setup.wanted("v1").await.services.swap_remove("worker").expect("is there");
    between.needs = vec!["api".to_owned(), "queue".to_owned()];
    wanted.services.insert("worker".to_owned(), between);
    wanted.services.get_mut("web").expect("is there").needs = vec!["worker".to_owned()];
    let planned = plan(&setup, &wanted).await.expect("can be planned");
    let step = planned.plan.steps.iter().find(|step| step.service.as_deref() == Some("web"));
    let needs: Vec<&str> = step.expect("changes").needs.iter().map(|need| need.as_str()).collect();
    assert_eq!(needs, ["production/api/rollout", "production/queue/rollout"]);
}

/// The time of the command line is that of every service, on a way back as on a deploy.
#[tokio::test(start_paused = true)]
async fn the_time_of_a_way_back_is_that_of_its_option() {
    let shop = Shop::new(PARTED, 57);
    assert!(succeeded(&shop.deploy("v1").await));
    assert!(succeeded(&shop.deploy("v2").await));
    let times = |planned: &Planned| -> Vec<(String, u64)> {
        let rollouts = planned.plan.steps.iter().filter(|step| step.service.is_some());
        rollouts.map(|step| (step.id.to_string(), step.timeout_s)).collect()
    };
    let of = |api: u64, web: u64| {
        vec![("production/api/rollout".to_owned(), api), ("production/web/rollout".to_owned(), web)]
    };
    let back = |timeout_s| {
        let to = RollbackTo::Version("v1".into());
        shop.back(to, None, PlanOptions { timeout_s, ..PlanOptions::default() })
    };
    assert_eq!(times(&back(Some(45)).await.expect("can be planned")), of(45, 45));
    assert_eq!(times(&back(None).await.expect("can be planned")), of(1200, 600));
}

const KEPT: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  database: {workload: {port: 5432, scale: 1}}
  cache: {image: 'registry.example/cache:1', needs: [database], workload: {port: 6379, scale: 2}}
  web: {needs: [cache], workload: {port: 8080, scale: 1}}
";

#[tokio::test(start_paused = true)]
async fn a_need_that_stays_as_it_is_and_does_not_serve_is_met_by_nobody() {
    let setup = Setup::of(KEPT, 59);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.runtime.sleep(Duration::from_secs(60)).await;
    // Nothing but the web changes, or also what the cache itself needs.
    let whole = setup.wanted("v2").await;
    let mut wanted = whole.clone();
    let as_before = setup.wanted("v1").await.services.swap_remove("database").expect("is there");
    wanted.services.insert("database".to_owned(), as_before);
    let told = async |wanted: &Wanted| notes(&plan(&setup, wanted).await.expect("is planned"), "needs");
    assert_eq!((told(&wanted).await, told(&whole).await), (Vec::new(), Vec::new()));
    // One of its pods is missing: the other one answers.
    setup.shared.world().faults.push(fault("slow cache"));
    let pod = setup
        .shared
        .world()
        .of_kind("Pod")
        .iter()
        .map(|pod| pod.key().clone())
        .find(|key| key.name.starts_with("cache-"));
    setup.shared.world().delete(&pod.expect("is there"), &Precondition::Any).expect("can be deleted");
    setup.runtime.sleep(Duration::from_secs(5)).await;
    let said = told(&wanted).await;
    assert!(
        matches!(&said[..], [said] if said.contains("web needs cache, which this plan leaves as it is")),
        "{said:?}"
    );
    break_down(&setup, "cache").await;
    let said = plan(&setup, &wanted).await.expect_err("none serves").to_string();
    assert!(
        said.contains("web needs cache, which this plan leaves as it is and which is not ready"),
        "{said}"
    );
    assert!(said.contains("--components web"), "the way out at night: {said}");
    // What the plan brings may be what the cache waits for.
    assert_eq!(told(&whole).await.len(), 1);
}

const DEPENDENT: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  settings: {workload: {port: 8001, scale: 1}}
  store: {image: 'registry.example/store:1', workload: {port: 5432, scale: 1}}
  api: {needs: [store], workload: {port: 8000, scale: 1}}
  mails: {needs: [store], workload: {port: 8002, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
";

/// A release of v1 whose store does not serve any more, and v2 of all that needs it.
async fn without_a_store(seed: u64) -> (Shop, Wanted) {
    let shop = Shop::new(DEPENDENT, seed);
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.runtime.sleep(Duration::from_secs(60)).await;
    break_down(&shop.setup, "store").await;
    let mut wanted = shop.setup.wanted("v2").await;
    let as_before = shop.setup.wanted("v1").await.services.swap_remove("settings").expect("is there");
    wanted.services.insert("settings".to_owned(), as_before);
    (shop, wanted)
}

#[tokio::test(start_paused = true)]
async fn a_need_that_does_not_serve_refuses_only_what_comes_after_it() {
    let (shop, wanted) = without_a_store(61).await;
    let setup = &shop.setup;
    let refused = plan(setup, &wanted).await.expect_err("all of it waits for the store").to_string();
    let [problem, help] = refused.lines().collect::<Vec<_>>()[..] else { panic!("{refused}") };
    assert!(
        problem.starts_with("api and mails and web need store, which this plan leaves as it is"),
        "{refused}"
    );
    assert!(help.contains("a deploy with `--components api,mails,web` does not wait for it"), "{refused}");
    shop.part("v2", components(&["api", "mails", "web"])).await.expect("the way out is one");
    // What mends it may stand anywhere in the plan, whoever wrote down what it needs: in what changes beside it,
    let told = async |wanted: &Wanted| notes(&plan(setup, wanted).await.expect("is planned"), "needs");
    let said = told(&setup.wanted("v2").await).await;
    assert!(matches!(&said[..], [said] if said.starts_with("api and mails and web need store")), "{said:?}");
    // or in what goes.
    let mut without = wanted.clone();
    without.services.swap_remove("settings");
    without.phases.iter_mut().for_each(|phase| phase.services.retain(|name| name != "settings"));
    without.prune.insert("settings".to_owned());
    assert_eq!(told(&without).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_need_that_got_another_name_is_met_by_what_serves_and_by_nothing_else() {
    let (shop, mut wanted) = without_a_store(62).await;
    let renamed = wanted.services.swap_remove("store").expect("is there");
    wanted.services.insert("vault".to_owned(), renamed);
    for service in ["api", "mails"] {
        wanted.services[service].needs = vec!["vault".to_owned()];
    }
    wanted.phases.iter_mut().flat_map(|phase| &mut phase.services).for_each(|name| {
        if name == "store" {
            "vault".clone_into(name);
        }
    });
    let said = plan(&shop.setup, &wanted).await.expect_err("none serves").to_string();
    assert!(
        said.contains("need vault, which this plan leaves as it is and which is not ready now"),
        "{said}"
    );
}

/// Who begins anew has no release that tells what was there, and may not name components.
#[tokio::test(start_paused = true)]
async fn who_begins_anew_is_told_of_a_need_that_does_not_serve() {
    let (shop, mut wanted) = without_a_store(63).await;
    let environment = shop.setup.environment();
    let anew = async |wanted: &Wanted| {
        let head = environment.head().await.expect("can be read");
        let options = PlanOptions::default();
        let planned = environment.plan(wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
        notes(&planned.expect("is planned"), "needs")
    };
    let said = anew(&wanted).await;
    assert!(
        matches!(&said[..], [said] if said.contains("need store") && said.contains("not ready")),
        "{said:?}"
    );
    // What has no pods at all is there, as nothing of it changes.
    wanted.services["store"].objects.retain(|object| object.kind() == "Service");
    assert_eq!(anew(&wanted).await, [""; 0]);
    // One that comes later in the plan, too.
    let mut wanted = shop.setup.wanted("v2").await;
    break_down(&shop.setup, "api").await;
    wanted.services.get_mut("api").expect("is there").needs.clear();
    wanted.services.get_mut("mails").expect("is there").needs.clear();
    wanted.phases = vec![phase("first", &["web"]), phase("second", &["settings", "store", "mails", "api"])];
    let said = anew(&wanted).await;
    assert!(
        matches!(&said[..], [said] if said.contains("web needs api, which comes in a later phase")),
        "{said:?}"
    );
}
