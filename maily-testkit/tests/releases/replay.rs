//! What an earlier process of a run did, told again.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use maily_core::{
    engine::{
        Depth, Environment, Event, RunEnd, Storage, What, Wish,
        planner::{Gate, Look, PlanOptions, WantedPhase},
    },
    object::{ObjectKey, ObjectKind},
    provider::{ProbeRequest, Prober, ProviderError, Verdict},
    runtime::{Runtime, within},
};

use jiff::Timestamp;
use serde_json::json;

use crate::setup::{Setup, fault};

const SHOP: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {workload: {port: 8080, scale: 1}}
";

/// Passes after a while.
#[derive(Debug)]
struct Passes(Arc<dyn Runtime>);

#[async_trait]
impl Prober for Passes {
    async fn probe(&self, _: &ProbeRequest, _: Duration) -> Result<Verdict, ProviderError> {
        self.0.sleep(Duration::from_secs(2)).await;
        Ok(Verdict::Pass { evidence: "it answers".to_owned() })
    }
}

/// A gate whose verdict was old begins anew; how long it took before is as it was.
#[tokio::test(start_paused = true)]
async fn a_step_that_began_again_took_as_long_before_as_it_did() {
    let setup = Setup::of(SHOP, 95);
    let mut environment: Environment = setup.environment();
    environment.providers.prober = Some(Arc::new(Passes(Arc::clone(&setup.runtime))));
    let mut wanted = setup.wanted("v1").await;
    let probe = ProbeRequest::Command { argv: vec!["look".to_owned()] };
    let gates = vec![("smoke".to_owned(), Gate { look: Look::Probe(probe), timeout_s: None })];
    let phase = |name: &str, service: &str| WantedPhase {
        name: name.to_owned(),
        services: vec![service.to_owned()],
        gates: Vec::new(),
    };
    wanted.phases = vec![WantedPhase { gates, ..phase("first", "api") }, phase("second", "web")];
    let head = environment.head().await.expect("can be read");
    let options = PlanOptions::default();
    let planned = environment.plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
    let planned = planned.expect("can be planned");
    setup.shared.world().faults.push(fault("never-ready web"));
    let options = setup.options("first");
    let dies = within(&*setup.runtime, Duration::from_secs(20), environment.run(planned, &options)).await;
    assert!(dies.is_none());
    let told: Arc<Mutex<Vec<u64>>> = Arc::default();
    for by in ["second", "third"] {
        setup.runtime.sleep(Duration::from_secs(4_000)).await;
        let mut options = setup.options(by);
        let again = Arc::clone(&told);
        again.lock().expect("not poisoned").clear();
        options.listener = Arc::new(move |event: &Event| match &event.what {
            What::StepApplied { step, took_ms } if event.replayed && step.as_str().contains("gate") => {
                again.lock().expect("not poisoned").push(*took_ms);
            }
            _ => {}
        });
        let goes_on = environment.take_over(None, Wish::Resume, &options);
        assert!(within(&*setup.runtime, Duration::from_secs(20), goes_on).await.is_none());
    }
    let told = told.lock().expect("not poisoned").clone();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|took| (2_000..4_000).contains(took)), "{told:?}");
}

/// Who writes down what happened takes these times for true, also where a person or another process came in between.
#[tokio::test(start_paused = true)]
async fn that_a_run_was_taken_over_turned_and_stopped_is_told_again_with_its_time() {
    let setup = Setup::of(SHOP, 96);
    setup.shared.world().faults.push(fault("never-ready web"));
    let dies = within(&*setup.runtime, Duration::from_secs(20), setup.deploy("v1")).await;
    assert!(dies.is_none());
    setup.runtime.sleep(Duration::from_secs(100)).await;
    let web = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "web");
    let edit = json!({"spec": {"replicas": 5}});
    setup.shared.world().edit_as("kubectl-scale", &web, edit).expect("may edit");
    let began = setup.runtime.wall();
    let environment = setup.environment();
    let aborted = environment.take_over(None, Wish::Abort, &setup.options("second")).await;
    assert!(matches!(aborted, Ok(Some(RunEnd::Stuck { .. }))), "{aborted:?}");
    let ended = setup.runtime.wall();
    setup.runtime.sleep(Duration::from_secs(100)).await;
    let told: Arc<Mutex<Vec<(&str, Timestamp)>>> = Arc::default();
    let mut options = setup.options("third");
    let again = Arc::clone(&told);
    options.listener = Arc::new(move |event: &Event| {
        assert!(!event.untimed, "{event:?}");
        let what = match &event.what {
            What::Resumed { .. } => "resumed",
            What::Turned { .. } => "turned",
            What::Paused { .. } => "paused",
            _ => return,
        };
        if event.replayed {
            again.lock().expect("not poisoned").push((what, event.at));
        }
    });
    environment.take_over(None, Wish::Resume, &options).await.expect("is stuck again");
    let told = told.lock().expect("not poisoned").clone();
    assert_eq!(told.iter().map(|(what, _)| *what).collect::<Vec<_>>(), ["resumed", "turned", "paused"]);
    assert!(told.iter().all(|(_, at)| (began..=ended).contains(at)), "{began} {told:?} {ended}");
}
