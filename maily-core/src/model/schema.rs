//! The JSON Schema of the project file, for editors.

use serde_json::{Value, json};

/// The schema. The parser is stricter where a schema cannot say it.
pub fn schema() -> Value {
    let name = json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"});
    let words =
        json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number"]}}]});
    let span = json!({"type": "string", "pattern": "^([0-9]+[smhd])*[0-9]*[1-9][0-9]*[smhd]([0-9]+[smhd])*$", "description": "such as 90s, 15m, 1h30m; at least 1s"});
    let pairs = json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}});
    let secrets = json!({"type": "object", "additionalProperties": {"type": "string", "pattern": "^secret:[^#]+#.+$"},
        "description": "variables from Secrets of the cluster: secret:NAME#KEY"});
    let cpu = json!({"type": ["string", "number"], "description": "request..limit, such as 250m..1"});
    let memory = json!({"type": "string", "description": "request..limit, such as 512Mi..1Gi"});
    let port = json!({"type": "integer", "minimum": 1, "maximum": 65535});
    let path = json!({"type": "string", "pattern": "^/"});
    let map = |properties: Value, required: &[&str]| json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required});
    let helm = map(
        json!({"chart": {"type": "string"}, "release": {"type": "string"}, "values": words, "set": pairs}),
        &["chart"],
    );
    let bundle =
        map(json!({"manifests": {"type": "string"}, "kustomize": {"type": "string"}, "helm": helm}), &[]);
    let job = map(
        json!({"image": {"type": "string"}, "command": words, "args": words, "undo": words, "env": pairs, "secrets": secrets, "cpu": cpu,
            "memory": memory, "timeout": span}),
        &[],
    );
    let check =
        map(json!({"http": {"type": "string"}, "expect": {"type": "integer"}, "command": words}), &[]);
    let gate = map(
        json!({"job": job, "http": {"type": "string"}, "expect": {"type": "integer"}, "command": words, "timeout": span}),
        &[],
    );
    let workload = map(
        json!({
            "name": name, "image": {"type": "string"},
            "port": port, "ports": {"type": "object", "additionalProperties": port, "description": "further ports by name"},
            "command": words, "args": words, "cpu": cpu, "memory": memory,
            "scale": {"oneOf": [{"type": "integer"}, {"type": "string"},
                map(json!({"range": {"type": "string"}, "cpu": {"type": "string"}}), &["range"])]},
            "health": map(json!({"ready": path, "live": path, "start": path}), &[]),
            "env": pairs, "config": pairs,
            "secrets": secrets,
            "volumes": {"type": "object", "additionalProperties":
                map(json!({"mount": path, "size": {"type": "string"}, "class": {"type": "string"},
                    "access": {"enum": ["one-node", "many-nodes"]}, "claim": {"type": "string"},
                    "secret": {"type": "string"}, "config": {"type": "string"}}), &["mount"])},
            "ingress": map(json!({"host": {"type": "string"}, "path": path, "tls": {"type": "string"},
                "class": {"type": "string"}, "gateway": {"type": "string"}, "listener": {"type": "string"}}), &["host"]),
            "patch": {"type": "object", "additionalProperties": {"type": ["object", "null"]},
                "description": "changes of the rendered objects by kind, such as {Deployment: {spec: {…}}}; null takes one out"},
            "permissions": {"type": "array", "items":
                map(json!({"group": {"type": "string"}, "resources": words, "verbs": words}), &["resources", "verbs"])},
            "talks-to": words,
        }),
        &[],
    );
    let service = map(
        json!({
            "aliases": words, "critical": {"type": "boolean"}, "needs": words, "image": {"type": "string"},
            "timeout": span, "checks": {"type": "array", "items": check}, "before": name, "after": name,
            "strategy": {"enum": ["rolling"]},
            "workload": workload, "job": job, "manifests": {"type": "string"}, "kustomize": {"type": "string"},
            "helm": helm, "from": name,
            "vercel": map(json!({"project": {"type": "string"}, "domain": {"type": "string"}}), &["project"]),
        }),
        &[],
    );
    let identity = map(json!({"uid": {"type": "string"}, "ca": {"type": "string"}}), &["uid"]);
    let environment = map(
        json!({
            "cluster": map(json!({"context": {"type": "string"}, "identity": identity}), &[]),
            "namespace": name, "approval": {"enum": ["required", "none"]},
            "fence": {"enum": ["installed", "none"], "description": "written by `mailyctl env bind --install-fence`"},
            "services": {"type": "object", "additionalProperties": {"type": "object"}},
        }),
        &[],
    );
    let phase = map(
        json!({
            "name": name, "environment": name, "gates": words,
            "services": {"oneOf": [{"enum": ["all", "critical", "non-critical"]}, {"type": "array", "items": name}]},
        }),
        &["name", "environment"],
    );
    let named = |of: &Value| json!({"type": "object", "propertyNames": name, "additionalProperties": of});
    let nullable = |of: &Value| json!({"oneOf": [of, {"type": "null"}]});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "maily.yaml",
        "type": "object",
        "additionalProperties": false,
        "required": ["maily", "project"],
        "properties": {
            "maily": {"const": 1},
            "project": name,
            "images": {"allOf": [words], "description": "patterns of the project's own images"},
            "strict": {"type": "boolean"},
            "history": map(json!({"releases": {"type": "integer", "minimum": 1},
                "age": {"type": "string", "pattern": "^([0-9]+[smhd])+$", "description": "such as 30d; what is younger is kept"}}), &[]),
            "environments": named(&nullable(&environment)),
            "services": named(&service),
            "sources": named(&bundle),
            "data": {"type": "object", "additionalProperties":
                {"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
                    "properties": {"rds": {"type": "string"}, "redis": {"type": "string"}, "s3": {"type": "string"}, "host": {"type": "string"}}}},
            "phases": {"type": "array", "items": phase},
            "gates": named(&gate),
        },
    })
}
