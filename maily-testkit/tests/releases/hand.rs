//! What a person does to the objects of a run while it is at work, and the way out.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use maily_core::{
    engine::{
        Claim, Depth, Epoch, MANAGER, Outcome, Planned, RunEnd, RunId, Storage, Wish, history,
        journal::{JournalEvent, Writer, pack},
        planner::{Force, PlanOptions},
    },
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster as _, ErrorKind, Precondition, WriteOptions, patch_of},
    release,
    runtime::within,
};
use maily_testkit::sim::SimCluster;
use serde_json::json;

use crate::{
    hindered::Hindered,
    setup::{Setup, fault, succeeded},
    shop::{self, Shop, components, notes},
};

const SHOP: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  queue: {workload: {port: 6379, scale: 1, config: {q.conf: 'size 1'}}}
";

fn deployment() -> ObjectKey {
    ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "queue")
}

/// Deploys a version whose configuration is its own, as its image is.
async fn deploy(setup: &Setup, version: &str) -> RunEnd {
    let planned = planned(setup, version, None).await;
    setup.environment().run(planned, &setup.options("tester")).await.expect("runs")
}

/// The same as a plan, with one more object.
async fn planned(setup: &Setup, version: &str, more: Option<&Object>) -> Planned {
    let environment = setup.environment();
    let mut wanted = setup.wanted(version).await;
    for object in &mut wanted.services["queue"].objects {
        if object.kind() == "ConfigMap" {
            object.edit(|body| body["data"]["q.conf"] = format!("size of {version}").into());
        }
    }
    wanted.services["queue"].objects.extend(more.cloned());
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let options = PlanOptions::default();
    let planned =
        environment.plan(&wanted, head, base.as_ref(), &options, Depth::Read, Storage::Lasting).await;
    planned.expect("can be planned")
}

/// A run of v2 in whose middle somebody deletes the Deployment; with what it was, as somebody else would apply it.
async fn stuck(setup: &Setup) -> (RunEnd, Object) {
    let mut before =
        setup.shared.world().get(&deployment()).expect("is there").clone().without_server_fields();
    for name in ["project", "environment", "namespace", "service"] {
        before.set_label(&format!("maily.dev/{name}"), None);
    }
    for name in ["maily.dev/epoch", "maily.dev/stamp", "deployment.kubernetes.io/revision"] {
        before.set_annotation(name, None);
    }
    setup.shared.world().faults.push(fault("never-ready queue@v2"));
    let deleted = async {
        setup.runtime.sleep(Duration::from_secs(5)).await;
        setup.shared.world().delete(&deployment(), &Precondition::Any).expect("is there");
    };
    let (end, ()) = futures::future::join(deploy(setup, "v2"), deleted).await;
    setup.shared.world().faults.clear();
    (end, before)
}

#[tokio::test(start_paused = true)]
pub(crate) async fn what_a_person_deleted_and_put_back_counts_as_taken_back() {
    let setup = Setup::of(SHOP, 91);
    let before = {
        assert!(succeeded(&deploy(&setup, "v1").await));
        setup.content()
    };
    let (end, put_back) = stuck(&setup).await;
    let RunEnd::Stuck { items, .. } = &end else { panic!("{end:?}") };
    let said = format!("{} {}", items[0].why.message, items[0].remedy);
    assert!(said.contains("it was deleted meanwhile"), "{said}");
    // The other object of the step has the new content still.
    assert!(said.contains("not taken back either: ConfigMap/queue-config"), "{said}");
    assert!(
        said.contains("release 1 has it (`mailyctl show release 1 --env production --output json`)"),
        "{said}"
    );
    // Who reads the events alone gets the same.
    let told = serde_json::to_value(&*setup.told.lock().expect("not poisoned")).expect("is JSON");
    let events = told.as_array().expect("a list");
    let failed = events.iter().find(|what| what["event"] == "undo-failed").expect("was told");
    assert_eq!(failed["remedy"], items[0].remedy, "{failed}");
    let last = events.last().expect("was told");
    assert_eq!((&last["event"], &last["items"]), (&json!("paused"), &json!(items)), "{last}");
    let options = WriteOptions::apply("kubectl", Precondition::Any);
    setup.shared.world().write(&put_back, &options).expect("is made");
    let resumed = setup.environment().take_over(None, Wish::Resume, &setup.options("second")).await;
    let end = resumed.expect("goes on").expect("was unfinished");
    assert!(matches!(end, RunEnd::Over { .. }), "{end:?}");
    assert_eq!(setup.content(), before);
    // It is ours again, and nobody has to adopt it.
    assert!(succeeded(&deploy(&setup, "v2").await));
}

