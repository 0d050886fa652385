//! What a step leaves behind.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
