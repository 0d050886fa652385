//! Why there is no plan: all reasons at once, each with its remedy.

use std::{collections::BTreeMap, fmt};

use crate::{engine::StepId, object::ObjectKey};

/// Where what is needed is, seen from who needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeedPlace {
    /// In a later phase of the plan.
    Later,
    /// In no phase of the plan.
    Outside,
    /// In the same phase or an earlier one, where nothing of it changes.
    Kept,
}

impl fmt::Display for NeedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Later => "which comes in a later phase and",
            Self::Outside => "which this plan does not bring and which",
            Self::Kept => "which this plan leaves as it is and which",
        })
    }
}

/// Stands in a circle where a service comes after another one by itself.
pub(super) const DEFINES: &str = "which defines the kind of";

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanProblem {
    /// Another project or environment owns an object.
    #[error("{key} belongs to {owner}")]
    Owned {
        /// The object.
        key: ObjectKey,
        /// Whose it is.
        owner: String,
    },
    /// Another client manages fields that would change.
    #[error("{key}: {manager} manages {fields}")]
    FieldConflict {
        /// The object.
        key: ObjectKey,
        /// The other field manager.
        manager: String,
        /// Which fields.
        fields: String,
    },
    /// Somebody changed fields by hand since the last release, and the change would be lost.
    #[error("drift: {key} was changed since the last release by {manager}: {fields}")]
    Drift {
        /// The object.
        key: ObjectKey,
        /// The field manager by which it was changed.
        manager: String,
        /// Which fields, from what was released to what is there.
        fields: String,
    },
    /// The API would refuse the change in place.
    #[error("{key}: {fields} cannot be changed in place; the object would have to be deleted and made again")]
    Replace {
        /// The object.
        key: ObjectKey,
        /// Which fields.
        fields: String,
        /// What that means for who uses it.
        means: String,
    },
    /// The API would refuse the change in place, and no plan deletes what holds data.
    #[error("{key}: {fields} cannot be changed in place, and it holds data: no plan deletes it")]
    HoldsData {
        /// The object.
        key: ObjectKey,
        /// Which fields.
        fields: String,
    },
    /// Claims of a StatefulSet would go with it.
    #[error("{key} would be {}", how.told(claims))]
    TakesClaims {
        /// The StatefulSet.
        key: ObjectKey,
        /// Which claims.
        claims: String,
        /// By what.
        how: Taken,
    },
    /// Somebody has paused a Deployment whose pods would become others.
    #[error("{key} is paused: new pods would never come")]
    Paused {
        /// The Deployment.
        key: ObjectKey,
    },
    /// Somebody has written an epoch onto an object that no run can rise above.
    #[error(
        "{key} carries `maily.dev/epoch: {epoch}`, which no run of maily has written and none can rise above"
    )]
    BeyondAnyEpoch {
        /// The object.
        key: ObjectKey,
        /// What it carries.
        epoch: String,
    },
    /// An object is being deleted.
    #[error("{key} is being deleted")]
    Terminating {
        /// The object.
        key: ObjectKey,
    },
    /// The server refuses the object.
    #[error("{key}: {message}")]
    Refused {
        /// The object.
        key: ObjectKey,
        /// What it said.
        message: String,
    },
    /// The server does not know the kind.
    #[error("{key}: the cluster does not serve this kind")]
    UnknownKind {
        /// The object.
        key: ObjectKey,
    },
    /// The same object twice.
    #[error("{key} is claimed by {first} and by {second}")]
    Twice {
        /// The object.
        key: ObjectKey,
        /// By whom.
        first: String,
        /// By whom else.
        second: String,
    },
    /// A need is met by nothing that runs.
    #[error("{} {need}, {place} does not run yet", who_needs(services))]
    NeedAbsent {
        /// Who needs it.
        services: Vec<String>,
        /// What.
        need: String,
        /// Where that is.
        place: NeedPlace,
    },
    /// A need is met by what runs, and that does not serve.
    #[error("{} {need}, {place} is not ready now: {why}", who_needs(services))]
    NeedNotReady {
        /// Who needs it.
        services: Vec<String>,
        /// What.
        need: String,
        /// Where that is.
        place: NeedPlace,
        /// What the rollout rules say of it.
        why: String,
    },
    /// An object is of a kind that a service defines which does not come before it.
    #[error("{key} is of a kind that {by} defines, {place} is not there yet")]
    Undefined {
        /// The object.
        key: ObjectKey,
        /// Who defines its kind.
        by: String,
        /// Where that is.
        place: NeedPlace,
    },
    /// Two steps would have one name.
    #[error("the plan would have step {id} twice")]
    SameStep {
        /// The name.
        id: StepId,
    },
    /// Two steps would have one Job: the second would find the first one's done.
    #[error("steps {first} and {second} would both have {key}")]
    SameJob {
        /// The Job.
        key: ObjectKey,
        /// A step.
        first: StepId,
        /// A later one.
        second: StepId,
    },
    /// Needs form a circle.
    #[error("needs form a cycle: {path}")]
    Cycle {
        /// The way round.
        path: String,
    },
    /// One that a file of the project can mend.
    #[error("{place}: {problem}")]
    At {
        /// `file:line` of the object.
        place: String,
        /// What is wrong with it.
        problem: Box<PlanProblem>,
    },
}

