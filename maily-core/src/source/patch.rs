//! Changes of rendered objects: the way to override any default that has no key of its own.

use serde_json::{Map, Value};

/// Applies the patches of a workload, by kind.
///
/// # Errors
/// A kind that the workload does not have.
pub(super) fn patch(objects: &mut Vec<Value>, patches: &[(String, Value)]) -> Result<(), String> {
    for (kind, change) in patches {
        let has = |object: &Value| object["kind"] == **kind;
        if !objects.iter().any(has) {
            let mut kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
            kinds.dedup();
            return Err(format!("`patch` names `{kind}`; this workload has {}", kinds.join(", ")));
        }
        if change.is_null() {
            objects.retain(|object| !has(object));
            continue;
        }
        objects.iter_mut().filter(|object| has(object)).for_each(|object| merge(object, change));
    }
    Ok(())
}

/// Maps are merged, `null` removes a key, lists of named maps are merged by name, everything else is replaced.
fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => merge_maps(target, change),
        (Value::Array(target), Value::Array(change)) if is_named(target) && is_named(change) => {
            for item in change {
                match target.iter_mut().find(|known| known["name"] == item["name"]) {
                    Some(known) => merge(known, item),
                    None => target.push(item.clone()),
                }
            }
        }
        (target, change) => *target = change.clone(),
    }
}

fn merge_maps(target: &mut Map<String, Value>, change: &Map<String, Value>) {
    for (key, value) in change {
        match target.get_mut(key) {
            _ if value.is_null() => {
                target.remove(key);
            }
            Some(known) => merge(known, value),
            None => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

fn is_named(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| item.get("name").is_some_and(Value::is_string))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_and_named_lists_are_merged_and_other_lists_replaced() {
        let mut objects = vec![
            json!({"kind": "Deployment", "spec": {"a": 1, "b": 2, "list": [1, 2],
                "containers": [{"name": "x", "image": "i", "env": [{"name": "A", "value": "1"}]}]}}),
            json!({"kind": "PodDisruptionBudget", "spec": {}}),
        ];
        let patches = [
            (
                "Deployment".to_owned(),
                json!({"spec": {"a": null, "b": {"c": 3}, "list": [3],
                    "containers": [{"name": "x", "env": [{"name": "B", "value": "2"}]}, {"name": "y"}]}}),
            ),
            ("PodDisruptionBudget".to_owned(), Value::Null),
        ];
        patch(&mut objects, &patches).expect("has both");
        assert_eq!(
            objects,
            [json!({"kind": "Deployment", "spec": {"b": {"c": 3}, "list": [3], "containers": [
                {"name": "x", "image": "i", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                {"name": "y"}]}})]
        );
        let refused = patch(&mut objects, &[("Service".to_owned(), json!({}))]).expect_err("has none");
        assert_eq!(refused, "`patch` names `Service`; this workload has Deployment");
    }
}
