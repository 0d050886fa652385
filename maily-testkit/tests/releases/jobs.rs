//! A Job of a run runs once, also where it is gone when somebody asks how it ended.

use std::{collections::BTreeSet, time::Duration};

use maily_core::{
    engine::{Depth, Outcome, RunEnd, Storage, Wish, planner::PlanOptions},
    object::Object,
    provider::Precondition,
    release::status,
    runtime::within,
};
use serde_json::json;

use crate::setup::{Setup, fault, succeeded};

pub(crate) const MIGRATED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
  schema: {before: api, job: {image: 'registry.example/shop/schema:{version}', command: [up], undo: [down]}}
";

pub(crate) const ONE_WAY: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {needs: [api], workload: {port: 8080, scale: 1}}
  schema: {before: api, job: {image: 'registry.example/shop/schema:{version}', command: [up]}}
";

const BESIDE: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  web: {workload: {port: 8080, scale: 1}}
  schema: {before: api, job: {image: 'registry.example/shop/schema:{version}', command: [up], undo: [down]}}
";

/// Longer than Jobs stay after their end.
const WEEKEND: Duration = Duration::from_secs(60 * 3_600);

/// Whether a Job has been completed, by name.
pub(crate) fn jobs(setup: &Setup) -> Vec<(String, bool)> {
    let complete = |job: &Object| job.items("/status/conditions").iter().any(|c| c["type"] == "Complete");
    setup
        .shared
        .world()
        .of_kind("Job")
        .into_iter()
        .map(|job| (job.name().to_owned(), complete(job)))
        .collect()
}

pub(crate) fn undone(setup: &Setup) -> bool {
    jobs(setup).iter().any(|(name, complete)| name.ends_with("-undo") && *complete)
}

/// What the controller of their TTL does, or a person who tidies up.
pub(crate) fn clear_away(setup: &Setup) {
    let keys: Vec<_> = setup.shared.world().of_kind("Job").iter().map(|job| job.key().clone()).collect();
    for key in keys {
        setup.shared.world().delete(&key, &Precondition::Any).expect("is deleted");
    }
    assert_eq!(jobs(setup), []);
}

/// v1 is in force, and the process that brings v2 dies after a while.
pub(crate) async fn dies(project: &'static str, seed: u64, trouble: &str, after_s: u64) -> Setup {
    let setup = Setup::of(project, seed);
    assert!(succeeded(&setup.deploy("v1").await));
    clear_away(&setup);
    setup.shared.world().faults.push(fault(trouble));
    let died = within(&*setup.runtime, Duration::from_secs(after_s), setup.deploy("v2")).await;
    assert!(died.is_none());
    setup
}

pub(crate) async fn take_over(setup: &Setup, wish: Wish) -> RunEnd {
    let end = setup.environment().take_over(None, wish, &setup.options("another")).await;
    end.expect("runs").expect("there is a run")
}

/// The cause for which a person is asked, and what he is told to do.
pub(crate) fn asked(end: &RunEnd) -> (&str, String) {
    let RunEnd::Stuck { items, .. } = end else { panic!("{end:?}") };
    let [item] = &items[..] else { panic!("{items:?}") };
    (&item.why.cause, format!("{}; {:?}; {}", item.why.message, item.why.hint, item.remedy))
}

pub(crate) fn went_back(end: &RunEnd) -> bool {
    matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. })
}

#[tokio::test(start_paused = true)]
async fn a_migration_is_taken_back_also_when_its_job_is_gone() {
    let setup = Setup::of(MIGRATED, 301);
    assert!(succeeded(&setup.deploy("v1").await));
    clear_away(&setup);
    setup.shared.world().faults.push(fault("never-ready web@v2"));
    let tidy = async {
        setup.runtime.sleep(Duration::from_secs(20)).await;
        assert!(jobs(&setup).iter().any(|(_, complete)| *complete), "{:?}", jobs(&setup));
        clear_away(&setup);
    };
    let (end, ()) = futures::future::join(setup.deploy("v2"), tidy).await;
    assert!(went_back(&end), "{end:?}");
    assert!(undone(&setup), "{:?}", jobs(&setup));
}

