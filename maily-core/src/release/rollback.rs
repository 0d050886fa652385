//! What a rollback wants: recorded states, not today's files.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::FutureExt as _;
use indexmap::IndexMap;

use super::{
    deploy::{add_kept, of_release, phases},
    last_good::{last_good, something_there},
};
use crate::{
    engine::{
        Environment, Goal, Head, Note, OfProvider, ReleaseId, RunId,
        history::{self, Release},
        journal::{JournalError, ReleaseHead},
        patiently,
        planner::{Frontend, Wanted, WantedService},
    },
    model::{Resolved, Source},
    provider::{ProviderError, RecordStore},
    source::{partition_note, sort},
};

/// Where to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollbackTo {
    /// For each component the newest release in which it had this version.
    Version(String),
    /// The release before the one in force; or the one in force, after a deploy that failed on top of it.
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
    /// A component never had the version.
    #[error("version {version} was never in this environment{}", component.as_ref().map(|name| format!(" for `{name}`")).unwrap_or_default())]
    NeverHad {
        /// The component; none: no one of them all.
        component: Option<String>,
        /// The version.
        version: String,
        /// Versions that it had.
        had: Vec<String>,
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
    let read = || wanted(&*environment.records, resolved, head, base, to, components).boxed();
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
    records: &dyn RecordStore,
    resolved: &Resolved,
    head: &Head,
    base: Option<&Release>,
    to: &RollbackTo,
    components: Option<&[String]>,
) -> Result<Wanted, RollbackError> {
    let base = base.ok_or(RollbackError::NoRelease)?;
    let mut history = History { records, head, heads: BTreeMap::new(), whole: BTreeMap::new() };
    let all: Vec<String> = base.head.versions.keys().cloned().collect();
    let mut services = IndexMap::new();
    let mut shared = Vec::new();
    let complete = components.is_none();
    let mut notes = Vec::new();
    let (text, source) = match to {
        RollbackTo::Version(version) => {
            let newest = history.newest(|release| release.versions.values().any(|v| v == version)).await?;
            let Some(newest) = newest else {
                let had = history.versions(None).await?;
                return Err(RollbackError::NeverHad { component: None, version: version.clone(), had });
            };
            let names: Vec<String> = match components {
                Some(names) => names.to_vec(),
                None => newest.head.versions.keys().cloned().collect(),
            };
            for name in names {
                let had = |release: &ReleaseHead| release.versions.get(&name) == Some(version);
                match history.newest(had).await? {
                    Some(release) => insert(&mut services, resolved, &release, &name, version),
                    // In a release of mixed versions others keep what they had then.
                    None if complete => {
                        let other = newest.head.versions[&name].clone();
                        insert(&mut services, resolved, &newest, &name, &other);
                    }
                    None => {
                        let had = history.versions(Some(&name)).await?;
                        return Err(RollbackError::NeverHad {
                            component: Some(name),
                            version: version.clone(),
                            had,
                        });
                    }
                }
            }
            shared.extend(shared_of(&newest));
            (version.clone(), newest.head.id)
        }
        RollbackTo::LastGood | RollbackTo::Release(_) => {
            let id = match to {
                RollbackTo::Release(id) => *id,
                _ => {
                    let (id, note) = last_good(records, head, components).await?;
                    notes.extend(note);
                    id
                }
            };
            let release = history.release(id).await?.ok_or(RollbackError::UnknownRelease(id))?;
            something_there(&release, components)?;
            let names: Vec<String> = match components {
                Some(names) => names.to_vec(),
                None => release.head.versions.keys().cloned().collect(),
            };
            for name in names {
                let Some(version) = release.head.versions.get(&name).cloned() else {
                    return Err(RollbackError::NotInRelease { component: name, release: id });
                };
                insert(&mut services, resolved, &release, &name, &version);
            }
            shared.extend(shared_of(&release));
            let text = if id == ReleaseId(0) { "what was found".to_owned() } else { format!("release {id}") };
            (text, id)
        }
    };
    notes.extend(services.values().flat_map(|service| &service.objects).filter_map(partition_note));
    let mut prune: BTreeSet<String> = services.keys().cloned().collect();
    let phases = phases(resolved, &services, &BTreeMap::new());
    if complete {
        prune.extend(all);
        prune.extend(base.objects.values().filter_map(|object| object.service.clone()));
        // A release of nothing but what was found has services without objects.
        services.retain(|_, service: &mut WantedService| {
            !service.objects.is_empty() || service.frontend.is_some()
        });
    } else {
        add_kept(&mut services, Some(base));
        shared.clear();
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
        goal: Goal::Rollback { to: text, release: complete.then_some(source) },
        services,
        shared,
        phases,
        notes,
        prune,
        prune_shared: complete,
        keep_shared: !complete,
    })
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

/// Releases, each read once: which one is wanted their short forms say.
struct History<'a> {
    records: &'a dyn RecordStore,
    head: &'a Head,
    heads: BTreeMap<ReleaseId, (RunId, ReleaseHead)>,
    whole: BTreeMap<ReleaseId, Arc<Release>>,
}

impl History<'_> {
    async fn release(&mut self, id: ReleaseId) -> Result<Option<Arc<Release>>, JournalError> {
        if let Some(release) = self.whole.get(&id) {
            return Ok(Some(Arc::clone(release)));
        }
        let release = match self.heads.get(&id).cloned() {
            Some((run, head)) => history::with_objects(self.records, run, head).await?,
            None => history::release(self.records, id).await?,
        };
        let release = release.map(Arc::new);
        if let Some(release) = &release {
            self.whole.insert(id, Arc::clone(release));
        }
        Ok(release)
    }

    async fn head_of(&mut self, id: ReleaseId) -> Result<Option<&ReleaseHead>, JournalError> {
        if !self.heads.contains_key(&id)
            && let Some(read) = history::release_head(self.records, id).await?
        {
            self.heads.insert(id, read);
        }
        Ok(self.heads.get(&id).map(|(_, head)| head))
    }

    async fn newest(
        &mut self,
        fits: impl Fn(&ReleaseHead) -> bool,
    ) -> Result<Option<Arc<Release>>, JournalError> {
        for id in self.head.releases.iter().rev() {
            if self.head_of(*id).await?.is_some_and(&fits)
                && let Some(release) = self.release(*id).await?
            {
                return Ok(Some(release));
            }
        }
        Ok(None)
    }

    async fn versions(&mut self, component: Option<&str>) -> Result<Vec<String>, JournalError> {
        let mut versions = BTreeSet::new();
        for id in &self.head.releases {
            if let Some(release) = self.head_of(*id).await? {
                let had =
                    release.versions.iter().filter(|(name, _)| component.is_none_or(|c| c == name.as_str()));
                versions.extend(had.map(|(_, version)| version.clone()));
            }
        }
        Ok(versions.into_iter().collect())
    }
}
