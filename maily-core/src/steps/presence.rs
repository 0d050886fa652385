//! Whether what a run has brought, or put back, is still there when it ends: most of it no watch tells of.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use super::context::Context;
use crate::{
    object::{Object, ObjectKey, ObjectKind, by_kind},
    provider::{ErrorKind, LIST_FROM, ListQuery, ProviderError, unserved_is_absent},
    run::{ENVIRONMENT, Failure, PROJECT, Plan, Step, StepId, Work, run_of},
};

/// How an object has to be found in the end.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// The step that brought it, or put it back; of what was left as it was, the first one of its service.
    pub(super) step: StepId,
    pub(super) service: Option<String>,
    /// Whether the run itself has brought it.
    pub(super) brought: bool,
    /// Its uid, as far as that is known.
    uid: Option<String>,
    /// Whether it is set to have pods.
    has_pods: bool,
}

/// What has to be there in the end.
pub(crate) type Presence = BTreeMap<ObjectKey, Expected>;

impl Expected {
    fn is_another(&self, live: &Object) -> bool {
        self.uid.is_some() && self.uid.as_deref() != live.uid()
    }

    fn is_stopped(&self, live: &Object) -> bool {
        self.has_pods && live.int("/spec/replicas") == Some(0)
    }

    fn is_as_it_should(&self, live: &Object) -> bool {
        !self.is_another(live) && !self.is_stopped(live)
    }

    /// What somebody has done to an object that is to be there.
    fn failure(&self, key: &ObjectKey, live: Option<&Object>) -> Option<Failure> {
        let (cause, done, hint) = match live {
            None => ("gone", "deleted", "find out who deleted it"),
            Some(live) if self.is_another(live) => {
                ("replaced", "deleted and made again", "find out who deleted it")
            }
            Some(live) if self.is_stopped(live) => {
                ("scaled-down", "scaled to 0", "find out who scaled it down, and why")
            }
            Some(_) => return None,
        };
        let message = format!("{key} was {done} while the run was at work");
        Some(Failure::new(cause, message).with_object(key.to_string()).with_hint(hint))
    }
}

/// What of all this somebody has taken away since, made anew, or scaled to nothing.
///
/// # Errors
/// When something cannot be read.
pub(crate) async fn missing(
    context: &Context,
    presence: &Presence,
) -> Result<Vec<(StepId, Failure)>, ProviderError> {
    let doubtful = by_kind(presence.keys())
        .into_iter()
        .map(|((kind, namespace), keys)| doubtful(context, presence, kind, namespace, keys));
    let mut missing = Vec::new();
    for key in try_join_all(doubtful).await?.into_iter().flatten() {
        // What one look does not show as it should be, a look at it alone decides.
        let live = context.providers.cluster.get(key).await;
        let live = live.or_else(|error| unserved_is_absent(error, key))?;
        let expected = &presence[key];
        let failure = expected.failure(key, live.as_ref());
        missing.extend(failure.map(|failure| (expected.step.clone(), failure)));
    }
    Ok(missing)
}

/// Jobs and pods may be cleared away once they are done.
fn lasts(key: &ObjectKey) -> bool {
    !matches!(key.kind.kind.as_str(), "Job" | "Pod")
}

fn has_pods(desired: &Object) -> bool {
    desired.key().kind.keeps_pods() && desired.int("/spec/replicas").is_some_and(|replicas| replicas > 0)
}

/// What a plan has brought or left as it was in the services that it is about.
pub(crate) fn brought(context: &Context, plan: &Plan) -> Presence {
    let mut presence = Presence::new();
    let mut services: BTreeMap<&str, &StepId> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| !matches!(step.work, Work::Job { .. })) {
        let changes = step.work.changes();
        if let (Some(service), false) = (&step.service, changes.is_empty()) {
            services.entry(service).or_insert(&step.id);
        }
        for change in changes.iter().filter(|change| lasts(&change.key)) {
            let Some(desired) = &change.desired else {
                presence.remove(&change.key);
                continue;
            };
            let expected = Expected {
                step: step.id.clone(),
                service: step.service.clone(),
                brought: true,
                uid: context.written(&step.id, &change.key).and_then(|written| written.uid),
                has_pods: has_pods(desired),
            };
            presence.insert(change.key.clone(), expected);
        }
    }
    for kept in plan.unchanged.iter().filter(|kept| lasts(kept.desired.key())) {
        let Some(step) = kept.service.as_deref().and_then(|service| services.get(service)) else { continue };
        let expected = Expected {
            step: (*step).clone(),
            service: kept.service.clone(),
            brought: false,
            uid: None,
            has_pods: has_pods(&kept.desired),
        };
        presence.insert(kept.desired.key().clone(), expected);
    }
    presence
}

/// What the undo of these steps has put back. Not workloads that served: whoever waits until they serve again sees as
/// well that they are gone. And not what the run never came to: what somebody has done to that is his.
pub(crate) fn put_back(context: &Context, steps: &[Step]) -> Presence {
    let mut presence = Presence::new();
    for step in steps {
        for change in step.work.changes().iter().filter(|change| lasts(&change.key)) {
            let Some(before) = change.before.as_ref().filter(|before| before.served != Some(true)) else {
                continue;
            };
            let seen = context.seen(&change.key);
            // A write that was not noted, such as one of a step that failed in the middle, has left its stamp.
            let stamped = seen.as_ref().and_then(run_of).is_some_and(|run| run == context.run);
            if !stamped && context.written(&step.id, &change.key).is_none() {
                continue;
            }
            let expected = Expected {
                step: step.id.clone(),
                service: step.service.clone(),
                brought: false,
                uid: seen.as_ref().and_then(Object::uid).map(str::to_owned),
                has_pods: has_pods(&before.object),
            };
            presence.insert(change.key.clone(), expected);
        }
    }
    presence
}

/// Objects of a kind that a cheap look does not show as they should be.
async fn doubtful<'a>(
    context: &Context,
    presence: &Presence,
    kind: ObjectKind,
    namespace: Option<String>,
    keys: BTreeSet<&'a ObjectKey>,
) -> Result<BTreeSet<&'a ObjectKey>, ProviderError> {
    if context.watcher.tells(&(kind.clone(), namespace.clone())) {
        let like = |key: &ObjectKey| {
            context.watcher.known(key).is_some_and(|live| presence[key].is_as_it_should(&live))
        };
        return Ok(keys.into_iter().filter(|key| !like(key)).collect());
    }
    // A list over the whole cluster may be large, and forbidden.
    if keys.len() < LIST_FROM || namespace.is_none() {
        return Ok(keys);
    }
    let query = ListQuery::new(kind, namespace.as_deref())
        .label(PROJECT, &context.project)
        .label(ENVIRONMENT, &context.environment);
    let cluster = &context.providers.cluster;
    // Their names do not tell how many pods they are to have.
    let listed = if keys.iter().any(|key| presence[*key].has_pods) {
        cluster.list(&query).await
    } else {
        cluster.list_metadata(&query).await
    };
    let listed = match listed {
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(keys),
        listed => listed?,
    };
    let shown: BTreeSet<&ObjectKey> = listed
        .iter()
        .filter(|live| presence.get(live.key()).is_some_and(|expected| expected.is_as_it_should(live)))
        .map(Object::key)
        .collect();
    Ok(keys.into_iter().filter(|key| !shown.contains(key)).collect())
}
