//! Revisions of StatefulSets, and the pods that are in their way.

use serde_json::json;

use super::{cause, object, of, pod_of, stateful_set, why};
use crate::{
    object::Object,
    rollout::{Evidence, Health, Obstacle, Target, judge},
};

#[test]
fn stateful_sets_fail_by_pods_of_the_new_revision() {
    const REVISION: &str = "controller-revision-hash";
    let status = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2,
        "updateRevision": "b", "currentRevision": "a"});
    let live = stateful_set(json!({"type": "RollingUpdate"}), status.clone());
    let doomed = |revision: &str| [pod_of(REVISION, revision, "ImagePullBackOff")];
    assert_eq!(cause(&of(&live, &live, &doomed("b"), &[])), "image-not-found");
    // Side by side they wait for nobody.
    let mut parallel = live.clone();
    parallel.edit(|body| body["spec"]["podManagementPolicy"] = json!("Parallel"));
    assert!(matches!(of(&parallel, &parallel, &doomed("a"), &[]), Health::Waiting { .. }));
    // Until the controller has seen the change, nothing is said about its pods.
    let mut unseen = status;
    unseen["observedGeneration"] = json!(0);
    let unseen = stateful_set(json!({"type": "RollingUpdate"}), unseen);
    assert!(why(&of(&unseen, &unseen, &doomed("b"), &[])).contains("not seen the change"));
    let mut surplus = live.clone();
    surplus.edit(|body| body["status"]["replicas"] = json!(5));
    assert_eq!(why(&of(&surplus, &surplus, &[], &[])), "2 surplus pods still run");
}

#[test]
fn what_the_pods_of_a_stateful_set_say_is_newer_than_its_status() {
    let status = json!({"observedGeneration": 9, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
        "readyReplicas": 2, "currentRevision": "db-1", "updateRevision": "db-1"});
    let mut live = stateful_set(json!({}), status);
    live.edit(|body| body["spec"]["replicas"] = json!(2));
    let pod = |name: &str, ready: &str, going: bool| {
        let mut pod = pod_of("controller-revision-hash", "db-1", "");
        pod.edit(|body| {
            body["metadata"]["name"] = json!(name);
            body["status"] = json!({"conditions": [{"type": "Ready", "status": ready}]});
            if going {
                body["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z");
            }
        });
        pod
    };
    let judged = |pods: &[Object], all_pods: bool| {
        let target = Target::pin(&live).expect("is waited for");
        let pods = pods.iter().collect();
        judge(&target, &Evidence { live: Some(&live), pods, all_pods, ..Evidence::default() })
    };
    let first = pod("db-0", "True", false);
    assert_eq!(judged(&[first.clone(), pod("db-1", "True", false)], true), Health::Done);
    // It is on its way out, gone, or made again and not ready, and the status counts it still.
    for pods in [
        vec![first.clone(), pod("db-1", "True", true)],
        vec![first.clone()],
        vec![first.clone(), pod("db-1", "False", false)],
    ] {
        assert!(matches!(judged(&pods, true), Health::Waiting { .. }), "{pods:?}");
    }
    // Where not all of them are known, their absence says nothing.
    assert_eq!(judged(&[first], false), Health::Done);
}

/// Its pods, by ordinal: revision, and whether it is ready, starts or never can.
fn pods(of: &[(&str, &str)]) -> Vec<Object> {
    let state = |state: &str| match state {
        "doomed" => json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}),
        "starts" => json!({"waiting": {"reason": "ContainerCreating"}}),
        _ => json!({"running": {}}),
    };
    let pods = of.iter().enumerate().map(|(ordinal, (revision, is))| {
        let ready = *is == "ready";
        let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" }});
        let mut metadata = json!({"name": format!("db-{ordinal}"), "namespace": "shop",
            "labels": {"controller-revision-hash": revision},
            "ownerReferences": [{"kind": "StatefulSet", "name": "db", "uid": "u", "controller": true}]});
        if *is == "goes" {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"conditions": [condition],
            "containerStatuses": [{"name": "main", "image": "db:1", "ready": ready, "state": state(is)}]}}))
    });
    pods.collect()
}

