//! What the credentials have to be allowed, held against everything that releases really ask.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::StreamExt as _;
use maily_core::{
    engine::{Outcome, ReleaseId, RunEnd, history},
    model::{Fencing, Version},
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterInfo, Deleted, Dependents, ErrorKind, ListQuery, LogOptions,
        LogStream, Permission, Precondition, ProviderError, WatchStream, WriteMode, WriteOptions,
    },
    release::{self, DeployRequest, Rights, RollbackTo},
    source::ProgramTools,
};
use maily_testkit::sim::SimCluster;

use crate::{
    ledger::Ledger,
    setup::{Setup, fault, succeeded},
    shop::{OF_MANIFESTS, Shop, deployment},
};

/// Everything that a workload can be rendered to, with a job, its undo and a gate.
const PROJECT: &str = "
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
  api:
    workload:
      port: 8000
      scale: 2..4
      config: {a.conf: one}
      volumes: {data: {mount: /data, size: 1Gi, access: many-nodes}}
      ingress: {host: shop.example, tls: shop-tls}
      permissions: [{resources: [widgets], verbs: [list]}]
  web: {needs: [api], workload: {port: 8080, scale: 2, talks-to: [api]}}
  worker: {workload: {command: [work], scale: 1}}
  migrate: {before: api, job: {command: [up], undo: [down]}}
";

/// A cluster that writes down what it is asked, as the API server would ask its roles.
#[derive(Debug)]
struct Asked {
    cluster: SimCluster,
    asked: Mutex<BTreeSet<Permission>>,
    /// So often the API server says which kinds it serves not at once.
    away: AtomicUsize,
    /// A kind that may not be read.
    hidden: Option<&'static str>,
}

impl Asked {
    async fn note(&self, kind: &ObjectKind, namespace: Option<&str>, verbs: &[&str]) {
        let served = self.cluster.resources(std::slice::from_ref(kind)).await.expect("answers");
        let Some(resource) = served.first().map(|resource| resource.plural.clone()) else { return };
        self.add(kind.group(), &resource, namespace, verbs);
    }

    fn refuse(&self, kind: &ObjectKind, verb: &'static str) -> Result<(), ProviderError> {
        if self.hidden != Some(&*kind.kind) {
            return Ok(());
        }
        Err(ProviderError::new(ErrorKind::PermissionDenied, "test", verb, kind.kind.clone(), "forbidden"))
    }

    fn add(&self, group: &str, resource: &str, namespace: Option<&str>, verbs: &[&str]) {
        let mut asked = self.asked.lock().expect("not poisoned");
        for verb in verbs {
            asked.insert(Permission {
                namespace: namespace.map(str::to_owned),
                group: group.to_owned(),
                resource: resource.to_owned(),
                name: None,
                verb: (*verb).to_owned(),
                path: None,
            });
        }
    }
}

#[async_trait]
impl Cluster for Asked {
    async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        self.cluster.describe().await
    }

    async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError> {
        let again = |left: usize| left.checked_sub(1);
        if self.away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, again).is_ok() {
            return Err(ProviderError::new(ErrorKind::Unavailable, "test", "discover", "kinds", "restarts"));
        }
        self.cluster.resources(kinds).await
    }

    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        self.cluster.allowed(permissions).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        // The namespace itself is asked for by every command, and told apart by `doctor`.
        if key.kind.kind != "Namespace" {
            self.note(&key.kind, key.namespace.as_deref(), &["get"]).await;
        }
        self.refuse(&key.kind, "get")?;
        self.cluster.get(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.note(&query.kind, query.namespace.as_deref(), &["list"]).await;
        self.cluster.list(query).await
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.note(&query.kind, query.namespace.as_deref(), &["list"]).await;
        self.refuse(&query.kind, "list")?;
        self.cluster.list_metadata(query).await
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        let key = object.key();
        self.note(&key.kind, key.namespace.as_deref(), &["patch"]).await;
        match options.mode {
            WriteMode::Apply { .. } if self.cluster.get(key).await?.is_none() => {
                self.note(&key.kind, key.namespace.as_deref(), &["create"]).await;
            }
            WriteMode::Migrate { .. } => self.note(&key.kind, key.namespace.as_deref(), &["get"]).await,
            _ => {}
        }
        self.cluster.write(object, options).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        self.note(&key.kind, key.namespace.as_deref(), &["delete"]).await;
        self.cluster.delete(key, precondition, dependents).await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        self.note(&query.kind, query.namespace.as_deref(), &["list", "watch"]).await;
        self.cluster.watch(query).await
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        self.add("", "pods/log", pod.namespace.as_deref(), &["get"]);
        self.cluster.logs(pod, options).await
    }
}

