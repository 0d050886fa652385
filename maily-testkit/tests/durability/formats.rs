//! What every released format looks like on the disk, and that it is still read.
//!
//! The files of a format never change. When a format is given its next number, `renew` writes the folder of the new
//! one: `cargo test -p maily-testkit --test durability -- --ignored renew`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use maily_core::{
    engine::{
        Environment, Epoch, Event, Goal, Head, Operation, Outcome, PLAN_FORMAT, Plan, PlanFileError,
        ReleaseId, RunEnd, RunId, RunOptions, What, Wish, Work, digest, history,
        journal::{self, JOURNAL_FORMAT, JournalEvent, Segment, Writer, pack, segment_key, unpack},
    },
    object::ObjectKind,
    provider::RecordStore,
    records::FolderRecords,
    release,
    runtime::Runtime,
};
use maily_testkit::{
    sim::{Mode, Sandbox, SimRuntime, environment},
    world::Fault,
};

use crate::{
    entries,
    place::{Place, deploy, plan, resolved},
};

/// Runs of the folder `journals`.
const EVERY_ENTRY: &str = "20260101-000000-000001";
const IN_PARTS: &str = "20260101-000000-000002";
/// So many bytes has a part there: the fewest that the writer ever makes are too many for a fixture.
const PART: usize = 2_048;

fn formats() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../maily-core/tests/fixtures/formats")
}

fn one() -> PathBuf {
    formats().join("1")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Stops a run as soon as a step has begun.
fn interrupted() -> RunOptions {
    let mut options = RunOptions::new("tester");
    let cancel = options.cancel.clone();
    options.listener = Arc::new(move |event: &Event| {
        if matches!(event.what, What::StepStarted { .. }) {
            cancel.cancel();
        }
    });
    options
}

fn outcome(end: &RunEnd) -> &Outcome {
    let RunEnd::Over { outcome, .. } = end else { panic!("{end:?}") };
    outcome
}

/// A release, a deploy that went back, and one that was interrupted and asked to go back.
async fn three_runs(environment: &Environment, break_it: impl FnOnce()) {
    let options = RunOptions::new("tester");
    let end = deploy(environment, "v1", &options).await.expect("runs");
    assert!(matches!(outcome(&end), Outcome::Succeeded { .. }), "{end:?}");
    break_it();
    let end = deploy(environment, "v2", &options).await.expect("runs");
    assert!(matches!(outcome(&end), Outcome::RolledBack { .. }), "{end:?}");
    let end = deploy(environment, "v3", &interrupted()).await.expect("runs");
    let RunEnd::Paused { run, .. } = end else { panic!("{end:?}") };
    let wish = pack(&"tester (no more)");
    environment.records.create(&format!("request/{run}/abort"), &wish).await.expect("is stored");
}

async fn write_records(root: &Path) {
    let place = Place::new(1, &root.join("environment"));
    let environment = place.environment();
    let shared = Arc::clone(&place.shared);
    three_runs(&environment, || shared.world().faults.push("crash web@v2".parse().expect("is a fault")))
        .await;
}

async fn write_plan(root: &Path) -> Plan {
    let folder = tempfile::tempdir().expect("can be made");
    let place = Place::new(2, folder.path());
    let environment = place.environment();
    deploy(&environment, "v1", &RunOptions::new("tester")).await.expect("runs");
    let plan = plan(&environment, "v2").await.plan;
    fs::write(root.join("plan.json"), plan.to_text()).expect("can be written");
    plan
}

async fn write_sandbox(root: &Path) {
    let path = root.join("sandbox.json");
    let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(3));
    let sandbox = Sandbox::open(&path, Mode::Write, Arc::clone(&runtime), &["shop"]).expect("is opened");
    let environment = environment(&sandbox.shared, &resolved(), runtime);
    deploy(&environment, "v1", &RunOptions::new("tester")).await.expect("runs");
    let end = deploy(&environment, "v2", &interrupted()).await.expect("runs");
    assert!(matches!(end, RunEnd::Paused { .. }), "{end:?}");
    sandbox.shared.world().faults.push("slow web@v9".parse().expect("is a fault"));
    sandbox.shared.save().expect("can be written");
    drop(sandbox);
    fs::remove_file(path.with_extension("lock")).expect("is there");
}

async fn write_journals(root: &Path, plan: &Plan) {
    let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(4));
    let store: Arc<dyn RecordStore> = Arc::new(FolderRecords::new(root.join("journals")));
    let until = runtime.now();
    let run = RunId::from(EVERY_ENTRY);
    let mut writer = Writer::new(Arc::clone(&store), Arc::clone(&runtime), run, Epoch(7), 0);
    let mut segments = entries::segments(&plan.digest).into_iter();
    writer.begin(plan, &segments.next().expect("has a first"), until).await.expect("is written");
    for events in segments {
        writer.append(&events, until).await.expect("is written");
    }
    // As the writer does it with a large plan.
    let run = RunId::from(IN_PARTS);
    let packed = pack(plan);
    let parts: Vec<&[u8]> = packed.chunks(PART).collect();
    let first = Segment {
        format: JOURNAL_FORMAT,
        epoch: Epoch(9),
        nonce: runtime.random(),
        events: vec![JournalEvent::RunStarted {
            plan: plan.digest.clone(),
            by: "tester".into(),
            reason: None,
        }]
        .into(),
        plan: None,
        plan_parts: Some(u32::try_from(parts.len()).expect("is small")),
    };
    store.create(&segment_key(&run, 0), &pack(&first)).await.expect("is stored");
    for (number, part) in parts.iter().enumerate() {
        let key = format!("blob/{run}/{}/{number:04}", plan.digest);
        store.create(&key, part).await.expect("is stored");
    }
}

