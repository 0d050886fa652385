//! Pods that the server refuses: what passes is waited for, what stays fails.

use serde_json::{Value, json};

use super::{cause, deployment, object, of, pod, why};
use crate::{
    object::Object,
    rollout::{Evidence, Health, Target, judge},
};

const EXCEEDED: &str =
    "pods \"api-2-x\" is forbidden: exceeded quota: full, requested: pods=1, used: pods=4, limited: pods=4";
const POLICY: &str = "pods \"api-2-x\" is forbidden: violates PodSecurity \"restricted:latest\"";

/// A Deployment of four whose one new pod is refused since then, and which was written at 10:00:00.
fn refused(old: i64, since: &str, message: &str) -> Object {
    let mut live = deployment(
        2,
        "api:2",
        json!({"observedGeneration": 2, "replicas": old, "availableReplicas": old, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message,
                "lastTransitionTime": since}]}),
    );
    live.edit(|body| {
        body["spec"]["replicas"] = json!(4);
        body["spec"]["strategy"] =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}});
    });
    live
}

fn edited(live: &Object, path: &str, value: Value) -> Object {
    let mut live = live.clone();
    live.edit(|body| body["spec"]["strategy"][path] = value);
    live
}

/// What a deadline of the watcher makes of it: seen for the first time, and after a while.
fn first_and_later(written: &Object, live: &Object, pods: &[Object]) -> (Health, Health) {
    let target = Target::pin(written).expect("is waited for");
    let at = |patient| {
        let pods = pods.iter().collect();
        judge(&target, &Evidence { live: Some(live), pods, patient, ..Evidence::default() })
    };
    (at(true), at(false))
}

#[test]
fn a_refusal_of_before_the_write_does_not_count() {
    let before = refused(4, "2026-11-01T09:59:00Z", EXCEEDED);
    // Words of it are the only ones there are.
    assert_eq!(why(&of(&before, &before, &[], &[])), EXCEEDED);
    let policy = refused(4, "2026-11-01T09:59:00Z", POLICY);
    assert_eq!(why(&of(&policy, &policy, &[], &[])), POLICY);
    // In the second of the write it may be of before, where it was there already; and else it is not.
    let same = refused(4, "2026-11-01T10:00:00Z", POLICY);
    let (first, later) = first_and_later(&same, &same, &[]);
    assert_eq!((why(&first), cause(&later)), (POLICY, "pods-refused"));
    let written = deployment(2, "api:2", json!({}));
    let (first, _) = first_and_later(&written, &edited(&same, "x", json!(1)), &[]);
    assert_eq!(cause(&first), "pods-refused");
}

#[test]
fn a_refusal_that_stays_fails_at_once_and_a_full_quota_after_a_while() {
    let policy = refused(4, "2026-11-01T10:00:05Z", POLICY);
    assert_eq!(cause(&first_and_later(&policy, &policy, &[]).0), "pods-refused");
    let full = refused(4, "2026-11-01T10:00:05Z", EXCEEDED);
    let (first, later) = first_and_later(&full, &full, &[]);
    assert_eq!((why(&first), cause(&later)), (EXCEEDED, "pods-refused"));
}

#[test]
fn a_quota_that_is_not_counted_yet_is_waited_for() {
    let message = "pods \"api-2-x\" is forbidden: status unknown for quota: full, resources: pods";
    let live = refused(0, "2026-11-01T10:00:05Z", message);
    assert_eq!(why(&of(&live, &live, &[], &[])), message);
}

#[test]
fn a_full_quota_is_waited_for_while_pods_leave() {
    let full = refused(0, "2026-11-01T10:00:05Z", EXCEEDED);
    let mut going = pod("api-1-x", "api-1", json!({}), json!({}));
    going.edit(|body| body["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:30Z"));
    assert_eq!(why(&of(&full, &full, &[going], &[])), EXCEEDED);
    let mut told = full.clone();
    told.edit(|body| body["status"]["terminatingReplicas"] = json!(2));
    assert_eq!(why(&of(&told, &told, &[], &[])), EXCEEDED);
    assert_eq!(cause(&of(&full, &full, &[], &[])), "pods-refused");
    // The controller tries again later and later: once some are gone, there is room whenever it does.
    assert_eq!(why(&of(&refused(4, "2026-11-01T09:59:00Z", EXCEEDED), &full, &[], &[])), EXCEEDED);
    // Who leaves changes nothing of a policy.
    let mut policy = refused(0, "2026-11-01T10:00:05Z", POLICY);
    policy.edit(|body| body["status"]["terminatingReplicas"] = json!(2));
    assert_eq!(cause(&of(&policy, &policy, &[], &[])), "pods-refused");
}

#[test]
fn a_full_quota_is_waited_for_while_the_strategy_takes_old_pods_away() {
    let judged = |old: i64, strategy: &Value| {
        let mut live = refused(old, "2026-11-01T10:00:05Z", EXCEEDED);
        live.edit(|body| body["spec"]["strategy"] = strategy.clone());
        of(&live, &live, &[], &[])
    };
    let rolling = |unavailable: Value, surge: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}});
    // A quarter of four is one: from four to three, and no further.
    for strategy in [json!({}), rolling(json!("25%"), json!("25%")), rolling(json!(1), json!(1))] {
        assert_eq!(why(&judged(4, &strategy)), EXCEEDED, "{strategy}");
        assert_eq!(cause(&judged(3, &strategy)), "pods-refused", "{strategy}");
    }
    // Less than a whole one is none, unless there would be none more, either.
    assert_eq!(cause(&judged(4, &rolling(json!("24%"), json!(1)))), "pods-refused");
    assert_eq!(why(&judged(4, &rolling(json!("24%"), json!(0)))), EXCEEDED);
    let recreate = json!({"type": "Recreate"});
    assert_eq!(why(&judged(1, &recreate)), EXCEEDED);
    assert_eq!(cause(&judged(0, &recreate)), "pods-refused");
}

#[test]
fn an_account_that_follows_its_namespace_is_given_a_while() {
    let message = "pods \"api-2-x\" is forbidden: error looking up service account shop/default: serviceaccount \"default\" not found";
    let live = object(refused(0, "2026-11-01T10:00:05Z", message).into_value());
    let (first, later) = first_and_later(&live, &live, &[]);
    assert_eq!((why(&first), cause(&later)), (message, "pods-refused"));
}
