//! Needs that cross phases.

use std::time::Duration;

use maily_core::{
    engine::{
        Depth, Storage,
        planner::{PlanOptions, WantedPhase},
    },
    object::{ObjectKey, ObjectKind},
    provider::Precondition,
};

use crate::setup::{Setup, fault, succeeded};

#[tokio::test(start_paused = true)]
async fn a_need_on_a_later_phase_is_met_by_what_serves_and_by_nothing_else() {
    let setup = Setup::new(51);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.runtime.sleep(Duration::from_secs(60)).await;
    let problems = |at: &'static str| {
        let setup = &setup;
        async move {
            let environment = setup.environment();
            let mut wanted = setup.wanted("v2").await;
            let phase = |name: &str, services: &[&str]| WantedPhase {
                name: name.into(),
                services: services.iter().map(|service| (*service).to_owned()).collect(),
                gates: Vec::new(),
            };
            wanted.phases = vec![phase("first", &["web", "worker", "queue"]), phase("second", &["api"])];
            let head = environment.head().await.expect("can be read");
            let base = environment.released(&head).await.expect("can be read");
            let options = PlanOptions::default();
            let planned =
                environment.plan(&wanted, head, base.as_ref(), &options, Depth::Read, Storage::Lasting).await;
            planned.err().map(|error| format!("{at}: {error}"))
        }
    };
    assert_eq!(problems("all serve").await, None);
    setup.shared.world().faults.push(fault("slow api"));
    let pods: Vec<ObjectKey> =
        setup.shared.world().of_kind("Pod").iter().map(|pod| pod.key().clone()).collect();
    for pod in pods.iter().filter(|pod| pod.name.starts_with("api-")) {
        setup.shared.world().delete(pod, &Precondition::Any).expect("can be deleted");
    }
    setup.runtime.sleep(Duration::from_secs(5)).await;
    let deployment = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    assert!(setup.shared.world().get(&deployment).is_some());
    let said = problems("none serves").await.expect("is a problem");
    assert!(said.contains("web needs api") && said.contains("not ready"), "{said}");
}