fn asking(seed: u64) -> (Setup, Arc<Asked>) {
    asking_of(PROJECT, seed, None)
}

fn asking_of(project: &'static str, seed: u64, hidden: Option<&'static str>) -> (Setup, Arc<Asked>) {
    let mut setup = Setup::of(project, seed);
    let cluster = SimCluster::new(Arc::clone(&setup.shared));
    let asked = Arc::new(Asked { cluster, asked: Mutex::default(), away: AtomicUsize::new(0), hidden });
    setup.cluster = Some(Arc::clone(&asked) as Arc<dyn Cluster>);
    (setup, asked)
}

async fn needed(setup: &Setup, version: Option<&str>) -> Rights {
    let version: Option<Version> = version.map(|version| version.parse().expect("is one"));
    let (environment, resolved) = (setup.environment(), setup.resolved());
    release::rights(&environment, &resolved, version.as_ref(), &ProgramTools).await.expect("can be told")
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_for_a_moment_is_asked_again() {
    let (setup, asked) = asking(107);
    asked.away.store(2, Ordering::SeqCst);
    assert!(!needed(&setup, Some("v1")).await.permissions.is_empty());
}

async fn deploy(setup: &Setup, version: &str) -> RunEnd {
    let (environment, resolved, options) = (setup.environment(), setup.resolved(), setup.options("tester"));
    let request = DeployRequest::new(version.parse().expect("is one"));
    let planned = release::prepare(&environment, &resolved, &request, &ProgramTools, &options).await;
    environment.run(planned.expect("can be planned"), &options).await.expect("runs")
}

fn words(permissions: impl IntoIterator<Item = Permission>) -> BTreeSet<String> {
    let word = |Permission { verb, resource, group, namespace, .. }: Permission| {
        format!("{verb} {resource}.{group} {}", namespace.unwrap_or_default())
    };
    permissions.into_iter().map(word).collect()
}

#[tokio::test(start_paused = true)]
async fn a_release_asks_for_nothing_that_was_not_told_before() {
    let (setup, asked) = asking(101);
    let first = needed(&setup, Some("v1")).await;
    assert_eq!((first.unknown.len(), first.unserved.len()), (0, 0), "{first:?}");
    asked.asked.lock().expect("not poisoned").clear();
    // Install, upgrade, one that fails and goes back with its job's undo, and a way back.
    for version in ["v1", "v2"] {
        let end = deploy(&setup, version).await;
        assert!(succeeded(&end), "{end:?}");
    }
    setup.shared.world().faults.push(fault("crash web@v3"));
    let end = deploy(&setup, "v3").await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    let (environment, resolved) = (setup.environment(), setup.resolved());
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let back = RollbackTo::Version("v1".to_owned());
    let wanted = release::rollback(&environment, &resolved, &head, base.as_ref(), &back, None).await;
    let wanted = wanted.expect("there is a way");
    let planned = environment
        .plan(
            &wanted,
            head,
            base.as_ref(),
            &Default::default(),
            maily_core::engine::Depth::DryRun,
            maily_core::engine::Storage::Lasting,
        )
        .await
        .expect("can be planned");
    let end = environment.run(planned, &setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    release::status(&environment, &resolved).await.expect("can be read");
    let lines = release::logs(&environment, "api", &LogOptions::default()).await.expect("can be read");
    assert!(lines.expect("has pods").lines.count().await > 0);
    let really = words(asked.asked.lock().expect("not poisoned").clone());
    let told = words(first.permissions);
    let untold: Vec<&String> = really.difference(&told).collect();
    assert!(untold.is_empty(), "asked for and not told: {untold:?}");
    // And nothing is asked for in vain. What is told for later: lists from three objects of a kind on, deletes of what
    // a version leaves out, and what the service account itself may do.
    let vain: Vec<&String> = told
        .difference(&really)
        .filter(|word| !["list ", "delete ", "create ", "get "].iter().any(|verb| word.starts_with(verb)))
        .collect();
    assert!(vain.is_empty(), "told and never asked for: {vain:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_needed_follows_from_the_project_and_the_release_in_force() {
    let (setup, _) = asking(102);
    let before = needed(&setup, None).await;
    assert_eq!(before.from, ["the project file"]);
    let told = words(before.permissions.clone());
    for word in [
        "patch jobs.batch shop",
        "list jobs.batch shop",
        "watch jobs.batch shop",
        "create poddisruptionbudgets.policy shop",
        "patch horizontalpodautoscalers.autoscaling shop",
        "delete networkpolicies.networking.k8s.io shop",
        "create ingresses.networking.k8s.io shop",
        "patch persistentvolumeclaims. shop",
        "list serviceaccounts. shop",
        "create roles.rbac.authorization.k8s.io shop",
        "patch rolebindings.rbac.authorization.k8s.io shop",
        // The server lets nobody give away what he has not.
        "list widgets. shop",
        "get replicasets.apps shop",
    ] {
        assert!(told.contains(word), "`{word}` in {told:?}");
    }
    for word in ["watch replicasets.apps shop", "get statefulsets.apps shop", "watch services. shop"] {
        assert!(!told.contains(word), "`{word}` is asked for by nothing");
    }
    assert!(succeeded(&deploy(&setup, "v1").await));
    // What is in force has to be taken out, too, when the file has lost it.
    let mut later = Setup::of(
        "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  worker: {workload: {command: [work], scale: 1}}
",
        103,
    );
    later.shared = Arc::clone(&setup.shared);
    let after = needed(&later, None).await;
    assert_eq!(after.from, ["release 1", "the files at v1"]);
    assert!(words(after.permissions).contains("delete ingresses.networking.k8s.io shop"));
    let alone = Setup::of(later.project, 104);
    assert!(
        !words(needed(&alone, None).await.permissions).contains("delete ingresses.networking.k8s.io shop")
    );
}

/// Whether its claims are there is looked at before a plan that gives it more pods, and after a way back.
#[tokio::test(start_paused = true)]
async fn a_stateful_set_with_claims_needs_to_look_at_them() {
    for claims in [false, true] {
        let shop = Shop::new(OF_MANIFESTS, 108);
        let mut set = deployment("db", &[]);
        set["kind"] = "StatefulSet".into();
        if claims {
            set["spec"]["volumeClaimTemplates"] = serde_json::json!([{"metadata": {"name": "data"}}]);
        }
        shop.write("v1", &[set]);
        let (environment, resolved) = (shop.setup.environment(), shop.resolved());
        let version = "v1".parse().expect("is a version");
        let rights = release::rights(&environment, &resolved, Some(&version), &ProgramTools).await;
        let told = words(rights.expect("can be told").permissions);
        for word in ["get persistentvolumeclaims. shop", "list persistentvolumeclaims. shop"] {
            assert_eq!(told.contains(word), claims, "{word}");
        }
    }
}

/// What a controller puts into an aggregated role nobody can know before: the server asks for leave to grow.
#[tokio::test(start_paused = true)]
async fn a_role_that_is_put_together_needs_leave_to_escalate() {
    let shop = Shop::new(OF_MANIFESTS, 109);
    let role = |name: &str, more: (&str, serde_json::Value)| {
        let mut role = serde_json::json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}});
        role[more.0] = more.1;
        role
    };
    let selectors = serde_json::json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    let rules = serde_json::json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    shop.write(
        "v1",
        &[
            deployment("api", &[]),
            role("together", ("aggregationRule", selectors)),
            role("plain", ("rules", rules)),
        ],
    );
    let (environment, version) = (shop.setup.environment(), "v1".parse::<Version>().expect("is one"));
    let rights = release::rights(&environment, &shop.resolved(), Some(&version), &ProgramTools)
        .await
        .expect("answers");
    let escalate = rights.permissions.iter().filter(|permission| permission.verb == "escalate");
    let told: Vec<_> = escalate
        .map(|one| (one.group.as_str(), one.resource.as_str(), one.namespace.as_deref(), one.name.as_deref()))
        .collect();
    assert_eq!(told, [("rbac.authorization.k8s.io", "clusterroles", None, Some("together"))]);
}

