//! A folder of records whose disk is full, that may not be written, or in which something is damaged.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use maily_core::{
    engine::{
        Epoch, Plan, RunId, StepId,
        journal::{self, JournalError, JournalEvent, Writer, segment_key},
    },
    provider::{Created, ErrorKind, RecordStore as _},
    records::FolderRecords,
    runtime::{Runtime, TokioRuntime},
};
use serde_json::json;

use crate::process;

fn run() -> RunId {
    RunId::from("20260101-000000-abcdef")
}

fn writer(folder: &Path, next: u64) -> Writer {
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
    Writer::new(Arc::new(FolderRecords::new(folder)), runtime, run(), Epoch(1), next)
}

async fn append(writer: &mut Writer, why: &str) -> Result<(), JournalError> {
    writer
        .append(
            &[JournalEvent::Paused { why: why.to_owned(), items: Vec::new(), at: None }],
            TokioRuntime.now(),
        )
        .await
}

async fn read(folder: &Path) -> Result<Vec<JournalEvent>, JournalError> {
    let read = journal::read(&FolderRecords::new(folder), &run()).await?;
    Ok(read.into_iter().flat_map(|read| read.events).map(|(_, event)| event).collect())
}

/// What was appended, in order.
async fn told(folder: &Path) -> Vec<String> {
    let events = read(folder).await.expect("can be read");
    let why = |event| match event {
        JournalEvent::Paused { why, .. } => why,
        other => panic!("nobody wrote {other:?}"),
    };
    events.into_iter().map(why).collect()
}

/// Text that does not get smaller than half of its length.
fn noise(length: usize) -> String {
    let mut state = 7_u64;
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{state:016x}"));
    }
    text
}

fn path(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.record"))
}

/// The record that an error is about, and what is said of it.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, JournalError>) -> (String, String) {
    let error = result.expect_err("is refused");
    let text = error.to_string();
    let (JournalError::Damaged { key, .. } | JournalError::Newer { key, .. }) = error else {
        panic!("{error:?}")
    };
    assert!(text.contains(&format!("record `{key}`")), "{text}");
    (key, text)
}

fn left_over(folder: &Path) -> usize {
    let entries = fs::read_dir(folder.join(format!("run/{}", run()))).expect("is there");
    entries
        .filter(|entry| !entry.as_ref().expect("can be read").path().to_string_lossy().ends_with(".record"))
        .count()
}

#[tokio::test]
async fn a_full_disk_refuses_a_record_and_loses_none() {
    let folder = tempfile::tempdir().expect("can be made");
    process::without_room("folder::where_no_file_may_grow", folder.path());
    assert_eq!(told(folder.path()).await, ["first", "second"]);
    assert_eq!(left_over(folder.path()), 0);
}

#[tokio::test]
#[ignore = "is run by `a_full_disk_refuses_a_record_and_loses_none`"]
async fn where_no_file_may_grow() {
    let folder = process::folder();
    let mut writer = writer(&folder, 0);
    append(&mut writer, "first").await.expect("fits");
    let error = append(&mut writer, &noise(64 * 1024)).await.expect_err("does not fit");
    let JournalError::Store(error) = error else { panic!("{error:?}") };
    assert_eq!(error.resource(), segment_key(&run(), 1));
    assert!(error.message().contains("too large"), "{error}");
    assert!(error.hint().expect("helps").contains("make room in"), "{error:?}");
    assert_eq!(told(&folder).await, ["first"], "nothing of it is there");
    append(&mut writer, "second").await.expect("fits, in the place that is still free");
}

/// A folder in which nobody may write, not even its owner; the modes come back in the end.
struct Locked(Vec<PathBuf>);

impl Locked {
    fn new(folder: &Path) -> Self {
        let run = folder.join(format!("run/{}", run()));
        let locked = Self(vec![folder.to_owned(), folder.join("run"), run]);
        locked.set(0o555);
        locked
    }

