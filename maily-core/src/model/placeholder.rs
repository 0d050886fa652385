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
        let name = &rest[start + 1..start + length];
        out.push_str(&rest[..start]);
        let value = match name {
            "version" => values.version,
            "env" => values.environment,
            "service" => values.service,
            "project" => values.project,
            "images" => values.images,
            _ => {
                return Err(format!(
                    "unknown placeholder `{{{name}}}`; there are {{version}}, {{env}}, {{service}}, {{project}} and {{images}}"
                ));
            }
        };
        let value = value.ok_or_else(|| format!("`{{{name}}}` means nothing here"))?;
        out.push_str(value);
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    Ok(out)
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
}
