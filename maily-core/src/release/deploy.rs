//! What a deploy and a removal want.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::{
    claims::{give_way, take_shared},
    remove::keep_frontends,
};
use crate::{
    engine::{
        Goal,
        history::Release,
        planner::{Wanted, WantedPhase, WantedService},
    },
    model::{PhaseName, Resolved, ServiceName, Version},
    object::Object,
    source::{HookJob, Occasion, Rendered, Side, sort},
};

/// Which part of an environment a deploy is about.
#[derive(Clone, Debug, Default)]
pub struct DeployScope {
    /// Only these phases; all where none are named.
    pub phases: Option<Vec<PhaseName>>,
    /// Only these services; all where none are named.
    pub components: Option<Vec<ServiceName>>,
}

/// What a deploy of rendered objects wants.
pub fn deploy(
    resolved: &Resolved,
    rendered: Rendered,
    version: &Version,
    base: Option<&Release>,
    scope: &DeployScope,
) -> Wanted {
    let mut phases = phases(resolved, &rendered.services, &rendered.gates);
    let in_scope = |phase: &WantedPhase| {
        scope.phases.as_ref().is_none_or(|wanted| wanted.iter().any(|name| **name == *phase.name))
    };
    let complete = phases.iter().all(in_scope) && scope.components.is_none();
    phases.retain(in_scope);
    let planned: BTreeSet<String> = phases.iter().flat_map(|phase| phase.services.iter().cloned()).collect();
    let Rendered { mut services, mut shared, mut notes, hooks, .. } = rendered;
    let objects = services.values_mut().flat_map(|service| &mut service.objects);
    share_with(base, objects.chain(&mut shared));
    add_hooks(&mut services, hooks, resolved, base);
    services.retain(|name, _| planned.contains(name));
    let only = (!complete).then(|| planned.iter().cloned().collect());
    let mut left_out = Vec::new();
    if complete {
        notes.extend(keep_frontends(&mut services, resolved, base).into_iter().map(|(_, note)| note));
    } else {
        shared.extend(take_shared(&mut services, base));
        if scope.components.is_some() {
            left_out = std::mem::take(&mut shared);
        }
        sort(&mut shared);
        add_kept(&mut services, base);
        notes.extend(give_way(&mut services, &planned, &shared));
    }
    let mut prune = planned;
    if complete {
        // What the file or the new version lacks goes, too.
        prune.extend(owners(base));
    }
    Wanted {
        project: resolved.project.name.to_string(),
        environment: resolved.environment.name.to_string(),
        namespace: resolved.environment.namespace.clone(),
        goal: Goal::Deploy { version: version.to_string(), only },
        services,
        shared,
        phases,
        notes,
        prune,
        prune_shared: complete,
        left_out,
    }
}

/// What the release in force has just so is in memory once.
pub(super) fn share_with<'a>(base: Option<&Release>, objects: impl Iterator<Item = &'a mut Object>) {
    let Some(base) = base else { return };
    for object in objects {
        if let Some(known) = base.objects.get(object.key()).filter(|known| known.desired == *object) {
            *object = known.desired.clone();
        }
    }
}

/// Jobs of charts, around those services whose first or further release this is.
fn add_hooks(
    services: &mut IndexMap<String, WantedService>,
    hooks: BTreeMap<String, Vec<HookJob>>,
    resolved: &Resolved,
    base: Option<&Release>,
) {
    for (name, jobs) in hooks {
        let Some(service) = services.get_mut(&name) else { continue };
        let first = base.is_none_or(|base| !was_released(resolved, base, &name, &service.objects));
        for HookJob { spec, side, occasion } in jobs {
            match (occasion, side) {
                (Occasion::Install, _) if !first => {}
                (Occasion::Upgrade, _) if first => {}
                (_, Side::Before) => service.before.push(spec),
                (_, Side::After) => service.after.push(spec),
            }
        }
    }
}

/// Whether a release has a service, be it under another name: one of its aliases, or that of its workloads.
fn was_released(resolved: &Resolved, base: &Release, name: &str, objects: &[Object]) -> bool {
    let known = resolved.services.get(name);
    let aliases = known.into_iter().flat_map(|service| &service.aliases).map(String::as_str);
    let mut workloads = objects.iter().map(Object::key).filter(|key| key.kind.keeps_pods());
    std::iter::once(name).chain(aliases).any(|name| base.head.versions.contains_key(name))
        || workloads.any(|key| base.objects.contains_key(key))
}

/// Services that own objects of a release.
fn owners(base: Option<&Release>) -> BTreeSet<String> {
    base.into_iter()
        .flat_map(|base| base.objects.values())
        .filter_map(|object| object.service.clone())
        .collect()
}

/// Services of the release in force that the plan leaves as they are.
pub(super) fn add_kept(services: &mut IndexMap<String, WantedService>, base: Option<&Release>) {
    let Some(base) = base else { return };
    for (name, version) in &base.head.versions {
        if !services.contains_key(name) {
            services.insert(name.clone(), of_release(base, name, version));
        }
    }
}

/// A service as a release had it.
pub(super) fn of_release(release: &Release, name: &str, version: &str) -> WantedService {
    let mut objects: Vec<_> = release
        .objects
        .values()
        .filter(|object| object.service.as_deref() == Some(name))
        .map(|object| object.desired.clone())
        .collect();
    sort(&mut objects);
    WantedService { version: version.to_owned(), objects, ..WantedService::default() }
}

/// The environment's phases with the services that they take.
pub(super) fn phases(
    resolved: &Resolved,
    services: &IndexMap<String, WantedService>,
    gates: &BTreeMap<String, crate::engine::planner::Gate>,
) -> Vec<WantedPhase> {
    let mut left: Vec<&String> = services.keys().collect();
    let mut phases = Vec::new();
    for phase in &resolved.phases {
        let takes = |name: &&String| match resolved.services.get(name.as_str()) {
            Some(service) => phase.services.takes(service),
            // A new service that the file does not know yet is not critical.
            None => {
                phase.services == crate::model::Selection::All
                    || phase.services == crate::model::Selection::NonCritical
            }
        };
        let (taken, rest): (Vec<&String>, Vec<&String>) = left.into_iter().partition(takes);
        left = rest;
        let gates = phase
            .gates
            .iter()
            .filter_map(|name| Some((name.to_string(), gates.get(&**name)?.clone())))
            .collect();
        let services = taken.into_iter().cloned().collect();
        phases.push(WantedPhase { name: phase.name.to_string(), services, gates });
    }
    if !left.is_empty() {
        // An environment without phases, and services that no phase takes.
        let services = left.into_iter().cloned().collect();
        phases.push(WantedPhase { name: "release".to_owned(), services, gates: Vec::new() });
    }
    phases
}
