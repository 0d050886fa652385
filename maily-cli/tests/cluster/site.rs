//! A project in a folder, and a namespace of its own on the test stack.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster, ListQuery, Precondition, WriteOptions},
};
use maily_k8s::{ConnectOptions, KubeCluster};
use maily_testkit::harness::Stack;
use serde_json::{Value, json};
use tempfile::TempDir;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Kinds that an application consists of.
const KINDS: [(&str, &str); 15] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "Ingress"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
];
/// Kinds that stand beside it: what maily keeps for itself, and what controllers make of it.
const BESIDE: [(&str, &str); 2] = [("coordination.k8s.io/v1", "Lease"), ("v1", "PersistentVolumeClaim")];
/// Kinds that nobody writes but clients: a new version of one of these is somebody's write.
const STILL: [&str; 8] =
    ["ConfigMap", "Secret", "Service", "Lease", "NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"];

pub(crate) struct Site {
    folder: TempDir,
    kubeconfig: PathBuf,
    pub(crate) namespace: String,
    pub(crate) cluster: Arc<dyn Cluster>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Done {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// What a run told, one event a line.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect()
    }

    /// Steps of events of this name in their order, without the ends of phases.
    pub(crate) fn steps(&self, name: &str) -> Vec<String> {
        let events = self.events().into_iter().filter(|event| event["event"] == name);
        let steps = events.map(|event| event["step"].as_str().expect("is text").to_owned());
        steps.filter(|step| !step.ends_with("/phase-end")).collect()
    }
}

