//! The schema, as far as it is played: what an apply of the kinds that hold data must look like.

use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
};
use maily_core::object::Object;
use serde_json::{Map, Value};

/// As Go decodes: unused bits of the end count for nothing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Why an applied object does not fit its kind, if it does not. No value stands in it.
pub(super) fn misfit(object: &Object) -> Option<String> {
    let maps: &[&str] = match (&*object.key().kind.api_version, object.kind()) {
        ("v1", "Secret") => &["data", "stringData"],
        ("v1", "ConfigMap") => &["data", "binaryData"],
        _ => return None,
    };
    let known = ["apiVersion", "kind", "metadata", "immutable", "status"];
    let has_type = |field: &str| object.kind() == "Secret" && field == "type";
    for (field, value) in object.body() {
        if known.contains(&&**field) || has_type(field) || value.is_null() {
            continue;
        }
        if !maps.contains(&&**field) {
            return Some(format!(".{field}: field not declared in schema"));
        }
        let Value::Object(entries) = value else { return Some(format!(".{field}: expected map")) };
        for (key, value) in entries {
            let encoded = matches!((object.kind(), &**field), ("Secret", "data") | (_, "binaryData"));
            match value {
                Value::Null => {}
                Value::String(text) if encoded && decoded(text).is_none() => {
                    return Some("illegal base64 data".to_owned());
                }
                Value::String(_) => {}
                _ => return Some(format!(".{field}.{key}: expected string")),
            }
        }
    }
    None
}

/// A Secret as it is stored: `stringData` in `data`, every value in the one way of writing it.
pub(super) fn stored(body: &mut Map<String, Value>) {
    let plain = body.remove("stringData");
    if body.get("data").is_some_and(Value::is_null) {
        body.remove("data");
    }
    if let Some(Value::Object(data)) = body.get_mut("data") {
        for value in data.values_mut() {
            let text = value.as_str().unwrap_or_default();
            // What the strict decoder takes is written in the one way.
            if value.is_string() && STANDARD.decode(text).is_ok() {
                continue;
            }
            if let Some(bytes) = decoded(text) {
                *value = STANDARD.encode(bytes).into();
            }
        }
    }
    let Some(Value::Object(plain)) = plain else { return };
    let data = body.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(data) = data {
        data.extend(plain.into_iter().map(|(key, value)| {
            let text = STANDARD.encode(value.as_str().unwrap_or_default());
            (key, Value::String(text))
        }));
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let in_one_line = || {
        let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        LENIENT.decode(text).ok()
    };
    LENIENT.decode(text).ok().or_else(in_one_line)
}
