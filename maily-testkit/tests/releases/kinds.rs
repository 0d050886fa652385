//! Kinds beside Deployments: as the world plays them, and as a release waits for them.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use maily_core::{
    engine::{Depth, Outcome, RunEnd, Storage, planner::PlanOptions},
    object::{Object, ObjectKey, ObjectKind},
    provider::{Precondition, WriteOptions},
    rollout::{Evidence, Health, Obstacle, Target, judge},
};
use maily_testkit::world::World;
use serde_json::{Value, json};

use crate::setup::{Setup, fault, succeeded};

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn world() -> World {
    World::new(jiff::Timestamp::UNIX_EPOCH, 1, &["shop", "other"])
}

fn write(world: &mut World, object: &Object) -> Object {
    world.write(object, &WriteOptions::apply("maily", Precondition::Any)).expect("is accepted")
}

fn live(world: &World, object: &Object) -> Object {
    world.get(object.key()).expect("is there").clone()
}

fn pass(world: &mut World, milliseconds: i64) {
    let to = world.now + SignedDuration::from_millis(milliseconds);
    world.advance(to);
}

/// A workload whose pods carry the label `app`.
fn workload(kind: &str, name: &str, image: &str, spec: Value) -> Object {
    let mut object = object(json!({"apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec}));
    object.edit(|body| {
        body["spec"]["selector"] = json!({"matchLabels": {"app": name}});
        body["spec"]["template"] = json!({"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": format!("registry.example/{name}:{image}")}]}});
    });
    object
}

fn agent(image: &str) -> Object {
    workload("DaemonSet", "agent", image, json!({}))
}

