//! Who else manages the fields that we would change.

use std::collections::BTreeMap;

use crate::{
    engine::{MANAGER, SCALE_MANAGER, without_bookkeeping},
    object::{FieldSet, Object, managers},
};

/// Clients with which people deploy by hand; their fields become ours when an object is adopted.
const DEPLOYERS: &[&str] = &["before-first-apply", "helm", "Helm", "kubectl"];

/// Who scales for every autoscaler.
const AUTOSCALERS: &str = "kube-controller-manager";

/// Whether a manager is a client that deploys and that we take over from on adoption.
pub(crate) fn is_deployer(manager: &str) -> bool {
    DEPLOYERS.contains(&manager) || manager.starts_with("kubectl-") || manager.starts_with("kubectl ")
}

/// Fields that another manager owns among the wanted ones, by manager.
pub(super) fn shared(
    live: &Object,
    desired: &Object,
    ours: impl Fn(&str) -> bool,
) -> BTreeMap<String, FieldSet> {
    let wanted = without_bookkeeping(FieldSet::of(desired));
    managers(live)
        .into_iter()
        .filter(|manager| manager != MANAGER && manager != SCALE_MANAGER && !ours(manager))
        .map(|manager| {
            let shared = FieldSet::owned_or_scaled_by(live, |name| name == manager).intersection(&wanted);
            // Autoscalers are looked for by themselves: this one has gone.
            let gone = manager == AUTOSCALERS;
            (manager, if gone { shared.without(&["spec", "replicas"]) } else { shared })
        })
        .filter(|(_, shared)| !shared.is_empty())
        .collect()
}
