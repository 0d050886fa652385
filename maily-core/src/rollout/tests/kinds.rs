//! The rules of the kinds beside Deployments, one by one.

use serde_json::{Value, json};

use super::{cause, object, of, stateful_set, why};
use crate::{
    object::Object,
    rollout::{Health, Target},
};

/// A pod with a container that waits or runs.
fn pod(name: &str, label: (&str, &str), state: Value) -> Object {
    object(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "x", label.0: label.1}},
        "status": {"containerStatuses": [{"name": "x", "image": "x:2", "restartCount": 1, "ready": false,
            "state": state, "lastState": {"terminated": {"exitCode": 1}}}]}}))
}

fn leaving(pod: &Object) -> Object {
    let mut pod = pod.clone();
    pod.edit(|body| body["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z"));
    pod
}

fn crashing() -> Value {
    json!({"waiting": {"reason": "CrashLoopBackOff"}})
}

fn missing() -> Value {
    json!({"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}})
}

fn alone(live: &Object) -> Health {
    of(live, live, &[], &[])
}

/// How many serve, and how many shall.
fn counted(health: &Health) -> (u32, u32) {
    match health {
        Health::Waiting { ready, desired, .. } | Health::HeldUp { ready, desired, .. } => (*ready, *desired),
        other => panic!("expected to wait, found {other:?}"),
    }
}

fn edited(live: &Object, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Object {
    let mut live = live.clone();
    live.edit(change);
    live
}

const TEMPLATE_GENERATION: &str = "pod-template-generation";

/// A DaemonSet of generation 2 on two nodes.
fn daemon_set(observed: i64, updated: i64, available: i64) -> Object {
    object(json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "shop", "uid": "u", "generation": 2,
            "annotations": {"deprecated.daemonset.template.generation": "2"}},
        "spec": {"updateStrategy": {"type": "RollingUpdate"}, "template": {"spec": {}}},
        "status": {"observedGeneration": observed, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
            "updatedNumberScheduled": updated, "numberAvailable": available, "numberReady": 2}}))
}

#[test]
fn a_daemon_set_is_done_when_every_node_has_a_new_pod_that_is_available() {
    assert_eq!(alone(&daemon_set(2, 2, 2)), Health::Done);
    // All are new, one is not available; ready is not available.
    assert_eq!(counted(&alone(&daemon_set(2, 2, 1))), (1, 2));
    assert_eq!(why(&alone(&daemon_set(2, 2, 1))), "1 of 2 ready");
    // All are available, one is an old one.
    assert_eq!(counted(&alone(&daemon_set(2, 1, 2))), (1, 2));
    let nowhere = edited(&daemon_set(2, 0, 0), |body| body["status"]["desiredNumberScheduled"] = json!(0));
    assert_eq!(alone(&nowhere), Health::Done);
    let slow = pod("a", (TEMPLATE_GENERATION, "2"), json!({"running": {}}));
    let live = daemon_set(2, 2, 1);
    assert_eq!(why(&of(&live, &live, &[slow], &[])), "container `x` runs but is not ready");
}

#[test]
fn the_status_of_before_is_not_a_daemon_sets_success() {
    let before = alone(&daemon_set(1, 2, 2));
    assert!(why(&before).contains("not seen"), "{before:?}");
    assert_eq!(counted(&before), (0, 2));
}

#[test]
fn a_daemon_set_that_is_rolled_by_deleting_says_so() {
    let by_hand = |updated| {
        edited(&daemon_set(2, updated, 2), |body| body["spec"]["updateStrategy"]["type"] = json!("OnDelete"))
    };
    assert!(why(&alone(&by_hand(1))).contains("OnDelete"));
    assert_eq!(alone(&by_hand(2)), Health::Done);
}

