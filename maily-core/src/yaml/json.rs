//! From YAML to JSON as the clients of Kubernetes read it.

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
}
