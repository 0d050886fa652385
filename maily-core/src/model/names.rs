//! Validated names and versions.

use std::{fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is no name or version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(String);

/// The rule of a DNS label (RFC 1123), which Kubernetes demands of most names.
fn label(text: &str, what: &str) -> Result<(), NameError> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if fits {
        Ok(())
    } else {
        Err(NameError(format!(
            "`{text}` is no name of {what}: 1 to 63 lower-case letters, digits and `-`, not at the ends"
        )))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                label(text, $what)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Name of a project.
    ProjectName, "a project"
);
name!(
    /// Name of a service.
    ServiceName, "a service"
);
name!(
    /// Name of an environment.
    EnvironmentName, "an environment"
);
name!(
    /// Name of a phase.
    PhaseName, "a phase"
);
name!(
    /// Name of a gate.
    GateName, "a gate"
);
name!(
    /// Name of a source that several services share.
    SourceName, "a source"
);

/// A version of the application: an image tag that means one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl FromStr for Version {
    type Err = NameError;

    /// The rule of an image tag (OCI distribution specification): up to 128 letters, digits, `_`, `.`, `-`, not
    /// beginning with `.` or `-`. Names that move are refused.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError("the version is empty".to_owned()));
        }
        if ["latest", "stable", "main", "master", "head"].contains(&text.to_ascii_lowercase().as_str()) {
            return Err(NameError(format!(
                "`{text}` is no version: it means another thing tomorrow, and nobody could go back to it"
            )));
        }
        let fits = text.len() <= 128
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
            && !text.starts_with(['.', '-']);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(format!(
                "`{text}` is no version: up to 128 letters, digits, `_`, `.` and `-`, as an image tag"
            )))
        }
    }
}

impl TryFrom<String> for Version {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.0
    }
}

impl Deref for Version {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_empty_and_slashed_versions_are_refused() {
        for text in ["latest", "Latest", "", "a/b", "-x", ".x", "v1 2", &"x".repeat(129)] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
        for text in ["v1.0.0", "1.2", "2026-11-01_a", "abc123"] {
            assert!(text.parse::<Version>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn names_are_dns_labels() {
        for text in ["", "Api", "a_b", "-a", "a-", "a.b", &"x".repeat(64)] {
            assert!(text.parse::<ServiceName>().is_err(), "{text:?}");
        }
        assert!("ai-service".parse::<ServiceName>().is_ok());
    }
}
