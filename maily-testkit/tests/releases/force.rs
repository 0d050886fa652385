//! Fields of others are taken from those who were named, and from nobody else.

use maily_core::{
    engine::{
        Depth, EnvironmentError, Planned, Storage,
        planner::{Force, PlanOptions},
    },
    object::{ObjectKey, ObjectKind},
};
use serde_json::json;

use crate::setup::Setup;

async fn plan(setup: &Setup, force: Force) -> Result<Planned, EnvironmentError> {
    let environment = setup.environment();
    let wanted = setup.wanted("v2").await;
    let head = environment.head().await?;
    let base = environment.released(&head).await?;
    let options = PlanOptions { force, ..PlanOptions::default() };
    environment.plan(&wanted, head, base.as_ref(), &options, Depth::DryRun, Storage::Passing).await
}

#[tokio::test(start_paused = true)]
async fn only_what_is_named_is_taken() {
    let setup = Setup::new(92);
    setup.deploy("v1").await;
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    let theirs = json!({"spec": {"replicas": 7}});
    setup.shared.world().edit_as("config-bot", &key, theirs).expect("a bot may");
    let only = |names: &[&str]| Force::Only(names.iter().map(|&name| name.to_owned()).collect());
    for force in [Force::Nothing, only(&["other-bot", "Deployment/web"])] {
        let error = plan(&setup, force).await.expect_err("is refused").to_string();
        assert!(error.contains("Deployment shop/api: config-bot manages spec.replicas"), "{error}");
        assert!(error.contains("`--force-conflicts=config-bot`"), "{error}");
    }
    for force in [Force::All, only(&["config-bot"]), only(&["Deployment/api", "x"])] {
        plan(&setup, force).await.expect("can be planned");
    }
}