/// In order, its controller waits for the first pod that is not ready, whichever revision that is of.
#[test]
fn a_pod_is_in_the_way_where_its_deletion_lets_the_controller_go_on() {
    let status = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2,
        "updateRevision": "b", "currentRevision": "a"});
    let live = stateful_set(json!({"type": "RollingUpdate"}), status);
    let held = |live: &Object, all: &[(&str, &str)]| match of(live, live, &pods(all), &[]) {
        Health::HeldUp { pod, obstacle, .. } => Some((pod.name().to_owned(), obstacle)),
        Health::Waiting { .. } => None,
        other => panic!("{other:?}"),
    };
    let in_the_way = |name: &str, obstacle| Some((name.to_owned(), obstacle));
    let ready = ("a", "ready");
    assert_eq!(held(&live, &[ready, ready, ("a", "doomed")]), in_the_way("db-2", Obstacle::Doomed));
    assert_eq!(held(&live, &[ready, ready, ("a", "starts")]), in_the_way("db-2", Obstacle::Unready));
    assert_eq!(held(&live, &[ready, ("a", "doomed"), ("a", "starts")]), in_the_way("db-1", Obstacle::Doomed));
    // The first of them is of the wanted revision, goes, or is still to come.
    assert_eq!(held(&live, &[("b", "starts"), ready, ("a", "doomed")]), None);
    assert_eq!(held(&live, &[ready, ("a", "goes"), ("a", "doomed")]), None);
    let mut later = live.clone();
    later.edit(|body| body["spec"]["ordinals"] = json!({"start": 1}));
    assert_eq!(held(&later, &[ready, ready, ("a", "doomed")]), in_the_way("db-2", Obstacle::Doomed));
    later.edit(|body| body["spec"]["ordinals"] = json!({"start": 3}));
    assert_eq!(held(&later, &[ready, ready, ("a", "doomed")]), None);
    // It would be made anew as it is.
    let mut part = live.clone();
    let strategy =
        |partition: i64| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
    part.edit(|body| body["spec"]["updateStrategy"] = strategy(2));
    assert_eq!(held(&part, &[ready, ("a", "doomed"), ("b", "ready")]), None);
    assert_eq!(held(&part, &[ready, ready, ("a", "doomed")]), in_the_way("db-2", Obstacle::Doomed));
    // Neither is it of the revision that the pods before the partition are made of.
    assert_eq!(held(&part, &[ready, ("c", "doomed"), ("b", "ready")]), in_the_way("db-1", Obstacle::Doomed));
    // Surplus ones go by themselves.
    let mut fewer = live.clone();
    fewer.edit(|body| body["spec"]["replicas"] = json!(2));
    assert_eq!(held(&fewer, &[ready, ready, ("a", "doomed")]), None);
    // Who asks for it is a person.
    let mut by_hand = live.clone();
    by_hand.edit(|body| body["spec"]["updateStrategy"] = json!({"type": "OnDelete"}));
    let left = [("b", "ready"), ("a", "ready"), ("a", "doomed")];
    assert_eq!(held(&by_hand, &left), in_the_way("db-1", Obstacle::ByHand));
}

/// Whoever made them: a name and labels are no proof that the StatefulSet did.
#[test]
fn pods_of_another_owner_are_in_nobodys_way() {
    let status = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2,
        "updateRevision": "b", "currentRevision": "a"});
    let live = stateful_set(json!({"type": "RollingUpdate"}), status);
    let ready = ("a", "ready");
    for owners in [json!([]), json!([{"kind": "ConfigMap", "name": "db", "uid": "u9", "controller": true}])] {
        let mut pods = pods(&[ready, ready, ("a", "doomed")]);
        pods[2].edit(|body| body["metadata"]["ownerReferences"] = owners.clone());
        let health = of(&live, &live, &pods, &[]);
        assert!(matches!(health, Health::Waiting { .. }), "{owners}: {health:?}");
    }
}

