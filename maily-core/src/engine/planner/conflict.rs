//! What would be lost to others: fields that they manage, changes that somebody made, a pause.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{change::Comparison, problem::PlanProblem};
use crate::{
    engine::{MANAGER, SCALE_MANAGER, compared, difference, drifted, history::Released, is_deployer, told},
    object::{FieldSet, Object, covers, managers},
};

/// Who scales for every autoscaler.
const AUTOSCALERS: &str = "kube-controller-manager";

/// Fields that another manager owns among the wanted ones, by manager.
pub(super) fn shared(
    live: &Object,
    desired: &Object,
    ours: impl Fn(&str) -> bool,
) -> BTreeMap<String, FieldSet> {
    let wanted = compared(desired);
    managers(live)
        .into_iter()
        .filter(|manager| *manager != MANAGER && *manager != SCALE_MANAGER && !ours(manager))
        .map(|manager| {
            let shared = FieldSet::owned_or_scaled_by(live, |name| name == manager).intersection(&wanted);
            // Autoscalers are looked for by themselves: this one has gone.
            let gone = manager == AUTOSCALERS;
            (manager.to_owned(), if gone { shared.without(&["spec", "replicas"]) } else { shared })
        })
        .filter(|(_, shared)| !shared.is_empty())
        .collect()
}

/// Who changed a field that no manager is on record for.
const NOBODY: &str = "somebody";

/// Whether new pods would be asked of a Deployment that somebody has paused: they would never come (T4).
pub(super) fn is_held(live: &Object, desired: &Object) -> bool {
    let (paused, template) = ("/spec/paused", "/spec/template");
    let rolls = || match (live.at(template), desired.at(template)) {
        (Some(found), Some(wanted)) => !covers(found, wanted),
        _ => false,
    };
    live.kind() == "Deployment"
        && live.at(paused) == Some(&Value::Bool(true))
        && desired.at(paused) != Some(&Value::Bool(false))
        && rolls()
}

impl Comparison<'_> {
    /// What others manage and would lose, but for what is to be taken.
    pub(super) fn conflicts(
        &self,
        live: &Object,
        wanted: &Object,
        migrate: &BTreeSet<String>,
        known: Option<&Released>,
        as_released: bool,
    ) -> Vec<PlanProblem> {
        let key = live.key();
        let mut problems = Vec::new();
        let ours = |manager: &str| migrate.contains(manager) || self.options.force.takes(key, manager);
        for (manager, mut shared) in shared(live, wanted, ours) {
            // What a person took by hand and left or set as the last release has it is nobody's loss. It is not so
            // for a client that keeps a field: it would set it again.
            let by_hand = known.filter(|_| is_deployer(&manager));
            // But a field that only the new version has was never released.
            if let Some(known) = by_hand.filter(|_| as_released) {
                shared = shared.difference(&compared(&known.desired));
            }
            let now = self.view(live, &shared);
            let changed = difference(&now, &shared.project(wanted));
            let (drift, fields): (bool, Vec<String>) = match by_hand {
                Some(known) => {
                    let mut edited = drifted(&shared.project(&known.desired), &now, live);
                    edited.retain(|edit| changed.iter().any(|field| field.path == edit.path));
                    (true, edited.iter().map(told).collect())
                }
                None => (false, changed.into_iter().map(|field| field.path).collect()),
            };
            if fields.is_empty() {
                continue;
            }
            let (key, fields) = (key.clone(), fields.join(", "));
            problems.push(if drift {
                PlanProblem::Drift { key, manager, fields }
            } else {
                PlanProblem::FieldConflict { key, manager, fields }
            });
        }
        problems
    }

    /// What was changed since the release, is another now and has no manager: `kubectl scale --replicas 0` leaves such
    /// a field.
    pub(super) fn nobodys(&self, live: &Object, wanted: &Object, known: &Released) -> Option<PlanProblem> {
        let key = live.key().clone();
        if self.options.force.takes(&key, NOBODY) {
            return None;
        }
        let owned = FieldSet::owned_or_scaled_by(live, |_| true);
        let nobodys = compared(&known.desired).difference(&owned);
        let now = self.view(live, &nobodys);
        let lost = difference(&now, &nobodys.project(wanted));
        let mut edited = drifted(&nobodys.project(&known.desired), &now, live);
        // What is gone is written again, and the plan says so.
        edited.retain(|edit| edit.to.is_some() && lost.iter().any(|field| field.path == edit.path));
        if edited.is_empty() {
            return None;
        }
        let fields = edited.iter().map(told).collect::<Vec<_>>().join(", ");
        Some(PlanProblem::Drift { key, manager: NOBODY.to_owned(), fields })
    }
}
