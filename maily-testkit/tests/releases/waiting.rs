//! What a run waits for is told while it waits.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use maily_core::{
    engine::{Depth, Event, Outcome, Planned, RunEnd, StepId, Storage, What, Wish, planner::PlanOptions},
    object::{ObjectKey, ObjectKind},
    provider::{ProbeRequest, Prober, ProviderError, Verdict},
    runtime::{Moment, Runtime, within},
};
use serde_json::json;

use crate::{
    hindered::Hindered,
    setup::{Setup, fault},
};

/// What steps said of their progress, and when.
type Said = Arc<Mutex<Vec<(Moment, StepId, String)>>>;

pub(crate) async fn heard(setup: &Setup, planned: Planned) -> (RunEnd, Vec<(Moment, StepId, String)>) {
    let said: Said = Arc::default();
    let mut options = setup.options("tester");
    let (says, runtime) = (Arc::clone(&said), Arc::clone(&setup.runtime));
    options.listener = Arc::new(move |event: &Event| {
        let line = match &event.what {
            What::StepStarted { step } | What::UndoStarted { step } => (step, "begins".to_owned()),
            What::StepProgress { step, why, .. } => (step, why.clone()),
            _ => return,
        };
        says.lock().expect("not poisoned").push((runtime.now(), line.0.clone(), line.1));
    });
    let end = setup.environment().run(planned, &options).await.expect("runs");
    let said = said.lock().expect("not poisoned").clone();
    (end, said)
}

