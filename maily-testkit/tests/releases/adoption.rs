//! Objects that others had made, taken over and given back.

use futures::FutureExt as _;
use maily_core::{
    engine::{
        Depth, EnvironmentError, Operation, Outcome, ReleaseId, RunEnd, Storage, history,
        journal::JournalError, planner::PlanOptions,
    },
    object::{Object, ObjectKey, ObjectKind},
    provider::{ErrorKind, Precondition, ProviderError, WriteOptions},
    release,
};
use serde_json::{Value, json};

use crate::{
    setup::{Setup, fault, succeeded},
    shop::{OF_MANIFESTS, Shop, deployment, notes},
};

const SHOP: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
";

fn service() -> ObjectKey {
    ObjectKey::new(ObjectKind::new("v1", "Service"), Some("shop"), "api")
}

/// An object without what the server and its controllers keep on it.
fn content(setup: &Setup, key: &ObjectKey) -> Object {
    let world = setup.shared.world();
    let mut object = world.get(key).expect("is there").clone().without_server_fields();
    object.set_annotation("deployment.kubernetes.io/revision", None);
    object.edit(|body| {
        if let Some(spec) = body.get_mut("spec").and_then(|spec| spec.as_object_mut()) {
            spec.remove("clusterIP");
        }
    });
    object
}

#[tokio::test(start_paused = true)]
async fn what_was_adopted_is_given_back_without_our_marks() {
    let setup = Setup::of(SHOP, 61);
    let theirs = Object::from_value(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "api", "namespace": "shop", "labels": {"team": "shop"}, "annotations": {"note": "by hand"}},
        "spec": {"selector": {"app": "old"}, "ports": [{"port": 7000}]}}))
    .expect("an object");
    let options = WriteOptions::apply("kubectl", Precondition::Absent);
    setup.shared.world().write(&theirs, &options).expect("can be made");
    let before = content(&setup, &service());
    setup.shared.world().faults.push(fault("crash web"));
    let end = setup.deploy("v1").await;
    assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!(content(&setup, &service()), before);
}

/// What is ours only because it was made again is given back like anything else that was adopted.
#[tokio::test(start_paused = true)]
async fn what_was_adopted_by_making_it_again_is_given_back_without_our_marks() {
    let setup = Setup::of(SHOP, 62);
    let theirs = Object::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop", "labels": {"team": "shop"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "old"}},
            "template": {"metadata": {"labels": {"app": "old"}},
                "spec": {"containers": [{"name": "api", "image": "registry.example/old:1"}]}}}}))
    .expect("an object");
    let key = theirs.key().clone();
    let options = WriteOptions::apply("kubectl", Precondition::Absent);
    setup.shared.world().write(&theirs, &options).expect("can be made");
    setup.runtime.sleep(std::time::Duration::from_secs(5)).await;
    let before = content(&setup, &key);
    setup.shared.world().faults.push(fault("crash web"));
    let environment = setup.environment();
    let wanted = setup.wanted("v1").await;
    let mut options = PlanOptions::default();
    options.replace.insert("Deployment/api".to_owned());
    let head = environment.head().await.expect("can be read");
    let planned = environment.plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
    let planned = planned.expect("can be planned");
    let adopts = |note: &maily_core::engine::Note| {
        note.topic == "adopt" && note.text.starts_with("Deployment shop/api is taken over")
    };
    let told = planned.plan.notes.iter().any(adopts);
    let end = environment.run(planned, &setup.options("tester")).await.expect("runs");
    assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!(content(&setup, &key), before);
    assert!(told);
}

/// Who removes what others had made before hears of it in the plan.
#[tokio::test(start_paused = true)]
async fn a_removal_says_what_of_it_was_there_before() {
    let setup = Setup::of(SHOP, 63);
    let theirs = Object::from_value(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {"selector": {"app": "old"}, "ports": [{"port": 7000}]}}))
    .expect("an object");
    let options = WriteOptions::apply("kubectl", Precondition::Absent);
    setup.shared.world().write(&theirs, &options).expect("can be made");
    assert!(succeeded(&setup.deploy("v1").await));
    let (environment, resolved) = (setup.environment(), setup.resolved());
    for (names, told) in [(None, true), (Some(["api".to_owned()]), true), (Some(["web".to_owned()]), false)] {
        let head = environment.head().await.expect("can be read");
        let base = environment.released(&head).await.expect("can be read").expect("is on record");
        let found = environment.read(|records| history::release(records, ReleaseId(0)).boxed()).await;
        let mut wanted = release::remove(&resolved, &base, names.as_ref().map(|names| &names[..]))
            .expect("can be removed");
        release::note_found(&mut wanted, &base, found).expect("can be read");
        let (options, depth) = (PlanOptions::default(), Depth::Read);
        let planned = environment.plan(&wanted, head, Some(&base), &options, depth, Storage::Passing).await;
        let planned = planned.expect("can be planned");
        let notes: Vec<&str> = planned.plan.notes.iter().map(|note| note.text.as_str()).collect();
        let ours = |note: &&&str| note.starts_with("taken over from before the first release");
        let note = notes.iter().find(ours).copied().unwrap_or_default();
        assert_eq!(note.ends_with(": Service/api"), told, "{names:?}: {notes:?}");
    }
}

