//! Releases in the simulated world: to the new state, and back to the old one. How they survive their process is the
//! matter of the drills.

mod abort;
mod adoption;
mod atomic;
mod autoscaler;
mod clock;
mod configuration;
mod defined;
mod dry_runs;
mod empty;
mod failed_jobs;
mod fence;
mod followed;
mod force;
mod frontend;
mod hand;
mod hindered;
mod history;
mod images;
mod in_the_way;
mod interrupted;
mod jobs;
mod kinds;
mod last_look;
mod lease;
mod ledger;
mod logs;
mod look_held_up;
mod missing;
mod moved;
mod named;
mod needs;
mod own_jobs;
mod parallel;
mod parts;
mod queue;
mod records;
mod refused;
mod replaced;
mod replay;
mod rights;
mod scopes;
mod setup;
mod shared;
mod shop;
mod silence;
mod status;
mod stuck;
mod time;
mod unchanged;
mod unserved;
mod waiting;
mod watch;

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{Depth, Environment, Outcome, RunEnd, Wish},
    object::{Object, ObjectKey, ObjectKind},
    provider::Precondition,
    runtime::within,
};
use setup::{Setup, fault, succeeded};

#[tokio::test(start_paused = true)]
async fn a_release_is_made_seen_and_recorded() {
    let setup = Setup::new(1);
    let end = setup.deploy("v1").await;
    assert!(succeeded(&end), "{end:?}");
    let environment = setup.environment();
    let head = environment.head().await.expect("can be read");
    let (_, release) = head.release.clone().expect("a release");
    assert_eq!(release.versions["api"], "v1");
    assert!(head.unfinished.is_none());
    let released = environment.released(&head).await.expect("can be read").expect("is there");
    assert!(released.objects.values().all(|object| object.fingerprint.is_some()));
    for deployment in setup.shared.world().of_kind("Deployment") {
        assert_eq!(deployment.int("/status/availableReplicas"), deployment.int("/spec/replicas"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_release_again_changes_nothing() {
    let setup = Setup::new(2);
    setup.deploy("v1").await;
    let before = setup.shared.world().version;
    let end = setup.deploy("v1").await;
    assert_eq!(end, RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving: Vec::new() } });
    assert_eq!(setup.shared.world().version, before);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_leaves_what_a_fresh_install_would() {
    let setup = Setup::new(3);
    setup.deploy("v1").await;
    assert!(succeeded(&setup.deploy("v2").await));
    let fresh = Setup::new(4);
    fresh.deploy("v2").await;
    assert_eq!(setup.content(), fresh.content());
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_fails_at_once_and_everything_goes_back() {
    let setup = Setup::new(5);
    setup.deploy("v1").await;
    let before = setup.content();
    setup.shared.world().faults.push(fault("crash web@v2"));
    let started = setup.runtime.now();
    let end = setup.deploy("v2").await;
    let RunEnd::Over { outcome: Outcome::RolledBack { why, step, .. }, .. } = &end else { panic!("{end:?}") };
    assert_eq!(why.cause, "crash-loop");
    assert!(why.log.iter().any(|line| line.contains("simulated crash")), "{why:?}");
    assert_eq!(step.as_ref().map(ToString::to_string).as_deref(), Some("production/web/rollout"));
    assert!(setup.runtime.now().since(started) < Duration::from_secs(30));
    assert_eq!(setup.content(), before);
    let head = setup.environment().head().await.expect("can be read");
    assert_eq!(head.release.expect("the old one").1.versions["api"], "v1");
}

#[tokio::test(start_paused = true)]
async fn a_first_install_that_fails_leaves_nothing() {
    let setup = Setup::new(6);
    setup.shared.world().faults.push(fault("image-missing api"));
    let started = setup.runtime.now();
    let end = setup.deploy("v1").await;
    // Every call was answered: nothing has to be waited for before absence is certain.
    assert!(setup.runtime.now().since(started) < Duration::from_secs(8));
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!(setup.content(), Vec::<Object>::new());
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_silence_of_the_api_are_survived() {
    let setup = Setup::new(7);
    setup.deploy("v1").await;
    setup.shared.world().faults.extend([fault("lost-answer 3"), fault("api-down 4")]);
    let environment = setup.environment();
    // Planning is not repeated by itself: the faults meet the run.
    let faults = std::mem::take(&mut setup.shared.world().faults);
    let planned = setup.plan("v2", Depth::DryRun).await.expect("can be planned");
    let shared = Arc::clone(&setup.shared);
    let runtime = Arc::clone(&setup.runtime);
    let late = async move {
        runtime.sleep(Duration::from_millis(60)).await;
        shared.world().faults = faults;
    };
    let options = setup.options("tester");
    let (end, ()) = futures::future::join(environment.run(planned, &options), late).await;
    assert!(succeeded(&end.expect("runs")));
    let fresh = Setup::new(8);
    fresh.deploy("v2").await;
    assert_eq!(setup.content(), fresh.content());
}

#[tokio::test(start_paused = true)]
async fn a_change_between_plan_and_run_is_refused_object_by_object() {
    let setup = Setup::new(9);
    setup.deploy("v1").await;
    let environment = setup.environment();
    let planned = setup.plan("v2", Depth::DryRun).await.expect("can be planned");
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    setup
        .shared
        .world()
        .edit_as("kubectl-scale", &key, serde_json::json!({"spec": {"replicas": 7}}))
        .expect("a person may");
    let before = setup.content();
    let error = environment.adopt_plan(planned.plan).await.expect_err("is out of date");
    assert!(error.to_string().contains("Deployment shop/api was changed since: spec.replicas"), "{error}");
    assert_eq!(setup.content(), before);
}

/// Whoever said yes to a plan has read all of it: also what it leaves as it is, and what no release sets.
#[tokio::test(start_paused = true)]
async fn a_plan_that_was_read_holds_for_all_that_was_there() {
    let key =
        |kind: (&str, &str), name: &str| ObjectKey::new(ObjectKind::new(kind.0, kind.1), Some("shop"), name);
    let deployment = ("apps/v1", "Deployment");
    let hosted = serde_json::json!({"spec": {"template": {"spec": {"hostNetwork": true}}}});
    let marked = serde_json::json!({"metadata": {"annotations": {"note": "mine"}}});
    let edits = [
        (key(deployment, "api"), Some(hosted.clone()), "was changed since by kubectl-patch"),
        (key(("v1", "Service"), "web"), Some(marked), "was changed since by kubectl-patch"),
        (key(("v1", "Service"), "web"), None, "was deleted since"),
    ];
    for (key, edit, told) in edits {
        let setup = Setup::new(9);
        setup.deploy("v1").await;
        let environment = setup.environment();
        let planned = setup.plan("v2", Depth::DryRun).await.expect("can be planned");
        let kept = planned.plan.unchanged.iter().any(|kept| *kept.desired.key() == key);
        assert_eq!(kept, key.kind.kind == "Service");
        let world = || setup.shared.world();
        // Time goes by, and controllers write: that is nobody's edit.
        setup.runtime.sleep(Duration::from_secs(90)).await;
        environment.adopt_plan(planned.plan.clone()).await.expect("still fits");
        match edit {
            Some(fields) => drop(world().edit_as("kubectl-patch", &key, fields).expect("a person may")),
            None => drop(world().delete(&key, &Precondition::Any).expect("a person may")),
        }
        let before = setup.content();
        let error = environment.adopt_plan(planned.plan).await.expect_err("is out of date");
        assert!(error.to_string().contains(&format!("{key} {told}")), "{error}");
        assert_eq!(setup.content(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn what_people_add_is_told_and_stays() {
    let setup = Setup::new(9);
    setup.deploy("v1").await;
    let key = ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api");
    let added = serde_json::json!({"spec": {"template": {"spec": {"hostNetwork": true}}}});
    setup.shared.world().edit_as("kubectl-patch", &key, added).expect("a person may");
    setup.runtime.sleep(Duration::from_secs(90)).await;
    let environment = setup.environment();
    let status = maily_core::release::status(&environment, &setup.resolved()).await.expect("can be read");
    let api = status.services.iter().find(|service| service.name == "api").expect("is there");
    assert_eq!(api.drift, ["Deployment/api: kubectl-patch set .spec.template.spec.hostNetwork"]);
    assert!(succeeded(&setup.deploy("v2").await));
    let live = setup.shared.world().get(&key).cloned().expect("is there");
    assert_eq!(live.at("/spec/template/spec/hostNetwork"), Some(&serde_json::json!(true)));
}

#[tokio::test(start_paused = true)]
async fn two_projects_do_not_share_a_history() {
    let setup = Setup::new(9);
    setup.deploy("v1").await;
    let other = Environment { project: "alpha".into(), ..setup.environment() };
    let head = other.head().await.expect("can be read");
    let error = other.released(&head).await.expect_err("is refused");
    assert!(error.to_string().contains("belongs to project `shop`"), "{error}");
    assert!(maily_core::release::status(&other, &setup.resolved()).await.is_err());
}

/// Not even a wish of another project is left on record, where it would turn the run of the next who goes on.
#[tokio::test(start_paused = true)]
async fn a_run_of_another_project_is_not_turned() {
    let setup = Setup::new(11);
    setup.deploy("v1").await;
    setup.shared.world().faults.push(fault("slow web@v2"));
    let died = within(&*setup.runtime, Duration::from_secs(2), setup.deploy("v2")).await;
    assert!(died.is_none());
    let other = Environment { project: "alpha".into(), ..setup.environment() };
    for wish in [Wish::Abort, Wish::Leave, Wish::Resume] {
        let error = other.take_over(None, wish, &setup.options("other")).await.expect_err("is refused");
        assert!(error.to_string().contains("belongs to project `shop`"), "{error}");
    }
    setup.shared.world().faults.clear();
    let end = setup.environment().take_over(None, Wish::Resume, &setup.options("second")).await;
    let end = end.expect("goes on").expect("there is one");
    assert!(succeeded(&end), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_run_is_told_who_holds_the_environment() {
    let setup = Setup::new(10);
    setup.deploy("v1").await;
    let first = setup.deploy("v2");
    let second = async {
        setup.runtime.sleep(Duration::from_millis(400)).await;
        let environment = setup.environment();
        let wanted = setup.wanted("v3").await;
        let head = environment.head().await.expect("can be read");
        head.unfinished.is_some() && wanted.services.contains_key("api")
    };
    let (end, seen) = futures::future::join(first, second).await;
    assert!(succeeded(&end) && seen);
}

/// Each rule is worth what turns red without it.
#[cfg(feature = "planted")]
#[test]
fn every_rule_that_is_taken_away_turns_its_test_red() {
    use maily_core::planted::{Defect, turns_red};

    let late = in_the_way::a_deletion_of_a_pod_in_the_way_that_is_late_lands_on_none_after_a_takeover;
    let finalizer =
        waiting::a_finalizer_that_keeps_what_is_deleted_is_told_within_seconds_also_on_the_way_back;
    let tests: [(Defect, fn()); 11] = [
        (Defect::PodsNotStamped, late),
        (Defect::HeldUpAwaited, in_the_way::a_doomed_pod_of_the_version_before_makes_room_for_the_next_one),
        (Defect::GoneRemade, hand::what_a_person_deleted_and_put_back_counts_as_taken_back),
        (Defect::ConflictFails, refused::a_conflict_over_what_is_still_as_captured_ends_no_step),
        (Defect::StaleEpochFails, refused::a_refusal_because_of_a_newer_epoch_is_no_failure_of_a_step),
        (Defect::DeleteUnguarded, refused::what_a_person_changes_a_moment_before_its_delete_stays),
        (Defect::UnchangedClaims, the_same_release_again_changes_nothing),
        (Defect::TwicePlanned, shared::an_object_of_two_services_is_no_plan),
        (Defect::DeletedIsGone, finalizer),
        (Defect::FenceLowered, fence::a_fence_is_never_lowered),
        (Defect::FenceUnproven, fence::no_run_begins_behind_a_fence_that_does_not_refuse),
    ];
    for (defect, test) in tests {
        turns_red(defect, test);
    }
}
