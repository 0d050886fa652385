//! How long pods may take to end: nothing serves alone before.

use std::time::Duration;

use crate::{object::Object, run::Change};

/// How long pods of either state may take to end, where their templates say so.
pub(super) fn longest_grace(changes: &[Change]) -> Duration {
    let grace = |object: &Object| {
        let paths =
            ["/spec/template/spec", "/spec"].map(|spec| format!("{spec}/terminationGracePeriodSeconds"));
        paths.iter().find_map(|path| u64::try_from(object.int(path)?).ok())
    };
    let states = changes.iter().flat_map(|change| {
        let before = change.before.as_ref().map(|before| &before.object);
        before.into_iter().chain(&change.desired)
    });
    Duration::from_secs(states.filter_map(grace).max().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::run::{Before, Operation};

    fn change(before: &Value, desired: &Value) -> Change {
        let deployment = |spec: &Value| {
            let all = json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "api", "namespace": "shop"}, "spec": {"template": {"spec": spec}}});
            Object::from_value(all).expect("an object")
        };
        let (object, desired) = (deployment(before), deployment(desired));
        let (uid, fingerprint) = (String::new(), String::new());
        Change {
            key: desired.key().clone(),
            operation: Operation::Update,
            before: Some(Before { uid, object, fingerprint, all: None, served: None, adopted: false }),
            desired: Some(desired),
            migrate: BTreeSet::new(),
            hand_over_replicas: None,
            fields: Vec::new(),
        }
    }

    /// Those of the failed version may be slow to end, and those of the one before that it had begun to replace.
    #[test]
    fn the_way_back_has_the_longest_grace_of_both_states_in_addition() {
        let (none, short, long) = (
            json!({}),
            json!({"terminationGracePeriodSeconds": 20}),
            json!({"terminationGracePeriodSeconds": 300}),
        );
        assert_eq!(longest_grace(&[change(&none, &none)]), Duration::ZERO);
        for changes in
            [[change(&short, &long), change(&none, &none)], [change(&none, &short), change(&long, &none)]]
        {
            assert_eq!(longest_grace(&changes), Duration::from_secs(300));
        }
    }
}
