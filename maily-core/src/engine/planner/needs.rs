//! Needs of services on others: their order, circles, and what has to run already.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    change::Comparison,
    defined::Defined,
    problem::{DEFINES, NeedPlace, PlanProblem},
    wanted::{Wanted, WantedPhase},
};
use crate::{
    engine::{Goal, Note, Step, Work, history::Release},
    object::{Object, ObjectKey},
    rollout::{Evidence, Health, Target, judge},
};

/// A circle of needs, and of kinds that are not there yet.
pub(super) fn cycles<'a>(wanted: &'a Wanted, defined: &Defined<'a>) -> Option<PlanProblem> {
    fn visit<'a>(
        wanted: &'a Wanted,
        defined: &Defined<'a>,
        name: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<String> {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            let mut circle: Vec<&str> = path[start..].to_vec();
            circle.push(name);
            return Some(told(wanted, defined, &circle));
        }
        if !done.insert(name) {
            return None;
        }
        path.push(name);
        let found = needs_of(wanted, name)
            .chain(defined.before(name))
            .find_map(|need| visit(wanted, defined, need, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    wanted
        .services
        .keys()
        .find_map(|name| visit(wanted, defined, name, &mut Vec::new(), &mut done))
        .map(|path| PlanProblem::Cycle { path })
}

/// A circle for people.
fn told(wanted: &Wanted, defined: &Defined<'_>, circle: &[&str]) -> String {
    let mut text = circle[0].to_owned();
    for pair in circle.windows(2) {
        let needs = needs_of(wanted, pair[0]).any(|need| need == pair[1]);
        let because = defined.because_of(pair[0], pair[1]).filter(|_| !needs);
        let because = because.map(|key| format!(" ({DEFINES} {})", key.short())).unwrap_or_default();
        text.push_str(&format!(" -> {}{because}", pair[1]));
    }
    text
}

/// The phase's services, each after those that it needs, and those that define kinds of its objects.
pub(super) fn in_order<'a>(
    wanted: &'a Wanted,
    defined: &Defined<'a>,
    phase: &'a WantedPhase,
) -> Vec<&'a str> {
    fn visit<'a>(
        wanted: &'a Wanted,
        defined: &Defined<'a>,
        phase: &'a WantedPhase,
        name: &'a str,
        seen: &mut BTreeSet<&'a str>,
        out: &mut Vec<&'a str>,
    ) {
        if !phase.services.iter().any(|service| service == name) || !seen.insert(name) {
            return;
        }
        for need in needs_of(wanted, name).chain(defined.before(name)) {
            visit(wanted, defined, phase, need, seen, out);
        }
        out.push(name);
    }
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for name in &phase.services {
        visit(wanted, defined, phase, name, &mut seen, &mut out);
    }
    out
}

/// Looks at what services that change need and the plan does not bring before them, for it leaves it as it is, comes to
/// it later, or is not about it: it is met by the one that runs already, if that serves. A way back is told and not
/// refused: what does not serve may be what it mends.
pub(super) fn look_at(wanted: &Wanted, steps: &[Step], comparison: &mut Comparison<'_>) {
    let goes = |step: &Step| matches!(step.work, Work::Prune { .. });
    let changing: BTreeSet<&str> =
        steps.iter().filter(|step| !goes(step)).filter_map(|step| step.service.as_deref()).collect();
    let planned: BTreeSet<&str> =
        wanted.phases.iter().flat_map(|phase| phase.services.iter().map(String::as_str)).collect();
    let goes_back = matches!(wanted.goal, Goal::Rollback { .. });
    let is_part = matches!(wanted.goal, Goal::Deploy { only: Some(_), .. });
    let waits = |name: &str, need: &str| behind(name, |name| needs_of(wanted, name)).contains(need);
    // Gates and the ends of phases bring nothing.
    let all_waits = |need: &str| {
        steps.iter().all(|step| match step.service.as_deref() {
            Some(name) => !goes(step) && waits(name, need),
            None => step.work.changes().is_empty(),
        })
    };
    let mut before: BTreeSet<&str> = BTreeSet::new();
    let mut needed: BTreeMap<(&str, NeedPlace), BTreeSet<&str>> = BTreeMap::new();
    for phase in &wanted.phases {
        before.extend(phase.services.iter().map(String::as_str));
        for name in phase.services.iter().filter(|name| changing.contains(name.as_str())) {
            for need in
                needs_of(wanted, name).filter(|need| !changing.contains(need) || !before.contains(need))
            {
                let place = if before.contains(need) {
                    NeedPlace::Kept
                } else if planned.contains(need) {
                    NeedPlace::Later
                } else {
                    NeedPlace::Outside
                };
                // What a whole version, or a release of then, does without is not missing.
                if place == NeedPlace::Outside && !is_part && !wanted.services.contains_key(need) {
                    continue;
                }
                needed.entry((need, place)).or_default().insert(name);
            }
        }
    }
    for ((need, place), mut services) in needed {
        if place == NeedPlace::Kept {
            // Who leaves it out leaves out all that comes after it, directly or through others.
            services.extend(changing.iter().filter(|name| waits(name, need)));
        }
        let Some(unmet) = unmet(wanted, &services, need, place, comparison) else { continue };
        let is_told = match place {
            // Who brings a part may be mending something else first.
            NeedPlace::Outside => true,
            // Without a release nobody can be told to bring one of them alone.
            NeedPlace::Later => comparison.base.is_none(),
            // Whatever does not wait for it may be what mends it. And one that is short of pods serves.
            NeedPlace::Kept => {
                comparison.base.is_none() || !all_waits(need) || answers(wanted, need, comparison)
            }
        };
        if goes_back || is_told && matches!(unmet, PlanProblem::NeedNotReady { .. }) {
            comparison.notes.push(Note { topic: "needs".into(), text: unmet.to_string() });
        } else {
            comparison.problems.push(unmet);
        }
    }
}