#[tokio::test(start_paused = true)]
async fn what_a_person_made_differently_is_left_alone_and_named() {
    let setup = Setup::of(SHOP, 92);
    assert!(succeeded(&deploy(&setup, "v1").await));
    let (_, mut made) = stuck(&setup).await;
    made.edit(|body| body["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:9".into());
    let options = WriteOptions::apply("kubectl", Precondition::Any);
    setup.shared.world().write(&made, &options).expect("is made");
    let resumed = setup.environment().take_over(None, Wish::Resume, &setup.options("second")).await;
    let end = resumed.expect("goes on").expect("was unfinished");
    let RunEnd::Stuck { items, .. } = &end else { panic!("{end:?}") };
    assert!(items[0].why.message.contains("containers"), "{items:?}");
    let live = setup.shared.world().get(&deployment()).cloned().expect("is there");
    assert!(live.body()["spec"].to_string().contains("evil:9"));
}

/// A run of v2 in whose middle somebody sets another image.
async fn edited(setup: &Setup) -> RunEnd {
    setup.shared.world().faults.push(fault("never-ready queue@v2"));
    let edit = async {
        setup.runtime.sleep(Duration::from_secs(5)).await;
        set_image(setup, "evil:9");
    };
    let (end, ()) = futures::future::join(deploy(setup, "v2"), edit).await;
    setup.shared.world().faults.clear();
    end
}

fn set_image(setup: &Setup, image: &str) {
    let mut world = setup.shared.world();
    let mut containers =
        world.get(&deployment()).expect("is there").body()["spec"]["template"]["spec"]["containers"].clone();
    containers[0]["image"] = image.into();
    let edit = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    world.edit_as("kubectl-set", &deployment(), edit).expect("may edit");
}

/// The report has what the person did, and nothing that the run itself has set; both ways out that it names are ways out.
#[tokio::test(start_paused = true)]
async fn an_edit_in_the_midst_of_a_run_is_told_by_itself_and_undone_in_either_way() {
    for as_before in [false, true] {
        let setup = Setup::of(SHOP, 95);
        assert!(succeeded(&deploy(&setup, "v1").await));
        let before = setup.content();
        let first = setup.shared.world().get(&deployment()).expect("is there").clone();
        let end = edited(&setup).await;
        let RunEnd::Stuck { items, .. } = &end else { panic!("{end:?}") };
        let why = &items[0].why.message;
        let told = "it was changed meanwhile: spec.template.spec.containers[queue].image \
                    registry.example/shop/queue:v2 -> evil:9 (by kubectl-set)";
        assert!(why.ends_with(told) || why.contains(&format!("{told}; ")), "{why}");
        let remedy = &items[0].remedy;
        let undo = "undo the edit of Deployment shop/queue: `spec.template.spec.containers[queue].image` is to be \
                    `registry.example/shop/queue:v2` again; or put Deployment shop/queue back";
        assert!(remedy.contains(undo), "{remedy}");
        assert!(remedy.contains("by `kubectl replace`"), "{remedy}");
        assert_eq!(items[0].why.hint, None);
        if as_before {
            let spec = first.body()["spec"].clone();
            setup
                .shared
                .world()
                .edit_as("kubectl-replace", &deployment(), json!({"spec": spec}))
                .expect("may");
        } else {
            set_image(&setup, "registry.example/shop/queue:v2");
        }
        let resumed = setup.environment().take_over(None, Wish::Resume, &setup.options("second")).await;
        let end = resumed.expect("goes on").expect("was unfinished");
        assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
        assert_eq!(setup.content(), before);
    }
}

/// Whoever looks later, or tries something else, is told as well.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_stuck_is_told_as_such_to_whoever_looks() {
    let setup = Setup::of(SHOP, 96);
    assert!(succeeded(&deploy(&setup, "v1").await));
    assert!(matches!(edited(&setup).await, RunEnd::Stuck { .. }));
    let environment = setup.environment();
    let status = maily_core::release::status(&environment, &setup.resolved()).await.expect("can be read");
    let stuck = status.unfinished.and_then(|run| run.stuck).expect("is told");
    assert!(stuck.contains("it was changed meanwhile") && stuck.contains("(by kubectl-set)"), "{stuck}");
    let runs = maily_core::release::runs(&*environment.records, 1).await.expect("can be read");
    assert_eq!(runs[0].stuck.as_ref(), Some(&stuck));
}

/// One object more, which a version brings that has it.
fn extra() -> Object {
    Object::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
        "metadata": {"name": "extra", "namespace": "shop"}}))
    .expect("is an object")
}