    fn set(&self, mode: u32) {
        for folder in &self.0 {
            fs::set_permissions(folder, Permissions::from_mode(mode)).expect("is ours");
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.set(0o755);
    }
}

#[tokio::test]
async fn a_read_only_folder_is_read_and_refuses_records() {
    let above = tempfile::tempdir().expect("can be made");
    fs::set_permissions(above.path(), Permissions::from_mode(0o755)).expect("is ours");
    let folder = above.path().join("records");
    let mut writer = writer(&folder, 0);
    for why in ["first", "second"] {
        append(&mut writer, why).await.expect("can be written");
    }
    let locked = Locked::new(&folder);
    process::unprivileged("folder::where_nobody_may_write", &folder);
    drop(locked);
    append(&mut writer, "third").await.expect("can be written again");
    assert_eq!(told(&folder).await, ["first", "second", "third"]);
}

#[tokio::test]
#[ignore = "is run by `a_read_only_folder_is_read_and_refuses_records`"]
async fn where_nobody_may_write() {
    let folder = process::folder();
    assert_eq!(told(&folder).await, ["first", "second"]);
    let error = append(&mut writer(&folder, 2), "third").await.expect_err("is refused");
    let JournalError::Store(error) = error else { panic!("{error:?}") };
    assert_eq!((error.kind(), error.resource()), (ErrorKind::PermissionDenied, &*segment_key(&run(), 2)));
    assert!(error.hint().expect("helps").contains("let this user"), "{error:?}");
    assert_eq!(told(&folder).await, ["first", "second"]);
}

#[tokio::test]
async fn what_a_killed_process_left_behind_is_not_written_over() {
    let folder = tempfile::tempdir().expect("can be made");
    append(&mut writer(folder.path(), 0), "first").await.expect("can be written");
    // Killed after the link: its temporary name is a second name of the record. Process ids come again.
    let record = path(folder.path(), &segment_key(&run(), 0));
    for number in 0..3 {
        let name = format!(".new-{}-{number}", std::process::id());
        fs::hard_link(&record, record.with_file_name(name)).expect("can be made");
    }
    for (number, why) in [(1, "second"), (2, "third")] {
        append(&mut writer(folder.path(), number), why).await.expect("can be written");
    }
    assert_eq!(told(folder.path()).await, ["first", "second", "third"]);
}

#[tokio::test]
async fn torn_missing_and_unknown_segments_are_named_and_the_others_kept() {
    let folder = tempfile::tempdir().expect("can be made");
    let folder = folder.path();
    let mut writer = writer(folder, 0);
    // The second one is compressed.
    let all = ["first".to_owned(), noise(64 * 1024), "third".to_owned()];
    for why in &all {
        append(&mut writer, why).await.expect("can be written");
    }
    for number in 0..3_u64 {
        let key = segment_key(&run(), number);
        let file = path(folder, &key);
        let whole = fs::read(&file).expect("is there");
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&file, &whole[..length]).expect("is ours");
            let (named, said) = refused(read(folder).await);
            assert!(named == key && said.contains("is damaged"), "{length} bytes of {key}: {said}");
            // Nothing is written over either.
            let there = FolderRecords::new(folder).create(&key, &whole).await.expect("answers");
            assert_eq!(there, Created::Exists);
        }
        if number < 2 {
            fs::remove_file(&file).expect("is ours");
            let (named, said) = refused(read(folder).await);
            assert!(named == key && said.contains("it is missing"), "{said}");
        }
        fs::write(&file, &whole).expect("is ours");
        assert_eq!(told(folder).await, all);
    }
    for (number, format, says) in [
        (0, "0", "there is no format 0"),
        (0, "2", "newer maily (format 2): update this one"),
        (2, "99", "newer maily (format 99)"),
        (2, "\"one\"", "is damaged"),
        (0, "-1", "is damaged"),
        (0, "null", "is damaged"),
    ] {
        let key = segment_key(&run(), number);
        let file = path(folder, &key);
        let whole = fs::read_to_string(&file).expect("small ones are text");
        assert!(whole.contains("\"format\":1,"), "{whole}");
        let other = whole.replacen("\"format\":1,", &format!("\"format\":{format},"), 1);
        fs::write(&file, other).expect("is ours");
        let (named, said) = refused(read(folder).await);
        assert!(named == key && said.contains(says), "{format}: {said}");
        fs::write(&file, whole).expect("is ours");
        assert_eq!(told(folder).await, all);
    }
}

