//! What a person might miss in a plan: shared objects that it leaves out, and names of options that are not in it.

use std::collections::{BTreeMap, BTreeSet};

use super::wanted::{Force, PlanOptions, Wanted, WantedService};
use crate::{
    engine::{Change, Goal, Kept, Note, Operation, Sealer, Step, history::Release, strip_bookkeeping},
    object::{Object, ObjectKey, managers},
    steps::is_idle,
};

/// Objects that are named one by one.
const NAMED: usize = 8;

/// Shared objects that a plan for components leaves as they are, where the wanted state has them otherwise than the
/// release in force.
pub(super) fn left_out(wanted: &Wanted, base: Option<&Release>, sealer: &Sealer) -> Option<Note> {
    let differs = |object: &Object| {
        let mut object = sealer.seal(object);
        strip_bookkeeping(&mut object);
        match base.and_then(|base| base.objects.get(object.key())) {
            None => Some("is new"),
            Some(known) if known.desired != object => Some("would change"),
            Some(_) => None,
        }
    };
    let mut told: Vec<String> = wanted
        .left_out
        .iter()
        .filter_map(|object| Some(format!("{} {}", object.key().short(), differs(object)?)))
        .collect();
    told.sort();
    told.dedup();
    let more = told.len().saturating_sub(NAMED);
    told.truncate(NAMED);
    if more > 0 {
        told.push(format!("{more} more"));
    }
    let what = if matches!(wanted.goal, Goal::Rollback { .. }) { "rollback" } else { "deploy" };
    let text = format!(
        "shared objects are not part of a {what} of components: {}; a {what} without `--components` brings them",
        told.join(", ")
    );
    (!told.is_empty()).then(|| Note { topic: "shared-left-out".to_owned(), text })
}

/// What only a release can tell of a plan without steps: which services there are, whose objects are, and that what did
/// not serve beside the last one does now.
pub(super) fn regrouped(
    wanted: &Wanted,
    base: &Release,
    kept: &[Kept],
    live: &BTreeMap<ObjectKey, Object>,
) -> Option<Note> {
    let mut moves: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for kept in kept {
        let Some(known) = base.objects.get(kept.desired.key()) else { continue };
        let [from, to] =
            [&known.service, &kept.service].map(|name| name.as_deref().unwrap_or("the shared objects"));
        if from != to {
            *moves.entry((from, to)).or_default() += 1;
        }
    }
    let new = wanted.services.keys().filter(|name| !base.head.versions.contains_key(*name));
    let gone = base.head.versions.keys().filter(|name| !wanted.services.contains_key(*name));
    let moved = |((from, to), count): (&(&str, &str), &usize)| match count {
        1 => format!("1 object moves from {from} to {to}"),
        _ => format!("{count} objects move from {from} to {to}"),
    };
    let mut told: Vec<String> = moves.iter().map(moved).collect();
    // Whoever asks later which version is there, or was seen on staging, asks for this one.
    let other = |(name, service): &(&String, &WantedService)| {
        base.head.versions.get(*name).is_some_and(|version| *version != service.version)
    };
    let renamed: Vec<_> = wanted.services.iter().filter(other).collect();
    match renamed[..] {
        [] => {}
        [(name, service)] => told.push(format!("{name} is {}", service.version)),
        [(_, first), ..] if renamed.iter().all(|(_, service)| service.version == first.version) => {
            let names: Vec<&str> = renamed.iter().map(|(name, _)| name.as_str()).collect();
            let names = match names[..] {
                [ref others @ .., last] if names.len() <= 3 => format!("{} and {last}", others.join(", ")),
                _ => format!("{} services", names.len()),
            };
            told.push(format!("{names} are {}", first.version));
        }
        _ => told.push(format!("{} services have other versions", renamed.len())),
    }
    told.extend(new.map(|name| format!("{name} is new")));
    told.extend(gone.map(|name| format!("{name} is no more")));
    // What stays as it is may be gone, as a Job after its time.
    let is_well =
        |kept: &Kept| live.get(kept.desired.key()).is_none_or(|live| is_idle(&kept.desired, live).is_none());
    let is_deploy = matches!(wanted.goal, Goal::Deploy { only: None, .. });
    if base.head.beside_trouble && is_deploy && kept.iter().all(is_well) {
        told.push("all serves that did not then".to_owned());
    }
    let text = format!(
        "same objects as release {}: only a new release is recorded, in which {}",
        base.head.id,
        told.join(", ")
    );
    (!told.is_empty()).then(|| Note { topic: "same-objects".to_owned(), text })
}

