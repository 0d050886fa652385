//! A user of its own on the stack, whose requests the server counts apart, and namespaces with files for every tool.

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    measure::{self, Cell},
    servers::Servers,
    table::Scene,
    tools::Tool,
};

pub(crate) struct Place<'a> {
    servers: &'a Servers,
    admin: PathBuf,
    folder: TempDir,
}

/// A namespace with the manifests of two versions.
pub(crate) struct Site<'a> {
    place: &'a Place<'a>,
    namespace: String,
    folder: PathBuf,
    size: usize,
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl<'a> Place<'a> {
    /// Makes the user `bench`: what others on the cluster do is not counted.
    pub(crate) async fn prepare(servers: &'a Servers) -> Self {
        let admin = servers.kubeconfig();
        let kubectl = |config: &Path| kubectl(servers, config);
        let folder = TempDir::new().expect("can be made");
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bench", "namespace": "default"}},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "bench"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"kind": "ServiceAccount", "name": "bench", "namespace": "default"}]},
            {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "bench"},
                "spec": {"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 10,
                    "rules": [{"subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": "bench", "namespace": "default"}}],
                        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}],
                        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}},
        ]});
        let file = folder.path().join("bench.json");
        std::fs::write(&file, objects.to_string()).expect("can be written");
        output(kubectl(&admin).args(["apply", "--server-side", "-f"]).arg(&file));
        let token = output(kubectl(&admin).args(["create", "token", "bench", "--duration=24h"]));
        let own = std::fs::read_to_string(&admin).expect("can be read");
        let users = own.find("users:").expect("has users");
        let config =
            format!("{}users: [{{name: admin, user: {{token: '{}'}}}}]\n", &own[..users], token.trim());
        std::fs::write(folder.path().join("kubeconfig"), config).expect("can be written");
        tokio::time::sleep(Duration::from_secs(2)).await;
        Self { servers, admin, folder }
    }

    /// Who is measured, on what.
    pub(crate) fn versions(&self) -> String {
        let first = |mut command: Command| {
            let output = command.output().map(|output| output.stdout).unwrap_or_default();
            String::from_utf8_lossy(&output).lines().next().unwrap_or("absent").to_owned()
        };
        let with = |mut command: Command, args: &[&str]| {
            command.args(args);
            first(command)
        };
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let server = output(kubectl(self.servers, &self.admin).args(["get", "--raw", "/version"]));
        let server = serde_json::from_str::<serde_json::Value>(&server).unwrap_or_default();
        format!(
            "{cores} cores; Kubernetes {}; {}; kubectl {}; helm {}",
            server["gitVersion"].as_str().unwrap_or("unknown"),
            with(Command::new(env!("CARGO_BIN_EXE_mailyctl")), &["--version"]),
            with(Command::new(self.servers.program("kubectl")), &["version", "--client"]),
            with(Command::new(self.servers.program("helm")), &["version", "--short"]),
        )
    }

    /// What it takes to start at all.
    pub(crate) fn starts(&self) -> String {
        let mine = measure::start(|| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mailyctl"));
            command.arg("--version");
            command
        });
        let theirs = measure::start(|| {
            let mut command = Command::new(self.servers.program("kubectl"));
            command.args(["version", "--client"]);
            command
        });
        let (Some(mine), Some(theirs)) = (mine, theirs) else {
            return "start: a program is missing".to_owned();
        };
        format!(
            "**Start, milliseconds**\n\n| `mailyctl --version` | `kubectl version --client` | ratio |\n|---|---|---|\n| {:.1} | {:.1} | {:.2} |",
            mine.as_secs_f64() * 1e3,
            theirs.as_secs_f64() * 1e3,
            mine.as_secs_f64() / theirs.as_secs_f64(),
        )
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Requests of our user so far.
    fn requests(&self) -> f64 {
        let metrics = output(kubectl(self.servers, &self.admin).args(["get", "--raw", "/metrics"]));
        metrics
            .lines()
            .filter(|line| line.starts_with("apiserver_flowcontrol_dispatched_requests_total"))
            .filter(|line| line.contains(r#"flow_schema="bench""#))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    async fn measure(&self, size: usize, work: impl Future<Output = Result<f64, String>>) -> Cell {
        let before = self.requests();
        let start = Instant::now();
        let done = work.await;
        let took = start.elapsed();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let requests = (self.requests() - before) / size as f64;
        let failure = done.as_ref().err().cloned();
        Cell { took, requests, peak_mib: done.unwrap_or_default(), failure }
    }

    pub(crate) async fn site(&self, size: usize, name: &str) -> Site<'_> {
        let namespace = format!("bench-{size}-{name}");
        output(kubectl(self.servers, &self.admin).args(["create", "namespace", &namespace]));
        let folder = self.folder.path().join(&namespace);
        for version in ["v1", "v2"] {
            let all = manifests(size, version);
            // kubectl can wait for nothing else.
            let waited: String =
                all.split_inclusive("---\n").filter(|part| part.contains("kind: Deployment")).collect();
            write(&folder.join(format!("{version}-deployments.yaml")), &waited);
            write(&folder.join(format!("manifests/{version}.yaml")), &all);
            write(
                &folder.join(format!("{version}/Chart.yaml")),
                "apiVersion: v2\nname: bench\nversion: 1.0.0\n",
            );
            write(&folder.join(format!("{version}/templates/all.yaml")), &manifests(size, version));
        }
        let site = Site { place: self, namespace, folder, size };
        let maily = |args: &[&str]| {
            output(site.mailyctl().args(args));
        };
        maily(&["init", "--from", "manifests/{version}.yaml", "--version", "v1", "--name", "bench"]);
        maily(&["env", "bind", "production", "--namespace", &site.namespace]);
        site
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("has a parent")).expect("can be made");
    std::fs::write(path, text).expect("can be written");
}