#[tokio::test(start_paused = true)]
#[ignore = "writes the fixtures of a new format"]
async fn renew() {
    let root = formats().join(JOURNAL_FORMAT.to_string());
    assert!(!root.exists(), "{}: what was released stays as it is", root.display());
    fs::create_dir_all(&root).expect("can be made");
    write_records(&root).await;
    let plan = write_plan(&root).await;
    write_sandbox(&root).await;
    write_journals(&root, &plan).await;
}

/// Whoever raises a number has to keep what the old one looks like, and to write down the new one.
#[test]
fn every_format_has_its_fixtures() {
    for format in [JOURNAL_FORMAT, PLAN_FORMAT] {
        for number in 1..=format {
            assert!(formats().join(number.to_string()).is_dir(), "format {number} has no fixtures");
        }
    }
}

#[test]
fn a_plan_file_of_format_1_is_read() {
    let plan = Plan::parse(&text(&one().join("plan.json"))).expect("is a plan, and was not edited");
    assert_eq!((plan.format, plan.project.as_str(), plan.namespace.as_str()), (1, "shop", "shop"));
    assert_eq!(plan.goal, Goal::Deploy { version: "v2".into(), only: None });
    assert_eq!((plan.base, plan.versions["web"].as_str()), (Some(ReleaseId(1)), "v2"));
    let step = plan.steps.iter().find(|step| step.id.as_str() == "production/web/rollout").expect("is there");
    assert!(step.needs.iter().any(|need| need.as_str() == "production/api/rollout"), "{:?}", step.needs);
    let Work::Rollout { changes } = &step.work else { panic!("{step:?}") };
    let change = changes.iter().find(|change| change.key.name == "web").expect("is there");
    assert_eq!(
        (change.key.kind.clone(), change.operation),
        (ObjectKind::new("apps/v1", "Deployment"), Operation::Update)
    );
    let image = "/spec/template/spec/containers/0/image";
    let before = change.before.as_ref().expect("it was there");
    assert!(
        before.object.text(image).expect("has one").ends_with("/web:v1") && !before.fingerprint.is_empty()
    );
    let desired = change.desired.as_ref().expect("it stays");
    assert!(desired.text(image).expect("has one").ends_with("/web:v2"));
    assert!(plan.unchanged.iter().any(|kept| kept.desired.kind() == "Service"), "Services stay");
}

#[tokio::test]
async fn every_entry_of_a_journal_of_format_1_is_read() {
    let store = FolderRecords::new(one().join("journals"));
    let plan = Plan::parse(&text(&one().join("plan.json"))).expect("is a plan");
    let read =
        journal::read(&store, &RunId::from(EVERY_ENTRY)).await.expect("can be read").expect("is there");
    let wanted = entries::segments(&plan.digest);
    assert_eq!(read.next, u64::try_from(wanted.len()).expect("is small"));
    let wanted: Vec<(Epoch, JournalEvent)> =
        wanted.into_iter().flatten().map(|event| (Epoch(7), event)).collect();
    assert_eq!(read.events, wanted);
    assert_eq!(read.plan.as_ref(), Some(&plan));
    // All entries that the documentation knows.
    let page = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/records.md"));
    let (_, table) = page.split_once("## Entries of a journal").expect("describes them");
    let table = table.split("\n## ").next().expect("has a section");
    let described: BTreeSet<String> = table
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .filter(|name| name != "event")
        .collect();
    let tag = |event: &JournalEvent| {
        serde_json::to_value(event).expect("is JSON")["event"].as_str().map(str::to_owned)
    };
    let known: BTreeSet<String> = wanted.iter().filter_map(|(_, event)| tag(event)).collect();
    assert_eq!(known, described);
}

#[tokio::test]
async fn a_plan_in_parts_of_format_1_is_read() {
    let store = FolderRecords::new(one().join("journals"));
    let run = RunId::from(IN_PARTS);
    let parts = store.list(&format!("blob/{run}/")).await.expect("can be listed");
    assert!(parts.len() > 1, "{parts:?}");
    let plan = Plan::parse(&text(&one().join("plan.json"))).expect("is a plan");
    let read = journal::read(&store, &run).await.expect("can be read").expect("is there");
    assert_eq!(read.plan.as_ref(), Some(&plan));
    assert_eq!(journal::read_plan(&store, &run).await.expect("can be read"), Some(plan));
}

