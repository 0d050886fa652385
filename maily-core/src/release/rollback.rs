//! What a rollback wants: recorded states, not today's files.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use indexmap::IndexMap;

use super::{
    deploy::{add_kept, of_release, phases},
    last_good::{last_good, something_there},
    past::Past,
};
use crate::{
    engine::{
        Environment, Goal, Head, Note, OfProvider, Origins, ReleaseId,
        history::Release,
        journal::{JournalError, ReleaseHead},
        patiently,
        planner::{Frontend, Wanted, WantedService},
    },
    model::{Resolved, Source},
    provider::ProviderError,
    source::{partition_note, sort},
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
    let mut past = Past::new(records, head);
    let complete = components.is_none();
    let mut notes = Vec::new();
    let (text, chosen) = match to {
        RollbackTo::Version(version) => {
            let chosen = to_version(&mut past, base, version, components, &mut notes).await?;
            (version.clone(), chosen)
        }
        RollbackTo::LastGood | RollbackTo::Release(_) => {
            let kept = environment.retention.releases;
            let id = match to {
                RollbackTo::Release(id) => *id,
                _ => {
                    let (id, note) = last_good(&mut past, records, head, components, kept).await?;
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
    for (name, id) in &chosen.from {
        let release = past.release(*id).await?.ok_or(RollbackError::UnknownRelease(*id))?;
        let Some(version) = release.head.versions.get(name) else {
            return Err(RollbackError::NotInRelease { component: name.clone(), release: *id });
        };
        insert(&mut services, resolved, &release, name, version);
        origins.insert(name.clone(), origin(&mut past, *id, name).await?);
    }
    let mut shared = Vec::new();
    if complete {
        let release =
            past.release(chosen.shared).await?.ok_or(RollbackError::UnknownRelease(chosen.shared))?;
        shared.extend(shared_of(&release));
        for name in base.head.versions.keys().filter(|name| !chosen.from.contains_key(*name)) {
            origins.insert(name.clone(), origin(&mut past, chosen.shared, name).await?);
        }
    }
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
    } else {
        add_kept(&mut services, Some(base));
    }
    sort(&mut shared);
    let moving = services
        .iter()
        .flat_map(|(name, service)| service.objects.iter().map(move |object| (name, object)))
        .filter(|(_, object)| crate::source::has_moving_image(object))
        .map(|(name, object)| Note {
            topic: "moving-image".to_owned(),
            text: format!(
                "{name}: an image of {} may be another one now than it was then",
                object.key().short()
            ),
        });
    notes.extend(moving);
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
        keep_shared: !complete,
    })
}

/// The releases from which a rollback takes what it brings.
struct Chosen {
    /// Shared objects come from it, where all goes back.
    shared: ReleaseId,
    /// By service.
    from: BTreeMap<String, ReleaseId>,
}

async fn to_release(
    past: &mut Past<'_>,
    id: ReleaseId,
    components: Option<&[String]>,
    kept: u32,
) -> Result<Chosen, RollbackError> {
    let Some(release) = past.release(id).await? else {
        let forgotten = past.ids.first().is_some_and(|first| id < *first);
        return Err(if forgotten {
            RollbackError::Forgotten { release: id, kept }
        } else {
            RollbackError::UnknownRelease(id)
        });
    };
    something_there(&release, components)?;
    let names: Vec<String> = match components {
        Some(names) => names.to_vec(),
        None => release.head.versions.keys().cloned().collect(),
    };
    Ok(Chosen { shared: id, from: names.into_iter().map(|name| (name, id)).collect() })
}

/// The release of a version is, of those in which a component had it, the one with the fewest components at another,
/// the newest of these. Each component takes the newest release in which it had the version.
async fn to_version(
    past: &mut Past<'_>,
    base: &Release,
    version: &String,
    components: Option<&[String]>,
    notes: &mut Vec<Note>,
) -> Result<Chosen, RollbackError> {
    let others = |head: &ReleaseHead| head.versions.values().filter(|had| *had != version).count();
    let has = |head: &ReleaseHead, name: &String| head.versions.get(name) == Some(version);
    let wanted: Vec<String> =
        components.map_or_else(|| base.head.versions.keys().cloned().collect(), <[String]>::to_vec);
    let enough = |heads: &[ReleaseHead]| {
        let whole =
            |head: &ReleaseHead| others(head) == 0 && head.versions.keys().any(|name| has(head, name));
        wanted.iter().all(|name| heads.iter().any(|head| has(head, name)))
            && (components.is_some() || heads.iter().any(whole))
    };
    past.until(enough).await?;
    let fitting = past.newest_first().filter(|head| head.versions.values().any(|had| had == version));
    let missing = |components: Vec<String>, others: Vec<String>| {
        let one = match &*components {
            [one] => Some(one.as_str()),
            _ => None,
        };
        let (version, had) = (version.clone(), past.versions(one));
        if past.is_cut() {
            RollbackError::VersionForgotten { components, version, had, others }
        } else {
            RollbackError::NeverHad { components, version, had }
        }
    };
    let Some(chosen) = fitting.min_by_key(|head| others(head)) else {
        return Err(missing(components.map(<[String]>::to_vec).unwrap_or_default(), Vec::new()));
    };
    let newest = |name: &String| past.newest_first().find(|head| has(head, name)).map(|head| head.id);
    let (there, absent): (Vec<String>, Vec<String>) =
        wanted.into_iter().partition(|name| newest(name).is_some());
    // Whether what is forgotten had the version nobody knows any more.
    if !absent.is_empty() && (components.is_some() || past.is_cut()) {
        return Err(missing(absent, there));
    }
    for name in absent {
        let text = match chosen.versions.get(&name) {
            Some(other) => {
                format!("{name} never had {version}: it gets {other}, as in release {}", chosen.id)
            }
            None => format!("{name} never had {version} and is not in release {}: it goes", chosen.id),
        };
        notes.push(Note { topic: "version".to_owned(), text });
    }
    let mut from = BTreeMap::new();
    if components.is_none() {
        from.extend(chosen.versions.keys().map(|name| (name.clone(), newest(name).unwrap_or(chosen.id))));
    }
    from.extend(there.into_iter().filter_map(|name| newest(&name).map(|id| (name, id))));
    Ok(Chosen { shared: chosen.id, from })
}

async fn origin(past: &mut Past<'_>, id: ReleaseId, name: &str) -> Result<ReleaseId, JournalError> {
    Ok(past.origins(id).await?.get(name).copied().unwrap_or(ReleaseId(0)))
}

fn shared_of(release: &Release) -> impl Iterator<Item = crate::object::Object> + '_ {
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
        service.needs = known.needs.iter().map(ToString::to_string).collect();
        service.timeout_s = known.timeout.map_or(0, |timeout| timeout.0);
        if let Source::Frontend { project, domain } = &known.source {
            let existing = release.head.frontends.get(name).cloned();
            service.frontend = Some(Frontend { project: project.clone(), domain: domain.clone(), existing });
        }
    }
    services.insert(name.to_owned(), service);
}
