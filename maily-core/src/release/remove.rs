//! What a removal wants.

use indexmap::IndexMap;

use super::deploy::{add_kept, of_release};
use crate::{
    engine::{
        EnvironmentError, Goal, Note,
        history::{Release, Released},
        journal::JournalError,
        planner::{Wanted, WantedService, holds_data, is_to_be_kept},
    },
    model::{Resolved, Source},
    object::ObjectKey,
};

/// Why services cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The host of a frontend shows it until somebody changes that there.
    #[error("`{name}` is a frontend: its host keeps serving {version} at {}", place(domain.as_ref()))]
    Frontend {
        /// The service.
        name: String,
        /// Its version.
        version: String,
        /// Its domain, where the project file tells it.
        domain: Option<String>,
        /// The host's project, where the project file tells it.
        project: Option<String>,
    },
}

impl RemoveError {
    /// A frontend that the project file does not tell of.
    pub(super) fn frontend(name: &str, version: String) -> Self {
        Self::Frontend { name: name.to_owned(), version, domain: None, project: None }
    }
}

/// Leaves frontends of the release in force in it that the file, or the release that comes back, has not: their host shows
/// them on, whatever a release says. Answers each with a word on it.
pub(super) fn keep_frontends(
    services: &mut IndexMap<String, WantedService>,
    resolved: &Resolved,
    base: Option<&Release>,
) -> Vec<(String, Note)> {
    let Some(base) = base else { return Vec::new() };
    let mut notes = Vec::new();
    // Under another name it is no other frontend.
    let is_called = |now: &String, name: &String| {
        let known = resolved.services.get(now.as_str());
        now == name || known.is_some_and(|known| known.aliases.contains(name))
    };
    let left = |name: &&String| was_frontend(base, name) && !services.keys().any(|now| is_called(now, name));
    let left: Vec<&String> = base.head.frontends.keys().filter(left).collect();
    for name in left {
        let Some(version) = base.head.versions.get(name) else { continue };
        services.insert(name.clone(), of_release(base, name, version));
        notes.push((name.clone(), stays(name, version, None)));
    }
    notes
}

/// Whether the file has a frontend of this name.
pub(super) fn is_frontend(resolved: &Resolved, name: &str) -> bool {
    let described = resolved.services.get(name).map(|service| &service.source);
    matches!(described, Some(Source::Frontend { .. }))
}

/// Whether a release has a frontend of this name. A service that has become another kind has objects.
pub(super) fn was_frontend(release: &Release, name: &str) -> bool {
    let is_of = |object: &Released| object.service.as_deref() == Some(name);
    release.head.frontends.contains_key(name) && !release.objects.values().any(is_of)
}

fn stays(name: &str, version: &str, domain: Option<&String>) -> Note {
    let place = place(domain);
    let text = format!(
        "{name} keeps serving {version} at {place}: it stays in the release until its host takes it away"
    );
    Note { topic: "frontend".to_owned(), text }
}

fn place(domain: Option<&String>) -> &str {
    domain.map_or("its domain", String::as_str)
}

/// What the removal of services wants, of all where none are named: the release without them. Frontends stay in it, with
/// a note, because their host keeps serving them.
///
/// # Errors
/// When a frontend is named.
pub fn remove(resolved: &Resolved, base: &Release, names: Option<&[String]>) -> Result<Wanted, RemoveError> {
    let mut notes = Vec::new();
    let mut gone = Vec::new();
    for (name, version) in &base.head.versions {
        if names.is_some_and(|names| !names.contains(name)) {
            continue;
        }
        let host = match resolved.services.get(name.as_str()).map(|service| &service.source) {
            Some(Source::Frontend { project, domain }) => Some((Some(project.clone()), domain.clone())),
            _ => was_frontend(base, name).then_some((None, None)),
        };
        match host {
            None => gone.push(name.clone()),
            Some((project, domain)) if names.is_some() => {
                let (name, version) = (name.clone(), version.clone());
                return Err(RemoveError::Frontend { name, version, domain, project });
            }
            Some((_, domain)) => notes.push(stays(name, version, domain.as_ref())),
        }
    }
    let of_file: Vec<&str> =
        gone.iter().map(String::as_str).filter(|name| resolved.services.contains_key(*name)).collect();
    if !of_file.is_empty() {
        let it = if of_file.len() == 1 { "it" } else { "them" };
        let text =
            format!("the project file still has {}: the next deploy brings {it} back", of_file.join(", "));
        notes.push(Note { topic: "still-there".to_owned(), text });
    }
    let mut services = IndexMap::new();
    add_kept(&mut services, Some(base));
    services.retain(|name, _| !gone.contains(name));
    // Then nobody is left who could share anything.
    let all = services.values().all(|service| service.objects.is_empty());
    Ok(Wanted {
        project: resolved.project.name.to_string(),
        environment: resolved.environment.name.to_string(),
        namespace: resolved.environment.namespace.clone(),
        goal: Goal::Remove { only: names.map(<[String]>::to_vec) },
        services,
        shared: Vec::new(),
        phases: Vec::new(),
        notes,
        prune: gone.into_iter().collect(),
        prune_shared: all,
        left_out: Vec::new(),
    })
}

/// Notes on what a removal takes that stood in the cluster before: `found` is release 0, what the first run took over.
/// Where that is lost nobody can name it, and the removal says so.
///
/// # Errors
/// When it could not be read for now.
pub fn note_found(
    wanted: &mut Wanted,
    base: &Release,
    found: Result<Option<Release>, EnvironmentError>,
) -> Result<(), EnvironmentError> {
    let goes = |service: &Option<String>| match service {
        Some(service) => wanted.prune.contains(service),
        None => wanted.prune_shared,
    };
    let going: Vec<&ObjectKey> =
        base.objects.iter().filter(|(_, object)| goes(&object.service)).map(|(key, _)| key).collect();
    let lost = match found {
        Ok(Some(found)) => {
            let stays = |key: &ObjectKey| holds_data(key) || is_to_be_kept(&base.objects[key].desired);
            let theirs = going.iter().filter(|key| found.objects.contains_key(**key) && !stays(key));
            let theirs: Vec<String> = theirs.map(|key| key.short()).collect();
            if !theirs.is_empty() {
                let text = format!(
                    "taken over from before the first release, and deleted like all else: {}",
                    theirs.join(", ")
                );
                wanted.notes.push(Note { topic: "adopted".to_owned(), text });
            }
            return Ok(());
        }
        Ok(None) => "is not on record any more".to_owned(),
        Err(EnvironmentError::Journal(
            error @ (JournalError::Damaged { .. } | JournalError::Newer { .. }),
        )) => format!("cannot be read ({error})"),
        Err(error) => return Err(error),
    };
    if !going.is_empty() {
        let text = format!(
            "what stood here before the first release {lost}: what of it is in this release is deleted like all else"
        );
        wanted.notes.push(Note { topic: "adopted".to_owned(), text });
    }
    Ok(())
}