/// Every call on it was refused: there is nothing of it to take back, and nobody has to be asked.
#[tokio::test(start_paused = true)]
async fn what_a_person_edits_before_it_is_taken_away_stays_and_the_rest_goes_back() {
    let setup = Setup::of(SHOP, 93);
    let first = planned(&setup, "v1", Some(&extra())).await;
    let end = setup.environment().run(first, &setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    let second = planned(&setup, "v2", None).await;
    let edit = json!({"data": {"a": "mine"}});
    setup.shared.world().edit_as("kubectl-edit", extra().key(), edit).expect("is there");
    let before = setup.content();
    let end = setup.environment().run(second, &setup.options("tester")).await.expect("runs");
    let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = &end else { panic!("{end:?}") };
    assert!(why.message.contains("ConfigMap shop/extra: it was changed meanwhile"), "{why:?}");
    assert_eq!(setup.content(), before);
}

/// Whoever leaves a run as it is has what it made; the next release does away with what it has not.
#[tokio::test(start_paused = true)]
async fn what_a_run_made_that_was_left_as_it_is_goes_with_the_next_release() {
    for first_one in [false, true] {
        let setup = Setup::of(SHOP, 94);
        if !first_one {
            assert!(succeeded(&deploy(&setup, "v1").await));
        }
        let planned_v2 = planned(&setup, "v2", Some(&extra())).await;
        setup.shared.world().faults.push(fault("never-ready queue@v2"));
        let run = setup.environment();
        let options = setup.options("tester");
        let dies = within(&*setup.runtime, Duration::from_secs(5), run.run(planned_v2, &options)).await;
        assert!(dies.is_none());
        setup.shared.world().faults.clear();
        let left = setup.environment().take_over(None, Wish::Leave, &setup.options("second")).await;
        let end = left.expect("ends").expect("was unfinished");
        let RunEnd::Over { outcome: Outcome::Stuck { items }, .. } = &end else { panic!("{end:?}") };
        assert!(items.iter().any(|item| item.remedy.contains("ConfigMap/extra")), "{items:?}");
        assert!(setup.shared.world().get(extra().key()).is_some());
        // A run that goes back in between puts it back, and forgets it as little.
        setup.shared.world().faults.push(fault("crash queue@v3"));
        let end = deploy(&setup, "v3").await;
        assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
        setup.shared.world().faults.clear();
        assert!(setup.shared.world().get(extra().key()).is_some());
        assert!(succeeded(&deploy(&setup, "v1").await));
        assert!(setup.shared.world().get(extra().key()).is_none(), "after the first one: {first_one}");
        let again = deploy(&setup, "v1").await;
        assert_eq!(
            again,
            RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving: Vec::new() } }
        );
    }
}

/// A run of v2 with one more object that was ended as it was.
async fn left_as_it_is(seed: u64) -> Setup {
    let setup = Setup::of(SHOP, seed);
    assert!(succeeded(&deploy(&setup, "v1").await));
    let planned = planned(&setup, "v2", Some(&extra())).await;
    setup.shared.world().faults.push(fault("never-ready queue@v2"));
    let (environment, options) = (setup.environment(), setup.options("tester"));
    let dies = within(&*setup.runtime, Duration::from_secs(5), environment.run(planned, &options)).await;
    assert!(dies.is_none());
    setup.shared.world().faults.clear();
    let left = setup.environment().take_over(None, Wish::Leave, &setup.options("second")).await;
    let end = left.expect("ends").expect("was unfinished");
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::Stuck { .. }, .. }), "{end:?}");
    setup
}

/// The first release takes away what no release has.
async fn takes_the_rest_away(setup: &Setup) {
    assert!(setup.shared.world().get(extra().key()).is_some());
    assert!(succeeded(&deploy(setup, "v1").await));
    assert!(setup.shared.world().get(extra().key()).is_none());
}

