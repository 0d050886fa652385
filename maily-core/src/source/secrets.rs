//! Secrets in manifests: what the API server would refuse is refused when they are read, because its own words quote
//! what they refuse, and because nothing that is no known part of a Secret would be sealed.

use super::manifests::Refusal;
use crate::{
    model::nearest,
    run::decoded,
    yaml::{Content, Node, to_json},
};

const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable"];

const METADATA: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Whether a document may hold values of Secrets: no line of such a text is shown.
pub(super) fn may_hold_values(node: &Node) -> bool {
    let items = node.get("items").map(|items| &items.content);
    if let Some(Content::List(items)) = items
        && items.iter().any(may_hold_values)
    {
        return true;
    }
    match text(node, "kind") {
        Some(kind) => kind.to_lowercase().starts_with("secret"),
        // Perhaps the one line that is missing says so.
        None => node.get("data").is_some() || node.get("stringData").is_some(),
    }
}

/// Whether a document is a Secret, also where its kind or version is written wrongly.
pub(super) fn is_meant(node: &Node) -> bool {
    let core = text(node, "apiVersion").is_some_and(|version| !version.contains('/'));
    core && text(node, "kind").is_some_and(|kind| matches!(&*kind.to_lowercase(), "secret" | "secrets"))
}

/// All that is wrong with a Secret, with places; never a value.
pub(super) fn refusals(node: &Node) -> Vec<Refusal> {
    let name = node.get("metadata").and_then(|metadata| text(metadata, "name")).unwrap_or("without a name");
    let mut check = Check { name, found: Vec::new() };
    for (field, wanted) in [("apiVersion", "v1"), ("kind", "Secret")] {
        if let Some(found) = node.get(field).filter(|_| text(node, field) != Some(wanted)) {
            let what = format!("`{field}` is not as a Secret has it");
            check.refuse(found, what, format!("write `{field}: {wanted}`"));
        }
    }
    check.fields(node, FIELDS, "");
    if let Some(metadata) = node.get("metadata") {
        check.fields(metadata, METADATA, "metadata.");
    }
    if let Some(found) = node.get("type").filter(|found| !found.is_null() && !to_json(found).is_string()) {
        check.refuse(found, format!("`type` is {}, and has to be text", sort(found)), "quote it");
    }
    if let Some(found) =
        node.get("immutable").filter(|found| !found.is_null() && !to_json(found).is_boolean())
    {
        check.refuse(
            found,
            format!("`immutable` is {}, and has to be true or false", sort(found)),
            "write `immutable: true`",
        );
    }
    check.values(node, "data");
    check.values(node, "stringData");
    check.found
}

struct Check<'a> {
    name: &'a str,
    found: Vec<Refusal>,
}

impl Check<'_> {
    fn refuse(&mut self, node: &Node, what: impl AsRef<str>, help: impl Into<String>) {
        let message = format!("Secret `{}`: {}", self.name, what.as_ref());
        self.found.push(Refusal { place: node.place, message, help: help.into() });
    }

    fn fields(&mut self, node: &Node, known: &[&str], path: &str) {
        for (key, value) in node.entries().unwrap_or_default() {
            if known.contains(&key.name.as_str()) {
                continue;
            }
            let place = Node { place: key.place, content: value.content.clone() };
            let lower = key.name.to_lowercase();
            let near = known.iter().find(|known| known.to_lowercase() == lower);
            let near = near.map(|near| format!("did you mean `{near}`?"));
            let help = near.or_else(|| nearest(&key.name, known.iter().copied()));
            let help = help.unwrap_or_else(|| {
                "remove it, or indent it under `stringData` where it is a value".to_owned()
            });
            self.refuse(&place, format!("`{path}{}` is no field of a Secret", key.name), help);
        }
    }

    fn values(&mut self, node: &Node, field: &str) {
        let Some(map) = node.get(field).filter(|map| !map.is_null()) else { return };
        let Some(entries) = map.entries() else {
            let what = format!("`{field}` is {}, and has to be a map", sort(map));
            return self.refuse(map, what, "write each value below a key of its own");
        };
        for (key, value) in entries {
            let path = format!("{field}.{}", key.name);
            match to_json(value) {
                // The API server takes nothing for an empty text.
                serde_json::Value::Null => {}
                serde_json::Value::String(text) => {
                    if field == "data" && decoded(&text).is_none() {
                        self.refuse(
                            value,
                            format!("`{path}` is not base64"),
                            "encode it with `base64`, or write it as it is under `stringData`",
                        );
                    }
                }
                serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                    let what = format!("`{path}` is {}, and has to be text", sort(value));
                    self.refuse(value, what, "write it as one text, such as a block after `|`");
                }
                _ => {
                    let what = format!("`{path}` is {}, and has to be text", sort(value));
                    self.refuse(value, what, "quote it");
                }
            }
        }
    }
}

