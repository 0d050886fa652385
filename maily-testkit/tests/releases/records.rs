//! Records that a person deleted or damaged by hand: the truth is told, and there is a way out.

use maily_core::{
    engine::{
        EnvironmentError, Outcome, ReleaseId, RunEnd, RunId, What, Wish,
        journal::{JournalError, pack},
    },
    model::{Project, Retention, Seconds},
    object::{ObjectKey, ObjectKind},
    provider::RecordStore,
    release::{self, DeployRequest, PrepareError, RollbackTo, prepare, rollback, runs, status},
    source::ProgramTools,
};
use serde_json::json;

use crate::setup::{Setup, succeeded};

fn run_of(setup_runs: &[maily_core::release::RunSummary], release: u64) -> RunId {
    let made = setup_runs.iter().find(|run| run.release == Some(ReleaseId(release)));
    made.expect("is on record").run.clone()
}

#[tokio::test(start_paused = true)]
async fn releases_that_were_deleted_by_hand_are_written_again_from_their_runs() {
    let setup = Setup::new(95);
    for version in ["v1", "v2", "v3"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    let environment = setup.environment();
    for key in environment.records.list("release/").await.expect("can be read") {
        environment.records.delete(&key).await.expect("is deleted");
    }
    let project = Project::parse(setup.project, "maily.yaml").expect("a project");
    let resolved = project.resolve("production").expect("is there");
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let to = RollbackTo::Version("v1".to_owned());
    let wanted = rollback(&environment, &resolved, &head, base.as_ref(), &to, None).await;
    assert!(wanted.expect("is on record").services.values().all(|service| service.version == "v1"));
    let keys = environment.records.list("release/").await.expect("can be read");
    assert_eq!(keys.len(), 3, "{keys:?}");
    // One in the middle, too.
    environment.records.delete(&keys[1]).await.expect("is deleted");
    let release = maily_core::engine::history::release(&*environment.records, ReleaseId(2)).await;
    assert_eq!(release.expect("can be read").expect("is there").head.versions["api"], "v2");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_no_list_has_any_more_is_told() {
    let setup = Setup::new(96);
    assert!(succeeded(&setup.deploy("v1").await));
    let environment = setup.environment();
    let run = run_of(&runs(&*environment.records, 9).await.expect("can be read"), 1);
    let segments = environment.records.list(&format!("run/{run}/")).await.expect("can be read");
    for key in &segments {
        let name = format!("maily-production.{}", key.replace('/', "."));
        let key = ObjectKey::new(ObjectKind::new("v1", "Secret"), Some("shop"), name);
        let bare = json!({"metadata": {"labels": {"maily.dev/record": null, "maily.dev/run": null}}});
        setup.shared.world().edit_as("kubectl-label", &key, bare).expect("is there");
    }
    let known = runs(&*environment.records, 9).await.expect("can be read");
    let damaged = known.first().and_then(|run| run.damaged.clone()).expect("is told");
    assert!(known[0].run == run && damaged.contains("labels of its object are gone"), "{damaged}");
    let error = release::run(&*environment.records, &run).await.expect_err("it is not unknown");
    assert!(matches!(&error, JournalError::Damaged { .. }), "{error}");
    for key in &segments {
        let name = format!("maily-production.{}", key.replace('/', "."));
        let key = ObjectKey::new(ObjectKind::new("v1", "Secret"), Some("shop"), name);
        let labels =
            json!({"metadata": {"labels": {"maily.dev/record": "run", "maily.dev/run": run.as_str()}}});
        setup.shared.world().edit_as("kubectl-label", &key, labels).expect("is there");
    }
    assert!(runs(&*environment.records, 9).await.expect("can be read")[0].damaged.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_environment_whose_release_lost_its_journal_can_be_begun_anew() {
    let setup = Setup::new(97);
    for version in ["v1", "v2"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    let environment = setup.environment();
    let project = Project::parse(setup.project, "maily.yaml").expect("a project");
    let resolved = project.resolve("production").expect("is there");
    let options = setup.options("tester");
    let anew = DeployRequest { anew: true, ..DeployRequest::new("v2".parse().expect("a version")) };
    let refused = prepare(&environment, &resolved, &anew, &ProgramTools, &options).await;
    assert!(matches!(refused, Err(PrepareError::NotAnew(_))), "whole records are not left behind");
    let run = run_of(&runs(&*environment.records, 9).await.expect("can be read"), 2);
    environment.records.delete(&format!("run/{run}/000000")).await.expect("is deleted");
    let error = setup_error(&setup).await;
    assert!(matches!(error, EnvironmentError::Journal(JournalError::Damaged { .. })), "{error}");
    let hint = error.hint().expect("says what to do");
    assert!(hint.contains("mailyctl deploy --env NAME --version VERSION --anew"), "{hint}");
    let before = setup.content();
    // Everything is as it should be: what is missing is a release that says so.
    let planned = prepare(&environment, &resolved, &anew, &ProgramTools, &options).await.expect("is planned");
    assert_eq!(planned.plan.steps.len(), 0, "{:?}", planned.plan.steps);
    let end = environment.run(planned, &options).await.expect("runs");
    let release = ReleaseId(3);
    assert!(
        matches!(&end, RunEnd::Over { outcome: Outcome::Succeeded { release: made, .. }, .. } if *made == release),
        "{end:?}"
    );
    assert_eq!(setup.content(), before);
    let status = status(&environment, &resolved).await.expect("can be read");
    assert_eq!(status.release, Some(release));
    assert!(succeeded(&setup.deploy("v3").await));
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let to = RollbackTo::LastGood;
    let wanted = rollback(&environment, &resolved, &head, base.as_ref(), &to, None).await;
    assert_eq!(wanted.expect("is on record").services["api"].version, "v2");
}

/// What the lost release had installed is there: a database is not seeded a second time.
#[tokio::test(start_paused = true)]
async fn whoever_begins_anew_upgrades_what_is_there_and_installs_what_is_not() {
    let folder = tempfile::tempdir().expect("can be made");
    let pods = "{containers: [{name: x, image: 'registry.example/shop/x:v0'}]}";
    let job = |name: &str, moment: &str| {
        format!(
            "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, annotations: {{helm.sh/hook: {moment}}}}}\nspec: {{template: {{spec: {pods}}}}}\n"
        )
    };
    for name in ["api", "web"] {
        let app = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, spec: {pods}}}}}\n"
        );
        let jobs = [
            job(&format!("{name}-seed"), "pre-install"),
            job(&format!("{name}-convert"), "pre-upgrade"),
            job(&format!("{name}-warm"), "'post-install,post-upgrade'"),
        ];
        std::fs::write(folder.path().join(format!("{name}.yaml")), app + &jobs.concat()).expect("is written");
    }
    let project = |services: &[&str]| -> &'static str {
        let services = services
            .iter()
            .map(|name| format!("  {name}: {{manifests: '{}/{name}.yaml'}}\n", folder.path().display()));
        let services: String = services.collect();
        let head = "maily: 1\nproject: shop\nimages: 'registry.example/shop/x:{version}'\nenvironments: {production: {namespace: shop}}\nservices:\n";
        Box::leak(format!("{head}{services}").into_boxed_str())
    };
    let mut setup = Setup::of(project(&["api"]), 104);
    let options = setup.options("tester");
    let environment = setup.environment();
    let request = DeployRequest::new("v1".parse().expect("a version"));
    let planned = prepare(&environment, &setup.resolved(), &request, &ProgramTools, &options).await;
    let end = environment.run(planned.expect("is planned"), &options).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    let run = run_of(&runs(&*environment.records, 9).await.expect("can be read"), 1);
    environment.records.delete(&format!("run/{run}/000000")).await.expect("is deleted");
    setup.project = project(&["api", "web"]);
    let mut anew = DeployRequest { anew: true, ..DeployRequest::new("v2".parse().expect("a version")) };
    let planned = prepare(&environment, &setup.resolved(), &anew, &ProgramTools, &options).await;
    let planned = planned.expect("is planned");
    let mut jobs: Vec<&str> = planned
        .plan
        .steps
        .iter()
        .filter_map(|step| step.id.as_str().split_once("/job/"))
        .map(|(_, job)| job)
        .collect();
    jobs.sort_unstable();
    assert_eq!(jobs, ["api-convert", "api-warm", "web-seed", "web-warm"]);
    let end = environment.run(planned, &options).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    // A part says nothing of the rest, by phases as little as by services.
    anew.scope.phases = Some(vec!["release".parse().expect("a name")]);
    let refused = prepare(&environment, &setup.resolved(), &anew, &ProgramTools, &options).await;
    let said = refused.expect_err("is refused").to_string();
    assert!(said.contains("it says nothing of the other services"), "{said}");
}

