//! From which releases on record a rollback takes what it brings.

use std::collections::BTreeMap;

use super::{last_good::something_there, past::Past, rollback::RollbackError};
use crate::engine::{
    Note, ReleaseId,
    history::Release,
    journal::{JournalError, ReleaseHead},
};

/// The releases from which a rollback takes what it brings.
pub(super) struct Chosen {
    /// Shared objects come from it, where all goes back.
    pub(super) shared: ReleaseId,
    /// By service.
    pub(super) from: BTreeMap<String, ReleaseId>,
    /// A word on each service that never had the version that is asked for.
    pub(super) never_had: BTreeMap<String, Note>,
}

pub(super) async fn to_release(
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
    let from = names.into_iter().map(|name| (name, id)).collect();
    Ok(Chosen { shared: id, from, never_had: BTreeMap::new() })
}

/// The release of a version is, of those in which a component had it, the one with the fewest components at another,
/// the newest of these. Each component takes the newest release in which it had the version.
pub(super) async fn to_version(
    past: &mut Past<'_>,
    base: &Release,
    version: &String,
    components: Option<&[String]>,
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
    let mut never_had = BTreeMap::new();
    for name in absent {
        let text = match chosen.versions.get(&name) {
            Some(other) => {
                format!("{name} never had {version}: it gets {other}, as in release {}", chosen.id)
            }
            None => format!("{name} never had {version} and is not in release {}: it goes", chosen.id),
        };
        never_had.insert(name, Note { topic: "version".to_owned(), text });
    }
    let mut from = BTreeMap::new();
    if components.is_none() {
        from.extend(chosen.versions.keys().map(|name| (name.clone(), newest(name).unwrap_or(chosen.id))));
    }
    from.extend(there.into_iter().filter_map(|name| newest(&name).map(|id| (name, id))));
    Ok(Chosen { shared: chosen.id, from, never_had })
}

pub(super) async fn origin(
    past: &mut Past<'_>,
    id: ReleaseId,
    name: &str,
) -> Result<ReleaseId, JournalError> {
    Ok(past.origins(id).await?.get(name).copied().unwrap_or(ReleaseId(0)))
}
