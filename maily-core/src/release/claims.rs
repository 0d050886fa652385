//! Objects that more than one would have: in a part of a release, and in a way back out of several.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use crate::{
    engine::{Note, ReleaseId, history::Release, planner::WantedService},
    object::{Object, ObjectKey},
};

/// Takes out of the services of a part what the release in force has as shared: others may use it, and a part does not
/// know them.
pub(super) fn take_shared(
    services: &mut IndexMap<String, WantedService>,
    base: Option<&Release>,
) -> Vec<Object> {
    let is_shared = |object: &mut Object| {
        let known = base.and_then(|base| base.objects.get(object.key()));
        known.is_some_and(|known| known.service.is_none())
    };
    services.values_mut().flat_map(|service| service.objects.extract_if(.., is_shared)).collect()
}

/// Takes from services that stay as they are what a part brings, with a word on each.
pub(super) fn give_way(
    services: &mut IndexMap<String, WantedService>,
    part: &BTreeSet<String>,
    shared: &[Object],
) -> Vec<Note> {
    let mut brought: BTreeMap<ObjectKey, String> =
        shared.iter().map(|object| (object.key().clone(), "the shared objects".to_owned())).collect();
    for (name, service) in services.iter().filter(|(name, _)| part.contains(*name)) {
        brought.extend(service.objects.iter().map(|object| (object.key().clone(), name.clone())));
    }
    let mut notes = Vec::new();
    for (name, service) in services.iter_mut().filter(|(name, _)| !part.contains(*name)) {
        service.objects.retain(|object| {
            let Some(owner) = brought.get(object.key()) else { return true };
            notes.push(moves(format!("{} moves from {name} to {owner}", object.key().short())));
            false
        });
    }
    notes
}

/// Gives each object that services had in different releases to one: it stays shared where it was shared, else it is of
/// the service that comes out of the newest of them.
pub(super) fn settle(
    services: &mut IndexMap<String, WantedService>,
    from: &BTreeMap<String, ReleaseId>,
    shared: &[Object],
) -> Vec<Note> {
    let mut newest_first: Vec<String> = services.keys().cloned().collect();
    newest_first.sort_by_key(|name| std::cmp::Reverse(from.get(name).copied()));
    let shared: BTreeSet<&ObjectKey> = shared.iter().map(Object::key).collect();
    let mut owners: BTreeMap<ObjectKey, String> = BTreeMap::new();
    let mut notes = Vec::new();
    for name in newest_first {
        let Some(service) = services.get_mut(&name) else { continue };
        service.objects.retain(|object| {
            let key = object.key();
            let text = if shared.contains(key) {
                format!("{} was of {name} and shared in their releases: it stays shared", key.short())
            } else if let Some(owner) = owners.get(key) {
                let (first, second) = if name < *owner { (&name, owner) } else { (owner, &name) };
                format!("{} was of {first} and of {second} in their releases: it is of {owner}", key.short())
            } else {
                owners.insert(key.clone(), name.clone());
                return true;
            };
            notes.push(moves(text));
            false
        });
    }
    notes
}

fn moves(text: String) -> Note {
    Note { topic: "moves".to_owned(), text }
}