fn is_ready(pod: &Object) -> bool {
    pod.items("/status/conditions").iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// Images of the pods of a workload, by pod.
fn images(world: &World, app: &str) -> Vec<(String, String)> {
    let mut pods = world.of_kind("Pod");
    pods.retain(|pod| pod.label("app") == Some(app));
    let tag = |pod: &Object| {
        let image = pod.text("/spec/containers/0/image").expect("has an image");
        image.rsplit_once(':').expect("has a tag").1.to_owned()
    };
    pods.iter().map(|pod| (pod.name().to_owned(), tag(pod))).collect()
}

fn tags(world: &World, app: &str) -> Vec<String> {
    images(world, app).into_iter().map(|(_, tag)| tag).collect()
}

fn ready(world: &World, app: &str) -> usize {
    let pods = world.of_kind("Pod");
    pods.into_iter().filter(|pod| pod.label("app") == Some(app) && is_ready(pod)).count()
}

/// What the rules of a rollout say of what was written.
fn verdict(world: &World, written: &Object) -> Health {
    let target = Target::pin(written).expect("is waited for");
    let live = world.get(written.key());
    let pods = world.of_kind("Pod").into_iter().filter(|pod| target.selects(pod)).collect();
    judge(&target, &Evidence { live, pods, all_pods: true, ..Evidence::default() })
}

#[test]
fn a_daemon_set_of_the_world_has_a_pod_on_every_node() {
    let mut world = world();
    let written = write(&mut world, &agent("v1"));
    assert!(matches!(verdict(&world, &written), Health::Waiting { .. }));
    pass(&mut world, 5_000);
    let names: Vec<String> = images(&world, "agent").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["agent-node-0", "agent-node-1", "agent-node-2"]);
    let status = live(&world, &written).at("/status").cloned().expect("is told");
    for field in
        ["desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberAvailable"]
    {
        assert_eq!(status[field], 3, "{field}: {status}");
    }
    assert_eq!(verdict(&world, &written), Health::Done);
    // Another node gets its pod as well.
    write(&mut world, &object(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-9"}})));
    pass(&mut world, 5_000);
    assert_eq!(ready(&world, "agent"), 4);
    assert_eq!(live(&world, &written).int("/status/desiredNumberScheduled"), Some(4));
}

#[test]
fn a_daemon_set_of_the_world_is_rolled_node_by_node() {
    let mut world = world();
    write(&mut world, &agent("v1"));
    pass(&mut world, 5_000);
    let written = write(&mut world, &agent("v2"));
    let mut seen = 0;
    for _ in 0..500 {
        assert!(ready(&world, "agent") >= 2, "{:?}", images(&world, "agent"));
        let new = tags(&world, "agent").iter().filter(|tag| *tag == "v2").count();
        let done = verdict(&world, &written) == Health::Done;
        assert!(!done || (new == 3 && ready(&world, "agent") == 3), "done with {new} new pods");
        seen = seen.max(new);
        if done {
            break;
        }
        pass(&mut world, 20);
    }
    assert_eq!((seen, verdict(&world, &written)), (3, Health::Done));
}

#[test]
fn a_daemon_set_of_the_world_whose_new_pods_crash_stops_at_the_first_node() {
    let mut world = world();
    write(&mut world, &agent("v1"));
    pass(&mut world, 5_000);
    world.faults.push(fault("crash agent@v2"));
    let written = write(&mut world, &agent("v2"));
    pass(&mut world, 30_000);
    let mut of = tags(&world, "agent");
    of.sort();
    assert_eq!(of, ["v1", "v1", "v2"]);
    let Health::Failed(reason) = verdict(&world, &written) else { panic!("is known to fail") };
    assert_eq!(reason.cause, "crash-loop");
    // The way back replaces the pod that does not come up.
    let back = write(&mut world, &agent("v1"));
    pass(&mut world, 10_000);
    assert_eq!((tags(&world, "agent"), verdict(&world, &back)), (vec!["v1".to_owned(); 3], Health::Done));
}

#[test]
fn a_stateful_set_of_the_world_in_order_replaces_no_pod_before_every_one_is_ready() {
    for parallel in [false, true] {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let set = |image: &str| {
            workload("StatefulSet", "db", image, json!({"replicas": 3, "podManagementPolicy": policy}))
        };
        let mut world = world();
        write(&mut world, &set("v1"));
        pass(&mut world, 100);
        assert_eq!(tags(&world, "db").len(), if parallel { 3 } else { 1 }, "{policy}");
        pass(&mut world, 10_000);
        world.faults.push(fault("crash db@v2"));
        write(&mut world, &set("v2"));
        pass(&mut world, 30_000);
        assert_eq!(tags(&world, "db"), ["v1", "v1", "v2"], "{policy}");
        let back = write(&mut world, &set("v1"));
        pass(&mut world, 60_000);
        if !parallel {
            assert_eq!(tags(&world, "db"), ["v1", "v1", "v2"]);
            let Health::HeldUp { pod, obstacle, .. } = verdict(&world, &back) else {
                panic!("it is held up")
            };
            assert!(obstacle == Obstacle::Doomed && pod.name() == "db-2", "{pod:?}");
            world.delete(pod.key(), &Precondition::Any).expect("is deleted");
            pass(&mut world, 10_000);
        }
        assert_eq!((tags(&world, "db"), verdict(&world, &back)), (vec!["v1".to_owned(); 3], Health::Done));
    }
}

#[test]
fn a_job_of_the_world_that_is_over_goes_after_its_time() {
    let job = |name: &str, stays: Option<u64>| {
        let mut job = object(json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"backoffLimit": 0, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": format!("registry.example/{name}:v1")}]}}}}));
        if let Some(stays) = stays {
            job.edit(|body| body["spec"]["ttlSecondsAfterFinished"] = json!(stays));
        }
        job
    };
    let mut world = world();
    world.faults.push(fault("crash fails"));
    for (name, stays) in [("fails", Some(60)), ("ends", Some(60)), ("soon", Some(0)), ("stays", None)] {
        write(&mut world, &job(name, stays));
    }
    let there = |world: &World| -> (Vec<String>, usize) {
        let names = world.of_kind("Job").into_iter().map(|job| job.name().to_owned()).collect();
        (names, world.of_kind("Pod").len())
    };
    pass(&mut world, 50_000);
    assert_eq!(there(&world), (["ends", "fails", "stays"].map(str::to_owned).to_vec(), 3));
    pass(&mut world, 20_000);
    assert_eq!(there(&world), (vec!["stays".to_owned()], 1), "with their pods");
    pass(&mut world, 86_400_000);
    assert_eq!(there(&world).1, 1);
}

#[test]
fn a_deployment_of_the_world_keeps_so_many_old_replica_sets() {
    for (limit, kept) in [(Some(2), 3), (Some(0), 1), (None, 11)] {
        let mut world = world();
        for version in 0..15 {
            let mut spec = json!({"replicas": 1});
            if let Some(limit) = limit {
                spec["revisionHistoryLimit"] = json!(limit);
            }
            write(&mut world, &workload("Deployment", "web", &format!("v{version}"), spec));
            pass(&mut world, 5_000);
        }
        let sets = world.of_kind("ReplicaSet");
        assert_eq!(sets.len(), kept, "{limit:?}");
        // The oldest have gone, and whoever goes back to the last but one finds its set.
        let image = |set: &&Object| set.text("/spec/template/spec/containers/0/image").map(str::to_owned);
        let images: BTreeSet<_> = sets.iter().filter_map(image).collect();
        assert_eq!(images.contains("registry.example/web:v13"), kept > 1, "{images:?}");
        assert!(images.contains("registry.example/web:v14"), "{images:?}");
    }
}

#[test]
fn what_is_rolled_by_deleting_keeps_its_pods_until_somebody_deletes_them() {
    let by_hand = |image: &str| {
        [
            workload("DaemonSet", "agent", image, json!({"updateStrategy": {"type": "OnDelete"}})),
            workload(
                "StatefulSet",
                "db",
                image,
                json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}}),
            ),
        ]
    };
    let mut world = world();
    for set in by_hand("v1") {
        write(&mut world, &set);
    }
    pass(&mut world, 10_000);
    for written in by_hand("v2").map(|set| write(&mut world, &set)) {
        pass(&mut world, 30_000);
        let name = written.name();
        assert_eq!(tags(&world, name), ["v1"; 3], "{name}");
        let Health::HeldUp { why, obstacle: Obstacle::ByHand, .. } = verdict(&world, &written) else {
            panic!("{name} is waited for")
        };
        assert!(why.contains("OnDelete"), "{why}");
        let mut pods = world.of_kind("Pod");
        pods.retain(|pod| pod.label("app") == Some(name));
        let pods: Vec<_> = pods.into_iter().map(|pod| pod.key().clone()).collect();
        for pod in pods {
            world.delete(&pod, &Precondition::Any).expect("is deleted");
        }
        pass(&mut world, 30_000);
        assert_eq!((tags(&world, name), verdict(&world, &written)), (vec!["v2".to_owned(); 3], Health::Done));
    }
}