/// A pod that an earlier generation made of the same template is as good as a new one: nobody is sent to delete it.
#[test]
fn nobody_is_sent_to_delete_a_pod_of_a_daemon_set_that_may_be_of_its_template() {
    let pod = |name: &str, generation: &str, hash: &str| {
        edited(&pod(name, (TEMPLATE_GENERATION, generation), json!({"running": {}})), |body| {
            body["metadata"]["labels"]["controller-revision-hash"] = json!(hash);
            body["metadata"]["ownerReferences"] =
                json!([{"kind": "DaemonSet", "uid": "u", "controller": true}]);
        })
    };
    let judged = |scheduled: i64, updated: i64, pods: &[Object]| {
        let live = edited(&daemon_set(2, updated, scheduled), |body| {
            body["metadata"]["annotations"]["deprecated.daemonset.template.generation"] = json!("3");
            body["spec"]["updateStrategy"]["type"] = json!("OnDelete");
            body["status"]["desiredNumberScheduled"] = json!(3);
            body["status"]["currentNumberScheduled"] = json!(scheduled);
        });
        match of(&live, &live, pods, &[]) {
            Health::HeldUp { pod, .. } => Ok(pod.name().to_owned()),
            other => Err(why(&other).to_owned()),
        }
    };
    let untold = "strategy OnDelete: pods take the new revision only when somebody deletes them; some have it already, and \
                  their label `controller-revision-hash` tells which";
    // Taken back to the first template, of which one is left, or two.
    let (first, second, other) = (pod("a", "1", "h"), pod("b", "2", "i"), pod("c", "2", "i"));
    let taken_back = [first.clone(), second.clone(), other.clone()];
    assert_eq!(judged(3, 1, &taken_back), Err(untold.to_owned()));
    assert_eq!(judged(3, 2, &[first.clone(), pod("d", "1", "h"), second.clone()]), Err(untold.to_owned()));
    // One that goes is counted until it has gone, and one that is missing is none of another revision.
    assert_eq!(judged(3, 1, &[first.clone(), leaving(&second), other.clone()]), Err(untold.to_owned()));
    assert_eq!(judged(2, 1, &[first.clone(), second.clone()]), Err(untold.to_owned()));
    // A new pod shows the hash.
    assert_eq!(judged(3, 2, &[first.clone(), second.clone(), pod("e", "3", "h")]), Ok("b".to_owned()));
    // All that are left are of another one; what is not known yet is none of either.
    assert_eq!(judged(3, 0, &[pod("f", "1", "k"), second.clone(), other]), Ok("b".to_owned()));
    let known = judged(3, 0, &[first]).expect_err("not all of them are known");
    assert!(known.ends_with("somebody deletes them"), "{known}");
}

#[test]
fn a_doomed_pod_of_a_daemon_sets_new_template_fails_it() {
    let live = daemon_set(2, 1, 1);
    let new = pod("a", (TEMPLATE_GENERATION, "2"), crashing());
    assert_eq!(cause(&of(&live, &live, std::slice::from_ref(&new), &[])), "crash-loop");
    let old = pod("a", (TEMPLATE_GENERATION, "1"), crashing());
    assert_eq!(counted(&of(&live, &live, &[old], &[])), (1, 2));
    assert_eq!(counted(&of(&live, &live, &[leaving(&new)], &[])), (1, 2));
    // Of which template a pod is cannot be told yet.
    let untold = edited(&live, |body| {
        body["metadata"].as_object_mut().expect("a map").remove("annotations");
    });
    assert_eq!(counted(&of(&untold, &untold, &[new], &[])), (1, 2));
}

#[test]
fn another_template_of_a_daemon_set_or_a_stateful_set_is_not_what_was_written() {
    let sets = [daemon_set(2, 2, 2), stateful_set(json!({}), json!({"observedGeneration": 3}))];
    for ours in sets {
        let theirs = edited(&ours, |body| {
            body["metadata"]["generation"] = json!(9);
            body["spec"]["template"] = json!({"spec": {"containers": []}});
        });
        assert_eq!(cause(&of(&ours, &theirs, &[], &[])), "superseded");
        let again = edited(&ours, |body| body["metadata"]["uid"] = json!("another"));
        assert_eq!(cause(&of(&ours, &again, &[], &[])), "replaced");
        assert_eq!(cause(&of(&ours, &leaving(&ours), &[], &[])), "gone");
    }
}

/// Three replicas on their way from revision `a` to `b`.
fn rolling(updated: i64, available: i64) -> Value {
    json!({"observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "updatedReplicas": updated,
        "availableReplicas": available, "updateRevision": "b", "currentRevision": "a"})
}

#[test]
fn the_status_of_before_is_not_a_stateful_sets_success() {
    let mut status = rolling(3, 3);
    status["observedGeneration"] = json!(0);
    let before = alone(&stateful_set(json!({}), status));
    assert!(why(&before).contains("not seen"), "{before:?}");
    assert_eq!(counted(&before), (0, 3));
}

#[test]
fn a_doomed_pod_of_a_stateful_sets_new_revision_fails_it() {
    let live = stateful_set(json!({"type": "RollingUpdate"}), rolling(1, 2));
    let new = pod("db-2", ("controller-revision-hash", "b"), missing());
    assert_eq!(cause(&of(&live, &live, std::slice::from_ref(&new), &[])), "image-not-found");
    let old = pod("db-0", ("controller-revision-hash", "a"), crashing());
    assert_eq!(counted(&of(&live, &live, &[old], &[])), (1, 3));
    assert_eq!(counted(&of(&live, &live, &[leaving(&new)], &[])), (1, 3));
    let untold = edited(&live, |body| {
        body["status"].as_object_mut().expect("a map").remove("updateRevision");
    });
    assert!(matches!(of(&untold, &untold, &[new], &[]), Health::Waiting { .. }));
}

