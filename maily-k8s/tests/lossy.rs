//! A real API server over a line that loses answers: what was asked for happened, and nobody says so. And over one that
//! loses its connections without a word.

#![allow(clippy::disallowed_methods, reason = "tests of processes live by the machine's clock")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use kube::client::Body;
use maily_core::{
    Providers,
    engine::{Depth, Environment, Outcome, RunEnd, RunOptions, Storage, planner::PlanOptions},
    model::Project,
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster, Dependents, ListQuery, Precondition, WriteOptions},
    records::ClusterRecords,
    release::{DeployScope, deploy},
    runtime::{Runtime, TokioRuntime},
    source::{ProgramTools, RenderRequest, render},
};
use maily_k8s::{ConnectOptions, KubeCluster};
use maily_testkit::harness::Stack;
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
};

const PROJECT: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: NAMESPACE}
services:
  api: {workload: {port: 8000, scale: 2}}
  web: {needs: [api], workload: {port: 8080, scale: 1, config: {web.conf: 'size 1'}}}
";

/// Passes every request on; of the answers to writes every `each`th becomes a 504.
#[derive(Clone)]
struct Lossy {
    client: kube::Client,
    each: u64,
    writes: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl tower::Service<Request<Body>> for Lossy {
    type Response = Response<UnsyncBoxBody<Bytes, kube::Error>>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, Result<Self::Response, kube::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let dry = request.uri().query().is_some_and(|query| query.contains("dryRun"));
            // Before a run has begun, an error ends it and nothing has happened.
            let begins =
                ["/leases/", ".epoch.", "maily-key-"].iter().any(|part| request.uri().path().contains(part));
            let writes = *request.method() != Method::GET && !dry && !begins;
            let answer = this.client.send(request).await?;
            let turn = if writes { this.writes.fetch_add(1, Ordering::SeqCst) } else { 0 };
            if writes && turn % this.each == this.each - 1 && answer.status().is_success() {
                this.lost.fetch_add(1, Ordering::SeqCst);
                let body = json!({"kind": "Status", "code": 504, "reason": "Timeout", "message": "the line lost it"});
                let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
                let answer = Response::builder().status(504).body(body.boxed_unsync());
                return answer.map_err(kube::Error::HttpError);
            }
            Ok(answer.map(|body| body.boxed_unsync()))
        })
    }
}

struct Setup {
    environment: Environment,
    sure: Arc<dyn Cluster>,
    lost: Arc<AtomicU64>,
    namespace: String,
}

impl Setup {
    async fn new(each: u64) -> Self {
        let stack = Stack::from_env().expect("the test stack runs");
        let read = kube::config::Kubeconfig::read_from(stack.kubeconfig()).expect("can be read");
        let mut config =
            kube::Config::from_custom_kubeconfig(read, &Default::default()).await.expect("is one");
        config.default_retry = false;
        let client = kube::Client::try_from(config).expect("is a client");
        let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
        let sure: Arc<dyn Cluster> = Arc::new(KubeCluster::with_client(client.clone(), Arc::clone(&runtime)));
        let lost = Arc::new(AtomicU64::new(0));
        let lossy = Lossy { client, each, writes: Arc::default(), lost: Arc::clone(&lost) };
        let lossy = kube::Client::new(lossy, "default");
        let cluster: Arc<dyn Cluster> = Arc::new(KubeCluster::with_client(lossy, Arc::clone(&runtime)));
        let namespace = format!("lossy-{each}-{}", std::process::id());
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let object = Object::from_value(body).expect("is an object");
        sure.write(&object, &WriteOptions::apply("test", Precondition::Any)).await.expect("is made");
        let identity = sure.describe().await.expect("answers").identity;
        let environment = Environment {
            project: "shop".into(),
            name: "production".into(),
            namespace: namespace.clone(),
            identity: Some(identity),
            fencing: maily_core::model::Fencing::None,
            retention: maily_core::model::Retention::default(),
            providers: Providers { cluster: Arc::clone(&cluster), frontend: None, prober: None },
            records: Arc::new(ClusterRecords::new(cluster, "production", &namespace)),
            runtime,
        };
        Self { environment, sure, lost, namespace }
    }

