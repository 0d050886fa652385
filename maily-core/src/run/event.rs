//! What a run tells while it goes: the one interface of screens, logs and audits.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Failure, Outcome, ReleaseId, RunId, StepId, Stuck};

/// Version of the event format; raised when a reader of the old one would misread the new one.
pub const EVENT_FORMAT: u32 = 1;

/// One event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// [`EVENT_FORMAT`].
    pub format: u32,
    /// When it was told.
    pub at: Timestamp,
    /// The run.
    pub run: RunId,
    /// The environment.
    pub environment: String,
    /// It happened in an earlier process of the same run and is told again for context.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// Nothing on record says when it happened: `at` is the time of what is known to have been before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untimed: bool,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

impl Event {
    /// What happens now, for the first time.
    pub fn new(run: RunId, environment: impl Into<String>, at: Timestamp, what: What) -> Self {
        Self {
            format: EVENT_FORMAT,
            at,
            run,
            environment: environment.into(),
            replayed: false,
            untimed: false,
            what,
        }
    }
}

/// A step as a reader of events needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepInfo {
    /// Its id.
    pub id: StepId,
    /// Its kind, such as `rollout`.
    pub kind: String,
    /// The service it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The phase it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Steps that come before.
    pub needs: Vec<StepId>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// The run waits for its turn.
    Queued {
        /// Who holds the environment.
        holder: String,
    },
    /// Something keeps the work waiting: a call without an answer, or an error that is tried again.
    Waiting {
        /// What, and since when.
        why: String,
    },
    /// The run began.
    RunStarted {
        /// What it does, in one line.
        title: String,
        /// Its epoch.
        epoch: Epoch,
        /// The version of each service afterwards.
        versions: BTreeMap<String, String>,
        /// Its steps in the order of the plan.
        steps: Vec<StepInfo>,
    },
    /// Another process went on with the run.
    Resumed {
        /// The new epoch.
        epoch: Epoch,
        /// Who.
        by: String,
    },
    /// A step began.
    StepStarted {
        /// Which.
        step: StepId,
    },
    /// A step goes on.
    StepProgress {
        /// Which.
        step: StepId,
        /// Replicas that serve the new version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ready: Option<u32>,
        /// Replicas that shall.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        desired: Option<u32>,
        /// What it waits for.
        why: String,
    },
    /// A call failed and is tried again.
    StepRetried {
        /// Which.
        step: StepId,
        /// The error.
        error: String,
        /// Milliseconds until the next try.
        after_ms: u64,
    },
    /// A pod was deleted that was in the way of its own StatefulSet.
    PodDeleted {
        /// The step that waited for it.
        step: StepId,
        /// Which.
        pod: String,
        /// What it was, and how.
        why: String,
    },
    /// A step was seen to succeed.
    StepApplied {
        /// Which.
        step: StepId,
        /// Milliseconds since its start.
        took_ms: u64,
    },
    /// A step failed.
    StepFailed {
        /// Which.
        step: StepId,
        /// Why.
        failure: Failure,
    },
    /// The run goes back to the old state.
    Turned {
        /// Why.
        why: Failure,
        /// The step whose failure it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
    },
    /// A step is being undone.
    UndoStarted {
        /// Which.
        step: StepId,
    },
    /// A step was undone.
    Undone {
        /// Which.
        step: StepId,
    },
    /// A step could not be undone.
    UndoFailed {
        /// Which.
        step: StepId,
        /// Why.
        failure: Failure,
        /// What a person has to do.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        remedy: String,
    },
    /// A gate decided.
    GateDecided {
        /// Which step.
        step: StepId,
        /// `pass`, `fail` or `insufficient`.
        verdict: String,
        /// On what grounds.
        evidence: String,
    },
    /// The run stopped in an orderly way and can be resumed.
    Paused {
        /// Why.
        why: String,
        /// What needs a person first; none where it only has to be resumed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        items: Vec<Stuck>,
    },
    /// The run ended.
    RunFinished {
        /// How.
        outcome: Outcome,
        /// The release that is in force now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<ReleaseId>,
    },
}

/// Receives the events of a run; must not block.
pub trait Listener: Send + Sync + 'static {
    /// Takes one event.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Listener for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}