/// What such a run added to an object goes as well, also where everything that is wanted is there.
#[tokio::test(start_paused = true)]
async fn what_a_run_has_added_to_an_object_goes_with_the_next_release() {
    let shop = Shop::new(shop::OF_MANIFESTS, 142);
    let config = |data: serde_json::Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": data});
    shop.write("v1", &[config(json!({"a": "b"})), shop::deployment("api", &["cm"])]);
    let mut api = shop::deployment("api", &["cm"]);
    api["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/api:2".into();
    shop.write("v2", &[config(json!({"a": "b", "DEBUG": "1"})), api]);
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.push(fault("never-ready api"));
    let died = within(&*shop.setup.runtime, Duration::from_secs(5), shop.deploy("v2")).await;
    assert!(died.is_none());
    shop.setup.shared.world().faults.clear();
    let left = shop.setup.environment().take_over(None, Wish::Leave, &shop.setup.options("second")).await;
    assert!(matches!(left, Ok(Some(RunEnd::Over { outcome: Outcome::Stuck { .. }, .. }))), "{left:?}");
    let status = release::status(&shop.setup.environment(), &shop.resolved()).await.expect("can be read");
    let told = serde_json::to_string(&status).expect("is JSON");
    assert!(told.contains("ConfigMap/cm: .data.DEBUG of a run that no release has"), "{told}");
    assert!(told.contains("image registry.example/api:1 -> registry.example/api:2"), "{told}");
    let cm = || shop.live("v1", "ConfigMap", Some("shop"), "cm").expect("is there");
    for depth in [Depth::Read, Depth::DryRun] {
        let planned = shop.plan_with("v1", PlanOptions::default(), depth).await.expect("can be planned");
        let change = planned.plan.changes().find(|change| change.key == *cm().key()).expect("is changed");
        let fields: Vec<&str> = change.fields.iter().map(|field| &*field.path).collect();
        assert_eq!(fields, ["data.DEBUG"], "{depth:?}");
    }
    assert!(succeeded(&shop.deploy("v1").await));
    assert_eq!(cm().at("/data"), Some(&json!({"a": "b"})));
    let unchanged = RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving: Vec::new() } };
    assert_eq!(shop.deploy("v1").await, unchanged);
}

/// What was there before a run, and that no release sets, the way back puts there again: it is nobody's rest.
#[tokio::test(start_paused = true)]
async fn what_a_way_back_has_restored_was_left_by_no_run() {
    let shop = Shop::new(shop::OF_MANIFESTS, 143);
    let config = |more: serde_json::Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
            "metadata": {"name": "cm", "annotations": more}})
    };
    shop.write("v1", &[config(json!({"of": "all"})), shop::deployment("api", &["cm"])]);
    let mut api = shop::deployment("api", &["cm"]);
    // The server has filled it in with 10.
    api["spec"]["revisionHistoryLimit"] = 3.into();
    api["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/api:2".into();
    shop.write("v2", &[config(json!({"of": "all", "note": "b"})), api]);
    assert!(succeeded(&shop.deploy("v1").await));
    let cm = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), "cm");
    let note = json!({"metadata": {"annotations": {"note": "a"}}});
    shop.setup.shared.world().edit_as("kubectl-annotate", &cm, note).expect("may edit");
    let before = shop.setup.content();
    shop.setup.shared.world().faults.push(fault("never-ready api"));
    let force = PlanOptions { force: Force::All, ..PlanOptions::default() };
    let planned = shop.plan_with("v2", force, Depth::DryRun).await.expect("can be planned");
    let end = shop.run(planned).await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    shop.setup.shared.world().faults.clear();
    assert_eq!(shop.setup.content(), before);
    let status = release::status(&shop.setup.environment(), &shop.resolved()).await.expect("can be read");
    let told = serde_json::to_string(&status).expect("is JSON");
    assert!(!told.contains("of a run that no release has"), "{told}");
    for depth in [Depth::Read, Depth::DryRun] {
        let planned = shop.plan_with("v1", PlanOptions::default(), depth).await.expect("can be planned");
        assert!(planned.plan.is_empty(), "{depth:?}: {:?}", planned.plan.steps);
    }
    let unchanged = RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving: Vec::new() } };
    assert_eq!(shop.deploy("v1").await, unchanged);
    assert_eq!(shop.setup.content(), before);
}

