//! Whether what a run has brought is still there when it ends: most of it no watch tells of.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use super::context::Context;
use crate::{
    object::{ObjectKey, ObjectKind, by_kind},
    provider::{LIST_FROM, ListQuery, ProviderError},
    run::{ENVIRONMENT, Failure, PROJECT, Plan, StepId, Work},
};

/// What a run has brought, by which step, and under which uid, as far as that is known.
pub(crate) type Brought = BTreeMap<ObjectKey, (StepId, Option<String>)>;

/// The first object of what was brought that somebody has taken away since, or made anew.
///
/// # Errors
/// When something cannot be read.
pub(crate) async fn missing(
    context: &Context,
    brought: &Brought,
) -> Result<Option<(StepId, Failure)>, ProviderError> {
    let doubtful = by_kind(brought.keys())
        .into_iter()
        .map(|((kind, namespace), keys)| doubtful(context, brought, kind, namespace, keys));
    for key in try_join_all(doubtful).await?.into_iter().flatten() {
        // What one look does not show, a look at it alone decides.
        let live = context.providers.cluster.get(key).await?;
        let (step, uid) = &brought[key];
        let (cause, message) = match live {
            None => ("gone", format!("{key} was deleted while the run was at work")),
            Some(live) if is_another(uid.as_deref(), live.uid()) => {
                ("replaced", format!("{key} was deleted and made again while the run was at work"))
            }
            Some(_) => continue,
        };
        let failure = Failure::new(cause, message).with_object(key.to_string());
        return Ok(Some((step.clone(), failure.with_hint("find out who deleted it"))));
    }
    Ok(None)
}

fn is_another(written: Option<&str>, live: Option<&str>) -> bool {
    written.is_some_and(|uid| live != Some(uid))
}

/// What a plan has brought or left as it was in the services that it is about. Jobs and pods may be cleared away once
/// they are done.
pub(crate) fn brought(context: &Context, plan: &Plan) -> Brought {
    let lasting = |key: &ObjectKey| !matches!(key.kind.kind.as_str(), "Job" | "Pod");
    let mut brought = Brought::new();
    let mut services: BTreeMap<&str, &StepId> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| !matches!(step.work, Work::Job { .. })) {
        let changes = step.work.changes();
        if let (Some(service), false) = (&step.service, changes.is_empty()) {
            services.entry(service).or_insert(&step.id);
        }
        for change in changes.iter().filter(|change| lasting(&change.key)) {
            if change.desired.is_some() {
                let uid = context.written(&step.id, &change.key).and_then(|written| written.uid);
                brought.insert(change.key.clone(), (step.id.clone(), uid));
            } else {
                brought.remove(&change.key);
            }
        }
    }
    for kept in plan.unchanged.iter().filter(|kept| lasting(kept.desired.key())) {
        let Some(step) = kept.service.as_deref().and_then(|service| services.get(service)) else { continue };
        brought.insert(kept.desired.key().clone(), ((*step).clone(), None));
    }
    brought
}

/// Objects of a kind that a cheap look does not show as they were written.
async fn doubtful<'a>(
    context: &Context,
    brought: &Brought,
    kind: ObjectKind,
    namespace: Option<String>,
    keys: BTreeSet<&'a ObjectKey>,
) -> Result<BTreeSet<&'a ObjectKey>, ProviderError> {
    if let Some(watched) = context.watcher.uids(&(kind.clone(), namespace.clone())) {
        return Ok(unlike(&watched, brought, keys));
    }
    if keys.len() < LIST_FROM {
        return Ok(keys);
    }
    let query = ListQuery::new(kind, namespace.as_deref())
        .label(PROJECT, &context.project)
        .label(ENVIRONMENT, &context.environment);
    let listed = context.providers.cluster.list_metadata(&query).await?;
    let found: BTreeMap<ObjectKey, String> = listed
        .iter()
        .map(|object| (object.key().clone(), object.uid().unwrap_or_default().to_owned()))
        .collect();
    Ok(unlike(&found, brought, keys))
}

fn unlike<'a>(
    found: &BTreeMap<ObjectKey, String>,
    brought: &Brought,
    keys: BTreeSet<&'a ObjectKey>,
) -> BTreeSet<&'a ObjectKey> {
    let like = |key: &&ObjectKey| match found.get(*key) {
        Some(uid) => !is_another(brought[*key].1.as_deref(), Some(uid)),
        None => false,
    };
    keys.into_iter().filter(|key| !like(key)).collect()
}
