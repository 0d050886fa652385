//! Fields of clients that deployed before, moved to our apply, so that an apply can remove them (T17).

use std::collections::BTreeSet;

use maily_core::{
    object::{FieldSet, Object},
    planted::{Defect, is_planted},
};
use serde_json::{Map, Value, json};

/// The new `managedFields`, or `None` where nothing has to be moved.
pub(crate) fn migrated(live: &Object, manager: &str, from: &BTreeSet<String>) -> Option<Value> {
    let entries = live.items("/metadata/managedFields");
    let name = |entry: &Value| entry.get("manager").and_then(Value::as_str).unwrap_or_default().to_owned();
    let whole = |entry: &&Value| entry.get("subresource").is_none_or(|part| part.as_str() == Some(""));
    // `kubectl` and Helm 4 apply on the server under their own names, too.
    let legacy = |entry: &&Value| whole(entry) && name(entry) != manager && from.contains(&name(entry));
    let taken: BTreeSet<String> = entries.iter().filter(legacy).map(name).collect();
    if taken.is_empty() || is_planted(Defect::FieldsNotMigrated) {
        return None;
    }
    let fields = FieldSet::owned_by(live, |by| by == manager || taken.contains(by));
    let mut kept: Vec<Value> = entries
        .iter()
        .filter(|entry| !(legacy(entry) || whole(entry) && name(entry) == manager))
        .map(|entry| {
            let mut entry = entry.clone();
            // As text it is what we keep, not what the server reads.
            if let Some(Value::String(text)) = entry.get("fieldsV1") {
                entry["fieldsV1"] = serde_json::from_str(text).unwrap_or_default();
            }
            entry
        })
        .collect();
    let mut ours = Map::new();
    ours.insert("manager".to_owned(), manager.into());
    ours.insert("operation".to_owned(), "Apply".into());
    ours.insert("apiVersion".to_owned(), live.key().kind.api_version.clone().into());
    ours.insert("fieldsType".to_owned(), "FieldsV1".into());
    ours.insert("fieldsV1".to_owned(), fields.to_fields_v1());
    kept.push(Value::Object(ours));
    Some(json!(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn t17_fields_of_a_client_side_apply_become_ours() {
        let mut live = Object::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "n", "managedFields": [
                entry("kubectl-client-side-apply", "Update", json!({"f:data": {".": {}, "f:kept": {}, "f:left-out": {}}})),
                entry("maily", "Apply", json!({"f:data": {"f:kept": {}}})),
                entry("kubectl-edit", "Update", json!({"f:data": {"f:unnamed": {}}})),
                entry("somebody", "Update", json!({"f:data": {"f:theirs": {}}})),
            ]},
            "data": {"kept": "1", "left-out": "2", "unnamed": "3", "theirs": "4"}}))
        .unwrap();
        let from = BTreeSet::from(["kubectl-client-side-apply".to_owned()]);
        let moved = migrated(&live, "maily", &from).expect("there is something to move");
        let managers: Vec<&str> =
            moved.as_array().unwrap().iter().map(|e| e["manager"].as_str().unwrap()).collect();
        assert_eq!(managers, ["kubectl-edit", "somebody", "maily"], "who was not named keeps his");
        assert_eq!(moved[2]["operation"], "Apply", "what an apply leaves out goes if an apply set it");
        let ours = FieldSet::of_entry(&moved[2]);
        let owned = |field: &str| ours.contains(&["data", field]);
        assert!(owned("kept") && owned("left-out") && !owned("theirs"), "{:?}", ours.paths());
        live.edit(|body| body["metadata"]["managedFields"] = moved);
        assert_eq!(migrated(&live, "maily", &from), None, "nothing is left to move");
    }

    /// The rule is worth what turns red without it.
    #[cfg(feature = "planted-defects")]
    #[test]
    fn fields_that_are_not_migrated_turn_their_test_red() {
        maily_core::planted::turns_red(
            Defect::FieldsNotMigrated,
            t17_fields_of_a_client_side_apply_become_ours,
        );
    }
}