async fn setup_error(setup: &Setup) -> EnvironmentError {
    let environment = setup.environment();
    let head = environment.head().await.expect("can be read");
    environment.released(&head).await.expect_err("is damaged")
}

/// The journal of a run that has not ended is damaged: nobody knows how far it came.
#[tokio::test(start_paused = true)]
async fn an_unfinished_run_whose_journal_is_damaged_is_left_behind() {
    let setup = Setup::new(98);
    assert!(succeeded(&setup.deploy("v1").await));
    setup.shared.world().faults.push(crate::setup::fault("never-ready api@v2"));
    let limit = std::time::Duration::from_secs(12);
    let died = maily_core::runtime::within(&*setup.runtime, limit, setup.deploy("v2")).await;
    assert!(died.is_none());
    setup.shared.world().faults.clear();
    setup.runtime.sleep(std::time::Duration::from_secs(20)).await;
    let environment = setup.environment();
    let head = environment.head().await.expect("can be read");
    let run = head.unfinished.expect("has not ended").recorded.run;
    environment.records.delete(&format!("run/{run}/000000")).await.expect("is deleted");
    environment.head().await.expect_err("is damaged");
    let project = Project::parse(setup.project, "maily.yaml").expect("a project");
    let resolved = project.resolve("production").expect("is there");
    let mut options = setup.options("tester");
    options.wait = Some(std::time::Duration::from_secs(60));
    let anew = DeployRequest { anew: true, ..DeployRequest::new("v2".parse().expect("a version")) };
    let planned = prepare(&environment, &resolved, &anew, &ProgramTools, &options).await.expect("is planned");
    let end = environment.run(planned, &options).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    assert!(environment.head().await.expect("can be read").unfinished.is_none());
}