#[test]
fn surplus_pods_of_a_stateful_set_are_waited_for() {
    let mut status = rolling(3, 3);
    status["currentRevision"] = json!("b");
    let all = |replicas: i64| {
        let mut status = status.clone();
        status["replicas"] = json!(replicas);
        alone(&stateful_set(json!({}), status))
    };
    assert_eq!(all(3), Health::Done);
    assert_eq!(why(&all(5)), "2 surplus pods still run");
    assert_eq!(why(&all(4)), "1 surplus pod still runs");
    // A pod is missing, although as many as before are available by the last count.
    assert!(matches!(all(2), Health::Waiting { .. }));
}

#[test]
fn a_partition_holds_back_its_pods_and_no_others() {
    let with = |partition: i64, updated: i64, available: i64| {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
        alone(&stateful_set(strategy, rolling(updated, available)))
    };
    assert_eq!(with(1, 2, 3), Health::Done);
    assert_eq!(counted(&with(1, 1, 3)), (1, 3));
    assert_eq!(counted(&with(1, 2, 2)), (2, 3), "the pods that are held back have to serve, too");
    // A partition above the number of replicas holds all of them back, and not more than all.
    assert_eq!(with(7, 0, 3), Health::Done);
    assert_eq!(counted(&with(0, 2, 3)), (2, 3));
}

fn job(spec: Value, status: Value) -> Object {
    object(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "m", "namespace": "shop", "uid": "u", "generation": 1},
        "spec": spec, "status": status}))
}

fn holds(name: &str, status: &str) -> Value {
    json!({"conditions": [{"type": name, "status": status, "message": "said so",
        "lastTransitionTime": "2026-11-01T10:00:00Z"}]})
}

#[test]
fn a_job_is_done_when_it_says_complete_and_not_before() {
    assert_eq!(alone(&job(json!({}), holds("Complete", "True"))), Health::Done);
    for status in [
        holds("Complete", "False"),
        holds("SuccessCriteriaMet", "True"),
        json!({"succeeded": 1}),
        holds("Failed", "False"),
    ] {
        assert!(matches!(alone(&job(json!({}), status)), Health::Waiting { .. }));
    }
    let part = alone(&job(json!({"completions": 3}), json!({"succeeded": 1})));
    assert_eq!((why(&part), counted(&part)), ("1 of 3 complete", (1, 3)));
}

#[test]
fn a_suspended_job_is_waited_for_whatever_its_pods_say() {
    let live = job(json!({"suspend": true}), json!({}));
    let health = of(&live, &live, &[pod("m-0", ("job-name", "m"), missing())], &[]);
    assert_eq!(why(&health), "the Job is suspended");
    // One that was suspended after its end has ended all the same.
    assert_eq!(alone(&job(json!({"suspend": true}), holds("Complete", "True"))), Health::Done);
}

#[test]
fn a_job_goes_on_as_long_as_it_may_try_again() {
    let live = job(json!({"backoffLimit": 3}), json!({"active": 1, "failed": 2}));
    let crashed = edited(&pod("m-0", ("job-name", "m"), json!({"terminated": {"exitCode": 1}})), |body| {
        body["status"]["phase"] = json!("Failed");
    });
    assert!(matches!(of(&live, &live, &[crashed], &[]), Health::Waiting { .. }));
    // A container that is started again counts as a try: the limit decides.
    let restarted = pod("m-1", ("job-name", "m"), crashing());
    assert!(why(&of(&live, &live, &[restarted], &[])).contains("CrashLoopBackOff"));
}

#[test]
fn a_doomed_pod_of_a_job_fails_it_before_its_limit() {
    let live = job(json!({"backoffLimit": 3}), json!({"active": 1}));
    let doomed = pod("m-0", ("job-name", "m"), missing());
    assert_eq!(cause(&of(&live, &live, std::slice::from_ref(&doomed), &[])), "image-not-found");
    assert!(matches!(of(&live, &live, &[leaving(&doomed)], &[]), Health::Waiting { .. }));
}

#[test]
fn a_failed_job_names_the_pod_whose_log_tells_why() {
    let live = job(json!({}), holds("Failed", "True"));
    let pods = ["Running", "Failed"].map(|phase| {
        edited(&pod(phase, ("job-name", "m"), json!({})), |body| body["status"]["phase"] = json!(phase))
    });
    let Health::Failed(reason) = of(&live, &live, &pods, &[]) else { panic!("has failed") };
    assert_eq!((reason.cause, &*reason.message), ("job-failed", "said so"));
    assert_eq!((&*reason.object.name, reason.container), ("Failed", Some(("x".to_owned(), false))));
    assert_eq!(reason.at.map(|at| at.to_string()).as_deref(), Some("2026-11-01T10:00:00Z"));
    let Health::Failed(reason) = alone(&live) else { panic!("has failed") };
    assert_eq!((&*reason.object.kind.kind, reason.container), ("Job", None));
}

