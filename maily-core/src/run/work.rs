//! What a step of a plan does.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::Change;
use crate::{object::Object, provider::ProbeRequest};

/// What a step does. The tag carries the version of the kind's meaning.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind")]
pub enum Work {
    /// Writes objects in order and waits until their workloads serve.
    #[serde(rename = "rollout@1")]
    Rollout {
        /// The changes.
        changes: Vec<Change>,
    },
    /// Deletes what the last release had and this one lacks.
    #[serde(rename = "prune@1")]
    Prune {
        /// The changes, all of them deletions.
        changes: Vec<Change>,
    },
    /// Runs a Kubernetes Job once.
    #[serde(rename = "job@1")]
    Job {
        /// The Job; its name is completed by the run.
        job: Object,
        /// The Job that undoes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<Object>,
        /// Whether its time is its own in the project file. Plans of before do not say it.
        #[serde(default = "is_own", skip_serializing_if = "Clone::clone")]
        own_time: bool,
    },
    /// Looks from outside whether a service works.
    #[serde(rename = "check@1")]
    Check {
        /// How, as [`ProbeRequest`].
        probe: ProbeRequest,
        /// Whether it decides over a phase.
        gate: bool,
    },
    /// Brings a version of the frontend.
    #[serde(rename = "frontend@1")]
    Frontend {
        /// The frontend host's project.
        project: String,
        /// The domain that shall show it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        domain: Option<String>,
        /// The version.
        version: String,
        /// A deployment of that version that is known already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        existing: Option<String>,
        /// Deployment that is in production now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
    },
    /// Nothing: a point that later steps wait for.
    #[serde(rename = "barrier@1")]
    Barrier {},
}

fn is_own() -> bool {
    true
}

impl Work {
    /// Name of the kind without its version.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rollout { .. } => "rollout",
            Self::Prune { .. } => "prune",
            Self::Job { .. } => "job",
            Self::Check { gate: false, .. } => "check",
            Self::Check { gate: true, .. } => "gate",
            Self::Frontend { .. } => "frontend",
            Self::Barrier {} => "barrier",
        }
    }

    /// The changes of objects that it makes.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Rollout { changes } | Self::Prune { changes } => changes,
            // A Job's name is its run's, and a frontend is no object.
            Self::Job { .. } | Self::Frontend { .. } | Self::Check { .. } | Self::Barrier {} => &[],
        }
    }
}

/// The fields of all kinds. A plan is mostly objects: read by its tag alone, each would be kept once for the tag to be
/// found, and copied into its place.
#[derive(Deserialize)]
struct Fields {
    kind: String,
    changes: Option<Vec<Change>>,
    job: Option<Object>,
    undo: Option<Object>,
    own_time: Option<bool>,
    probe: Option<ProbeRequest>,
    gate: Option<bool>,
    project: Option<String>,
    domain: Option<String>,
    version: Option<String>,
    existing: Option<String>,
    before: Option<String>,
}

impl<'de> Deserialize<'de> for Work {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        fn need<T, E: Error>(field: Option<T>, name: &'static str) -> Result<T, E> {
            field.ok_or_else(|| E::missing_field(name))
        }
        Ok(match &*fields.kind {
            "rollout@1" => Self::Rollout { changes: need(fields.changes, "changes")? },
            "prune@1" => Self::Prune { changes: need(fields.changes, "changes")? },
            "job@1" => Self::Job {
                job: need(fields.job, "job")?,
                undo: fields.undo,
                own_time: fields.own_time.unwrap_or_else(is_own),
            },
            "check@1" => {
                Self::Check { probe: need(fields.probe, "probe")?, gate: need(fields.gate, "gate")? }
            }
            "frontend@1" => Self::Frontend {
                project: need(fields.project, "project")?,
                domain: fields.domain,
                version: need(fields.version, "version")?,
                existing: fields.existing,
                before: fields.before,
            },
            "barrier@1" => Self::Barrier {},
            other => return Err(D::Error::unknown_variant(other, KINDS)),
        })
    }
}

const KINDS: &[&str] = &["rollout@1", "prune@1", "job@1", "check@1", "frontend@1", "barrier@1"];

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    #[test]
    fn every_kind_of_work_comes_back_as_it_was_written() {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "up"}});
        let kinds = [
            json!({"kind": "rollout@1", "changes": []}),
            json!({"kind": "prune@1", "changes": []}),
            json!({"kind": "job@1", "job": job}),
            json!({"kind": "job@1", "job": job, "undo": job}),
            json!({"kind": "check@1", "gate": true, "probe": {"probe": "command", "argv": ["true"]}}),
            json!({"kind": "frontend@1", "project": "web", "version": "v1"}),
            json!({"kind": "frontend@1", "project": "web", "version": "v1", "domain": "a.example", "existing": "d1",
                "before": "d0"}),
            json!({"kind": "barrier@1"}),
        ];
        for written in &kinds {
            let work: Work = from_value(written.clone()).unwrap();
            assert_eq!(to_value(&work).unwrap(), *written);
        }
        let known: std::collections::BTreeSet<&str> =
            kinds.iter().filter_map(|k| k["kind"].as_str()).collect();
        assert_eq!(known, KINDS.iter().copied().collect());
    }

    #[test]
    fn work_without_its_fields_or_of_an_unknown_kind_is_none() {
        let refused = |value: Value| from_value::<Work>(value).unwrap_err().to_string();
        assert_eq!(refused(json!({"kind": "rollout@1"})), "missing field `changes`");
        assert_eq!(refused(json!({"changes": []})), "missing field `kind`");
        assert!(
            refused(json!({"kind": "rollout@2", "changes": []})).starts_with("unknown variant `rollout@2`")
        );
    }
}