/// A deploy of a version that died after some seconds.
async fn died(setup: &Setup, run: impl Future<Output = RunEnd>) {
    let died = maily_core::runtime::within(&*setup.runtime, std::time::Duration::from_secs(12), run).await;
    assert!(died.is_none(), "{died:?}");
    setup.shared.world().faults.clear();
    setup.runtime.sleep(std::time::Duration::from_secs(20)).await;
}

/// It began because a record is damaged, which stays so: that must not keep anybody from ending it.
#[tokio::test(start_paused = true)]
async fn a_run_that_began_anew_and_died_is_ended_in_any_way() {
    for wish in [Wish::Resume, Wish::Abort, Wish::Leave] {
        let setup = Setup::new(107);
        assert!(succeeded(&setup.deploy("v1").await));
        let environment = setup.environment();
        damage(&*environment.records, "release/000000001").await;
        let (resolved, options) = (setup.resolved(), setup.options("tester"));
        let anew = DeployRequest { anew: true, ..DeployRequest::new("v2".parse().expect("a version")) };
        setup.shared.world().faults.push(crate::setup::fault("never-ready api@v2"));
        let planned = prepare(&environment, &resolved, &anew, &ProgramTools, &options).await;
        let planned = planned.expect("is planned");
        died(&setup, async { environment.run(planned, &options).await.expect("runs") }).await;
        let end = setup.environment().take_over(None, wish, &setup.options("second")).await;
        let end = end.expect("is ended").expect("was unfinished");
        let fits = match wish {
            Wish::Resume => succeeded(&end),
            Wish::Abort => matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }),
            Wish::Leave => matches!(&end, RunEnd::Over { outcome: Outcome::Stuck { .. }, .. }),
        };
        assert!(fits, "{wish:?}: {end:?}");
    }
}

