//! Releases in the simulated world: to the new state, and back to the old one. How they survive their process is the
//! matter of the drills.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use maily_core::{
    Providers,
    engine::{
        Depth, Environment, Goal, Outcome, RunEnd, RunOptions, Storage, What,
        planner::{PlanOptions, Wanted, WantedPhase},
    },
    model::Project,
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster, ClusterIdentity},
    records::ClusterRecords,
    runtime::Runtime,
    source::{ProgramTools, RenderRequest, render},
};
use maily_testkit::{
    sim::{Shared, SimCluster, SimRuntime},
    world::{Fault, World},
};

const PROJECT: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 3}}
  web: {needs: [api], workload: {port: 8080, scale: 2..4}}
  worker: {workload: {command: [work], scale: 1}}
  queue: {workload: {port: 6379, scale: 1, config: {q.conf: 'size 1'}}}
";

struct Setup {
    shared: Arc<Shared>,
    runtime: Arc<dyn Runtime>,
    told: Arc<Mutex<Vec<What>>>,
}

impl Setup {
    fn new(seed: u64) -> Self {
        let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(seed));
        let world = World::new(runtime.wall(), seed, &["shop"]);
        Self { shared: Shared::new(world, Arc::clone(&runtime)), runtime, told: Arc::default() }
    }

    fn environment(&self) -> Environment {
        let cluster: Arc<dyn Cluster> = Arc::new(SimCluster::new(Arc::clone(&self.shared)));
        let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, "kube-system");
        let uid = self.shared.world().get(&key).and_then(|n| n.uid()).expect("has a uid").to_owned();
        Environment {
            project: "shop".into(),
            name: "production".into(),
            namespace: "shop".into(),
            identity: Some(ClusterIdentity { uid, ca: String::new() }),
            providers: Providers { cluster: Arc::clone(&cluster), frontend: None, prober: None },
            records: Arc::new(ClusterRecords::new(cluster, "production", "shop")),
            runtime: Arc::clone(&self.runtime),
        }
    }

    fn options(&self, by: &str) -> RunOptions {
        let told = Arc::clone(&self.told);
        let mut options = RunOptions::new(by);
        options.listener = Arc::new(move |event: &maily_core::engine::Event| {
            told.lock().expect("not poisoned").push(event.what.clone());
        });
        options
    }

    async fn wanted(&self, version: &str) -> Wanted {
        let project = Project::parse(PROJECT, "maily.yaml").expect("a project");
        let resolved = project.resolve("production").expect("is there");
        let version = version.parse().expect("a version");
        let request = RenderRequest {
            resolved: &resolved,
            version: &version,
            only: None,
            accept_new: false,
            timeout_s: Some(60),
        };
        let rendered = render(&request, &ProgramTools).await.expect("renders");
        let names: Vec<String> = rendered.services.keys().cloned().collect();
        Wanted {
            project: "shop".into(),
            environment: "production".into(),
            namespace: "shop".into(),
            goal: Goal::Deploy { version: version.to_string() },
            prune: names.iter().cloned().collect::<BTreeSet<_>>(),
            phases: vec![WantedPhase { name: "all".into(), services: names, gates: Vec::new() }],
            services: rendered.services,
            shared: rendered.shared,
            notes: rendered.notes,
            prune_shared: true,
            keep_shared: false,
        }
    }

    async fn deploy(&self, version: &str) -> RunEnd {
        let environment = self.environment();
        let wanted = self.wanted(version).await;
        let head = environment.head().await.expect("can be read");
        let base = environment.released(&head).await.expect("can be read");
        let planned = environment
            .plan(&wanted, head, base.as_ref(), &PlanOptions::default(), Depth::Read, Storage::Lasting)
            .await
            .expect("can be planned");
        environment.run(planned, &self.options("tester")).await.expect("runs")
    }

    /// What belongs to the application, without what the server and the engine keep on it.
    fn content(&self) -> Vec<Object> {
        let world = self.shared.world();
        let mut objects: Vec<Object> = world
            .objects()
            .filter(|object| object.label("maily.dev/project") == Some("shop"))
            .map(|object| {
                let mut object = object.clone().without_server_fields();
                for annotation in ["maily.dev/epoch", "maily.dev/stamp", "deployment.kubernetes.io/revision"]
                {
                    object.set_annotation(annotation, None);
                }
                if object.kind() == "Service" {
                    object.edit(|body| {
                        body["spec"].as_object_mut().expect("a map").remove("clusterIP");
                    });
                }
                object
            })
            .collect();
        objects.sort_by(|a, b| a.key().cmp(b.key()));
        objects
    }
}

fn succeeded(end: &RunEnd) -> bool {
    matches!(end, RunEnd::Over { outcome: Outcome::Succeeded { .. }, .. })
}

fn fault(text: &str) -> Fault {
    text.parse().expect("a fault")
}

