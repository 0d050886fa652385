//! Why workloads do not serve at this moment: told by a plan of what it leaves as it is, and by whoever looks.

use std::collections::BTreeMap;

use futures::{FutureExt as _, StreamExt as _, stream};

use super::Environment;
use crate::{
    engine::{Ailment, Plan, patience::patiently},
    object::{Object, ObjectKey, ObjectKind},
    provider::{ListQuery, ProviderError},
    rollout::{Evidence, Health, Target, judge},
    steps::{PARALLEL, idle},
};

/// So many replica sets of one workload are read: more have no pods at once.
const MOST_SETS: usize = 8;

impl Environment {
    /// The state of all pods.
    pub(crate) async fn pods(&self) -> Result<Vec<Object>, ProviderError> {
        let pods = ListQuery::new(ObjectKind::new("v1", "Pod"), Some(&self.namespace)).state_only();
        patiently(&*self.runtime, || self.providers.cluster.list(&pods)).await
    }

    /// The replica sets of pods of these workloads that cannot start: only they tell whether these are the new ones. What
    /// cannot be read is left out.
    pub(crate) async fn replica_sets(&self, workloads: &[&Object], pods: &[Object]) -> Vec<Object> {
        let reads: Vec<_> =
            workloads.iter().map(|workload| self.replica_sets_of(workload, pods).boxed()).collect();
        stream::iter(reads).buffered(PARALLEL).collect::<Vec<_>>().await.into_iter().flatten().collect()
    }

    async fn replica_sets_of(&self, workload: &Object, pods: &[Object]) -> Vec<Object> {
        let mut found: Vec<Object> = Vec::new();
        let Some(target) = Target::pin(workload) else { return found };
        let pods: Vec<&Object> = pods.iter().filter(|pod| target.selects(pod)).collect();
        // Each round reads one more.
        for _ in 0..MOST_SETS {
            let replica_sets = found.iter().collect();
            let evidence = Evidence {
                live: Some(workload),
                pods: pods.clone(),
                all_pods: true,
                replica_sets,
                ..Evidence::default()
            };
            let Health::Ask(key) = judge(&target, &evidence) else { break };
            let read = patiently(&*self.runtime, || self.providers.cluster.get(&key)).await;
            let Some(set) = read.ok().flatten() else { break };
            found.push(set);
        }
        found
    }

    /// Why those of the workloads that a plan leaves as they are do not serve that do not. What cannot be read is left
    /// out: it is a word in a plan, and no reason against it.
    pub(super) async fn causes(
        &self,
        plan: &Plan,
        live: &BTreeMap<ObjectKey, Object>,
    ) -> BTreeMap<ObjectKey, Ailment> {
        let mut found = BTreeMap::new();
        let idle: Vec<Target> = idle(plan, live).collect();
        if idle.is_empty() {
            return found;
        }
        let Ok(pods) = self.pods().await else { return found };
        let workloads: Vec<&Object> = idle.iter().map(Target::written).collect();
        let sets = self.replica_sets(&workloads, &pods).await;
        for target in &idle {
            let pods = pods.iter().filter(|pod| target.selects(pod)).collect();
            let replica_sets = sets.iter().collect();
            let evidence = Evidence {
                live: Some(target.written()),
                pods,
                all_pods: true,
                replica_sets,
                ..Evidence::default()
            };
            if let Some(ailment) = Ailment::of(&judge(target, &evidence), &evidence.pods) {
                found.insert(target.key().clone(), ailment);
            }
        }
        found
    }
}
