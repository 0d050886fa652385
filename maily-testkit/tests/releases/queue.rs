//! Two runs at once: the second waits for its turn, and begins from what the first has left.

use std::time::Duration;

use maily_core::{
    engine::{Depth, EnvironmentError, Planned, What, planner::PlanOptions},
    model::Project,
    object::Object,
    release::{DeployRequest, prepare},
    source::ProgramTools,
};

use crate::setup::{Setup, fault, succeeded};

/// What a plan found: the images of the Deployments that it changes, as they were captured.
fn captured(planned: &Planned) -> Vec<String> {
    let befores = planned.plan.changes().filter_map(|change| change.before.as_ref());
    let image = |object: &Object| object.text("/spec/template/spec/containers/0/image").map(str::to_owned);
    befores.filter_map(|before| image(&before.object)).collect()
}

async fn fresh(seed: u64, version: &str) -> Vec<Object> {
    let fresh = Setup::new(seed);
    assert!(succeeded(&fresh.deploy(version).await));
    fresh.content()
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_line_plans_on_what_the_run_before_has_left() {
    let setup = Setup::new(91);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow worker@v2"));
    let second = async {
        setup.runtime.sleep(Duration::from_secs(1)).await;
        let environment = setup.environment();
        assert!(
            environment.head().await.expect("can be read").unfinished.is_some(),
            "the first is under way"
        );
        let project = Project::parse(setup.project, "maily.yaml").expect("a project");
        let resolved = project.resolve("production").expect("is there");
        let mut options = setup.options("second");
        options.wait = Some(Duration::from_secs(600));
        let time = PlanOptions { timeout_s: Some(60), ..PlanOptions::default() };
        let version = "v3".parse().expect("a version");
        let request = DeployRequest { options: time, ..DeployRequest::new(version) };
        let planned = prepare(&environment, &resolved, &request, &ProgramTools, &options).await;
        let planned = planned.expect("can be planned");
        let images = captured(&planned);
        assert!(images.len() == 4 && images.iter().all(|image| image.ends_with(":v2")), "{images:?}");
        environment.run(planned, &options).await.expect("runs")
    };
    let (first, second) = futures::future::join(setup.deploy("v2"), second).await;
    assert!(succeeded(&first) && succeeded(&second), "{first:?}, {second:?}");
    let told = setup.told.lock().expect("not poisoned").clone();
    assert!(told.iter().any(|what| matches!(what, What::Queued { holder } if holder.contains("tester"))));
    assert_eq!(setup.content(), fresh(92, "v3").await);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_another_run_has_overtaken_changes_nothing_and_is_made_anew() {
    let setup = Setup::new(93);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(fault("slow worker@v2"));
    let overtaken = setup.plan("v3", Depth::Read).await.expect("can be planned");
    let images = captured(&overtaken);
    assert!(images.len() == 4 && images.iter().all(|image| image.ends_with(":v1")), "{images:?}");
    let second = async {
        setup.runtime.sleep(Duration::from_secs(1)).await;
        let mut options = setup.options("second");
        options.wait = Some(Duration::from_secs(600));
        let error = setup.environment().run(overtaken, &options).await.expect_err("is out of date");
        assert!(matches!(error, EnvironmentError::OutOfDate(_)), "{error}");
    };
    let (first, ()) = futures::future::join(setup.deploy("v2"), second).await;
    assert!(succeeded(&first), "{first:?}");
    assert_eq!(setup.content(), fresh(94, "v2").await);
    assert!(setup.environment().head().await.expect("can be read").unfinished.is_none());
    assert!(succeeded(&setup.deploy("v3").await));
    assert_eq!(setup.content(), fresh(95, "v3").await);
}
