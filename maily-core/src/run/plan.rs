//! A plan is data: what would be done, to which objects, in which order, and under which conditions.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ReleaseId, SUSPEND, StepId, Work,
    canonical::{digest, digest_with, members},
    without_bookkeeping,
};
use crate::{
    object::{FieldSet, Object, ObjectKey},
    provider::ClusterIdentity,
};

/// Version of the plan format.
pub const PLAN_FORMAT: u32 = 1;

/// What would be done to one environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// The project.
    pub project: String,
    /// The environment.
    pub environment: String,
    /// Its namespace.
    pub namespace: String,
    /// The cluster it was made for.
    pub cluster: ClusterIdentity,
    /// What it does.
    pub goal: Goal,
    /// The release it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<ReleaseId>,
    /// Version of each service afterwards.
    pub versions: BTreeMap<String, String>,
    /// The steps, in an order that respects their needs.
    pub steps: Vec<Step>,
    /// Objects of the new release that stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<Kept>,
    /// There is news that no step tells, and a release does: services get other names or versions, objects other services,
    /// or all serves now beside the same objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub regroups: bool,
    /// Services of which a deploy brings what the release in force has: they do not differ from it, whatever they are
    /// called.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub as_before: BTreeSet<String>,
    /// Objects of a run that was ended as it was, and of no release, which this plan leaves there: a later one takes them
    /// away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Left>,
    /// What a person should know before saying yes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// SHA-256 of the canonical form of all of the above.
    pub digest: String,
}

/// What a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Goal {
    /// Bring a version.
    Deploy {
        /// Which.
        version: String,
        /// The services that it brings, where these are not all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Vec<String>>,
    },
    /// Go back to recorded states.
    Rollback {
        /// In words, such as `v0.9.0` or `release 4`.
        to: String,
        /// The release whose state all of it is to have again, where it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<ReleaseId>,
        /// The release that first brought the state which each service comes to have again.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        origins: BTreeMap<String, ReleaseId>,
        /// The services that go back, where these are not all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Vec<String>>,
    },
    /// Take services away.
    Remove {
        /// Which, where these are not all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Vec<String>>,
    },
}

impl Goal {
    /// The services that it is about, where these are not all.
    pub fn only(&self) -> Option<&[String]> {
        match self {
            Self::Deploy { only, .. } | Self::Rollback { only, .. } | Self::Remove { only } => {
                only.as_deref()
            }
        }
    }

    /// One line for people.
    pub fn title(&self) -> String {
        match self {
            Self::Deploy { version, only: Some(only) } => format!("deploy {version} of {}", counted(only)),
            Self::Deploy { version, .. } => format!("deploy {version}"),
            Self::Rollback { to, only: Some(only), .. } => format!("roll back {} to {to}", counted(only)),
            Self::Rollback { to, .. } => format!("roll back to {to}"),
            Self::Remove { only: Some(only) } => format!("remove {}", counted(only)),
            Self::Remove { only: None } => "remove all services".to_owned(),
        }
    }
}

/// Names where they are few.
fn counted(names: &[String]) -> String {
    if names.len() > 3 { format!("{} services", names.len()) } else { names.join(", ") }
}

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// Stable name, such as `adopt`, `drift`, `shared`, `latest-image`.
    pub topic: String,
    /// A sentence.
    pub text: String,
}

/// An object of the release that no step touches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// The service; none where it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The object as wanted, Secrets sealed.
    pub desired: Object,
    /// Fingerprint of what is there.
    pub fingerprint: String,
    /// Digest of all that is set on the object, by whomever, in a plan that somebody reads before it is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<String>,
}

/// An object that a run has made and no release has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Left {
    /// The service; none where it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Which object.
    pub key: ObjectKey,
}

/// What happens when a step is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reversibility {
    /// It changes nothing.
    NoEffect,
    /// Undo restores what was captured.
    Undoable,
    /// There is no way back.
    Irreversible,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// The service it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The phase it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Steps that must be applied before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<StepId>,
    /// Whether it can be undone.
    pub reversibility: Reversibility,
    /// Seconds within which it must succeed.
    pub timeout_s: u64,
    /// What it does.
    pub work: Work,
}

impl Step {
    /// Whether it decides over a phase: by a look from outside, or by a Job that only looks.
    pub fn is_gate(&self) -> bool {
        match &self.work {
            Work::Check { gate, .. } => *gate,
            Work::Job { .. } => self.reversibility == Reversibility::NoEffect,
            Work::Rollout { .. } | Work::Prune { .. } | Work::Frontend { .. } | Work::Barrier {} => false,
        }
    }
}

/// How an object changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// It is made.
    Create,
    /// Fields change.
    Update,
    /// It is ours from now on, and fields may change.
    Adopt,
    /// It is deleted and made again, because the API refuses the change in place.
    Replace,
    /// It is deleted.
    Delete,
}

