//! Jobs that the project file describes.

use serde_json::{Value, json};

use super::workload::{NAME, environment};
use crate::{model::JobSource, object::Object};

/// Renders a Job, or the one that takes it back.
pub(super) fn render(job: &JobSource, name: &str, image: &str, namespace: &str, undo: bool) -> Object {
    let mut container = json!({"name": name, "image": image,
        "resources": {
            "requests": {"cpu": job.cpu.0, "memory": job.memory.0},
            "limits": {"cpu": job.cpu.1, "memory": job.memory.1},
        },
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
    let command = if undo { job.undo.clone().unwrap_or_default() } else { job.command.clone() };
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    if !undo && !job.args.is_empty() {
        container["args"] = json!(job.args);
    }
    let env = environment(&job.env, &job.secrets);
    if !env.is_empty() {
        container["env"] = Value::Array(env);
    }
    let mut spec = json!({
        // A migration that failed half-way is not simply run again.
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 86_400,
        "template": {"metadata": {"labels": {NAME: name}}, "spec": {"restartPolicy": "Never", "containers": [container]}},
    });
    if let Some(timeout) = job.timeout {
        spec["activeDeadlineSeconds"] = timeout.0.into();
    }
    Object::from_value(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": {NAME: name}}, "spec": spec}))
    .expect("has kind and name")
}
