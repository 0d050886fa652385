//! What a plan shall bring about, and under which permissions.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use crate::{
    engine::Goal,
    object::{Object, ObjectKey},
    provider::ProbeRequest,
};

/// The wanted state of one environment.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The project.
    pub project: String,
    /// The environment.
    pub environment: String,
    /// Its namespace.
    pub namespace: String,
    /// What the plan is for.
    pub goal: Goal,
    /// All services of the new release.
    pub services: IndexMap<String, WantedService>,
    /// Objects that belong to no single service; applied first.
    pub shared: Vec<Object>,
    /// The phases that this plan covers, in order. Services that stand in none are left as they are.
    pub phases: Vec<WantedPhase>,
    /// What a person should know from rendering.
    pub notes: Vec<crate::engine::Note>,
    /// Services of the last release whose objects may be pruned; others are left alone.
    pub prune: BTreeSet<String>,
    /// Whether shared objects of the last release may be pruned; else they stay as they are, unless they are wanted.
    pub prune_shared: bool,
    /// Shared objects of the wanted state that this plan leaves as they are.
    pub left_out: Vec<Object>,
}

/// One service of the new release.
#[derive(Clone, Debug, Default)]
pub struct WantedService {
    /// Its version.
    pub version: String,
    /// Its objects in the order in which they are written.
    pub objects: Vec<Object>,
    /// Services that must serve before.
    pub needs: Vec<String>,
    /// Seconds within which it must serve, where they are its own.
    pub timeout_s: Option<u64>,
    /// Jobs before it.
    pub before: Vec<JobSpec>,
    /// Jobs after it.
    pub after: Vec<JobSpec>,
    /// Looks from outside, after it serves.
    pub checks: Vec<ProbeRequest>,
    /// The frontend, where it is one.
    pub frontend: Option<Frontend>,
}

/// A Job that runs once per run.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// Its name within the service.
    pub name: String,
    /// The Job.
    pub job: Object,
    /// The Job that undoes it; without one it is irreversible.
    pub undo: Option<Object>,
    /// Seconds within which it must end, where they are not the service's.
    pub timeout_s: Option<u64>,
}

/// A project of the frontend host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// The host's project.
    pub project: String,
    /// The domain that shall show it.
    pub domain: Option<String>,
    /// A deployment of that version that is known already: shown again instead of being built again.
    pub existing: Option<String>,
}

/// A phase.
#[derive(Clone, Debug, Default)]
pub struct WantedPhase {
    /// Its name.
    pub name: String,
    /// Its services.
    pub services: Vec<String>,
    /// What must pass at its end.
    pub gates: Vec<(String, Gate)>,
}

/// A gate of a phase.
#[derive(Clone, Debug)]
pub struct Gate {
    /// How it looks.
    pub look: Look,
    /// Seconds within which it must pass, where they are not those of all gates.
    pub timeout_s: Option<u64>,
}

/// How a gate looks.
#[derive(Clone, Debug)]
pub enum Look {
    /// A look from outside.
    Probe(ProbeRequest),
    /// A Kubernetes Job.
    Job(Object),
}

/// Fields of other managers that are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Force {
    /// None: such a field is a problem of the plan.
    #[default]
    Nothing,
    /// Those of these managers, and those of these objects (`Kind/name`).
    Only(BTreeSet<String>),
    /// All.
    All,
}

impl Force {
    /// Whether the fields of a manager on an object are taken.
    pub(super) fn takes(&self, key: &ObjectKey, manager: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Only(names) => names.contains(manager) || names.contains(&key.short()),
            Self::All => true,
        }
    }
}

/// What a person allowed beyond the ordinary.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// Which fields to take that other managers own.
    pub force: Force,
    /// Objects (`Kind/name`) that may be deleted and made again.
    pub replace: BTreeSet<String>,
    /// Seconds for gates and jobs without a time of their own.
    pub timeout_s: Option<u64>,
    /// Deployments of the frontends that are in production now, by service.
    pub frontends: BTreeMap<String, String>,
}
