//! Each test puts one of the traps of `docs/tests.md` before the judge.

mod kinds;
mod refused;
mod stateful_sets;

use serde_json::{Value, json};

use super::{Evidence, Health, Obstacle, Target, judge, serves};
use crate::object::{Object, ObjectKey, ObjectKind};

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn deployment(generation: i64, image: &str, status: Value) -> Object {
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop", "uid": "u1", "generation": generation,
            "annotations": {"deployment.kubernetes.io/revision": "2"},
            "managedFields": [{"manager": "maily", "operation": "Apply", "time": "2026-11-01T10:00:00Z"}]},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "api"}},
            "template": {"spec": {"containers": [{"name": "api", "image": image}]}}},
        "status": status,
    }))
}

fn complete(observed: i64) -> Value {
    json!({"observedGeneration": observed, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2})
}

fn progressing(reason: &str, time: &str) -> Value {
    json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2, "conditions": [
        {"type": "Progressing", "status": "False", "reason": reason, "message": "late", "lastUpdateTime": time},
    ]})
}

fn pod(name: &str, owner: &str, waiting: Value, last: Value) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "api", "pod-template-hash": "h"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "r", "controller": true}]},
        "status": {"containerStatuses": [{"name": "api", "image": "api:2", "restartCount": 3, "ready": false,
            "state": {"waiting": waiting}, "lastState": last}]},
    }))
}

fn replica_set(name: &str, revision: &str) -> Object {
    object(
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": "shop",
        "annotations": {"deployment.kubernetes.io/revision": revision}}}),
    )
}

fn of(target: &Object, live: &Object, pods: &[Object], sets: &[Object]) -> Health {
    let target = Target::pin(target).expect("is waited for");
    let evidence = Evidence {
        live: Some(live),
        pods: pods.iter().collect(),
        replica_sets: sets.iter().collect(),
        ..Evidence::default()
    };
    judge(&target, &evidence)
}

fn cause(health: &Health) -> &'static str {
    match health {
        Health::Failed(reason) => reason.cause,
        other => panic!("expected a failure, found {other:?}"),
    }
}

fn why(health: &Health) -> &str {
    match health {
        Health::Waiting { why, .. } | Health::HeldUp { why, .. } => why,
        other => panic!("expected to wait, found {other:?}"),
    }
}

#[test]
fn a_complete_deployment_is_done() {
    let live = deployment(2, "api:2", complete(2));
    assert_eq!(of(&live, &live, &[], &[]), Health::Done);
}

#[test]
fn t01_the_last_rollouts_status_is_not_this_ones_success() {
    let live = deployment(2, "api:2", complete(1));
    assert!(why(&of(&live, &live, &[], &[])).contains("not seen"));
}

#[test]
fn t02_a_failed_job_is_a_failure_and_a_missing_one_too() {
    let job = object(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "m", "namespace": "shop", "uid": "u", "generation": 1},
        "status": {"conditions": [{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]}}));
    assert_eq!(cause(&of(&job, &job, &[], &[])), "job-failed");
    let target = Target::pin(&job).expect("is waited for");
    assert_eq!(cause(&judge(&target, &Evidence::default())), "gone");
}

#[test]
fn t03_a_stale_progress_deadline_does_not_count() {
    let stale = deployment(2, "api:2", progressing("ProgressDeadlineExceeded", "2026-11-01T09:59:00Z"));
    assert!(matches!(of(&stale, &stale, &[], &[]), Health::Waiting { .. }));
    // Times are whole seconds, and no deadline passes in the one in which it is set.
    let same = deployment(2, "api:2", progressing("ProgressDeadlineExceeded", "2026-11-01T10:00:00Z"));
    assert!(matches!(of(&same, &same, &[], &[]), Health::Waiting { .. }));
    let fresh = deployment(2, "api:2", progressing("ProgressDeadlineExceeded", "2026-11-01T10:10:00Z"));
    assert_eq!(cause(&of(&fresh, &fresh, &[], &[])), "progress-deadline");
}