/// By what a StatefulSet would take its claims along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is deleted.
    Deleted,
    /// It is deleted and made again.
    MadeAgain,
    /// That is its policy only once it is made again, and a way back would delete that one.
    MadeSo,
}

impl Taken {
    fn told(self, claims: &str) -> String {
        let goes = format!(
            "and its claims go with it ({claims}): `whenDeleted` is `Delete`, and no way back brings their data"
        );
        match self {
            Self::Deleted => format!("deleted, {goes}"),
            Self::MadeAgain => format!("deleted and made again, {goes}"),
            Self::MadeSo => format!(
                "made again under `whenDeleted: Delete`, and a way back would take its claims along ({claims}): no way back \
                 brings their data"
            ),
        }
    }
}

impl PlanProblem {
    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Owned { .. } => "take it out of this project, or remove it there first".to_owned(),
            Self::FieldConflict { key, manager, .. } => format!(
                "leave these fields to `{manager}` alone or to the project alone; `--force-conflicts={}` takes them for the \
                 project",
                named(manager, key)
            ),
            Self::Drift { key, .. } => format!(
                "`--force-conflicts={}` overwrites it; to keep it, write it into the project's files and deploy them: no \
                 rollback brings it",
                key.short()
            ),
            Self::Replace { key, means, .. } => {
                format!("allow it with `--allow-replace {}`: {means}", key.short())
            }
            Self::HoldsData { key, .. } => {
                let (moved, along) = match key.kind.kind.as_str() {
                    "PersistentVolumeClaim" => (" and move the data", "its data"),
                    "Namespace" => ("", "everything in it"),
                    "CustomResourceDefinition" => ("", "all objects of its kind"),
                    _ => ("", "its data"),
                };
                format!(
                    "leave these fields as they are; or give it another name{moved}; or take it away by hand first, by \
                     `kubectl delete {} {}{}`, which takes {along} along",
                    key.kind.named(),
                    key.name,
                    key.namespace_option()
                )
            }
            Self::TakesClaims { how: Taken::MadeSo, .. } => {
                "leave `spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Retain` in this release, and set `Delete` in \
                 the next one"
                    .to_owned()
            }
            Self::TakesClaims { how: Taken::MadeAgain, .. } => {
                "set `spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Retain` in a release of its own first, and \
                 leave it so in this one"
                    .to_owned()
            }
            Self::TakesClaims { key, .. } => format!(
                "set `spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Retain` in a release of its own first, or by \
                 `kubectl{} patch statefulset {} --type=merge -p \
                 '{{\"spec\":{{\"persistentVolumeClaimRetentionPolicy\":{{\"whenDeleted\":\"Retain\"}}}}}}'`; claims that \
                 nobody wants delete by hand afterwards",
                key.namespace_option(),
                key.name
            ),
            Self::Paused { key } => {
                let namespace = key.namespace.as_deref().unwrap_or("default");
                format!("`kubectl -n {namespace} rollout resume deployment/{}` lets it go on", key.name)
            }
            Self::BeyondAnyEpoch { key, .. } => {
                let within = key.namespace.as_ref().map(|name| format!(" -n {name}")).unwrap_or_default();
                let (kind, name) = (key.kind.kind.to_lowercase(), &key.name);
                format!("`kubectl{within} annotate {kind} {name} maily.dev/epoch-` takes it away")
            }
            Self::Terminating { .. } => "wait until it is gone, and plan again".to_owned(),
            Self::Refused { key, message } if message.contains("spec.strategy.rollingUpdate: Forbidden") => {
                let namespace = key.namespace.as_deref().unwrap_or("default");
                let patch = r#"{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}"#;
                format!(
                    "server-side apply leaves what the server has filled in for the strategy before: \
                     `kubectl -n {namespace} patch deployment {} --type=merge -p '{patch}'` takes it away first",
                    key.name
                )
            }
            Self::Refused { key, message } if message.contains("only allowed for updateStrategy") => {
                let namespace = key.namespace.as_deref().unwrap_or("default");
                let patch = r#"{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}"#;
                format!(
                    "server-side apply leaves what the server has filled in for the strategy before: \
                     `kubectl -n {namespace} patch statefulset {} --type=merge -p '{patch}'` takes it away first",
                    key.name
                )
            }
            Self::Refused { .. } => "correct the manifest".to_owned(),
            Self::UnknownKind { key } if key.kind.is_of_kubernetes() => format!(
                "kinds of `{}` come with the server itself: check `kind` and `apiVersion`, or leave the object out \
                 for a server without it; the sandbox has only some of them",
                key.kind.api_version
            ),
            Self::UnknownKind { .. } => {
                "install the CustomResourceDefinition first, or put it into the project".to_owned()
            }
            Self::Twice { .. } => "keep it in one place".to_owned(),
            Self::NeedAbsent { need, .. } => format!(
                "release `{need}` first, with `--components {need}`; else move it to an earlier phase, or drop the need"
            ),
            Self::NeedNotReady { services, need, place: NeedPlace::Kept, .. } => format!(
                "see why with `mailyctl logs {need}`; a deploy with `--components {}` does not wait for it",
                services.join(",")
            ),
            Self::NeedNotReady { need, .. } => format!(
                "see why with `mailyctl logs {need}`; a deploy with `--components {need}` brings it alone; else move it to \
                 an earlier phase, or drop the need"
            ),
            Self::Undefined { by, .. } => {
                format!("release `{by}` first, with `--components {by}`; else move it to an earlier phase")
            }
            Self::SameStep { .. } => "give one of the jobs behind it another name".to_owned(),
            Self::SameJob { .. } => "give one of the jobs, or of the gates and phases, another name".to_owned(),
            Self::Cycle { path } if path.contains(DEFINES) => {
                "drop one of the needs, or keep the definition in a service of its own".to_owned()
            }
            Self::Cycle { .. } => "drop one of the needs".to_owned(),
            Self::At { problem, .. } => problem.hint(),
        }
    }

    /// With the place where the object was written, where that is where it is mended.
    fn located(self, places: &BTreeMap<ObjectKey, String>) -> Self {
        let (Self::Refused { key, .. } | Self::UnknownKind { key } | Self::Owned { key, .. }) = &self else {
            return self;
        };
        match places.get(key).cloned() {
            Some(place) => Self::At { place, problem: Box::new(self) },
            None => self,
        }
    }
}

/// Services with the verb that says what they need.
fn who_needs(services: &[String]) -> String {
    format!("{} {}", services.join(" and "), if services.len() == 1 { "needs" } else { "need" })
}

/// What conflicts are called by on a command line: their manager, where a shell takes that name as it is.
fn named(manager: &str, key: &ObjectKey) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if manager.chars().all(plain) { manager.to_owned() } else { key.short() }
}

/// All reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanProblems(pub Vec<PlanProblem>);

impl PlanProblems {
    /// Whether all that is in the way is what others have set: a plan that takes it says what would change.
    pub fn are_conflicts(&self) -> bool {
        let of_others = |problem: &PlanProblem| {
            matches!(problem, PlanProblem::Drift { .. } | PlanProblem::FieldConflict { .. })
        };
        !self.0.is_empty() && self.0.iter().all(of_others)
    }

    /// With the places of the objects in the project's files.
    #[must_use]
    pub(crate) fn located(self, places: &BTreeMap<ObjectKey, String>) -> Self {
        Self(self.0.into_iter().map(|problem| problem.located(places)).collect())
    }
}

impl fmt::Display for PlanProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}\n  help: {}", problem.hint())?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanProblems {}
