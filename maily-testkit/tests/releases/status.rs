//! What `status` says of an environment: only what was looked at, and all of it although a look fails at first.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt as _;
use maily_core::{
    engine::{
        Depth, Outcome, RunEnd, Storage,
        planner::{PlanOptions, WantedService},
    },
    model::Fencing,
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        ErrorKind, FrontendDeployment, FrontendHost, LogOptions, Precondition, Production, ProviderError,
    },
    release::{self, status},
    runtime::within,
};
use maily_testkit::sim::SimFrontend;
use serde_json::{Value, json};

use crate::{
    hindered::Hindered,
    setup::{Setup, fault, succeeded},
};

const SITE: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  site: {vercel: {project: site, domain: shop.example}}
";

async fn told(setup: &Setup) -> Value {
    let status = status(&setup.environment(), &setup.resolved()).await.expect("can be read");
    serde_json::to_value(&status).expect("is JSON")
}

/// State, reason, next version and drift of a service.
async fn service(setup: &Setup, name: &str) -> (Value, String, Value, Value) {
    let status = told(setup).await;
    let services = status["services"].as_array().expect("is a list").iter();
    let one = services.into_iter().find(|one| one["name"] == name).expect("is there");
    let why = one["why"].as_str().unwrap_or_default().to_owned();
    (one["state"].clone(), why, one["next"].clone(), one["drift"].clone())
}

/// A site that shows v1.
async fn site(seed: u64) -> (Setup, SimFrontend) {
    let mut setup = Setup::of(SITE, seed);
    let host = SimFrontend::new(Arc::clone(&setup.shared), "production");
    setup.frontend = Some(Arc::new(host.clone()));
    assert!(succeeded(&setup.deploy("v1").await));
    (setup, host)
}

#[tokio::test(start_paused = true)]
async fn a_frontend_serves_where_its_domain_was_seen_to_show_it() {
    let (mut setup, host) = site(51).await;
    assert_eq!(service(&setup, "site").await, (json!("serving"), String::new(), Value::Null, json!([])));
    // Somebody shows another deployment by hand.
    let hotfix = host.create("site", "hotfix", &BTreeMap::new()).await.expect("is made");
    setup.runtime.sleep(Duration::from_secs(5)).await;
    host.promote("site", &hotfix.id, Some("shop.example")).await.expect("is ready");
    let (state, why, ..) = service(&setup, "site").await;
    assert_eq!(state, "progressing");
    assert!(why.contains("`shop.example` is being changed to"), "{why}");
    setup.runtime.sleep(Duration::from_secs(5)).await;
    let (state, why, _, drift) = service(&setup, "site").await;
    assert_eq!(state, "drifted");
    assert!(why.starts_with(&format!("`shop.example` shows hotfix ({})", hotfix.id)), "{why}");
    assert_eq!(drift, json!([why]));
    // The next release of it shows its own again.
    assert!(succeeded(&setup.deploy("v2").await));
    assert_eq!(service(&setup, "site").await.0, "serving");
    // Nobody was asked.
    setup.frontend = None;
    let (state, why, ..) = service(&setup, "site").await;
    assert_eq!((state, why.as_str()), (json!("unknown"), "no frontend host is set up"));
}

#[tokio::test(start_paused = true)]
async fn what_a_run_shows_on_its_way_is_no_drift() {
    let (setup, _) = site(52).await;
    setup.shared.world().faults.push(fault("slow api@v2"));
    let left = within(&*setup.runtime, Duration::from_secs(12), setup.deploy("v2")).await;
    assert!(left.is_none());
    assert_eq!(service(&setup, "site").await, (json!("serving"), String::new(), json!("v2"), json!([])));
}

#[tokio::test(start_paused = true)]
async fn a_frontend_that_the_file_does_not_know_and_a_host_that_is_away_are_not_known() {
    let (mut setup, host) = site(53).await;
    setup.project = "{maily: 1, project: shop, environments: {production: {namespace: shop}}, services: {}}";
    let (state, why, ..) = service(&setup, "site").await;
    assert_eq!(state, "unknown");
    assert!(why.contains("no frontend of this name"), "{why}");
    setup.project = SITE;
    setup.frontend = Some(Arc::new(Away(host)));
    let (state, why, ..) = service(&setup, "site").await;
    assert_eq!(state, "unknown");
    assert!(why.contains("is away"), "{why}");
    assert_eq!(service(&setup, "api").await.0, "serving");
}