#[test]
fn t04_a_paused_deployment_fails_at_once() {
    let mut live = deployment(2, "api:2", json!({"observedGeneration": 2}));
    live.edit(|body| body["spec"]["paused"] = json!(true));
    assert_eq!(cause(&of(&live, &live, &[], &[])), "paused");
}

#[test]
fn a_paused_deployment_serves_what_it_has_rolled_out() {
    let mut live = deployment(2, "api:2", complete(2));
    live.edit(|body| body["spec"]["paused"] = json!(true));
    assert_eq!(of(&live, &live, &[], &[]), Health::Done);
}

#[test]
fn t05_old_pods_that_still_run_or_terminate_are_waited_for() {
    let mut status = complete(2);
    status["replicas"] = json!(3);
    let live = deployment(2, "api:2", status);
    assert!(why(&of(&live, &live, &[], &[])).contains("1 old pod still runs"));
    let mut status = complete(2);
    status["terminatingReplicas"] = json!(1);
    let live = deployment(2, "api:2", status);
    assert!(why(&of(&live, &live, &[], &[])).contains("still terminate"));
    // A server before 1.35 has no such number: the pods themselves say it.
    let live = deployment(2, "api:2", complete(2));
    let mut going = pod("api-1", "old", json!({}), json!({}));
    going.edit(|body| body["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z"));
    assert!(why(&of(&live, &live, std::slice::from_ref(&going), &[])).contains("1 old pod still terminates"));
    // Where it is there, it alone counts: that a pod is gone may be heard a moment later.
    let mut status = complete(2);
    status["terminatingReplicas"] = json!(0);
    let live = deployment(2, "api:2", status);
    assert_eq!(of(&live, &live, &[going], &[]), Health::Done);
}

#[test]
fn t05_what_serves_does_so_while_a_pod_leaves() {
    let mut status = complete(2);
    status["terminatingReplicas"] = json!(1);
    let live = deployment(2, "api:2", status);
    assert_eq!(serves(&live), Some(true));
    let mut status = complete(2);
    status["replicas"] = json!(3);
    assert_eq!(serves(&deployment(2, "api:2", status)), Some(false));
}

/// Of a node that is gone nobody tells that its pods have ended.
#[test]
fn t05_a_pod_that_should_have_ended_is_named_with_its_node_and_a_way_on() {
    let mut status = complete(2);
    status["terminatingReplicas"] = json!(1);
    let live = deployment(2, "api:2", status);
    let leaving = |name: &str, until: &str| {
        let mut pod = pod(name, "old", json!({}), json!({}));
        pod.edit(|body| {
            body["metadata"]["deletionTimestamp"] = json!(until);
            body.insert("spec".to_owned(), json!({"nodeName": "n1"}));
        });
        pod
    };
    let lost = leaving("api-1", "2026-11-01T10:00:00Z");
    let of = |pods: &[&Object], late: Vec<&Object>| {
        let target = Target::pin(&live).expect("is waited for");
        let late = late.into_iter().map(Object::key).collect();
        judge(&target, &Evidence { live: Some(&live), pods: pods.to_vec(), late, ..Evidence::default() })
    };
    assert!(why(&of(&[&lost], Vec::new())).contains("1 old pod still terminates"));
    match of(&[&lost], vec![&lost]) {
        Health::HeldUp { ready: 2, desired: 2, why, obstacle: Obstacle::Lost, way_on, .. } => {
            assert!(why.contains("`api-1`") && why.contains("node `n1`"), "{why}");
            let force = "`kubectl delete pod api-1 --namespace shop --force --grace-period=0`";
            assert!(way_on.contains(force) && way_on.contains("`kubectl delete node n1`"), "{way_on}");
        }
        other => panic!("{other:?}"),
    }
    // As long as another one is in time, there is something to wait for.
    let other = leaving("api-2", "2026-11-01T10:01:00Z");
    assert!(matches!(of(&[&lost, &other], vec![&lost]), Health::Waiting { .. }));
}

