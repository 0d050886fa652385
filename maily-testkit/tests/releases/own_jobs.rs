//! Jobs among the manifests of a service, which run when they are made.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use maily_core::{
    engine::{Depth, EnvironmentError, Outcome, RunEnd, Wish, planner::PlanOptions},
    object::{ObjectKey, ObjectKind},
    provider::Precondition,
    release::status,
    runtime::within,
};
use serde_json::{Value, json};

use crate::{
    clock::Apart,
    hindered::Hindered,
    setup::{fault, succeeded},
    shop::{OF_MANIFESTS, Shop, deployment, notes},
};

/// A Job with these fields beside those that it cannot do without.
fn job(fields: &Value) -> Value {
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "seed"},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "seed", "image": "registry.example/seed:1"}]}}}});
    job["spec"].as_object_mut().expect("a map").extend(fields.as_object().expect("a map").clone());
    job
}

fn config(of: &str) -> Value {
    map("c", of)
}

fn map(name: &str, of: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"of": of}})
}

fn seed() -> ObjectKey {
    ObjectKey::new(ObjectKind::new("batch/v1", "Job"), Some("shop"), "seed")
}

/// A shop of two versions that have the same Job, and a ConfigMap of their own.
fn seeded(seed: u64, fields: &Value) -> Shop {
    let shop = Shop::new(OF_MANIFESTS, seed);
    for version in ["v1", "v2"] {
        shop.write(version, &[job(fields), config(version)]);
    }
    shop
}

