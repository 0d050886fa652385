//! Single requests that are refused: what may be asked again is asked again, and a refusal is not taken for an answer.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use futures::StreamExt as _;
use maily_core::{
    engine::{
        Depth, EnvironmentError, RunEnd, Storage,
        journal::{JournalError, JournalEvent},
        planner::PlanOptions,
    },
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterInfo, Created, Deleted, Dependents, ErrorKind, Follow,
        ListQuery, LogOptions, LogStream, Permission, Precondition, ProviderError, RecordStore as _,
        WatchStream, WriteOptions, patch_of,
    },
    records::ClusterRecords,
    release::{logs, runs},
};
use maily_testkit::sim::SimCluster;
use serde_json::json;

use crate::setup::{Setup, fault, succeeded};

/// A cluster that refuses the first requests of an operation on what has this in its name.
struct Refusing {
    cluster: SimCluster,
    operation: &'static str,
    what: &'static str,
    kind: ErrorKind,
    left: AtomicU32,
}

impl fmt::Debug for Refusing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusing").finish_non_exhaustive()
    }
}

impl Refusing {
    /// Puts one before the world of a setup, for one request.
    fn once(setup: &mut Setup, operation: &'static str, what: &'static str, kind: ErrorKind) -> Arc<Self> {
        let cluster = SimCluster::new(Arc::clone(&setup.shared));
        let refusing = Arc::new(Self { cluster, operation, what, kind, left: AtomicU32::new(1) });
        setup.cluster = Some(Arc::clone(&refusing) as _);
        refusing
    }