/// A shop whose run of v2, with another image and these objects, was killed and ended as it was.
async fn left_at_v2(seed: u64, [v1, v2]: [&[serde_json::Value]; 2]) -> Shop {
    let shop = Shop::new(shop::OF_MANIFESTS, seed);
    let mut api = shop::deployment("api", &[]);
    shop.write("v1", &[&[api.clone()], v1].concat());
    api["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/api:2".into();
    shop.write("v2", &[&[api], v2].concat());
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.push(fault("never-ready api"));
    let died = within(&*shop.setup.runtime, Duration::from_secs(5), shop.deploy("v2")).await;
    assert!(died.is_none());
    shop.setup.shared.world().faults.clear();
    let left = shop.setup.environment().take_over(None, Wish::Leave, &shop.setup.options("second")).await;
    assert!(matches!(left, Ok(Some(RunEnd::Over { outcome: Outcome::Stuck { .. }, .. }))), "{left:?}");
    shop
}

async fn status_of(shop: &Shop) -> String {
    let status = release::status(&shop.setup.environment(), &shop.resolved()).await.expect("can be read");
    serde_json::to_string(&status).expect("is JSON")
}

/// Whatever somebody edits beside it.
#[tokio::test(start_paused = true)]
async fn what_a_run_has_left_is_told_beside_an_edit() {
    let shop = left_at_v2(144, [&[], &[]]).await;
    let api = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    let scale = json!({"spec": {"replicas": 5}});
    shop.setup.shared.world().edit_as("kubectl-edit", &api, scale).expect("may edit");
    let fields = "spec.replicas 1 -> 5, spec.template.spec.containers[main].image registry.example/api:1 -> registry.example/api:2";
    let by = "kubectl-edit, a run that made no release";
    let told = status_of(&shop).await;
    assert!(told.contains(&format!("Deployment/api: {fields} (by {by})")), "{told}");
    let options = PlanOptions { force: Force::All, ..PlanOptions::default() };
    let planned = shop.plan_with("v1", options, Depth::DryRun).await.expect("can be planned");
    let drift = notes(&planned, "drift").concat();
    assert!(drift.ends_with(&format!("by {by}: {fields}")), "{drift}");
    assert!(succeeded(&shop.run(planned).await));
    let told = status_of(&shop).await;
    assert!(!told.contains("a run that made no release"), "{told}");
}

/// What a takeover has only marked is as the release made it.
#[tokio::test(start_paused = true)]
async fn what_a_takeover_has_marked_was_not_left_by_its_run() {
    let mut shop = Shop::new(shop::OF_MANIFESTS, 154);
    let mut api = shop::deployment("api", &[]);
    shop.write("v1", std::slice::from_ref(&api));
    api["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/api:2".into();
    shop.write("v2", &[api]);
    assert!(succeeded(&shop.deploy("v1").await));
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    let epoch = |shop: &Shop| {
        let live = shop.setup.shared.world().get(&key).cloned().expect("is there");
        live.annotation("maily.dev/epoch").map(str::to_owned)
    };
    let before = epoch(&shop);
    let planned = shop.plan("v2").await.expect("can be planned");
    let hindered = Hindered { conflicts: Some(("api", Arc::default())), ..Hindered::of(&shop.setup) };
    let cluster = shop.setup.cluster.replace(Arc::new(hindered));
    let died = within(&*shop.setup.runtime, Duration::from_secs(5), shop.run(planned)).await;
    assert!(died.is_none());
    shop.setup.cluster = cluster;
    let left = shop.setup.environment().take_over(None, Wish::Leave, &shop.setup.options("second")).await;
    left.expect("is left");
    assert_ne!(epoch(&shop), before, "is marked");
    let scale = json!({"spec": {"replicas": 5}});
    shop.setup.shared.world().edit_as("kubectl-edit", &key, scale).expect("may edit");
    let told = status_of(&shop).await;
    assert!(told.contains("Deployment/api: spec.replicas 1 -> 5 (by kubectl-edit)"), "{told}");
}

/// Nobody takes away what was there before with another value: it is told, and what it was.
#[tokio::test(start_paused = true)]
async fn what_a_run_has_left_over_a_value_of_before_is_told_and_stays() {
    let redis = shop::deployment("redis", &[]);
    let mut of_v1 = redis.clone();
    of_v1["spec"].as_object_mut().expect("a map").remove("replicas");
    let mut of_v2 = redis;
    of_v2["spec"]["replicas"] = 3.into();
    let shop = left_at_v2(145, [&[of_v1], &[of_v2]]).await;
    let left =
        "spec.replicas 1 -> 3 of a run that made no release, and the release does not set it: it stays";
    let told = status_of(&shop).await;
    assert!(told.contains(&format!("Deployment/redis: {left}")), "{told}");
    for depth in [Depth::Read, Depth::DryRun] {
        let planned = shop.plan_with("v1", PlanOptions::default(), depth).await.expect("can be planned");
        assert_eq!(notes(&planned, "left"), [format!("Deployment shop/redis: {left}")], "{depth:?}");
    }
    assert!(succeeded(&shop.deploy("v1").await));
    let redis = shop.live("apps/v1", "Deployment", Some("shop"), "redis").expect("is there");
    assert_eq!(redis.int("/spec/replicas"), Some(3));
}

/// A run that wants it as well finds it there, and leaves it there.
#[tokio::test(start_paused = true)]
async fn what_a_run_has_left_is_not_forgotten_by_a_retry_that_goes_back() {
    let setup = left_as_it_is(138).await;
    setup.shared.world().faults.push(fault("crash queue@v3"));
    let retry = planned(&setup, "v3", Some(&extra())).await;
    let end = setup.environment().run(retry, &setup.options("tester")).await.expect("runs");
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    setup.shared.world().faults.clear();
    takes_the_rest_away(&setup).await;
}

/// Where it succeeds, it is of its release.
#[tokio::test(start_paused = true)]
async fn what_a_run_has_left_is_of_the_release_that_wants_it() {
    let setup = left_as_it_is(139).await;
    let retry = planned(&setup, "v3", Some(&extra())).await;
    let end = setup.environment().run(retry, &setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    let next = planned(&setup, "v4", Some(&extra())).await;
    assert!(next.plan.left.is_empty(), "{:?}", next.plan.left);
    takes_the_rest_away(&setup).await;
}

/// It claimed the environment, and ended before its plan was stored.
#[tokio::test(start_paused = true)]
async fn what_a_run_has_left_is_not_forgotten_behind_one_without_a_plan() {
    let setup = left_as_it_is(140).await;
    let records = setup.environment().records;
    let head = history::head(&*records).await.expect("can be read");
    let (run, epoch) = (RunId::from("20991231-000000-000001"), Epoch(head.epoch.expect("was claimed").0 + 1));
    let at = setup.runtime.wall();
    let claim = Claim { format: 1, run: run.clone(), by: "tester".to_owned(), at, nonce: 7 };
    records.create(&format!("epoch/{:015}", epoch.0), &pack(&claim)).await.expect("is written");
    let outcome = Outcome::Cancelled { why: "it ended before its plan was stored".to_owned() };
    let runtime = Arc::clone(&setup.runtime);
    let mut writer = Writer::new(Arc::clone(&records), Arc::clone(&runtime), run, epoch, 0);
    let finished = JournalEvent::RunFinished { outcome, release: None, at };
    writer.append(&[finished], runtime.now() + Duration::from_secs(10)).await.expect("is written");
    let head = history::head(&*records).await.expect("can be read");
    assert!(head.ended.is_some_and(|ended| ended.plan.is_none()));
    takes_the_rest_away(&setup).await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_somebody_has_paused_is_told_before_anything_is_done() {
    let setup = Setup::new(131);
    assert!(succeeded(&setup.deploy("v1").await));
    let api = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    let pause = |paused: bool| {
        let fields = json!({"spec": {"paused": paused}});
        setup.shared.world().edit_as("kubectl-rollout", &api, fields).expect("may pause");
    };
    pause(true);
    let before = setup.content();
    let refused = setup.plan("v2", Depth::Read).await.expect_err("would never roll out").to_string();
    assert!(refused.contains("api is paused"), "{refused}");
    assert!(refused.contains("`kubectl -n shop rollout resume deployment/api`"), "{refused}");
    assert_eq!(setup.content(), before);
    // What it has rolled out serves.
    let same = setup.deploy("v1").await;
    let unchanged = Outcome::Unchanged { not_serving: Vec::new() };
    assert_eq!(same, RunEnd::Over { run: None, outcome: unchanged });
    pause(false);
    assert!(succeeded(&setup.deploy("v2").await));
}

const TWO: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  api: {manifests: 'api-{version}.yaml'}
  web: {manifests: 'web-{version}.yaml'}
";

#[tokio::test(start_paused = true)]
async fn a_release_of_a_part_does_not_forget_what_a_run_has_left() {
    let shop = Shop::new(TWO, 133);
    let config = |name: &str, of: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"of": of}});
    for version in ["v1", "v2", "v3"] {
        shop.write(&format!("api-{version}"), &[config("api", version)]);
        shop.write(&format!("web-{version}"), &[shop::deployment("web", &["web"]), config("web", "all")]);
    }
    shop.write("web-v2", &[shop::deployment("web", &["web", "x"]), config("web", "all"), config("x", "v2")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let saved = [shop.part("v2", components(&["api"])).await, shop.plan("v1").await];
    let x = || shop.live("v1", "ConfigMap", Some("shop"), "x");
    shop.setup.shared.world().faults.push(fault("never-ready web"));
    let died = within(&*shop.setup.runtime, Duration::from_secs(5), shop.deploy("v2")).await;
    assert!(died.is_none() && x().is_some());
    shop.setup.shared.world().faults.clear();
    let left = shop.setup.environment().take_over(None, Wish::Leave, &shop.setup.options("second")).await;
    assert!(matches!(left, Ok(Some(RunEnd::Over { outcome: Outcome::Stuck { .. }, .. }))), "{left:?}");
    // A plan from before that knows nothing of it.
    for saved in saved {
        let adopted = shop.setup.environment().adopt_plan(saved.expect("can be planned").plan).await;
        let error = adopted.expect_err("is out of date").to_string();
        assert!(error.contains("ConfigMap shop/x was left by a run since"), "{error}");
    }
    // Each of them hands it on.
    for version in ["v2", "v3"] {
        let part = shop.part(version, components(&["api"])).await.expect("can be planned");
        assert!(notes(&part, "left")[0].contains("ConfigMap shop/x"), "{:?}", part.plan.notes);
        assert!(succeeded(&shop.run(part).await));
    }
    let planned = shop.plan("v1").await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!(x(), None);
    // Then it is nobody's any more.
    let part = shop.part("v2", components(&["api"])).await.expect("can be planned");
    assert!(part.plan.left.is_empty() && notes(&part, "left").is_empty(), "{:?}", part.plan.left);
}

const CONFIGURED: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  web: {manifests: '{version}.yaml'}
";

/// What the run has written of a step goes back; what it had not come to is whoever's who changed it.
#[tokio::test(start_paused = true)]
async fn an_edit_of_what_a_run_has_not_written_yet_stays_and_the_rest_goes_back() {
    let shop = Shop::new(CONFIGURED, 132);
    let manifests = |version: &str| {
        let config = |kind: &str, name: &str, field: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: {"of": version}});
        vec![config("Secret", "first", "stringData"), config("ConfigMap", "second", "data")]
    };
    for version in ["v1", "v2"] {
        shop.write(version, &manifests(version));
    }
    assert!(succeeded(&shop.deploy("v1").await));
    let planned = shop.plan("v2").await.expect("can be planned");
    let second = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), "second");
    let edit = json!({"data": {"of": "mine"}});
    shop.setup.shared.world().edit_as("kubectl-edit", &second, edit).expect("may edit");
    let before = shop.setup.content();
    let end = shop.run(planned).await;
    let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = &end else { panic!("{end:?}") };
    assert!(why.message.contains("ConfigMap shop/second: it was changed meanwhile"), "{why:?}");
    assert_eq!(shop.setup.content(), before);
}