#[test]
fn t06_another_object_or_another_template_is_not_what_was_written() {
    let ours = deployment(2, "api:2", json!({}));
    let theirs = deployment(3, "api:3", complete(3));
    assert_eq!(cause(&of(&ours, &theirs, &[], &[])), "superseded");
    let mut again = deployment(1, "api:2", complete(1));
    again.edit(|body| body["metadata"]["uid"] = json!("u2"));
    assert_eq!(cause(&of(&ours, &again, &[], &[])), "replaced");
    // Our own stamp raises the generation too.
    let stamped = deployment(3, "api:2", complete(3));
    assert_eq!(of(&ours, &stamped, &[], &[]), Health::Done);
}

#[test]
fn t06_a_restart_is_followed_and_takes_nothing_back() {
    let restarted = |image, status| {
        let mut live = deployment(3, image, status);
        live.edit(|body| {
            body["spec"]["template"]["metadata"]["annotations"] =
                json!({"kubectl.kubernetes.io/restartedAt": "2026-11-01T10:00:00Z"});
        });
        live
    };
    let ours = deployment(2, "api:2", json!({}));
    // What the status tells of the pods of before says nothing of the restart.
    assert!(why(&of(&ours, &restarted("api:2", complete(2)), &[], &[])).contains("not seen"));
    // Half-way: the pods before the restart are old ones now.
    let mut status = complete(3);
    status["replicas"] = json!(3);
    assert!(why(&of(&ours, &restarted("api:2", status), &[], &[])).contains("1 old pod still runs"));
    assert_eq!(of(&ours, &restarted("api:2", complete(3)), &[], &[]), Health::Done);
    assert_eq!(cause(&of(&ours, &restarted("api:3", complete(3)), &[], &[])), "superseded");
}

fn stateful_set(strategy: Value, status: Value) -> Object {
    object(json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "shop", "uid": "u", "generation": 1},
        "spec": {"replicas": 3, "updateStrategy": strategy}, "status": status}))
}

#[test]
fn t07_stateful_sets_are_available_not_ready_and_know_partitions() {
    let status = |updated: i64, available: i64| {
        json!({"observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "updatedReplicas": updated,
            "availableReplicas": available, "updateRevision": "b", "currentRevision": "a"})
    };
    let rolling = json!({"type": "RollingUpdate"});
    let ready = stateful_set(rolling.clone(), status(3, 2));
    assert!(matches!(of(&ready, &ready, &[], &[]), Health::Waiting { .. }));
    let done = stateful_set(rolling, status(3, 3));
    assert_eq!(of(&done, &done, &[], &[]), Health::Done);
    let partition = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let part = stateful_set(partition, status(1, 3));
    assert_eq!(of(&part, &part, &[], &[]), Health::Done);
    let waits = stateful_set(json!({"type": "OnDelete"}), status(0, 3));
    assert!(why(&of(&waits, &waits, &[], &[])).contains("OnDelete"));
    // The way back: its controller has never counted the other revision as the current one.
    let mut back = status(0, 3);
    back["updateRevision"] = json!("a");
    let back = stateful_set(json!({"type": "OnDelete"}), back);
    assert!(why(&of(&back, &back, &[], &[])).contains("OnDelete"));
}

/// A pod of a revision of a StatefulSet or generation of a DaemonSet.
fn pod_of(label: &str, revision: &str, reason: &str) -> Object {
    let mut pod = pod("api-0", "api", json!({"reason": reason, "message": "not found"}), json!({}));
    pod.edit(|body| body["metadata"]["labels"] = json!({label: revision}));
    pod
}

