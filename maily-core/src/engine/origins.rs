//! Since when a release's services are as they are: the release that first brought the state of each. What a rollback
//! left, and which release is the last good one, follows from that alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Goal, ReleaseId, journal::ReleaseHead};

/// By service, the release that first brought its state; also of services that are gone: that they are is a state.
pub type Origins = BTreeMap<String, ReleaseId>;

/// Origins of the release `id` that is made on top of `base`: what a run brings or takes away is as it is from now on,
/// what a rollback brings back is as it was in the release from which it comes, and the rest is as before, what a deploy
/// brought once more among it.
pub(super) fn origins(
    goal: &Goal,
    versions: &BTreeMap<String, String>,
    as_before: &BTreeSet<String>,
    base: Option<&ReleaseHead>,
    id: ReleaseId,
) -> Origins {
    let mut origins = base.map(|base| base.origins.clone()).unwrap_or_default();
    match goal {
        // An older program planned it: what comes back has to be told from the versions.
        Goal::Rollback { origins: back, .. } if back.is_empty() => return Origins::new(),
        Goal::Rollback { origins: back, .. } => {
            origins.extend(back.iter().map(|(name, origin)| (name.clone(), *origin)));
            return origins;
        }
        Goal::Deploy { only, .. } => {
            let anew = |name: &&String| {
                only.as_ref().is_none_or(|only| only.contains(name))
                    && !(as_before.contains(*name) && origins.contains_key(*name))
            };
            let brought: Vec<&String> = versions.keys().filter(anew).collect();
            origins.extend(brought.into_iter().map(|name| (name.clone(), id)));
        }
        Goal::Remove { .. } => {}
    }
    let before = base.into_iter().flat_map(|base| base.versions.keys());
    origins.extend(before.filter(|name| !versions.contains_key(*name)).map(|name| (name.clone(), id)));
    origins
}

/// Whether a release says all of its origins; those of older programs say none.
pub(crate) fn is_exact(head: &ReleaseHead) -> bool {
    head.versions.keys().all(|name| head.origins.contains_key(name))
}

/// The origins of each of some releases, which ascend; where a release does not say one it is that of the newest
/// earlier release with the same version.
pub(crate) fn known_origins(heads: &[ReleaseHead]) -> Vec<Origins> {
    let names: BTreeSet<&String> =
        heads.iter().flat_map(|head| head.versions.keys().chain(head.origins.keys())).collect();
    let mut known: Vec<Origins> = Vec::with_capacity(heads.len());
    for (at, head) in heads.iter().enumerate() {
        let of = |name: &&String| {
            let said = head.origins.get(*name).copied();
            ((*name).clone(), said.unwrap_or_else(|| derived(&heads[..at], &known, head, name)))
        };
        known.push(names.iter().map(of).collect());
    }
    known
}

/// An origin that a release does not say.
fn derived(earlier: &[ReleaseHead], known: &[Origins], head: &ReleaseHead, name: &str) -> ReleaseId {
    let version = head.versions.get(name);
    let was_there = earlier.last().is_some_and(|before| before.versions.contains_key(name));
    // A deploy of an older program may have brought the version once more, with another configuration.
    let anew = match version {
        Some(version) => head.title == format!("deploy {version}"),
        None => was_there && !head.title.starts_with("roll back"),
    };
    if head.origins.is_empty() && anew {
        return head.id;
    }
    let same = earlier.iter().zip(known).rev().find(|(before, _)| before.versions.get(name) == version);
    match (same, version) {
        (Some((_, origins)), _) => origins.get(name).copied().unwrap_or(ReleaseId(0)),
        (None, Some(_)) => head.id,
        (None, None) => ReleaseId(0),
    }
}

