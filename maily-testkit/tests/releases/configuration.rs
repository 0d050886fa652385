//! Configuration that changes while the pods that use it stay.

use maily_core::{
    engine::{Depth, EnvironmentError, Planned, Storage, planner::PlanOptions},
    object::Object,
};
use serde_json::json;

use crate::setup::{Setup, succeeded};

/// A plan for `api` with variables from a ConfigMap.
async fn plan(setup: &Setup, value: &str, image: &str) -> Result<Planned, EnvironmentError> {
    plan_of(setup, &["api"], value, image).await
}

/// The same for several services with variables from one ConfigMap.
async fn plan_of(
    setup: &Setup,
    services: &[&str],
    value: &str,
    image: &str,
) -> Result<Planned, EnvironmentError> {
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let users = wanted.services.iter_mut().filter(|(name, _)| services.contains(&name.as_str()));
    for object in users.flat_map(|(_, service)| &mut service.objects) {
        if object.kind() == "Deployment" {
            object.edit(|body| {
                let container = &mut body["spec"]["template"]["spec"]["containers"][0];
                container["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
                container["image"] = json!(image);
            });
        }
    }
    let api = wanted.services.get_mut("api").expect("is there");
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "shop"}, "data": {"LEVEL": value}});
    api.objects.insert(0, Object::from_value(settings).expect("is an object"));
    let head = environment.head().await?;
    let base = environment.released(&head).await?;
    let options = PlanOptions::default();
    environment.plan(&wanted, head, base.as_ref(), &options, Depth::DryRun, Storage::Lasting).await
}

fn told(planned: &Planned) -> Vec<&str> {
    let notes = planned.plan.notes.iter();
    notes.filter(|note| note.topic == "configuration").map(|note| note.text.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn pods_that_keep_old_variables_are_told_before() {
    let setup = Setup::new(81);
    let first = plan(&setup, "info", "registry.example/shop/api:v1").await.expect("can be planned");
    assert_eq!(told(&first), [""; 0]);
    let end = setup.environment().run(first, &setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end));
    let changed = plan(&setup, "debug", "registry.example/shop/api:v1").await.expect("can be planned");
    let notes = told(&changed);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("ConfigMap/settings changes, and the pods of Deployment/"), "{notes:?}");
    // New pods read the new one, and what stays as it is needs no word.
    let rolled = plan(&setup, "debug", "registry.example/shop/api:v2").await.expect("can be planned");
    assert_eq!(told(&rolled), [""; 0]);
    let same = plan(&setup, "info", "registry.example/shop/api:v1").await.expect("can be planned");
    assert_eq!(told(&same), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_old_variables_is_told_in_one_line_with_the_command_that_helps() {
    let setup = Setup::new(82);
    let services = ["api", "web"];
    let plan = |value| plan_of(&setup, &services, value, "registry.example/shop/all:v1");
    let first = plan("info").await.expect("can be planned");
    let end = setup.environment().run(first, &setup.options("tester")).await.expect("runs");
    assert!(succeeded(&end));
    let changed = plan("debug").await.expect("can be planned");
    let notes = told(&changed);
    assert_eq!(notes.len(), 1, "{notes:?}");
    for part in [
        "ConfigMap/settings changes, and the pods of Deployment/api, Deployment/web stay",
        "`kubectl rollout restart --namespace shop deployment/api deployment/web`",
    ] {
        assert!(notes[0].contains(part), "`{part}` in {notes:?}");
    }
}