/// Names of the services that a service needs.
pub(super) fn needs_of<'a>(wanted: &'a Wanted, name: &str) -> impl Iterator<Item = &'a str> {
    wanted.services.get(name).into_iter().flat_map(|service| &service.needs).map(String::as_str)
}

/// A service and all that it comes after, directly or through others. A circle is a problem of its own.
pub(super) fn behind<'a, I: Iterator<Item = &'a str>>(
    name: &'a str,
    before: impl Fn(&'a str) -> I,
) -> BTreeSet<&'a str> {
    let mut open = vec![name];
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if seen.insert(name) {
            open.extend(before(name));
        }
    }
    seen
}

/// The workloads of a service as the release in force has them; else as they are wanted.
fn workloads<'a>(wanted: &'a Wanted, name: &str, base: Option<&'a Release>) -> Vec<&'a ObjectKey> {
    let keys: Vec<&ObjectKey> = match base.filter(|base| base.head.versions.contains_key(name)) {
        Some(base) => {
            let of_it = base.objects.values().filter(|object| object.service.as_deref() == Some(name));
            of_it.map(|released| released.desired.key()).collect()
        }
        None => wanted
            .services
            .get(name)
            .into_iter()
            .flat_map(|service| &service.objects)
            .map(Object::key)
            .collect(),
    };
    keys.into_iter().filter(|key| key.kind.keeps_pods()).collect()
}

/// Whether some pods of each workload of a service are ready: others may be on their way to another node.
fn answers(wanted: &Wanted, name: &str, comparison: &Comparison<'_>) -> bool {
    const READY: [&str; 3] =
        ["/status/availableReplicas", "/status/readyReplicas", "/status/numberAvailable"];
    let ready = |live: &Object| READY.iter().any(|field| live.int(field).is_some_and(|ready| ready > 0));
    let live = |key: &ObjectKey| comparison.observed.objects.get(key);
    workloads(wanted, name, comparison.base)
        .into_iter()
        .all(|key| live(key).is_some_and(|live| not_ready(live).is_none() || ready(live)))
}

/// Why what runs does not meet a need. A service without workloads has to be released, or to be as it is wanted.
fn unmet(
    wanted: &Wanted,
    services: &BTreeSet<&str>,
    need: &str,
    place: NeedPlace,
    comparison: &Comparison<'_>,
) -> Option<PlanProblem> {
    let workloads = workloads(wanted, need, comparison.base);
    let live = |key: &ObjectKey| comparison.observed.objects.get(key);
    let is_there = if workloads.is_empty() {
        place == NeedPlace::Kept || comparison.base.is_some_and(|base| base.head.versions.contains_key(need))
    } else {
        workloads.iter().any(|key| live(key).is_some())
    };
    let (services, need) = (services.iter().map(|name| (*name).to_owned()).collect(), need.to_owned());
    if !is_there {
        return Some(PlanProblem::NeedAbsent { services, need, place });
    }
    // What is gone of it serves no more than what is not ready.
    let why = workloads.iter().find_map(|key| match live(key) {
        Some(live) => not_ready(live),
        None => Some(format!("{} does not exist", key.short())),
    })?;
    Some(PlanProblem::NeedNotReady { services, need, place, why })
}

/// Why a live workload does not serve, by the rules that follow a rollout.
fn not_ready(live: &Object) -> Option<String> {
    let target = Target::pin(live)?;
    let key = live.key().short();
    match judge(&target, &Evidence { live: Some(live), serving_only: true, ..Evidence::default() }) {
        Health::Done => None,
        Health::Waiting { why, .. } | Health::HeldUp { why, .. } => Some(format!("{key}: {why}")),
        Health::Failed(reason) => Some(reason.message),
        Health::Ask(_) => Some(format!("{key}: some of its pods fail")),
    }
}
