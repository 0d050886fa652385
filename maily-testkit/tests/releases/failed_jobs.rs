//! A Job that failed or was deleted runs again only where somebody was told, and nothing runs beside its pods.

use std::time::Duration;

use maily_core::{
    engine::Wish,
    object::{Object, ObjectKey},
    provider::Precondition,
};
use serde_json::{Value, json};

use crate::{
    jobs::{MIGRATED, ONE_WAY, asked, clear_away, dies, jobs, take_over, undone, went_back},
    setup::{Setup, fault, succeeded},
};

const MOMENT: Duration = Duration::from_millis(50);

/// Uids of the Jobs that have failed, those that take something back or the others.
fn failed(setup: &Setup, undo: bool) -> Vec<String> {
    let has_failed = |job: &Object| job.items("/status/conditions").iter().any(|c| c["type"] == "Failed");
    let world = setup.shared.world();
    let found = world.of_kind("Job").into_iter().filter(|job| job.name().ends_with("-undo") == undo);
    found.filter(|job| has_failed(job)).filter_map(|job| job.uid().map(str::to_owned)).collect()
}

/// The pod of a Job that is under way, once there is one.
async fn pod_of_job(setup: &Setup) -> ObjectKey {
    loop {
        let of_job = |pod: &&Object| pod.label("job-name").is_some();
        let found = setup.shared.world().of_kind("Pod").into_iter().find(of_job).map(|pod| pod.key().clone());
        if let Some(found) = found {
            // It runs by then.
            setup.runtime.sleep(Duration::from_secs(5)).await;
            return found;
        }
        setup.runtime.sleep(MOMENT).await;
    }
}

fn keep(setup: &Setup, key: &ObjectKey, finalizers: Value) {
    let kept = json!({"metadata": {"finalizers": finalizers}});
    setup.shared.world().edit_as("kubectl-patch", key, kept).expect("is there");
}

/// A migration that has failed after the process of its run had died, and its Job.
async fn failed_unseen(project: &'static str, seed: u64) -> (Setup, Vec<String>) {
    let setup = dies(project, seed, "slow schema@v2", 6).await;
    setup.shared.world().faults = vec![fault("crash schema@v2")];
    setup.runtime.sleep(Duration::from_secs(60)).await;
    let before = failed(&setup, false);
    assert_eq!(before.len(), 1, "{:?}", jobs(&setup));
    setup.shared.world().faults.clear();
    (setup, before)
}

/// Nobody has seen it fail: what it has done half-way is taken back, as by a process that had lived.
#[tokio::test(start_paused = true)]
async fn a_migration_that_failed_while_nobody_looked_is_taken_back_and_not_run_again() {
    let (setup, before) = failed_unseen(MIGRATED, 320).await;
    let end = take_over(&setup, Wish::Resume).await;
    assert!(went_back(&end), "{end:?}");
    assert!(undone(&setup), "{:?}", jobs(&setup));
    assert_eq!(failed(&setup, false), before, "what tells of it stays");
}