/// Whoever takes the run over marks what is the run's, so that late writes are refused; what somebody made in the meantime
/// stays as it is.
#[tokio::test(start_paused = true)]
async fn what_somebody_made_meanwhile_is_not_marked_by_whoever_takes_the_run_over() {
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"defaultBackend": {"service": {"name": "api", "port": {"number": 80}}}}});
    let key = ObjectKey::new(ObjectKind::new("networking.k8s.io/v1", "Ingress"), Some("shop"), "x");
    let mut taken_over = 0;
    for millis in (20..20_000).step_by(20) {
        let shop = Shop::new(shop::OF_MANIFESTS, 136);
        let mut api = shop::deployment("api", &[]);
        shop.write("v1", std::slice::from_ref(&api));
        api["spec"]["template"]["metadata"]["annotations"] = json!({"of": "v2"});
        shop.write("v2", &[api, ingress.clone()]);
        assert!(succeeded(&shop.deploy("v1").await));
        let planned = shop.plan("v2").await.expect("can be planned");
        shop.make(&ingress).await;
        let before = shop.setup.shared.world().get(&key).cloned().expect("is there");
        let died = within(&*shop.setup.runtime, Duration::from_millis(millis), shop.run(planned)).await;
        if died.is_some() {
            break;
        }
        let end = shop.setup.environment().take_over(None, Wish::Resume, &shop.setup.options("second")).await;
        taken_over += u32::from(matches!(end, Ok(Some(_))));
        let after = shop.setup.shared.world().get(&key).cloned().expect("is there");
        assert_eq!(after, before, "killed after {millis} ms");
    }
    assert!(taken_over > 2, "{taken_over}");
}