#[tokio::test(start_paused = true)]
async fn a_check_of_a_path_and_a_fence_need_more() {
    let project = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  web: {workload: {port: 80}, checks: [{http: CHECKED}]}
";
    let told = async |checked: &str, fencing: Fencing| {
        let project: &'static str = Box::leak(project.replace("CHECKED", checked).into_boxed_str());
        let mut setup = Setup::of(project, 106);
        setup.fencing = fencing;
        words(needed(&setup, None).await.permissions)
    };
    let plain = told("'https://shop.example/health'", Fencing::None).await;
    let with = |more: &[&str]| -> BTreeSet<String> {
        plain.iter().cloned().chain(more.iter().map(|word| (*word).to_owned())).collect()
    };
    // The API server passes it on.
    assert_eq!(told("/health", Fencing::None).await, with(&["get services/proxy. shop"]));
    let fence = ["get", "list", "watch", "patch"].map(|verb| format!("{verb} configmaps. shop"));
    let fence: Vec<&str> = fence.iter().map(String::as_str).collect();
    let fenced = told("'https://shop.example/health'", Fencing::Installed).await;
    assert_eq!(fenced, with(&fence));
}

/// Pods that read what somebody else brings.
const READING: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  web:
    workload:
      port: 80
      patch:
        Deployment: {spec: {template: {spec: {volumes: [{name: foreign, configMap: {name: foreign}}]}}}}
