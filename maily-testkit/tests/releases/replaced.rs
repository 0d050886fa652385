//! What is lost when an object is deleted, made again or gets fewer pods: the plan says it, or refuses.

use maily_core::engine::{Depth, planner::PlanOptions};
use serde_json::json;

use crate::{
    setup::succeeded,
    shop::{OF_MANIFESTS, Shop, deployment, notes},
};

fn allowed(object: &str) -> PlanOptions {
    let mut options = PlanOptions::default();
    options.replace.insert(object.to_owned());
    options
}

async fn refused(shop: &Shop, version: &str, options: PlanOptions, depth: Depth) -> String {
    shop.plan_with(version, options, depth).await.expect_err("is refused").to_string()
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
