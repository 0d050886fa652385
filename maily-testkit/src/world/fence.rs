//! The fence as an API server judges by it: the policy's expressions, said in Rust.

use maily_core::{
    engine::{EPOCH, FENCE_POLICY, MANAGER, SCALE_MANAGER},
    object::{Object, ObjectKey, ObjectKind},
};
use serde_json::Value;

use super::World;

impl World {
    /// The refusal of a write by a fence that stands; none where none judges it.
    /// `as_of` is the version up to which the server has heard of parameters; none where it has heard of all.
    pub(super) fn fenced(
        &self,
        live: Option<&Object>,
        written: &Object,
        manager: &str,
        as_of: Option<u64>,
    ) -> Option<String> {
        if manager != MANAGER && manager != SCALE_MANAGER {
            return None;
        }
        self.objects.of_kind("ValidatingAdmissionPolicyBinding").find_map(|binding| {
            let selected = |object: &Object| selects(binding, object);
            if binding.text("/spec/policyName") != Some(FENCE_POLICY)
                || !(selected(written) || live.is_some_and(selected))
                || !self.has_policy()
            {
                return None;
            }
            let parameter = ObjectKey::new(
                ObjectKind::new("v1", "ConfigMap"),
                binding.text("/spec/paramRef/namespace"),
                binding.text("/spec/paramRef/name").unwrap_or_default(),
            );
            // `parameterNotFoundAction: Allow`
            let epoch = number(self.as_of(&parameter, as_of)?.text("/data/epoch"));
            let of = |object: &Object| number(object.annotation(EPOCH));
            let (stamp, former) = (of(written), live.map_or(0, of));
            let why = if stamp < epoch {
                format!("stale epoch, the environment is at epoch {epoch}")
            } else if stamp < former {
                format!("stale epoch, the object is at epoch {former}")
            } else {
                return None;
            };
            Some(format!(
                "ValidatingAdmissionPolicy '{FENCE_POLICY}' with binding '{}' denied request: {why}",
                binding.name()
            ))
        })
    }

    fn as_of(&self, key: &ObjectKey, version: Option<u64>) -> Option<&Object> {
        let Some(version) = version else { return self.get(key) };
        let mut known = self.history.iter().rev().filter(|change| change.object.key() == key);
        match known.find(|change| change.version <= version) {
            Some(change) => (!change.deleted).then_some(&change.object),
            // Older than the history: as it is, unless it was made since.
            None => self.get(key),
        }
    }

    fn has_policy(&self) -> bool {
        self.objects.of_kind("ValidatingAdmissionPolicy").any(|policy| policy.name() == FENCE_POLICY)
    }
}

fn selects(binding: &Object, object: &Object) -> bool {
    let labels = binding.at("/spec/matchResources/objectSelector/matchLabels").and_then(Value::as_object);
    labels.is_some_and(|labels| labels.iter().all(|(label, value)| object.label(label) == value.as_str()))
}

/// What does not look like a number counts as 0.
fn number(text: Option<&str>) -> u64 {
    let digits = |text: &&str| (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.filter(digits).and_then(|text| text.parse().ok()).unwrap_or_default()
}