#[tokio::test(start_paused = true)]
async fn pods_that_do_not_become_ready_are_told_soon_and_again_and_again() {
    let setup = Setup::new(71);
    setup.deploy("v1").await;
    setup.shared.world().faults.push(fault("never-ready worker@v2"));
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    let (end, said) = heard(&setup, planned).await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    let worker = said.iter().filter(|(_, step, _)| step.as_str() == "production/worker/rollout");
    let times: Vec<Moment> = worker.clone().map(|(at, ..)| *at).collect();
    let begun = times[0];
    // Not only at once, which may be too soon for a log that leaves out what is over in a moment.
    let soon = times.iter().filter(|at| (3..=5).contains(&at.since(begun).as_secs())).count();
    assert!(soon > 0, "{said:?}");
    let longest = times.windows(2).map(|pair| pair[1].since(pair[0])).max().expect("several");
    assert!(longest <= Duration::from_secs(30), "{longest:?}");
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_finalizer_that_keeps_what_is_deleted_is_told_within_seconds_also_on_the_way_back() {
    let setup = Setup::new(72);
    setup.deploy("v1").await;
    let key = ObjectKey::new(ObjectKind::new("v1", "Service"), Some("shop"), "web");
    let kept = json!({"metadata": {"finalizers": ["example.com/keeps"]}});
    setup.shared.world().edit_as("kubectl-patch", &key, kept).expect("is there");
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    wanted.services.shift_remove("web");
    wanted.phases[0].services.retain(|name| name != "web");
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let options = PlanOptions { timeout_s: Some(60), ..PlanOptions::default() };
    let planned =
        environment.plan(&wanted, head, base.as_ref(), &options, Depth::Read, Storage::Lasting).await;
    let begun = setup.runtime.now();
    let (end, said) = heard(&setup, planned.expect("can be planned")).await;
    assert!(matches!(end, RunEnd::Stuck { .. }), "{end:?}");
    let of_finalizer = |why: &str| why.contains("Service/web") && why.contains("example.com/keeps");
    let told: Vec<Moment> = said.iter().filter(|(.., why)| of_finalizer(why)).map(|(at, ..)| *at).collect();
    assert!(told.first().is_some_and(|at| at.since(begun) <= Duration::from_secs(5)), "{said:?}");
    assert!(setup.runtime.now().since(begun) >= Duration::from_secs(110));
    let longest = told.windows(2).map(|pair| pair[1].since(pair[0])).max().expect("several");
    assert!(longest <= Duration::from_secs(30), "{longest:?}");
}

/// Says no, once, and has no time for a second look.
#[derive(Debug)]
struct SaysNo {
    runtime: Arc<dyn Runtime>,
}

#[async_trait]
impl Prober for SaysNo {
    async fn probe(&self, _: &ProbeRequest, limit: Duration) -> Result<Verdict, ProviderError> {
        let takes = Duration::from_secs(7);
        self.runtime.sleep(takes.min(limit)).await;
        if limit < takes {
            return Ok(Verdict::Insufficient { evidence: "`look` did not end in time".to_owned() });
        }
        Ok(Verdict::Fail { evidence: "`look` ended with exit status: 3: no".to_owned() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_runs_out_of_time_says_its_last_verdict() {
    let setup = Setup::of(
        "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}, checks: [{command: [look]}]}
",
        73,
    );
    let mut environment = setup.environment();
    environment.providers.prober = Some(Arc::new(SaysNo { runtime: Arc::clone(&setup.runtime) }));
    let planned = setup.plan("v1", Depth::Read).await.expect("can be planned");
    let end = environment.run(planned, &setup.options("tester")).await.expect("runs");
    let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = end else { panic!("{end:?}") };
    assert_eq!(why.cause, "check-failed", "{why:?}");
    assert!(why.message.contains("exit status: 3: no"), "{why:?}");
    assert!(why.message.contains("did not end in time"), "{why:?}");
}

/// Says nothing for as long as it may.
#[derive(Debug)]
struct SaysNothing {
    runtime: Arc<dyn Runtime>,
}

#[async_trait]
impl Prober for SaysNothing {
    async fn probe(&self, _: &ProbeRequest, limit: Duration) -> Result<Verdict, ProviderError> {
        self.runtime.sleep(limit).await;
        Ok(Verdict::Insufficient { evidence: "`look` did not end in time".to_owned() })
    }
}

const CHECKED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}, checks: [{command: [look]}]}
  first: {workload: {port: 8000, scale: 1}}
  web: {needs: [first], workload: {port: 8000, scale: 1}}
";

/// A release whose check says nothing: which step it failed at, and how long it took.
async fn unanswered(seed: u64, troubles: &[&str]) -> (Setup, String, Duration) {
    let setup = Setup::of(CHECKED, seed);
    let mut environment = setup.environment();
    environment.providers.prober = Some(Arc::new(SaysNothing { runtime: Arc::clone(&setup.runtime) }));
    let planned = setup.plan("v1", Depth::Read).await.expect("can be planned");
    setup.shared.world().faults.extend(troubles.iter().map(|text| fault(text)));
    let begun = setup.runtime.now();
    let end = environment.run(planned, &setup.options("tester")).await.expect("runs");
    let RunEnd::Over { outcome: Outcome::RolledBack { step: Some(step), .. }, .. } = end else {
        panic!("{end:?}")
    };
    let took = setup.runtime.now().since(begun);
    (setup, step.to_string(), took)
}

#[tokio::test(start_paused = true)]
async fn a_check_ends_when_the_run_turns() {
    let (_, step, took) = unanswered(74, &["slow first@v1", "crash web@v1"]).await;
    assert!(step.contains("web") && took < Duration::from_secs(45), "{step} {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_look_without_an_answer_says_how_long_it_has_waited() {
    let (setup, step, took) = unanswered(75, &[]).await;
    assert!(step.contains("api/check") && took >= Duration::from_secs(60), "{step} {took:?}");
    let told = setup.told.lock().expect("not poisoned");
    let said: Vec<&str> = told
        .iter()
        .filter_map(|what| match what {
            What::StepProgress { why, .. } => why.strip_prefix("no verdict yet after "),
            _ => None,
        })
        .collect();
    assert!(said.len() > 1 && said.windows(2).all(|pair| pair[0] != pair[1]), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_conflicts_again_and_again_is_told_and_sent_more_seldom() {
    let mut setup = Setup::new(76);
    setup.deploy("v1").await;
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    setup.told.lock().expect("not poisoned").clear();
    let count: Arc<AtomicU32> = Arc::default();
    let conflicts = Some(("worker", Arc::clone(&count)));
    setup.cluster = Some(Arc::new(Hindered { conflicts, ..Hindered::of(&setup) }));
    let end = setup.environment().run(planned, &setup.options("tester")).await.expect("runs");
    let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = &end else { panic!("{end:?}") };
    assert!(why.message.contains("quota.example.com"), "{why:?}");
    let sent = count.load(Ordering::SeqCst);
    assert!((5..50).contains(&sent), "{sent} times within a minute");
    let told = setup.told.lock().expect("not poisoned");
    let retried = told.iter().filter(|what| {
        matches!(what, What::StepRetried { step, error, .. }
            if step.as_str() == "production/worker/rollout" && error.contains("quota.example.com"))
    });
    assert!(retried.count() >= 3, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_finds_nothing_to_patch_and_shows_it_all_the_same_is_given_up() {
    let mut setup = Setup::new(77);
    setup.deploy("v1").await;
    setup.shared.world().faults.push(fault("never-ready api@v2"));
    let died = within(&*setup.runtime, Duration::from_secs(12), setup.deploy("v2")).await;
    assert!(died.is_none(), "a step is open, whose objects have to be stamped");
    setup.runtime.sleep(Duration::from_secs(20)).await;
    setup.cluster = Some(Arc::new(Hindered { patches_vanish: true, ..Hindered::of(&setup) }));
    setup.told.lock().expect("not poisoned").clear();
    let (environment, options) = (setup.environment(), setup.options("second"));
    let taking = environment.take_over(None, Wish::Resume, &options);
    let end = within(&*setup.runtime, Duration::from_secs(120), taking).await.expect("has an end");
    let Ok(Some(RunEnd::Stuck { items, .. })) = &end else { panic!("{end:?}") };
    assert_eq!(items[0].why.cause, "conflict", "{items:?}");
    let told = setup.told.lock().expect("not poisoned");
    assert!(told.iter().any(|what| matches!(what, What::StepRetried { .. })), "{told:?}");
}
