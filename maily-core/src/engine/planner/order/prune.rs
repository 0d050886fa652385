//! What goes: after everything else, and autoscalers before what they scaled gets a number of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::Order;
use crate::{
    engine::{
        Change, Left, Note, Reversibility, Step, StepId, Work,
        history::Release,
        planner::{change::Comparison, wanted::Wanted},
    },
    object::{Object, ObjectKey, ObjectKind},
    source::rank_of_going,
};

impl Order<'_> {
    pub(super) fn prune(&mut self, wanted: &Wanted, base: Option<&Release>, comparison: &mut Comparison<'_>) {
        let kept: BTreeSet<&ObjectKey> = wanted
            .services
            .values()
            .flat_map(|service| &service.objects)
            .chain(&wanted.shared)
            .chain(&wanted.left_out)
            .map(Object::key)
            .collect();
        let mut by_owner: BTreeMap<Option<&str>, Vec<Change>> = BTreeMap::new();
        let observed = comparison.observed;
        // What no release has goes with whatever covers everything, also where its service is of none.
        for (key, owner) in observed.left.iter().rev() {
            let owner = owner.as_deref();
            let live = observed.objects.get(key);
            // What a part leaves out the plan notes elsewhere.
            let is_left_out = wanted.left_out.iter().any(|object| object.key() == key);
            let left = Left { service: owner.map(str::to_owned), key: key.clone() };
            if live.is_none() && observed.unserved.contains(&key.kind) {
                comparison.note_unserved(key, "what a run that was ended as it was has left of it stays");
                self.left.push(left);
                continue;
            }
            if !live.is_some_and(|live| comparison.is_ours(live)) {
                continue;
            }
            if kept.contains(key) && !is_left_out {
                // With this plan it is of a release; where that goes back, it is of none still.
                self.left.push(left);
                continue;
            }
            let covers = wanted.prune_shared || owner.is_some_and(|service| wanted.prune.contains(service));
            if covers && !is_left_out {
                by_owner.entry(owner).or_default().extend(comparison.unwanted(key));
                continue;
            }
            if !is_left_out {
                let text = format!(
                    "{key} is of a run that was ended as it was, and of no release: it stays until a deploy or a rollback \
                     of all services takes it away"
                );
                comparison.notes.push(Note { topic: "left".into(), text });
            }
            self.left.push(left);
        }
        for (key, released) in base.into_iter().flat_map(|base| base.objects.iter().rev()) {
            let owner = released.service.as_deref();
            let may = owner.map_or(wanted.prune_shared, |service| wanted.prune.contains(service));
            if !may || kept.contains(key) {
                continue;
            }
            if let Some(change) = comparison.unwanted(key) {
                by_owner.entry(owner).or_default().push(change);
            }
        }
        let ends = std::mem::take(&mut self.ends);
        let mut going: Vec<(Option<&str>, Vec<Change>)> = Vec::new();
        for (owner, changes) in by_owner {
            let mut changes = self.unscale(changes);
            changes.sort_by_key(|change| rank_of_going(&change.key.kind));
            if !changes.is_empty() {
                going.push((owner, changes));
            }
        }
        // A service may be called `shared`: no step of one has this name.
        let step = |owner: Option<&str>| {
            let (subject, verb) = owner.map_or(("shared", "remove"), |service| (service, "prune"));
            StepId::new(self.environment, subject, verb)
        };
        let behind = behind_users(base, &going);
        let ids: Vec<StepId> = going.iter().map(|(owner, _)| step(*owner)).collect();
        for (at, ((owner, changes), first)) in going.into_iter().zip(behind).enumerate() {
            let mut needs = ends.clone();
            needs.extend(first.into_iter().map(|first| ids[first].clone()));
            self.steps.push(Step {
                id: ids[at].clone(),
                service: owner.map(str::to_owned),
                phase: None,
                needs,
                reversibility: Reversibility::Undoable,
                timeout_s: self.timeout_s,
                work: Work::Prune { changes },
            });
        }
    }

    /// Lets autoscalers go before what they scale gets a number of its own: as long as they are there the number is
    /// theirs. Answers what is left.
    fn unscale(&mut self, changes: Vec<Change>) -> Vec<Change> {
        let mut rest = Vec::new();
        for change in changes {
            let scaled = scaled_by(&change);
            let brings = |step: &Step| {
                let mut changes = step.work.changes().iter().filter(|change| change.desired.is_some());
                changes.any(|change| scaled.as_ref() == Some(&change.key))
            };
            let Some(at) = self.steps.iter().position(brings) else {
                rest.push(change);
                continue;
            };
            let rollout = &mut self.steps[at];
            let id = StepId::new(self.environment, rollout.service.as_deref().unwrap_or("shared"), "unscale");
            let mut step = Step {
                id: id.clone(),
                work: Work::Prune { changes: vec![change] },
                reversibility: Reversibility::Undoable,
                ..rollout.clone()
            };
            rollout.needs.insert(id.clone());
            match self.steps.iter_mut().find(|step| step.id == id) {
                Some(Step { work: Work::Prune { changes }, .. }) => {
                    if let Work::Prune { changes: more } = &mut step.work {
                        changes.append(more);
                    }
                }
                _ => self.steps.insert(at, step),
            }
        }
        rest
    }
}

