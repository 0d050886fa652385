//! What the server is asked about before a plan: all that the plan may have to write.

use std::collections::BTreeSet;

use super::{
    adopted::Cut,
    change::{Observed, is_in_force, settled},
    order::scaled_workloads,
    replace::replaced_fields,
    wanted::Wanted,
};
use crate::{
    engine::{Sealer, compared, foreign_labels, history::Release, left_over, object_digest},
    object::Object,
};

/// Wanted objects, each with its service, that are not in force just as they are wanted; where the server need not be
/// asked about all, those of which an adoption takes something away, and those that could not be changed in place: what
/// comes of it only it knows.
pub(crate) fn to_ask_about<'a>(
    wanted: &'a Wanted,
    observed: &Observed,
    base: Option<&Release>,
    sealer: &Sealer,
    all: bool,
) -> Vec<(Option<&'a str>, &'a Object)> {
    let scaled = scaled_workloads(wanted, observed, base);
    let stands = |object: &Object| {
        let (Some(live), Some(known)) =
            (observed.objects.get(object.key()), base.and_then(|base| base.objects.get(object.key())))
        else {
            return false;
        };
        let desired = settled(object, sealer, &scaled);
        let labels = foreign_labels(live, &wanted.project, &wanted.environment, &wanted.namespace);
        // The digest is dear: it decides last.
        labels.is_empty()
            && known.desired == desired
            && left_over(live, &desired, observed.added.get(object.key())).is_empty()
            && is_in_force(known, &desired, &object_digest(&sealer.view(live, &compared(&desired))))
    };
    // Services of no phase stay as they are, whatever became of them.
    let moving: BTreeSet<&str> =
        wanted.phases.iter().flat_map(|phase| phase.services.iter().map(String::as_str)).collect();
    let of_services = wanted
        .services
        .iter()
        .map(|(name, service)| (name.as_str(), service))
        .filter(|(name, _)| moving.contains(name))
        .flat_map(|(name, service)| service.objects.iter().map(move |object| (Some(name), object)));
    let shared = wanted.shared.iter().map(|object| (None, object));
    let is_grave = |object: &Object| {
        observed.objects.get(object.key()).is_some_and(|live| {
            Cut::of(live, object).is_some() || !replaced_fields(live, object, None).is_empty()
        })
    };
    let asked = |object: &Object| if all { !stands(object) } else { is_grave(object) };
    shared.chain(of_services).filter(|(_, object)| asked(object)).collect()
}