#[test]
fn daemon_sets_are_on_every_node_or_fail_by_pods_of_their_generation() {
    const GENERATION: &str = "pod-template-generation";
    let set = |strategy: &str, status: Value| {
        object(json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "api", "namespace": "shop", "uid": "u", "generation": 2,
                "annotations": {"deprecated.daemonset.template.generation": "2"}},
            "spec": {"updateStrategy": {"type": strategy}, "template": {}}, "status": status}))
    };
    let status = |observed: i64, updated: i64, available: i64| {
        json!({"observedGeneration": observed, "desiredNumberScheduled": 3, "updatedNumberScheduled": updated,
            "numberAvailable": available})
    };
    let judged = |strategy: &str, status: Value, pods: &[Object]| {
        let set = set(strategy, status);
        of(&set, &set, pods, &[])
    };
    assert_eq!(judged("RollingUpdate", status(2, 3, 3), &[]), Health::Done);
    assert!(why(&judged("RollingUpdate", status(1, 3, 3), &[])).contains("not seen the change"));
    assert_eq!(why(&judged("RollingUpdate", status(2, 3, 2), &[])), "2 of 3 ready");
    assert!(matches!(
        judged("RollingUpdate", status(2, 2, 3), &[]),
        Health::Waiting { ready: 2, desired: 3, .. }
    ));
    assert!(why(&judged("OnDelete", status(2, 1, 3), &[])).contains("OnDelete"));
    let doomed = |generation: &str| [pod_of(GENERATION, generation, "ImagePullBackOff")];
    assert_eq!(cause(&judged("RollingUpdate", status(2, 1, 2), &doomed("2"))), "image-not-found");
    let old = judged("RollingUpdate", status(2, 1, 2), &doomed("1"));
    assert!(matches!(old, Health::Waiting { .. }), "a pod of before is not our failure: {old:?}");
}

#[test]
fn jobs_wait_while_they_are_suspended_and_fail_by_pods_that_cannot_start() {
    let job = |spec: Value| {
        object(
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "api", "uid": "u", "generation": 1},
            "spec": spec, "status": {}}),
        )
    };
    let suspended = job(json!({"suspend": true}));
    assert!(why(&of(&suspended, &suspended, &[], &[])).contains("suspended"));
    let live = job(json!({}));
    let waiting = |reason: &str| [pod_of("job-name", "api", reason)];
    assert_eq!(cause(&of(&live, &live, &waiting("ErrImagePull"), &[])), "image-not-found");
    // How often it starts anew is the Job's own affair.
    assert!(matches!(of(&live, &live, &waiting("CrashLoopBackOff"), &[]), Health::Waiting { .. }));
}

#[test]
fn pods_are_those_that_labels_and_expressions_select() {
    let selects = |written: &Object, pod: &Object| Target::pin(written).expect("is waited for").selects(pod);
    let mut written = deployment(2, "api:2", complete(2));
    let (mine, mut other) =
        (pod("a", "api-2", json!({}), json!({})), pod("b", "web-2", json!({}), json!({})));
    other.edit(|body| body["metadata"]["labels"]["tier"] = json!("front"));
    assert!(selects(&written, &mine) && selects(&written, &other));
    for labels in [json!({"app": "api"}), json!({})] {
        written.edit(|body| {
            body["spec"]["selector"] = json!({"matchLabels": labels,
                "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]});
        });
        assert!(selects(&written, &mine) && !selects(&written, &other), "{labels}");
    }
    // Labels of a Job may be anybody's: its pods are those that it owns.
    let job = object(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "m", "namespace": "shop", "uid": "r"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}}}));
    assert!(selects(&job, &mine), "its owner's uid is the Job's");
    let mut foreign = mine.clone();
    foreign.edit(|body| {
        body["metadata"]["labels"]["app"] = json!("web");
        body["metadata"]["ownerReferences"][0]["uid"] = json!("of another");
    });
    assert!(!selects(&job, &foreign));
}

#[test]
fn t08_running_jobs_failed_pods_and_pending_load_balancers_are_not_done() {
    let job = object(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "m", "uid": "u", "generation": 1}, "status": {"active": 1}}));
    assert!(matches!(of(&job, &job, &[], &[]), Health::Waiting { .. }));
    let pod = object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u"},
        "status": {"phase": "Failed"}}));
    assert_eq!(cause(&of(&pod, &pod, &[], &[])), "pod-failed");
    let service =
        object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "uid": "u"},
        "spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {}}}));
    assert!(why(&of(&service, &service, &[], &[])).contains("no address"));
}