    fn has_refused(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn ask(&self, operation: &'static str, what: impl fmt::Display) -> Result<(), ProviderError> {
        let what = what.to_string();
        if operation != self.operation || !what.contains(self.what) {
            return Ok(());
        }
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(ProviderError::new(self.kind, "kubernetes", operation, what, "not now")),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Cluster for Refusing {
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
        self.ask("get", key)?;
        self.cluster.get(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.ask("list", &query.kind)?;
        self.cluster.list(query).await
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.cluster.list_metadata(query).await
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        self.ask("write", object.key())?;
        self.cluster.write(object, options).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        // Not refused: a person is a moment faster.
        if self.ask("delete", key).is_err() {
            let mine = patch_of(key, json!({"data": {"q.conf": "mine"}})).expect("has kind and name");
            self.cluster.write(&mine, &WriteOptions::merge("kubectl-edit", Precondition::Any)).await?;
        }
        self.cluster.delete(key, precondition, dependents).await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        self.ask("watch", &query.kind)?;
        self.cluster.watch(query).await
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        self.ask("logs", pod)?;
        self.cluster.logs(pod, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_over_something_else_is_no_record_that_exists() {
    let mut setup = Setup::new(201);
    // The API server answers so where a quota changes at the same moment.
    let refusing = Refusing::once(&mut setup, "write", "maily-production.run.", ErrorKind::Conflict);
    let records = ClusterRecords::new(refusing, "production", "shop");
    let key = "run/20260101-000000-aaaaaa/000000";
    let error = records.create(key, b"{}").await.expect_err("nothing is there");
    assert!(error.is_transient(), "{error}");
    assert_eq!(records.create(key, b"{}").await.expect("is free"), Created::Created);
    assert_eq!(records.create(key, b"{}").await.expect("answers"), Created::Exists);
}

#[tokio::test(start_paused = true)]
async fn values_are_stored_again_while_the_api_refuses() {
    let mut setup = Setup::new(202);
    let refusing = Refusing::once(&mut setup, "write", "maily-payload-", ErrorKind::Unavailable);
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-token", "namespace": "shop"},
        "stringData": {"token": "hunter2"}});
    let api = wanted.services.get_mut("api").expect("is there");
    api.objects.push(Object::from_value(secret).expect("is an object"));
    let head = environment.head().await.expect("can be read");
    let options = PlanOptions::default();
    let planned = environment.plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
    let end = environment.run(planned.expect("can be planned"), &setup.options("tester")).await;
    assert!(succeeded(&end.expect("runs")) && refusing.has_refused());
}

#[tokio::test(start_paused = true)]
async fn logs_are_asked_for_again_while_the_api_refuses() {
    for (operation, what, follow) in [
        ("list", "Pod", Follow::No),
        ("logs", "Pod", Follow::No),
        ("watch", "Pod", Follow::Yes),
        ("logs", "Pod", Follow::Yes),
    ] {
        let mut setup = Setup::new(203);
        assert!(succeeded(&setup.deploy("v1").await));
        let refusing = Refusing::once(&mut setup, operation, what, ErrorKind::Unavailable);
        let options = LogOptions { follow, ..LogOptions::default() };
        let told = logs(&setup.environment(), "worker", &options).await;
        let mut lines = told.expect("is asked again").expect("has pods").lines;
        lines.next().await.expect("tells something").expect("is a line");
        assert!(refusing.has_refused(), "{operation} of {what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_could_not_be_opened_is_opened_with_the_next_change_of_its_pod() {
    let mut setup = Setup::new(204);
    assert!(succeeded(&setup.deploy("v1").await));
    // The kubelet knows a container some time after the status tells of it.
    let refusing = Refusing::once(&mut setup, "logs", "Pod", ErrorKind::Invalid);
    let options = LogOptions { follow: Follow::Yes, ..LogOptions::default() };
    let told = logs(&setup.environment(), "worker", &options).await;
    let mut lines = told.expect("can be read").expect("has pods").lines;
    let soon = std::time::Duration::from_secs(60);
    let first = maily_core::runtime::within(&*setup.runtime, soon, lines.next()).await;
    assert!(first.is_none() && refusing.has_refused(), "{first:?}");
    let pods: Vec<ObjectKey> = {
        let world = setup.shared.world();
        world.of_kind("Pod").into_iter().map(|pod| pod.key().clone()).collect()
    };
    for pod in pods {
        let touched = json!({"metadata": {"labels": {"touched": "yes"}}});
        setup.shared.world().edit_as("kubectl-label", &pod, touched).expect("is there");
    }
    let line = maily_core::runtime::within(&*setup.runtime, soon, lines.next()).await;
    line.expect("is opened now").expect("goes on").expect("is a line");
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_secret_was_emptied_is_damaged_and_hides_no_other() {
    let setup = Setup::new(205);
    for version in ["v1", "v2"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    let environment = setup.environment();
    let cluster = &environment.providers.cluster;
    let run = runs(&*environment.records, 9).await.expect("can be read")[1].run.clone();
    for (name, data) in [
        (format!("run.{run}.000000"), json!({"record": null})),
        ("release.000000002".to_owned(), json!({"other": "e30="})),
    ] {
        let key =
            ObjectKey::new(ObjectKind::new("v1", "Secret"), Some("shop"), format!("maily-production.{name}"));
        let mut object = cluster.get(&key).await.expect("answers").expect("is there").without_server_fields();
        cluster.delete(&key, &Precondition::Any, Dependents::Follow).await.expect("is deleted");
        object.edit(|body| body["data"] = data.clone());
        let options = WriteOptions::apply("kubectl", Precondition::Absent);
        cluster.write(&object, &options).await.expect("is made again");
        match name.starts_with("run") {
            true => {
                let known = runs(&*environment.records, 9).await.expect("can be read");
                assert_eq!((known.len(), known.iter().filter(|run| run.damaged.is_some()).count()), (2, 1));
            }
            false => {
                let error = environment.head().await.expect_err("is damaged");
                assert!(
                    matches!(&error, EnvironmentError::Journal(JournalError::Damaged { key, .. }) if key == "release/000000002"),
                    "{error:?}"
                );
                assert!(
                    environment
                        .begin_anew(&setup.options("tester"))
                        .await
                        .expect("can be begun anew")
                        .is_some()
                );
            }
        }
    }
}

/// Controllers write at the same time as we do.
#[tokio::test(start_paused = true)]
pub(crate) async fn a_conflict_over_what_is_still_as_captured_ends_no_step() {
    let mut setup = Setup::new(206);
    assert!(succeeded(&setup.deploy("v1").await));
    let refusing = Refusing::once(&mut setup, "write", "Deployment shop/web", ErrorKind::Conflict);
    let end = setup.deploy("v2").await;
    assert!(succeeded(&end) && refusing.has_refused(), "{end:?}");
}

/// Whoever holds the environment now goes on with the run as it was.
#[tokio::test(start_paused = true)]
pub(crate) async fn a_refusal_because_of_a_newer_epoch_is_no_failure_of_a_step() {
    let mut setup = Setup::new(207);
    assert!(succeeded(&setup.deploy("v1").await));
    let refusing = Refusing::once(&mut setup, "write", "Deployment shop/web", ErrorKind::StaleEpoch);
    let error = setup.try_to_deploy("v2").await.expect_err("has lost the environment");
    assert!(refusing.has_refused());
    assert!(matches!(error, EnvironmentError::Journal(JournalError::NotHolder { .. })), "{error}");
    let head = setup.environment().head().await.expect("can be read");
    let events = head.unfinished.expect("has not ended").recorded.events;
    let fails =
        |event: &JournalEvent| matches!(event, JournalEvent::StepFailed { .. } | JournalEvent::Turned { .. });
    assert!(!events.iter().any(|(_, event)| fails(event)), "{events:?}");
}

/// Between the last look at an object and its delete.
#[tokio::test(start_paused = true)]
pub(crate) async fn what_a_person_changes_a_moment_before_its_delete_stays() {
    let mut setup = Setup::new(208);
    let faster = Refusing::once(&mut setup, "delete", "ConfigMap shop/queue", ErrorKind::Conflict);
    setup.shared.world().faults.push(fault("crash web@v1"));
    let end = setup.deploy("v1").await;
    assert!(faster.has_refused());
    let RunEnd::Stuck { items, .. } = &end else { panic!("{end:?}") };
    assert!(items.iter().any(|item| item.why.cause == "changed"), "{items:?}");
    let world = setup.shared.world();
    let kept: Vec<_> =
        world.of_kind("ConfigMap").iter().map(|o| o.text("/data/q.conf").map(str::to_owned)).collect();
    assert!(kept.contains(&Some("mine".to_owned())), "{kept:?}");
}

/// A container was restarted, and its node has thrown away what the instance before had said.
#[tokio::test(start_paused = true)]
async fn an_earlier_log_that_its_node_has_lost_is_named() {
    let mut setup = Setup::new(117);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("crash worker"));
    setup.runtime.sleep(std::time::Duration::from_secs(20)).await;
    let options = LogOptions { previous: true, ..LogOptions::default() };
    let logs = async |setup: &Setup, options| {
        let logs =
            maily_core::release::logs(&setup.environment(), "worker", options).await.expect("can be read");
        let logs = logs.expect("has pods");
        (logs.lines.collect::<Vec<_>>().await.len(), logs.lost)
    };
    let (lines, lost) = logs(&setup, &options).await;
    assert!(lines > 0 && lost.is_empty(), "{lines} {lost:?}");
    Refusing::once(&mut setup, "logs", "Pod", ErrorKind::Invalid);
    let (lines, lost) = logs(&setup, &options).await;
    assert!(lines == 0 && lost.len() == 1, "{lines} {lost:?}");
    assert!(lost[0].starts_with("worker-") && lost[0].ends_with(" worker"), "{lost:?}");
}
