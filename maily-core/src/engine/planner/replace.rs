//! Changes that the API refuses in place. The list follows the validation of Kubernetes 1.36; a dry run that is
//! refused as immutable counts as well.

use serde_json::Value;

use crate::{
    model::Quantity,
    object::{Object, covers},
};

/// Fields that cannot be changed in place, by kind.
fn immutable(kind: &str) -> &'static [&'static str] {
    match kind {
        "Deployment" | "DaemonSet" | "ReplicaSet" => &["/spec/selector"],
        "StatefulSet" => &[
            "/spec/selector",
            "/spec/serviceName",
            "/spec/podManagementPolicy",
            "/spec/volumeClaimTemplates",
        ],
        "Job" => &["/spec/template", "/spec/selector", "/spec/completionMode"],
        "Service" => &["/spec/clusterIP"],
        "RoleBinding" | "ClusterRoleBinding" => &["/roleRef"],
        "Secret" => &["/type"],
        "CustomResourceDefinition" => &["/spec/scope", "/spec/names/kind"],
        "StorageClass" => &["/provisioner", "/parameters", "/reclaimPolicy", "/volumeBindingMode"],
        "PersistentVolumeClaim" => {
            &["/spec/storageClassName", "/spec/accessModes", "/spec/volumeName", "/spec/selector"]
        }
        _ => &[],
    }
}

/// Paths of immutable fields that the wanted object sets to something else than what is there. `after` is what the server
/// would make of it, where it was asked and has accepted it: `1024Mi` is there as `1Gi`.
pub(super) fn replaced_fields(live: &Object, desired: &Object, after: Option<&Object>) -> Vec<String> {
    let frozen = live.at("/immutable") == Some(&Value::Bool(true));
    let data: &[&str] = if frozen { &["/data", "/binaryData"] } else { &[] };
    // The server keeps the address, or that there is none, where a version says nothing of it any more.
    let headless = |object: &Object| object.text("/spec/clusterIP") == Some("None");
    let gains_address = desired.kind() == "Service" && headless(live) && !headless(desired);
    let address: &[&str] = if gains_address { &["/spec/clusterIP"] } else { &[] };
    immutable(desired.kind())
        .iter()
        .filter(|path| !address.contains(path))
        .chain(data)
        .filter(|path| match (live.at(path), desired.at(path)) {
            // The server adds nothing to these, so that a key more is one that would go.
            (Some(live), Some(desired)) if path.ends_with("/selector") || data.contains(path) => {
                live != desired
            }
            (Some(live), Some(desired)) => !covers(live, desired),
            _ => false,
        })
        .filter(|path| after.is_none_or(|after| !is_same(live.at(path), after.at(path))))
        .chain(address)
        .map(|path| path.trim_start_matches('/').replace('/', "."))
        .collect()
}

/// Whether two values are the same to the server, which compares amounts by what they come to.
fn is_same(one: Option<&Value>, other: Option<&Value>) -> bool {
    let amount = |text: &str| text.parse::<Quantity>().ok().map(|amount| amount.value());
    match (one, other) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            one.len() == other.len() && one.iter().all(|(key, value)| is_same(Some(value), other.get(key)))
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(Some(one), Some(other)))
        }
        (Some(Value::String(one)), Some(Value::String(other))) => {
            one == other || amount(one).is_some_and(|one| Some(one) == amount(other))
        }
        (one, other) => one == other,
    }
}

/// What it means for who uses an object that it is deleted and made again.
pub(super) fn meaning(live: &Object, desired: &Object) -> String {
    let pods = match live.kind() {
        "Deployment" | "StatefulSet" | "ReplicaSet" => live.int("/spec/replicas").or(Some(1)),
        "DaemonSet" => live.int("/status/desiredNumberScheduled"),
        "Job" => return runs_again(desired),
        _ => return "the object is gone for a moment".to_owned(),
    };
    match pods {
        Some(0) => "the object is gone for a moment; it has no pods".to_owned(),
        Some(1) => "its pod ends, and a new one starts: nothing serves meanwhile".to_owned(),
        Some(pods) => format!("all its {pods} pods end, and new ones start: nothing serves meanwhile"),
        None => "all its pods end, and new ones start: nothing serves meanwhile".to_owned(),
    }
}

/// That a workload has another number of pods afterwards, where its release sets none.
pub(super) fn other_number(live: &Object, handed_over: Option<i64>) -> Option<String> {
    if !matches!(live.kind(), "Deployment" | "StatefulSet" | "ReplicaSet") {
        return None;
    }
    let (now, then) = (live.int("/spec/replicas")?, handed_over.unwrap_or(1));
    let told = || {
        let key = live.key();
        let pods = if now == 1 { "1 pod".to_owned() } else { format!("{now} pods") };
        format!("{key} is scaled to {pods}, which the release does not set: made again it begins with {then}")
    };
    (now != then).then(told)
}

fn runs_again(job: &Object) -> String {
    if job.is_suspended() {
        return "the Job is written anew, suspended".to_owned();
    }
    let containers = job.items("/spec/template/spec/containers").iter();
    let images: Vec<&str> = containers.filter_map(|container| container.get("image")?.as_str()).collect();
    let with = if images.is_empty() { String::new() } else { format!(", with {}", images.join(" and ")) };
    format!("the Job runs again{with}; what shall run once for each release is a `job:` of the project file")
}
