//! The objects of a fence, from the one text that is also handed to whoever may install it.

use serde_json::json;

use crate::{
    object::{Object, ObjectKey, ObjectKind},
    run::{ENVIRONMENT, Epoch, NAMESPACE, epoch_from},
    yaml::{Limits, parse, to_json},
};

/// Name of the policy, which all environments of a cluster share.
pub const FENCE_POLICY: &str = "maily-fence";

const TEXT: &str = include_str!("policy.yaml");
const LIMITS: Limits = Limits { bytes: 64 * 1024, nodes: 1_000, depth: 32, documents: 3, aliases: false };
/// Label that tells the parameter from other ConfigMaps of the environment.
pub(super) const PART: &str = "maily.dev/part";

/// The policy, an environment's binding and the anchor, as a manifest for whoever may install them.
pub fn fence_manifest(environment: &str, namespace: &str) -> String {
    TEXT.replace("ENVIRONMENT", environment).replace("NAMESPACE", namespace)
}

/// The objects of the manifest.
pub(super) fn objects(environment: &str, namespace: &str) -> Vec<Object> {
    let text = fence_manifest(environment, namespace);
    let documents = parse("fence", &text, LIMITS).expect("names of environments keep the text valid");
    let object = |node| Object::from_value(to_json(node)).expect("has kind and name");
    documents.iter().map(object).collect()
}

/// All objects of a fence: policy, binding, anchor, and the parameter at an epoch.
pub fn fence_objects(environment: &str, namespace: &str, epoch: Epoch) -> Vec<Object> {
    let mut all = objects(environment, namespace);
    all.push(parameter(environment, namespace, epoch));
    all
}

pub(super) fn policy_key() -> ObjectKey {
    let kind = ObjectKind::new("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy");
    ObjectKey::new(kind, None, FENCE_POLICY)
}

pub(super) fn binding_key(environment: &str, namespace: &str) -> ObjectKey {
    let kind = ObjectKind::new("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding");
    ObjectKey::new(kind, None, format!("{FENCE_POLICY}.{namespace}.{environment}"))
}

pub(super) fn parameter_key(environment: &str, namespace: &str) -> ObjectKey {
    ObjectKey::new(
        ObjectKind::new("v1", "ConfigMap"),
        Some(namespace),
        format!("{FENCE_POLICY}-{environment}"),
    )
}

/// The parameter at an epoch.
pub(super) fn parameter(environment: &str, namespace: &str, epoch: Epoch) -> Object {
    Object::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": parameter_key(environment, namespace).name, "namespace": namespace,
            "labels": {ENVIRONMENT: environment, NAMESPACE: namespace, PART: "fence"},
        },
        "data": {"epoch": epoch.to_string()},
    }))
    .expect("has kind and name")
}

/// The epoch that a parameter holds.
pub(super) fn epoch_in(parameter: &Object) -> Option<Epoch> {
    epoch_from(parameter.text("/data/epoch")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_what_the_keys_and_the_refusal_say() {
        // Names that look like numbers or booleans stay texts.
        for (environment, namespace) in [("production", "shop"), ("prod-2", "team-a"), ("on", "1")] {
            let objects = objects(environment, namespace);
            assert_eq!(*objects[0].key(), policy_key());
            assert_eq!(*objects[1].key(), binding_key(environment, namespace));
            assert_eq!(objects[2].text("/spec/policyName"), Some(FENCE_POLICY));
            let selected = objects[1].at("/spec/matchResources/objectSelector/matchLabels");
            let parameter = parameter(environment, namespace, Epoch(7));
            for (label, value) in selected.and_then(|labels| labels.as_object()).expect("selects labels") {
                assert_eq!(parameter.label(label), value.as_str(), "{label}");
            }
            assert_eq!(objects[1].text("/spec/paramRef/name"), Some(parameter.name()));
            assert_eq!(objects[1].text("/spec/paramRef/namespace"), Some(namespace));
            assert_eq!(epoch_in(&parameter), Some(Epoch(7)));
        }
    }
}