#[tokio::test(start_paused = true)]
async fn a_migration_without_a_way_back_that_failed_while_nobody_looked_waits_for_a_person() {
    let (setup, before) = failed_unseen(ONE_WAY, 321).await;
    let end = take_over(&setup, Wish::Resume).await;
    assert_eq!(asked(&end).0, "job-failed", "{end:?}");
    assert_eq!(failed(&setup, false), before, "what tells of it stays");
    // Whoever goes on was told.
    assert!(succeeded(&take_over(&setup, Wish::Resume).await));
    assert_eq!(failed(&setup, false), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_takes_a_migration_back_and_failed_while_nobody_looked_waits_for_a_person() {
    let setup = Setup::of(MIGRATED, 322);
    assert!(succeeded(&setup.deploy("v1").await));
    clear_away(&setup);
    setup.shared.world().faults.extend([fault("crash web@v2"), fault("slow schema@v2")]);
    let under_way = async {
        while !jobs(&setup).iter().any(|(name, _)| name.ends_with("-undo")) {
            setup.runtime.sleep(MOMENT).await;
        }
        setup.runtime.sleep(Duration::from_secs(5)).await;
    };
    {
        let deploy = setup.deploy("v2");
        futures::pin_mut!(deploy, under_way);
        let first = futures::future::select(deploy, under_way).await;
        assert!(matches!(first, futures::future::Either::Right(_)), "it dies while the undo is under way");
    }
    setup.shared.world().faults = vec![fault("crash schema@v2")];
    setup.runtime.sleep(Duration::from_secs(60)).await;
    let before = failed(&setup, true);
    assert_eq!(before.len(), 1, "{:?}", jobs(&setup));
    setup.shared.world().faults.clear();
    let end = take_over(&setup, Wish::Resume).await;
    assert_eq!(asked(&end).0, "job-failed", "{end:?}");
    assert_eq!(failed(&setup, true), before, "what tells of it stays");
    let end = take_over(&setup, Wish::Resume).await;
    assert!(went_back(&end), "{end:?}");
    assert!(undone(&setup), "{:?}", jobs(&setup));
}

/// Whoever deletes a Job gets his answer before its pods have ended.
#[tokio::test(start_paused = true)]
async fn a_migration_runs_again_only_when_no_pod_of_a_deleted_one_is_left() {
    let setup = Setup::of(ONE_WAY, 323);
    assert!(succeeded(&setup.deploy("v1").await));
    clear_away(&setup);
    setup.shared.world().faults.push(fault("never-ready schema@v2"));
    let deleted = async {
        let pod = pod_of_job(&setup).await;
        keep(&setup, &pod, json!(["example.com/keeps"]));
        clear_away(&setup);
        pod
    };
    let (end, pod) = futures::future::join(setup.deploy("v2"), deleted).await;
    assert_eq!(asked(&end).0, "gone", "{end:?}");
    let ends = async {
        setup.runtime.sleep(Duration::from_secs(30)).await;
        assert_eq!(jobs(&setup), [], "a pod of the first one still runs");
        setup.shared.world().faults.clear();
        keep(&setup, &pod, json!(null));
    };
    let (end, ()) = futures::future::join(take_over(&setup, Wish::Resume), ends).await;
    assert!(succeeded(&end), "{end:?}");
    assert_eq!(jobs(&setup).len(), 1);
}

/// Up to Kubernetes 1.30 a Job that is over its time has failed before its pods have ended.
#[tokio::test(start_paused = true)]
async fn nothing_takes_a_failed_migration_back_while_a_pod_of_it_runs() {
    let setup = Setup::of(MIGRATED, 324);
    assert!(succeeded(&setup.deploy("v1").await));
    clear_away(&setup);
    setup.shared.world().faults.push(fault("never-ready schema@v2"));
    let fails = async {
        let pod = pod_of_job(&setup).await;
        keep(&setup, &pod, json!(["example.com/keeps"]));
        let job = setup.shared.world().of_kind("Job")[0].key().clone();
        let failed = json!({"failed": 1, "conditions": [{"type": "Failed", "status": "True",
            "reason": "DeadlineExceeded", "message": "Job was active longer than specified deadline"}]});
        setup.shared.world().report_status(&job, failed);
        setup.shared.world().delete(&pod, &Precondition::Any).expect("is deleted");
        setup.runtime.sleep(Duration::from_secs(60)).await;
        let made = jobs(&setup);
        assert_eq!(made.len(), 1, "a pod of the first one still runs: {made:?}");
        setup.shared.world().faults.clear();
        keep(&setup, &pod, json!(null));
    };
    let (end, ()) = futures::future::join(setup.deploy("v2"), fails).await;
    assert!(went_back(&end), "{end:?}");
    assert!(undone(&setup), "{:?}", jobs(&setup));
}

/// Its pod is all that tells that it ran: the process that began it was killed, and a person has deleted the Job.
#[tokio::test(start_paused = true)]
async fn a_migration_of_which_only_a_pod_is_left_is_taken_back() {
    let setup = dies(MIGRATED, 325, "never-ready schema@v2", 6).await;
    let pod = pod_of_job(&setup).await;
    keep(&setup, &pod, json!(["example.com/keeps"]));
    clear_away(&setup);
    setup.shared.world().faults.clear();
    let ends = async {
        setup.runtime.sleep(Duration::from_secs(60)).await;
        assert_eq!(jobs(&setup), [], "its pod still runs");
        keep(&setup, &pod, json!(null));
    };
    let (end, ()) = futures::future::join(take_over(&setup, Wish::Abort), ends).await;
    assert!(went_back(&end), "{end:?}");
    assert!(undone(&setup), "{:?}", jobs(&setup));
}

/// What takes it back tells as well that it ran.
#[tokio::test(start_paused = true)]
async fn a_migration_of_which_only_its_way_back_is_left_is_taken_back_to_the_end() {
    let setup = dies(MIGRATED, 326, "never-ready schema@v2", 6).await;
    pod_of_job(&setup).await;
    let job = setup.shared.world().of_kind("Job")[0].key().clone();
    keep(&setup, &job, json!(["example.com/keeps"]));
    setup.shared.world().delete(&job, &Precondition::Any).expect("is deleted");
    let under_way = async {
        setup.runtime.sleep(Duration::from_secs(20)).await;
        keep(&setup, &job, json!(null));
        while !jobs(&setup).iter().any(|(name, _)| name.ends_with("-undo")) {
            setup.runtime.sleep(MOMENT).await;
        }
        setup.runtime.sleep(Duration::from_secs(2)).await;
    };
    {
        let abort = take_over(&setup, Wish::Abort);
        futures::pin_mut!(abort, under_way);
        let first = futures::future::select(abort, under_way).await;
        assert!(matches!(first, futures::future::Either::Right(_)), "it dies while the undo is under way");
    }
    assert!(!undone(&setup) && jobs(&setup).len() == 1, "{:?}", jobs(&setup));
    setup.shared.world().faults = vec![fault("crash schema@v2")];
    setup.runtime.sleep(Duration::from_secs(60)).await;
    let end = take_over(&setup, Wish::Resume).await;
    assert_eq!(asked(&end).0, "job-failed", "{end:?}");
}

/// It was completed: whoever waits until it is gone would run it a second time.
#[tokio::test(start_paused = true)]
async fn a_completed_migration_that_is_just_being_taken_away_does_not_run_again() {
    for (seed, project, trouble) in [(327, ONE_WAY, None), (328, MIGRATED, Some("crash web@v2"))] {
        let setup = dies(project, seed, "slow schema@v2", 6).await;
        setup.shared.world().faults.clear();
        setup.runtime.sleep(Duration::from_secs(60)).await;
        assert!(matches!(&jobs(&setup)[..], [(_, true)]), "{:?}", jobs(&setup));
        let job = setup.shared.world().of_kind("Job")[0].key().clone();
        keep(&setup, &job, json!(["example.com/keeps"]));
        setup.shared.world().delete(&job, &Precondition::Any).expect("is deleted");
        setup.shared.world().faults.extend(trouble.map(fault));
        let goes = async {
            setup.runtime.sleep(Duration::from_secs(20)).await;
            keep(&setup, &job, json!(null));
        };
        let (end, ()) = futures::future::join(take_over(&setup, Wish::Resume), goes).await;
        if trouble.is_none() {
            assert!(succeeded(&end), "{end:?}");
            assert_eq!(jobs(&setup), [], "it is not run again");
        } else {
            assert!(went_back(&end), "{end:?}");
            assert!(undone(&setup) && jobs(&setup).len() == 1, "{:?}", jobs(&setup));
        }
    }
}
