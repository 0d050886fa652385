//! What a rollback wants: recorded states, not today's files.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use indexmap::IndexMap;

use super::{
    chosen::{origin, to_release, to_version},
    claims::{give_way, settle, take_shared},
    deploy::{add_kept, of_release, phases, share_with},
    images::in_words,
    last_good::last_good,
    past::Past,
    remove::{RemoveError, is_frontend, keep_frontends, was_frontend},
};
use crate::{
    engine::{
        Environment, Goal, Head, Note, OfProvider, Origins, ReleaseId,
        history::{self, Release},
        journal::{JournalError, ReleaseHead},
        patiently,
        planner::{Frontend, Wanted, WantedService},
    },
    model::{Resolved, Source},
    object::Object,
    provider::ProviderError,
    source::{moving_images, partition_note, sort},
};

/// Where to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollbackTo {
    /// The release of this version, and for each component the newest release in which it had it.
    Version(String),
    /// The newest release before the one in force that differs from it and that no rollback has left; or the one in
    /// force, after a deploy that failed on top of it.
    LastGood,
    /// This one.
    Release(ReleaseId),
}

/// Why there is no way back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// Nothing was released yet.
    #[error("nothing was released to this environment yet")]
    NoRelease,
    /// No such release.
    #[error("there is no release {0} on record")]
    UnknownRelease(ReleaseId),
    /// There was such a release.
    #[error("release {release} is no longer on record ({})", keeps(*kept))]
    Forgotten {
        /// The release.
        release: ReleaseId,
        /// So many releases the project keeps.
        kept: u32,
    },
    /// All good releases before the one in force were forgotten.
    #[error("an earlier good release is no longer on record ({})", keeps(*kept))]
    NoneOnRecord {
        /// So many releases the project keeps.
        kept: u32,
    },
    /// Components never had the version.
    #[error("version {version} was never in this environment{}", of(" for ", components))]
    NeverHad {
        /// The components; none: no one of them all.
        components: Vec<String>,
        /// The version.
        version: String,
        /// Versions that it had.
        had: Vec<String>,
    },
    /// No release on record has the version for these components, and there were others.
    #[error(
        "version {version}{} is in no release on record; older ones are forgotten",
        of(" of ", components)
    )]
    VersionForgotten {
        /// The components; none: no one of them all.
        components: Vec<String>,
        /// The version.
        version: String,
        /// Versions that are on record.
        had: Vec<String>,
        /// Components that can be brought there.
        others: Vec<String>,
    },
    /// A component is not in the release.
    #[error("release {release} has no component `{component}`")]
    NotInRelease {
        /// The component.
        component: String,
        /// The release.
        release: ReleaseId,
    },
    /// Nothing was there before release 1: going back would take everything out.
    #[error("nothing was there before release 1{}: going back would remove {}", component.as_ref().map(|name| format!(" of `{name}`")).unwrap_or_default(), if component.is_some() { "it" } else { "the application" })]
    NothingBefore {
        /// The component; none: all of them.
        component: Option<String>,
    },
    /// Its host shows what it shows, and the project file does not say where.
    #[error(transparent)]
    Frontend(#[from] RemoveError),
    /// The records failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

fn keeps(releases: u32) -> String {
    format!("the project keeps {releases} release{}", if releases == 1 { "" } else { "s" })
}

fn of(word: &str, components: &[String]) -> String {
    if components.is_empty() { String::new() } else { format!("{word}`{}`", components.join("`, `")) }
}

/// What a rollback wants. `components` are all where none are named.
///
/// # Errors
/// When the wanted state is not on record.
pub async fn rollback(
    environment: &Environment,
    resolved: &Resolved,
    head: &Head,
    base: Option<&Release>,
    to: &RollbackTo,
    components: Option<&[String]>,
) -> Result<Wanted, RollbackError> {
    let read = || wanted(environment, resolved, head, base, to, components).boxed();
    patiently(&*environment.runtime, read).await
}

impl OfProvider for RollbackError {
    fn of_provider(&self) -> Option<&ProviderError> {
        match self {
            Self::Journal(error) => error.of_provider(),
            _ => None,
        }
    }
}

async fn wanted(
    environment: &Environment,
    resolved: &Resolved,
    head: &Head,
    base: Option<&Release>,
    to: &RollbackTo,
    components: Option<&[String]>,
) -> Result<Wanted, RollbackError> {
    let base = base.ok_or(RollbackError::NoRelease)?;
    let records = &*environment.records;
    let in_force = head.release.as_ref().map(|(_, release)| release.id);
    let (releases, _) = history::restore_releases(records, in_force).await?;
    let head = &Head { releases, ..head.clone() };
    let mut past = Past::new(records, head);
    let complete = components.is_none();
    let mut notes = Vec::new();
    let (text, mut chosen) = match to {
        RollbackTo::Version(version) => {
            let chosen = to_version(&mut past, base, version, components).await?;
            (version.clone(), chosen)
        }
        RollbackTo::LastGood | RollbackTo::Release(_) => {
            let kept = environment.retention.releases;
            let id = match to {
                RollbackTo::Release(id) => *id,
                _ => {
                    let (id, note) = last_good(&mut past, environment, head, components).await?;
                    notes.extend(note);
                    id
                }
            };
            let text = if id == ReleaseId(0) { "what was found".to_owned() } else { format!("release {id}") };
            (text, to_release(&mut past, id, components, kept).await?)
        }
    };
    let mut origins = Origins::new();
    let mut services = IndexMap::new();
    // Frontends that the file has no more.
    let mut unknown = BTreeSet::new();
    for (name, id) in &chosen.from {
        let release = past.release(*id).await?.ok_or(RollbackError::UnknownRelease(*id))?;
        let Some(version) = release.head.versions.get(name) else {
            return Err(RollbackError::NotInRelease { component: name.clone(), release: *id });
        };
        if (was_frontend(base, name) || was_frontend(&release, name)) && !is_frontend(resolved, name) {
            unknown.insert(name.clone());
            if !complete {
                let version = base.head.versions.get(name).unwrap_or(version).clone();
                return Err(RemoveError::frontend(name, version).into());
            }
            continue;
        }
        let is_shown = base.head.frontends.contains_key(name) && is_frontend(resolved, name);
        if let Some(shown) = base.head.versions.get(name).filter(|_| is_shown)
            && !release.head.frontends.contains_key(name)
        {
            let text =
                format!("the domain of {name} goes on showing {shown}: release {id} has no deployment of it");
            notes.push(Note { topic: "frontend".to_owned(), text });
        }
        insert(&mut services, resolved, &release, name, version);
        origins.insert(name.clone(), origin(&mut past, *id, name).await?);
    }
    chosen.from.retain(|name, _| !unknown.contains(name));
    notes.extend(unchecked(resolved, base, &services));
    let (mut shared, mut left_out) = (Vec::new(), Vec::new());
    if complete {
        let release =
            past.release(chosen.shared).await?.ok_or(RollbackError::UnknownRelease(chosen.shared))?;
        shared.extend(shared_of(&release));
        // That a service is gone is a state, too.
        let known: BTreeSet<&String> = base.head.versions.keys().chain(base.head.origins.keys()).collect();
        for name in known.into_iter().filter(|name| !chosen.from.contains_key(*name)) {
            origins.insert(name.clone(), origin(&mut past, chosen.shared, name).await?);
        }
    } else {
        left_out = take_shared(&mut services, Some(base));
        for id in chosen.from.values().collect::<BTreeSet<_>>() {
            left_out.extend(past.release(*id).await?.iter().flat_map(|release| shared_of(release)));
        }
        let own: BTreeSet<_> = services
            .values()
            .flat_map(|service| &service.objects)
            .map(|object| object.key().clone())
            .collect();
        left_out.retain(|object| !own.contains(object.key()));
    }
    notes.extend(settle(&mut services, &chosen.from, &shared));
    let objects = services.values_mut().flat_map(|service| &mut service.objects);
    share_with(Some(base), objects.chain(&mut shared));
    notes.extend(services.values().flat_map(|service| &service.objects).filter_map(partition_note));
    let mut prune: BTreeSet<String> = services.keys().cloned().collect();
    let phases = phases(resolved, &services, &BTreeMap::new());
    if complete {
        prune.extend(base.head.versions.keys().cloned());
        prune.extend(base.objects.values().filter_map(|object| object.service.clone()));
        // A release of nothing but what was found has services without objects.
        services.retain(|_, service: &mut WantedService| {
            !service.objects.is_empty() || service.frontend.is_some()
        });
        for (name, note) in keep_frontends(&mut services, resolved, Some(base)) {
            notes.push(note);
            // What stays is as it was, and comes from no release.
            chosen.never_had.remove(&name);
            match base.head.origins.get(&name) {
                Some(before) => origins.insert(name, *before),
                None => origins.remove(&name),
            };
        }
    } else {
        let part = services.keys().cloned().collect();
        add_kept(&mut services, Some(base));
        notes.extend(give_way(&mut services, &part, &[]));
    }
    notes.extend(std::mem::take(&mut chosen.never_had).into_values());
    sort(&mut shared);
    for (name, service) in &services {
        let Some(id) = chosen.from.get(name) else { continue };
        let Some(release) = past.release(*id).await? else { continue };
        notes.extend(service.objects.iter().flat_map(|object| moving(name, object, &release.head)));
    }
    Ok(Wanted {
        project: resolved.project.name.to_string(),
        environment: resolved.environment.name.to_string(),
        namespace: resolved.environment.namespace.clone(),
        goal: Goal::Rollback {
            to: text,
            release: complete.then_some(chosen.shared),
            origins,
            only: components.map(<[String]>::to_vec),
        },
        services,
        shared,
        phases,
        notes,
        prune,
        prune_shared: complete,
        left_out,
    })
}

/// A word on each image of an object that may be another one now than it was in the release that comes back.
fn moving<'a>(name: &'a str, object: &'a Object, then: &'a ReleaseHead) -> impl Iterator<Item = Note> + 'a {
    let known = then.images.get(&object.key().to_string());
    moving_images(object).into_iter().map(move |image| {
        let was = known.and_then(|known| known.get(&image)).map_or_else(
            || "its digest of then is not on record".to_owned(),
            |digests| format!("in release {} it was {}", then.id, in_words(digests)),
        );
        let of = object.key().short();
        let text = format!("{name}: image {image} of {of} may be another one now than it was then: {was}");
        Note { topic: "moving-image".to_owned(), text }
    })
}