/// A Job that somebody deletes may be on its way for a while, with its pods.
#[tokio::test(start_paused = true)]
async fn nothing_takes_a_migration_back_while_its_job_is_still_going() {
    let setup = Setup::of(MIGRATED, 308);
    assert!(succeeded(&setup.deploy("v1").await));
    clear_away(&setup);
    setup.shared.world().faults.push(fault("crash web@v2"));
    let going = async {
        while jobs(&setup).is_empty() {
            setup.runtime.sleep(Duration::from_millis(50)).await;
        }
        let key = setup.shared.world().of_kind("Job")[0].key().clone();
        let kept = |finalizers: serde_json::Value| json!({"metadata": {"finalizers": finalizers}});
        let edit = |fields| setup.shared.world().edit_as("kubectl-patch", &key, fields).expect("is there");
        while !jobs(&setup).iter().all(|(_, complete)| *complete) {
            setup.runtime.sleep(Duration::from_millis(50)).await;
        }
        edit(kept(json!(["example.com/keeps"])));
        setup.shared.world().delete(&key, &Precondition::Any).expect("is deleted");
        setup.runtime.sleep(Duration::from_secs(60)).await;
        assert_eq!(jobs(&setup).len(), 1, "{:?}", jobs(&setup));
        edit(kept(json!(null)));
    };
    let (end, ()) = futures::future::join(setup.deploy("v2"), going).await;
    assert!(went_back(&end), "{end:?}");
    assert!(undone(&setup), "{:?}", jobs(&setup));
}

/// A migration whose pod never began is still alive: whoever pushes its image would let it run beside what takes it
/// back, and under the old version.
#[tokio::test(start_paused = true)]
async fn a_migration_that_could_not_begin_is_ended_before_it_is_taken_back() {
    for trouble in ["image-missing schema@v2", "config-error schema@v2"] {
        let setup = Setup::of(MIGRATED, 309);
        assert!(succeeded(&setup.deploy("v1").await));
        clear_away(&setup);
        setup.shared.world().faults.push(fault(trouble));
        let pushed = async {
            while !jobs(&setup).iter().any(|(name, _)| name.ends_with("-undo")) {
                setup.runtime.sleep(Duration::from_millis(50)).await;
            }
            let at_rest = |job: &&Object| job.at("/spec/suspend") == Some(&json!(true));
            let resting = setup.shared.world().of_kind("Job").into_iter().filter(at_rest).count();
            assert_eq!((resting, jobs(&setup).len()), (1, 2), "{trouble}: {:?}", jobs(&setup));
            let pods: Vec<_> =
                setup.shared.world().of_kind("Pod").iter().map(|pod| pod.name().to_owned()).collect();
            let forward = |pod: &&String| pod.starts_with("schema-") && !pod.contains("-undo");
            assert_eq!(pods.iter().filter(forward).count(), 0, "{trouble}: {pods:?}");
            setup.shared.world().faults.clear();
        };
        let (end, ()) = futures::future::join(setup.deploy("v2"), pushed).await;
        assert!(went_back(&end), "{trouble}: {end:?}");
        setup.runtime.sleep(Duration::from_secs(60)).await;
        let left = jobs(&setup);
        assert!(matches!(&left[..], [(name, true)] if name.ends_with("-undo")), "{trouble}: {left:?}");
    }
}

