//! Names that the engine gives: runs, steps, epochs, releases.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::runtime::Runtime;

/// A step of a plan; follows from what the step does, such as `production/api/rollout`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// A step of an environment.
    pub fn new(environment: &str, subject: &str, verb: &str) -> Self {
        Self(format!("{environment}/{subject}/{verb}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run: the time it was made and a random part, fit for a label and sorted by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// A new id from the runtime's clock and chance.
    pub fn new(runtime: &dyn Runtime) -> Self {
        let time = runtime.wall().strftime("%Y%m%d-%H%M%S");
        Self(format!("{time}-{:06x}", runtime.random() & 0xff_ffff))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RunId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who may write to an environment: every takeover raises it by at least one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A release of an environment, counted from 1; 0 is what was found when maily took the environment over.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct ReleaseId(pub u64);

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::TokioRuntime;

    #[test]
    fn run_ids_fit_a_label_and_a_record_key() {
        let id = RunId::new(&TokioRuntime);
        assert!(id.as_str().len() <= 63);
        assert!(
            id.as_str().bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'-'),
            "{id}"
        );
    }
}
