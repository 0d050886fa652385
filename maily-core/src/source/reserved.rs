//! Names of our own bookkeeping, which no manifest may carry: whoever owned the key or the lease of an environment
//! would take it away with a release.

use crate::{engine::FENCE_POLICY, object::Object};

const PREFIX: &str = "maily.dev/";

/// What of an object is ours, each with what to do. `environments` are those of the project.
pub(super) fn refusals<'e>(
    object: &Object,
    mut environments: impl Iterator<Item = &'e str>,
) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    if is_for_all(object) || environments.any(|environment| is_of(object, environment)) {
        let message = format!("{} has a name under which maily keeps its own records", object.key().short());
        found.push((message, "give it another name, or take it out of the manifests"));
    }
    if object.kind() == "Secret" && object.text("/type") == Some("maily.dev/record") {
        let message = format!("{} has the type of maily's own records", object.key().short());
        found.push((message, "give it another type, or take it out of the manifests"));
    }
    for map in ["labels", "annotations"] {
        let Some(entries) = object.at(&format!("/metadata/{map}")).and_then(|map| map.as_object()) else {
            continue;
        };
        for key in entries.keys().filter(|key| key.starts_with(PREFIX)) {
            let message = format!("{} sets `{key}` in its {map}", object.key().short());
            found.push((message, "remove it: what begins with `maily.dev/` is written by maily alone"));
        }
    }
    found
}

/// Whether a name is one that all environments share.
fn is_for_all(object: &Object) -> bool {
    let name = object.name();
    match (object.key().kind.group(), object.kind()) {
        ("", "Secret") => name.starts_with("maily-payload-"),
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding",
        ) => name.strip_prefix(FENCE_POLICY).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        _ => false,
    }
}

/// Whether a name is one of an environment. `maily-api` and the like are anybody's.
fn is_of(object: &Object, environment: &str) -> bool {
    let Some(rest) = object.name().strip_prefix("maily-") else { return false };
    match (object.key().kind.group(), object.kind()) {
        ("", "Secret") => {
            rest.strip_prefix("key-") == Some(environment)
                || rest.strip_prefix(environment).is_some_and(|rest| rest.starts_with('.'))
        }
        ("", "ConfigMap") => rest.strip_prefix("fence-") == Some(environment),
        ("coordination.k8s.io", "Lease") => rest == environment,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(api_version: &str, kind: &str, name: &str, metadata: serde_json::Value) -> Vec<String> {
        let mut body = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
        body["metadata"]["name"] = name.into();
        let object = Object::from_value(body).expect("is an object");
        let environments = ["production", "staging"].into_iter();
        refusals(&object, environments).into_iter().map(|(message, _)| message).collect()
    }

    #[test]
    fn names_of_records_are_refused_and_those_of_a_platform_called_maily_are_not() {
        for (api_version, kind, name) in [
            ("v1", "Secret", "maily-key-production"),
            ("v1", "Secret", "maily-staging.head"),
            ("v1", "Secret", "maily-payload-0123456789abcdef"),
            ("v1", "ConfigMap", "maily-fence-staging"),
            ("coordination.k8s.io/v1", "Lease", "maily-production"),
            ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "maily-fence"),
            (
                "admissionregistration.k8s.io/v1",
                "ValidatingAdmissionPolicyBinding",
                "maily-fence.shop.production",
            ),
        ] {
            let said = said(api_version, kind, name, json!({}));
            assert_eq!(said.len(), 1, "{kind} {name}: {said:?}");
        }
        for (api_version, kind, name) in [
            ("apps/v1", "Deployment", "maily-api"),
            ("apps/v1", "Deployment", "maily-production"),
            ("v1", "Service", "maily-production"),
            ("v1", "Secret", "maily-api"),
            ("v1", "Secret", "maily-production"),
            ("v1", "Secret", "maily-key-vault"),
            ("v1", "ConfigMap", "maily-production"),
            ("v1", "ConfigMap", "maily-fence-rules"),
            ("coordination.k8s.io/v1", "Lease", "maily-api"),
        ] {
            assert!(said(api_version, kind, name, json!({})).is_empty(), "{kind} {name}");
        }
    }

    #[test]
    fn marks_of_our_own_are_refused_all_at_once() {
        let metadata = json!({"labels": {"maily.dev/project": "x", "app": "a", "stack.maily.dev/x": "y"},
            "annotations": {"maily.dev/epoch": "7"}});
        let said = said("v1", "Secret", "maily-key-production", metadata);
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[1], "Secret/maily-key-production sets `maily.dev/project` in its labels");
    }
}
