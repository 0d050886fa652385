//! Kinds that the cluster does not serve: not yet, or not any more.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{Depth, Outcome, Planned, RunEnd, Storage, What, Wish, planner::PlanOptions},
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster as _, Precondition, WriteOptions},
    release::{self, RollbackTo},
    runtime::within,
};
use maily_testkit::sim::SimCluster;
use serde_json::{Value, json};

use crate::{
    hindered::Hindered,
    setup::succeeded,
    shop::{OF_MANIFESTS, Shop, components, deployment, notes},
};

/// The definition comes with its objects, and what needs them comes later.
const WITH_ITS_OPERATOR: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  operator: {manifests: 'operator-{version}.yaml'}
  user: {needs: [operator], manifests: 'user-{version}.yaml'}
";

fn definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true}]}})
}

fn widget(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 1}})
}

/// A definition with so many of its objects.
fn defined(widgets: usize) -> Vec<Value> {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}});
    let widgets = (0..widgets).map(|number| widget(&format!("w-{number}")));
    [definition(), account].into_iter().chain(widgets).collect()
}

fn shop(seed: u64, widgets: usize) -> Shop {
    let shop = Shop::new(WITH_ITS_OPERATOR, seed);
    shop.write("operator-v1", &defined(widgets));
    shop.write("user-v1", &[deployment("user", &[])]);
    shop
}

fn undefine(shop: &Shop) {
    let kind = ObjectKind::new("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let key = ObjectKey::new(kind, None, "widgets.example.com");
    shop.setup.shared.world().delete(&key, &Precondition::Any).expect("is there");
}

async fn taken_over(shop: &Shop, wish: Wish) -> Option<RunEnd> {
    let taken = shop.setup.environment().take_over(None, wish, &shop.setup.options("second")).await;
    taken.expect("goes on")
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_before_its_kind_is_served_goes_on_or_back() {
    for (widgets, wish) in [
        (1, Wish::Resume),
        (1, Wish::Abort),
        (1, Wish::Leave),
        (3, Wish::Resume),
        (3, Wish::Abort),
        (3, Wish::Leave),
    ] {
        let mut taken = 0;
        for millis in (20..20_000).step_by(20) {
            let shop = shop(501, widgets);
            let planned = shop.plan("v1").await.expect("can be planned");
            let died = within(&*shop.setup.runtime, Duration::from_millis(millis), shop.run(planned)).await;
            if died.is_some() {
                break;
            }
            let when = format!("{widgets} objects, {wish:?}, killed after {millis} ms");
            let Some(end) = taken_over(&shop, wish).await else { continue };
            taken += 1;
            let RunEnd::Over { outcome, .. } = &end else { panic!("{when}: {end:?}") };
            match (wish, outcome) {
                (_, Outcome::Cancelled { .. }) | (Wish::Leave, Outcome::Stuck { .. }) => {}
                (Wish::Resume, Outcome::Succeeded { .. }) => {}
                (Wish::Abort, Outcome::RolledBack { .. }) => assert_eq!(shop.setup.content(), [], "{when}"),
                _ => panic!("{when}: {end:?}"),
            }
            assert!(succeeded(&shop.deploy("v1").await) || wish == Wish::Resume, "{when}");
        }
        assert!(taken > 5, "{taken}");
    }
}

/// On the way back the definition goes, and with it what is of its kind.
#[tokio::test(start_paused = true)]
async fn a_way_back_that_ends_after_its_kind_has_gone_is_gone_on_with() {
    let refused = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "user"}, "data": {"no-text": 1}});
    for (widgets, wish) in [(1, Wish::Resume), (1, Wish::Abort), (3, Wish::Resume), (3, Wish::Leave)] {
        let (mut taken, mut after) = (0, 0);
        for millis in 1..20_000 {
            let shop = shop(502, widgets);
            shop.write("user-v1", std::slice::from_ref(&refused));
            let planned = shop.plan_with("v1", PlanOptions::default(), Depth::Read).await;
            let run = shop.run(planned.expect("can be planned"));
            let died = within(&*shop.setup.runtime, Duration::from_millis(millis), run).await;
            if died.is_some() {
                break;
            }
            let is_back = shop
                .setup
                .told
                .lock()
                .expect("not poisoned")
                .iter()
                .any(|what| matches!(what, What::Turned { .. }));
            let is_defined = !shop.setup.shared.world().of_kind("CustomResourceDefinition").is_empty();
            let when = format!("{widgets} objects, {wish:?}, killed after {millis} ms");
            let Some(end) = taken_over(&shop, wish).await else { continue };
            taken += 1;
            after += u32::from(is_back && !is_defined);
            assert!(matches!(end, RunEnd::Over { .. }), "{when}: {end:?}");
            if wish != Wish::Leave {
                assert_eq!(shop.setup.content(), [], "{when}");
            }
        }
        assert!(taken > 5 && after > 0, "{taken} {after}");
    }
}