/// Which of several services go before each of them: those with objects of a kind that it defines, whose operator it may
/// have. Whoever has defined a kind that is not of Kubernetes, any workload that goes may be its operator. In no circle.
fn behind_users(base: Option<&Release>, going: &[(Option<&str>, Vec<Change>)]) -> Vec<BTreeSet<usize>> {
    let released = base.into_iter().flat_map(|base| base.objects.values());
    let defined: BTreeMap<(&str, &str), Option<&str>> =
        released.filter_map(|one| Some((one.desired.defines()?, one.service.as_deref()))).collect();
    let mut behind = vec![BTreeSet::new(); going.len()];
    let mut put = |user: usize, at: usize| {
        if user != at && !comes_behind(&behind, user, at) {
            behind[at].insert(user);
        }
    };
    for (user, (_, changes)) in going.iter().enumerate() {
        for change in changes {
            let kind = &change.key.kind;
            let by = defined.get(&(kind.group(), kind.kind.as_str()));
            if let Some(at) = by.and_then(|by| going.iter().position(|(other, _)| other == by)) {
                put(user, at);
            }
        }
    }
    let with = |is_one: fn(&ObjectKind) -> bool| {
        let has =
            move |(_, changes): &(Option<&str>, Vec<Change>)| changes.iter().any(|c| is_one(&c.key.kind));
        going.iter().enumerate().filter(move |(_, group)| has(group)).map(|(at, _)| at)
    };
    for user in with(|kind| !kind.is_of_kubernetes()) {
        with(ObjectKind::keeps_pods).for_each(|at| put(user, at));
    }
    behind
}

/// Whether one waits for another, also by way of others.
fn comes_behind(behind: &[BTreeSet<usize>], one: usize, other: usize) -> bool {
    let mut seen = BTreeSet::from([one]);
    let mut next = vec![one];
    while let Some(at) = next.pop() {
        next.extend(behind[at].iter().filter(|first| seen.insert(**first)));
    }
    one != other && seen.contains(&other)
}

/// What an autoscaler that goes has scaled.
fn scaled_by(change: &Change) -> Option<ObjectKey> {
    let autoscaler = &change.before.as_ref()?.object;
    let target = |field: &str| autoscaler.text(&format!("/spec/scaleTargetRef/{field}"));
    let is_one = autoscaler.kind() == "HorizontalPodAutoscaler" && change.desired.is_none();
    let kind = ObjectKind::new(target("apiVersion")?, target("kind")?);
    is_one.then(|| ObjectKey::new(kind, autoscaler.namespace(), target("name").unwrap_or_default()))
}
