//! What is lost when an object is deleted, made again or gets fewer pods: the plan says it, or refuses.

use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use maily_core::{
    engine::{Depth, Failure, Outcome, RunEnd, Wish, planner::PlanOptions},
    object::{Object, ObjectKey, ObjectKind},
    provider::{Precondition, WriteOptions},
    release::RollbackTo,
    runtime::within,
};
use serde_json::{Value, json};

use crate::{
    hindered::Hindered,
    last_look::{dies_looking, not_serving},
    setup::{fault, succeeded},
    shop::{OF_MANIFESTS, Shop, deployment, notes},
};

/// A database of some pods, each with a claim of this size.
fn database(replicas: i64, size: &str, policy: Value) -> Value {
    let mut set = deployment("db", &[]);
    set["kind"] = "StatefulSet".into();
    set["spec"]["replicas"] = replicas.into();
    set["spec"]["serviceName"] = "db".into();
    set["spec"]["persistentVolumeClaimRetentionPolicy"] = policy;
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}]);
    set
}

fn deleting() -> Value {
    json!({"whenDeleted": "Delete", "whenScaled": "Retain"})
}

fn keeping() -> Value {
    json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
}

fn map(value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": value}})
}

fn allowed(object: &str) -> PlanOptions {
    let mut options = PlanOptions::default();
    options.replace.insert(object.to_owned());
    options
}