/// The same where a run has deleted what somebody makes anew with a content of his own: the next release leaves it to him.
#[tokio::test(start_paused = true)]
async fn what_somebody_made_anew_after_a_deletion_is_not_marked_by_whoever_takes_the_run_over() {
    let extra = |of: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra", "namespace": "shop"}, "data": {"of": of}});
    let key = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), "extra");
    for wishes in [&[Wish::Leave][..], &[Wish::Resume, Wish::Leave]] {
        let mut shop = Shop::new(shop::OF_MANIFESTS, 139);
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "old"}});
        shop.write("v1", &[shop::deployment("api", &[]), extra("ours"), account]);
        shop.write("v2", &[shop::deployment("api", &[])]);
        assert!(succeeded(&shop.deploy("v1").await));
        let planned = shop.plan("v2").await.expect("can be planned");
        // What goes after it does not.
        let hindered = Hindered { keeps: Some("ServiceAccount"), ..Hindered::of(&shop.setup) };
        shop.setup.cluster = Some(Arc::new(hindered));
        let made = async {
            for _ in 0..10_000 {
                if shop.setup.shared.world().get(&key).is_none() {
                    shop.make(&extra("mine")).await;
                    break;
                }
                shop.setup.runtime.sleep(Duration::from_millis(1)).await;
            }
        };
        let (end, ()) = futures::future::join(shop.run(planned), made).await;
        let RunEnd::Stuck { items, .. } = &end else { panic!("{end:?}") };
        assert!(items[0].why.message.contains("ConfigMap shop/extra"), "{items:?}");
        shop.setup.cluster = None;
        let before = shop.setup.shared.world().get(&key).cloned().expect("is there");
        for wish in wishes {
            let end = shop.setup.environment().take_over(None, *wish, &shop.setup.options("second")).await;
            assert!(matches!(end, Ok(Some(_))), "{end:?}");
        }
        assert!(succeeded(&shop.deploy("v2").await));
        let after = shop.setup.shared.world().get(&key).cloned();
        assert_eq!(after, Some(before), "{wishes:?}");
    }
}