/// Services of which a deploy brings what the release in force has. Where the shared objects differ, all do: each of
/// them may read them.
pub(super) fn as_before(wanted: &Wanted, base: &Release, steps: &[Step], kept: &[Kept]) -> BTreeSet<String> {
    if !matches!(wanted.goal, Goal::Deploy { .. }) {
        return BTreeSet::new();
    }
    let brought = steps.iter().flat_map(|step| {
        let wanted = step.work.changes().iter().filter_map(|change| change.desired.as_ref());
        wanted.map(|object| (step.service.as_deref(), object))
    });
    let stays = kept.iter().map(|kept| (kept.service.as_deref(), &kept.desired));
    let now = by_owner(brought.chain(stays));
    let before = by_owner(base.objects.values().map(|known| (known.service.as_deref(), &known.desired)));
    if now.get(&None) != before.get(&None) {
        return BTreeSet::new();
    }
    let same = |(name, service): &(&String, &WantedService)| {
        let Some(version) = base.head.versions.get(*name) else { return false };
        // What a frontend shows and what Jobs have done follows from the version alone.
        let told_by_objects =
            service.frontend.is_none() && service.before.is_empty() && service.after.is_empty();
        let owner = Some(name.as_str());
        now.get(&owner) == before.get(&owner) && (told_by_objects || *version == service.version)
    };
    wanted.services.iter().filter(same).map(|(name, _)| name.clone()).collect()
}

/// Objects by the service that has them, or none where they are shared.
type Owned<'a> = BTreeMap<Option<&'a str>, BTreeMap<&'a ObjectKey, &'a Object>>;

fn by_owner<'a>(objects: impl Iterator<Item = (Option<&'a str>, &'a Object)>) -> Owned<'a> {
    let mut owned = Owned::new();
    for (owner, object) in objects {
        owned.entry(owner).or_default().insert(object.key(), object);
    }
    owned
}

/// Names of objects and managers in options that the plan has nothing of.
pub(super) fn strange_names<'a>(
    options: &PlanOptions,
    changes: &[&Change],
    kept: &[Kept],
    live: impl Iterator<Item = &'a Object>,
) -> Vec<Note> {
    let forced: Vec<&String> = match &options.force {
        Force::Only(names) => names.iter().collect(),
        Force::Nothing | Force::All => Vec::new(),
    };
    if options.replace.is_empty() && forced.is_empty() {
        return Vec::new();
    }
    let keys = changes.iter().map(|change| &change.key).chain(kept.iter().map(|kept| kept.desired.key()));
    let known: BTreeSet<String> = keys.map(ObjectKey::short).collect();
    let managing: BTreeSet<&str> = live.flat_map(managers).collect();
    let replaced: Vec<String> = changes
        .iter()
        .filter(|change| change.operation == Operation::Replace)
        .map(|change| change.key.short())
        .collect();
    let replaces =
        if replaced.is_empty() { "nothing".to_owned() } else { format!("`{}`", replaced.join("`, `")) };
    let replace = options.replace.iter().filter(|name| !known.contains(*name)).map(|name| {
        format!("`{name}` is no object of this plan, which replaces {replaces}: `--allow-replace` has no effect for it")
    });
    let force = forced
        .into_iter()
        .filter(|name| !known.contains(*name) && !managing.contains(name.as_str()))
        .map(|name| {
            let what = if name.contains('/') { "is no object" } else { "manages no object" };
            format!("`{name}` {what} of this plan: `--force-conflicts` takes nothing with it")
        });
    replace.chain(force).map(|text| Note { topic: "option".to_owned(), text }).collect()
}
