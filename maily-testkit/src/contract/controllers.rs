//! What the controllers of a cluster do, as far as releases rely on it: no sentence of a trait, but what the simulated
//! world must not be kinder at than a real one.

use std::time::Duration;

use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{Deleted, Dependents, ListQuery, Precondition, WriteOptions},
};
use serde_json::{Value, json};

use super::cluster::Place;

/// Time within which controllers have to move.
const SOON: Duration = Duration::from_secs(60);
/// So long nothing may move that must not.
const STILL: Duration = Duration::from_secs(5);

/// The tag of images whose pods do not become ready; where pods are simulated by an annotation, it says so as well.
const DOOMED: &str = "doomed";

async fn apply(place: &Place, kind: (&str, &str), name: &str, spec: Value) -> ObjectKey {
    let body = json!({"apiVersion": kind.0, "kind": kind.1,
        "metadata": {"name": name, "namespace": place.namespace}, "spec": spec});
    let object = Object::from_value(body).expect("is an object");
    let options = WriteOptions::apply("maily", Precondition::Any);
    place.cluster.write(&object, &options).await.expect("is applied").key().clone()
}

fn template(app: &str, tag: &str) -> Value {
    let behaviour = if tag == DOOMED { "never-ready" } else { "ready" };
    json!({"metadata": {"labels": {"app": app}, "annotations": {"stack.maily.dev/behaviour": behaviour}},
        "spec": {"containers": [{"name": "main", "image": format!("registry.example/shop/{app}:{tag}")}]}})
}

async fn of_kind(place: &Place, api_version: &str, kind: &str) -> Vec<Object> {
    let query = ListQuery::new(ObjectKind::new(api_version, kind), Some(&place.namespace));
    let mut found = place.cluster.list(&query).await.expect("answers");
    found.retain(|object| !object.is_terminating());
    found.sort_by(|one, other| one.name().cmp(other.name()));
    found
}

/// Tags of the images of pods, in the order of their names, with whether they are ready.
async fn pods(place: &Place) -> Vec<(String, bool)> {
    let all = of_kind(place, "v1", "Pod").await;
    let tag = |pod: &Object| {
        pod.text("/spec/containers/0/image").and_then(|image| Some(image.rsplit_once(':')?.1.to_owned()))
    };
    let ready = |pod: &Object| {
        pod.items("/status/conditions").iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    all.iter().map(|pod| (tag(pod).expect("has a tag"), ready(pod))).collect()
}

async fn pods_come_to(place: &Place, wanted: &[(&str, bool)]) {
    let until = place.runtime.now() + SOON;
    loop {
        let now = pods(place).await;
        if now.iter().map(|(tag, ready)| (&**tag, *ready)).eq(wanted.iter().copied()) {
            return;
        }
        assert!(place.runtime.now() < until, "{now:?} instead of {wanted:?}");
        place.runtime.sleep(Duration::from_millis(100)).await;
    }
}

async fn stateful_set(place: &Place, policy: &str, tag: &str) {
    let spec = json!({"replicas": 3, "serviceName": "db", "podManagementPolicy": policy,
        "selector": {"matchLabels": {"app": "db"}}, "template": template("db", tag)});
    apply(place, ("apps/v1", "StatefulSet"), "db", spec).await;
}

/// In order, a StatefulSet replaces no pod before every one is ready, though its template has gone back.
pub async fn in_order_a_doomed_pod_holds_its_stateful_set_up(place: &Place) {
    stateful_set(place, "OrderedReady", "one").await;
    pods_come_to(place, &[("one", true); 3]).await;
    stateful_set(place, "OrderedReady", DOOMED).await;
    let held = [("one", true), ("one", true), (DOOMED, false)];
    pods_come_to(place, &held).await;
    stateful_set(place, "OrderedReady", "one").await;
    place.runtime.sleep(STILL).await;
    pods_come_to(place, &held).await;
    let pod = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some(&place.namespace), "db-2");
    place.cluster.delete(&pod, &Precondition::Any, Dependents::Follow).await.expect("is deleted");
    pods_come_to(place, &[("one", true); 3]).await;
}

/// Where the strategy has a type and nothing else, a first pod that is deleted is made anew of the revision that was whole
/// last; otherwise of the one that is wanted.
pub async fn a_first_pod_is_made_anew_as_its_strategy_says(place: &Place) {
    for (tag, rolling) in [("two", json!({"type": "RollingUpdate"})), ("three", json!({}))] {
        let set = async |tag: &str| {
            let spec = json!({"replicas": 3, "serviceName": "db", "updateStrategy": rolling,
                "selector": {"matchLabels": {"app": "db"}}, "template": template("db", tag)});
            apply(place, ("apps/v1", "StatefulSet"), "db", spec).await;
        };
        set(tag).await;
        pods_come_to(place, &[(tag, true); 3]).await;
        set(DOOMED).await;
        pods_come_to(place, &[(tag, true), (tag, true), (DOOMED, false)]).await;
        let pod = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some(&place.namespace), "db-0");
        place.cluster.delete(&pod, &Precondition::Any, Dependents::Follow).await.expect("is deleted");
        let is_typed = rolling["type"] == "RollingUpdate";
        let first = if is_typed { (tag, true) } else { (DOOMED, false) };
        pods_come_to(place, &[first, (tag, true), (DOOMED, false)]).await;
        let set = ObjectKey::new(ObjectKind::new("apps/v1", "StatefulSet"), Some(&place.namespace), "db");
        place.cluster.delete(&set, &Precondition::Any, Dependents::Follow).await.expect("is deleted");
        pods_come_to(place, &[]).await;
    }
}

