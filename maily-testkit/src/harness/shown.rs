//! What the frontend host has and shows, held against what the runs and the release say.

use std::collections::BTreeMap;

use maily_core::{
    engine::Head,
    model::{Resolved, Source},
    provider::Production,
};

use super::{host::project_in, witness::Witness};
use crate::world::World;

/// Frontend services of an environment: name, project at the host, domain.
fn frontends(resolved: &Resolved) -> impl Iterator<Item = (&str, String, Option<&str>)> {
    resolved.services.iter().filter_map(move |(name, service)| match &service.source {
        Source::Frontend { project, domain } => {
            Some((&**name, project_in(&resolved.environment.name, project), domain.as_deref()))
        }
        _ => None,
    })
}

/// Frontends whose domain does not show a version.
pub(super) fn other_versions(world: &World, resolved: &Resolved, version: &str) -> Vec<String> {
    let told = |name: &str, production: Production| match (&production.shown, &production.coming) {
        (Some(shown), None) if shown.version == version => None,
        (shown, coming) => {
            let shown = shown.as_ref().map_or("nothing", |shown| shown.version.as_str());
            Some(format!("the domain of {name} shows {shown}, coming is {coming:?}"))
        }
    };
    frontends(resolved)
        .filter_map(|(name, project, domain)| told(name, world.frontend_production(&project, domain)))
        .collect()
}

/// At the end: the invariant that is broken, and how. A step has made one deployment at most, none where its run was
/// taken back, and each domain shows the one that the release in force has on record.
pub(super) fn broken(
    world: &World,
    resolved: &Resolved,
    head: &Head,
    witness: &Witness,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let recorded = head.frontends();
    for (name, project, domain) in frontends(resolved) {
        let mut made: BTreeMap<(String, String), usize> = BTreeMap::new();
        for deployment in world.frontend_deployments(&project) {
            let tag = |name: &str| deployment.tags.get(name).cloned().unwrap_or_default();
            *made.entry((tag("maily-run"), tag("maily-step"))).or_default() += 1;
        }
        for ((run, step), count) in made {
            // What was there before the simulation began is nobody's.
            let allowed = usize::from(witness.has_succeeded(&run).unwrap_or(true));
            if count > allowed {
                found.push(("I9", format!("{step} of run {run} leaves {count} deployments, not {allowed}")));
            }
        }
        let shown = world.frontend_production(&project, domain).shown.map(|shown| shown.id);
        if shown.as_ref() != recorded.get(name) {
            found.push(("I1", format!("{name} shows {shown:?}, on record is {:?}", recorded.get(name))));
        }
    }
    found
}
