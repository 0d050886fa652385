//! Rollouts that their own strategy ends early.

use crate::{object::Object, run::Note};

/// What to know of a StatefulSet whose strategy keeps some of its pods as they are: the server counts its rollout as
/// done all the same, and so does everybody who asks it.
pub(crate) fn partition_note(object: &Object) -> Option<Note> {
    let strategy = "/spec/updateStrategy";
    if object.kind() != "StatefulSet" || object.text(&format!("{strategy}/type")) == Some("OnDelete") {
        return None;
    }
    let partition = object.int(&format!("{strategy}/rollingUpdate/partition")).filter(|first| *first > 0)?;
    let first = partition + object.int("/spec/ordinals/start").unwrap_or_default();
    let (key, name) = (object.key().short(), object.name());
    // Where the number of pods is not written it is an autoscaler's, or one.
    let text = match object.int("/spec/replicas") {
        Some(replicas) if replicas <= partition => format!(
            "{key} has `partition: {partition}` and {replicas} replicas: no pod that is there gets another version, \
             and the rollout counts as done"
        ),
        _ => format!(
            "{key} has `partition: {partition}`: of the pods that are there only those from {name}-{first} on get \
             another version, and the rollout counts as done with these"
        ),
    };
    Some(Note { topic: "partition".to_owned(), text })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn note(kind: &str, spec: Value) -> Option<String> {
        let body = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "db"}, "spec": spec});
        partition_note(&Object::from_value(body).expect("is an object")).map(|note| note.text)
    }

    fn with(partition: i64) -> Value {
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}})
    }

    #[test]
    fn who_gets_another_version_is_told_of_stateful_sets_in_parts() {
        let part = note("StatefulSet", json!({"replicas": 3, "updateStrategy": with(2)})).expect("is told");
        assert!(
            part.starts_with("StatefulSet/db has `partition: 2`") && part.contains("from db-2 on"),
            "{part}"
        );
        let counted = json!({"replicas": 3, "ordinals": {"start": 5}, "updateStrategy": with(2)});
        assert!(note("StatefulSet", counted).expect("is told").contains("from db-7 on"));
        let none = note("StatefulSet", json!({"replicas": 2, "updateStrategy": with(2)})).expect("is told");
        assert!(none.contains("no pod that is there"), "{none}");
        let scaled = note("StatefulSet", json!({"updateStrategy": with(2)})).expect("is told");
        assert!(scaled.contains("from db-2 on"), "{scaled}");
    }

    #[test]
    fn whole_rollouts_are_not_told() {
        let by_hand = json!({"type": "OnDelete", "rollingUpdate": {"partition": 2}});
        for spec in [
            json!({"replicas": 3}),
            json!({"replicas": 3, "updateStrategy": with(0)}),
            json!({"replicas": 3, "updateStrategy": by_hand}),
        ] {
            assert_eq!(note("StatefulSet", spec), None);
        }
        assert_eq!(note("DaemonSet", json!({"updateStrategy": with(2)})), None);
    }
}
