//! Which images the pods of a rollout run.

use serde_json::Value;

use super::conditions::text;
use crate::{object::Object, run::Digests};

/// The digests of a workload's images, by image as it is written: those that stand in it, and those that its pods
/// report. An image of which nobody tells is not among them.
pub(crate) fn digests(live: &Object, pods: &[&Object]) -> Digests {
    let spec = if live.kind() == "Pod" { "/spec" } else { "/spec/template/spec" };
    let mut found = Digests::new();
    for (containers, statuses) in
        [("initContainers", "/status/initContainerStatuses"), ("containers", "/status/containerStatuses")]
    {
        for container in live.items(&format!("{spec}/{containers}")) {
            let (Some(name), Some(image)) = (text(container, "name"), text(container, "image")) else {
                continue;
            };
            let told: Vec<String> = match image.split_once('@') {
                Some((_, digest)) => vec![digest.to_owned()],
                None => {
                    let pods = pods.iter().filter(|pod| is_of(pod, live));
                    let all = pods.flat_map(|pod| pod.items(statuses));
                    all.filter(|status| text(status, "name") == Some(name)).filter_map(reported).collect()
                }
            };
            if !told.is_empty() {
                found.entry(image.to_owned()).or_default().extend(told);
            }
        }
    }
    found
}

/// Whether a pod that a rollout ended with is of its revision: a StatefulSet may keep older ones.
fn is_of(pod: &Object, live: &Object) -> bool {
    let revision = live.text("/status/updateRevision").filter(|_| live.kind() == "StatefulSet");
    !pod.is_terminating()
        && revision.is_none_or(|revision| pod.label("controller-revision-hash") == Some(revision))
}

/// The digest in a registry that a container reports. Container runtimes put their name or the repository before it; an
/// image that was built on the node has none there.
fn reported(status: &Value) -> Option<String> {
    let (_, digest) = text(status, "imageID")?.rsplit_once('@')?;
    digest.starts_with("sha256:").then(|| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(kind: &str, image: &str) -> Object {
        Object::from_value(json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "api"},
            "spec": {"template": {"spec": {"containers": [{"name": "api", "image": image}]}}},
            "status": {"updateRevision": "api-2"}}))
        .expect("an object")
    }

    fn pod(revision: &str, id: &str) -> Object {
        Object::from_value(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "api", "labels": {"controller-revision-hash": revision}},
            "status": {"containerStatuses": [{"name": "api", "image": "sha256:0", "imageID": id}]}}))
        .expect("an object")
    }

    fn of(live: &Object, pods: &[&Object]) -> Vec<String> {
        digests(live, pods).remove("r/api:v2").unwrap_or_default().into_iter().collect()
    }

    #[test]
    fn what_pods_report_is_known_in_every_form_of_the_runtimes() {
        let live = workload("Deployment", "r/api:v2");
        for id in ["docker-pullable://r/api@sha256:aa", "r/api@sha256:aa", "docker.io/r/api@sha256:aa"] {
            assert_eq!(of(&live, &[&pod("x", id)]), ["sha256:aa"], "{id}");
        }
        // The id of an image is none of its digests in a registry.
        for id in ["", "sha256:aa", "docker://sha256:aa", "r/api@md5:aa"] {
            assert_eq!(of(&live, &[&pod("x", id)]), [""; 0], "{id}");
        }
    }

    #[test]
    fn a_tag_that_was_moved_in_between_has_two() {
        let live = workload("Deployment", "r/api:v2");
        let pods = [&pod("x", "r/api@sha256:bb"), &pod("x", "r/api@sha256:aa")];
        assert_eq!(of(&live, &pods), ["sha256:aa", "sha256:bb"]);
    }

    #[test]
    fn pods_of_an_older_revision_do_not_count() {
        let live = workload("StatefulSet", "r/api:v2");
        assert_eq!(
            of(&live, &[&pod("api-1", "r/api@sha256:aa"), &pod("api-2", "r/api@sha256:bb")]),
            ["sha256:bb"]
        );
    }

    #[test]
    fn what_is_written_needs_no_pod() {
        let live = workload("Deployment", "r/api:v2@sha256:cc");
        assert!(digests(&live, &[])["r/api:v2@sha256:cc"].contains("sha256:cc"));
    }
}