/// Its controller knows pods by the hash of their template, whichever generation they are of.
#[test]
fn pods_of_before_a_change_that_was_taken_back_are_of_the_template_again() {
    let by_hand =
        |image: &str| workload("DaemonSet", "agent", image, json!({"updateStrategy": {"type": "OnDelete"}}));
    let mut world = world();
    write(&mut world, &by_hand("v1"));
    pass(&mut world, 10_000);
    write(&mut world, &by_hand("v2"));
    let key =
        |node: u32| ObjectKey::new(ObjectKind::new("v1", "Pod"), Some("shop"), format!("agent-node-{node}"));
    pass(&mut world, 10_000);
    world.delete(&key(1), &Precondition::Any).expect("is deleted");
    pass(&mut world, 10_000);
    let back = write(&mut world, &by_hand("v1"));
    pass(&mut world, 10_000);
    assert_eq!(tags(&world, "agent"), ["v1", "v2", "v1"]);
    assert_eq!(live(&world, &back).int("/status/updatedNumberScheduled"), Some(2));
    let Health::Waiting { ready: 2, desired: 3, why } = verdict(&world, &back) else {
        panic!("nobody is sent to delete one")
    };
    assert!(why.ends_with("their label `controller-revision-hash` tells which"), "{why}");
    world.delete(&key(1), &Precondition::Any).expect("is deleted");
    pass(&mut world, 10_000);
    assert_eq!((tags(&world, "agent"), verdict(&world, &back)), (vec!["v1".to_owned(); 3], Health::Done));
}

