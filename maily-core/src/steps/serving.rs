//! Whether what a plan leaves as it is serves: who asks for a version wants it to run, not only to be written.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;

use super::watcher::{Follower, Watcher};
use crate::{
    object::{Object, ObjectKey},
    provider::Cluster,
    rollout::{Health, Obstacle, Target, says_it_serves},
    run::{Failure, Goal, Plan},
    runtime::{Moment, Runtime},
};

/// How long a workload that does not serve is given: it may be scaled, or moved to another node, at this moment.
pub(crate) const SERVES_WITHIN: Duration = Duration::from_secs(60);
/// Such a time it has from the look on, however late that is: watches have told of its pods by then, and what only moves at
/// the moment serves again.
const AT_LEAST: Duration = Duration::from_secs(20);
/// How often it is looked at without any news, and told that it is waited for.
const LOOK: Duration = Duration::from_secs(4);

/// The workloads that a plan is about and leaves as they are, as they are to be. Who takes something away wants nothing to
/// serve.
pub(crate) fn left_alone(plan: &Plan) -> impl Iterator<Item = &Object> {
    let only = plan.goal.only();
    let kept = plan.unchanged.iter().filter(|_| !matches!(plan.goal, Goal::Remove { .. }));
    let meant = kept.filter(move |kept| {
        only.is_none_or(|only| kept.service.as_ref().is_some_and(|service| only.contains(service)))
    });
    meant.map(|kept| &kept.desired).filter(|desired| desired.key().kind.keeps_pods())
}

/// A workload as it was read, where it does not serve as it is to be.
pub(crate) fn is_idle(desired: &Object, live: &Object) -> Option<Target> {
    let target = Target::pin(live).filter(|_| live.key().kind.keeps_pods())?.meant_as(desired);
    (!says_it_serves(&target)).then_some(target)
}

/// Those of the workloads that a plan leaves as they are that do not serve, as they were read.
pub(crate) fn idle<'a>(
    plan: &'a Plan,
    live: &'a BTreeMap<ObjectKey, Object>,
) -> impl Iterator<Item = Target> + use<'a> {
    left_alone(plan).filter_map(|desired| is_idle(desired, live.get(desired.key())?))
}

/// Follows workloads that did not serve as they were read until they serve, or until this moment; those that do not, by
/// object. Each has some time of its own.
pub(crate) async fn not_serving(
    cluster: &Arc<dyn Cluster>,
    runtime: &Arc<dyn Runtime>,
    targets: impl Iterator<Item = Target>,
    until: Moment,
    tell: impl Fn(String),
) -> Vec<Failure> {
    let until = until.max(runtime.now() + AT_LEAST);
    let watcher = Watcher::new(Arc::clone(cluster), Arc::clone(runtime));
    let followers: Vec<Follower> = targets.map(|target| watcher.follow(target).serving_only()).collect();
    let waits = followers.iter().map(|follower| serves_in_time(&**runtime, follower, until, &tell));
    let mut failures: Vec<Failure> = join_all(waits).await.into_iter().flatten().collect();
    failures.sort_by(|one, other| one.object.cmp(&other.object));
    failures
}

async fn serves_in_time(
    runtime: &dyn Runtime,
    follower: &Follower,
    until: Moment,
    tell: &impl Fn(String),
) -> Option<Failure> {
    let name = follower.target().key().short();
    let named = |why: String| (format!("{name}: {why}"), why);
    let failure = |cause: &str, message: String| {
        Some(Failure::new(cause, message).with_object(follower.target().key().to_string()))
    };
    let begun = runtime.now();
    let mut told = None;
    loop {
        let mut hint = None;
        let (line, why) = match follower.health().await {
            Ok(Health::Done) => return None,
            // Its own state may have a word for it, which says less than its pods will.
            Ok(Health::Failed(reason)) if !follower.sees_all() && runtime.now() < until => {
                (reason.message.clone(), reason.message)
            }
            Ok(Health::Failed(reason)) => {
                let failure = Failure::new(reason.cause, reason.message);
                return Some(failure.with_object(reason.object.to_string()).with_hint(reason.hint));
            }
            // No run deletes a pod of what it leaves as it is.
            Ok(Health::HeldUp { why, way_on, obstacle, .. })
                if !matches!(obstacle, Obstacle::Unready | Obstacle::Lost) && follower.sees_all() =>
            {
                return failure("held-up", format!("{name}: {why}")).map(|failure| failure.with_hint(way_on));
            }
            // Its node may answer again, as it may become ready.
            Ok(Health::HeldUp { why, way_on, obstacle, .. }) => {
                hint = Some(way_on).filter(|_| obstacle == Obstacle::Lost);
                named(why)
            }
            Ok(Health::Waiting { why, .. }) => named(why),
            Ok(Health::Ask(key)) => named(format!("{} cannot be read for the moment", key.short())),
            Err(failure) => return Some(failure),
        };
        if runtime.now() >= until {
            let waited = match runtime.now().since(begun).as_secs() {
                0 => String::new(),
                waited => format!(" after {waited} s"),
            };
            let failure = failure("deadline", format!("{name} is not ready{waited}: {why}"));
            return match hint {
                Some(hint) => failure.map(|failure| failure.with_hint(hint)),
                None => failure,
            };
        }
        if told.as_ref() != Some(&line) {
            tell(line.clone());
            told = Some(line);
        }
        let (changed, timer) = (follower.changed(), runtime.sleep(LOOK));
        futures::pin_mut!(changed);
        futures::future::select(changed, timer).await;
    }
}
