//! What a step leaves behind.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Cause of a failure: it was begun, nobody saw how it ended, and it is not there any more.
pub(crate) const VANISHED: &str = "vanished";

/// Cause of a failure: a Job has ended, and not well.
pub(crate) const JOB_FAILED: &str = "job-failed";

/// Cause of a failure: a domain showed nothing before, and its host knows no way to have it so again.
pub(crate) const NO_WAY_BACK: &str = "no-way-back";

/// What a step has begun and of which no answer is on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Since when on the way forward.
    pub forward: Option<Timestamp>,
    /// Since when on the way back.
    pub back: Option<Timestamp>,
    /// A person was told that nobody knows how it ended, and goes on with the way back.
    pub told: bool,
    /// It begins anew after a failure that is on record: whoever goes on was told.
    pub anew: bool,
}

/// What a step left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepResult {
    /// By object in the order of the step: fingerprint of the server's answer to our last write.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, Written>,
    /// What a provider made for the step, such as a frontend deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artefact: Option<String>,
    /// Whether a call of the step got no answer, so that it may take effect later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unanswered: bool,
}

/// What we last wrote of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// Its uid; none where it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Digest of the server's answer over the fields of the change.
    pub fingerprint: String,
    /// Digest of the server's answer over the fields of the desired object: what drift is measured against.
    pub released: String,
    /// Where it is a workload that was seen to serve: the digests of its images, as far as they are known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: Digests,
}

/// Digests by image as it is written. One with several was moved while pods were made.
pub type Digests = BTreeMap<String, BTreeSet<String>>;
