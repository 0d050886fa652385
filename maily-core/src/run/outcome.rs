//! How a step or a run ended, as values.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ReleaseId, RunId, StepId};
use crate::provider::{Effect, ErrorKind, ProviderError, with_causes};

/// Why a step failed, with what a person needs to act on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Stable name of the cause, such as `crash-loop` or `deadline`.
    pub cause: String,
    /// One sentence.
    pub message: String,
    /// The object that shows it, such as `Pod boutique/api-6d…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// When the evidence arose, by the provider's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_at: Option<Timestamp>,
    /// Last lines of the log of what failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// The last Kubernetes Events of what failed, oldest first, as `Reason: message (xTimes)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the step changed anything.
    pub effect: Effect,
}

impl Failure {
    /// A failure by cause and sentence, with unknown effect.
    pub fn new(cause: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            message: message.into(),
            object: None,
            evidence_at: None,
            log: Vec::new(),
            events: Vec::new(),
            hint: None,
            effect: Effect::Unknown,
        }
    }

    /// States whether anything was changed.
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// States what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the object that shows it.
    #[must_use]
    pub fn with_object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// A failed call of a provider, with the chain of its causes.
    pub fn of(error: &ProviderError) -> Self {
        let message = with_causes(error);
        Self {
            object: Some(error.resource().to_owned()),
            hint: error.hint().map(str::to_owned),
            effect: error.effect(),
            ..Self::new(cause_of(error.kind()), message)
        }
    }
}

fn cause_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not-found",
        ErrorKind::Conflict => "conflict",
        ErrorKind::FieldConflict => "field-conflict",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Unauthenticated => "unauthenticated",
        ErrorKind::PermissionDenied => "permission-denied",
        ErrorKind::StaleEpoch => "stale-epoch",
        ErrorKind::Throttled => "throttled",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::DeadlineExceeded => "deadline",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Internal => "internal",
    }
}

/// A step that a person has to look after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stuck {
    /// The step.
    pub step: StepId,
    /// Why maily cannot go on by itself.
    pub why: Failure,
    /// What a person has to do.
    pub remedy: String,
}

/// How a run ended, for good: what its journal, its events and the history say of it. A run that was interrupted or
/// that waits for a person has no outcome yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// Every step was seen to succeed.
    Succeeded {
        /// The release that was made.
        release: ReleaseId,
        /// What the run left as it was did not serve before, and was not seen to serve in the end: a person has to look
        /// after it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        not_serving: Vec<Failure>,
    },
    /// There was nothing to do.
    Unchanged {
        /// What is as it was wanted, and was not seen to serve: a person has to look after it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        not_serving: Vec<Failure>,
    },
    /// Everything that the run touched is as it was before.
    RolledBack {
        /// The step that failed, or none where a person asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
        /// Why.
        why: Failure,
        /// What served before the run and was not seen to serve again, or was put back and is gone: a person has to look
        /// after it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        not_serving: Vec<Failure>,
    },
    /// Neither the new nor the old state could be reached by itself.
    Stuck {
        /// What needs a person.
        items: Vec<Stuck>,
    },
    /// Ended before anything was changed.
    Cancelled {
        /// Why.
        why: String,
    },
}

impl Outcome {
    /// What was not seen to serve in the end: where there is any, a person has to look after it.
    pub fn not_serving(&self) -> &[Failure] {
        match self {
            Self::Succeeded { not_serving, .. }
            | Self::Unchanged { not_serving }
            | Self::RolledBack { not_serving, .. } => not_serving,
            Self::Stuck { .. } | Self::Cancelled { .. } => &[],
        }
    }
}

/// How a process ended its work on a run: what whoever called it is told. The run itself may go on later, in another
/// process; only where it is over it has an [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The run is over.
    Over {
        /// The run; none where there was nothing to do.
        run: Option<RunId>,
        /// How it ended.
        outcome: Outcome,
    },
    /// The run was interrupted; `resume` goes on with it.
    Paused {
        /// The run.
        run: RunId,
        /// Why.
        why: String,
    },
    /// The run needs a person; `resume` goes on with it afterwards.
    Stuck {
        /// The run.
        run: RunId,
        /// What needs a person.
        items: Vec<Stuck>,
    },
}
