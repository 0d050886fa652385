//! What is independent goes on side by side, and what is needed is waited for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use maily_core::engine::{Depth, Event, RunOptions, What};

use crate::setup::{Setup, fault, succeeded};

const SHOP: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
  worker: {workload: {command: [work], scale: 1}}
  queue: {workload: {port: 6379, scale: 1}}
";

/// When the first step of each service began, and when its last one had succeeded.
type Times = BTreeMap<String, (Timestamp, Timestamp)>;

async fn times(setup: &Setup, version: &str) -> Times {
    let told: Arc<Mutex<Vec<Event>>> = Arc::default();
    let heard = Arc::clone(&told);
    let mut options = RunOptions::new("tester");
    options.listener = Arc::new(move |event: &Event| {
        heard.lock().expect("not poisoned").push(event.clone());
    });
    let planned = setup.plan(version, Depth::Read).await.expect("can be planned");
    let end = setup.environment().run(planned, &options).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    let mut services = BTreeMap::new();
    let mut times = Times::new();
    for event in told.lock().expect("not poisoned").iter() {
        match &event.what {
            What::RunStarted { steps, .. } => {
                services =
                    steps.iter().filter_map(|step| Some((step.id.clone(), step.service.clone()?))).collect();
            }
            What::StepStarted { step } | What::StepApplied { step, .. } => {
                if let Some(service) = services.get(step) {
                    times.entry(service.clone()).or_insert((event.at, event.at)).1 = event.at;
                }
            }
            _ => {}
        }
    }
    times
}

fn took(times: &Times, service: &str) -> Duration {
    let (from, to) = times[service];
    to.duration_since(from).unsigned_abs()
}

/// The first time and the last one.
fn whole(times: &Times) -> Duration {
    let from = times.values().map(|(from, _)| *from).min().expect("there are some");
    let to = times.values().map(|(_, to)| *to).max().expect("there are some");
    to.duration_since(from).unsigned_abs()
}

/// Every service takes half a minute. One after the other four take two of them; here it is one after one other, because
/// `web` needs `api`.
#[tokio::test(start_paused = true)]
async fn independent_services_proceed_side_by_side_and_what_is_needed_is_waited_for() {
    let setup = Setup::of(SHOP, 61);
    for round in ["v1", "v2"] {
        setup.shared.world().faults.clear();
        for service in ["api", "web", "worker", "queue"] {
            setup.shared.world().faults.push(fault(&format!("slow {service}@{round}")));
        }
        let times = times(&setup, round).await;
        assert_eq!(times.len(), 4, "{times:?}");
        for service in times.keys() {
            assert!(took(&times, service) >= Duration::from_secs(25), "{round}, {service}: {times:?}");
        }
        // All three were in flight at one moment.
        let independent = ["api", "worker", "queue"];
        let last_begun = independent.map(|service| times[service].0).into_iter().max().expect("three");
        let first_ended = independent.map(|service| times[service].1).into_iter().min().expect("three");
        assert!(last_begun < first_ended, "{round}: {times:?}");
        assert!(times["web"].0 >= times["api"].1, "{round}: web needs api: {times:?}");
        let longest = took(&times, "api") + took(&times, "web");
        assert!(whole(&times) <= longest + Duration::from_secs(10), "{round}: {times:?}");
        let in_turn: Duration = times.keys().map(|service| took(&times, service)).sum();
        assert!(whole(&times) * 3 < in_turn * 2, "{round}: as long as one after the other: {times:?}");
    }
}
