//! The adapter against servers on loopback: the contract over a key/value engine, and answers that are none.

mod engine;

use std::{sync::Arc, time::Duration};

use engine::Engine;
use maily_core::provider::{Cas, Effect, ErrorKind, ProviderError, SecretData, Secrets as _};
use maily_testkit::{
    contract::secrets,
    harness::{Loopback, Reply},
};
use maily_vault::{ConnectOptions, VaultSecrets, connect};

fn options(server: &Loopback) -> ConnectOptions {
    ConnectOptions { deadline: Duration::from_secs(5), ..ConnectOptions::new(server.url(), engine::TOKEN) }
}

fn client(server: &Loopback) -> VaultSecrets {
    connect(&options(server)).expect("the options are good")
}

async fn place() -> (Loopback, secrets::Place) {
    let engine = Engine::default();
    let server = Loopback::serve(move |request| engine.answer(&request)).await.expect("a port is free");
    let place = secrets::Place { secrets: Arc::new(client(&server)), folder: "prod/suite".into() };
    (server, place)
}

macro_rules! sentences {
    ($($sentence:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $sentence() {
            let (_server, place) = place().await;
            secrets::$sentence(&place).await;
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

#[tokio::test]
async fn a_strict_secret_needs_check_and_set() {
    let (_server, place) = place().await;
    secrets::a_strict_secret_needs_check_and_set(&place, engine::STRICT).await;
}

#[tokio::test]
async fn a_path_means_one_secret() {
    let (_server, place) = place().await;
    let data = SecretData::default().with("a", "b");
    let odd = ["prod/a b", "prod/a?version=1", "prod/a#b", "prod/100%25", "prod/ключ"];
    for path in odd {
        place.secrets.write(path, &data, Cas::Absent).await.unwrap();
    }
    let mut expected: Vec<_> = odd.iter().map(|path| path.trim_start_matches("prod/").to_owned()).collect();
    expected.sort();
    assert_eq!(place.secrets.list("/prod/").await.unwrap(), expected);
    for path in ["", "/prod", "prod/", "prod//db", "prod/../root", "prod/./db", "prod/d\nb"] {
        let error = place.secrets.write(path, &data, Cas::Any).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None), "{path:?}");
    }
}

#[tokio::test]
async fn a_value_that_is_no_text_is_named_and_not_shown() {
    let body = r#"{"request_id": "1", "lease_id": "", "renewable": false, "lease_duration": 0, "data": {
        "data": {"port": 5432}, "metadata": {"created_time": "2026-01-01T00:00:00Z", "deletion_time": "",
        "destroyed": false, "version": 1, "custom_metadata": null}}}"#;
    let server = Loopback::serve(move |_| Reply::new(200, body)).await.unwrap();
    let error = client(&server).read("prod/db", None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("`port`") && !format!("{error:?}").contains("5432"), "{error:?}");
}

async fn write_to(reply: Reply) -> ProviderError {
    let server = Loopback::serve(move |_| reply.clone()).await.expect("a port is free");
    let mut options = options(&server);
    options.deadline = Duration::from_millis(500);
    let secrets = connect(&options).expect("the options are good");
    let data = SecretData::default().with("password", "planted-value");
    secrets.write("prod/db", &data, Cas::Absent).await.expect_err("fails")
}

#[tokio::test]
async fn without_an_answer_the_effect_is_open() {
    let error = write_to(Reply::Close).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
    let error = write_to(Reply::Silence).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::DeadlineExceeded, Effect::Unknown));
    let error = write_to(Reply::new(502, "<html>bad gateway</html>")).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
    let error = write_to(Reply::new(200, "planted-value")).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Internal, Effect::Unknown));
    assert!(!format!("{error:?}").contains("planted-value"), "{error:?}");
}

#[tokio::test]
async fn where_nothing_listens_nothing_was_changed() {
    let options = ConnectOptions::new("http://127.0.0.1:9", "token");
    let error = connect(&options).unwrap().remove("prod/db").await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
}

/// The token would go to whatever host the answer names.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Loopback::serve(|request| panic!("was sent {request:?}")).await.unwrap();
    let reply = Reply::new(307, "").header("location", &format!("{}/v1/secret/data/prod/db", other.url()));
    let error = write_to(reply).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    assert!(error.hint().is_some_and(|hint| hint.contains("standby")), "{error:?}");
}

#[tokio::test]
async fn a_wrong_mount_and_a_wrong_token_say_what_to_do() {
    let engine = Engine::default();
    let server = Loopback::serve(move |request| engine.answer(&request)).await.unwrap();
    let elsewhere = ConnectOptions { mount: "nowhere".into(), ..options(&server) };
    let error = connect(&elsewhere).unwrap().read("prod/db", None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint().is_some_and(|hint| hint.contains("mount")), "{error:?}");
    let stranger = ConnectOptions { token: "planted-token".into(), ..options(&server) };
    let error = connect(&stranger).unwrap().read("prod/db", None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!format!("{error} {error:?}").contains("planted-token"), "{error:?}");
}

/// A proxy of the environment would be told the token.
#[tokio::test]
async fn no_proxy_of_the_environment_is_asked() {
    let proxy = Loopback::serve(|request| panic!("was sent {request:?}")).await.expect("a port is free");
    // The environment of a process cannot be changed safely: another process connects.
    let mut other = std::process::Command::new(std::env::current_exe().expect("has a path"));
    other.args(["--exact", "where_nothing_listens_nothing_was_changed"]);
    for variable in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        other.env(variable, proxy.url());
    }
    for variable in ["no_proxy", "NO_PROXY", "REQUEST_METHOD"] {
        other.env_remove(variable);
    }
    let done = tokio::task::spawn_blocking(move || other.output()).await.expect("ends").expect("starts");
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && told.contains("1 passed"), "{told}");
}
