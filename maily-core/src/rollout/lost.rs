//! Pods that should have ended, and of which nobody tells that they have: their node is gone, or does not answer.

use jiff::Timestamp;

use super::judge::{Evidence, Health, Obstacle};
use crate::object::Object;

/// When a pod is to have ended: the time of its deletion has its grace in it.
fn ends_at(pod: &Object) -> Option<Timestamp> {
    pod.text("/metadata/deletionTimestamp")?.parse().ok()
}

/// The first of these pods that should have ended, where none of them is to end still.
pub(super) fn lost<'a>(
    pods: impl Iterator<Item = &'a Object>,
    evidence: &Evidence<'_>,
) -> Option<&'a Object> {
    let mut late = None;
    for pod in pods.filter(|pod| pod.is_terminating()) {
        if !evidence.late.contains(&pod.key()) {
            return None;
        }
        late = late.or(Some(pod));
    }
    late
}

/// What waits for such a pod.
pub(super) fn held_by(pod: &Object, counts: (i64, i64)) -> Health {
    let (name, namespace) = (pod.name(), pod.key().namespace_option());
    let (on, see) = match pod.text("/spec/nodeName") {
        Some(node) => (
            format!(" on node `{node}`"),
            format!(
                "see whether node `{node}` lives: where its machine is gone, `kubectl delete node {node}` lets its pods go; \
                 else, "
            ),
        ),
        None => (String::new(), String::new()),
    };
    let end = ends_at(pod).map(|end| format!(" by {end}")).unwrap_or_default();
    let why = format!("pod `{name}`{on} should have ended{end}, and nothing tells that it has");
    let way_on = format!(
        "{see}once it is known that it does not run any more, `kubectl delete pod {name}{namespace} --force \
         --grace-period=0`"
    );
    Health::held_up(counts, why, pod, Obstacle::Lost, way_on)
}
