//! Pods that stop, and until when they may: counted from when they were first seen to stop, by the clock of whoever waits.
//! What the server says of the time is by another one, which may be ahead or behind.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    object::Object,
    runtime::{Moment, Runtime},
};

/// How late a pod may be.
pub(super) const LATE: Duration = Duration::from_secs(30);
/// No two clocks differ by so much: a pod that was to end before is late whoever sees it.
const APART: SignedDuration = SignedDuration::from_hours(1);

/// Until when pods that were seen to stop may take, by uid.
#[derive(Debug, Default)]
pub(super) struct Stopping(BTreeMap<String, Moment>);

impl Stopping {
    /// When the grace of a pod is over; none where it does not stop.
    pub(super) fn end(&mut self, pod: &Object, runtime: &dyn Runtime) -> Option<Moment> {
        if !pod.is_terminating() {
            return None;
        }
        let uid = pod.uid().unwrap_or(pod.name()).to_owned();
        Some(*self.0.entry(uid).or_insert_with(|| runtime.now() + left(pod, runtime.wall())))
    }
}

/// What a pod that is seen to stop has left at the most: how much of its grace is over, only the server's clock tells.
fn left(pod: &Object, now: Timestamp) -> Duration {
    let due: Option<Timestamp> = pod.text("/metadata/deletionTimestamp").and_then(|due| due.parse().ok());
    let left = due.map(|due| due.duration_since(now)).unwrap_or_default();
    if left < -APART {
        return Duration::ZERO;
    }
    // Nobody has more left than his grace.
    let grace =
        pod.int("/metadata/deletionGracePeriodSeconds").and_then(|seconds| u64::try_from(seconds).ok());
    grace.map(Duration::from_secs).unwrap_or_else(|| Duration::try_from(left).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(due: &str, grace: Option<i64>) -> Object {
        let mut metadata =
            json!({"name": "api-1", "namespace": "shop", "uid": "1", "deletionTimestamp": due});
        if let Some(grace) = grace {
            metadata["deletionGracePeriodSeconds"] = grace.into();
        }
        Object::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}))
            .expect("an object")
    }

    #[test]
    fn the_grace_of_a_pod_counts_from_when_it_was_seen_whatever_the_clocks_say() {
        let now: Timestamp = "2026-11-01T10:00:00Z".parse().expect("a time");
        let left = |due: &str, grace| left(&pod(due, grace), now).as_secs();
        for due in ["2026-11-01T09:58:00Z", "2026-11-01T10:00:30Z", "2026-11-01T10:02:00Z"] {
            assert_eq!(left(due, Some(30)), 30, "{due}");
        }
        assert_eq!(left("2026-11-01T10:00:40Z", None), 40);
        assert_eq!(left("2026-11-01T09:58:00Z", None), 0);
        // It was to end long ago.
        assert_eq!(left("2026-10-31T10:00:00Z", Some(86_400)), 0);
    }
}