#[test]
fn a_bare_pod_is_ready_or_has_ended_well_or_not() {
    let bare = |status: Value| {
        object(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u"}, "status": status}),
        )
    };
    assert_eq!(alone(&bare(json!({"phase": "Succeeded"}))), Health::Done);
    assert_eq!(alone(&bare(holds("Ready", "True"))), Health::Done);
    assert_eq!(why(&alone(&bare(holds("Ready", "False")))), "not ready");
    let Health::Failed(reason) = alone(&bare(json!({"phase": "Failed", "reason": "Evicted"}))) else {
        panic!("has failed")
    };
    assert_eq!(reason.message, "the pod failed: Evicted");
    let doomed = json!({"containerStatuses": [{"name": "x", "state": missing()}]});
    assert_eq!(cause(&alone(&bare(doomed))), "image-not-found");
}

#[test]
fn definitions_and_aggregated_apis_are_waited_for_by_their_condition() {
    let kinds = [
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "Established"),
        ("apiregistration.k8s.io/v1", "APIService", "Available"),
    ];
    for (api, kind, condition) in kinds {
        let with = |status: Value| {
            alone(&object(json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "uid": "u"},
                "status": status})))
        };
        assert_eq!(with(holds(condition, "True")), Health::Done, "{kind}");
        let word = condition.to_lowercase();
        assert_eq!(why(&with(holds(condition, "False"))), format!("not yet {word}: said so"));
        let reason =
            json!({"conditions": [{"type": condition, "status": "Unknown", "reason": "MissingEndpoint"}]});
        assert_eq!(why(&with(reason)), format!("not yet {word}: MissingEndpoint"));
        // Another condition says nothing of it.
        assert_eq!(why(&with(holds("NamesAccepted", "True"))), format!("not yet {word}"));
        assert_eq!(counted(&with(json!({}))), (0, 1));
    }
}

#[test]
fn a_namespace_is_waited_for_by_its_phase() {
    let with = |status: Value| {
        alone(&object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "uid": "u"},
            "status": status})))
    };
    assert_eq!(with(json!({"phase": "Active"})), Health::Done);
    assert_eq!(why(&with(json!({"phase": "Terminating"}))), "phase Terminating");
    assert_eq!(why(&with(json!({}))), "phase unknown");
}

#[test]
fn a_load_balancer_is_waited_for_and_no_other_service() {
    let service = |kind: &str, address: Value| {
        object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "uid": "u"},
            "spec": {"type": kind}, "status": {"loadBalancer": {"ingress": address}}}))
    };
    assert_eq!(alone(&service("LoadBalancer", json!([{"hostname": "a.example"}]))), Health::Done);
    assert!(matches!(alone(&service("LoadBalancer", json!([]))), Health::Waiting { .. }));
    assert_eq!(Target::pin(&service("ClusterIP", json!([]))), None);
    let map = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "uid": "u"}}));
    assert_eq!(Target::pin(&map), None);
}

#[test]
fn a_job_that_has_ended_and_goes_is_what_it_ended_as() {
    let job = |conditions: Value| {
        object(json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "seed", "uid": "u", "generation": 1, "deletionTimestamp": "2026-11-01T10:00:00Z"},
            "spec": {"ttlSecondsAfterFinished": 0}, "status": {"conditions": conditions}}))
    };
    assert_eq!(alone(&job(json!([{"type": "Complete", "status": "True"}]))), Health::Done);
    assert_eq!(cause(&alone(&job(json!([{"type": "Failed", "status": "True"}])))), "job-failed");
    assert_eq!(cause(&alone(&job(json!([])))), "gone");
}

#[test]
fn kinds_of_other_groups_are_not_waited_for_as_kubernetes_own() {
    let of = |version: &str, kind: &str| {
        let object =
            object(json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a", "uid": "u"},
            "spec": {"type": "LoadBalancer"}}));
        Target::waits_for(&object)
    };
    let own = [
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("batch/v1", "Job"),
        ("v1", "Pod"),
        ("v1", "Namespace"),
        ("v1", "Service"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("apiregistration.k8s.io/v1", "APIService"),
    ];
    for (version, kind) in own {
        assert!(of(version, kind), "{kind}");
        assert!(!of("own.example/v1", kind), "{kind}");
    }
    assert!(!of("eventhub.azure.com/v1", "Namespace") && !of("batch.volcano.sh/v1alpha1", "Job"));
    assert!(!of("serving.knative.dev/v1", "Service"));
}
