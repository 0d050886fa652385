//! Kinds that a service defines: their definition goes before their objects, whichever service has these.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    change::Observed,
    needs::{behind, needs_of},
    problem::{NeedPlace, PlanProblem},
    wanted::Wanted,
};
use crate::{
    engine::history::Release,
    object::{Object, ObjectKey},
};

/// Which services are written after others because these define kinds of their objects.
#[derive(Debug, Default)]
pub(super) struct Defined<'a> {
    /// By the service with the objects and the one with the definition: the first such object.
    after: BTreeMap<&'a str, BTreeMap<&'a str, &'a ObjectKey>>,
    /// Those of which the cluster has no definition yet.
    open: BTreeSet<(&'a str, &'a str)>,
    /// Shared objects, which come before every service, and the service that has still to define their kind.
    shared: Vec<(&'a ObjectKey, &'a str)>,
}

/// A definition that a service brings.
struct Definition<'a> {
    service: &'a str,
    key: &'a ObjectKey,
    changes: bool,
}

impl<'a> Defined<'a> {
    pub(super) fn new(wanted: &'a Wanted, observed: &Observed, base: Option<&Release>) -> Self {
        let definitions = definitions(wanted, base);
        let mut defined = Self::default();
        for object in &wanted.shared {
            let kind = &object.key().kind;
            let definition = definitions.get(&(kind.group(), kind.kind.as_str()));
            let open = definition.filter(|definition| !observed.objects.contains_key(definition.key));
            defined.shared.extend(open.map(|definition| (object.key(), definition.service)));
        }
        // What the cluster knows already hinders nobody, and so it gives way to needs.
        for is_open in [true, false] {
            for (name, service) in wanted.services.iter().filter(|_| !definitions.is_empty()) {
                for object in &service.objects {
                    let kind = &object.key().kind;
                    let Some(definition) = definitions.get(&(kind.group(), kind.kind.as_str())) else {
                        continue;
                    };
                    let absent = !observed.objects.contains_key(definition.key);
                    let by = definition.service;
                    let is_meant = by != name.as_str() && (absent || definition.changes) && absent == is_open;
                    if !is_meant || !is_open && defined.is_behind(wanted, by, name) {
                        continue;
                    }
                    defined.after.entry(name).or_default().entry(by).or_insert(object.key());
                    if is_open {
                        defined.open.insert((name, by));
                    }
                }
            }
        }
        defined
    }

    /// The services that define kinds of this one's objects.
    pub(super) fn before(&self, service: &str) -> impl Iterator<Item = &'a str> {
        self.after.get(service).into_iter().flat_map(|by| by.keys().copied())
    }

    /// The object of a service because of which it comes after another one.
    pub(super) fn because_of(&self, service: &str, by: &str) -> Option<&'a ObjectKey> {
        self.after.get(service)?.get(by).copied()
    }

    /// Whether a service comes after another one, by its needs or by what it defines.
    fn is_behind(&self, wanted: &'a Wanted, service: &'a str, other: &str) -> bool {
        behind(service, |name| needs_of(wanted, name).chain(self.before(name))).contains(other)
    }

    /// Objects whose kind nothing will have defined when it is their turn.
    pub(super) fn problems(&self, wanted: &Wanted) -> Vec<PlanProblem> {
        let phase =
            |name: &str| wanted.phases.iter().position(|phase| phase.services.iter().any(|has| has == name));
        let late = self.open.iter().filter_map(|(service, by)| {
            let place = match (phase(service)?, phase(by)) {
                (own, Some(other)) if other <= own => return None,
                (_, Some(_)) => NeedPlace::Later,
                (_, None) => NeedPlace::Outside,
            };
            let key = self.because_of(service, by)?.clone();
            Some(PlanProblem::Undefined { key, by: (*by).to_owned(), place })
        });
        let shared = self.shared.iter().map(|(key, by)| PlanProblem::Undefined {
            key: (*key).clone(),
            by: (*by).to_owned(),
            place: NeedPlace::Later,
        });
        late.chain(shared).collect()
    }
}

/// The definitions in all services, by the group and the name of their kinds.
fn definitions<'a>(
    wanted: &'a Wanted,
    base: Option<&Release>,
) -> BTreeMap<(&'a str, &'a str), Definition<'a>> {
    let definition = |service: &'a str, object: &'a Object| {
        let kind = object.defines()?;
        let key = object.key();
        let released = base.and_then(|base| base.objects.get(key));
        let changes = released.is_none_or(|released| released.desired.body() != object.body());
        Some((kind, Definition { service, key, changes }))
    };
    let services = wanted.services.iter();
    let objects = services
        .flat_map(|(name, service)| service.objects.iter().map(move |object| (name.as_str(), object)));
    objects.filter_map(|(service, object)| definition(service, object)).collect()
}
