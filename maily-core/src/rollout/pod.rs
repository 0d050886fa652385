//! Pods that cannot become ready by waiting.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    conditions::{find, text, time},
    judge::Reason,
};
use crate::{
    object::Object,
    planted::{Defect, is_planted},
};

/// Why a pod is doomed, if it is.
///
/// Doomed and transient reasons as krane tells them apart (T10): a crash loop, an image that is not there and a
/// wrong configuration stay as they are; slow registries, evictions and start errors pass.
pub(super) fn doomed(pod: &Object) -> Option<Reason> {
    let unschedulable = |why: &String| why.starts_with("unschedulable");
    if is_planted(Defect::UnschedulableDooms)
        && let Some(message) = why_not_ready(pod).filter(unschedulable)
    {
        let (object, cause) = (pod.key().clone(), "unschedulable");
        return Some(Reason { cause, message, object, container: None, at: None, hint: "" });
    }
    if is_planted(Defect::DoomedAwaited) {
        return None;
    }
    let containers = ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .flat_map(|path| pod.items(path));
    for container in containers {
        let Some(waiting) = container.pointer("/state/waiting") else { continue };
        let name = text(container, "name").unwrap_or_default();
        let said = text(waiting, "message").unwrap_or_default();
        let Some((cause, message, hint)) =
            verdict(name, text(waiting, "reason").unwrap_or_default(), said, container)
        else {
            continue;
        };
        let log = (cause == "crash-loop").then(|| (name.to_owned(), true));
        let at = container
            .pointer("/lastState/terminated")
            .and_then(|ended| time(ended, "finishedAt"))
            .or_else(|| find(pod, "ContainersReady").and_then(|c| time(c, "lastTransitionTime")))
            .or_else(|| find(pod, "Ready").and_then(|c| time(c, "lastTransitionTime")));
        return Some(Reason { cause, message, object: pod.key().clone(), container: log, at, hint });
    }
    None
}

fn verdict(
    name: &str,
    reason: &str,
    said: &str,
    container: &Value,
) -> Option<(&'static str, String, &'static str)> {
    match reason {
        "CrashLoopBackOff" => {
            let code = container.pointer("/lastState/terminated/exitCode").and_then(Value::as_i64);
            // T10: 128 is the runtime's own failure to start, which passes.
            if code == Some(128) && !is_planted(Defect::TransientDooms) {
                return None;
            }
            let killed = container.pointer("/lastState/terminated/reason").and_then(Value::as_str);
            let how = match (killed, code) {
                (Some("OOMKilled"), _) => "out of memory".to_owned(),
                (_, Some(code)) => format!("exit code {code}"),
                _ => "no exit code told".to_owned(),
            };
            let restarts = container.get("restartCount").and_then(Value::as_i64).unwrap_or_default();
            let message = format!("container `{name}` crashes again and again ({how}, {restarts} restarts)");
            Some(("crash-loop", message, "read the end of its log, and mend what ends it"))
        }
        "ErrImagePull" | "ImagePullBackOff" if not_found(said) || not_found(&image_error(container)) => {
            let image = text(container, "image").unwrap_or("unknown");
            let message = format!("image `{image}` of container `{name}` does not exist");
            Some(("image-not-found", message, "push the image, or correct its name or version"))
        }
        "InvalidImageName" => {
            let message = format!("container `{name}` has an invalid image name: {said}");
            Some(("invalid-image", message, "correct the image in the manifest"))
        }
        "ErrImageNeverPull" => {
            let message =
                format!("image of container `{name}` is not on the node and must not be pulled: {said}");
            Some(("image-not-found", message, "change imagePullPolicy, or load the image on the nodes"))
        }
        "CreateContainerConfigError" if !(said.contains("failed to sync") && said.contains("cache")) => {
            let message = format!("container `{name}` cannot be configured: {said}");
            Some((
                "config-error",
                message,
                "create the ConfigMap or Secret that is missing, or correct its name",
            ))
        }
        _ => None,
    }
}

fn image_error(container: &Value) -> String {
    container.pointer("/state/waiting/message").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn not_found(said: &str) -> bool {
    let said = said.to_lowercase();
    ["not found", "manifest unknown", "does not exist", "name unknown"].iter().any(|sign| said.contains(sign))
}

/// A container that keeps a pod from being ready, and whether its last log is of an earlier start; none of a pod that
/// is ready or goes.
pub(crate) fn unready(pod: &Object) -> Option<Option<(String, bool)>> {
    if is_ready(pod) || pod.is_terminating() {
        return None;
    }
    let statuses =
        pod.items("/status/initContainerStatuses").iter().chain(pod.items("/status/containerStatuses"));
    let held = statuses.filter(|container| {
        container.get("ready") == Some(&Value::Bool(false))
            && container.pointer("/state/terminated").is_none()
    });
    let log = |container: &Value| {
        let runs = container.pointer("/state/running").is_some();
        let began = runs || container.pointer("/lastState/terminated").is_some();
        began.then(|| Some((text(container, "name")?.to_owned(), !runs)))?
    };
    let mut held = held.map(log);
    Some(held.next().flatten())
}

pub(crate) fn is_ready(pod: &Object) -> bool {
    find(pod, "Ready").is_some_and(|condition| text(condition, "status") == Some("True"))
}

/// Since when a pod is not ready, by the server's clock.
pub(crate) fn unready_since(pod: &Object) -> Option<Timestamp> {
    find(pod, "Ready").and_then(|condition| time(condition, "lastTransitionTime"))
}

/// What keeps a pod from being ready, for people.
pub(super) fn why_not_ready(pod: &Object) -> Option<String> {
    if let Some(scheduled) = find(pod, "PodScheduled").filter(|c| text(c, "status") == Some("False")) {
        let said = text(scheduled, "message").unwrap_or("no node fits");
        return Some(format!("unschedulable: {said}"));
    }
    let statuses =
        pod.items("/status/initContainerStatuses").iter().chain(pod.items("/status/containerStatuses"));
    for container in statuses {
        let name = text(container, "name").unwrap_or_default();
        if let Some(waiting) = container.pointer("/state/waiting") {
            let reason = text(waiting, "reason").unwrap_or("waiting");
            if reason == "PodInitializing" {
                continue;
            }
            let said = text(waiting, "message").map(|said| format!(": {said}")).unwrap_or_default();
            return Some(format!("container `{name}`: {reason}{said}"));
        }
        let running = container.pointer("/state/running").is_some();
        if running && container.get("ready") == Some(&Value::Bool(false)) {
            return Some(format!("container `{name}` runs but is not ready"));
        }
    }
    None
}