#[test]
fn a_partition_of_the_world_holds_back_the_first_pods() {
    let set = |image: &str, partition: u32| {
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
        workload("StatefulSet", "db", image, json!({"replicas": 3, "updateStrategy": rolling}))
    };
    let mut world = world();
    write(&mut world, &set("v1", 0));
    pass(&mut world, 10_000);
    let written = write(&mut world, &set("v2", 2));
    pass(&mut world, 30_000);
    assert_eq!(tags(&world, "db"), ["v1", "v1", "v2"]);
    assert_eq!(verdict(&world, &written), Health::Done);
    let written = write(&mut world, &set("v2", 0));
    pass(&mut world, 30_000);
    assert_eq!((tags(&world, "db"), verdict(&world, &written)), (vec!["v2".to_owned(); 3], Health::Done));
}

/// A budget over the pods with a label.
fn budget(name: &str, app: &str, limit: Value) -> Object {
    let mut budget = object(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "shop"}, "spec": limit}));
    budget.edit(|body| body["spec"]["selector"] = json!({"matchLabels": {"app": app}}));
    budget
}

/// Expected, healthy, needed and spare pods.
fn counts(world: &World, budget: &Object) -> [i64; 4] {
    let live = live(world, budget);
    ["expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed"]
        .map(|field| live.int(&format!("/status/{field}")).expect("is told"))
}

#[test]
fn a_budget_of_the_world_counts_the_pods_that_may_go() {
    let mut world = world();
    for (name, replicas) in [("db", 5), ("cache", 2)] {
        write(&mut world, &workload("StatefulSet", name, "v1", json!({"replicas": replicas})));
    }
    let mut elsewhere = workload("StatefulSet", "db", "v1", json!({"replicas": 2}));
    elsewhere = object({
        let mut value = elsewhere.to_value();
        value["metadata"]["namespace"] = json!("other");
        value
    });
    write(&mut world, &elsewhere);
    let budgets = [
        (budget("least", "db", json!({"minAvailable": 2})), [5, 5, 2, 3]),
        // A share is rounded up, of the pods that stay and of those that may go.
        (budget("least-share", "db", json!({"minAvailable": "50%"})), [5, 5, 3, 2]),
        (budget("most", "db", json!({"maxUnavailable": 1})), [5, 5, 4, 1]),
        (budget("most-share", "db", json!({"maxUnavailable": "50%"})), [5, 5, 2, 3]),
        (budget("all", "db", json!({"maxUnavailable": 9})), [5, 5, 0, 5]),
        (budget("none", "absent", json!({"minAvailable": 1})), [0, 0, 1, 0]),
    ];
    for (budget, _) in &budgets {
        write(&mut world, budget);
    }
    pass(&mut world, 30_000);
    for (budget, wanted) in &budgets {
        assert_eq!(counts(&world, budget), *wanted, "{}", budget.name());
        assert_eq!(live(&world, budget).int("/status/observedGeneration"), Some(1));
    }
    // A pod that is not ready yet is expected, and spares nobody.
    let mut pods = world.of_kind("Pod");
    pods.retain(|pod| pod.name() == "db-4" && pod.namespace() == Some("shop"));
    let pod = pods[0].key().clone();
    world.delete(&pod, &Precondition::Any).expect("is deleted");
    pass(&mut world, 250);
    assert_eq!(counts(&world, &budgets[0].0), [5, 4, 2, 2]);
    assert_eq!(counts(&world, &budgets[2].0), [5, 4, 4, 0]);
}

