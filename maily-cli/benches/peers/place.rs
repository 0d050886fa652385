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
    tools::Tool,
};

pub(crate) struct Place {
    admin: PathBuf,
    folder: TempDir,
}

/// A namespace with the manifests of two versions.
pub(crate) struct Site<'a> {
    place: &'a Place,
    pub(crate) namespace: String,
    pub(crate) folder: PathBuf,
    pub(crate) size: usize,
}

fn kubectl(config: &Path) -> Command {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(config);
    command
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("kubectl starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Place {
    /// Makes the user `bench`: what others on the cluster do is not counted.
    pub(crate) async fn prepare(stack: &Path) -> Self {
        let admin = stack.join("admin.kubeconfig").canonicalize().expect("the stack runs");
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
        Self { admin, folder }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Requests of our user so far.
    fn requests(&self) -> f64 {
        let metrics = output(kubectl(&self.admin).args(["get", "--raw", "/metrics"]));
        metrics
            .lines()
            .filter(|line| line.starts_with("apiserver_flowcontrol_dispatched_requests_total"))
            .filter(|line| line.contains(r#"flow_schema="bench""#))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub(crate) async fn measure(&self, size: usize, work: impl Future<Output = f64>) -> Cell {
        let before = self.requests();
        let start = Instant::now();
        let peak_mib = work.await;
        let took = start.elapsed();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let requests = (self.requests() - before) / size as f64;
        Cell { took, requests, peak_mib }
    }

    pub(crate) async fn site(&self, size: usize, name: &str) -> Site<'_> {
        let namespace = format!("bench-{size}-{name}");
        output(kubectl(&self.admin).args(["create", "namespace", &namespace]));
        let folder = self.folder.path().join(&namespace);
        for version in ["v1", "v2"] {
            write(&folder.join(format!("manifests/{version}.yaml")), &manifests(size, version));
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

impl Site<'_> {
    fn mailyctl(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailyctl"));
        command.current_dir(&self.folder).env("KUBECONFIG", self.place.kubeconfig());
        command
    }

    /// The namespace, with its user.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = kubectl(&self.place.kubeconfig());
        command.current_dir(&self.folder).args(["--namespace", &self.namespace]);
        command
    }

    fn helm(&self, raised: bool) -> Command {
        let mut command = Command::new("helm");
        command.current_dir(&self.folder).arg("--kubeconfig").arg(self.place.kubeconfig());
        command.args(["--namespace", &self.namespace]);
        if raised {
            command.args(["--qps", "2000", "--burst-limit", "4000"]);
        }
        command
    }

    pub(crate) async fn run(&self, tool: Tool, scene: &str) -> f64 {
        let version = if scene == "install" || scene == "rollback" { "v1" } else { "v2" };
        let with = |mut command: Command, args: &[&str]| {
            command.args(args);
            command
        };
        let file = format!("manifests/{version}.yaml");
        let commands = match tool {
            Tool::Bare => {
                return crate::bare::run(
                    &self.place.kubeconfig(),
                    &self.namespace,
                    self.size,
                    &self.folder.join(file),
                )
                .await;
            }
            Tool::Mailyctl if scene == "rollback" => {
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
                with(self.kubectl(), &["rollout", "status", "-f", &file, "--timeout=180s"]),
            ],
            Tool::Helm | Tool::HelmRaised => {
                let helm = self.helm(tool == Tool::HelmRaised);
                vec![match scene {
                    "rollback" => with(helm, &["rollback", "bench", "1", "--wait", "--timeout", "180s"]),
                    _ => {
                        with(helm, &["upgrade", "--install", "bench", version, "--wait", "--timeout", "180s"])
                    }
                }]
            }
        };
        measure::run(commands).await
    }

    /// Ends the namespace, and waits: what still goes would be measured with the next one.
    pub(crate) async fn remove(&self) {
        let admin = &self.place.admin;
        output(kubectl(admin).args([
            "delete",
            "namespace",
            &self.namespace,
            "--wait=true",
            "--timeout=300s",
        ]));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