/// Without anybody's death: what could not be made, because its kind did not come, is nothing that has to be taken back.
#[tokio::test(start_paused = true)]
async fn a_run_that_turns_before_its_kind_is_served_goes_back() {
    for widgets in [1, 3] {
        let mut shop = shop(503, widgets);
        let planned = shop.plan("v1").await.expect("can be planned");
        let conflicts = Some(("widgets.example.com", Arc::default()));
        let hindered = Hindered { conflicts, ..Hindered::of(&shop.setup) };
        shop.setup.cluster = Some(Arc::new(hindered));
        let aborted = async {
            shop.setup.runtime.sleep(Duration::from_secs(2)).await;
            let options = shop.setup.options("second");
            shop.setup.environment().take_over(None, Wish::Abort, &options).await
        };
        let (end, _) = futures::future::join(shop.run(planned), aborted).await;
        let went_back = matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. });
        assert!(went_back, "{end:?}");
        assert_eq!(shop.setup.content(), []);
    }
}

/// A plan that was read finds nothing of a kind that it brings itself.
#[tokio::test(start_paused = true)]
async fn a_plan_that_brings_a_kind_with_several_objects_can_be_carried_out() {
    let shop = shop(504, 3);
    let planned = shop.plan("v1").await.expect("can be planned");
    let adopted = shop.setup.environment().adopt_plan(planned.plan).await.expect("still fits");
    assert!(succeeded(&shop.run(adopted).await));
}

/// Whoever took a definition away has taken its objects along.
#[tokio::test(start_paused = true)]
async fn what_is_of_a_kind_that_is_served_no_more_counts_as_gone() {
    for depth in [Depth::Read, Depth::DryRun] {
        let shop = Shop::new(OF_MANIFESTS, 505);
        let mut all = defined(3);
        all.push(deployment("user", &[]));
        shop.write("v1", &all);
        shop.write("v2", &[deployment("user", &[])]);
        assert!(succeeded(&shop.deploy("v1").await));
        undefine(&shop);
        let (environment, resolved) = (shop.setup.environment(), shop.resolved());
        let status = release::status(&environment, &resolved).await.expect("can be read");
        assert!(!status.services.is_empty());
        // What is wanted is made again.
        let planned = shop.plan_with("v1", PlanOptions::default(), depth).await.expect("can be planned");
        let made: Vec<&str> = planned.plan.changes().map(|change| change.key.kind.kind.as_str()).collect();
        assert_eq!(made, ["CustomResourceDefinition", "Widget", "Widget", "Widget"]);
        let planned = shop.plan_with("v2", PlanOptions::default(), depth).await.expect("can be planned");
        assert!(succeeded(&shop.run(planned).await));
        undefined_again(&shop).await;
    }
}

async fn undefined_again(shop: &Shop) {
    assert!(succeeded(&shop.deploy("v1").await));
    undefine(shop);
    let planned = shop.removal().await;
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!(shop.setup.content(), []);
}