/// Where nobody can tell any more what others had made, the plan does not look as if there had been nothing.
#[tokio::test(start_paused = true)]
async fn a_removal_says_so_where_what_was_there_before_cannot_be_told() {
    let setup = Setup::of(SHOP, 64);
    assert!(succeeded(&setup.deploy("v1").await) && succeeded(&setup.deploy("v2").await));
    let (environment, resolved) = (setup.environment(), setup.resolved());
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read").expect("is on record");
    let notes = |found| {
        let mut wanted = release::remove(&resolved, &base, None).expect("can be removed");
        release::note_found(&mut wanted, &base, found)?;
        let notes = wanted.notes.into_iter().filter(|note| note.topic == "adopted");
        Ok::<Vec<String>, EnvironmentError>(notes.map(|note| note.text).collect())
    };
    let read = async || environment.read(|records| history::release(records, ReleaseId(0)).boxed()).await;
    // Nothing stood there.
    assert_eq!(notes(read().await).expect("can be read"), [""; 0]);
    environment.records.delete("release/000000001").await.expect("is deleted");
    environment.records.create("release/000000001", b"{}").await.expect("is written");
    let told = notes(read().await).expect("keeps from no removal");
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(told.contains("cannot be read (record `release/000000001` is damaged"), "{told}");
    let told = notes(Ok(None)).expect("keeps from no removal");
    assert!(matches!(&told[..], [told] if told.contains("is not on record any more")), "{told:?}");
    // What can be read in a moment is worth the wait.
    let away = ProviderError::new(ErrorKind::Unavailable, "test", "get", "release/000000001", "is away");
    notes(Err(JournalError::Store(away).into())).expect_err("is no plan");
}

/// What people applied before, and what of it the version has, with the number of replicas that somebody scaled it to.
fn legacy() -> (Vec<Value>, Vec<Value>) {
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}, "spec": {"selector": {"app": "api"}, "ports": ports}});
    let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "api"}, "data": data});
    let version = deployment("api", &["api"]);
    let mut before = version.clone();
    before["spec"]["replicas"] = 3.into();
    // What the server would fill in by itself nobody loses.
    before["spec"]["revisionHistoryLimit"] = 10.into();
    let pod = &mut before["spec"]["template"]["spec"];
    pod["nodeSelector"] = json!({"disk": "fast"});
    pod["containers"][0]["env"] = json!([{"name": "FEATURE_X", "value": "on"}]);
    pod["containers"][0]["livenessProbe"] = json!({"httpGet": {"path": "/", "port": 80}});
    let theirs = vec![
        before,
        service(json!([{"port": 80, "name": "web", "targetPort": 8080}, {"port": 9090, "name": "more"}])),
        map(json!({"KEPT": "1", "OLD_KEY": "must-have"})),
    ];
    (theirs, vec![version, service(json!([{"port": 80, "name": "web"}])), map(json!({"KEPT": "1"}))])
}