fn text<'n>(node: &'n Node, field: &str) -> Option<&'n str> {
    match &node.get(field)?.content {
        Content::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// What a value is, without the value.
fn sort(node: &Node) -> &'static str {
    match to_json(node) {
        serde_json::Value::Null => "nothing",
        serde_json::Value::Bool(_) => "true or false without quotes",
        serde_json::Value::Number(_) => "a number without quotes",
        serde_json::Value::String(_) => "a text",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use crate::source::read_manifests;

    const HEAD: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\n";

    /// A refusal of a text in which `hunter2` is secret.
    #[track_caller]
    fn refusal(text: &str) -> String {
        let said = read_manifests("s.yaml", text).expect_err("is refused").to_string();
        assert!(!said.contains("hunter2") && !said.contains("31337"), "tells the value: {said}");
        assert!(said.contains("help: "), "{said}");
        said
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_key_and_place() {
        let said = refusal(&format!(
            "{HEAD}stringData:\n  pin: 313370\n  flag: yes\n  ok: hunter2\ndata: {{a: {{nested: hunter2}}, b: [hunter2], c: 31337}}\n"
        ));
        for part in [
            "s.yaml:5:8: Secret `web`: `stringData.pin` is a number without quotes",
            "s.yaml:6:9: Secret `web`: `stringData.flag` is true or false without quotes",
            "s.yaml:8:11: Secret `web`: `data.a` is a map",
            "`data.b` is a list",
            "`data.c` is a number",
            "quote it",
        ] {
            assert!(said.contains(part), "`{part}` in {said}");
        }
        assert!(refusal(&format!("{HEAD}data: hunter2\n")).contains("`data` is a text"));
        assert!(
            refusal(&format!("{HEAD}type: 31337\nimmutable: hunter2\n")).contains("`immutable` is a text")
        );
    }

    #[test]
    fn what_is_not_base64_is_refused_and_what_is_wrapped_is_not() {
        let said = refusal(&format!("{HEAD}data:\n  password: hunter2 is secret\n"));
        assert!(said.contains("s.yaml:5:13: Secret `web`: `data.password` is not base64"), "{said}");
        for fine in ["|\n    aHVu\n    dGVyMg==", "\"aHVu\\r\\ndGVyMg==\\n\"", "YWK=", "''", "~"] {
            read_manifests("s.yaml", &format!("{HEAD}data:\n  password: {fine}\n")).expect(fine);
        }
        // Neither spaces nor a missing end are base64 to the server.
        for wrong in ["aHVu dGVyMg==", "aHVudGVyMg", "aHVudGVyMg==aHVu"] {
            refusal(&format!("{HEAD}data:\n  password: {wrong}\n"));
        }
    }

    #[test]
    fn a_misspelt_field_is_refused_and_its_value_not_shown() {
        let said = refusal(&format!("{HEAD}stringdata: {{password: hunter2}}\n"));
        assert!(said.contains("s.yaml:4:1: Secret `web`: `stringdata` is no field of a Secret"), "{said}");
        assert!(said.contains("did you mean `stringData`?"), "{said}");
        let said = refusal(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: web\n  stringData: {password: hunter2}\npassword: hunter2\n",
        );
        assert!(said.contains("`metadata.stringData`") && said.contains("`password` is no field"), "{said}");
        let said =
            refusal("{apiVersion: v2, kind: secret, metadata: {name: web}, stringData: {p: hunter2}}\n");
        assert!(said.contains("write `kind: Secret`") && said.contains("write `apiVersion: v1`"), "{said}");
    }

    #[test]
    fn no_line_of_a_text_with_secrets_is_shown() {
        for text in [
            "{apiVersion: v1, stringData: {p: hunter2}}\n".to_owned(),
            "{apiVersion: v1, kind: List, items: [{kind: Service, metadata: {}}, {apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {p: hunter2}}]}".to_owned(),
            format!("{HEAD}stringData: {{p: hunter2}}\n---\n{{apiVersion: v1, kind: Secret, metadata: {{name: web}}, stringData: {{p: hunter2}}}}\n"),
        ] {
            refusal(&text);
        }
        for text in [
            format!("{HEAD}stringData:\n  p: hunter2: x\n"),
            format!("{HEAD}stringData:\n  p: a\n  p: hunter2\n"),
            format!("{HEAD}stringData: [p: hunter2\n"),
        ] {
            let said = read_manifests("s.yaml", &text).expect_err("is no YAML").to_string();
            assert!(!said.contains("hunter2") && said.starts_with("s.yaml:"), "{said}");
        }
        // Elsewhere the line helps.
        let said = read_manifests("s.yaml", "kind: Service: x\n").expect_err("is no YAML").to_string();
        assert!(said.contains("1 | kind: Service: x"), "{said}");
    }
}