";

#[tokio::test(start_paused = true)]
async fn what_may_not_be_looked_for_is_told_by_the_plan_and_is_of_the_role_to_ask_for() {
    for (seed, hidden, said) in [
        (108, Some("ConfigMap"), "these credentials may not look for ConfigMap `foreign`"),
        (109, None, "Deployment/web reads ConfigMap `foreign`"),
    ] {
        let (setup, asked) = asking_of(READING, seed, hidden);
        let told = words(needed(&setup, Some("v1")).await.permissions);
        for verb in ["get", "list"] {
            assert!(told.contains(&format!("{verb} configmaps. shop")), "{verb}: {told:?}");
        }
        assert!(!told.contains("patch configmaps. shop"), "{told:?}");
        asked.asked.lock().expect("not poisoned").clear();
        let (environment, resolved, run) = (setup.environment(), setup.resolved(), setup.options("tester"));
        let request = DeployRequest {
            depth: maily_core::engine::Depth::DryRun,
            ..DeployRequest::new("v1".parse().expect("is one"))
        };
        let planned = release::prepare(&environment, &resolved, &request, &ProgramTools, &run).await;
        let notes = planned.expect("can be planned").plan.notes;
        let notes: Vec<&str> =
            notes.iter().filter(|note| note.topic == "missing").map(|note| &*note.text).collect();
        assert!(matches!(&notes[..], [note] if note.starts_with(said)), "{notes:?}");
        let really = words(asked.asked.lock().expect("not poisoned").clone());
        let untold: Vec<&String> = really.difference(&told).collect();
        assert!(untold.is_empty(), "asked for and not told: {untold:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_role_to_ask_for_has_every_permission_once() {
    let (setup, _) = asking(105);
    let needed = needed(&setup, Some("v1")).await;
    let text = needed.manifest("production", "shop");
    let objects = maily_core::source::read_manifests("role", &text).expect("is a manifest");
    let kinds: Vec<&str> = objects.iter().map(|found| found.object.kind()).collect();
    assert_eq!(kinds, ["ClusterRole", "Role"]);
    let mut given = BTreeSet::new();
    for found in &objects {
        let place = found.object.namespace().map(str::to_owned);
        for rule in found.object.items("/rules") {
            let list = |field: &str| -> Vec<String> {
                let words = rule[field].as_array().into_iter().flatten();
                words.map(|word| word.as_str().expect("is text").to_owned()).collect()
            };
            for (group, resource, verb) in combined(&list("apiGroups"), &list("resources"), &list("verbs")) {
                for name in list("resourceNames")
                    .into_iter()
                    .map(Some)
                    .chain(rule.get("resourceNames").is_none().then_some(None))
                {
                    let permission = Permission {
                        namespace: place.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        name,
                        verb: verb.clone(),
                        path: None,
                    };
                    assert!(given.insert(permission.clone()), "{permission:?} twice");
                }
            }
        }
    }
    let namespaces = given.iter().filter(|permission| permission.resource == "namespaces");
    let names: Vec<&str> = namespaces.filter_map(|permission| permission.name.as_deref()).collect();
    assert_eq!(names, ["kube-system", "shop"]);
    given.retain(|permission| permission.resource != "namespaces");
    assert_eq!(given, needed.permissions.into_iter().collect());
}

/// All combinations.
fn combined(a: &[String], b: &[String], c: &[String]) -> Vec<(String, String, String)> {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    pairs.flat_map(|(a, b)| c.iter().map(move |c| (a.clone(), b.clone(), c.clone()))).collect()
}

/// The record of a release is derived: who may only read is told of it where it is missing, and leaves it so.
#[tokio::test(start_paused = true)]
async fn who_may_only_read_is_told_of_a_release_whose_record_is_missing() {
    let setup = Setup::new(259);
    for version in ["v1", "v2", "v3"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    let whole = setup.environment();
    let frozen = "admission webhook \"freeze.example\" denied the request: nothing changes this week";
    for (missing, refusal) in [
        (vec![2], (ErrorKind::PermissionDenied, "forbidden")),
        (vec![3], (ErrorKind::PermissionDenied, "forbidden")),
        (vec![2, 3], (ErrorKind::PermissionDenied, "forbidden")),
        (vec![2, 3], (ErrorKind::Invalid, frozen)),
    ] {
        let keys: Vec<String> = missing.iter().map(|id| format!("release/{id:09}")).collect();
        for key in &keys {
            whole.records.delete(key).await.expect("is deleted");
        }
        let ledger = Ledger { refuses: Some("release/"), refusal, ..Ledger::of(&setup) };
        let (environment, _) = ledger.open(&setup);
        let seen = release::status(&environment, &setup.resolved()).await.expect("is told");
        assert_eq!(seen.release, Some(ReleaseId(3)), "{missing:?}");
        for id in &missing {
            let release = history::release(&*environment.records, ReleaseId(*id)).await.expect("is told");
            let head = release.expect("is there").head;
            assert_eq!((head.id, &*head.versions["api"]), (ReleaseId(*id), &*format!("v{id}")));
        }
        for key in &keys {
            assert_eq!(whole.records.get(key).await.expect("can be read"), None, "nothing is written");
        }
        // Whoever may writes them again.
        whole.head().await.expect("can be read");
        history::release(&*whole.records, ReleaseId(2)).await.expect("can be read").expect("is there");
        assert_eq!(whole.records.list("release/").await.expect("can be read").len(), 3, "{missing:?}");
    }
}