#[tokio::test(start_paused = true)]
async fn a_job_that_its_manifest_suspends_is_not_waited_for() {
    let shop = seeded(308, &json!({"suspend": true}));
    let planned = shop.plan("v1").await.expect("can be planned");
    assert!(notes(&planned, "suspended")[0].contains("Job shop/seed"), "{:?}", planned.plan.notes);
    let begun = shop.setup.runtime.now();
    assert!(succeeded(&shop.run(planned).await));
    assert!(shop.setup.runtime.now().since(begun) < Duration::from_secs(10));
    // Nor is it called something that does not serve, where it stays as it is.
    let planned = shop.plan("v2").await.expect("can be planned");
    let topics: Vec<&str> = planned.plan.notes.iter().map(|note| &*note.topic).collect();
    assert!(!topics.contains(&"not-serving") && !topics.contains(&"suspended"), "{topics:?}");
    assert!(succeeded(&shop.run(planned).await));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_lets_run_is_not_suspended_again() {
    // And one that nobody has let run stays suspended.
    for (manager, depth) in [
        (Some("kueue"), Depth::DryRun),
        (Some("kubectl-patch"), Depth::DryRun),
        (Some("kueue"), Depth::Read),
        (None, Depth::DryRun),
    ] {
        let shop = seeded(311, &json!({"suspend": true}));
        let mut labelled = job(&json!({"suspend": true}));
        labelled["metadata"]["labels"] = json!({"of": "v3"});
        shop.write("v3", &[labelled, config("v3"), deployment("late", &[])]);
        assert!(succeeded(&shop.deploy("v1").await));
        if let Some(manager) = manager {
            let run = json!({"spec": {"suspend": false}});
            shop.setup.shared.world().edit_as(manager, &seed(), run).expect("is there");
        }
        let stays = || {
            let live = shop.live("batch/v1", "Job", Some("shop"), "seed").expect("is there");
            live.at("/spec/suspend") == Some(&json!(manager.is_none()))
        };
        // It stays as it is, and nobody has changed anything.
        let planned = shop.plan_with("v2", PlanOptions::default(), depth).await.expect("can be planned");
        assert_eq!(planned.plan.changes().count(), 1, "{:?}", planned.plan.steps);
        assert_eq!(notes(&planned, "drift"), [""; 0]);
        assert!(succeeded(&shop.run(planned).await));
        let environment = shop.setup.environment();
        let seen = status(&environment, &shop.resolved()).await.expect("can be read");
        assert_eq!(seen.services[0].drift, [""; 0]);
        assert!(stays());
        // What else changes of it leaves it running, also on the way back.
        let planned = shop.plan_with("v3", PlanOptions::default(), depth).await.expect("can be planned");
        assert_eq!(planned.plan.changes().count(), 3, "{:?}", planned.plan.steps);
        shop.setup.shared.world().faults.push(fault("crash late"));
        let end = shop.run(planned).await;
        assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
        assert!(stays());
        shop.setup.shared.world().faults.clear();
        assert!(succeeded(&shop.deploy("v3").await));
        assert!(stays());
        let live = shop.live("batch/v1", "Job", Some("shop"), "seed").expect("is there");
        assert_eq!(live.label("of"), Some("v3"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_goes_by_itself_after_a_plan_was_made_makes_it_no_older() {
    let fields = json!({"ttlSecondsAfterFinished": 60});
    let mut labelled = job(&fields);
    labelled["metadata"]["labels"] = json!({"of": "v4"});
    // Once it stays as it is, once it is taken away, and once it was to become another.
    for version in ["v2", "v3", "v4"] {
        let shop = seeded(309, &fields);
        assert!(succeeded(&shop.deploy("v1").await));
        shop.write("v3", &[config("v3")]);
        shop.write("v4", std::slice::from_ref(&labelled));
        let planned = shop.plan(version).await.expect("can be planned");
        shop.setup.shared.world().delete(&seed(), &Precondition::Any).expect("was there");
        let adopted = shop.setup.environment().adopt_plan(planned.plan).await;
        if version == "v4" {
            // The other one would run: that is another plan, though nobody has deleted anything.
            let Err(EnvironmentError::OutOfDate(stale)) = adopted else { panic!("{adopted:?}") };
            assert_eq!(stale, ["  Job shop/seed has gone by itself since"]);
            continue;
        }
        assert!(succeeded(&shop.run(adopted.expect("fits still")).await));
        let live = shop.live("v1", "ConfigMap", Some("shop"), "c").expect("is there");
        assert_eq!(live.text("/data/of"), Some(version));
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_gone_by_itself_before_its_turn_came_is_not_made_again_on_the_way_back() {
    let shop = Shop::new(OF_MANIFESTS, 310);
    let fields = json!({"ttlSecondsAfterFinished": 60});
    shop.write("v1", &[job(&fields), config("v1"), map("d", "v1"), map("e", "v1")]);
    shop.write("v2", &[config("v2")]);
    let mut other = job(&fields);
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/seed:2".into();
    shop.write("v3", &[other, config("v3"), map("d", "v1"), map("e", "v1")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let going = shop.plan("v2").await.expect("can be planned");
    let options = PlanOptions { replace: ["Job/seed".to_owned()].into(), ..PlanOptions::default() };
    let another = shop.plan_with("v3", options, Depth::DryRun).await.expect("can be planned");
    shop.setup.shared.world().delete(&seed(), &Precondition::Any).expect("was there");
    // Where another was to take its place, whoever goes back would run it a second time.
    let adopted = shop.setup.environment().adopt_plan(another.plan).await;
    let Err(EnvironmentError::OutOfDate(stale)) = adopted else { panic!("{adopted:?}") };
    assert_eq!(stale, ["  Job shop/seed has gone by itself since"]);
    // The rest of what goes with it is taken away as far as somebody else's change.
    let adopted = shop.setup.environment().adopt_plan(going.plan).await.expect("fits still");
    let last = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), "e");
    shop.setup
        .shared
        .world()
        .edit_as("kubectl-edit", &last, json!({"data": {"of": "me"}}))
        .expect("is there");
    let end = shop.run(adopted).await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert!(shop.live("v1", "ConfigMap", Some("shop"), "d").is_some());
    assert!(shop.live("batch/v1", "Job", Some("shop"), "seed").is_none());
}

/// What a release leaves as it is may be gone, and that is no trouble: what does not serve beside it may be mended.
#[tokio::test(start_paused = true)]
async fn a_job_that_has_gone_by_itself_does_not_keep_trouble_on_record() {
    let shop = Shop::new(OF_MANIFESTS, 312);
    for version in ["v1", "v2"] {
        let all = [job(&json!({"ttlSecondsAfterFinished": 60})), deployment("cache", &[]), config(version)];
        shop.write(version, &all);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.push(fault("never-ready cache"));
    shop.setup.runtime.sleep(Duration::from_secs(120)).await;
    assert_eq!(shop.live("batch/v1", "Job", Some("shop"), "seed"), None);
    assert!(succeeded(&shop.deploy("v2").await));
    assert!(shop.released().await.head.beside_trouble);
    shop.setup.shared.world().faults.clear();
    shop.setup.runtime.sleep(Duration::from_secs(30)).await;
    assert!(succeeded(&shop.deploy("v2").await));
    assert!(!shop.released().await.head.beside_trouble);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_gone_by_itself_under_a_run_is_not_made_again_on_the_way_back() {
    let shop = Shop::new(OF_MANIFESTS, 312);
    let fields = json!({"ttlSecondsAfterFinished": 60});
    shop.write("v1", &[job(&fields), config("v1"), map("d", "v1"), map("e", "v1")]);
    shop.write("v2", &[config("v2")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let going = shop.plan("v2").await.expect("can be planned");
    // The run begins with what the plan has seen.
    shop.setup.shared.world().delete(&seed(), &Precondition::Any).expect("was there");
    let last = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), "e");
    let of = json!({"data": {"of": "me"}});
    shop.setup.shared.world().edit_as("kubectl-edit", &last, of).expect("is there");
    let end = shop.run(going).await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert!(shop.live("v1", "ConfigMap", Some("shop"), "d").is_some());
    assert!(shop.live("batch/v1", "Job", Some("shop"), "seed").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_gone_by_itself_is_not_made_again_where_another_answer_was_lost() {
    // The answer to the delete of a neighbour, and to its own.
    for lost in ["n", "seed"] {
        let mut shop = Shop::new(OF_MANIFESTS, 318);
        let fields = json!({"ttlSecondsAfterFinished": 60});
        let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "n"}, "spec": {"podSelector": {}}});
        shop.write("v1", &[policy, job(&fields), config("v1"), map("e", "v1")]);
        shop.write("v2", &[config("v2")]);
        assert!(succeeded(&shop.deploy("v1").await));
        let going = shop.plan("v2").await.expect("can be planned");
        if lost == "n" {
            shop.setup.shared.world().delete(&seed(), &Precondition::Any).expect("was there");
        }
        let last = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("shop"), "e");
        let of = json!({"data": {"of": "me"}});
        shop.setup.shared.world().edit_as("kubectl-edit", &last, of).expect("is there");
        let lost_once = Some((lost, AtomicU32::new(1)));
        let hindered = Arc::new(Hindered { lost: lost_once, ..Hindered::of(&shop.setup) });
        shop.setup.cluster = Some(Arc::clone(&hindered) as _);
        let end = shop.run(going).await;
        assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
        assert!(hindered.has_lost_all());
        assert!(shop.live("networking.k8s.io/v1", "NetworkPolicy", Some("shop"), "n").is_some());
        // What this run may have taken away comes back.
        let there = shop.live("batch/v1", "Job", Some("shop"), "seed").is_some();
        assert_eq!(there, lost == "seed");
    }
}

/// Its absence says nothing of whether it ran: whoever goes on must not run it a second time.
#[tokio::test(start_paused = true)]
async fn a_job_that_may_have_run_and_gone_before_a_kill_is_not_run_again() {
    let shop = Shop::new(OF_MANIFESTS, 319);
    let fields = json!({"ttlSecondsAfterFinished": 60});
    shop.write("v1", &[config("v1"), deployment("late", &[])]);
    shop.write("v2", &[job(&fields), config("v2"), deployment("late", &["c"])]);
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.push(fault("never-ready late"));
    let died = within(&*shop.setup.runtime, Duration::from_secs(120), shop.deploy("v2")).await;
    assert!(died.is_none());
    assert_eq!(image(&shop), None, "it has run, and has gone");
    shop.setup.shared.world().faults.clear();
    let again = async {
        loop {
            if image(&shop).is_some() {
                return;
            }
            shop.setup.runtime.sleep(Duration::from_millis(20)).await;
        }
    };
    let resume = async {
        let resumed =
            shop.setup.environment().take_over(None, Wish::Resume, &shop.setup.options("second")).await;
        resumed.expect("goes on").expect("was unfinished")
    };
    futures::pin_mut!(again, resume);
    let end = match futures::future::select(resume, again).await {
        futures::future::Either::Left((end, _)) => end,
        futures::future::Either::Right(_) => panic!("it was made again"),
    };
    let RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. } = &end else { panic!("{end:?}") };
    assert!(format!("{end:?}").contains("vanished"), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_changed_and_has_gone_by_itself_keeps_nothing_from_going_back() {
    let shop = Shop::new(OF_MANIFESTS, 320);
    let fields = json!({"ttlSecondsAfterFinished": 60});
    shop.write("v1", &[job(&fields), config("v1"), deployment("late", &[])]);
    let mut labelled = job(&fields);
    labelled["metadata"]["labels"] = json!({"of": "v2"});
    shop.write("v2", &[labelled, config("v2"), deployment("late", &["c"])]);
    assert!(succeeded(&shop.deploy("v1").await));
    assert!(image(&shop).is_some());
    shop.setup.shared.world().faults.push(fault("never-ready late"));
    let end = shop.deploy("v2").await;
    assert_eq!(image(&shop), None, "it has gone by itself");
    let RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. } = &end else { panic!("{end:?}") };
    assert!(!format!("{end:?}").contains("deleted meanwhile"), "{end:?}");
    let live = shop.live("v1", "ConfigMap", Some("shop"), "c").expect("is there");
    assert_eq!(live.text("/data/of"), Some("v1"));
}

fn let_run(shop: &Shop) {
    let run = json!({"spec": {"suspend": false}});
    shop.setup.shared.world().edit_as("kueue", &seed(), run).expect("is there");
}

fn image(shop: &Shop) -> Option<String> {
    let live = shop.live("batch/v1", "Job", Some("shop"), "seed")?;
    live.text("/spec/template/spec/containers/0/image").map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_lets_run_after_it_was_made_again_goes_back_all_the_same() {
    let shop = seeded(313, &json!({"suspend": true}));
    let mut other = job(&json!({"suspend": true}));
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/seed:2".into();
    shop.write("v3", &[other, config("v3"), deployment("late", &[])]);
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.push(fault("crash late"));
    let options = PlanOptions { replace: ["Job/seed".to_owned()].into(), ..PlanOptions::default() };
    let planned = shop.plan_with("v3", options, Depth::DryRun).await.expect("can be planned");
    let controller = async {
        while image(&shop).as_deref() != Some("registry.example/seed:2") {
            shop.setup.runtime.sleep(Duration::from_millis(5)).await;
        }
        let_run(&shop);
    };
    let (end, ()) = futures::future::join(shop.run(planned), controller).await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!(image(&shop).as_deref(), Some("registry.example/seed:1"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_lets_run_is_not_waited_for_on_the_way_back() {
    let shop = seeded(314, &json!({"suspend": true}));
    let mut labelled = job(&json!({"suspend": true}));
    labelled["metadata"]["labels"] = json!({"of": "v3"});
    shop.write("v3", &[labelled, config("v3"), deployment("late", &[])]);
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.extend([fault("unschedulable seed"), fault("crash late")]);
    let_run(&shop);
    let planned = shop.plan("v3").await.expect("can be planned");
    let begun = shop.setup.runtime.now();
    let end = shop.run(planned).await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert!(shop.setup.runtime.now().since(begun) < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_lets_run_after_a_plan_was_made_is_taken_away_all_the_same() {
    for saved in [false, true] {
        let shop = seeded(315, &json!({"suspend": true}));
        shop.write("v3", &[config("v3")]);
        assert!(succeeded(&shop.deploy("v1").await));
        let mut planned = shop.plan("v3").await.expect("can be planned");
        let_run(&shop);
        if saved {
            planned = shop.setup.environment().adopt_plan(planned.plan).await.expect("fits still");
        }
        let end = shop.run(planned).await;
        assert!(succeeded(&end), "saved: {saved}: {end:?}");
        assert_eq!(image(&shop), None);
    }
    // What somebody has changed of it beside that is told alone.
    let shop = seeded(317, &json!({"suspend": true}));
    shop.write("v3", &[config("v3")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let planned = shop.plan("v3").await.expect("can be planned");
    let_run(&shop);
    let more = json!({"spec": {"backoffLimit": 1}});
    shop.setup.shared.world().edit_as("kubectl-edit", &seed(), more).expect("is there");
    let adopted = shop.setup.environment().adopt_plan(planned.plan).await;
    let Err(EnvironmentError::OutOfDate(stale)) = adopted else { panic!("{adopted:?}") };
    assert_eq!(stale, ["  Job shop/seed was changed since: spec.backoffLimit 6 -> 1 (by kubectl-edit)"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_lets_run_after_a_plan_was_made_makes_it_no_older() {
    let shop = seeded(316, &json!({"suspend": true}));
    assert!(succeeded(&shop.deploy("v1").await));
    let planned = shop.plan("v2").await.expect("can be planned");
    let_run(&shop);
    let adopted = shop.setup.environment().adopt_plan(planned.plan).await.expect("fits still");
    assert!(succeeded(&shop.run(adopted).await));
    assert!(image(&shop).is_some());
}

/// The same where another was to take its place, and the step failed before that came to its turn.
#[tokio::test(start_paused = true)]
async fn a_job_that_has_gone_by_itself_does_not_run_again_because_another_was_to_take_its_place() {
    let mut shop = Shop::new(OF_MANIFESTS, 321);
    let fields = json!({"ttlSecondsAfterFinished": 60});
    let policy = |of: &str| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "n"}, "spec": {"podSelector": {"matchLabels": {"of": of}}}})
    };
    let mut other = job(&fields);
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/seed:2".into();
    shop.write("v1", &[policy("v1"), job(&fields), config("v1")]);
    shop.write("v3", &[policy("v3"), other, config("v3")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let options = PlanOptions { replace: ["Job/seed".to_owned()].into(), ..PlanOptions::default() };
    let planned = shop.plan_with("v3", options, Depth::DryRun).await.expect("can be planned");
    shop.setup.shared.world().delete(&seed(), &Precondition::Any).expect("was there");
    let n = ObjectKey::new(ObjectKind::new("networking.k8s.io/v1", "NetworkPolicy"), Some("shop"), "n");
    let of = json!({"spec": {"podSelector": {"matchLabels": {"of": "me"}}}});
    shop.setup.shared.world().edit_as("kubectl-edit", &n, of).expect("is there");
    let lost = Some(("c", AtomicU32::new(1)));
    let hindered = Arc::new(Hindered { lost, ..Hindered::of(&shop.setup) });
    shop.setup.cluster = Some(Arc::clone(&hindered) as _);
    let end = shop.run(planned).await;
    assert!(matches!(&end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert!(hindered.has_lost_all());
    assert_eq!(image(&shop), None, "it has had its end");
}

/// Whoever goes on has another clock than whoever began.
#[tokio::test(start_paused = true)]
async fn a_job_that_may_have_run_is_not_run_again_by_whose_clock_is_behind() {
    let mut shop = Shop::new(OF_MANIFESTS, 322);
    let fields = json!({"ttlSecondsAfterFinished": 60});
    shop.write("v1", &[config("v1"), deployment("late", &[])]);
    shop.write("v2", &[job(&fields), config("v2"), deployment("late", &["c"])]);
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.shared.world().faults.push(fault("never-ready late"));
    let died = within(&*shop.setup.runtime, Duration::from_secs(75), shop.deploy("v2")).await;
    assert!(died.is_none());
    assert_eq!(image(&shop), None, "it has run, and has gone");
    shop.setup.runtime = Arc::new(Apart { runtime: Arc::clone(&shop.setup.runtime), by_s: -40 });
    let environment = shop.setup.environment();
    let end = environment.take_over(None, Wish::Resume, &shop.setup.options("second")).await;
    let end = end.expect("goes on").expect("was unfinished");
    assert!(format!("{end:?}").contains("vanished"), "{end:?}");
    assert_eq!(image(&shop), None);
}

/// Whoever saw in time that it was never made knows it also after that time.
#[tokio::test(start_paused = true)]
async fn a_job_that_was_seen_to_be_missing_in_time_has_not_vanished_later() {
    let mut shop = Shop::new(OF_MANIFESTS, 323);
    let fields = json!({"ttlSecondsAfterFinished": 60});
    shop.write("v1", &[config("v1")]);
    shop.write("v2", &[job(&fields), config("v2")]);
    assert!(succeeded(&shop.deploy("v1").await));
    let conflicts = Some(("seed", Arc::new(AtomicU32::new(0))));
    shop.setup.cluster = Some(Arc::new(Hindered { conflicts, ..Hindered::of(&shop.setup) }));
    let planned = shop.plan_with("v2", PlanOptions::default(), Depth::Read).await.expect("can be planned");
    let died = within(&*shop.setup.runtime, Duration::from_secs(5), shop.run(planned)).await;
    assert!(died.is_none());
    let environment = shop.setup.environment();
    let end = environment.take_over(None, Wish::Resume, &shop.setup.options("second")).await;
    let end = end.expect("goes on").expect("was unfinished");
    let RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. } = &end else { panic!("{end:?}") };
    assert!(!format!("{end:?}").contains("vanished"), "{end:?}");
}