/// Whoever goes on makes the release after the one from which his run began.
#[tokio::test(start_paused = true)]
async fn a_release_that_was_deleted_under_a_run_keeps_its_number() {
    let setup = Setup::new(108);
    for version in ["v1", "v2"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    setup.shared.world().faults.push(crate::setup::fault("never-ready api@v3"));
    died(&setup, setup.deploy("v3")).await;
    let environment = setup.environment();
    environment.records.delete("release/000000002").await.expect("is deleted");
    let head = environment.head().await.expect("can be read");
    assert_eq!(head.release.expect("is in force").1.versions["api"], "v2");
    assert!(head.unfinished.is_some() && head.ended.is_none());
    let end = environment.take_over(None, Wish::Resume, &setup.options("second")).await;
    let end = end.expect("goes on").expect("was unfinished");
    let made = ReleaseId(3);
    assert!(
        matches!(&end, RunEnd::Over { outcome: Outcome::Succeeded { release, .. }, .. } if *release == made),
        "{end:?}"
    );
    let release = maily_core::engine::history::release(&*environment.records, ReleaseId(2)).await;
    assert_eq!(release.expect("can be read").expect("is there").head.versions["api"], "v2");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_old_release_does_not_keep_the_others_on_record() {
    let retention = Retention { releases: 1, age: Seconds(0) };
    let mut setup = Setup { retention: Retention::default(), ..Setup::new(99) };
    for version in ["v1", "v2", "v3", "v4"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    let environment = setup.environment();
    let keys = environment.records.list("release/").await.expect("can be read");
    let damaged = &keys[1];
    environment.records.delete(damaged).await.expect("is deleted");
    environment.records.create(damaged, b"{}").await.expect("is written");
    setup.retention = retention;
    assert!(succeeded(&setup.deploy("v5").await));
    let records = environment.records;
    let left = records.list("release/").await.expect("can be read");
    assert_eq!(left, ["release/000000004", "release/000000005"]);
    // What only a newer program can read is not touched, and nothing behind it: that is told.
    records.delete(&left[0]).await.expect("is deleted");
    records.create(&left[0], &pack(&json!({"format": 99}))).await.expect("is written");
    assert!(succeeded(&setup.deploy("v6").await));
    assert_eq!(records.list("release/").await.expect("can be read").len(), 3);
    let told = setup.told.lock().expect("not poisoned");
    let said =
        |what: &What| matches!(what, What::Waiting { why } if why.contains("written by a newer maily"));
    assert!(told.iter().any(said), "{told:?}");
}

/// Leaves of a record what says nothing.
async fn damage(records: &dyn RecordStore, key: &str) {
    records.delete(key).await.expect("is deleted");
    records.create(key, b"{}").await.expect("is written");
}

/// Two good releases, and two deploys that failed after them.
async fn failed_twice(seed: u64) -> Setup {
    let setup = Setup::new(seed);
    for version in ["v1", "v2"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    for version in ["v3", "v4"] {
        setup.shared.world().faults.push(crate::setup::fault(&format!("crash api@{version}")));
        let end = setup.deploy(version).await;
        assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    }
    setup.shared.world().faults.clear();
    setup
}

/// Runs that made no release came after it: the last of them says from which it began.
#[tokio::test(start_paused = true)]
async fn the_release_in_force_is_found_behind_runs_that_failed_where_its_record_is_missing() {
    let setup = failed_twice(105).await;
    let environment = setup.environment();
    let records = &*environment.records;
    for missing in [&["release/000000002"][..], &["release/000000001", "release/000000002"]] {
        for key in missing {
            records.delete(key).await.expect("is deleted");
        }
        let head = environment.head().await.expect("can be read");
        assert_eq!(head.release.expect("is in force").1.id, ReleaseId(2), "{missing:?}");
        let failed = head.ended.and_then(|ended| ended.plan).expect("has ended");
        assert_eq!(failed.versions["api"], "v4");
        // Who asks for that release alone finds it, too.
        records.delete("release/000000002").await.expect("is deleted");
        let release = maily_core::engine::history::release(records, ReleaseId(2)).await.expect("can be read");
        assert_eq!(release.expect("is there").head.versions["api"], "v2");
    }
    let end = setup.deploy("v5").await;
    let made = ReleaseId(3);
    assert!(
        matches!(&end, RunEnd::Over { outcome: Outcome::Succeeded { release, .. }, .. } if *release == made),
        "{end:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_no_list_has_any_more_is_told() {
    let setup = Setup::new(106);
    for version in ["v1", "v2"] {
        assert!(succeeded(&setup.deploy(version).await));
    }
    let last = setup.environment().records.list("epoch/").await.expect("can be read").pop().expect("is one");
    let name = format!("maily-production.{}", last.replace('/', "."));
    let key = ObjectKey::new(ObjectKind::new("v1", "Secret"), Some("shop"), name);
    let label = |value| json!({"metadata": {"labels": {"maily.dev/record": value}}});
    setup.shared.world().edit_as("kubectl-label", &key, label(json!(null))).expect("is there");
    // Above what objects carry the next claim is all the same.
    let carry = |object: &&maily_core::object::Object| object.annotation("maily.dev/epoch").is_some();
    let keys: Vec<ObjectKey> =
        setup.shared.world().objects().filter(carry).map(|object| object.key().clone()).collect();
    for key in keys {
        let bare = json!({"metadata": {"annotations": {"maily.dev/epoch": null}}});
        setup.shared.world().edit_as("kubectl-annotate", &key, bare).expect("is there");
    }
    let error = setup.try_to_deploy("v3").await.expect_err("is in the way");
    let named = matches!(&error, EnvironmentError::Journal(JournalError::Damaged { key, message })
        if *key == last && message.contains("labels"));
    assert!(named && error.hint().is_some(), "{error}");
    setup.shared.world().edit_as("kubectl-label", &key, label(json!("epoch"))).expect("is there");
    assert!(succeeded(&setup.deploy("v3").await));
}

/// Whose run it was nobody knows, and neither whether it has ended.
#[tokio::test(start_paused = true)]
async fn an_environment_whose_last_claim_is_damaged_can_be_begun_anew() {
    let setup = failed_twice(100).await;
    let environment = setup.environment();
    let claims = environment.records.list("epoch/").await.expect("can be read");
    let last = claims.last().expect("was claimed");
    damage(&*environment.records, last).await;
    let error = environment.head().await.expect_err("is damaged");
    let named = |error: &EnvironmentError| matches!(error, EnvironmentError::Journal(JournalError::Damaged { key, .. }) if key == last);
    assert!(named(&error) && error.hint().is_some_and(|hint| hint.contains("--anew")), "{error}");
    let (resolved, options) = (setup.resolved(), setup.options("tester"));
    let anew = DeployRequest { anew: true, ..DeployRequest::new("v5".parse().expect("a version")) };
    let planned = prepare(&environment, &resolved, &anew, &ProgramTools, &options).await.expect("is planned");
    let end = environment.run(planned, &options).await.expect("runs");
    assert!(succeeded(&end), "{end:?}");
    let head = environment.head().await.expect("can be read");
    assert_eq!(head.release.expect("is in force").1.id, ReleaseId(3));
    assert!(succeeded(&setup.deploy("v6").await));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_claim_of_an_old_run_stands_in_no_way_back() {
    let setup = failed_twice(101).await;
    let environment = setup.environment();
    let records = &*environment.records;
    let claims = records.list("epoch/").await.expect("can be read");
    damage(records, &claims[2]).await;
    let resolved = setup.resolved();
    let head = environment.head().await.expect("the last claim tells enough");
    let base = environment.released(&head).await.expect("can be read");
    // The last deploy failed on top of the release in force.
    let back = rollback(&environment, &resolved, &head, base.as_ref(), &RollbackTo::LastGood, None).await;
    assert_eq!(back.expect("is on record").services["api"].version, "v2");
    // Where a release is missing, all claims are looked at.
    records.delete("release/000000001").await.expect("is deleted");
    let to = RollbackTo::Version("v1".to_owned());
    let back = rollback(&environment, &resolved, &head, base.as_ref(), &to, None).await;
    assert_eq!(back.expect("is written again").services["api"].version, "v1");
    // Neither run is hidden: the one whose claim is damaged stands where it claimed.
    let known = runs(records, 9).await.expect("can be read");
    let brought: Vec<&str> = known.iter().map(|run| run.versions["api"].as_str()).collect();
    assert_eq!(brought, ["v4", "v3", "v2", "v1"]);
}