/// A plan that takes two parts.
fn large() -> Plan {
    let plan = json!({"format": 1, "project": "shop", "environment": "production", "namespace": "shop",
        "cluster": {"uid": "u"}, "goal": {"do": "deploy", "version": "v1"}, "versions": {"web": "v1"}, "steps": [],
        "notes": [{"topic": "noise", "text": noise(2_200_000)}], "digest": ""});
    serde_json::from_value::<Plan>(plan).expect("is a plan").sealed()
}

async fn begin(folder: &Path, plan: &Plan, rest: Vec<JournalEvent>) {
    let started = JournalEvent::RunStarted { plan: plan.digest.clone(), by: "tester".into(), reason: None };
    let events = [vec![started], rest].concat();
    writer(folder, 0).begin(plan, &events, TokioRuntime.now()).await.expect("can be written");
}

#[tokio::test]
async fn a_part_of_a_plan_that_is_torn_or_missing_is_named_once_the_run_has_begun() {
    let plan = large();
    let folder = tempfile::tempdir().expect("can be made");
    let folder = folder.path();
    let step = StepId::new("production", "web", "rollout");
    let at = TokioRuntime.wall();
    begin(folder, &plan, vec![JournalEvent::StepStarted { step, at }]).await;
    let store = FolderRecords::new(folder);
    let whole = || async { journal::read(&store, &run()).await };
    let alone = || async { journal::read_plan(&store, &run()).await };
    let parts = store.list("blob/").await.expect("can be listed");
    assert_eq!(parts.len(), 2, "{parts:?}");
    for part in &parts {
        let file = path(folder, part);
        let bytes = fs::read(&file).expect("is there");
        fs::remove_file(&file).expect("is ours");
        for (named, said) in [refused(whole().await), refused(alone().await)] {
            assert!(named == *part && said.contains("it is missing"), "{said}");
        }
        fs::write(&file, &bytes[..bytes.len() / 2]).expect("is ours");
        // Which of its parts is torn the plan does not know.
        for (named, said) in [refused(whole().await), refused(alone().await)] {
            assert!(named == parts[0] && said.contains("is damaged"), "{said}");
        }
        fs::write(&file, &bytes).expect("is ours");
        assert_eq!(alone().await.expect("can be read").as_ref(), Some(&plan));
    }
    let first = path(folder, &segment_key(&run(), 0));
    let bytes = fs::read(&first).expect("is there");
    fs::remove_file(&first).expect("is ours");
    let (named, _) = refused(alone().await);
    assert_eq!(named, segment_key(&run(), 0));
    fs::write(&first, bytes).expect("is ours");
    assert_eq!(whole().await.expect("can be read").expect("is there").plan, Some(plan));
}

#[tokio::test]
async fn a_run_does_not_begin_where_something_else_is_in_the_place_of_its_plan() {
    let plan = large();
    let folder = tempfile::tempdir().expect("can be made");
    let store = FolderRecords::new(folder.path());
    let key = format!("blob/{}/{}/0001", run(), plan.digest);
    store.create(&key, b"something else").await.expect("is free");
    let started = JournalEvent::RunStarted { plan: plan.digest.clone(), by: "tester".into(), reason: None };
    let mut writer = writer(folder.path(), 0);
    let begun = writer.begin(&plan, &[started], TokioRuntime.now()).await;
    let (named, said) = match begun {
        Err(error @ JournalError::Damaged { .. }) => (key.clone(), error.to_string()),
        begun => panic!("{begun:?}"),
    };
    assert!(said.contains(&named) && said.contains("something else"), "{said}");
}

#[tokio::test]
async fn a_plan_that_was_never_stored_whole_is_no_damage() {
    let plan = large();
    let folder = tempfile::tempdir().expect("can be made");
    begin(folder.path(), &plan, Vec::new()).await;
    let store = FolderRecords::new(folder.path());
    let parts = store.list("blob/").await.expect("can be listed");
    store.delete(parts.last().expect("there are some")).await.expect("is deleted");
    let read = journal::read(&store, &run()).await.expect("can be read").expect("is there");
    assert_eq!((read.plan, read.events.len()), (None, 1), "the process was killed before");
}
