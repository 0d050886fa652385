//! Faults, and how they are written.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Something that goes wrong, on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// Pods of a workload do not become what they should, at every version or at one.
    Pods {
        /// What happens.
        trouble: PodTrouble,
        /// Name of the workload or of its service.
        service: String,
        /// Image tag.
        version: Option<String>,
    },
    /// The API does not answer for some more requests.
    ApiDown {
        /// Requests.
        requests: u32,
    },
    /// The next writes take effect, and their answers are lost.
    LostAnswer {
        /// Writes.
        requests: u32,
    },
    /// The metrics of a service are not delivered.
    MetricsDown {
        /// Name of the service.
        service: String,
    },
    /// Builds of a frontend project fail.
    BuildFails {
        /// The project.
        project: String,
    },
}

/// What happens to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodTrouble {
    /// The container ends with an error, again and again.
    Crash,
    /// The image does not exist.
    ImageMissing,
    /// A Secret that it needs does not exist.
    ConfigError,
    /// It runs and never becomes ready.
    NeverReady,
    /// It becomes ready after 30 s.
    Slow,
    /// No node takes it.
    Unschedulable,
    /// It is ready, and half of its answers are errors.
    Errors,
    /// It is ready, and takes 2 s for an answer.
    Lagging,
}

const TROUBLES: &[(&str, PodTrouble)] = &[
    ("crash", PodTrouble::Crash),
    ("image-missing", PodTrouble::ImageMissing),
    ("config-error", PodTrouble::ConfigError),
    ("never-ready", PodTrouble::NeverReady),
    ("slow", PodTrouble::Slow),
    ("unschedulable", PodTrouble::Unschedulable),
    ("errors", PodTrouble::Errors),
    ("lagging", PodTrouble::Lagging),
];

/// A text that means no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no fault")]
pub struct FaultError(String);

impl Fault {
    /// How faults are written, and what they do.
    pub fn help() -> &'static [(&'static str, &'static str)] {
        &[
            ("crash SERVICE[@VERSION]", "its pods crash again and again"),
            ("image-missing SERVICE[@VERSION]", "its image does not exist"),
            ("config-error SERVICE[@VERSION]", "a Secret that it needs does not exist"),
            ("never-ready SERVICE[@VERSION]", "its pods run and never become ready"),
            ("slow SERVICE[@VERSION]", "its pods become ready after 30 s"),
            ("unschedulable SERVICE[@VERSION]", "no node takes its pods"),
            ("errors SERVICE[@VERSION]", "its pods are ready, and half of their answers are errors"),
            ("lagging SERVICE[@VERSION]", "its pods are ready, and take 2 s for an answer"),
            ("metrics-down SERVICE", "its metrics are not delivered"),
            ("build-fails PROJECT", "builds of the frontend project fail"),
            ("api-down N", "the API refuses the next N requests"),
            ("lost-answer N", "the next N writes take effect, and their answers are lost"),
        ]
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let refuse = || FaultError(text.to_owned());
        let (word, rest) = text.trim().split_once(char::is_whitespace).ok_or_else(refuse)?;
        let rest = rest.trim();
        if rest.is_empty() || rest.contains(char::is_whitespace) {
            return Err(refuse());
        }
        if let Some((_, trouble)) = TROUBLES.iter().find(|(name, _)| *name == word) {
            let (service, version) = match rest.split_once('@') {
                Some((service, version)) => (service, Some(version.to_owned())),
                None => (rest, None),
            };
            if service.is_empty() || version.as_ref().is_some_and(String::is_empty) {
                return Err(refuse());
            }
            return Ok(Self::Pods { trouble: *trouble, service: service.to_owned(), version });
        }
        match word {
            "api-down" => Ok(Self::ApiDown { requests: rest.parse().map_err(|_| refuse())? }),
            "lost-answer" => Ok(Self::LostAnswer { requests: rest.parse().map_err(|_| refuse())? }),
            "metrics-down" => Ok(Self::MetricsDown { service: rest.to_owned() }),
            "build-fails" => Ok(Self::BuildFails { project: rest.to_owned() }),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods { trouble, service, version } => {
                let word =
                    TROUBLES.iter().find(|(_, known)| known == trouble).map_or("crash", |(name, _)| name);
                write!(f, "{word} {service}")?;
                version.as_ref().map_or(Ok(()), |version| write!(f, "@{version}"))
            }
            Self::ApiDown { requests } => write!(f, "api-down {requests}"),
            Self::LostAnswer { requests } => write!(f, "lost-answer {requests}"),
            Self::MetricsDown { service } => write!(f, "metrics-down {service}"),
            Self::BuildFails { project } => write!(f, "build-fails {project}"),
        }
    }
}

impl TryFrom<String> for Fault {
    type Error = FaultError;

    fn try_from(text: String) -> Result<Self, FaultError> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> String {
        fault.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        for text in [
            "crash api",
            "never-ready ai-service@v1.1.0",
            "errors api@v1.1.0",
            "lagging api",
            "metrics-down api",
            "api-down 3",
            "lost-answer 1",
            "build-fails web",
        ] {
            assert_eq!(text.parse::<Fault>().expect("a fault").to_string(), text);
        }
        for text in ["", "crash", "crash @v1", "crash api@", "explode api", "api-down many", "crash a b"] {
            assert!(text.parse::<Fault>().is_err(), "{text:?}");
        }
    }
}