async fn refused(shop: &Shop, version: &str, options: PlanOptions, depth: Depth) -> String {
    shop.plan_with(version, options, depth).await.expect_err("is refused").to_string()
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_is_not_made_again_where_its_claims_go_with_it() {
    let shop = Shop::new(OF_MANIFESTS, 171);
    shop.write("v1", &[database(2, "1Gi", deleting())]);
    shop.write("v2", &[database(2, "2Gi", deleting())]);
    shop.write("v3", &[database(2, "1Gi", keeping())]);
    shop.write("v4", &[database(2, "2Gi", keeping())]);
    assert!(succeeded(&shop.deploy("v1").await));
    for depth in [Depth::Read, Depth::DryRun] {
        for options in [PlanOptions::default(), allowed("StatefulSet/db")] {
            let refused = refused(&shop, "v2", options, depth).await;
            assert!(refused.contains("its claims go with it (data-db-0, data-db-1)"), "{refused}");
            assert!(refused.contains("whenDeleted: Retain` in a release of its own first"), "{refused}");
            assert!(!refused.contains("--allow-replace"), "{refused}");
        }
    }
    // The remedy: the policy first. A way back of what is made under `Delete` would take the claims, too.
    assert!(succeeded(&shop.deploy("v3").await));
    let error = refused(&shop, "v2", allowed("StatefulSet/db"), Depth::DryRun).await;
    assert!(error.contains("a way back would take its claims along (data-db-0, data-db-1)"), "{error}");
    let error = refused(&shop, "v4", PlanOptions::default(), Depth::DryRun).await;
    assert!(
        error.contains("`--allow-replace StatefulSet/db`: all its 2 pods end, and new ones start: nothing serves meanwhile"),
        "{error}"
    );
    let planned =
        shop.plan_with("v4", allowed("StatefulSet/db"), Depth::DryRun).await.expect("can be planned");
    assert_eq!(
        notes(&planned, "replace"),
        [
            "StatefulSet shop/db is deleted and made again: all its 2 pods end, and new ones start: nothing serves \
          meanwhile"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_takes_a_stateful_set_away_whose_claims_go_with_it() {
    let shop = Shop::new(OF_MANIFESTS, 172);
    shop.write("v0", &[map("1")]);
    shop.write("v1", &[map("1"), database(2, "1Gi", deleting())]);
    shop.write("v2", &[map("2")]);
    shop.write("v3", &[map("1"), database(2, "1Gi", keeping())]);
    assert!(succeeded(&shop.deploy("v0").await) && succeeded(&shop.deploy("v1").await));
    let gone = refused(&shop, "v2", PlanOptions::default(), Depth::DryRun).await;
    let back = shop.try_back(RollbackTo::LastGood).await.expect_err("is refused").to_string();
    let removed = shop.try_removal().await.expect_err("is refused").to_string();
    for refused in [gone, back, removed] {
        assert!(
            refused.contains(
                "StatefulSet shop/db would be deleted, and its claims go with it (data-db-0, data-db-1)"
            ),
            "{refused}"
        );
        assert!(refused.contains("`kubectl --namespace shop patch statefulset db"), "{refused}");
    }
    // What stays, the plan names.
    assert!(succeeded(&shop.deploy("v3").await));
    let kept =
        ["claims of StatefulSet shop/db hold data and stay: data-db-0, data-db-1; delete them by hand"];
    assert_eq!(notes(&shop.plan("v2").await.expect("can be planned"), "kept"), kept);
    assert_eq!(notes(&shop.removal().await, "kept"), kept);
}

#[tokio::test(start_paused = true)]
async fn claims_that_go_with_their_pods_are_named_before_and_after() {
    let scaling = json!({"whenDeleted": "Retain", "whenScaled": "Delete"});
    let shop = Shop::new(OF_MANIFESTS, 173);
    shop.write("v1", &[database(3, "1Gi", scaling.clone()), deployment("api", &[])]);
    let mut api = deployment("api", &[]);
    api["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/api:2".into();
    shop.write("v2", &[database(1, "1Gi", scaling), api.clone()]);
    shop.write("v3", &[database(1, "1Gi", keeping()), api]);
    assert!(succeeded(&shop.deploy("v1").await));
    // The controller goes by the policy that comes with the number.
    assert_eq!(notes(&shop.plan("v3").await.expect("can be planned"), "claims"), [""; 0]);
    let planned = shop.plan("v2").await.expect("can be planned");
    assert_eq!(
        notes(&planned, "claims"),
        [
            "StatefulSet shop/db gets fewer pods, and with `whenScaled: Delete` their claims go with them (data-db-1, \
          data-db-2): no way back brings their data"
        ]
    );
    let is_told = |end: &RunEnd| {
        let RunEnd::Over { outcome: Outcome::RolledBack { not_serving, .. }, .. } = &end else {
            panic!("{end:?}")
        };
        let lost = not_serving.iter().find(|failure| failure.cause == "data-gone").expect("is told");
        assert!(lost.message.contains("(data-db-1, data-db-2)"), "{}", lost.message);
    };
    let fails = |how: &str| {
        let mut world = shop.setup.shared.world();
        world.faults.clear();
        world.faults.push(fault(how));
    };
    fails("crash api");
    is_told(&shop.run(planned).await);
    // A claim that is older than the run is the one that was there: its controller has not come to it.
    for name in ["data-db-1", "data-db-2"] {
        let metadata = json!({"name": name, "namespace": "shop"});
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata});
        shop.make(&claim).await;
    }
    shop.setup.runtime.sleep(Duration::from_secs(120)).await;
    let end = shop.deploy("v2").await;
    let RunEnd::Over { outcome: Outcome::RolledBack { not_serving, .. }, .. } = &end else {
        panic!("{end:?}")
    };
    assert!(not_serving.iter().all(|failure| failure.cause != "data-gone"), "{not_serving:?}");
    for name in ["data-db-1", "data-db-2"] {
        let claim = ObjectKey::new(ObjectKind::new("v1", "PersistentVolumeClaim"), Some("shop"), name);
        shop.setup.shared.world().delete(&claim, &Precondition::Any).expect("is deleted");
    }
    // Also by whoever takes a run back whose process has died in the middle of it, and noted nothing of what it wrote.
    fails("never-ready api@2");
    let died = within(&*shop.setup.runtime, Duration::from_secs(10), shop.deploy("v2")).await;
    assert!(died.is_none(), "{died:?}");
    let (environment, options) = (shop.setup.environment(), shop.setup.options("second"));
    let end = environment.take_over(None, Wish::Abort, &options).await.expect("goes back");
    is_told(&end.expect("there is one"));
}

#[tokio::test(start_paused = true)]
async fn what_a_replacement_means_is_told_by_kind() {
    let job = |version: &str| {
        let container = json!({"name": "main", "image": format!("registry.example/migrate:{version}")});
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}})
    };
    let labelled = |name: &str| {
        let mut api = deployment("api", &[]);
        api["spec"]["replicas"] = 3.into();
        api["spec"]["selector"]["matchLabels"] = json!({"app": name});
        api["spec"]["template"]["metadata"]["labels"] = json!({"app": name});
        api
    };
    let shop = Shop::new(OF_MANIFESTS, 174);
    shop.write("v1", &[job("v1"), labelled("old")]);
    shop.write("v2", &[job("v2"), labelled("new")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let again = "the Job runs again, with registry.example/migrate:v2; what shall run once for each release is a `job:` of \
                 the project file";
    let pods = "all its 3 pods end, and new ones start: nothing serves meanwhile";
    let refused = refused(&shop, "v2", PlanOptions::default(), Depth::DryRun).await;
    for told in
        [format!("--allow-replace Job/migrate`: {again}"), format!("--allow-replace Deployment/api`: {pods}")]
    {
        assert!(refused.contains(&told), "{told}: {refused}");
    }
    let mut options = allowed("Job/migrate");
    options.replace.insert("Deployment/api".to_owned());
    let planned = shop.plan_with("v2", options, Depth::DryRun).await.expect("can be planned");
    assert_eq!(
        notes(&planned, "replace"),
        [
            format!("Deployment shop/api is deleted and made again: {pods}"),
            format!("Job shop/migrate is deleted and made again: {again}")
        ]
    );
}

/// Of what was made again all is compared: also what operators write on it, which is no news to anybody.
#[tokio::test(start_paused = true)]
async fn what_operators_write_on_what_was_made_again_is_nobodys_edit() {
    let version = |name: &str, image: &str| {
        let mut api = deployment("api", &[]);
        api["spec"]["strategy"] = json!({"type": "Recreate"});
        api["spec"]["selector"]["matchLabels"] = json!({"app": name});
        api["spec"]["template"]["metadata"]["labels"] = json!({"app": name});
        api["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        api
    };
    let seen = |at: &str| json!({"metadata": {"annotations": {"checks.example/at": at}}});
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    let prefix = "Deployment shop/api was changed since it was put back: ";
    for (by, edit, told) in [
        ("checks-operator", seen("2"), None),
        (
            "kubectl-annotate",
            seen("2"),
            Some("metadata.annotations.checks.example/at 1 -> 2 (by kubectl-annotate)"),
        ),
        // What the release sets as well is its own.
        ("some-tool", json!({"spec": {"replicas": 3}}), Some("spec.replicas 1 -> 3 (by some-tool)")),
    ] {
        let shop = Shop::new(OF_MANIFESTS, 175);
        shop.write("v1", &[version("old", "registry.example/api:1")]);
        shop.write("v2", &[version("new", "registry.example/api:2")]);
        assert!(succeeded(&shop.deploy("v1").await));
        let edit_as = |by: &'static str, fields: Value| {
            shop.setup.shared.world().edit_as(by, &key, fields).expect("may edit");
        };
        edit_as("checks-operator", seen("1"));
        shop.setup.runtime.sleep(Duration::from_secs(5)).await;
        let planned =
            shop.plan_with("v2", allowed("Deployment/api"), Depth::DryRun).await.expect("can be planned");
        shop.setup.shared.world().faults.extend([fault("crash api@2"), fault("unschedulable api@1")]);
        dies_looking(&shop.setup, planned).await;
        edit_as(by, edit);
        let environment = shop.setup.environment();
        let end = environment.take_over(None, Wish::Resume, &shop.setup.options("another")).await;
        let end = end.expect("goes on").expect("was unfinished");
        let messages: Vec<&str> = not_serving(&end).iter().map(|failure| &*failure.message).collect();
        let expected: Vec<String> = told.iter().map(|told| format!("{prefix}{told}")).collect();
        assert_eq!(messages, expected, "{by}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_holds_data_is_not_made_again_whoever_says_so() {
    let claim = |class: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let definition = |scope: &str| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "names": {"kind": "Widget", "plural": "widgets"}, "scope": scope,
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
    };
    let shop = Shop::new(OF_MANIFESTS, 175);
    shop.write("v1", &[claim("fast"), definition("Namespaced")]);
    shop.write("v2", &[claim("slow"), definition("Cluster")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let mut both = allowed("PersistentVolumeClaim/data");
    both.replace.insert("CustomResourceDefinition/widgets.example.com".to_owned());
    for depth in [Depth::Read, Depth::DryRun] {
        for options in [PlanOptions::default(), both.clone()] {
            let refused = refused(&shop, "v2", options, depth).await;
            for told in [
                "PersistentVolumeClaim shop/data: spec.storageClassName cannot be changed in place, and it holds data: no plan \
                 deletes it",
                "CustomResourceDefinition widgets.example.com: spec.scope cannot be changed in place, and it holds data",
                "give it another name and move the data; or take it away by hand first, by `kubectl delete \
                 PersistentVolumeClaim data --namespace shop`, which takes its data along",
                "which takes all objects of its kind along",
            ] {
                assert!(refused.contains(told), "{told}: {refused}");
            }
            assert!(!refused.contains("--allow-replace"), "{refused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_have_set_on_what_is_made_again_is_told_to_go() {
    let api = |app: &str, image: &str| {
        let mut api = deployment("api", &[]);
        let spec = api["spec"].as_object_mut().expect("a map");
        spec.remove("replicas");
        spec["selector"]["matchLabels"] = json!({"app": app});
        spec["template"]["metadata"]["labels"] = json!({"app": app});
        spec["template"]["spec"]["containers"][0]["image"] = image.into();
        api
    };
    let shop = Shop::new(OF_MANIFESTS, 176);
    shop.write("v1", &[api("old", "registry.example/api:1")]);
    shop.write("v2", &[api("new", "registry.example/api:1")]);
    shop.write("v3", &[api("old", "registry.example/api:2")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    let edit = |fields: Value| {
        shop.setup.shared.world().edit_as("kubectl-edit", &key, fields).expect("is edited");
    };
    let told = async |version: &str, topic: &str| {
        let planned = shop.plan_with(version, allowed("Deployment/api"), Depth::DryRun).await;
        notes(&planned.expect("can be planned"), topic)
    };
    edit(json!({"spec": {"minReadySeconds": 3, "replicas": 3}}));
    let set = "Deployment shop/api: kubectl-edit set .spec.minReadySeconds, which the release does not set";
    assert_eq!(told("v3", "foreign").await, [format!("{set}: it stays")]);
    assert_eq!(told("v3", "replace").await, [""; 0]);
    assert_eq!(
        told("v2", "foreign").await,
        [format!("{set}: it goes with the object, and is not made again")]
    );
    let again = "Deployment shop/api is deleted and made again: all its 3 pods end, and new ones start: nothing serves \
                 meanwhile";
    let fewer = |pods: &str| {
        format!(
            "Deployment shop/api is scaled to {pods}, which the release does not set: made again it begins with 1"
        )
    };
    assert_eq!(told("v2", "replace").await, [again.to_owned(), fewer("3 pods")]);
    edit(json!({"spec": {"replicas": 0}}));
    assert_eq!(told("v3", "stopped").await.len(), 1);
    assert_eq!(told("v2", "stopped").await, [""; 0]);
    assert!(told("v2", "replace").await.contains(&fewer("0 pods")));
}

/// A database with this policy that gets fewer pods with a version that fails, or more.
fn scaled_with_its_claims(seed: u64, pods: [i64; 2], policy: Option<Value>) -> Shop {
    let of = |pods: i64| {
        let mut set = database(pods, "1Gi", Value::Null);
        let spec = set["spec"].as_object_mut().expect("a map");
        spec.remove("persistentVolumeClaimRetentionPolicy");
        spec.extend(
            policy.iter().map(|policy| ("persistentVolumeClaimRetentionPolicy".to_owned(), policy.clone())),
        );
        set
    };
    let mut api = deployment("api", &[]);
    let shop = Shop::new(OF_MANIFESTS, seed);
    shop.write("v1", &[of(pods[0]), api.clone()]);
    api["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/api:2".into();
    shop.write("v2", &[of(pods[1]), api]);
    shop.setup.shared.world().faults.push(fault("crash api@2"));
    shop
}

fn scaling() -> Value {
    json!({"whenDeleted": "Retain", "whenScaled": "Delete"})
}

async fn make_claims(shop: &Shop, names: &[&str]) {
    for name in names {
        let metadata = json!({"name": name, "namespace": "shop"});
        shop.make(&json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata})).await;
    }
}

fn of_data(end: &RunEnd) -> Option<&Failure> {
    let RunEnd::Over { outcome: Outcome::RolledBack { not_serving, .. }, .. } = end else {
        panic!("{end:?}")
    };
    not_serving.iter().find(|failure| failure.cause.starts_with("data-"))
}

#[tokio::test(start_paused = true)]
async fn claims_of_which_nobody_could_see_what_became_are_not_said_to_be_gone() {
    let mut shop = scaled_with_its_claims(177, [3, 1], Some(scaling()));
    assert!(succeeded(&shop.deploy("v1").await));
    make_claims(&shop, &["data-db-1", "data-db-2"]).await;
    shop.setup.runtime.sleep(Duration::from_secs(120)).await;
    // The API server is away for a moment: they are there.
    let away = Some(("PersistentVolumeClaim", AtomicU32::new(3)));
    let cluster = Arc::new(Hindered { away, ..Hindered::of(&shop.setup) });
    shop.setup.cluster = Some(cluster.clone());
    let end = shop.deploy("v2").await;
    assert_eq!(of_data(&end), None);
    assert_eq!(
        cluster.away.as_ref().map(|(_, left)| left.load(std::sync::atomic::Ordering::SeqCst)),
        Some(0)
    );
    // Who may not look does not know.
    shop.setup.cluster = Some(Arc::new(Hindered { hidden: Some("data-db-1"), ..Hindered::of(&shop.setup) }));
    let end = shop.deploy("v2").await;
    let told = of_data(&end).expect("is told");
    assert_eq!(told.cause, "data-unknown");
    assert!(told.message.contains("may have gone with them (data-db-1, data-db-2)"), "{}", told.message);
    assert!(
        told.hint.as_deref().is_some_and(|hint| hint.starts_with("look at them first")),
        "{:?}",
        told.hint
    );
}

#[tokio::test(start_paused = true)]
async fn claims_go_with_their_pods_also_by_a_policy_that_a_person_has_set() {
    let shop = scaled_with_its_claims(178, [3, 1], None);
    assert!(succeeded(&shop.deploy("v1").await));
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "StatefulSet"), Some("shop"), "db");
    let policy = json!({"spec": {"persistentVolumeClaimRetentionPolicy": scaling()}});
    shop.setup.shared.world().edit_as("kubectl-patch", &key, policy).expect("is patched");
    let planned = shop.plan("v2").await.expect("can be planned");
    assert_eq!(notes(&planned, "claims").len(), 1);
    let end = shop.run(planned).await;
    let told = of_data(&end).expect("is told");
    assert_eq!(told.cause, "data-gone");
    assert!(told.message.contains("(data-db-1, data-db-2)"), "{}", told.message);
}

#[tokio::test(start_paused = true)]
async fn claims_of_before_that_a_way_back_would_take_along_are_named_by_the_plan() {
    let mut shop = scaled_with_its_claims(179, [1, 4], Some(scaling()));
    assert!(succeeded(&shop.deploy("v1").await));
    let told = async |shop: &Shop| notes(&shop.plan("v2").await.expect("can be planned"), "claims");
    assert_eq!(told(&shop).await, [""; 0]);
    make_claims(&shop, &["data-db-0", "data-db-2", "data-db-3", "data-db-4"]).await;
    let note = |claims: &str| {
        format!(
            "StatefulSet shop/db gets more pods, and with `whenScaled: Delete` a way back takes their claims along, also those \
             of before ({claims}): nothing brings their data"
        )
    };
    assert_eq!(told(&shop).await, [note("data-db-2, data-db-3")]);
    // Not by the policy that comes with the number: a way back brings the former one with its number.
    let kept = scaled_with_its_claims(180, [1, 2], Some(keeping()));
    kept.write("v2", &[database(2, "1Gi", scaling()), deployment("api", &[])]);
    assert!(succeeded(&kept.deploy("v1").await));
    make_claims(&kept, &["data-db-1"]).await;
    assert_eq!(told(&kept).await, [""; 0]);
    // Who may not look takes them for there.
    shop = scaled_with_its_claims(181, [1, 3], Some(scaling()));
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.cluster = Some(Arc::new(Hindered { hidden: Some("data-db-1"), ..Hindered::of(&shop.setup) }));
    assert_eq!(told(&shop).await, [note("data-db-1, data-db-2")]);
}

/// A workload whose pods take ten seconds to stop, with something that cannot be changed in place.
fn slow_to_stop(kind: &str, version: &str) -> Value {
    let mut object = deployment("api", &[]);
    let template = &mut object["spec"]["template"];
    template["metadata"]["annotations"] = json!({"stack.maily.dev/stops-after": "10s"});
    template["spec"]["containers"][0]["image"] = format!("registry.example/api:{version}").into();
    if kind == "Job" {
        template["spec"]["restartPolicy"] = "Never".into();
        let template = template.clone();
        return json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "api"},
            "spec": {"backoffLimit": 0, "template": template}});
    }
    object["kind"] = kind.into();
    for labels in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        object.pointer_mut(labels).expect("is there")["of"] = version.into();
    }
    match kind {
        "StatefulSet" => object["spec"]["serviceName"] = "api".into(),
        "DaemonSet" => drop(object["spec"].as_object_mut().expect("a map").remove("replicas")),
        _ => {}
    }
    object
}

/// The tags that pods run together, seen again and again while something happens.
async fn together<T>(shop: &Shop, what: impl Future<Output = T>) -> (T, Vec<Vec<String>>) {
    let tag = |pod: &Object| {
        let image = pod.text("/spec/containers/0/image").expect("has one");
        image.rsplit_once(':').expect("has a tag").1.to_owned()
    };
    let mut seen: Vec<Vec<String>> = Vec::new();
    let mut what = pin!(what);
    loop {
        tokio::select! {
            done = &mut what => return (done, seen),
            () = shop.setup.runtime.sleep(Duration::from_millis(10)) => {}
        }
        let mut tags: Vec<String> = shop.setup.shared.world().of_kind("Pod").into_iter().map(tag).collect();
        tags.sort();
        tags.dedup();
        if seen.last() != Some(&tags) {
            seen.push(tags);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_made_again_begins_after_its_last_pod_is_gone() {
    for (seed, kind) in (182..).zip(["Deployment", "StatefulSet", "DaemonSet", "Job"]) {
        let shop = Shop::new(OF_MANIFESTS, seed);
        for version in ["v1", "v2", "v3"] {
            shop.write(version, &[slow_to_stop(kind, version)]);
        }
        assert!(succeeded(&shop.deploy("v1").await));
        let options = || allowed(&format!("{kind}/api"));
        let planned = shop.plan_with("v2", options(), Depth::DryRun).await.expect("can be planned");
        let (end, seen) = together(&shop, shop.run(planned)).await;
        assert!(succeeded(&end), "{end:?}");
        assert_eq!(seen, [vec!["v1"], vec![], vec!["v2"]], "{kind}");
        // The way back as well.
        shop.setup.shared.world().faults.push(fault("crash api@v3"));
        let planned = shop.plan_with("v3", options(), Depth::DryRun).await.expect("can be planned");
        let (end, seen) = together(&shop, shop.run(planned)).await;
        assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
        assert_eq!(seen, [vec!["v2"], vec![], vec!["v3"], vec![], vec!["v2"]], "{kind}");
    }
}

/// A node that is gone says nothing more of its pods.
#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_stop_is_named_and_nothing_begins_beside_it() {
    let shop = Shop::new(OF_MANIFESTS, 186);
    for version in ["v1", "v2"] {
        let mut object = slow_to_stop("Deployment", version);
        object["spec"]["template"]["metadata"]["annotations"]["stack.maily.dev/stops-after"] =
            "90000s".into();
        shop.write(version, &[object]);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    let pod = shop.setup.shared.world().of_kind("Pod")[0].name().to_owned();
    let planned =
        shop.plan_with("v2", allowed("Deployment/api"), Depth::DryRun).await.expect("can be planned");
    let (end, seen) = together(&shop, shop.run(planned)).await;
    let RunEnd::Stuck { items, .. } = &end else { panic!("{end:?}") };
    let told = format!("{items:?}");
    let why = format!("Deployment shop/api is not gone: it waits until its pod {pod} has stopped");
    assert!(told.contains(&why) && told.contains("by force"), "{told}");
    assert_eq!(seen, [["v1"]]);
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_amid_a_deletion_waits_for_the_last_pod_as_well() {
    for (seed, wish, ends) in [(187, Wish::Resume, "v2"), (188, Wish::Abort, "v1")] {
        let shop = Shop::new(OF_MANIFESTS, seed);
        for version in ["v1", "v2"] {
            shop.write(version, &[slow_to_stop("StatefulSet", version)]);
        }
        assert!(succeeded(&shop.deploy("v1").await));
        let options = allowed("StatefulSet/api");
        let planned = shop.plan_with("v2", options, Depth::DryRun).await.expect("can be planned");
        let runtime = &*shop.setup.runtime;
        assert!(within(runtime, Duration::from_secs(3), shop.run(planned)).await.is_none(), "it is killed");
        let live = shop.live("apps/v1", "StatefulSet", Some("shop"), "api").expect("waits for its pod");
        assert!(live.is_terminating(), "{live:?}");
        let environment = shop.setup.environment();
        let options = shop.setup.options("another");
        let (end, seen) = together(&shop, environment.take_over(None, wish, &options)).await;
        let RunEnd::Over { outcome, .. } = end.expect("goes on").expect("is there") else {
            panic!("{wish:?}")
        };
        assert_eq!(matches!(outcome, Outcome::Succeeded { .. }), wish == Wish::Resume, "{outcome:?}");
        assert_eq!(seen, [vec!["v1"], vec![], vec![ends]], "{wish:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_another_type_is_made_again_for_who_says_so() {
    let shop = Shop::new(OF_MANIFESTS, 189);
    let secret = |of: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": of, "stringData": {"a": "1"}});
    shop.write("v1", &[secret("Opaque")]);
    shop.write("v2", &[secret("example.com/other")]);
    assert!(succeeded(&shop.deploy("v1").await));
    for depth in [Depth::Read, Depth::DryRun] {
        let error = refused(&shop, "v2", PlanOptions::default(), depth).await;
        assert!(error.contains("--allow-replace Secret/key"), "{error}");
    }
    let planned = shop.plan_with("v2", allowed("Secret/key"), Depth::DryRun).await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
}

/// A shop whose two versions take their time to stop, and may.
fn patient_shop(seed: u64, stops_after: &str, grace: i64) -> Shop {
    let shop = Shop::new(OF_MANIFESTS, seed);
    for version in ["v1", "v2"] {
        let mut object = slow_to_stop("Deployment", version);
        let template = &mut object["spec"]["template"];
        template["metadata"]["annotations"]["stack.maily.dev/stops-after"] = stops_after.into();
        template["spec"]["terminationGracePeriodSeconds"] = grace.into();
        shop.write(version, &[object]);
    }
    shop
}

/// Longer than its service's `timeout`, which is for what begins.
#[tokio::test(start_paused = true)]
async fn a_pod_that_has_a_long_grace_is_waited_for_before_anything_is_made_again() {
    for (seed, trouble) in [(190, None), (191, Some("crash api@v2"))] {
        let shop = patient_shop(seed, "1500s", 1_800);
        assert!(succeeded(&shop.deploy("v1").await));
        shop.setup.shared.world().faults.extend(trouble.map(fault));
        let planned =
            shop.plan_with("v2", allowed("Deployment/api"), Depth::DryRun).await.expect("can be planned");
        let (end, seen) = together(&shop, shop.run(planned)).await;
        let told = format!("{:?}", shop.setup.told.lock().expect("not poisoned"));
        assert!(told.contains("has stopped") && !told.contains("by force"), "{told}");
        if trouble.is_none() {
            assert!(succeeded(&end), "{end:?}");
            assert_eq!(seen, [vec!["v1"], vec![], vec!["v2"]]);
        } else {
            assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
            assert_eq!(seen, [vec!["v1"], vec![], vec!["v2"], vec![], vec!["v1"]]);
        }
    }
}

/// Nothing stops: what does not serve by then has had its time.
#[tokio::test(start_paused = true)]
async fn a_way_back_waits_for_no_grace_that_nothing_uses() {
    let shop = Shop::new(OF_MANIFESTS, 192);
    for version in ["1", "2"] {
        let mut api = deployment("api", &[]);
        let pod = &mut api["spec"]["template"]["spec"];
        pod["containers"][0]["image"] = format!("registry.example/api:{version}").into();
        pod["terminationGracePeriodSeconds"] = 86_400.into();
        shop.write(&format!("v{version}"), &[api]);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.extend([fault("crash api@2"), fault("never-ready api@1")]);
    let pod = shop.setup.shared.world().of_kind("Pod")[0].key().clone();
    let planned = shop.plan("v2").await.expect("can be planned");
    shop.setup.shared.world().delete(&pod, &Precondition::Any).expect("is deleted");
    let begun = shop.setup.runtime.now();
    let end = shop.run(planned).await;
    assert_eq!(not_serving(&end).len(), 1, "{end:?}");
    let took = shop.setup.runtime.now().since(begun);
    assert!(took < Duration::from_secs(400), "{took:?}");
}

/// What a version drops goes in the background, and its pods after it.
#[tokio::test(start_paused = true)]
async fn what_was_deleted_comes_back_after_its_last_pod_is_gone() {
    for (seed, kind) in (193..).zip(["Deployment", "StatefulSet", "DaemonSet", "Job"]) {
        let shop = Shop::new(OF_MANIFESTS, seed);
        let other = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}, "data": {"a": value}});
        shop.write("v1", &[map("1"), other("1"), slow_to_stop(kind, "v1")]);
        shop.write("v2", &[map("1")]);
        assert!(succeeded(&shop.deploy("v1").await));
        let planned = shop.plan("v2").await.expect("can be planned");
        let key = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), "other");
        let edit = json!({"data": {"a": "mine"}});
        shop.setup.shared.world().edit_as("kubectl-edit", &key, edit).expect("is there");
        let (end, seen) = together(&shop, shop.run(planned)).await;
        assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
        assert_eq!(seen, [vec!["v1"], vec![], vec!["v1"]], "{kind}");
        let told = format!("{:?}", shop.setup.told.lock().expect("not poisoned"));
        // Those of a Job have ended.
        assert!(kind == "Job" || told.contains(&format!("{kind}/api is not made again")), "{told}");
    }
}

/// Names are alike where a workload of another kind has taken over what a release drops.
#[tokio::test(start_paused = true)]
async fn pods_of_another_workload_with_such_a_name_are_not_waited_for() {
    let shop = Shop::new(OF_MANIFESTS, 198);
    let other = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}, "data": {"a": value}});
    shop.write("v1", &[map("1"), other("1"), slow_to_stop("Deployment", "v1")]);
    shop.write("v2", &[map("1")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let owned = |kind: &str, name: &str, version: &str, by: (&str, &str, &str, &str)| {
        let (of, by_kind, by_name, uid) = by;
        let body = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "shop",
            "ownerReferences": [{"apiVersion": of, "kind": by_kind, "name": by_name, "uid": uid, "controller": true}]},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "else"}}, "template": {"metadata": {"labels": {"app": "else"}}},
                "containers": [{"name": "a", "image": "registry.example/else:other"}]}});
        let object = Object::from_value(body).expect("is an object");
        let options = WriteOptions::apply("rollouts", Precondition::Any);
        shop.setup.shared.world().write(&object, &options).expect("can be made")
    };
    let set =
        owned("ReplicaSet", "api-abc", "apps/v1", ("argoproj.io/v1alpha1", "Rollout", "api", "u-rollout"));
    owned("Pod", "api-abc-1", "v1", ("apps/v1", "ReplicaSet", "api-abc", set.uid().expect("has one")));
    let planned = shop.plan("v2").await.expect("can be planned");
    let key = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), "other");
    shop.setup
        .shared
        .world()
        .edit_as("kubectl-edit", &key, json!({"data": {"a": "mine"}}))
        .expect("is there");
    let (end, seen) = together(&shop, shop.run(planned)).await;
    assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!(seen, [vec!["other", "v1"], vec!["other"], vec!["other", "v1"]]);
}

/// The `timeout` of a service is for the pods that begin, however much of it those of before have had.
#[tokio::test(start_paused = true)]
async fn pods_that_begin_have_their_whole_time_behind_those_that_stop() {
    let shop = patient_shop(199, "590s", 595);
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.push(fault("slow api@v2"));
    let planned =
        shop.plan_with("v2", allowed("Deployment/api"), Depth::DryRun).await.expect("can be planned");
    let (end, seen) = together(&shop, shop.run(planned)).await;
    assert!(succeeded(&end), "{end:?}");
    assert_eq!(seen, [vec!["v1"], vec![], vec!["v2"]]);
}