#[test]
fn t09_an_unschedulable_pod_is_waited_for() {
    let live = deployment(2, "api:2", progressing("ReplicaSetUpdated", "2026-11-01T10:10:00Z"));
    let mut waiting = pod("a", "api-2", json!({"reason": "ContainerCreating"}), json!({}));
    waiting.edit(|body| {
        body["status"]["conditions"] =
            json!([{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]);
    });
    assert_eq!(why(&of(&live, &live, &[waiting], &[])), "unschedulable: 0/3 nodes");
}

#[test]
fn t10_doomed_pods_of_the_new_revision_fail_at_once() {
    let live = deployment(2, "api:2", progressing("ReplicaSetUpdated", "2026-11-01T10:10:00Z"));
    let sets = [replica_set("api-1", "1"), replica_set("api-2", "2")];
    let verdict =
        |owner: &str, waiting: Value, last: Value| of(&live, &live, &[pod("a", owner, waiting, last)], &sets);
    let crash = json!({"reason": "CrashLoopBackOff"});
    let ended = json!({"terminated": {"exitCode": 1, "finishedAt": "2026-11-01T10:11:00Z"}});
    match verdict("api-2", crash.clone(), ended.clone()) {
        Health::Failed(reason) => {
            assert_eq!(reason.cause, "crash-loop");
            assert_eq!(reason.at, "2026-11-01T10:11:00Z".parse().ok());
            assert_eq!(reason.container, Some(("api".to_owned(), true)));
        }
        other => panic!("{other:?}"),
    }
    let missing = json!({"reason": "ImagePullBackOff", "message": "manifest unknown"});
    assert_eq!(cause(&verdict("api-2", missing, json!({}))), "image-not-found");
    let config = json!({"reason": "CreateContainerConfigError", "message": "secret \"x\" not found"});
    assert_eq!(cause(&verdict("api-2", config, json!({}))), "config-error");
    let unnamed = json!({"reason": "InvalidImageName", "message": "couldn't parse image name"});
    assert_eq!(cause(&verdict("api-2", unnamed, json!({}))), "invalid-image");
    let kept_out = json!({"reason": "ErrImageNeverPull", "message": "policy is Never"});
    assert_eq!(cause(&verdict("api-2", kept_out, json!({}))), "image-not-found");
    let full = json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}});
    match verdict("api-2", crash.clone(), full) {
        Health::Failed(reason) => {
            assert!(reason.message.contains("(out of memory, 3 restarts)"), "{reason:?}")
        }
        other => panic!("{other:?}"),
    }
    let passes = [
        (crash.clone(), json!({"terminated": {"exitCode": 128}})),
        (json!({"reason": "ImagePullBackOff", "message": "connection refused"}), json!({})),
        (
            json!({"reason": "CreateContainerConfigError", "message": "failed to sync secret cache"}),
            json!({}),
        ),
    ];
    for (waiting, last) in passes {
        assert!(matches!(verdict("api-2", waiting, last), Health::Waiting { .. }));
    }
    // The pods of a node that is full or that somebody more important needs are made again elsewhere.
    for reason in ["Evicted", "Preempting", "NodeLost"] {
        let mut gone = pod("a", "api-2", json!({}), json!({}));
        gone.edit(|body| {
            body["status"] = json!({"phase": "Failed", "reason": reason, "message": "The node had no room"});
        });
        let health = of(&live, &live, &[gone], &sets);
        assert!(matches!(health, Health::Waiting { .. }), "{reason}: {health:?}");
    }
    // A crashing pod of the old revision is not our failure.
    assert!(matches!(verdict("api-1", crash, ended), Health::Waiting { .. }));
}

/// What is written may be just what mends it: the next crash tells.
#[test]
fn t10_a_crash_of_before_the_write_is_none_of_what_was_written() {
    let live = deployment(2, "api:2", progressing("ReplicaSetUpdated", "2026-11-01T10:10:00Z"));
    let crashed = |at: &str| {
        let ended = json!({"terminated": {"exitCode": 1, "finishedAt": at}});
        let pod = pod("a", "api-2", json!({"reason": "CrashLoopBackOff"}), ended);
        of(&live, &live, &[pod], &[replica_set("api-2", "2")])
    };
    assert!(why(&crashed("2026-11-01T09:59:59Z")).contains("CrashLoopBackOff"));
    assert_eq!(cause(&crashed("2026-11-01T10:00:01Z")), "crash-loop");
}