/// Within a format fields are only added: an older program reads the records of the next one, and applies no plan of which it
/// does not know all.
#[tokio::test]
async fn a_field_that_a_later_version_adds_is_no_damage() {
    let text = text(&one().join("plan.json"));
    let plan = Plan::parse(&text).expect("is a plan");
    let mut later: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
    later["steps"][0]["after"] = "tomorrow".into();
    later["weather"] = serde_json::json!({"sun": true});
    let error = Plan::parse(&later.to_string()).expect_err("is refused");
    assert!(matches!(error, PlanFileError::Edited), "{error}");
    later["digest"] = "".into();
    later["digest"] = digest(&later).into();
    let error = Plan::parse(&later.to_string()).expect_err("is refused");
    assert!(matches!(error, PlanFileError::Newer), "{error}");
    later["digest"] = plan.digest.clone().into();
    let folder = tempfile::tempdir().expect("can be made");
    let (store, run) = (FolderRecords::new(folder.path().to_owned()), RunId::from(EVERY_ENTRY));
    let key = segment_key(&run, 0);
    let released = FolderRecords::new(one().join("journals"));
    let bytes = released.get(&key).await.expect("can be read").expect("is there");
    let mut segment = unpack::<serde_json::Value>(&key, &bytes).expect("is JSON");
    segment["plan"] = later;
    segment["weather"] = "fine".into();
    store.create(&key, &pack(&segment)).await.expect("is stored");
    let read = journal::read(&store, &run).await.expect("can be read").expect("is there");
    assert_eq!(read.plan, Some(plan));
}

#[tokio::test]
async fn claims_releases_and_requests_of_format_1_are_read() {
    let store = FolderRecords::new(one().join("environment"));
    let Head { epoch, releases, release, unfinished, pending, .. } =
        history::head(&store).await.expect("can be read");
    assert_eq!((epoch, releases, pending.len()), (Some(Epoch(3)), vec![ReleaseId(1)], 0));
    let (_, release) = release.expect("one is in force");
    assert_eq!(
        (release.id, release.title.as_str(), release.versions["api"].as_str()),
        (ReleaseId(1), "deploy v1", "v1")
    );
    let unfinished = unfinished.expect("one is unfinished");
    assert_eq!((unfinished.claim.format, unfinished.claim.by.as_str()), (1, "tester"));
    assert_eq!(unfinished.claim.run, unfinished.recorded.run);
    let events: Vec<&JournalEvent> = unfinished.recorded.events.iter().map(|(_, event)| event).collect();
    assert!(matches!(events.first(), Some(JournalEvent::RunStarted { .. })), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, JournalEvent::StepStarted { .. })), "{events:?}");
    assert!(matches!(events.last(), Some(JournalEvent::Paused { .. })), "{events:?}");
    let key = format!("request/{}/abort", unfinished.recorded.run);
    let wish = store.get(&key).await.expect("can be read").expect("is there");
    assert_eq!(unpack::<String>(&key, &wish).expect("is text"), "tester (no more)");

    let objects =
        history::release(&store, ReleaseId(1)).await.expect("can be read").expect("is there").objects;
    let deployment = objects.iter().find(|(key, _)| key.kind.kind == "Deployment" && key.name == "web");
    let (_, deployment) = deployment.expect("is there");
    assert_eq!(deployment.service.as_deref(), Some("web"));
    assert!(deployment.fingerprint.is_some());

    let runs = release::runs(&store, 10).await.expect("can be read");
    let titles: Vec<&str> = runs.iter().map(|run| run.title.as_str()).collect();
    assert_eq!(titles, ["deploy v3", "deploy v2", "deploy v1"]);
    let Some(Outcome::RolledBack { step, why, .. }) = &runs[1].outcome else { panic!("{:?}", runs[1]) };
    assert_eq!(step.as_ref().map(|step| step.as_str()), Some("production/web/rollout"));
    assert_eq!(why.cause, "crash-loop");
    assert_eq!(runs[2].outcome, Some(Outcome::Succeeded { release: ReleaseId(1), not_serving: Vec::new() }));
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_of_format_1_is_opened_and_its_run_goes_on() {
    let folder = tempfile::tempdir().expect("can be made");
    let path = folder.path().join("sandbox.json");
    fs::copy(one().join("sandbox.json"), &path).expect("can be copied");
    let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(5));
    let sandbox = Sandbox::open(&path, Mode::Write, Arc::clone(&runtime), &["shop"]).expect("is opened");
    assert_eq!(sandbox.shared.world().faults, ["slow web@v9".parse::<Fault>().expect("is a fault")]);
    let environment = environment(&sandbox.shared, &resolved(), runtime);
    let head = environment.head().await.expect("can be read");
    assert!(head.unfinished.is_some() && head.releases == [ReleaseId(1)]);
    let options = RunOptions::new("tester");
    let end = environment.take_over(None, Wish::Resume, &options).await.expect("runs").expect("there is one");
    assert_eq!(outcome(&end), &Outcome::Succeeded { release: ReleaseId(2), not_serving: Vec::new() });
    let again = environment.head().await.expect("can be read");
    assert_eq!(again.release.expect("is in force").1.versions["web"], "v2");
}