/// An object as it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Before {
    /// Its uid.
    pub uid: String,
    /// The fields that we set, would set or would remove, with the values found; Secrets sealed. All fields where the
    /// object is deleted or replaced.
    pub object: Object,
    /// Digest of `object`: the precondition.
    pub fingerprint: String,
    /// Digest of all that is set on the object, by whomever, in a plan that somebody reads before it is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<String>,
    /// Whether it served when it was found: who goes back sees to it that it serves again. None where nothing tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<bool>,
    /// It was not ours: whoever goes back takes our marks off it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

/// One change of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Which object.
    pub key: ObjectKey,
    /// How.
    pub operation: Operation,
    /// As it must still be when the change is made; none: absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// As it shall be, Secrets sealed; none: absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Object>,
    /// Field managers of other clients whose fields become ours.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub migrate: BTreeSet<String>,
    /// The number of replicas that is handed over to the autoscaler first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over_replicas: Option<i64>,
    /// What changes, field by field, as far as it was found out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

impl Change {
    /// The fields on which two states of the object are compared.
    pub(crate) fn scope(&self) -> FieldSet {
        let mut scope = self.desired.as_ref().map(FieldSet::of).unwrap_or_default();
        if let Some(before) = &self.before {
            scope.absorb(FieldSet::of(&before.object));
        }
        if self.hand_over_replicas.is_some() {
            // Whoever they are handed to may change them at any moment.
            scope = scope.without(&["spec", "replicas"]);
        }
        if self.is_of_suspended() {
            scope = scope.without(&SUSPEND);
        }
        without_bookkeeping(scope)
    }

    /// Whether it is about a Job that is suspended until somebody lets it run: he may do so at any moment, and has changed
    /// nothing.
    pub(crate) fn is_of_suspended(&self) -> bool {
        let goes = matches!(self.operation, Operation::Delete | Operation::Replace);
        let gone = self.before.as_ref().filter(|_| goes).map(|before| &before.object);
        gone.into_iter().chain(&self.desired).any(Object::is_suspended)
    }
}

/// A field that changes. Values of Secrets are shown as their keyed hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// Path, such as `spec.replicas`.
    pub path: String,
    /// Value found; none: unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Value wanted; none: unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Plan {
    /// Whether there is nothing to do. Where everything is as it should be and no release says so, there is one to make.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && !self.regroups && (self.base.is_some() || self.unchanged.is_empty())
    }

    /// The changes of all steps, in their order.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.steps.iter().flat_map(|step| step.work.changes())
    }

    /// Every object as it is to be, as it stays, and as it was.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        let kept = self.unchanged.iter().map(|kept| &kept.desired);
        let wanted = self.changes().filter_map(|change| change.desired.as_ref());
        let before = self.changes().filter_map(|change| Some(&change.before.as_ref()?.object));
        kept.chain(wanted).chain(before)
    }

    /// Computes and sets the digest.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.digest = String::new();
        let (steps, unchanged) = (take(&mut self.steps), take(&mut self.unchanged));
        let mut lists = BTreeMap::from([("steps", members(&steps))]);
        if !unchanged.is_empty() {
            lists.insert("unchanged", members(&unchanged));
        }
        let digest = digest_with(&self, lists);
        Self { steps, unchanged, digest, ..self }
    }

    /// Reads a plan from text and checks that it was not edited.
    ///
    /// # Errors
    /// When it is no plan, of another format, or its digest does not fit.
    pub fn parse(text: &str) -> Result<Self, PlanFileError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(PlanFileError::Syntax)?;
        if head.format != PLAN_FORMAT {
            return Err(PlanFileError::Format { found: head.format });
        }
        let plan: Self = serde_json::from_str(text).map_err(PlanFileError::Syntax)?;
        let said = plan.digest.clone();
        if digest_as_written(text)? != said {
            return Err(PlanFileError::Edited);
        }
        // A plan on record may have more than this version reads; one that is to be carried out may not.
        let plan = plan.sealed();
        if plan.digest != said {
            return Err(PlanFileError::Newer);
        }
        let mut seen = BTreeSet::new();
        match plan.steps.iter().find(|step| !seen.insert(&step.id)) {
            Some(step) => Err(PlanFileError::SameStep(step.id.clone())),
            None => Ok(plan),
        }
    }

    /// The plan as text for a file.
    ///
    /// # Panics
    /// Never: plain data serialises.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data serialises")
    }
}

/// The digest of all that stands in a plan file, be it known or not.
fn digest_as_written(text: &str) -> Result<String, PlanFileError> {
    let mut written: Value = serde_json::from_str(text).map_err(PlanFileError::Syntax)?;
    written["digest"] = "".into();
    Ok(digest(&written))
}

/// Why a plan file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// Not a plan.
    #[error("not a plan of maily")]
    Syntax(#[source] serde_json::Error),
    /// Another format.
    #[error("the plan has format {found}; this version reads format {PLAN_FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
    /// Two steps of one name would be one in a journal.
    #[error("the plan has step {0} twice")]
    SameStep(StepId),
    /// Something in it is unknown to this version.
    #[error("the plan was made by a newer maily, and not all of it is known to this one: update it")]
    Newer,
    /// The digest does not fit.
    #[error("the plan was edited: its content does not fit its digest")]
    Edited,
}