/// A word on checks and gates, which a way back does not run: those of today's file are made for today's version, and
/// one that fails would take the way back itself back.
fn unchecked(
    resolved: &Resolved,
    base: &Release,
    services: &IndexMap<String, WantedService>,
) -> Option<Note> {
    let moves = |name: &str, service: &WantedService| {
        let as_before = |object: &Object| {
            let known = base.objects.get(object.key());
            known.is_some_and(|known| known.service.as_deref() == Some(name) && known.desired == *object)
        };
        base.head.versions.get(name) != Some(&service.version) || !service.objects.iter().all(as_before)
    };
    let moving: Vec<&str> = services
        .iter()
        .filter(|(name, service)| moves(name, service))
        .map(|(name, _)| name.as_str())
        .collect();
    let checked = |name: &&str| resolved.services.get(*name).is_some_and(|known| !known.checks.is_empty());
    let checks: Vec<&str> = moving.iter().copied().filter(checked).collect();
    let gates: BTreeSet<String> = resolved
        .phases
        .iter()
        .filter(|phase| {
            let taken = |name: &&str| resolved.services.get(*name).is_some_and(|s| phase.services.takes(s));
            moving.iter().any(taken)
        })
        .flat_map(|phase| phase.gates.iter().map(ToString::to_string))
        .collect();
    let mut left = Vec::new();
    if !checks.is_empty() {
        left.push(format!("checks of {}", checks.join(", ")));
    }
    if !gates.is_empty() {
        let gates: Vec<String> = gates.into_iter().collect();
        left.push(format!("gate{} {}", if gates.len() == 1 { "" } else { "s" }, gates.join(", ")));
    }
    let text = format!("not run on a way back: {}", left.join("; "));
    (!left.is_empty()).then(|| Note { topic: "checks".to_owned(), text })
}

fn shared_of(release: &Release) -> impl Iterator<Item = Object> + '_ {
    release.objects.values().filter(|object| object.service.is_none()).map(|object| object.desired.clone())
}

fn insert(
    services: &mut IndexMap<String, WantedService>,
    resolved: &Resolved,
    release: &Release,
    name: &str,
    version: &str,
) {
    let mut service = of_release(release, name, version);
    if let Some(known) = resolved.services.get(name) {
        service.needs = resolved.needs(known);
        service.timeout_s = known.timeout.map(|timeout| timeout.0);
        if let Source::Frontend { project, domain } = &known.source {
            // Where it was none then, nothing is built now.
            let existing = release.head.frontends.get(name).cloned();
            service.frontend = existing.map(|existing| Frontend {
                project: project.clone(),
                domain: domain.clone(),
                existing: Some(existing),
            });
        }
    }
    services.insert(name.to_owned(), service);
}
