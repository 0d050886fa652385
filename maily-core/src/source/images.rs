//! Images: which belong to the project, and which version they get.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::pods::specification;
use crate::object::Object;

/// Where containers stand in a pod.
pub(super) const LISTS: [&str; 2] = ["initContainers", "containers"];

/// An image reference in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    /// Registry and path.
    pub(super) name: &'a str,
    /// Tag.
    pub(super) tag: Option<&'a str>,
    /// Digest.
    pub(super) digest: Option<&'a str>,
}

/// Splits an image reference; `None` where it is none.
pub(super) fn reference(image: &str) -> Option<Reference<'_>> {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
        None => (rest, None),
    };
    let path = |c: char| c.is_ascii_alphanumeric() || "._-/:[]".contains(c);
    let last = &name[slash.min(name.len())..];
    // Only the registry's host may have capital letters.
    let below_host = name.split_once('/').map_or(name, |(_, below)| below);
    let tag_fits = tag.is_none_or(|tag| {
        (1..=128).contains(&tag.len()) && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    });
    let digest_fits =
        digest.is_none_or(|digest| digest.split_once(':').is_some_and(|(_, hex)| hex.len() >= 32));
    let name_fits =
        !last.is_empty() && name.chars().all(path) && !below_host.chars().any(|c| c.is_ascii_uppercase());
    (name_fits && tag_fits && digest_fits).then_some(Reference { name, tag, digest })
}

impl Reference<'_> {
    /// Whether it may mean another image tomorrow.
    pub(super) fn moves(&self) -> bool {
        self.digest.is_none() && self.tag.is_none_or(|tag| tag == "latest")
    }
}

/// Where the specification of the pods stands in an object of Kubernetes' own kinds.
pub(super) fn pod_specs(kind: &str) -> Option<String> {
    let known = matches!(
        kind,
        "Pod"
            | "Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "ReplicaSet"
            | "ReplicationController"
            | "Job"
            | "CronJob"
    );
    known.then(|| specification(kind))
}

/// Writes out the pull policy that the server would give a container by its image.
///
/// The server does so only where nothing stands yet: an object that was once made with `latest` would keep `Always`,
/// and differ from one that is made anew.
pub(super) fn write_pull_policies(object: &mut Object) {
    let Some(pointer) = pod_specs(object.kind()) else { return };
    object.edit(|body| {
        for container in containers(body, &pointer) {
            let Some(policy) =
                container.get("image").and_then(Value::as_str).and_then(reference).map(|parts| {
                    let latest =
                        parts.tag == Some("latest") || (parts.tag.is_none() && parts.digest.is_none());
                    if latest { "Always" } else { "IfNotPresent" }
                })
            else {
                continue;
            };
            container.entry("imagePullPolicy").or_insert_with(|| policy.into());
        }
    });
}

/// Gives a container of this name an image.
pub(super) fn set_image(object: &mut Object, name: &str, image: &str) {
    let Some(pointer) = pod_specs(object.kind()) else { return };
    object.edit(|body| {
        for container in containers(body, &pointer) {
            if container.get("name").and_then(Value::as_str) == Some(name) {
                container.insert("image".to_owned(), image.into());
            }
        }
    });
}

/// The containers of a body, those that start first included.
fn containers<'b>(body: &'b mut Map<String, Value>, pointer: &str) -> Vec<&'b mut Map<String, Value>> {
    let mut spec = Some(body);
    for part in pointer.trim_start_matches('/').split('/') {
        spec = spec.and_then(|map| map.get_mut(part)).and_then(Value::as_object_mut);
    }
    let lists = spec.into_iter().flatten().filter(|(key, _)| LISTS.contains(&key.as_str()));
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten().filter_map(Value::as_object_mut).collect()
}

/// The images of an object with the names of their containers.
pub(super) fn images(object: &Object) -> Vec<(String, String)> {
    let Some(spec) = pod_specs(object.kind()) else { return Vec::new() };
    LISTS
        .iter()
        .flat_map(|list| object.items(&format!("{spec}/{list}")))
        .filter_map(|container| {
            let name = container.get("name").and_then(|name| name.as_str()).unwrap_or_default();
            Some((name.to_owned(), container.get("image")?.as_str()?.to_owned()))
        })
        .collect()
}

/// The images of an object that may mean other ones tomorrow.
pub(crate) fn moving_images(object: &Object) -> BTreeSet<String> {
    let moves = |image: &String| reference(image).is_some_and(|parts| parts.moves());
    images(object).into_iter().map(|(_, image)| image).filter(moves).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_follows_the_image_and_not_the_past() {
        let containers = [("a:latest", "Always"), ("a", "Always"), ("r.example:5000/a:v1", "IfNotPresent")];
        for (image, policy) in containers {
            let mut object = Object::from_value(serde_json::json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
                "spec": {"template": {"spec": {"containers": [{"name": "a", "image": image}]}}},
            }))
            .expect("is an object");
            write_pull_policies(&mut object);
            assert_eq!(
                object.text("/spec/template/spec/containers/0/imagePullPolicy"),
                Some(policy),
                "{image}"
            );
        }
    }

    #[test]
    fn references_are_split() {
        let split = |image| reference(image).expect("a reference");
        assert_eq!(split("busybox"), Reference { name: "busybox", tag: None, digest: None });
        assert_eq!(split("r:5000/a/b:v1").tag, Some("v1"));
        assert_eq!(split("r:5000/a/b").tag, None);
        let digest = format!("a@sha256:{}", "0".repeat(64));
        assert!(split(&digest).digest.is_some());
        assert!(
            split("busybox:latest").moves() && split("busybox").moves() && !split("busybox:1.36").moves()
        );
        assert!(split("R.example:5000/a/b:v1").tag.is_some());
        for image in ["", "A/B", "r.example/A/b:v1", "a b", "a:", "a:b:c", "a@sha256:1"] {
            assert_eq!(reference(image), None, "{image:?}");
        }
    }
}
