//! The API server's sentences: which say that a request can never succeed, and what of them can be told when they may
//! quote a value.

use http::StatusCode;

/// How the server begins when an apply does not fit the schema of its kind.
const MISFITS: &[&str] = &["failed to create typed patch object", "failed to convert new object"];

/// What is wrong with a field, in the server's words, up to where a value would follow.
const REASONS: &[&str] = &[
    "field not declared in schema",
    "expected string",
    "expected map",
    "expected list",
    "expected boolean",
    "expected numeric",
    "Required value",
    "Invalid value",
    "Unsupported value",
    "Duplicate value",
    "Too long",
    "Too many",
    "Forbidden",
];

/// What the server says without a value beside it.
const SENTENCES: &[&str] = &[
    "field is immutable",
    "illegal base64 data",
    "etcdserver: leader changed",
    "etcdserver: request timed out",
    "failed calling webhook",
    "apiserver is shutting down",
    "the server is currently unable to handle the request",
];

/// Whether the server found an applied object not to fit its schema: it answers so with status 500, and without a
/// reason.
pub(crate) fn does_not_fit(message: &str) -> bool {
    // A webhook that converts custom objects may answer the next time.
    MISFITS.iter().any(|start| message.starts_with(start)) && !message.contains("webhook")
}

/// Fields and what is wrong with them, without the rest.
pub(crate) fn without_values(message: &str, code: StatusCode) -> String {
    let mut told: Vec<String> = Vec::new();
    for reason in REASONS {
        for (at, _) in message.match_indices(&format!(": {reason}")) {
            let field = field_before(&message[..at]);
            told.push(if field.is_empty() { (*reason).to_owned() } else { format!("{field}: {reason}") });
        }
    }
    told.extend(SENTENCES.iter().filter(|sentence| message.contains(*sentence)).map(ToString::to_string));
    // Who refused stands before his own words.
    for end in [" denied the request", " denied request"] {
        told.extend(message.split_once(end).map(|(who, _)| format!("{who}{end}")));
    }
    told.dedup();
    if told.is_empty() {
        return format!("the server answered {code}; its words are not shown, as they may quote the Secret");
    }
    format!("{} (the server's other words are not shown, as they may quote the Secret)", told.join(", "))
}

/// The path of a field at the end of a text, as far as it looks like one.
fn field_before(text: &str) -> &str {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '[' | ']' | '/');
    let start =
        text.rfind(|c| !part(c)).map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let field = text[start..].trim_start_matches('[');
    let known = ["data", "stringData", "type", "immutable", "metadata"];
    let path = field.strip_prefix('.').unwrap_or(field);
    let root = path.split(['.', '[']).next().unwrap_or_default();
    // A typed path begins with a point; other words before a colon may be anything.
    if field.starts_with('.') || known.contains(&root) { field } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_rely_on_and_who_refused_are_told() {
        let told = |message: &str| without_values(message, StatusCode::FORBIDDEN);
        let uid = told(r#"Secret "b" is invalid: metadata.uid: Invalid value: "1": field is immutable"#);
        assert!(uid.starts_with("metadata.uid: Invalid value, field is immutable ("), "{uid}");
        let hook = told(r#"admission webhook "x.example" denied the request: hunter2 is weak"#);
        assert!(hook.starts_with(r#"admission webhook "x.example" denied the request ("#), "{hook}");
        let policy = told(
            r#"secrets "b" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'q' denied request: hunter2"#,
        );
        assert!(
            policy.contains("'p' with binding 'q' denied request") && !policy.contains("hunter2"),
            "{policy}"
        );
    }

    #[test]
    fn a_word_before_a_reason_is_a_field_only_where_it_looks_like_one() {
        assert_eq!(field_before("x is invalid: [data[tls.key]"), "data[tls.key]");
        assert_eq!(field_before("Kind=Secret): .stringData.a"), ".stringData.a");
        assert_eq!(field_before("the words hunter2"), "");
        assert_eq!(field_before("\u{e4}data"), "data");
    }
}