#[test]
fn a_load_balancer_of_the_world_gets_its_address_after_a_while() {
    let service = |name: &str, kind: &str| {
        object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"type": kind, "selector": {"app": "db"}, "ports": [{"port": 80}]}}))
    };
    let mut world = world();
    let (open, inner) = (service("open", "LoadBalancer"), service("inner", "ClusterIP"));
    let written = write(&mut world, &open);
    write(&mut world, &inner);
    pass(&mut world, 900);
    let Health::Waiting { why, .. } = verdict(&world, &written) else { panic!("has no address yet") };
    assert!(why.contains("no address"), "{why}");
    pass(&mut world, 300);
    assert_eq!(verdict(&world, &written), Health::Done);
    let address =
        |service: &Object| live(&world, service).text("/status/loadBalancer/ingress/0/ip").map(str::to_owned);
    assert!(address(&open).is_some());
    assert_eq!(address(&inner), None);
}

/// Deploys a version with objects beside those of the project.
async fn deploy_with(setup: &Setup, version: &str, more: &[Object]) -> RunEnd {
    let environment = setup.environment();
    let mut wanted = setup.wanted(version).await;
    let worker = wanted.services.get_mut("worker").expect("is there");
    worker.objects.extend(more.iter().cloned());
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let options = PlanOptions::default();
    let planned =
        environment.plan(&wanted, head, base.as_ref(), &options, Depth::Read, Storage::Lasting).await;
    environment.run(planned.expect("can be planned"), &setup.options("tester")).await.expect("runs")
}

#[tokio::test(start_paused = true)]
async fn a_release_waits_for_daemon_sets_stateful_sets_and_addresses() {
    let setup = Setup::new(71);
    let more = |image: &str| {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "open", "namespace": "shop"},
            "spec": {"type": "LoadBalancer", "selector": {"app": "db"}, "ports": [{"port": 80}]}});
        // In order its controller would not replace a pod that does not come up.
        let spec = json!({"replicas": 3, "serviceName": "db", "podManagementPolicy": "Parallel"});
        let db = workload("StatefulSet", "db", image, spec);
        [agent(image), db, object(service)]
    };
    let end = deploy_with(&setup, "v1", &more("v1")).await;
    assert!(succeeded(&end), "{end:?}");
    {
        let world = setup.shared.world();
        assert_eq!((ready(&world, "agent"), ready(&world, "db")), (3, 3));
        let open = world.of_kind("Service").into_iter().find(|service| service.name() == "open");
        assert!(open.expect("is there").text("/status/loadBalancer/ingress/0/ip").is_some());
    }
    let before = setup.content();
    for name in ["agent", "db"] {
        setup.shared.world().faults.push(fault(&format!("crash {name}@v2")));
        let end = deploy_with(&setup, "v2", &more("v2")).await;
        let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = &end else { panic!("{end:?}") };
        let said = format!("{why:?}");
        assert!(said.contains("crash-loop") && said.contains(name), "{said}");
        assert_eq!(setup.content(), before);
        setup.shared.world().faults.clear();
        for set in ["agent", "db"] {
            assert_eq!(tags(&setup.shared.world(), set), ["v1"; 3], "after a failure of {name}");
        }
    }
    let end = deploy_with(&setup, "v2", &more("v2")).await;
    assert!(succeeded(&end), "{end:?}");
    let world = setup.shared.world();
    assert_eq!(
        (tags(&world, "agent"), tags(&world, "db")),
        (vec!["v2".to_owned(); 3], vec!["v2".to_owned(); 3])
    );
    assert_eq!((ready(&world, "agent"), ready(&world, "db")), (3, 3));
}
