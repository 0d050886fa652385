//! What a run writes down, in order, before and after each effect.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::run::{Digests, Epoch, Failure, Outcome, ReleaseId, StepId, StepResult, Stuck};

/// One entry of a run's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum JournalEvent {
    /// The run begins. Its plan is part of the segment or follows in blobs.
    RunStarted {
        /// Digest of the plan.
        plan: String,
        /// Who started it.
        by: String,
        /// Why, where a reason was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A process took the run over and may write from here on.
    EpochClaimed {
        /// Its epoch.
        epoch: Epoch,
        /// Who.
        by: String,
        /// Why, where a reason was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// When; records of earlier versions do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// A step is going to have its effect. What it captured is the plan's `before`, which the first write checks.
    StepStarted {
        /// Which.
        step: StepId,
        /// When.
        at: Timestamp,
    },
    /// A step was seen to succeed.
    StepApplied {
        /// Which.
        step: StepId,
        /// What it left behind.
        result: StepResult,
        /// When.
        at: Timestamp,
    },
    /// A step failed.
    StepFailed {
        /// Which.
        step: StepId,
        /// Why, and whether it changed anything.
        failure: Failure,
        /// What it left behind as far as it got.
        result: StepResult,
        /// When.
        at: Timestamp,
    },
    /// The run goes back; at most once, and never forward again.
    Turned {
        /// Why.
        why: Failure,
        /// The step whose failure it was; none where a person asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
        /// Who.
        by: String,
        /// When; records of earlier versions do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// A step is going to be undone.
    UndoStarted {
        /// Which.
        step: StepId,
        /// When; records of earlier versions do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// A step was undone.
    Undone {
        /// Which.
        step: StepId,
        /// When.
        at: Timestamp,
    },
    /// A step could not be undone.
    UndoFailed {
        /// Which.
        step: StepId,
        /// Why.
        failure: Failure,
        /// What a person has to do.
        remedy: String,
        /// When; records of earlier versions do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// A gate decided.
    GateDecided {
        /// Which.
        step: StepId,
        /// `pass`, `fail` or `insufficient`.
        verdict: String,
        /// On what grounds.
        evidence: String,
        /// Whose run it was.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        by: String,
        /// When; a verdict ages.
        at: Timestamp,
    },
    /// The holder stopped in an orderly way.
    Paused {
        /// Why.
        why: String,
        /// What needs a person first; records of earlier versions do not say.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        items: Vec<Stuck>,
        /// When; records of earlier versions do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// The run ended. With `Succeeded` this is the moment at which the new release is in force.
    RunFinished {
        /// How.
        outcome: Outcome,
        /// The release it made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<ReleaseHead>,
        /// When.
        at: Timestamp,
    },
}

impl JournalEvent {
    /// When it happened, where that is on record.
    pub(crate) fn at(&self) -> Option<Timestamp> {
        match self {
            Self::StepStarted { at, .. }
            | Self::StepApplied { at, .. }
            | Self::StepFailed { at, .. }
            | Self::Undone { at, .. }
            | Self::GateDecided { at, .. }
            | Self::RunFinished { at, .. } => Some(*at),
            Self::EpochClaimed { at, .. }
            | Self::Turned { at, .. }
            | Self::UndoStarted { at, .. }
            | Self::UndoFailed { at, .. }
            | Self::Paused { at, .. } => *at,
            Self::RunStarted { .. } => None,
        }
    }
}

/// The small part of a release; its objects are in the run's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseHead {
    /// Its number.
    pub id: ReleaseId,
    /// Version of each service.
    pub versions: BTreeMap<String, String>,
    /// What the run did, in one line.
    pub title: String,
    /// Fingerprint of each object at the end of the run, by key.
    pub fingerprints: BTreeMap<String, String>,
    /// Digests of each workload's images, by key, as far as they were written or reported by its pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, Digests>,
    /// Deployment of each frontend service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub frontends: BTreeMap<String, String>,
    /// The release that first brought the state of each service; also of those that are gone. Older programs wrote
    /// none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub origins: BTreeMap<String, ReleaseId>,
    /// Something that it left as it was did not serve when it came into force: it is no success that counts elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside_trouble: bool,
    /// When it came into force.
    pub at: Timestamp,
}
