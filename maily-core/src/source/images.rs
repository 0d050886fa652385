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

/// The map that stands there in a body.
pub(super) fn below<'b>(
    body: &'b mut Map<String, Value>,
    pointer: &str,
) -> Option<&'b mut Map<String, Value>> {
    let parts = pointer.trim_start_matches('/').split('/');
    parts.into_iter().try_fold(body, |map, part| map.get_mut(part)?.as_object_mut())
}

/// The containers of a body, those that start first included.
pub(super) fn containers<'b>(
    body: &'b mut Map<String, Value>,
    pointer: &str,
) -> Vec<&'b mut Map<String, Value>> {
    let lists = below(body, pointer).into_iter().flatten().filter(|(key, _)| LISTS.contains(&key.as_str()));
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
