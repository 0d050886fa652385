//! Whether what a plan leaves as it is serves: who asks for a version wants it to run, not only to be written.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;

use super::watcher::{Follower, Watcher};
use crate::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster, ListQuery},
    rollout::{Evidence, Health, Target, judge, serves},
    run::Failure,
    runtime::{Moment, Runtime},
};

/// How long a workload that does not serve is followed: it may be scaled, or moved to another node, at this moment.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at without any news, and told that it is waited for.
const LOOK: Duration = Duration::from_secs(4);

/// Follows the workloads among these objects until they serve; those that do not, by object. What serves as it was read
/// costs no request.
pub(crate) async fn not_serving<'a>(
    cluster: &Arc<dyn Cluster>,
    runtime: &Arc<dyn Runtime>,
    objects: impl Iterator<Item = &'a Object>,
    tell: impl Fn(String),
) -> Vec<Failure> {
    let idle = objects.filter(|object| object.key().kind.keeps_pods() && serves(object) == Some(false));
    let targets = idle.filter_map(Target::pin);
    let watcher = Watcher::new(Arc::clone(cluster), Arc::clone(runtime));
    let followers: Vec<Follower> = targets.map(|target| watcher.follow(target)).collect();
    let until = runtime.now() + LIMIT;
    let waits = followers.iter().map(|follower| serves_in_time(&**runtime, follower, until, &tell));
    let mut failures: Vec<Failure> = join_all(waits).await.into_iter().flatten().collect();
    failures.sort_by(|one, other| one.object.cmp(&other.object));
    failures
}

/// So many replica sets of one workload are read: more have no pods at once.
const MOST_SETS: usize = 8;

/// Why those of these objects do not serve that do not at this moment. What cannot be read is left out: it is a word in a
/// plan, and no reason against it.
pub(crate) async fn causes<'a>(
    cluster: &dyn Cluster,
    namespace: &str,
    objects: impl Iterator<Item = &'a Object>,
) -> BTreeMap<ObjectKey, String> {
    let idle: Vec<&Object> =
        objects.filter(|object| object.key().kind.keeps_pods() && serves(object) == Some(false)).collect();
    let mut found = BTreeMap::new();
    if idle.is_empty() {
        return found;
    }
    let pods = ListQuery::new(ObjectKind::new("v1", "Pod"), Some(namespace));
    let Ok(pods) = cluster.list(&pods).await else { return found };
    for workload in idle {
        let Some(target) = Target::pin(workload) else { continue };
        let mut sets: Vec<Object> = Vec::new();
        // Each round reads one more.
        for _ in 0..MOST_SETS {
            let pods = pods.iter().filter(|pod| target.selects(pod)).collect();
            let replica_sets = sets.iter().collect();
            let evidence = Evidence { live: Some(workload), pods, all_pods: true, replica_sets };
            let why = match judge(&target, &evidence) {
                Health::Ask(key) => match cluster.get(&key).await {
                    Ok(Some(set)) => {
                        sets.push(set);
                        continue;
                    }
                    _ => break,
                },
                Health::Failed(reason) => reason.message,
                Health::Waiting { why, .. } => why,
                Health::Done => break,
            };
            found.insert(workload.key().clone(), why);
            break;
        }
    }
    found
}

async fn serves_in_time(
    runtime: &dyn Runtime,
    follower: &Follower,
    until: Moment,
    tell: &impl Fn(String),
) -> Option<Failure> {
    let name = follower.target().key().short();
    let failure = |cause: &str, message: String| {
        Some(Failure::new(cause, message).with_object(follower.target().key().to_string()))
    };
    let mut told = None;
    loop {
        let why = match follower.health().await {
            Ok(Health::Done) => return None,
            Ok(Health::Failed(reason)) => {
                let failure = Failure::new(reason.cause, reason.message);
                return Some(failure.with_object(reason.object.to_string()).with_hint(reason.hint));
            }
            Ok(Health::Waiting { why, .. }) => format!("{name}: {why}"),
            Ok(Health::Ask(key)) => format!("{name}: {} cannot be read for the moment", key.short()),
            Err(failure) => return Some(failure),
        };
        if runtime.now() >= until {
            return failure("deadline", format!("{why}, for {} s", LIMIT.as_secs()));
        }
        if told.as_ref() != Some(&why) {
            tell(why.clone());
            told = Some(why);
        }
        let (changed, timer) = (follower.changed(), runtime.sleep(LOOK));
        futures::pin_mut!(changed);
        futures::future::select(changed, timer).await;
    }
}
