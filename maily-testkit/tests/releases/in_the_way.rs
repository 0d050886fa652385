//! StatefulSets whose controller waits for a pod that nobody wants any more.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{Failure, Outcome, RunEnd, What, Wish, planner::PlanOptions},
    object::{Object, ObjectKey, ObjectKind},
    provider::{ErrorKind, Precondition},
    release::RollbackTo,
    runtime::within,
};
use serde_json::{Value, json};

use crate::{
    hindered::{Hindered, Late},
    setup::{fault, succeeded},
    shop::{OF_MANIFESTS, Shop},
};

fn set(version: &str) -> Value {
    let labels = json!({"app": "db"});
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"replicas": 3, "serviceName": "db", "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": format!("registry.example/shop/db:{version}")}]}}}})
}

/// Three pods of v1, and another version beside it.
async fn shop(seed: u64) -> Shop {
    let shop = Shop::new(OF_MANIFESTS, seed);
    for version in ["v1", "v2"] {
        shop.write(version, &[set(version)]);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    shop
}

/// Tags of its pods, in their order, with whether they are ready.
fn pods(shop: &Shop) -> Vec<(String, bool)> {
    let world = shop.setup.shared.world();
    let mut pods = world.of_kind("Pod");
    pods.sort_by(|one, other| one.name().cmp(other.name()));
    let tag = |image: &str| image.rsplit_once(':').map(|(_, tag)| tag.to_owned());
    let ready = |pod: &Object| {
        pod.items("/status/conditions").iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    let of = |pod: &Object| Some((tag(pod.text("/spec/containers/0/image")?)?, ready(pod)));
    pods.iter().filter_map(|pod| of(pod)).collect()
}

fn pod(name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::new("v1", "Pod"), Some("shop"), name)
}

/// What does not serve after a way back.
fn rolled_back(end: &RunEnd) -> &[Failure] {
    match end {
        RunEnd::Over { outcome: Outcome::RolledBack { not_serving, .. }, .. } => not_serving,
        other => panic!("{other:?}"),
    }
}

fn all_of(version: &str) -> Vec<(String, bool)> {
    vec![(version.to_owned(), true); 3]
}

/// Why the version fails: at once, or when its time is up.
const TROUBLES: [&str; 4] =
    ["crash db@v2", "image-missing db@v2", "never-ready db@v2", "unschedulable db@v2"];

#[tokio::test(start_paused = true)]
async fn a_pod_in_the_way_of_its_stateful_set_goes_on_the_way_back() {
    for (trouble, seed) in TROUBLES.into_iter().zip(701..) {
        let shop = shop(seed).await;
        shop.setup.shared.world().faults.push(fault(trouble));
        let end = shop.deploy("v2").await;
        let not_serving = rolled_back(&end);
        assert!(not_serving.is_empty(), "{trouble}: {not_serving:?}");
        assert_eq!(pods(&shop), all_of("v1"), "{trouble}");
        let told = shop.setup.told.lock().expect("not poisoned");
        let gone = |what: &What| matches!(what, What::PodDeleted { pod, why, .. } if pod == "Pod shop/db-2" && why.contains("db-2 is of another revision"));
        assert!(told.iter().any(gone), "{trouble}: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_doomed_pod_of_the_version_before_makes_room_for_the_next_one() {
    let shop = shop(711).await;
    {
        let mut world = shop.setup.shared.world();
        world.faults.push(fault("crash db@v1"));
        world.delete(&pod("db-1"), &Precondition::Any).expect("is deleted");
    }
    shop.setup.runtime.sleep(Duration::from_secs(30)).await;
    assert_eq!(pods(&shop)[1], ("v1".to_owned(), false));
    let end = shop.deploy("v2").await;
    assert!(succeeded(&end), "{end:?}");
    assert_eq!(pods(&shop), all_of("v2"));
}

/// Three pods of v1 and then v2, of which the second is not ready any more, and never again.
async fn unready(seed: u64) -> Shop {
    let shop = shop(seed).await;
    assert!(succeeded(&shop.deploy("v2").await));
    {
        let mut world = shop.setup.shared.world();
        world.faults.push(fault("never-ready db@v2"));
        world.delete(&pod("db-1"), &Precondition::Any).expect("is deleted");
    }
    shop.setup.runtime.sleep(Duration::from_secs(30)).await;
    assert_eq!(pods(&shop)[1], ("v2".to_owned(), false));
    shop
}

fn told(shop: &Shop, end: &str) -> bool {
    let told = shop.setup.told.lock().expect("not poisoned");
    told.iter().any(|what| matches!(what, What::StepProgress { why, .. } if why.ends_with(end)))
}

/// It may still become ready by itself; the other half of the time is its successor's.
#[tokio::test(start_paused = true)]
async fn a_pod_in_the_way_of_the_next_version_has_half_of_the_time_to_become_ready() {
    let shop = unready(741).await;
    let begun = shop.setup.runtime.now();
    let end = shop.deploy("v1").await;
    assert!(succeeded(&end), "{end:?}");
    assert_eq!(pods(&shop), all_of("v1"));
    assert!(told(&shop, "; it is deleted when half of the time is over"));
    assert!(told(&shop, "; it was deleted"));
    let took = shop.setup.runtime.now().since(begun);
    assert!(took > Duration::from_secs(150) && took < Duration::from_secs(330), "{took:?}");
}

/// Who rolls back does not wait for what he leaves.
#[tokio::test(start_paused = true)]
async fn a_pod_in_the_way_of_a_rollback_goes_at_once() {
    let shop = unready(742).await;
    let begun = shop.setup.runtime.now();
    let back = shop.back(RollbackTo::LastGood, None, PlanOptions::default()).await;
    let end = shop.run(back.expect("can be planned")).await;
    assert!(succeeded(&end), "{end:?}");
    assert_eq!(pods(&shop), all_of("v1"));
    let took = shop.setup.runtime.now().since(begun);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_delete_a_pod_in_the_way_is_told_how_to() {
    for (helped, seed) in [(false, 721), (true, 722)] {
        let mut shop = shop(seed).await;
        shop.setup.shared.world().faults.push(fault("crash db@v2"));
        let cluster = Hindered { keeps: Some("Pod"), ..Hindered::of(&shop.setup) };
        shop.setup.cluster = Some(Arc::new(cluster));
        let command = "`kubectl delete pod db-2 --namespace shop` lets ";
        let person = async {
            // He has read what the run waits for.
            let waits =
                |what: &What| matches!(what, What::StepProgress { why, .. } if why.starts_with(command));
            while helped && !shop.setup.told.lock().expect("not poisoned").iter().any(waits) {
                shop.setup.runtime.sleep(Duration::from_secs(1)).await;
            }
            if helped {
                shop.setup.shared.world().delete(&pod("db-2"), &Precondition::Any).expect("is deleted");
            }
        };
        let (end, ()) = futures::future::join(shop.deploy("v2"), person).await;
        let not_serving = rolled_back(&end);
        if helped {
            assert!(not_serving.is_empty(), "{not_serving:?}");
            assert_eq!(pods(&shop), all_of("v1"));
        } else {
            let [failure] = not_serving else { panic!("{not_serving:?}") };
            assert!(failure.hint.as_ref().is_some_and(|hint| hint.starts_with(command)), "{failure:?}");
            assert!(failure.message.contains("nobody may delete"), "{failure:?}");
            assert_eq!(pods(&shop)[2], ("v2".to_owned(), false));
        }
    }
}

/// Its sender is gone, it is on its way, and the pod does not move: only a mark of who took over refuses it.
#[tokio::test(start_paused = true)]
pub(crate) async fn a_deletion_of_a_pod_in_the_way_that_is_late_lands_on_none_after_a_takeover() {
    // While a step goes back, and when all of them are back and are waited for.
    for (after_s, seed) in [(0, 731), (150, 732)] {
        let mut shop = shop(seed).await;
        shop.setup.shared.world().faults.push(fault("image-missing db@v2"));
        let late = Late::from(shop.setup.runtime.now() + Duration::from_secs(after_s));
        let cluster = Hindered { late: Some(Arc::clone(&late)), ..Hindered::of(&shop.setup) };
        shop.setup.cluster = Some(Arc::new(cluster));
        let died = within(&*shop.setup.runtime, Duration::from_secs(200), shop.deploy("v2")).await;
        assert!(died.is_none(), "it waits for the answer: {died:?}");
        assert_eq!(late.came_to(), None);
        let (environment, options) = (shop.setup.environment(), shop.setup.options("second"));
        let end = environment.take_over(None, Wish::Resume, &options).await.expect("goes on");
        assert!(rolled_back(end.as_ref().expect("is there")).is_empty(), "{after_s}: {end:?}");
        assert_eq!(pods(&shop), all_of("v1"));
        assert_eq!(late.came_to(), Some(Err(ErrorKind::Conflict)), "after {after_s} s");
    }
}

/// A policy of the cluster may refuse it as well as missing rights: nobody is stuck for the mark of a pod.
#[tokio::test(start_paused = true)]
async fn who_may_not_mark_a_pod_in_the_way_takes_a_run_over_all_the_same() {
    for (kind, wish, seed) in [
        (ErrorKind::PermissionDenied, Wish::Resume, 761),
        (ErrorKind::Invalid, Wish::Resume, 762),
        (ErrorKind::Invalid, Wish::Abort, 763),
    ] {
        let mut shop = shop(seed).await;
        shop.setup.shared.world().faults.push(fault("never-ready db@v2"));
        let died = within(&*shop.setup.runtime, Duration::from_secs(30), shop.deploy("v2")).await;
        assert!(died.is_none(), "it waits for the first pod: {died:?}");
        shop.setup.cluster = Some(Arc::new(Hindered { no_marks: Some(kind), ..Hindered::of(&shop.setup) }));
        let end = shop.setup.environment().take_over(None, wish, &shop.setup.options("second")).await;
        let end = end.expect("goes on").expect("is there");
        assert!(rolled_back(&end).is_empty(), "{kind:?}: {end:?}");
        assert_eq!(pods(&shop), all_of("v1"), "{kind:?}");
        let told = shop.setup.told.lock().expect("not poisoned");
        let refused =
            |what: &What| matches!(what, What::Waiting { why } if why.contains("pods are not changed"));
        assert!(told.iter().any(refused), "{kind:?}: {told:?}");
    }
}

/// Before the run, or while it is at work: the release says nothing of it, and neither a deploy nor who looks later takes
/// the pods that it holds back for those of the release.
#[tokio::test(start_paused = true)]
async fn pods_that_somebody_holds_back_are_none_of_the_release() {
    let shop = Shop::new(OF_MANIFESTS, 751);
    for version in ["v1", "v2"] {
        let mut set = set(version);
        set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
        shop.write(version, &[set]);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "StatefulSet"), Some("shop"), "db");
    let hold = |pods: u32| {
        let strategy = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": pods}}}});
        shop.setup.shared.world().edit_as("kubectl-patch", &key, strategy).expect("may");
    };
    hold(2);
    let end = shop.deploy("v2").await;
    let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = &end else { panic!("{end:?}") };
    assert_eq!(why.cause, "partition", "{why:?}");
    hold(0);
    shop.setup.runtime.sleep(Duration::from_secs(30)).await;
    let (end, ()) = futures::future::join(shop.deploy("v2"), async {
        while pods(&shop).last().is_none_or(|(tag, _)| tag != "v2") {
            shop.setup.runtime.sleep(Duration::from_millis(10)).await;
        }
        hold(3);
    })
    .await;
    let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = &end else { panic!("{end:?}") };
    assert_eq!(why.cause, "partition", "{why:?}");
}