/// It was under way when something beside it failed. Once it is ended nothing may forget that it ran.
#[tokio::test(start_paused = true)]
async fn a_migration_that_was_ended_is_taken_back_also_by_another_process() {
    let setup = Setup::of(BESIDE, 310);
    assert!(succeeded(&setup.deploy("v1").await));
    clear_away(&setup);
    setup.shared.world().faults.extend([fault("crash web@v2"), fault("never-ready schema@v2")]);
    let ended = async {
        let runs = |job: &Object| job.at("/spec/suspend") != Some(&json!(true));
        while jobs(&setup).is_empty() {
            setup.runtime.sleep(Duration::from_millis(5)).await;
        }
        while setup.shared.world().of_kind("Job").into_iter().any(runs) {
            setup.runtime.sleep(Duration::from_millis(5)).await;
        }
    };
    {
        let deploy = setup.deploy("v2");
        futures::pin_mut!(deploy, ended);
        let first = futures::future::select(deploy, ended).await;
        assert!(matches!(first, futures::future::Either::Right(_)), "it dies as soon as the Job is ended");
    }
    assert!(!jobs(&setup).iter().any(|(name, _)| name.ends_with("-undo")), "{:?}", jobs(&setup));
    setup.shared.world().faults.clear();
    let end = take_over(&setup, Wish::Resume).await;
    assert!(went_back(&end), "{end:?}");
    setup.runtime.sleep(Duration::from_secs(60)).await;
    let left = jobs(&setup);
    assert!(matches!(&left[..], [(name, true)] if name.ends_with("-undo")), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_migration_is_taken_back_after_a_weekend() {
    let setup = dies(MIGRATED, 302, "never-ready web@v2", 20).await;
    clear_away(&setup);
    setup.runtime.sleep(WEEKEND).await;
    let end = take_over(&setup, Wish::Abort).await;
    assert!(went_back(&end), "{end:?}");
    assert!(undone(&setup), "{:?}", jobs(&setup));
}

/// It was begun, nobody saw its end, and it would be there only for a day: a person has to look.
#[tokio::test(start_paused = true)]
async fn whether_a_vanished_migration_ran_is_asked_before_it_is_taken_back() {
    for wish in [Wish::Resume, Wish::Abort] {
        let setup = dies(MIGRATED, 303, "slow schema@v2", 6).await;
        assert_eq!(jobs(&setup).len(), 1, "it is under way");
        setup.shared.world().faults.clear();
        setup.runtime.sleep(WEEKEND).await;
        clear_away(&setup);
        let end = take_over(&setup, wish).await;
        assert_eq!(jobs(&setup), [], "nothing runs before somebody has looked");
        let (cause, text) = asked(&end);
        assert_eq!(cause, "vanished", "{end:?}");
        assert!(text.contains("mailyctl resume") && text.contains("abort --leave"), "{text}");
        // Whoever goes on has seen that it ran.
        let end = take_over(&setup, Wish::Resume).await;
        assert!(went_back(&end), "{end:?}");
        assert!(undone(&setup), "{:?}", jobs(&setup));
    }
}

#[tokio::test(start_paused = true)]
async fn a_vanished_migration_without_a_way_back_runs_again_only_when_somebody_says_so() {
    let setup = dies(ONE_WAY, 304, "slow schema@v2", 6).await;
    assert_eq!(jobs(&setup).len(), 1, "it is under way");
    setup.shared.world().faults.clear();
    setup.runtime.sleep(WEEKEND).await;
    clear_away(&setup);
    let end = take_over(&setup, Wish::Resume).await;
    assert_eq!(jobs(&setup), [], "nothing runs before somebody has looked");
    let (cause, text) = asked(&end);
    assert_eq!(cause, "vanished", "{end:?}");
    assert!(text.contains("mailyctl resume") && text.contains("abort --leave"), "{text}");
    assert!(succeeded(&take_over(&setup, Wish::Resume).await));
    assert_eq!(jobs(&setup).len(), 1);
}

/// Its failure is on record, and its cause was mended: nobody has to be asked.
#[tokio::test(start_paused = true)]
async fn a_migration_that_was_seen_to_fail_runs_again_after_a_weekend() {
    let setup = Setup::of(ONE_WAY, 305);
    assert!(succeeded(&setup.deploy("v1").await));
    clear_away(&setup);
    setup.shared.world().faults.push(fault("crash schema@v2"));
    let end = setup.deploy("v2").await;
    assert_eq!(asked(&end).0, "job-failed");
    setup.shared.world().faults.clear();
    setup.runtime.sleep(WEEKEND).await;
    clear_away(&setup);
    assert!(succeeded(&take_over(&setup, Wish::Resume).await));
}

#[tokio::test(start_paused = true)]
async fn what_takes_a_migration_back_runs_again_only_when_somebody_says_so() {
    let setup = Setup::of(MIGRATED, 306);
    assert!(succeeded(&setup.deploy("v1").await));
    clear_away(&setup);
    setup.shared.world().faults.extend([fault("crash web@v2"), fault("slow schema@v2")]);
    let under_way = async {
        while !jobs(&setup).iter().any(|(name, _)| name.ends_with("-undo")) {
            setup.runtime.sleep(Duration::from_millis(500)).await;
        }
        setup.runtime.sleep(Duration::from_secs(5)).await;
    };
    let deploy = setup.deploy("v2");
    {
        futures::pin_mut!(deploy, under_way);
        let first = futures::future::select(deploy, under_way).await;
        assert!(matches!(first, futures::future::Either::Right(_)), "it dies while the undo is under way");
    }
    assert!(!undone(&setup));
    setup.shared.world().faults.clear();
    setup.runtime.sleep(WEEKEND).await;
    clear_away(&setup);
    let end = take_over(&setup, Wish::Resume).await;
    assert_eq!(jobs(&setup), [], "nothing runs before somebody has looked");
    assert_eq!(asked(&end).0, "vanished", "{end:?}");
    let end = take_over(&setup, Wish::Resume).await;
    assert!(went_back(&end), "{end:?}");
    assert!(undone(&setup));
}

/// Deploys a version whose `api` brings a Job of its own, the same each time.
async fn deploy_with_own_job(setup: &Setup, version: &str, ttl: Option<i64>) -> RunEnd {
    let environment = setup.environment();
    let mut wanted = setup.wanted(version).await;
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "seed", "namespace": "shop"},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "seed", "image": "registry.example/shop/seed:1"}]}}}});
    if let Some(ttl) = ttl {
        job["spec"]["ttlSecondsAfterFinished"] = ttl.into();
    }
    wanted.services["api"].objects.push(Object::from_value(job).expect("is an object"));
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let options = PlanOptions::default();
    let planned =
        environment.plan(&wanted, head, base.as_ref(), &options, Depth::Read, Storage::Lasting).await;
    environment.run(planned.expect("can be planned"), &setup.options("tester")).await.expect("runs")
}