/// A host that does not answer what is shown.
#[derive(Debug)]
struct Away(SimFrontend);

#[async_trait]
impl FrontendHost for Away {
    async fn create(
        &self,
        project: &str,
        version: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<FrontendDeployment, ProviderError> {
        self.0.create(project, version, tags).await
    }

    async fn get(&self, project: &str, id: &str) -> Result<Option<FrontendDeployment>, ProviderError> {
        self.0.get(project, id).await
    }

    async fn find(
        &self,
        project: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<FrontendDeployment>, ProviderError> {
        self.0.find(project, tags).await
    }

    async fn production(&self, project: &str, _: Option<&str>) -> Result<Production, ProviderError> {
        Err(ProviderError::new(ErrorKind::Unavailable, "frontend", "read", project, "the host is away"))
    }

    async fn promote(&self, project: &str, id: &str, domain: Option<&str>) -> Result<(), ProviderError> {
        self.0.promote(project, id, domain).await
    }

    async fn remove(&self, project: &str, id: &str) -> Result<(), ProviderError> {
        self.0.remove(project, id).await
    }
}

/// A service of this object.
async fn with_object(setup: &Setup, name: &str, object: Value) {
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let objects = vec![Object::from_value(object).expect("is an object")];
    let service =
        WantedService { version: "v1".into(), objects, timeout_s: Some(60), ..WantedService::default() };
    wanted.services.insert(name.to_owned(), service);
    wanted.phases[0].services.push(name.to_owned());
    let head = environment.head().await.expect("can be read");
    let options = PlanOptions::default();
    let planned = environment.plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
    let end = environment.run(planned.expect("can be planned"), &setup.options("tester")).await;
    assert!(succeeded(&end.expect("runs")));
}

#[tokio::test(start_paused = true)]
async fn a_service_without_pods_of_its_own_is_not_said_to_serve() {
    for (kind, object) in [
        (
            ObjectKind::new("batch/v1", "CronJob"),
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec":
                {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "r.example/a:1"}]}}}}}}),
        ),
        (
            ObjectKind::new("v1", "ConfigMap"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}),
        ),
    ] {
        let setup = Setup::new(54);
        let mut object = object;
        object["metadata"] = json!({"name": "night", "namespace": "shop"});
        with_object(&setup, "night", object).await;
        let (state, why, ..) = service(&setup, "night").await;
        assert_eq!(state, "unknown", "{kind:?}");
        assert!(why.starts_with("nothing to judge"), "{why}");
        assert_eq!(service(&setup, "api").await.0, "serving");
        let key = ObjectKey::new(kind, Some("shop"), "night");
        setup.shared.world().delete(&key, &Precondition::Any).expect("a person may");
        let (state, why, ..) = service(&setup, "night").await;
        assert_eq!(state, "missing");
        assert!(why.ends_with("/night does not exist"), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_once_is_repeated_wherever_it_happens() {
    let mut setup = Setup::fenced(55).await;
    setup.project = SITE;
    setup.frontend = Some(Arc::new(SimFrontend::new(Arc::clone(&setup.shared), "production")));
    assert!(succeeded(&setup.deploy("v1").await));
    let calm = told(&setup).await;
    let mut met = 0;
    // A request takes 2 ms.
    for at in (1..120).step_by(2) {
        let trouble = async {
            setup.runtime.sleep(Duration::from_millis(at)).await;
            setup.shared.world().faults.push(fault("api-down 1"));
        };
        let (seen, ()) =
            futures::future::join(status(&setup.environment(), &setup.resolved()), trouble).await;
        let seen = seen.unwrap_or_else(|error| panic!("after {at} ms: {error}"));
        assert_eq!(serde_json::to_value(&seen).expect("is JSON"), calm, "after {at} ms");
        met += usize::from(setup.shared.world().faults.is_empty());
        setup.shared.world().faults.clear();
    }
    assert!((10..60).contains(&met), "{met} looks were disturbed");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_has_turned_off_does_not_serve_and_a_plan_says_so() {
    let setup = Setup::new(59);
    assert!(succeeded(&setup.deploy("v1").await));
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "web");
    let off = json!({"spec": {"replicas": 0}});
    setup.shared.world().edit_as("kubectl-scale", &key, off).expect("a person may");
    setup.runtime.sleep(Duration::from_secs(60)).await;
    let (state, why, ..) = service(&setup, "web").await;
    assert_eq!((state, &*why), (json!("stopped"), "Deployment/web is to have no pods"));
    assert_eq!(service(&setup, "api").await.0, json!("serving"));
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    let told =
        |topic: &str| planned.plan.notes.iter().any(|note| note.topic == topic && note.text.contains("web"));
    assert!(told("stopped"), "{:?}", planned.plan.notes);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_adds_inside_of_a_list_is_told() {
    let setup = Setup::new(64);
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "reads", "namespace": "shop"}, "rules": [rule.clone()]});
    with_object(&setup, "reads", role).await;
    let mut more = rule;
    more["resourceNames"] = json!(["one"]);
    let key = ObjectKey::new(ObjectKind::new("rbac.authorization.k8s.io/v1", "Role"), Some("shop"), "reads");
    setup.shared.world().edit_as("kubectl-edit", &key, json!({"rules": [more]})).expect("a person may");
    let (.., drift) = service(&setup, "reads").await;
    let drift = drift.to_string();
    assert!(drift.contains("Role/reads: rules [") && drift.contains("(by kubectl-edit)"), "{drift}");
}

