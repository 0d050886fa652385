//! Two operators with service accounts of their own, so that the audit log tells whose write it was.

use std::{
    path::PathBuf,
    process::{Child, Stdio},
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maily_testkit::harness::Stack;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::site::{Done, Site, done, finished};

pub(crate) struct Operators {
    pub(crate) stack: Stack,
    namespace: String,
}

/// A write as the audit log tells it.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) verb: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) code: i64,
    pub(crate) at: String,
}

impl Operators {
    /// Service accounts `first` and `second`, who may do everything in the namespace, and read namespaces.
    pub(crate) fn new(site: &Site) -> Self {
        let role = format!("fence-{}", site.namespace);
        let subjects = ["first", "second"]
            .map(|name| json!({"kind": "ServiceAccount", "name": name, "namespace": site.namespace}));
        let bind = |kind: &str, role_kind: &str| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": role},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
                "subjects": subjects})
        };
        let objects = [
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "first"}}),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "second"}}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": role},
                "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role},
                "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}]}),
            bind("RoleBinding", "Role"),
            bind("ClusterRoleBinding", "ClusterRole"),
        ];
        site.write("operators.yaml", &objects.map(|object| format!("---\n{object}\n")).concat());
        site.kubectl(&["apply", "-f", "operators.yaml"]).expect(0);
        let stack = Stack::from_env().expect("the test stack runs");
        stack.audit().expect("the stack writes an audit log");
        Self { stack, namespace: site.namespace.clone() }
    }

    /// A kubeconfig with an operator's token for the API server at this port, or the stack's own.
    pub(crate) fn kubeconfig(&self, site: &Site, name: &str, port: Option<u16>) -> PathBuf {
        let token = site.kubectl(&["create", "token", name]).expect(0).out;
        let authority = std::fs::read(self.stack.file("ca.crt")).expect("is there");
        let port = port.unwrap_or_else(|| self.stack.etcd().expect("is ours").port() - 1);
        let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "stack",
            "contexts": [{"name": "stack", "context": {"cluster": "stack", "user": name}}],
            "clusters": [{"name": "stack", "cluster": {"server": format!("https://127.0.0.1:{port}"),
                "certificate-authority-data": STANDARD.encode(authority)}}],
            "users": [{"name": name, "user": {"token": token.trim()}}]});
        let path = format!("{name}-{port}.kubeconfig");
        site.write(&path, &text.to_string());
        site.path().join(path)
    }

    /// Writes of an operator that were answered, dry runs apart.
    pub(crate) fn writes(&self, operator: &str) -> Vec<Write> {
        let user = format!("system:serviceaccount:{}:{operator}", self.namespace);
        let text = |event: &Value, pointer: &str| {
            event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let events = self.stack.audit().expect("the stack writes an audit log");
        events
            .iter()
            .filter(|event| event["user"]["username"] == user.as_str())
            .filter(|event| !text(event, "/requestURI").contains("dryRun=All"))
            .map(|event| Write {
                verb: text(event, "/verb"),
                resource: text(event, "/objectRef/resource"),
                name: text(event, "/objectRef/name"),
                code: event["responseStatus"]["code"].as_i64().unwrap_or_default(),
                at: text(event, "/stageTimestamp"),
            })
            .collect()
    }

    /// What took effect of the first operator's writes after the second had taken the lease, and what was refused.
    pub(crate) fn late(&self) -> (Vec<Write>, Vec<Write>) {
        let taken = self.writes("second");
        let taken = taken.iter().find(|write| write.resource == "leases" && write.code < 300);
        let taken = taken.expect("the second took the lease").at.clone();
        self.writes("first").into_iter().filter(|write| write.at > taken).partition(|write| write.code < 300)
    }
}

/// A process of an operator.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(site: &Site, kubeconfig: &PathBuf, args: &[&str]) -> Self {
        let mut command = site.command(args);
        command.env("KUBECONFIG", kubeconfig).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("starts"))
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).expect("is small");
        kill_process(Pid::from_raw(id).expect("is a process"), signal).expect("is told");
    }

    pub(crate) fn halt(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn end(self) -> Done {
        let start = Instant::now();
        finished(self.0.wait_with_output().expect("ends"), start.elapsed())
    }
}

/// Runs a command of an operator.
pub(crate) fn run(site: &Site, kubeconfig: &PathBuf, args: &[&str]) -> Done {
    let mut command = site.command(args);
    command.env("KUBECONFIG", kubeconfig);
    done(command)
}