fn manifests(size: usize, version: &str) -> String {
    (0..size)
        .map(|number| {
            let name = format!("svc-{number:04}");
            format!(
                r#"---
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, labels: {{app: {name}}}}}
data: {{LOG_LEVEL: info, NUMBER: "{number}"}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: app
        image: registry.example/bench/{name}:{version}
        ports: [{{containerPort: 8080}}]
        envFrom: [{{configMapRef: {{name: {name}}}}}]
        readinessProbe: {{httpGet: {{path: /ready, port: 8080}}}}
        resources: {{requests: {{cpu: 10m, memory: 16Mi}}, limits: {{memory: 64Mi}}}}
"#
            )
        })
        .collect()
}

fn kubectl(servers: &Servers, config: &Path) -> Command {
    let mut command = Command::new(servers.program("kubectl"));
    command.arg("--kubeconfig").arg(config);
    command
}

impl Site<'_> {
    /// Carries out and measures.
    pub(crate) async fn cell(&self, tool: Tool, scene: Scene) -> Cell {
        measure::quiet().await;
        self.place.measure(self.size, self.run(tool, scene)).await
    }

    fn mailyctl(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailyctl"));
        command.current_dir(&self.folder).env("KUBECONFIG", self.place.kubeconfig());
        command
    }

    /// The namespace, with its user.
    fn kubectl(&self) -> Command {
        let mut command = kubectl(self.place.servers, &self.place.kubeconfig());
        command.current_dir(&self.folder).args(["--namespace", &self.namespace]);
        command
    }

    fn helm(&self, raised: bool) -> Command {
        let mut command = Command::new(self.place.servers.program("helm"));
        command.current_dir(&self.folder).arg("--kubeconfig").arg(self.place.kubeconfig());
        command.args(["--namespace", &self.namespace]);
        if raised {
            command.args(["--qps", "2000", "--burst-limit", "4000"]);
        }
        command
    }

    async fn run(&self, tool: Tool, scene: Scene) -> Result<f64, String> {
        let version = scene.version();
        let with = |mut command: Command, args: &[&str]| {
            command.args(args);
            command
        };
        let file = format!("manifests/{version}.yaml");
        let commands = match tool {
            Tool::Bare => {
                let file = self.folder.join(file);
                let config = self.place.kubeconfig();
                vec![crate::bare::command(&config, &self.namespace, self.size, &file)]
            }
            Tool::Mailyctl if scene == Scene::Rollback => {
                vec![with(self.mailyctl(), &["rollback", "--to-version", "v1", "--yes", "--quiet"])]
            }
            Tool::Mailyctl => {
                vec![with(self.mailyctl(), &["deploy", "--version", version, "--yes", "--quiet"])]
            }
            Tool::MailyctlPlan => {
                vec![
                    with(self.mailyctl(), &["plan", "--version", version, "--out", "plan.json", "--quiet"]),
                    with(self.mailyctl(), &["apply", "plan.json", "--yes", "--quiet"]),
                ]
            }
            Tool::Kubectl => vec![
                with(self.kubectl(), &["apply", "--server-side", "-f", &file]),
                with(
                    self.kubectl(),
                    &["rollout", "status", "-f", &format!("{version}-deployments.yaml"), "--timeout=600s"],
                ),
            ],
            Tool::Helm | Tool::HelmRaised => {
                let helm = self.helm(tool == Tool::HelmRaised);
                vec![match scene {
                    Scene::Rollback => with(helm, &["rollback", "bench", "1", "--wait", "--timeout", "600s"]),
                    _ => {
                        with(helm, &["upgrade", "--install", "bench", version, "--wait", "--timeout", "600s"])
                    }
                }]
            }
        };
        measure::run(commands).await
    }

    /// Ends the namespace, and waits: what still goes would be measured with the next one.
    pub(crate) async fn remove(&self) {
        output(kubectl(self.place.servers, &self.place.admin).args([
            "delete",
            "namespace",
            &self.namespace,
            "--wait=true",
            "--timeout=300s",
        ]));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
