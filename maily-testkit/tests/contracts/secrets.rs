//! Secrets of the simulated world.

use std::sync::Arc;

use maily_core::provider::{Cas, SecretData, Secrets as _};
use maily_testkit::{
    contract::secrets,
    sim::{Mode, Sandbox, SimSecrets},
};

use crate::world;

fn place() -> secrets::Place {
    secrets::Place { secrets: Arc::new(SimSecrets::new(world().0)), folder: "prod/suite".into() }
}

macro_rules! sentences {
    ($($sentence:ident),+ $(,)?) => {
        $(#[tokio::test(start_paused = true)]
        async fn $sentence() {
            secrets::$sentence(&place()).await;
        })+
    };
}

sentences!(
    versions_count_from_one,
    a_write_onto_another_version_conflicts,
    one_of_many_writes_wins,
    the_same_write_twice_makes_two_versions,
    a_deleted_version_can_be_brought_back,
    a_destroyed_version_stays_so,
    what_was_never_written_is_none,
    absent_versions_change_nothing,
    lists_show_one_level,
    notes_make_no_version,
    a_removed_secret_begins_anew,
    values_are_never_shown,
);

#[tokio::test(start_paused = true)]
async fn a_strict_secret_needs_check_and_set() {
    let (shared, _) = world();
    shared.world().configure_secret("prod/strict", 0, true);
    let place = secrets::Place { secrets: Arc::new(SimSecrets::new(shared)), folder: "prod/suite".into() };
    secrets::a_strict_secret_needs_check_and_set(&place, "prod/strict").await;
}

#[tokio::test(start_paused = true)]
async fn the_oldest_versions_go() {
    let (shared, _) = world();
    shared.world().configure_secret("prod/db", 2, false);
    let secrets = SimSecrets::new(shared);
    for value in ["a", "b", "c"] {
        let data = SecretData::default().with("password", value);
        secrets.write("prod/db", &data, Cas::Any).await.unwrap();
    }
    assert!(secrets.read("prod/db", Some(1)).await.unwrap().is_none());
    let kept = secrets.metadata("prod/db").await.unwrap().unwrap().versions;
    assert_eq!(kept.iter().map(|version| version.version).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn neither_the_world_nor_its_log_shows_a_value() {
    let (shared, _) = world();
    let secrets = SimSecrets::new(Arc::clone(&shared)).named("rotation");
    let data = SecretData::default().with("password", "planted-7f3a");
    secrets.write("prod/db", &data, Cas::Absent).await.unwrap();
    let world = shared.world();
    assert!(!format!("{:?}", *world).contains("planted-7f3a"));
    let log = serde_json::to_string(&world.log).unwrap();
    assert!(log.contains("prod/db") && log.contains("rotation") && !log.contains("planted-7f3a"), "{log}");
}

/// What a world kept before it knew clouds, secrets and metrics.
#[tokio::test(start_paused = true)]
async fn an_older_sandbox_file_is_read() {
    let (shared, runtime) = world();
    let mut world = serde_json::to_value(&*shared.world()).unwrap();
    let fields = world.as_object_mut().unwrap();
    for field in ["log", "account", "database_service", "secrets", "telemetry"] {
        assert!(fields.remove(field).is_some(), "{field}");
    }
    fields.insert(
        "frontends".into(),
        serde_json::json!({"web@production": {"deployments": [], "production": "dpl-web-1"}}),
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandbox.json");
    std::fs::write(&file, serde_json::json!({"format": 1, "world": world}).to_string()).unwrap();
    let sandbox = Sandbox::open(&file, Mode::Write, runtime, &["shop"]).unwrap();
    let secrets = SimSecrets::new(Arc::clone(&sandbox.shared));
    secrets.write("a", &SecretData::default().with("b", "c"), Cas::Absent).await.unwrap();
    sandbox.shared.save().unwrap();
    drop((secrets, sandbox));
    let again = Sandbox::open(&file, Mode::Read, Arc::new(maily_testkit::sim::SimRuntime::new(2)), &["shop"])
        .unwrap();
    assert!(SimSecrets::new(Arc::clone(&again.shared)).read("a", None).await.unwrap().is_some());
    assert_eq!(again.shared.world().log.len(), 2);
}
