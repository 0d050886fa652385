//! Logs of everything that runs in pods, and of containers that come again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt as _, future::BoxFuture, stream};
use maily_core::{
    engine::{Depth, Outcome, RunEnd, Storage, planner::PlanOptions},
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterInfo, Deleted, Dependents, ErrorKind, Follow, ListQuery,
        LogLine, LogOptions, LogStream, Permission, Precondition, ProviderError, WatchEvent, WatchStream,
        WriteOptions,
    },
    release::{self, DeployRequest},
    runtime::{Moment, Runtime, Task},
    source::ProgramTools,
};
use maily_testkit::sim::SimCluster;
use serde_json::{Value, json};

use crate::{
    hindered::Hindered,
    setup::{Setup, fault, succeeded},
};

/// Pods with their lines.
async fn read(setup: &Setup, name: &str, options: &LogOptions) -> Option<BTreeMap<String, Vec<String>>> {
    let lines = release::logs(&setup.environment(), name, options).await.expect("can be read")?.lines;
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines.collect::<Vec<_>>().await {
        let line = line.expect("is read");
        told.entry(line.pod).or_default().push(line.line.text);
    }
    Some(told)
}

fn object(api_version: &str, kind: &str, name: &str, spec: Value) -> Object {
    let body = json!({"apiVersion": api_version, "kind": kind,
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    Object::from_value(body).expect("is an object")
}

fn pods(name: &str, restart: &str) -> Value {
    json!({"restartPolicy": restart, "containers": [{"name": name, "image": format!("registry.example/shop/{name}:v1")}]})
}

/// A Job that a CronJob has started.
fn started_by(cron: &Object, name: &str) -> Object {
    let mut job =
        object("batch/v1", "Job", name, json!({"template": {"spec": pods(name, "Never")}})).to_value();
    job["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": cron.name(),
        "uid": cron.uid().expect("is there"), "controller": true}]);
    Object::from_value(job).expect("is an object")
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_a_job_and_a_pod_of_their_own_have_logs() {
    let mut setup = Setup::new(111);
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let nightly = json!({"schedule": "0 3 * * *",
        "jobTemplate": {"spec": {"template": {"spec": pods("nightly", "Never")}}}});
    let mut service = |name: &str, object: Object| {
        let mut service = wanted.services["worker"].clone();
        (service.objects, service.needs) = (vec![object], Vec::new());
        wanted.services.insert(name.to_owned(), service);
        wanted.phases[0].services.push(name.to_owned());
        wanted.prune.insert(name.to_owned());
    };
    service("nightly", object("batch/v1", "CronJob", "nightly", nightly));
    service(
        "import",
        object("batch/v1", "Job", "import", json!({"template": {"spec": pods("import", "Never")}})),
    );
    service("alone", object("v1", "Pod", "alone", pods("alone", "Always")));
    let head = environment.head().await.expect("can be read");
    let options = PlanOptions::default();
    let planned = environment
        .plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting)
        .await
        .expect("can be planned");
    let end = environment.run(planned, &setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    let all = LogOptions::default();
    let said = |name: &str| vec![format!("starting registry.example/shop/{name}:v1")];
    let import = read(&setup, "import", &all).await.expect("has pods");
    assert_eq!(import, BTreeMap::from([("import-0".to_owned(), said("import"))]));
    let alone = read(&setup, "alone", &all).await.expect("has pods");
    assert_eq!(alone.keys().collect::<Vec<_>>(), ["alone"]);
    assert_eq!(read(&setup, "nightly", &all).await, Some(BTreeMap::new()), "it has not begun");
    // Its own Jobs and no others: neither one of a like name, nor the service's beside it.
    let cluster = SimCluster::new(Arc::clone(&setup.shared));
    let key = ObjectKey::new(ObjectKind::new("batch/v1", "CronJob"), Some("shop"), "nightly");
    let cron = cluster.get(&key).await.expect("answers").expect("is there");
    let by_hand =
        object("batch/v1", "Job", "nightly-99", json!({"template": {"spec": pods("other", "Never")}}));
    for job in [started_by(&cron, "nightly-1"), started_by(&cron, "nightly-2"), by_hand] {
        cluster.write(&job, &WriteOptions::apply("cron", Precondition::Absent)).await.expect("is made");
    }
    setup.runtime.sleep(Duration::from_secs(5)).await;
    let nightly = read(&setup, "nightly", &all).await.expect("has pods");
    assert_eq!(nightly.keys().collect::<Vec<_>>(), ["nightly-1-0", "nightly-2-0"]);
    // To whom a Job belongs is asked again where the API server is away for a moment.
    let scripted = Arc::new(Scripted {
        cluster: SimCluster::new(Arc::clone(&setup.shared)),
        states: Mutex::default(),
        asked: Mutex::default(),
        restarts: Mutex::default(),
        away: Mutex::new(2),
        order: Mutex::default(),
    });
    setup.cluster = Some(Arc::clone(&scripted) as Arc<dyn Cluster>);
    let again = read(&setup, "nightly", &all).await.expect("has pods");
    assert_eq!(again, nightly);
    // Logs that nobody reads yet fill the connection on which an answer would come.
    let order = scripted.order.lock().expect("not poisoned").clone();
    assert!(order.is_sorted() && order.contains(&"1 job") && order.contains(&"2 log"), "{order:?}");
    setup.cluster = None;
    // A service without anything that runs has none, and neither has nobody.
    assert_eq!(read(&setup, "nobody", &all).await, None);
}

const JOBS: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
phases:
  - {name: all, environment: production, gates: [smoke]}
gates:
  smoke: {job: {image: 'registry.example/shop/smoke:{version}'}}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {workload: {port: 8000, scale: 1}}
  migrate: {before: api, job: {command: [up], undo: [down]}}
";

async fn deploy(setup: &Setup, version: &str, only: &[&str]) -> RunEnd {
    let (environment, resolved, options) = (setup.environment(), setup.resolved(), setup.options("tester"));
    let mut request = DeployRequest::new(version.parse().expect("is one"));
    if !only.is_empty() {
        let names: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        request.scope.components = Some(resolved.project.find_services(&names).expect("are known"));
    }
    let planned = release::prepare(&environment, &resolved, &request, &ProgramTools, &options).await;
    environment.run(planned.expect("can be planned"), &options).await.expect("runs")
}

#[tokio::test(start_paused = true)]
async fn jobs_and_gates_of_the_last_run_that_had_them_have_logs() {
    let setup = Setup::of(JOBS, 112);
    let all = LogOptions::default();
    assert_eq!(read(&setup, "migrate", &all).await, None, "nothing has run");
    assert!(succeeded(&deploy(&setup, "v1", &[]).await));
    assert!(succeeded(&deploy(&setup, "v2", &[]).await));
    for (name, image) in [("migrate", "migrate"), ("smoke", "smoke"), ("gate-smoke", "smoke")] {
        let told = read(&setup, name, &all).await.expect("has run");
        let lines: Vec<String> = told.into_values().flatten().collect();
        assert_eq!(
            lines,
            [format!("starting registry.example/shop/{image}:v2")],
            "{name}: of the last run alone"
        );
    }
    // A run without it does not hide it.
    assert!(succeeded(&deploy(&setup, "v3", &["web"]).await));
    let told = read(&setup, "migrate", &all).await.expect("has run");
    assert_eq!(
        told.into_values().flatten().collect::<Vec<_>>(),
        ["starting registry.example/shop/migrate:v2"]
    );
    // One that failed says why, and what took it back is read, too.
    setup.shared.world().faults.push(fault("crash migrate@v4"));
    let end = deploy(&setup, "v4", &[]).await;
    assert!(!succeeded(&end), "{end:?}");
    let told = read(&setup, "migrate", &all).await.expect("has run");
    assert!(told.values().flatten().any(|line| line.contains("simulated crash")), "{told:?}");
    assert!(told.keys().any(|pod| pod.contains("-undo-")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_found_behind_any_number_of_runs_without_it() {
    let setup = Setup::of(JOBS, 115);
    assert!(succeeded(&deploy(&setup, "v1", &[]).await));
    for number in 2..24 {
        assert!(succeeded(&deploy(&setup, &format!("v{number}"), &["web"]).await));
    }
    let told = read(&setup, "migrate", &LogOptions::default()).await.expect("has run");
    let lines: Vec<String> = told.into_values().flatten().collect();
    assert_eq!(lines, ["starting registry.example/shop/migrate:v1"]);
}

/// Somebody whose clock is so far behind.
#[derive(Debug)]
pub(crate) struct Behind(pub(crate) Arc<dyn Runtime>, pub(crate) Duration);

#[async_trait]
impl Runtime for Behind {
    fn now(&self) -> Moment {
        self.0.now()
    }

    fn wall(&self) -> jiff::Timestamp {
        self.0.wall() - self.1
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }

    fn random(&self) -> u64 {
        self.0.random()
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        self.0.spawn(future)
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_run_is_the_one_that_claimed_last_whatever_its_clock_said() {
    let mut setup = Setup::of(JOBS, 113);
    assert!(succeeded(&deploy(&setup, "v1", &[]).await));
    setup.runtime = Arc::new(Behind(Arc::clone(&setup.runtime), Duration::from_hours(1)));
    assert!(succeeded(&deploy(&setup, "v2", &[]).await));
    let told = read(&setup, "migrate", &LogOptions::default()).await.expect("has run");
    assert_eq!(
        told.into_values().flatten().collect::<Vec<_>>(),
        ["starting registry.example/shop/migrate:v2"]
    );
}

/// A cluster with one pod by script, where there is one: what each container says, by the number of its restarts.
#[derive(Debug)]
struct Scripted {
    cluster: SimCluster,
    /// Told by watches, one state after the other.
    states: Mutex<Vec<Value>>,
    asked: Mutex<Vec<LogOptions>>,
    restarts: Mutex<i64>,
    /// So often a Job is not told at once.
    away: Mutex<usize>,
    /// What was asked for: Jobs and logs.
    order: Mutex<Vec<&'static str>>,
}

impl Scripted {
    fn pod(&self, labels: &BTreeMap<String, String>, status: &Value) -> Object {
        let body = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "worker-x", "namespace": "shop", "uid": "u-1", "labels": labels}, "status": status});
        Object::from_value(body).expect("is an object")
    }
}

#[async_trait]
impl Cluster for Scripted {
    async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        self.cluster.describe().await
    }

    async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError> {
        self.cluster.resources(kinds).await
    }

    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        self.cluster.allowed(permissions).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        if key.kind.kind == "Job" {
            self.order.lock().expect("not poisoned").push("1 job");
            let mut away = self.away.lock().expect("not poisoned");
            if let Some(left) = away.checked_sub(1) {
                *away = left;
                let name = key.to_string();
                return Err(ProviderError::new(ErrorKind::Unavailable, "test", "get", name, "restarts"));
            }
        }
        self.cluster.get(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        let states = self.states.lock().expect("not poisoned").clone();
        if query.kind.kind != "Pod" || states.is_empty() {
            return self.cluster.list(query).await;
        }
        Ok(states.last().map(|status| self.pod(&query.labels, status)).into_iter().collect())
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.cluster.list_metadata(query).await
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        self.cluster.write(object, options).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        self.cluster.delete(key, precondition, dependents).await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        if query.kind.kind != "Pod" {
            return self.cluster.watch(query).await;
        }
        let states = self.states.lock().expect("not poisoned").clone();
        let pods: Vec<Object> = states.iter().map(|status| self.pod(&query.labels, status)).collect();
        let mut events: Vec<WatchEvent> =
            vec![WatchEvent::Listed { objects: pods[..1].to_vec(), version: "1".to_owned() }];
        events.extend(pods[1..].iter().cloned().map(WatchEvent::Applied));
        Ok(stream::iter(events.into_iter().map(Ok)).chain(stream::pending()).boxed())
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        self.order.lock().expect("not poisoned").push("2 log");
        if self.states.lock().expect("not poisoned").is_empty() {
            return self.cluster.logs(pod, options).await;
        }
        self.asked.lock().expect("not poisoned").push(options.clone());
        let mut restarts = self.restarts.lock().expect("not poisoned");
        let text = format!("instance {restarts} of {}", options.container.as_deref().unwrap_or("?"));
        *restarts += 1;
        Ok(stream::iter([Ok(LogLine { time: None, text })]).boxed())
    }
}

fn container(name: &str, restarts: i64, state: &str) -> Value {
    json!({"name": name, "restartCount": restarts, "state": {state: {}}})
}

/// `worker` in force, and its pods by script from now on.
async fn scripted(seed: u64, states: Vec<Value>) -> (Setup, Arc<Scripted>) {
    let mut setup = Setup::new(seed);
    assert!(succeeded(&setup.deploy("v1").await));
    let cluster = SimCluster::new(Arc::clone(&setup.shared));
    let scripted = Arc::new(Scripted {
        cluster,
        states: Mutex::new(states),
        asked: Mutex::default(),
        restarts: Mutex::default(),
        away: Mutex::default(),
        order: Mutex::default(),
    });
    setup.cluster = Some(Arc::clone(&scripted) as Arc<dyn Cluster>);
    (setup, scripted)
}

#[tokio::test(start_paused = true)]
async fn what_is_followed_goes_on_in_the_next_instance_of_a_container() {
    let states = vec![
        json!({"containerStatuses": [container("main", 0, "running")]}),
        // The same again, and the pause before the next instance.
        json!({"containerStatuses": [container("main", 0, "terminated")]}),
        json!({"containerStatuses": [container("main", 1, "running")]}),
        json!({"containerStatuses": [container("main", 1, "running")]}),
        json!({"containerStatuses": [container("main", 2, "running")]}),
    ];
    let (setup, scripted) = scripted(113, states).await;
    let since = Some(Duration::from_secs(600));
    let options = LogOptions { follow: Follow::Yes, since, tail: Some(3), ..LogOptions::default() };
    let lines = release::logs(&setup.environment(), "worker", &options).await.expect("can be read");
    let lines: Vec<_> = lines.expect("has pods").lines.take(3).collect().await;
    let texts: Vec<String> = lines.into_iter().map(|line| line.expect("is read").line.text).collect();
    assert_eq!(texts, ["instance 0 of main", "instance 1 of main", "instance 2 of main"]);
    let asked = scripted.asked.lock().expect("not poisoned").clone();
    let narrowed: Vec<_> = asked.iter().map(|options| (options.since, options.tail)).collect();
    // What began while we looked on is read from its start.
    assert_eq!(narrowed, [(since, Some(3)), (None, None), (None, None)]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_instance_is_read_of_containers_that_had_one() {
    let states = vec![json!({
        "initContainerStatuses": [container("init", 1, "terminated")],
        "containerStatuses": [container("main", 2, "waiting"), container("calm", 0, "running")],
    })];
    let (setup, scripted) = scripted(114, states).await;
    let options = LogOptions { previous: true, tail: Some(5), ..LogOptions::default() };
    read(&setup, "worker", &options).await.expect("has pods");
    let asked = scripted.asked.lock().expect("not poisoned").clone();
    let names: Vec<&str> = asked.iter().filter_map(|options| options.container.as_deref()).collect();
    assert_eq!(names, ["init", "main"], "one that never ended has no earlier instance");
    assert!(asked.iter().all(|options| options.previous && options.tail == Some(5)), "{asked:?}");
}

/// Labels are one half of what a workload chooses its pods by.
#[tokio::test(start_paused = true)]
async fn a_selector_of_expressions_finds_its_pods_and_no_others() {
    let setup = Setup::new(116);
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let mut service = |name: &str, spec: Value| {
        let mut service = wanted.services["worker"].clone();
        let spec = object("apps/v1", "StatefulSet", name, spec);
        (service.objects, service.needs) = (vec![spec], Vec::new());
        wanted.services.insert(name.to_owned(), service);
        wanted.phases[0].services.push(name.to_owned());
        wanted.prune.insert(name.to_owned());
    };
    let expressions = json!([
        {"key": "tier", "operator": "NotIn", "values": ["front"]},
        {"key": "canary", "operator": "DoesNotExist"},
    ]);
    service(
        "store",
        json!({"replicas": 1, "selector": {"matchLabels": {"app": "store"}, "matchExpressions": expressions},
            "template": {"metadata": {"labels": {"app": "store"}}, "spec": pods("store", "Always")}}),
    );
    let head = environment.head().await.expect("can be read");
    let options = PlanOptions::default();
    let planned = environment
        .plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting)
        .await
        .expect("can be planned");
    let end = environment.run(planned, &setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    let cluster = SimCluster::new(Arc::clone(&setup.shared));
    for (name, labels) in [
        ("front", json!({"app": "store", "tier": "front"})),
        ("canary", json!({"app": "store", "canary": "yes"})),
        ("back", json!({"app": "store", "tier": "back"})),
    ] {
        let mut pod = object("v1", "Pod", name, pods("other", "Always")).to_value();
        pod["metadata"]["labels"] = labels;
        let pod = Object::from_value(pod).expect("is an object");
        cluster.write(&pod, &WriteOptions::apply("other", Precondition::Absent)).await.expect("is made");
    }
    setup.runtime.sleep(Duration::from_secs(5)).await;
    let told = read(&setup, "store", &LogOptions::default()).await.expect("has pods");
    assert_eq!(told.keys().collect::<Vec<_>>(), ["back", "store-0"]);
}

/// Each is found by a watch of its own.
#[tokio::test(start_paused = true)]
async fn of_every_workload_that_is_followed_only_the_end_is_told() {
    let setup = Setup::new(325);
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let set = |name: &str| {
        let template = json!({"metadata": {"labels": {"app": name}}, "spec": pods(name, "Always")});
        let selector = json!({"matchLabels": {"app": name}});
        let spec = json!({"replicas": 1, "selector": selector, "template": template});
        object("apps/v1", "StatefulSet", name, spec)
    };
    wanted.services["worker"].objects = vec![set("back"), set("front")];
    let head = environment.head().await.expect("can be read");
    let options = PlanOptions::default();
    let planned = environment.plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
    let end = environment.run(planned.expect("can be planned"), &setup.options("tester")).await;
    assert!(succeeded(&end.expect("runs")));
    for name in ["back-0", "front-0"] {
        let key = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some("shop"), name);
        setup.shared.world().say(&key, &format!("last of {name}"));
    }
    let options = LogOptions { follow: Follow::Yes, tail: Some(1), ..LogOptions::default() };
    let lines = release::logs(&environment, "worker", &options).await.expect("can be read");
    let lines: Vec<_> = lines.expect("has pods").lines.take(2).collect().await;
    let texts = lines.into_iter().map(|line| line.expect("is read").line.text);
    let texts: std::collections::BTreeSet<String> = texts.collect();
    assert_eq!(texts.into_iter().collect::<Vec<_>>(), ["last of back-0", "last of front-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_travels_with_a_failure_is_cut() {
    let mut setup = Setup::new(77);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("crash web@v2"));
    setup.cluster = Some(Arc::new(Hindered { lines_of: Some(16 << 10), ..Hindered::of(&setup) }));
    let end = setup.deploy("v2").await;
    let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = &end else { panic!("{end:?}") };
    assert_eq!(why.log.len(), 20);
    let length = |line: &String| line.chars().count();
    assert!(why.log.iter().all(|line| length(line) <= 501 && line.ends_with("=…")), "{:?}", why.log);
}
