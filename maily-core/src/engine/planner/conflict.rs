//! Who else manages the fields that we would change, read from the object's managed fields.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    engine::{MANAGER, SCALE_MANAGER, without_bookkeeping},
    object::{FieldSet, Object},
};

/// Clients with which people deploy by hand; their fields become ours when an object is adopted.
const DEPLOYERS: &[&str] = &["before-first-apply", "helm", "Helm", "kubectl"];

/// Who scales for every autoscaler.
const AUTOSCALERS: &str = "kube-controller-manager";

/// Whether a manager is a client that deploys and that we take over from on adoption.
pub(crate) fn is_deployer(manager: &str) -> bool {
    DEPLOYERS.contains(&manager) || manager.starts_with("kubectl-") || manager.starts_with("kubectl ")
}

/// Managers of an object other than ours.
pub(crate) fn managers(live: &Object) -> BTreeSet<String> {
    live.items("/metadata/managedFields")
        .iter()
        .filter(|entry| {
            let subresource = entry.get("subresource").and_then(|s| s.as_str()).unwrap_or_default();
            matches!(subresource, "" | "scale")
        })
        .filter_map(|entry| entry.get("manager")?.as_str())
        .filter(|manager| *manager != MANAGER && *manager != SCALE_MANAGER)
        .map(str::to_owned)
        .collect()
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
        .filter(|manager| !ours(manager))
        .map(|manager| {
            let shared = FieldSet::owned_or_scaled_by(live, |name| name == manager).intersection(&wanted);
            // Autoscalers are looked for by themselves: this one has gone.
            let gone = manager == AUTOSCALERS;
            (manager, if gone { shared.without(&["spec", "replicas"]) } else { shared })
        })
        .filter(|(_, shared)| !shared.is_empty())
        .collect()
}