const BESIDE_ITS_OPERATOR: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  user: {manifests: '{version}.yaml'}
";

/// A definition whose old version is served, or not any more.
async fn serve(shop: &Shop, old: bool) {
    let mut definition = definition();
    definition["spec"]["versions"] = json!([{"name": "v1beta1", "served": old, "storage": false},
        {"name": "v1", "served": true, "storage": true}]);
    let definition = Object::from_value(definition).expect("is an object");
    let options = WriteOptions::apply("kubectl", Precondition::Any);
    SimCluster::new(shop.setup.shared.clone()).write(&definition, &options).await.expect("is written");
}

/// What a run has made is there still where its version alone is served no more: nobody says that it was taken back.
#[tokio::test(start_paused = true)]
async fn what_a_run_has_made_is_not_gone_with_the_version_in_which_it_was_made() {
    let mut old = widget("w");
    old["apiVersion"] = "example.com/v1beta1".into();
    for wish in [Wish::Abort, Wish::Resume] {
        let mut taken = 0;
        for millis in (20..20_000).step_by(20) {
            let shop = Shop::new(BESIDE_ITS_OPERATOR, 507);
            serve(&shop, true).await;
            shop.write("v1", &[old.clone(), deployment("user", &[])]);
            let planned = shop.plan("v1").await.expect("can be planned");
            let died = within(&*shop.setup.runtime, Duration::from_millis(millis), shop.run(planned)).await;
            if died.is_some() {
                break;
            }
            let is_there = || shop.live("example.com/v1", "Widget", Some("shop"), "w").is_some();
            if !is_there() {
                continue;
            }
            serve(&shop, false).await;
            let when = format!("{wish:?}, killed after {millis} ms");
            let Some(end) = taken_over(&shop, wish).await else { continue };
            taken += 1;
            assert!(is_there(), "{when}");
            let RunEnd::Stuck { items, .. } = &end else { panic!("{when}: {end:?}") };
            let said = format!("{items:?}");
            assert!(said.contains("Widget.example.com shop/w"), "{when}: {said}");
            assert!(said.contains("not in v1beta1 any more, but in v1"), "{when}: {said}");
            assert!(!said.contains("deleted meanwhile"), "{when}: {said}");
            // Once it is served again, the run comes to its end.
            serve(&shop, true).await;
            let end = taken_over(&shop, wish).await;
            let end = end.unwrap_or_else(|| panic!("{when}: there is no run"));
            let RunEnd::Over { outcome, .. } = &end else { panic!("{when}: {end:?}") };
            match outcome {
                Outcome::Succeeded { .. } if wish == Wish::Resume => assert!(is_there(), "{when}"),
                Outcome::RolledBack { .. } => assert!(!is_there(), "{when}"),
                _ => panic!("{when}: {end:?}"),
            }
        }
        assert!(taken > 5, "{wish:?}: {taken}");
    }
}

/// What a run has left is not forgotten while it cannot be looked at, and goes once it can be.
#[tokio::test(start_paused = true)]
async fn what_a_run_has_left_is_known_still_when_its_version_is_served_again() {
    let mut old = widget("w");
    old["apiVersion"] = "example.com/v1beta1".into();
    let shop = Shop::new(BESIDE_ITS_OPERATOR, 509);
    serve(&shop, true).await;
    shop.write("v1", &[deployment("user", &[])]);
    let mut next = deployment("user", &[]);
    next["spec"]["template"]["metadata"]["annotations"] = json!({"of": "v2"});
    shop.write("v2", &[old.clone(), next.clone()]);
    next["spec"]["template"]["metadata"]["annotations"] = json!({"of": "v3"});
    shop.write("v3", std::slice::from_ref(&next));
    next["spec"]["template"]["metadata"]["annotations"] = json!({"of": "v4"});
    shop.write("v4", &[next]);
    assert!(succeeded(&shop.deploy("v1").await));
    let is_there = |shop: &Shop| shop.live("example.com/v1", "Widget", Some("shop"), "w").is_some();
    for millis in (20..20_000).step_by(20) {
        let planned = shop.plan("v2").await.expect("can be planned");
        let run = within(&*shop.setup.runtime, Duration::from_millis(millis), shop.run(planned)).await;
        assert!(run.is_none(), "it was never seen");
        taken_over(&shop, if is_there(&shop) { Wish::Leave } else { Wish::Abort }).await;
        if is_there(&shop) {
            break;
        }
    }
    serve(&shop, false).await;
    let planned = shop.plan("v3").await.expect("can be planned");
    let told = notes(&planned, "unserved");
    assert!(told.len() == 1 && told[0].contains("Widget.example.com shop/w cannot be looked at"), "{told:?}");
    assert!(succeeded(&shop.run(planned).await));
    serve(&shop, true).await;
    assert!(succeeded(&shop.deploy("v4").await));
    assert!(!is_there(&shop), "nobody knows of it");
}