#[tokio::test(start_paused = true)]
async fn what_an_adoption_takes_away_the_plan_shows_field_by_field() {
    for depth in [Depth::Read, Depth::DryRun] {
        let shop = Shop::new(OF_MANIFESTS, 65);
        let (theirs, ours) = legacy();
        shop.write("v1", &ours);
        for mut object in theirs {
            object["metadata"]["namespace"] = "shop".into();
            shop.make(&object).await;
        }
        let planned = shop.plan_with("v1", PlanOptions::default(), depth).await.expect("can be planned");
        let mut shown: Vec<String> = Vec::new();
        for change in planned.plan.changes() {
            assert_eq!(change.operation, Operation::Adopt);
            shown.extend(change.fields.iter().map(|field| {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "unset".to_owned());
                format!(
                    "{} {}: {} → {}",
                    change.key.kind.kind,
                    field.path,
                    value(&field.from),
                    value(&field.to)
                )
            }));
        }
        shown.sort();
        let container = "Deployment spec.template.spec.containers[main]";
        assert_eq!(
            shown,
            [
                "ConfigMap data.OLD_KEY: must-have → unset".to_owned(),
                "Deployment spec.replicas: 3 → 1".to_owned(),
                "Deployment spec.strategy.rollingUpdate.maxSurge: unset → 25%".to_owned(),
                "Deployment spec.strategy.rollingUpdate.maxUnavailable: unset → 25%".to_owned(),
                format!("{container}.env: [{{\"name\":\"FEATURE_X\",\"value\":\"on\"}}] → unset"),
                format!("{container}.imagePullPolicy: unset → IfNotPresent"),
                format!("{container}.livenessProbe.httpGet.path: / → unset"),
                format!("{container}.livenessProbe.httpGet.port: 80 → unset"),
                "Deployment spec.template.spec.nodeSelector.disk: fast → unset".to_owned(),
                "Service spec.ports[80,TCP].targetPort: 8080 → unset".to_owned(),
                "Service spec.ports[9090,TCP].name: more → unset".to_owned(),
                "Service spec.ports[9090,TCP].port: 9090 → unset".to_owned(),
            ],
            "{depth:?}"
        );
        assert_eq!(
            notes(&planned, "adopt"),
            [
                "3 objects are taken over from kubectl; Deployment/api goes from 3 to 1 replicas; 8 fields that the version \
              does not set go (`mailyctl plan --env production --version v1 -v` shows all)"
            ]
        );
        assert!(succeeded(&shop.run(planned).await));
        let map = shop.live("v1", "ConfigMap", Some("shop"), "api").expect("is there");
        assert_eq!(map.at("/data"), Some(&json!({"KEPT": "1"})));
        let service = shop.live("v1", "Service", Some("shop"), "api").expect("is there");
        assert_eq!(service.items("/spec/ports").len(), 1, "{service:?}");
        let deployment = shop.live("apps/v1", "Deployment", Some("shop"), "api").expect("is there");
        assert_eq!(deployment.at("/spec/template/spec/nodeSelector"), None);
    }
}

/// The server keeps its texts among the data.
#[tokio::test(start_paused = true)]
async fn texts_of_a_secret_do_not_go_when_it_is_adopted() {
    for depth in [Depth::Read, Depth::DryRun] {
        let shop = Shop::new(OF_MANIFESTS, 66);
        let secret = |rest: Value| {
            let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api"}});
            secret.as_object_mut().expect("a map").extend(rest.as_object().expect("a map").clone());
            secret
        };
        shop.write("v1", &[secret(json!({"stringData": {"KEEP": "one", "NEW": "two"}}))]);
        let mut theirs = secret(json!({"data": {"KEEP": "b25l", "GONE": "b25l"}}));
        theirs["metadata"]["namespace"] = "shop".into();
        shop.make(&theirs).await;
        let planned = shop.plan_with("v1", PlanOptions::default(), depth).await.expect("can be planned");
        let fields = planned.plan.changes().flat_map(|change| &change.fields);
        let gone: Vec<&str> =
            fields.filter(|field| field.to.is_none()).map(|field| field.path.as_str()).collect();
        assert_eq!(gone, ["data.GONE"], "{depth:?}");
        assert!(succeeded(&shop.run(planned).await));
        let live = shop.live("v1", "Secret", Some("shop"), "api").expect("is there");
        assert_eq!(live.at("/data"), Some(&json!({"KEEP": "b25l", "NEW": "dHdv"})));
    }
}

/// What a chart says is to be kept helm keeps at an uninstall, and at an upgrade that has it no more.
#[tokio::test(start_paused = true)]
async fn what_a_chart_keeps_stays_with_a_word() {
    for keep in ["keep", " Keep"] {
        let shop = Shop::new(OF_MANIFESTS, 95);
        let kept = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kept", "annotations": {"helm.sh/resource-policy": keep}},
            "stringData": {"password": "abc"}});
        shop.write("v1", &[deployment("api", &[]), kept]);
        shop.write("v2", &[deployment("api", &[])]);
        assert!(succeeded(&shop.deploy("v1").await));
        for planned in [shop.plan("v2").await.expect("can be planned"), shop.removal().await] {
            assert!(planned.plan.changes().all(|change| change.key.name != "kept"));
            let told = notes(&planned, "kept");
            assert_eq!(
                told,
                [
                    "Secret shop/kept is no longer in this release, but says `helm.sh/resource-policy: keep`: it stays; delete it by hand"
                ]
            );
        }
        let planned = shop.removal().await;
        assert!(succeeded(&shop.run(planned).await));
        assert!(shop.live("v1", "Secret", Some("shop"), "kept").is_some());
    }
}