/// In parallel, the pod of a template that has gone is replaced whether it is ready or not.
pub async fn in_parallel_a_doomed_pod_is_replaced(place: &Place) {
    stateful_set(place, "Parallel", "one").await;
    pods_come_to(place, &[("one", true); 3]).await;
    stateful_set(place, "Parallel", DOOMED).await;
    pods_come_to(place, &[("one", true), ("one", true), (DOOMED, false)]).await;
    stateful_set(place, "Parallel", "one").await;
    pods_come_to(place, &[("one", true); 3]).await;
}

/// A Job that is over goes after its time, with its pods; one that says nothing stays.
pub async fn a_job_that_is_over_goes_after_its_time(place: &Place) {
    let spec = |stays: Option<u32>| {
        let mut template = template("job", "one");
        template["spec"]["restartPolicy"] = json!("Never");
        let mut spec = json!({"template": template});
        if let Some(stays) = stays {
            spec["ttlSecondsAfterFinished"] = json!(stays);
        }
        spec
    };
    for (name, stays) in [("goes", Some(2)), ("stays", None)] {
        apply(place, ("batch/v1", "Job"), name, spec(stays)).await;
    }
    let is_over = |job: &Object| job.items("/status/conditions").iter().any(|one| one["type"] == "Complete");
    let until = place.runtime.now() + SOON;
    loop {
        let jobs = of_kind(place, "batch/v1", "Job").await;
        let pods = of_kind(place, "v1", "Pod").await;
        if jobs.len() == 1 && pods.len() == 1 {
            assert!(jobs[0].name() == "stays" && is_over(&jobs[0]), "{jobs:?}");
            return;
        }
        assert!(place.runtime.now() < until, "{jobs:?} {pods:?}");
        place.runtime.sleep(Duration::from_millis(100)).await;
    }
}

/// Of the replica sets of a Deployment that is through, so many old ones stay as it says.
pub async fn old_replica_sets_go_beyond_their_limit(place: &Place) {
    for tag in ["one", "two", "three", "four"] {
        let spec = json!({"replicas": 1, "revisionHistoryLimit": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": template("web", tag)});
        apply(place, ("apps/v1", "Deployment"), "web", spec).await;
        pods_come_to(place, &[(tag, true)]).await;
    }
    let until = place.runtime.now() + SOON;
    loop {
        let sets = of_kind(place, "apps/v1", "ReplicaSet").await;
        let image = |set: &Object| set.text("/spec/template/spec/containers/0/image").map(str::to_owned);
        let mut images: Vec<String> = sets.iter().filter_map(image).collect();
        images.sort();
        if images == ["registry.example/shop/web:four", "registry.example/shop/web:three"] {
            return;
        }
        assert!(place.runtime.now() < until, "{images:?}");
        place.runtime.sleep(Duration::from_millis(100)).await;
    }
}

/// Sentence 25: what has made pods goes after the last of them, or does not wait for them.
pub async fn pods_go_before_or_after_their_workload(place: &Place) {
    let mut template = template("web", "one");
    template["metadata"]["annotations"]["stack.maily.dev/stops-after"] = json!("2s");
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    let all = async || {
        let query = ListQuery::new(ObjectKind::new("v1", "Pod"), Some(&place.namespace));
        place.cluster.list(&query).await.expect("answers")
    };
    for dependents in [Dependents::GoFirst, Dependents::Follow] {
        let key = apply(place, ("apps/v1", "Deployment"), "web", spec.clone()).await;
        pods_come_to(place, &[("one", true); 2]).await;
        let answer = place.cluster.delete(&key, &Precondition::Any, dependents).await.expect("is deleted");
        let until = place.runtime.now() + SOON;
        let mut stopping = 0;
        while let Some(live) = place.cluster.get(&key).await.expect("answers") {
            assert!(
                matches!(answer, Deleted::Pending { .. }) && live.is_terminating(),
                "{answer:?} {live:?}"
            );
            stopping = stopping.max(all().await.iter().filter(|pod| pod.is_terminating()).count());
            assert!(place.runtime.now() < until, "{live:?}");
            place.runtime.sleep(Duration::from_millis(100)).await;
        }
        let left = all().await.len();
        match dependents {
            Dependents::GoFirst => assert_eq!((stopping, left), (2, 0)),
            Dependents::Follow => assert_eq!((answer, left), (Deleted::Gone, 2)),
        }
    }
}
