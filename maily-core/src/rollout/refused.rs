//! Pods that the server refuses to make: what may pass, and what stays.

use serde_json::Value;

use super::{
    Target,
    conditions::{find, text, time},
    judge::{Evidence, Health},
    workload::{failed, of_replica_set},
};
use crate::object::Object;

/// How many replicas of a Deployment there are.
pub(super) struct Counts {
    pub(super) ready: i64,
    pub(super) desired: i64,
    pub(super) updated: i64,
    pub(super) old: i64,
    pub(super) terminating: i64,
}

/// What a refusal comes to.
enum Refusal {
    /// It stays.
    Stays,
    /// Something goes on that may end it.
    Passes,
    /// Nothing is known to end it; but its controller tries again only after a while, and somebody may have made room.
    MayPass,
}

/// What a Deployment says of pods that cannot be made, where it does.
pub(super) fn refused(
    target: &Target,
    live: &Object,
    evidence: &Evidence<'_>,
    counts: &Counts,
) -> Option<Health> {
    let condition = find(live, "ReplicaFailure").filter(|c| text(c, "status") == Some("True"))?;
    let message = text(condition, "message").unwrap_or("pods cannot be created").to_owned();
    let waits = |message| Some(Health::waiting(counts.ready, counts.desired, message));
    // A refusal stays; anything else may pass.
    if !message.contains("forbidden") && !message.contains("denied the request") {
        return waits(message);
    }
    let at = time(condition, "lastTransitionTime");
    let refusal = match at.zip(target.written_at()) {
        // The condition of a replica set of before is copied until that one is down, and keeps its time and its words
        // where the new one is refused as well.
        Some((raised, written)) if raised < written => {
            return if counts.updated < counts.desired { waits(message) } else { None };
        }
        // Times are whole seconds.
        Some((raised, written)) if raised == written && was_refused(target) => Refusal::MayPass,
        _ => refusal(target, live, evidence, counts, &message),
    };
    match refusal {
        Refusal::Passes => waits(message),
        Refusal::MayPass if evidence.patient => waits(message),
        Refusal::MayPass | Refusal::Stays => {
            Some(failed(target, "pods-refused", message, at, "raise the quota, or correct what is refused"))
        }
    }
}

/// Whether pods of it were refused already when it was written.
fn was_refused(target: &Target) -> bool {
    find(target.written(), "ReplicaFailure").is_some_and(|c| text(c, "status") == Some("True"))
}

fn refusal(
    target: &Target,
    live: &Object,
    evidence: &Evidence<'_>,
    counts: &Counts,
    message: &str,
) -> Refusal {
    // A quota that was just made has not been counted yet.
    if message.contains("status unknown for quota") {
        return Refusal::Passes;
    }
    // In a namespace that was just made the account follows.
    if message.contains("error looking up service account") {
        return Refusal::MayPass;
    }
    if !message.contains("exceeded quota") {
        return Refusal::Stays;
    }
    let leave =
        counts.terminating > 0 || evidence.pods.iter().any(|pod| pod.is_terminating() && of_replica_set(pod));
    // Where some have left, the next try finds room; it may come minutes later, and no condition tells of it.
    let had = target.written().int("/status/replicas").unwrap_or_default();
    let has_left = counts.old + counts.updated < had;
    if leave || has_left || may_go(live, counts) { Refusal::Passes } else { Refusal::MayPass }
}

/// Whether the strategy lets the controller take away old pods before there are more new ones.
fn may_go(live: &Object, counts: &Counts) -> bool {
    if counts.old == 0 {
        return false;
    }
    if live.text("/spec/strategy/type") == Some("Recreate") {
        return true;
    }
    let share = |field: &str, up: bool| {
        let value = live.at(&format!("/spec/strategy/rollingUpdate/{field}"));
        let percent = match value {
            Some(Value::Number(number)) => return number.as_i64().unwrap_or_default(),
            Some(Value::String(text)) => text.trim_end_matches('%').parse().unwrap_or(25),
            _ => 25,
        };
        let parts = counts.desired.saturating_mul(percent);
        if up { parts.saturating_add(99) / 100 } else { parts / 100 }
    };
    let unavailable = match (share("maxUnavailable", false), share("maxSurge", true)) {
        (0, 0) => 1,
        (unavailable, _) => unavailable,
    };
    counts.old + counts.ready > counts.desired - unavailable
}
