//! The placeholders: `{version}`, `{env}`, `{service}`, `{project}`, and `{images}` where images are named.

/// Values of the placeholders that mean something at a place.
#[derive(Clone, Debug, Default)]
pub struct Placeholders<'a> {
    /// `{version}`.
    pub version: Option<&'a str>,
    /// `{env}`.
    pub environment: Option<&'a str>,
    /// `{service}`.
    pub service: Option<&'a str>,
    /// `{project}`.
    pub project: Option<&'a str>,
    /// `{images}`.
    pub images: Option<&'a str>,
}

/// Replaces the placeholders of a text.
///
/// # Errors
/// The name of a placeholder that is unknown or means nothing here.
pub fn expand(text: &str, values: &Placeholders<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let Some(length) = rest[start..].find('}') else { break };
        out.push_str(&rest[..start]);
        out.push_str(value(&rest[start + 1..start + length], values)?);
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Replaces the placeholders of a text that may have braces of its own: JSON, `${SHELL}` and `{{ templates }}` stay
/// as they are, a lower-case word in braces is a placeholder.
///
/// # Errors
/// As [`expand`].
pub(crate) fn expand_words(text: &str, values: &Placeholders<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        out.push_str(&rest[..start]);
        let is_own = out.ends_with(['$', '{']);
        let length = rest[start..].find('}').filter(|length| {
            let name = &rest[start + 1..start + length];
            !is_own && !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        });
        match length {
            Some(length) => {
                out.push_str(value(&rest[start + 1..start + length], values)?);
                rest = &rest[start + length + 1..];
            }
            None => {
                out.push('{');
                rest = &rest[start + 1..];
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn value<'a>(name: &str, values: &Placeholders<'a>) -> Result<&'a str, String> {
    let value = match name {
        "version" => values.version,
        "env" => values.environment,
        "service" => values.service,
        "project" => values.project,
        "images" => values.images,
        "previous-schema" => return Err("`{previous-schema}` is not there yet".to_owned()),
        _ => {
            return Err(format!(
                "unknown placeholder `{{{name}}}`; there are {{version}}, {{env}}, {{service}}, {{project}} and {{images}}"
            ));
        }
    };
    value.ok_or_else(|| format!("`{{{name}}}` means nothing here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ones_are_replaced_and_others_refused() {
        let values = Placeholders { version: Some("v1"), service: Some("api"), ..Placeholders::default() };
        assert_eq!(expand("r/{service}:{version}", &values).unwrap(), "r/api:v1");
        assert!(expand("{verison}", &values).unwrap_err().contains("unknown placeholder `{verison}`"));
        assert!(expand("{env}", &values).unwrap_err().contains("means nothing here"));
        assert_eq!(expand("a { b", &values).unwrap(), "a { b");
    }

    #[test]
    fn braces_of_other_languages_stay() {
        let values = Placeholders { version: Some("v1"), ..Placeholders::default() };
        for (text, wanted) in [
            ("release {version}", "release v1"),
            (
                "{\"a\": {\"b\": 1}} ${version} {{version}} {A} {}",
                "{\"a\": {\"b\": 1}} ${version} {{version}} {A} {}",
            ),
            ("a { b {version}", "a { b v1"),
        ] {
            assert_eq!(expand_words(text, &values).unwrap(), wanted);
        }
        assert!(expand_words("{verison}", &values).unwrap_err().contains("unknown placeholder"));
        assert!(expand_words("{previous-schema}", &values).unwrap_err().contains("not there yet"));
    }
}
