//! Roles whose rules a controller puts together.

use serde_json::Value;

use crate::object::Object;

/// Leaves out the empty `rules` of a ClusterRole with an `aggregationRule`, as Kubernetes' documentation writes it: the
/// controller fills them in, and who claimed them would take them away with every apply.
pub(super) fn leave_rules(object: &mut Object) {
    let empty = object.at("/rules").is_some_and(|rules| match rules {
        Value::Array(rules) => rules.is_empty(),
        rules => rules.is_null(),
    });
    if object.kind() == "ClusterRole" && object.at("/aggregationRule").is_some_and(Value::is_object) && empty
    {
        object.edit(|body| drop(body.remove("rules")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_that_a_controller_fills_in_are_left_to_it() {
        let left = |more: Value| {
            let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "a"}});
            role.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
            let mut role = Object::from_value(role).expect("is an object");
            leave_rules(&mut role);
            role.at("/rules").is_none()
        };
        let selectors = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        assert!(left(json!({"aggregationRule": selectors, "rules": []})));
        assert!(left(json!({"aggregationRule": selectors, "rules": null})));
        // Rules that somebody wrote are his to mend, and without an aggregation none is none.
        assert!(!left(json!({"aggregationRule": selectors, "rules": [{"verbs": ["get"]}]})));
        assert!(!left(json!({"rules": []})));
    }
}