/// The last good release for some services, or for all: the newest before the one in force in which one of them was
/// otherwise than it is, and which no rollback has left for any of them. Of releases that ascend the last is in force.
pub(crate) fn last_good(heads: &[ReleaseHead], components: Option<&[String]>) -> Option<ReleaseId> {
    let known = known_origins(heads);
    let now = known.last()?;
    let of = |at: usize, name: &String| known[at].get(name).copied().unwrap_or(ReleaseId(0));
    let names: Vec<&String> = match components {
        Some(names) => names.iter().collect(),
        None => now.keys().collect(),
    };
    // A rollback leaves for a service whatever came after the state that it brings back.
    let left = |at: usize, name: &String| {
        (at + 1..heads.len()).any(|back| {
            let origin = of(back, name);
            let went_back = origin < heads[back].id && origin != of(back - 1, name);
            went_back && heads[at].id > origin && of(at, name) != origin
        })
    };
    let fits = |at: &usize| {
        let differs = names.iter().any(|name| of(*at, name) != of(heads.len() - 1, name));
        differs && !names.iter().any(|name| left(*at, name))
    };
    (0..heads.len() - 1).rev().find(fits).map(|at| heads[at].id)
}

/// The way back of a service that does not serve, where the release in force has brought it as it is, on top of another
/// one. A way back takes nothing away that was there before.
pub(crate) fn way_back(environment: &str, service: &str, in_force: Option<&ReleaseHead>) -> Option<String> {
    let brought = |head: &&ReleaseHead| head.id > ReleaseId(1) && head.origins.get(service) == Some(&head.id);
    in_force.filter(brought)?;
    Some(format!("`mailyctl rollback --env {environment} --components {service} --last-good` goes back"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 3] = ["api", "db", "web"];

    /// What somebody does to an environment. Services are bits, releases are counted back from the newest.
    #[derive(Clone, Debug)]
    enum Deed {
        Deploy(u8),
        Again(u8),
        Remove(u8),
        Back(u8, usize),
        LastGood(u8),
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let deed = prop_oneof![
            3 => (1u8..8).prop_map(Deed::Deploy),
            1 => (1u8..8).prop_map(Deed::Again),
            1 => (1u8..8).prop_map(Deed::Remove),
            2 => (1u8..8, 1usize..6).prop_map(|(which, ago)| Deed::Back(which, ago)),
            4 => (1u8..8).prop_map(Deed::LastGood),
        ];
        proptest::collection::vec(deed, 1..40)
    }

    fn named(which: u8) -> Vec<String> {
        let bit = |(at, name): (usize, &&str)| (which & (1 << at) != 0).then(|| (*name).to_owned());
        NAMES.iter().enumerate().filter_map(bit).collect()
    }

    #[derive(Default)]
    struct History(Vec<ReleaseHead>);

    impl History {
        fn add(&mut self, goal: &Goal, versions: BTreeMap<String, String>) {
            self.add_beside(goal, versions, &BTreeSet::new());
        }

        fn add_beside(
            &mut self,
            goal: &Goal,
            versions: BTreeMap<String, String>,
            as_before: &BTreeSet<String>,
        ) {
            let id = ReleaseId(self.0.last().map_or(1, |last| last.id.0 + 1));
            let origins = origins(goal, &versions, as_before, self.0.last(), id);
            let (title, at) = (goal.title(), Timestamp::UNIX_EPOCH);
            let (fingerprints, images, frontends) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            self.0.push(ReleaseHead {
                id,
                versions,
                title,
                fingerprints,
                images,
                frontends,
                origins,
                beside_trouble: false,
                at,
            });
        }

        fn versions(&self) -> BTreeMap<String, String> {
            self.0.last().map(|last| last.versions.clone()).unwrap_or_default()
        }

        fn now(&self, name: &str) -> ReleaseId {
            let known = known_origins(&self.0);
            known.last().and_then(|last| last.get(name).copied()).unwrap_or(ReleaseId(0))
        }

        fn deploy(&mut self, names: &[String]) {
            let version = format!("v{}", self.0.len() + 1);
            let mut versions = self.versions();
            versions.extend(names.iter().map(|name| (name.clone(), version.clone())));
            let only = (names.len() < NAMES.len()).then(|| names.to_vec());
            self.add(&Goal::Deploy { version, only }, versions);
        }

        /// What is there once more, as after a change by hand.
        fn again(&mut self, names: &[String]) {
            let versions = self.versions();
            let there = names.iter().filter(|name| versions.contains_key(*name)).cloned();
            let goal = Goal::Deploy { version: "again".into(), only: Some(names.to_vec()) };
            self.add_beside(&goal, versions.clone(), &there.collect());
        }

        fn remove(&mut self, names: &[String]) {
            let mut versions = self.versions();
            versions.retain(|name, _| !names.contains(name));
            self.add(&Goal::Remove { only: None }, versions);
        }

        fn back(&mut self, names: &[String], at: usize) {
            let from = known_origins(&self.0)[at].clone();
            let mut versions = self.versions();
            for name in names {
                match self.0[at].versions.get(name).cloned() {
                    Some(version) => versions.insert(name.clone(), version),
                    None => versions.remove(name),
                };
            }
            let of = |name: &String| (name.clone(), from.get(name).copied().unwrap_or(ReleaseId(0)));
            let origins = names.iter().map(of).collect();
            let to = format!("release {}", self.0[at].id);
            self.add(&Goal::Rollback { to, release: None, origins, only: Some(names.to_vec()) }, versions);
        }
    }

    proptest! {
        #[test]
        fn the_last_good_release_never_brings_back_what_was_left(deeds in deeds(), kept in 2usize..20) {
            let mut history = History::default();
            let mut left: BTreeSet<(String, ReleaseId)> = BTreeSet::new();
            for deed in deeds {
                let before: Vec<ReleaseId> = NAMES.iter().map(|name| history.now(name)).collect();
                let (names, at, good) = match deed {
                    Deed::Deploy(which) => {
                        history.deploy(&named(which));
                        continue;
                    }
                    Deed::Again(which) => {
                        let before: Vec<ReleaseId> = NAMES.iter().map(|name| history.now(name)).collect();
                        history.again(&named(which));
                        let after: Vec<ReleaseId> = NAMES.iter().map(|name| history.now(name)).collect();
                        prop_assert_eq!(after, before, "what is brought once more is as it was");
                        continue;
                    }
                    Deed::Remove(which) => {
                        history.remove(&named(which));
                        continue;
                    }
                    Deed::Back(which, ago) if history.0.len() > ago => {
                        (named(which), history.0.len() - 1 - ago, false)
                    }
                    Deed::LastGood(which) => {
                        let names = named(which);
                        let only = (names.len() < NAMES.len()).then_some(&*names);
                        let Some(id) = last_good(&history.0, only) else { continue };
                        (names, history.0.iter().position(|head| head.id == id).unwrap(), true)
                    }
                    Deed::Back(..) => continue,
                };
                history.back(&names, at);
                let mut moved = false;
                for (name, before) in NAMES.iter().zip(before).filter(|(name, _)| names.iter().any(|n| n == *name)) {
                    let state = ((*name).to_owned(), history.now(name));
                    moved |= state.1 != before;
                    if good {
                        prop_assert!(!left.contains(&state), "{state:?} was left");
                        prop_assert!(state.1 <= before, "{state:?} is newer than {before}");
                    }
                    // Whoever goes to it by its number means it.
                    left.remove(&state);
                    if state.1 < before {
                        left.insert((state.0, before));
                    }
                }
                prop_assert!(moved || !good, "the last good release is as the one in force");
                let drop = history.0.len().saturating_sub(kept);
                history.0.drain(..drop);
            }
        }
    }

    #[test]
    fn a_release_of_an_older_program_is_as_the_newest_earlier_one_of_its_version() {
        let mut history = History::default();
        let all = named(7);
        history.deploy(&all);
        history.deploy(&all);
        history.back(&all, 0);
        history.remove(&all[..1]);
        let exact = known_origins(&history.0);
        for head in &mut history.0 {
            head.origins.clear();
        }
        assert_eq!(known_origins(&history.0), exact);
        assert!(!history.0.iter().take(3).any(is_exact));
        assert_eq!(last_good(&history.0, Some(&all[1..])), None);
        assert_eq!(last_good(&history.0, None), Some(ReleaseId(3)));
        // The same version once more is not the same state.
        history.0[1].versions = history.0[0].versions.clone();
        history.0[1].title = history.0[0].title.clone();
        assert_eq!(last_good(&history.0[..2], None), Some(ReleaseId(1)));
    }
}
