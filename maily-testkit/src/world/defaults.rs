//! What the server fills in, and what it refuses.

use maily_core::object::Object;
use serde_json::{Value, json};

fn default(body: &mut serde_json::Map<String, Value>, path: &[&str], value: Value) {
    let Some((last, above)) = path.split_last() else { return };
    let mut at = body;
    for part in above {
        let entry = at.entry((*part).to_owned()).or_insert_with(|| json!({}));
        let Value::Object(map) = entry else { return };
        at = map;
    }
    at.entry((*last).to_owned()).or_insert(value);
}

/// Fills in defaults.
pub(super) fn fill(object: &mut Object, address: u64) {
    let kind = object.kind().to_owned();
    object.edit(|body| match kind.as_str() {
        "Deployment" => {
            default(body, &["spec", "replicas"], json!(1));
            default(body, &["spec", "progressDeadlineSeconds"], json!(600));
            default(body, &["spec", "revisionHistoryLimit"], json!(10));
            default(body, &["spec", "strategy", "type"], json!("RollingUpdate"));
        }
        "StatefulSet" => {
            default(body, &["spec", "replicas"], json!(1));
            // Where the type is written the server leaves the rest as it is.
            if body.get("spec").and_then(|spec| spec.pointer("/updateStrategy/type")).is_none() {
                default(body, &["spec", "updateStrategy", "type"], json!("RollingUpdate"));
                default(body, &["spec", "updateStrategy", "rollingUpdate", "partition"], json!(0));
            }
        }
        "DaemonSet" => default(body, &["spec", "updateStrategy", "type"], json!("RollingUpdate")),
        "Job" => {
            default(body, &["spec", "completions"], json!(1));
            default(body, &["spec", "parallelism"], json!(1));
            default(body, &["spec", "backoffLimit"], json!(6));
        }
        "Service" => {
            default(body, &["spec", "type"], json!("ClusterIP"));
            let ip = format!("10.0.{}.{}", (address >> 8) & 0xff, address & 0xff);
            default(body, &["spec", "clusterIP"], json!(ip));
        }
        "Secret" => default(body, &["type"], json!("Opaque")),
        _ => {}
    });
}

/// Why an update is refused, if it is: fields that cannot change in place.
pub(super) fn frozen(old: &Object, new: &Object) -> Option<String> {
    let fields: &[&str] = match new.kind() {
        "Deployment" | "DaemonSet" => &["/spec/selector"],
        "StatefulSet" => &[
            "/spec/selector",
            "/spec/serviceName",
            "/spec/volumeClaimTemplates",
            "/spec/podManagementPolicy",
        ],
        "Job" => &["/spec/template", "/spec/selector", "/spec/completionMode", "/spec/completions"],
        "PersistentVolumeClaim" => &["/spec/accessModes", "/spec/storageClassName", "/spec/selector"],
        "StorageClass" => &["/provisioner", "/parameters", "/reclaimPolicy", "/volumeBindingMode"],
        "Service" => &["/spec/clusterIP"],
        "RoleBinding" | "ClusterRoleBinding" => &["/roleRef"],
        "Secret" | "ConfigMap" if old.at("/immutable") == Some(&Value::Bool(true)) => {
            &["/data", "/immutable", "/type"]
        }
        "Secret" => &["/type"],
        _ => &[],
    };
    // The server has words of its own for each.
    let said = |field: &str| match field {
        "/roleRef" => "cannot change roleRef",
        _ => "field is immutable",
    };
    let told = |field: &str| field.trim_start_matches('/').replace('/', ".");
    // What stands where nothing is written.
    let usual = |field: &str| match field {
        "/spec/podManagementPolicy" => Some("OrderedReady"),
        "/spec/completionMode" => Some("NonIndexed"),
        "/reclaimPolicy" => Some("Delete"),
        "/volumeBindingMode" => Some("Immediate"),
        _ => None,
    };
    let of = |object: &Object, field: &str| {
        object.at(field).cloned().or_else(|| usual(field).map(|usual| json!(usual)))
    };
    let changed = fields.iter().find(|field| of(old, field) != of(new, field));
    changed.map(|field| format!("{}: {}", told(field), said(field)))
}

/// Why an object is refused, if it is.
pub(super) fn invalid(object: &Object) -> Option<String> {
    match object.kind() {
        "Deployment" | "StatefulSet" | "DaemonSet" => {
            let labels = object.at("/spec/template/metadata/labels");
            let selector = object.at("/spec/selector/matchLabels").and_then(Value::as_object);
            let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
                return Some("spec.selector: Required value".to_owned());
            };
            if selector.iter().any(|(key, value)| labels.and_then(|labels| labels.get(key)) != Some(value)) {
                return Some(
                    "spec.template.metadata.labels: `selector` does not match template `labels`".to_owned(),
                );
            }
            if object.items("/spec/template/spec/containers").is_empty() {
                return Some("spec.template.spec.containers: Required value".to_owned());
            }
            None
        }
        _ => None,
    }
}