#[tokio::test(start_paused = true)]
async fn a_label_that_somebody_has_changed_is_told() {
    let setup = Setup::new(60);
    assert!(succeeded(&setup.deploy("v1").await));
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "web");
    let other =
        json!({"metadata": {"labels": {"maily.dev/project": "other", "maily.dev/environment": null}}});
    setup.shared.world().edit_as("kubectl-label", &key, other).expect("a person may");
    let (.., drift) = service(&setup, "web").await;
    let drift = drift.to_string();
    assert!(drift.contains("its label maily.dev/project is `other`"), "{drift}");
    assert!(drift.contains("its label maily.dev/environment is gone"), "{drift}");
}

#[tokio::test(start_paused = true)]
async fn a_label_that_is_gone_is_told_and_written_again_by_the_next_deploy() {
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "web");
    for label in ["maily.dev/project", "maily.dev/environment", "maily.dev/namespace"] {
        let setup = Setup::fenced(61).await;
        assert!(succeeded(&setup.deploy("v1").await));
        let gone = json!({"metadata": {"labels": {label: null}}});
        setup.shared.world().edit_as("kubectl-label", &key, gone).expect("a person may");
        let (.., drift) = service(&setup, "web").await;
        assert!(drift.to_string().contains(&format!("its label {label} is gone")), "{drift}");
        for depth in [Depth::Read, Depth::DryRun] {
            let planned = setup.plan("v1", depth).await.expect("can be planned");
            let changed: Vec<&ObjectKey> = planned.plan.changes().map(|change| &change.key).collect();
            assert_eq!(changed, [&key], "{label}, {depth:?}");
            let told = planned.plan.notes.iter().any(|note| note.text.contains(label));
            assert!(told || label == "maily.dev/project", "{label}: {:?}", planned.plan.notes);
        }
        let end = setup.deploy("v1").await;
        assert!(succeeded(&end), "{label}: {end:?}");
        assert_eq!(service(&setup, "web").await.3, json!([]), "{label}");
        let again = setup.deploy("v1").await;
        let unchanged = RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving: Vec::new() } };
        assert_eq!(again, unchanged, "{label}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_of_which_one_workload_has_no_pods_is_not_stopped() {
    for (seed, name) in [(62, "api-batch"), (63, "a-batch")] {
        let setup = Setup::new(seed);
        let environment = setup.environment();
        let mut wanted = setup.wanted("v1").await;
        let objects = &mut wanted.services["api"].objects;
        let own = objects.iter().find(|object| object.kind() == "Deployment").expect("has one");
        let mut body = own.to_value();
        body["metadata"]["name"] = json!(name);
        body["spec"]["replicas"] = json!(0);
        body["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] = json!(name);
        body["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] = json!(name);
        objects.push(Object::from_value(body).expect("is an object"));
        let head = environment.head().await.expect("can be read");
        let options = PlanOptions::default();
        let planned = environment.plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
        let end = environment.run(planned.expect("can be planned"), &setup.options("tester")).await;
        assert!(succeeded(&end.expect("runs")));
        let (state, why, ..) = service(&setup, "api").await;
        assert_eq!((state, &*why), (json!("serving"), ""), "beside {name}");
        // What rolls is not hidden either.
        let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
        setup
            .shared
            .world()
            .edit_as("kubectl", &key, json!({"spec": {"replicas": 5}}))
            .expect("a person may");
        let (state, why, ..) = service(&setup, "api").await;
        assert_eq!(state, json!("progressing"), "beside {name}: {why}");
        let off = json!({"spec": {"replicas": 0}});
        setup.shared.world().edit_as("kubectl-scale", &key, off).expect("a person may");
        setup.runtime.sleep(Duration::from_secs(60)).await;
        assert_eq!(service(&setup, "api").await.0, json!("stopped"), "beside {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_of_which_anything_is_gone_is_missing_whatever_its_pods_do() {
    let released = async || {
        let setup = Setup::new(64);
        assert!(succeeded(&setup.deploy("v1").await));
        let environment = setup.environment();
        let head = environment.head().await.expect("can be read");
        let release = environment.released(&head).await.expect("can be read").expect("is there");
        (setup, release.objects)
    };
    let (_, all) = released().await;
    let mut seen = 0;
    for (key, object) in all.iter().filter(|(key, _)| !key.kind.keeps_pods()) {
        let Some(name) = &object.service else { continue };
        let (setup, _) = released().await;
        assert_eq!(service(&setup, name).await.0, "serving", "{key}");
        setup.shared.world().delete(key, &Precondition::Any).expect("a person may");
        let (state, why, ..) = service(&setup, name).await;
        assert_eq!((state, why), (json!("missing"), format!("{} does not exist", key.short())));
        seen += 1;
    }
    assert!(seen > 4, "{seen} objects without pods");
    // Why something does not get there says more.
    let (setup, _) = released().await;
    let pods: Vec<ObjectKey> =
        setup.shared.world().of_kind("Pod").iter().map(|pod| pod.key().clone()).collect();
    setup.shared.world().faults.push(fault("crash web"));
    for gone in pods.iter().filter(|pod| pod.name.starts_with("web-")) {
        setup.shared.world().delete(gone, &Precondition::Any).expect("a person may");
    }
    setup.runtime.sleep(Duration::from_secs(5)).await;
    let web = ObjectKey::new(ObjectKind::new("v1", "Service"), Some("shop"), "web");
    setup.shared.world().delete(&web, &Precondition::Any).expect("a person may");
    assert_eq!(service(&setup, "web").await.0, "failing");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_set_that_fails_on_one_node_counts_its_nodes() {
    let setup = Setup::new(65);
    let labels = json!({"app": "agent"});
    let body = json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": "registry.example/agent:v1"}]}}}});
    with_object(&setup, "agent", body).await;
    let counted = async || {
        let status = told(&setup).await;
        let services = status["services"].as_array().expect("is a list").clone();
        let agent = services.into_iter().find(|one| one["name"] == "agent").expect("is there");
        (agent["state"].clone(), agent["ready"].clone(), agent["desired"].clone())
    };
    assert_eq!(counted().await, (json!("serving"), json!(3), json!(3)));
    // On the first node that gets it somebody's image crashes.
    setup.shared.world().faults.push(fault("crash agent@v2"));
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "DaemonSet"), Some("shop"), "agent");
    let image = json!([{"name": "main", "image": "registry.example/agent:v2"}]);
    let edit = json!({"spec": {"template": {"spec": {"containers": image}}}});
    setup.shared.world().edit_as("kubectl-set", &key, edit).expect("a person may");
    setup.runtime.sleep(Duration::from_secs(30)).await;
    assert_eq!(counted().await, (json!("failing"), json!(2), json!(3)));
}

/// Its last sign of life is long ago, and its run is over: nobody works there.
#[tokio::test(start_paused = true)]
async fn who_died_after_the_end_of_his_run_holds_nothing() {
    let (setup, _) = site(119).await;
    let lease =
        ObjectKey::new(ObjectKind::new("coordination.k8s.io/v1", "Lease"), Some("shop"), "maily-production");
    let renewed = (setup.runtime.wall() - jiff::SignedDuration::from_secs(1)).to_string();
    let held = json!({"spec": {"holderIdentity": "ops@vm/1", "renewTime": renewed}});
    setup.shared.world().edit_as("maily-records", &lease, held).expect("may");
    assert_eq!(told(&setup).await["holder"], "ops@vm/1");
    setup.runtime.sleep(Duration::from_secs(720)).await;
    assert_eq!(told(&setup).await["holder"], Value::Null);
}

const ONE: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
";

const TWO: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 2}}
";

/// No release has it, and whoever looks sees all the same how it is and what it says.
#[tokio::test(start_paused = true)]
async fn what_an_unfinished_run_brings_anew_can_be_looked_at() {
    for first in [true, false] {
        let mut setup = Setup::of(if first { TWO } else { ONE }, 61);
        if !first {
            assert!(succeeded(&setup.deploy("v0").await));
            setup.project = TWO;
        }
        setup.shared.world().faults.push(fault("never-ready web"));
        let left = within(&*setup.runtime, Duration::from_secs(30), setup.deploy("v1")).await;
        assert!(left.is_none());
        let status = told(&setup).await;
        let services = status["services"].as_array().expect("is a list");
        assert_eq!(services.len(), 2, "{status}");
        let (api, web) = (&services[0], &services[1]);
        let version = if first { Value::Null } else { json!("v0") };
        assert_eq!(
            (&api["version"], &api["next"], &api["state"]),
            (&version, &json!("v1"), &json!("serving"))
        );
        assert_eq!(
            (&web["version"], &web["next"], &web["state"]),
            (&Value::Null, &json!("v1"), &json!("progressing"))
        );
        assert_eq!((&web["ready"], &web["desired"], &web["drift"]), (&json!(0), &json!(2), &json!([])));
        assert_eq!(web["why"], "container `web` runs but is not ready");
        let logs =
            release::logs(&setup.environment(), "web", &LogOptions::default()).await.expect("can be read");
        let lines: Vec<_> = logs.expect("has pods").lines.collect().await;
        assert!(!lines.is_empty(), "first: {first}");
    }
}

/// What the run has not come to is told as that, and not as gone.
#[tokio::test(start_paused = true)]
async fn what_a_run_has_not_come_to_is_not_missing() {
    let setup = Setup::of(TWO, 62);
    setup.shared.world().faults.push(fault("never-ready api"));
    let left = within(&*setup.runtime, Duration::from_secs(10), setup.deploy("v1")).await;
    assert!(left.is_none());
    let (state, why, next, drift) = service(&setup, "web").await;
    assert_eq!((state, why.as_str()), (json!("progressing"), "Deployment/web is not there yet"));
    assert_eq!((next, drift), (json!("v1"), json!([])));
}

/// Who may release may look at what is released, too: no release needs to read a fence that nobody has recorded.
#[tokio::test(start_paused = true)]
async fn whoever_may_not_see_a_fence_sees_all_the_rest() {
    let mut setup = Setup::of(TWO, 63);
    assert!(succeeded(&setup.deploy("v1").await));
    let hidden = Some("maily-fence-production");
    setup.cluster = Some(Arc::new(Hindered { hidden, ..Hindered::of(&setup) }));
    let status = told(&setup).await;
    assert_eq!(status["fence"], json!({"state": "unknown"}));
    assert_eq!(status["services"].as_array().map(Vec::len), Some(2), "{status}");
    // Of one that is recorded it has to be known.
    setup.fencing = Fencing::Installed;
    assert!(release::status(&setup.environment(), &setup.resolved()).await.is_err());
}
