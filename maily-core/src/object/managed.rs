//! Who set the fields of a live object: the one reader of `metadata.managedFields`.

use std::{borrow::Cow, collections::BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Object;

/// One entry of `metadata.managedFields`: what a client set by one way of writing.
pub(super) struct Entry<'a> {
    /// The client; empty where the server does not know it.
    pub(super) manager: &'a str,
    /// The part of the object's API that it used, such as `scale`; empty for the object itself.
    pub(super) subresource: &'a str,
    /// When it changed something last.
    time: &'a str,
    /// What it set, as it came.
    fields: Option<&'a Value>,
}

impl<'a> Entry<'a> {
    /// What it set.
    pub(super) fn fields(&self) -> Option<Cow<'a, Map<String, Value>>> {
        fields(self.fields?)
    }
}

/// The `fieldsV1` of an entry: a tree of maps, or the text of one, which is a fraction of its size.
pub(super) fn fields(value: &Value) -> Option<Cow<'_, Map<String, Value>>> {
    match value {
        Value::Object(fields) => Some(Cow::Borrowed(fields)),
        Value::String(text) => serde_json::from_str(text).ok().map(Cow::Owned),
        _ => None,
    }
}

/// The entries, as the server orders them.
pub(super) fn entries(object: &Object) -> impl Iterator<Item = Entry<'_>> {
    object.items("/metadata/managedFields").iter().map(|entry| {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        Entry {
            manager: text("manager"),
            subresource: text("subresource"),
            time: text("time"),
            fields: entry.get("fieldsV1"),
        }
    })
}

/// Entries of writes to the object itself: not of its status, not of scaling.
fn whole(object: &Object) -> impl Iterator<Item = Entry<'_>> {
    entries(object).filter(|entry| entry.subresource.is_empty())
}

/// Clients that own fields of an object; `kubectl scale` and autoscalers go by a subresource.
pub(crate) fn managers(object: &Object) -> BTreeSet<&str> {
    entries(object)
        .filter(|entry| matches!(entry.subresource, "" | "scale") && !entry.manager.is_empty())
        .map(|entry| entry.manager)
        .collect()
}

/// Whether a client set a field of the object itself, or something in it: without the whole of what it set.
pub(crate) fn sets(object: &Object, manager: &str, path: &[&str]) -> bool {
    whole(object).filter(|entry| entry.manager == manager).any(|entry| {
        let fields = entry.fields();
        let mut at = fields.as_deref();
        for name in path {
            at = at.and_then(|fields| fields.get(&format!("f:{name}"))?.as_object());
        }
        at.is_some()
    })
}

/// Clients that wrote the object itself.
pub(crate) fn editors(object: &Object) -> impl Iterator<Item = &str> {
    whole(object).map(|entry| entry.manager).filter(|manager| !manager.is_empty())
}

/// The client that wrote the object itself last.
pub(crate) fn last_editor(object: &Object) -> Option<&str> {
    let newest = whole(object).max_by_key(|entry| entry.time)?;
    Some(newest.manager).filter(|manager| !manager.is_empty())
}

/// When the server last took a change of the object itself, by the server's clock.
pub(crate) fn edited_at(object: &Object) -> Option<Timestamp> {
    whole(object).filter_map(|entry| entry.time.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scaled_by_hand() -> Object {
        Object::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web",
        "managedFields": [
            {"manager": "maily", "operation": "Apply", "time": "2026-11-01T10:00:00Z"},
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-11-01T11:00:00Z"},
            {"manager": "kubectl-scale", "operation": "Update", "subresource": "scale",
                "time": "2026-11-01T12:00:00Z"},
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
                "time": "2026-11-01T13:00:00Z"},
        ]}}))
        .expect("an object")
    }

    #[test]
    fn who_scaled_owns_a_field_and_who_reported_a_status_does_not() {
        let object = scaled_by_hand();
        let managers = managers(&object);
        assert_eq!(managers.into_iter().collect::<Vec<_>>(), ["kubectl-edit", "kubectl-scale", "maily"]);
    }

    #[test]
    fn a_field_is_set_by_who_has_it_in_either_form_of_what_it_set() {
        let fields = json!({"f:spec": {"f:replicas": {}}});
        for set in [fields.clone(), fields.to_string().into()] {
            let object = Object::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "managedFields": [
                    {"manager": "maily", "fieldsV1": set},
                    {"manager": "scaler", "subresource": "scale", "fieldsV1": set}]}}))
            .expect("an object");
            assert!(sets(&object, "maily", &["spec", "replicas"]));
            assert!(!sets(&object, "maily", &["spec", "template"]));
            assert!(!sets(&object, "scaler", &["spec", "replicas"]));
        }
    }

    #[test]
    fn only_who_wrote_the_object_itself_has_edited_it() {
        let object = scaled_by_hand();
        assert_eq!(editors(&object).collect::<Vec<_>>(), ["maily", "kubectl-edit"]);
        assert_eq!(last_editor(&object), Some("kubectl-edit"));
        assert_eq!(edited_at(&object), "2026-11-01T11:00:00Z".parse().ok());
    }

    #[test]
    fn an_object_that_nobody_has_sent_has_no_editor() {
        let object = scaled_by_hand().without_server_fields();
        assert!(managers(&object).is_empty());
        assert_eq!(last_editor(&object), None);
        assert_eq!(edited_at(&object), None);
    }
}