#[tokio::test(start_paused = true)]
async fn a_job_of_a_source_that_has_gone_after_its_end_is_not_made_again() {
    for (ttl, again) in [(Some(600), false), (None, true)] {
        let setup = Setup::new(307);
        assert!(succeeded(&deploy_with_own_job(&setup, "v1", ttl).await));
        let made: BTreeSet<_> = jobs(&setup).into_iter().collect();
        assert_eq!(made, BTreeSet::from([("seed".to_owned(), true)]));
        clear_away(&setup);
        let seen = status(&setup.environment(), &setup.resolved()).await.expect("can be read");
        let drift = seen.services.iter().any(|service| !service.drift.is_empty());
        assert_eq!(drift, again, "{seen:?}");
        let same = deploy_with_own_job(&setup, "v1", ttl).await;
        let unchanged =
            same == RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving: Vec::new() } };
        assert_eq!(unchanged, !again, "{same:?}");
        assert_eq!(!jobs(&setup).is_empty(), again);
        assert!(succeeded(&deploy_with_own_job(&setup, "v2", ttl).await));
        assert_eq!(!jobs(&setup).is_empty(), again);
        // It stays part of the release, also of the next one.
        assert!(succeeded(&deploy_with_own_job(&setup, "v3", ttl).await));
        assert_eq!(!jobs(&setup).is_empty(), again);
    }
}
