//! One byte form for every value, so that digests of equal values are equal.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::object::Object;

/// The JSON text of a value with keys sorted at every level and no spaces.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write_map(map: &Map<String, Value>, out: &mut String) {
    out.push('{');
    let mut first = true;
    let mut entry = |key: &String, value: &Value| {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        write(value, out);
    };
    // Another crate of the build may switch serde_json to insertion order: sort where it did.
    if map.keys().is_sorted() {
        map.iter().for_each(|(key, value)| entry(key, value));
    } else {
        let mut entries: Vec<_> = map.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        entries.into_iter().for_each(|(key, value)| entry(key, value));
    }
    out.push('}');
}

fn write_text(text: &str, out: &mut String) {
    let plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if plain {
        out.extend(["\"", text, "\""]);
    } else {
        let _ = write!(out, "{}", Value::from(text));
    }
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => write_map(map, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// SHA-256 in hex of some bytes.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 in hex of a value's canonical form.
///
/// # Panics
/// Never for the plain data types of this crate: their serialisation cannot fail.
pub fn digest<T: Serialize>(value: &T) -> String {
    sha256(canonical(&json(value)).as_bytes())
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("plain data serialises")
}

/// The members of a list, each as JSON when its turn comes.
pub(crate) type Members<'a> = Box<dyn Iterator<Item = Value> + 'a>;

/// A list for [`digest_with`].
pub(crate) fn members<T: Serialize>(list: &[T]) -> Members<'_> {
    Box::new(list.iter().map(json))
}

/// [`digest`] of a value with some long lists in place of fields of it: a tree of maps is many times as large as what
/// it stands for, and so only one member of them is in memory at a time.
pub(crate) fn digest_with<T: Serialize>(value: &T, mut lists: BTreeMap<&str, Members<'_>>) -> String {
    let value = json(value);
    let fields = value.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    let names: BTreeSet<&str> = fields.chain(lists.keys().copied()).collect();
    let (mut sha, mut text) = (Sha256::new(), String::new());
    for (index, name) in names.into_iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        write_text(name, &mut text);
        text.push(':');
        let Some(members) = lists.remove(name) else {
            write(&value[name], &mut text);
            continue;
        };
        text.push('[');
        for (index, member) in members.enumerate() {
            if index > 0 {
                text.push(',');
            }
            write(&member, &mut text);
            sha.update(text.as_bytes());
            text.clear();
        }
        text.push(']');
    }
    text.push('}');
    sha.update(text.as_bytes());
    hex(&sha.finalize())
}

/// [`digest`] of an object, without a copy of it.
pub(crate) fn object_digest(object: &Object) -> String {
    let mut text = String::new();
    write_map(object.body(), &mut text);
    sha256(text.as_bytes())
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_level() {
        let value = json!({"b": [{"z": 1, "a": null}], "a": "x\n"});
        assert_eq!(canonical(&value), r#"{"a":"x\n","b":[{"a":null,"z":1}]}"#);
    }

    #[test]
    fn lists_beside_a_value_are_digested_as_if_they_stood_in_it() {
        let [first, last] =
            [json!([{"b": 1, "a": "x"}, 2]), json!([])].map(|list| list.as_array().cloned().unwrap());
        let lists = || BTreeMap::from([("m", members(&first)), ("z", members(&last))]);
        let whole = json!({"a": 1, "m": first, "n": {"d": 2, "c": 3}, "z": last});
        assert_eq!(digest_with(&json!({"a": 1, "m": [], "n": {"c": 3, "d": 2}}), lists()), digest(&whole));
        assert_eq!(digest_with(&json!({}), lists()), digest(&json!({"m": first, "z": []})));
    }

    #[test]
    fn the_digest_is_that_of_the_canonical_text() {
        assert_eq!(digest(&json!({})), sha256(b"{}"));
        assert_eq!(hex(&[0x0f, 0xa0]), "0fa0");
        let object = json!({"apiVersion": "v1", "data": {"quoted \"": "tab\t, back\\slash, \u{e9}, \u{7f}, \u{1}"},
            "kind": "ConfigMap", "metadata": {"name": "a"}});
        let wanted = sha256(canonical(&object).as_bytes());
        assert_eq!(canonical(&object), object.to_string());
        let object = Object::from_value(object).expect("an object");
        assert_eq!((object_digest(&object), digest(&object)), (wanted.clone(), wanted));
    }
}
