//! How kinds merge, as it is written down here and as the API server says it.

use std::collections::BTreeSet;

use maily_core::object::{ListKind, is_atomic_map, list_kind};
use serde_json::{Map, Value};

use crate::site::Site;

/// What nobody writes as a part of a release.
const NEVER_WRITTEN: [&str; 5] = ["Binding", "ComponentStatus", "DeleteOptions", "Event", "WatchEvent"];

/// Another kind calls alike what merges otherwise.
const AS_ANOTHER_KIND: [&str; 2] =
    ["HorizontalPodAutoscaler spec.scaleTargetRef", "MutatingAdmissionPolicy spec.variables"];

struct Definitions {
    all: Map<String, Value>,
    /// Fields for which the two differ.
    wrong: BTreeSet<String>,
    compared: usize,
}

impl Definitions {
    /// Compares everything below a path that is merged, and so is not replaced as a whole.
    fn walk(&mut self, kind: &str, field: &Value, path: &mut Vec<String>, above: &[&str]) {
        let mut field = field.clone();
        let name = field["$ref"].as_str().map(|name| name.trim_start_matches("#/definitions/").to_owned());
        if let Some(name) = &name {
            if above.contains(&name.as_str()) {
                return;
            }
            let mut whole = self.all[name].clone();
            whole.as_object_mut().expect("a map").extend(field.as_object().expect("a map").clone());
            field = whole;
        }
        let above: Vec<&str> = above.iter().copied().chain(name.as_deref()).collect();
        if path.first().is_some_and(|first| first == "status") {
            return;
        }
        let here: Vec<&str> = path.iter().map(String::as_str).collect();
        if field["type"] == "array" {
            let told = match list_kind(&here) {
                ListKind::Atomic => ("atomic", Vec::new()),
                ListKind::Set => ("set", Vec::new()),
                ListKind::Map(keys) => ("map", keys.to_vec()),
            };
            let keys = field["x-kubernetes-list-map-keys"].as_array();
            let mut keys: Vec<&str> = keys.into_iter().flatten().filter_map(Value::as_str).collect();
            keys.sort_unstable();
            let kind_of_list = field["x-kubernetes-list-type"].as_str().unwrap_or("atomic");
            self.compare(kind, &here, told == (kind_of_list, keys));
            if kind_of_list != "atomic" {
                self.walk(kind, &field["items"], path, &above);
            }
        } else if field["properties"].is_object() || field["additionalProperties"].is_object() {
            let is_atomic = field["x-kubernetes-map-type"] == "atomic";
            if !here.is_empty() {
                self.compare(kind, &here, is_atomic_map(&here) == is_atomic);
            }
            let below = field["properties"].as_object().filter(|_| !is_atomic);
            for (name, below) in below.into_iter().flatten() {
                path.push(name.clone());
                self.walk(kind, below, path, &above);
                path.pop();
            }
        }
    }

    fn compare(&mut self, kind: &str, path: &[&str], is_same: bool) {
        self.compared += 1;
        if !is_same {
            self.wrong.insert(format!("{kind} {}", path.join(".")));
        }
    }
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn lists_and_maps_merge_as_the_api_server_says() {
    let site = Site::new("schema").await;
    let told = site.kubectl(&["get", "--raw", "/openapi/v2"]).expect(0).json();
    let all = told["definitions"].as_object().expect("a map").clone();
    let roots: Vec<(String, String)> = all
        .iter()
        .filter(|(name, _)| name.starts_with("io.k8s."))
        .filter_map(|(name, definition)| match definition["x-kubernetes-group-version-kind"].as_array() {
            Some(kinds) if kinds.len() == 1 => Some((name.clone(), kinds[0]["kind"].as_str()?.to_owned())),
            _ => None,
        })
        .filter(|(_, kind)| !kind.ends_with("List") && !kind.ends_with("Review"))
        .filter(|(_, kind)| !NEVER_WRITTEN.contains(&kind.as_str()))
        .collect();
    assert!(roots.len() > 50, "{roots:?}");
    let mut definitions = Definitions { all, wrong: BTreeSet::new(), compared: 0 };
    for (name, kind) in &roots {
        let root = definitions.all[name].clone();
        definitions.walk(kind, &root, &mut Vec::new(), &[name]);
    }
    assert!(definitions.compared > 1000, "{}", definitions.compared);
    let wrong: Vec<&str> = definitions.wrong.iter().map(String::as_str).collect();
    assert_eq!(wrong, AS_ANOTHER_KIND);
}