    async fn deploy(&self, version: &str) -> RunEnd {
        let project = PROJECT.replace("NAMESPACE", &self.namespace);
        let project = Project::parse(&project, "maily.yaml").expect("a project");
        let resolved = project.resolve("production").expect("is there");
        let version = version.parse().expect("a version");
        let request = RenderRequest { resolved: &resolved, version: &version, only: None, accept_new: false };
        let rendered = render(&request, &ProgramTools).await.expect("renders");
        let environment = &self.environment;
        let head = environment.head().await.expect("can be read");
        let base = environment.released(&head).await.expect("can be read");
        let wanted = deploy(&resolved, rendered, &version, base.as_ref(), &DeployScope::default());
        let options = PlanOptions::default();
        let planned = environment
            .plan(&wanted, head, base.as_ref(), &options, Depth::Read, Storage::Passing)
            .await
            .expect("can be planned");
        environment.run(planned, &RunOptions::new("tester")).await.expect("runs")
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn t15_what_was_committed_and_answered_504_is_our_own() {
    // Among the writes of a run are creates, updates, records, the epoch and the lease: other ones each time.
    for each in [2, 3, 5] {
        let setup = Setup::new(each).await;
        for version in ["v1", "v2"] {
            let end = setup.deploy(version).await;
            let good = matches!(&end, RunEnd::Over { outcome: Outcome::Succeeded { .. }, .. });
            assert!(good, "every {each}th answer lost, {version}: {end:?}");
        }
        let lost = setup.lost.load(Ordering::SeqCst);
        assert!(lost >= 3, "only {lost} answers were lost");
        let kind = ObjectKind::new("apps/v1", "Deployment");
        let query = ListQuery::new(kind, Some(&setup.namespace));
        let found = setup.sure.list(&query).await.expect("answers");
        assert_eq!(found.len(), 2, "each was made once");
        for deployment in found {
            let image = deployment.text("/spec/template/spec/containers/0/image").expect("has one");
            assert!(image.ends_with(":v2"), "{image}");
        }
        let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, &setup.namespace);
        setup.sure.delete(&key, &Precondition::Any, Dependents::Follow).await.expect("is accepted");
    }
}

/// Passes connections on, until it is told to forget those that it has: they stay open, and nothing comes through.
async fn forgetful(server: String, forget: Arc<Notify>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("has a port");
    let port = listener.local_addr().expect("has one").port();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let (server, forget) = (server.clone(), Arc::clone(&forget));
            tokio::spawn(async move {
                let mut there = TcpStream::connect(server).await.expect("listens");
                tokio::select! {
                    _ = copy_bidirectional(&mut here, &mut there) => {}
                    () = forget.notified() => std::future::pending().await,
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_connection_that_something_on_the_way_has_forgotten_is_made_anew_before_a_lease_is_lost() {
    let stack = Stack::from_env().expect("the test stack runs");
    let mut kubeconfig = kube::config::Kubeconfig::read_from(stack.kubeconfig()).expect("can be read");
    let cluster = kubeconfig.clusters[0].cluster.as_mut().expect("has one");
    let server: http::Uri = cluster.server.as_deref().expect("has one").parse().expect("is an address");
    let forget = Arc::new(Notify::new());
    let address = format!("{}:{}", server.host().expect("has one"), server.port_u16().unwrap_or(443));
    let port = forgetful(address, Arc::clone(&forget)).await;
    cluster.tls_server_name.get_or_insert(server.host().expect("has one").to_owned());
    cluster.server = Some(format!("https://127.0.0.1:{port}"));
    let folder = tempfile::TempDir::new().expect("can be made");
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, serde_json::to_string(&kubeconfig).expect("is JSON")).expect("can be written");
    let options = ConnectOptions { kubeconfig: Some(path), context: None };
    let cluster = KubeCluster::connect(&options).await.expect("is one");
    let query = ListQuery::new(ObjectKind::new("v1", "Namespace"), None);
    let mut watch = cluster.watch(&query).await.expect("opens");
    watch.next().await.expect("begins").expect("is listed");
    forget.notify_waiters();
    let start = std::time::Instant::now();
    while let Err(error) = cluster.describe().await {
        assert!(error.is_transient(), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
