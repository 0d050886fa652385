//! Time that a run is given.

use std::sync::Arc;

use maily_core::engine::{Depth, Event, Outcome, RunEnd, Storage, What, planner::PlanOptions};

use crate::setup::{Setup, fault};

#[tokio::test(start_paused = true)]
async fn a_run_of_a_second_has_more_time_for_its_way_back() {
    let setup = Setup::new(61);
    setup.deploy("v1").await;
    let before = setup.content();
    setup.shared.world().faults.push(fault("never-ready web@v2"));
    let environment = setup.environment();
    let mut wanted = setup.wanted("v2").await;
    for service in wanted.services.values_mut() {
        service.timeout_s = Some(1);
    }
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let plan = PlanOptions { timeout_s: Some(1), ..PlanOptions::default() };
    let planned = environment.plan(&wanted, head, base.as_ref(), &plan, Depth::Read, Storage::Lasting).await;
    let mut options = setup.options("tester");
    let shared = Arc::clone(&setup.shared);
    // On the way back the API is silent for longer than that second.
    options.listener = Arc::new(move |event: &Event| {
        if matches!(event.what, What::UndoStarted { .. }) {
            shared.world().faults.push(fault("api-down 12"));
        }
    });
    let end = environment.run(planned.expect("can be planned"), &options).await.expect("runs");
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!(setup.content(), before);
}