/// Who leaves a run as it is ends it for its former process, too: what that may still send is refused.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_left_as_it_is_leaves_no_late_write_a_way() {
    let setup = Setup::of(SHOP, 137);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("never-ready queue@v2"));
    let died = within(&*setup.runtime, Duration::from_secs(5), setup.deploy("v2")).await;
    assert!(died.is_none());
    let cluster = SimCluster::new(setup.shared.clone());
    let read = cluster.get(&deployment()).await.expect("answers").expect("is there");
    let left = setup.environment().take_over(None, Wish::Leave, &setup.options("second")).await;
    assert!(matches!(left, Ok(Some(RunEnd::Over { outcome: Outcome::Stuck { .. }, .. }))), "{left:?}");
    let content = setup.content();
    let exactly = Precondition::Exactly {
        uid: read.uid().expect("has one").to_owned(),
        resource_version: read.resource_version().expect("has one").to_owned(),
    };
    let late = WriteOptions::merge(MANAGER, exactly);
    let patch = patch_of(&deployment(), json!({"spec": {"replicas": 9}})).expect("is a patch");
    let error = cluster.write(&patch, &late).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(setup.content(), content);
}

/// An answer that was lost says nothing of another object of the same step.
#[tokio::test(start_paused = true)]
async fn an_edit_of_what_a_run_has_not_written_yet_stays_also_where_another_answer_was_lost() {
    let mut shop = Shop::new(CONFIGURED, 134);
    let config = |name: &str, of: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"of": of}});
    for version in ["v1", "v2"] {
        shop.write(version, &[config("first", version), config("second", version)]);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    let planned = shop.plan("v2").await.expect("can be planned");
    let key = |name: &str| ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), name);
    let edit = json!({"data": {"of": "mine"}});
    shop.setup.shared.world().edit_as("kubectl-edit", &key("second"), edit.clone()).expect("may edit");
    let before = shop.setup.content();
    let lost = Some(("first", AtomicU32::new(1)));
    let hindered = Arc::new(Hindered { lost, ..Hindered::of(&shop.setup) });
    shop.setup.cluster = Some(Arc::clone(&hindered) as _);
    let end = shop.run(planned).await;
    let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = &end else { panic!("{end:?}") };
    assert!(why.message.contains("ConfigMap shop/second: it was changed meanwhile"), "{why:?}");
    assert!(hindered.has_lost_all());
    assert_eq!(shop.setup.content(), before);
    // Of the very object whose answer was lost nobody knows whose the edit is.
    shop.setup.cluster = None;
    shop.setup
        .shared
        .world()
        .edit_as("kubectl-edit", &key("second"), json!({"data": {"of": "v1"}}))
        .expect("may edit");
    let planned = shop.plan("v2").await.expect("can be planned");
    let lost = Some(("first", AtomicU32::new(1)));
    let hindered = Arc::new(Hindered { lost, ..Hindered::of(&shop.setup) });
    shop.setup.cluster = Some(Arc::clone(&hindered) as _);
    let person = async {
        while !hindered.has_lost_all() {
            shop.setup.runtime.sleep(Duration::from_millis(5)).await;
        }
        shop.setup.shared.world().edit_as("kubectl-edit", &key("first"), edit.clone()).expect("may edit");
    };
    let (end, ()) = futures::future::join(shop.run(planned), person).await;
    assert!(matches!(&end, RunEnd::Stuck { .. }), "{end:?}");
}
