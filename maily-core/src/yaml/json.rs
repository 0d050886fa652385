//! From YAML to JSON as the clients of Kubernetes read it.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::{Content, Node};

/// The value as JSON. Plain scalars follow YAML 1.1 as kubectl does: `0644` is octal, `yes` and `on` are booleans.
pub fn to_json(node: &Node) -> Value {
    match &node.content {
        Content::List(items) => Value::Array(items.iter().map(to_json).collect()),
        Content::Map(entries) => Value::Object(
            entries.iter().map(|(key, node)| (key.name.clone(), to_json(node))).collect::<Map<_, _>>(),
        ),
        Content::Scalar { text, quoted: true } => Value::String(text.clone()),
        Content::Scalar { text, quoted: false } => scalar(text),
    }
}

fn scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    integer(text).or_else(|| float(text)).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let parsed = if let Some(hex) = digits.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok()
    } else if let Some(octal) = digits.strip_prefix("0o") {
        i64::from_str_radix(octal, 8).ok()
    } else if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
        i64::from_str_radix(digits, 8).ok()
    } else if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }?;
    Some(Value::Number(Number::from(if negative { -parsed } else { parsed })))
}

fn float(text: &str) -> Option<Value> {
    let looks = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E'));
    if !looks {
        return None;
    }
    Number::from_f64(text.parse().ok()?).map(Value::Number)
}

/// JSON escapes a character beyond the first plane in two halves, and YAML in one piece: the character itself is in both.
pub(super) fn joined_pairs(text: &str) -> Cow<'_, str> {
    let mut joined = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        let half = |at: usize| {
            let digits = escape.get(at..at + 6)?.strip_prefix("\\u")?;
            u16::from_str_radix(digits, 16).ok()
        };
        let pair = half(0).zip(half(6)).map(|(high, low)| [high, low]);
        let whole =
            pair.and_then(|pair| String::from_utf16(&pair).ok().filter(|text| text.chars().count() == 1));
        let (text, length) = match &whole {
            Some(whole) => (whole.as_str(), 12),
            // What follows a backslash is no escape of its own.
            None => {
                let length = escape.chars().take(2).map(char::len_utf8).sum();
                (&escape[..length], length)
            }
        };
        joined.push_str(before);
        joined.push_str(text);
        rest = &escape[length..];
    }
    if joined.is_empty() {
        return Cow::Borrowed(text);
    }
    joined.push_str(rest);
    Cow::Owned(joined)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Limits, parse};
    use super::*;

    #[test]
    fn scalars_are_read_as_kubectl_reads_them() {
        let text = "{a: 0644, b: yes, c: 'yes', d: 1.5, e: v1.2.3, f: 12, g: ~, h: 1e3, i: -7, j: 0x1f, k: 10.0.0.1, l: \"5\", m: 1.0.0}";
        let limits = Limits { bytes: 1000, nodes: 100, depth: 5, documents: 1, aliases: false };
        let documents = parse("f", text, limits).expect("is YAML");
        assert_eq!(
            to_json(&documents[0]),
            json!({"a": 420, "b": true, "c": "yes", "d": 1.5, "e": "v1.2.3", "f": 12, "g": null, "h": 1000.0, "i": -7,
                "j": 31, "k": "10.0.0.1", "l": "5", "m": "1.0.0"})
        );
    }

    #[test]
    fn a_text_is_one_by_its_quotes_or_its_tag() {
        let limits = Limits { bytes: 1000, nodes: 100, depth: 5, documents: 1, aliases: false };
        let documents = parse("f", "{a: !!str 8080, b: !!str 0123, c: !!str}", limits).expect("is YAML");
        assert_eq!(to_json(&documents[0]), json!({"a": "8080", "b": "0123", "c": ""}));
    }

    #[test]
    fn json_has_characters_in_two_halves() {
        let limits = Limits { bytes: 1000, nodes: 100, depth: 5, documents: 1, aliases: false };
        let text = r#"{"a": "go \ud83d\ude80 \n \\ud83d\\ude80", "b\ud83d\ude80": "\u00e9"}"#;
        let documents = parse("f", text, limits).expect("is JSON");
        assert_eq!(to_json(&documents[0]), serde_json::from_str::<Value>(text).expect("is JSON"));
        let half = parse("f", r#"{"a": "\ud83d"}"#, limits).expect_err("is refused");
        assert!(half.to_string().contains("not YAML"), "{half}");
    }
}
