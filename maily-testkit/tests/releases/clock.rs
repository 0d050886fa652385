//! The world's clock, where it runs at a factor of that of its users.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use maily_core::{
    engine::{Outcome, RunEnd},
    runtime::{Moment, Runtime, Task},
};
use maily_testkit::{
    sim::{Mode, Sandbox, SimCluster, SimRuntime},
    world::Factor,
};

use crate::{
    setup::{Setup, fault, succeeded},
    shop::{OF_MANIFESTS, Shop, deployment},
};

/// A machine whose calendar is so far ahead of the cluster's, or behind it.
pub(crate) struct Apart {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) by_s: i64,
}

impl std::fmt::Debug for Apart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apart").field("by_s", &self.by_s).finish_non_exhaustive()
    }
}

#[async_trait]
impl Runtime for Apart {
    fn now(&self) -> Moment {
        self.runtime.now()
    }

    fn wall(&self) -> Timestamp {
        self.runtime.wall() + SignedDuration::from_secs(self.by_s)
    }

    async fn sleep(&self, duration: Duration) {
        self.runtime.sleep(duration).await;
    }

    fn random(&self) -> u64 {
        self.runtime.random()
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        self.runtime.spawn(future)
    }
}

fn factor(text: &str) -> Factor {
    text.parse().expect("a factor")
}

fn now(setup: &Setup) -> Timestamp {
    setup.shared.world().now
}

#[tokio::test(start_paused = true)]
async fn a_clock_at_a_factor_passes_that_many_seconds_in_one() {
    let setup = Setup::new(81);
    for (text, passed) in [("10", 30_000), ("0.5", 1_500), ("1", 3_000), ("1000", 3_000_000)] {
        setup.shared.set_factor(factor(text));
        let before = now(&setup);
        assert_eq!(now(&setup), before, "the world does not leap when its clock is set");
        setup.runtime.sleep(Duration::from_secs(3)).await;
        assert_eq!(now(&setup).duration_since(before), SignedDuration::from_millis(passed), "factor {text}");
    }
}

/// How long a release takes by the clock of who releases.
async fn takes(setup: &Setup, version: &str) -> (RunEnd, Duration) {
    let begun = setup.runtime.now();
    let end = setup.deploy(version).await;
    (end, setup.runtime.now().since(begun))
}

#[tokio::test(start_paused = true)]
async fn what_takes_the_world_half_a_minute_is_waited_for_a_fraction_of_it() {
    let mut took = Vec::new();
    for text in ["1", "20"] {
        let setup = Setup::new(82);
        setup.shared.world().faults.push(fault("slow web"));
        setup.shared.set_factor(factor(text));
        let (end, time) = takes(&setup, "v1").await;
        assert!(succeeded(&end), "{end:?}");
        took.push(time);
    }
    // Pods that are slow take 30 s. Whoever waits for them hears of them in time.
    assert!(took[0] > Duration::from_secs(30), "{took:?}");
    assert!(took[1] < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn deadlines_of_the_engine_stay_on_its_own_clock() {
    let setup = Setup::new(83);
    setup.deploy("v1").await;
    setup.shared.world().faults.push(fault("never-ready web@v2"));
    // Short of the deadline that the cluster keeps itself.
    setup.shared.set_factor(factor("5"));
    let (end, time) = takes(&setup, "v2").await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert!(time >= Duration::from_secs(60), "a step has 60 s, and had {time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_is_kept_with_its_sandbox() {
    let folder = tempfile::tempdir().expect("can be made");
    let path = folder.path().join("sandbox.json");
    let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(84));
    let open = |mode| Sandbox::open(&path, mode, Arc::clone(&runtime), &["shop"]).expect("is opened");
    let text = || std::fs::read_to_string(&path).expect("is there");
    let mut last = {
        let sandbox = open(Mode::Write);
        assert!(!text().contains("\"clock\""), "a clock that nobody set is not told of");
        sandbox.shared.world().now
    };
    for (passes, then) in [(2, Some("10")), (20, Some("0.5")), (1, Some("1")), (2, None)] {
        // Time passes also while nobody looks, and never stands still until the machine has caught up.
        runtime.sleep(Duration::from_secs(2)).await;
        let sandbox = open(Mode::Write);
        let now = sandbox.shared.world().now;
        assert_eq!(now.duration_since(last), SignedDuration::from_secs(passes), "before {then:?}");
        last = now;
        if let Some(then) = then {
            sandbox.shared.set_factor(then.parse().expect("a factor"));
            sandbox.shared.save().expect("is written");
            assert_eq!(open(Mode::Read).shared.world().factor().to_string(), then);
        }
    }
    // Who asks the server for its time is told how far it is ahead of the machine's.
    let sandbox = open(Mode::Read);
    let cluster = SimCluster::new(Arc::clone(&sandbox.shared));
    let info = maily_core::provider::Cluster::describe(&cluster).await.expect("is told");
    assert_eq!(info.clock_skew_ms, Some(17_000));
}

#[test]
fn a_factor_is_a_number_within_its_range() {
    for text in ["10", "0.5", "1", "0.01", "1000"] {
        assert_eq!(factor(text).to_string(), text);
    }
    for text in ["0", "-1", "0.009", "1001", "NaN", "inf", "ten", ""] {
        let refused = text.parse::<Factor>().expect_err(text);
        assert_eq!(refused.to_string(), "a factor is a number from 0.01 to 1000");
    }
}

/// Pods that stop in time are nobody's trouble, whatever the clock of whoever waits for them says.
#[tokio::test(start_paused = true)]
async fn pods_that_stop_in_time_are_not_lost_by_a_clock_that_is_ahead() {
    let mut shop = Shop::new(OF_MANIFESTS, 84);
    for version in ["v1", "v2"] {
        let mut api = deployment("api", &[]);
        (api["kind"], api["spec"]["serviceName"]) = ("StatefulSet".into(), "api".into());
        let template = &mut api["spec"]["template"];
        template["metadata"]["annotations"] = serde_json::json!({"stack.maily.dev/stops-after": "80s"});
        template["spec"]["terminationGracePeriodSeconds"] = 90.into();
        template["spec"]["containers"][0]["image"] = format!("registry.example/api:{version}").into();
        shop.write(version, &[api]);
    }
    shop.setup.runtime = Arc::new(Apart { runtime: Arc::clone(&shop.setup.runtime), by_s: 130 });
    assert!(succeeded(&shop.deploy("v1").await));
    let begun = shop.setup.runtime.now();
    assert!(succeeded(&shop.deploy("v2").await));
    assert!(shop.setup.runtime.now().since(begun) > Duration::from_secs(75), "it waits for the old one");
    let told = format!("{:?}", shop.setup.told.lock().expect("not poisoned"));
    assert!(!told.contains("should have ended"), "{told}");
}