/// With a type and nothing else, the first pods are made anew of the revision that was whole last.
#[test]
fn a_pod_that_would_be_made_anew_as_it_is_stays() {
    let held = |current: &str, replicas: i64, strategy: serde_json::Value, all: &[(&str, &str)]| {
        let status = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 0, "availableReplicas": 2,
            "updateRevision": "b", "currentRevision": current, "currentReplicas": replicas});
        let live = stateful_set(strategy, status);
        match of(&live, &live, &pods(all), &[]) {
            Health::HeldUp { pod, obstacle, way_on, .. } => Some((pod.name().to_owned(), obstacle, way_on)),
            other => panic!("{other:?}"),
        }
    };
    let obstacle = |held: Option<(String, Obstacle, String)>| held.map(|(_, obstacle, _)| obstacle);
    let (ready, doomed) = (("a", "ready"), ("a", "doomed"));
    let typed = || json!({"type": "RollingUpdate"});
    let first = held("a", 3, typed(), &[doomed, ready, ready]);
    let (name, stays, way_on) = first.expect("is in the way");
    assert_eq!((&*name, stays), ("db-0", Obstacle::Stays));
    assert!(
        way_on.starts_with("`kubectl patch statefulset db --namespace shop --patch '{\"spec\""),
        "{way_on}"
    );
    // Where it serves nobody either, it goes first.
    let last = held("a", 3, typed(), &[doomed, ready, doomed]).map(|(name, obstacle, _)| (name, obstacle));
    assert_eq!(last, Some(("db-2".to_owned(), Obstacle::Doomed)));
    // The last of them leaves one less than there were; and one of another revision does not count among them.
    assert_eq!(obstacle(held("a", 3, typed(), &[ready, ready, doomed])), Some(Obstacle::Doomed));
    assert_eq!(obstacle(held("b", 2, typed(), &[doomed, ("b", "ready"), ready])), Some(Obstacle::Doomed));
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    assert_eq!(obstacle(held("a", 3, rolling, &[doomed, ready, ready])), Some(Obstacle::Doomed));
}

/// One that was taken back is none of those before the partition either.
#[test]
fn a_pod_of_a_third_revision_is_no_success() {
    let status = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3,
        "updateRevision": "a", "currentRevision": "a"});
    let held_back = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 3}});
    let (ready, taken_back) = (("a", "ready"), ("b", "ready"));
    let live = stateful_set(held_back, status.clone());
    let health = of(&live, &live, &pods(&[ready, ready, taken_back]), &[]);
    let Health::HeldUp { pod, obstacle: Obstacle::ByHand, .. } = &health else { panic!("{health:?}") };
    assert_eq!(pod.name(), "db-2");
    // Without one its controller replaces it.
    let live = stateful_set(json!({"type": "RollingUpdate"}), status);
    assert!(matches!(of(&live, &live, &pods(&[ready, ready, taken_back]), &[]), Health::Waiting { .. }));
}

/// What holds back pods and was not there when the release wrote it is no part of the release.
#[test]
fn a_partition_that_somebody_sets_meanwhile_is_no_success() {
    let status = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 3,
        "updateRevision": "b", "currentRevision": "a"});
    let partition = |number: i64| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": number}});
    let written = stateful_set(json!({"type": "RollingUpdate"}), json!({}));
    let live = stateful_set(partition(2), status.clone());
    assert_eq!(cause(&of(&written, &live, &[], &[])), "partition");
    let found = Target::pin(&live).expect("is waited for").meant_as(&written);
    let evidence = Evidence { live: Some(&live), ..Evidence::default() };
    assert_eq!(cause(&judge(&found, &evidence)), "partition");
    // Its own it knows of, and one that was made smaller holds back less.
    assert_eq!(of(&live, &live, &[], &[]), Health::Done);
    let smaller = stateful_set(partition(1), status);
    assert!(matches!(of(&live, &smaller, &[], &[]), Health::Waiting { .. }));
}

/// It holds back no pod of another revision where there is none: a pod more is made of the same one, and one that was
/// evicted, too.
#[test]
fn a_partition_that_somebody_sets_is_no_failure_where_all_pods_are_of_one_revision() {
    let one = |replicas: i64| {
        json!({"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas,
            "updateRevision": "a", "currentRevision": "a"})
    };
    let patched = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    let written = stateful_set(json!({"type": "RollingUpdate"}), json!({}));
    let on_its_way = |replicas: i64| of(&written, &stateful_set(patched.clone(), one(replicas)), &[], &[]);
    assert_eq!(why(&on_its_way(1)), "1 of 3 ready");
    assert_eq!(on_its_way(3), Health::Done);
}

/// Its controller counts the pods of the only revision as updated ones, also long after they were; whoever has not seen
/// the pods yet knows by that of one that is not.
#[test]
fn a_pod_of_a_third_revision_is_no_success_for_whoever_knows_the_status_alone() {
    let status = |updated: i64| {
        json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": updated, "availableReplicas": 3,
            "updateRevision": "a", "currentRevision": "a"})
    };
    let held_back = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 3}});
    for strategy in [json!({"type": "RollingUpdate"}), held_back, json!({"type": "OnDelete"})] {
        let judged = |updated: i64| {
            let live = stateful_set(strategy.clone(), status(updated));
            of(&live, &live, &[], &[])
        };
        assert!(matches!(judged(2), Health::Waiting { ready: 2, desired: 3, .. }), "{strategy}");
        assert_eq!(judged(3), Health::Done, "{strategy}");
    }
}