impl Site {
    pub(crate) async fn new(purpose: &str) -> Self {
        let stack = Stack::from_env().expect("the test stack runs");
        let kubeconfig = stack.kubeconfig();
        let options = ConnectOptions { kubeconfig: Some(kubeconfig.clone()), context: None };
        let cluster: Arc<dyn Cluster> = Arc::new(KubeCluster::connect(&options).await.expect("connects"));
        let namespace = format!("{purpose}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let object = Object::from_value(body).expect("is an object");
        cluster.write(&object, &WriteOptions::apply("test", Precondition::Any)).await.expect("is made");
        let site = Self { folder: TempDir::new().expect("can be made"), kubeconfig, namespace, cluster };
        site.until("the namespace has its service account", async || {
            site.get("v1", "ServiceAccount", "default").await.is_some()
        })
        .await;
        site
    }

    /// A site whose environment is bound, for manifests of this pattern.
    pub(crate) async fn bound(purpose: &str, manifests: &[(&str, String)]) -> Self {
        let site = Self::new(purpose).await;
        for (version, text) in manifests {
            site.write(&format!("manifests/{version}.yaml"), text);
        }
        let version = manifests[0].0;
        site.run(&["init", "--from", "manifests/{version}.yaml", "--version", version, "--name", "shop"])
            .expect(0);
        site.bind();
        site
    }

    pub(crate) fn bind(&self) {
        self.run(&["env", "bind", "production", "--namespace", &self.namespace]).expect(0);
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("can be made");
        std::fs::write(path, text).expect("can be written");
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailyctl"));
        command.args(args).current_dir(self.path()).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        command.env_remove("GITHUB_ACTIONS");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        done(self.command(args))
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    }

    pub(crate) fn kubectl(&self, args: &[&str]) -> Done {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--namespace", &self.namespace]).args(args);
        command.current_dir(self.path());
        done(command)
    }

    pub(crate) async fn get(&self, version: &str, kind: &str, name: &str) -> Option<Object> {
        let key = ObjectKey::new(ObjectKind::new(version, kind), Some(&self.namespace), name);
        self.cluster.get(&key).await.expect("answers")
    }

    pub(crate) async fn image(&self, deployment: &str) -> String {
        let object = self.get("apps/v1", "Deployment", deployment).await.expect("is there");
        object.text("/spec/template/spec/containers/0/image").expect("has an image").to_owned()
    }

    /// Objects of a kind in the namespace.
    pub(crate) async fn list(&self, version: &str, kind: &str) -> Vec<Object> {
        let query = ListQuery::new(ObjectKind::new(version, kind), Some(&self.namespace));
        self.cluster.list(&query).await.expect("answers")
    }

    /// Everything of the application, as it is.
    pub(crate) async fn objects(&self) -> Vec<Object> {
        let mut found = Vec::new();
        for (version, kind) in KINDS {
            let listed = self.list(version, kind).await;
            found.extend(listed.into_iter().filter(|object| {
                let name = object.name();
                !name.starts_with("maily-")
                    && name != "kube-root-ca.crt"
                    && !(kind == "ServiceAccount" && name == "default")
            }));
        }
        found
    }

    /// What an application is, without what the server, the controllers and maily keep on it.
    pub(crate) async fn content(&self) -> Vec<Value> {
        self.objects().await.iter().map(|object| content(object, &self.namespace)).collect()
    }

    /// All that a write would change, whoever's the object is: what maily keeps for itself is among it, as are its marks
    /// on other objects and who has written which field when. Controllers may go on meanwhile.
    pub(crate) async fn traces(&self) -> Vec<Value> {
        let mut found = Vec::new();
        for (version, kind) in KINDS.into_iter().chain(BESIDE) {
            found.extend(self.list(version, kind).await.iter().map(trace));
        }
        found
    }

    /// How many segments of journals are on record.
    pub(crate) async fn segments(&self) -> usize {
        let query = ListQuery::new(ObjectKind::new("v1", "Secret"), Some(&self.namespace));
        self.cluster.list(&query.label("maily.dev/record", "run")).await.expect("answers").len()
    }

    pub(crate) async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !is_so().await {
            assert!(Instant::now() < until, "not so after 60 s: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn trace(object: &Object) -> Value {
    let mut value = object.to_value();
    value.as_object_mut().expect("is a map").remove("status");
    let metadata = value["metadata"].as_object_mut().expect("is a map");
    if !STILL.contains(&object.kind()) {
        metadata.remove("resourceVersion");
    }
    if let Some(managers) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
        managers.retain(|entry| {
            entry["manager"] != "kube-controller-manager" && entry["subresource"] != "status"
        });
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
    }
    value
}

fn content(object: &Object, namespace: &str) -> Value {
    let mut value = object.to_value();
    value.as_object_mut().expect("is a map").remove("status");
    let metadata = value["metadata"].as_object_mut().expect("is a map");
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        metadata.remove(field);
    }
    metadata.insert("namespace".into(), json!("here"));
    for field in ["annotations", "labels"] {
        if let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) {
            map.retain(|key, _| !key.starts_with("maily.dev/") && key != "deployment.kubernetes.io/revision");
            if map.is_empty() {
                metadata.remove(field);
            }
        }
    }
    if object.kind() == "Service" {
        let spec = value["spec"].as_object_mut().expect("is a map");
        for field in ["clusterIP", "clusterIPs", "healthCheckNodePort"] {
            spec.remove(field);
        }
        for port in spec["ports"].as_array_mut().expect("is a list") {
            port.as_object_mut().expect("is a map").remove("nodePort");
        }
    }
    serde_json::from_str(&value.to_string().replace(namespace, "here")).expect("is JSON")
}

pub(crate) fn done(mut command: Command) -> Done {
    let start = Instant::now();
    let output = command.output().expect("starts");
    finished(output, start.elapsed())
}

pub(crate) fn finished(output: Output, took: Duration) -> Done {
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        took,
    }
}

/// A Deployment with a Service and a ConfigMap; annotations tell the simulated nodes how its pods behave.
pub(crate) fn app(name: &str, version: &str, annotations: Value) -> String {
    let labels = json!({"app": name});
    let documents = [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"VERSION": version}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [{"name": "main", "image": format!("registry.example/shop/{name}:{version}"),
                    "envFrom": [{"configMapRef": {"name": name}}]}]}}}}),
    ];
    // With a separator first, other clients take it for YAML, not for a stream of JSON.
    documents.map(|document| format!("---\n{document}\n")).concat()
}

/// A manifest of these objects.
pub(crate) fn documents(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object}\n")).collect()
}

/// A pod behaviour of the stack.
pub(crate) fn behaves(how: &str) -> Value {
    json!({"stack.maily.dev/behaviour": how})
}