#[tokio::test(start_paused = true)]
async fn a_release_is_made_seen_and_recorded() {
    let setup = Setup::new(1);
    let end = setup.deploy("v1").await;
    assert!(succeeded(&end), "{end:?}");
    let environment = setup.environment();
    let head = environment.head().await.expect("can be read");
    let (_, release) = head.release.clone().expect("a release");
    assert_eq!(release.versions["api"], "v1");
    assert!(head.unfinished.is_none());
    let released = environment.released(&head).await.expect("can be read").expect("is there");
    assert!(released.objects.values().all(|object| object.fingerprint.is_some()));
    for deployment in setup.shared.world().of_kind("Deployment") {
        assert_eq!(deployment.int("/status/availableReplicas"), deployment.int("/spec/replicas"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_release_again_changes_nothing() {
    let setup = Setup::new(2);
    setup.deploy("v1").await;
    let before = setup.shared.world().version;
    let end = setup.deploy("v1").await;
    assert_eq!(end, RunEnd::Over { run: None, outcome: Outcome::Unchanged });
    assert_eq!(setup.shared.world().version, before);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_leaves_what_a_fresh_install_would() {
    let setup = Setup::new(3);
    setup.deploy("v1").await;
    assert!(succeeded(&setup.deploy("v2").await));
    let fresh = Setup::new(4);
    fresh.deploy("v2").await;
    assert_eq!(setup.content(), fresh.content());
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_fails_at_once_and_everything_goes_back() {
    let setup = Setup::new(5);
    setup.deploy("v1").await;
    let before = setup.content();
    setup.shared.world().faults.push(fault("crash web@v2"));
    let started = setup.runtime.now();
    let end = setup.deploy("v2").await;
    let RunEnd::Over { outcome: Outcome::RolledBack { why, step }, .. } = &end else { panic!("{end:?}") };
    assert_eq!(why.cause, "crash-loop");
    assert!(why.log.iter().any(|line| line.contains("simulated crash")), "{why:?}");
    assert_eq!(step.as_ref().map(ToString::to_string).as_deref(), Some("production/web/rollout"));
    assert!(setup.runtime.now().since(started) < Duration::from_secs(30));
    assert_eq!(setup.content(), before);
    let head = setup.environment().head().await.expect("can be read");
    assert_eq!(head.release.expect("the old one").1.versions["api"], "v1");
}

#[tokio::test(start_paused = true)]
async fn a_first_install_that_fails_leaves_nothing() {
    let setup = Setup::new(6);
    setup.shared.world().faults.push(fault("image-missing api"));
    let started = setup.runtime.now();
    let end = setup.deploy("v1").await;
    // Every call was answered: nothing has to be waited for before absence is certain.
    assert!(setup.runtime.now().since(started) < Duration::from_secs(8));
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!(setup.content(), Vec::<Object>::new());
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_silence_of_the_api_are_survived() {
    let setup = Setup::new(7);
    setup.deploy("v1").await;
    setup.shared.world().faults.extend([fault("lost-answer 3"), fault("api-down 4")]);
    let environment = setup.environment();
    let wanted = setup.wanted("v2").await;
    // Planning is not repeated by itself: the faults meet the run.
    let faults = std::mem::take(&mut setup.shared.world().faults);
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let planned = environment
        .plan(&wanted, head, base.as_ref(), &PlanOptions::default(), Depth::DryRun, Storage::Lasting)
        .await
        .expect("can be planned");
    let shared = Arc::clone(&setup.shared);
    let runtime = Arc::clone(&setup.runtime);
    let late = async move {
        runtime.sleep(Duration::from_millis(60)).await;
        shared.world().faults = faults;
    };
    let options = setup.options("tester");
    let (end, ()) = futures::future::join(environment.run(planned, &options), late).await;
    assert!(succeeded(&end.expect("runs")));
    let fresh = Setup::new(8);
    fresh.deploy("v2").await;
    assert_eq!(setup.content(), fresh.content());
}

#[tokio::test(start_paused = true)]
async fn a_change_between_plan_and_run_is_refused_object_by_object() {
    let setup = Setup::new(9);
    setup.deploy("v1").await;
    let environment = setup.environment();
    let wanted = setup.wanted("v2").await;
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let planned = environment
        .plan(&wanted, head, base.as_ref(), &PlanOptions::default(), Depth::DryRun, Storage::Lasting)
        .await
        .expect("can be planned");
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    setup
        .shared
        .world()
        .edit_as("kubectl-scale", &key, serde_json::json!({"spec": {"replicas": 7}}))
        .expect("a person may");
    let before = setup.content();
    let error = environment.adopt_plan(planned.plan).await.expect_err("is out of date");
    assert!(error.to_string().contains("Deployment shop/api was changed since: spec.replicas"), "{error}");
    assert_eq!(setup.content(), before);
}

#[tokio::test(start_paused = true)]
async fn a_second_run_is_told_who_holds_the_environment() {
    let setup = Setup::new(10);
    setup.deploy("v1").await;
    let first = setup.deploy("v2");
    let second = async {
        setup.runtime.sleep(Duration::from_millis(400)).await;
        let environment = setup.environment();
        let wanted = setup.wanted("v3").await;
        let head = environment.head().await.expect("can be read");
        head.unfinished.is_some() && wanted.services.contains_key("api")
    };
    let (end, seen) = futures::future::join(first, second).await;
    assert!(succeeded(&end) && seen);
}