/// Pods of somebody else with the same labels.
#[test]
fn a_doomed_pod_of_somebody_else_hides_none_of_the_new_revision() {
    let live = deployment(2, "api:2", progressing("ReplicaSetUpdated", "2026-11-01T10:10:00Z"));
    let crash = || json!({"reason": "CrashLoopBackOff"});
    let ours = pod("a", "api-2", crash(), json!({}));
    let mut theirs = pod("b", "nightly", crash(), json!({}));
    theirs.edit(|body| body["metadata"]["ownerReferences"][0]["kind"] = json!("Job"));
    assert!(matches!(of(&live, &live, std::slice::from_ref(&theirs), &[]), Health::Waiting { .. }));
    match of(&live, &live, &[ours.clone(), theirs], &[]) {
        Health::Ask(key) => assert_eq!(key.name, "api-2"),
        other => panic!("{other:?}"),
    }
    // A replica set that is known to be gone is not asked for again.
    let gone = pod("c", "api-0", crash(), json!({}));
    let target = Target::pin(&live).expect("is waited for");
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "ReplicaSet"), Some("shop"), "api-0");
    let evidence = |pods, gone_sets| Evidence { live: Some(&live), pods, gone_sets, ..Evidence::default() };
    match judge(&target, &evidence(vec![&ours, &gone], vec![&key])) {
        Health::Ask(key) => assert_eq!(key.name, "api-2"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(judge(&target, &evidence(vec![&gone], vec![&key])), Health::Waiting { .. }));
    // Nor is one of another Deployment, whose revision may have the same number.
    let mut set = replica_set("api-2", "2");
    set.edit(|body| {
        body["metadata"]["ownerReferences"] =
            json!([{"kind": "Deployment", "uid": "other", "controller": true}])
    });
    assert!(matches!(of(&live, &live, &[ours], &[set]), Health::Waiting { .. }));
}

#[test]
fn a_doomed_pod_of_an_unknown_replica_set_is_asked_about() {
    let live = deployment(2, "api:2", progressing("ReplicaSetUpdated", "2026-11-01T10:10:00Z"));
    let doomed = pod("a", "api-2", json!({"reason": "CrashLoopBackOff"}), json!({}));
    match of(&live, &live, &[doomed], &[]) {
        Health::Ask(key) => assert_eq!(key.name, "api-2"),
        other => panic!("{other:?}"),
    }
}

/// Each rule is worth what turns red without it.
#[cfg(feature = "planted-defects")]
#[test]
fn every_trap_that_is_put_back_turns_its_test_red() {
    use crate::planted::{Defect, turns_red};

    let tests: [(Defect, fn()); 12] = [
        (Defect::StatusOfBefore, t01_the_last_rollouts_status_is_not_this_ones_success),
        (Defect::FailedJobAwaited, t02_a_failed_job_is_a_failure_and_a_missing_one_too),
        (Defect::StaleDeadlineCounts, t03_a_stale_progress_deadline_does_not_count),
        (Defect::PausedAwaited, t04_a_paused_deployment_fails_at_once),
        (Defect::OldPodsForgotten, t05_old_pods_that_still_run_or_terminate_are_waited_for),
        (Defect::OtherUidTaken, t06_another_object_or_another_template_is_not_what_was_written),
        (Defect::SupersededIgnored, t06_another_object_or_another_template_is_not_what_was_written),
        (Defect::ReadyIsAvailable, t07_stateful_sets_are_available_not_ready_and_know_partitions),
        (Defect::AddressNotAwaited, t08_running_jobs_failed_pods_and_pending_load_balancers_are_not_done),
        (Defect::UnschedulableDooms, t09_an_unschedulable_pod_is_waited_for),
        (Defect::DoomedAwaited, t10_doomed_pods_of_the_new_revision_fail_at_once),
        (Defect::TransientDooms, t10_doomed_pods_of_the_new_revision_fail_at_once),
    ];
    for (defect, test) in tests {
        turns_red(defect, test);
    }
}