const APART: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  web: {manifests: 'web-{version}.yaml'}
  worker: {manifests: 'worker-{version}.yaml'}
";

/// What a plan leaves as it is is not written: it may be of a kind that has gone, and the plan says so.
#[tokio::test(start_paused = true)]
async fn a_kind_that_has_gone_refuses_nothing_to_the_services_beside_it() {
    let shop = Shop::new(APART, 506);
    shop.make(&definition()).await;
    for version in ["v1", "v2"] {
        let mut web = deployment("web", &[]);
        web["spec"]["template"]["metadata"]["annotations"] = json!({"of": version});
        shop.write(&format!("web-{version}"), &[web]);
        shop.write(&format!("worker-{version}"), &[deployment("worker", &[]), widget("watched")]);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    undefine(&shop);
    let error = shop.plan("v2").await.expect_err("has to be written");
    assert!(format!("{error:?}").contains("UnknownKind"), "{error:?}");
    let beside = |planned: &Planned| {
        let told = notes(planned, "unserved");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("Widget.example.com shop/watched") && told[0].contains("stays"), "{told:?}");
        assert!(planned.plan.changes().all(|change| change.key.name == "web"));
    };
    let planned = shop.part("v2", components(&["web"])).await.expect("can be planned");
    beside(&planned);
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!(shop.owner("watched").await, Some(Some("worker".to_owned())));
    let back = shop.back(RollbackTo::LastGood, Some(&["web"]), PlanOptions::default()).await;
    let back = back.expect("can be planned");
    beside(&back);
    assert!(succeeded(&shop.run(back).await));
    let environment = shop.setup.environment();
    let head = environment.head().await.expect("can be read");
    let base = shop.released().await;
    let gone = vec!["web".to_owned()];
    let wanted = release::remove(&shop.resolved(), &base, Some(&gone)).expect("can be removed");
    let options = PlanOptions::default();
    let planned = environment.plan(&wanted, head, Some(&base), &options, Depth::Read, Storage::Lasting).await;
    let planned = planned.expect("can be planned");
    beside(&planned);
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!(shop.live("apps/v1", "Deployment", Some("shop"), "web"), None);
}

/// What every server has is not gone because one says so: nobody forgets pods that run on.
#[tokio::test(start_paused = true)]
async fn no_plan_is_made_where_workloads_of_kubernetes_itself_are_not_served() {
    let mut shop = Shop::new(APART, 508);
    for service in ["web", "worker"] {
        shop.write(&format!("{service}-v1"), &[deployment(service, &[])]);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.cluster =
        Some(Arc::new(Hindered { unserved: Some("Deployment"), ..Hindered::of(&shop.setup) }));
    let error = shop.try_removal().await.expect_err("is refused");
    let said = format!("{error:?}");
    assert!(said.contains("Deployment (apps/v1)") && said.contains("every Kubernetes"), "{said}");
    assert!(shop.live("apps/v1", "Deployment", Some("shop"), "web").is_some());
}
