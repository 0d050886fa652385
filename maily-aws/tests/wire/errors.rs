//! Answers that are none, and refusals.

use std::time::Duration;

use maily_aws::{AccessKey, Aws, ConnectOptions};
use maily_core::provider::{
    Databases as _, Effect, ErrorKind, Identities as _, ObjectStorage as _, ProviderError, PutIf,
};
use maily_testkit::harness::{Loopback, Reply};

use crate::{SECRET, connect};

async fn write_to(reply: Reply) -> ProviderError {
    let server = Loopback::serve(move |_| reply.clone()).await.expect("a port is free");
    let storage = connect(&server.url()).await.storage();
    storage.put("records", "a", b"body-7f3a", &PutIf::Absent).await.expect_err("fails")
}

fn refusal(status: u16, code: &str) -> Reply {
    Reply::new(status, format!("<Error><Code>{code}</Code><Message>said so</Message></Error>"))
}

#[tokio::test]
async fn a_connection_that_closes_leaves_the_effect_open() {
    let error = write_to(Reply::Close).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_leaves_the_effect_open() {
    let server = Loopback::serve(|_| Reply::Silence).await.unwrap();
    let options = ConnectOptions {
        region: Some("eu-west-1".into()),
        access_key: Some(AccessKey { id: "A".into(), secret: SECRET.into(), session: None }),
        endpoint_url: Some(server.url()),
        deadline: Duration::from_millis(300),
        profile: None,
    };
    let storage = Aws::connect(&options).await.unwrap().storage();
    let error = storage.put("records", "a", b"-", &PutIf::Any).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::DeadlineExceeded, Effect::Unknown));
}

#[tokio::test]
async fn a_server_error_leaves_the_effect_open() {
    let error = write_to(refusal(500, "InternalError")).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
    let error = write_to(Reply::new(502, "<html>bad gateway</html>")).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
}

#[tokio::test]
async fn refusals_say_what_was_refused_and_what_to_do() {
    let error = write_to(refusal(403, "AccessDenied")).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::PermissionDenied, Effect::None));
    assert_eq!(error.to_string(), "write `s3://records/a` in aws: said so (AccessDenied)");
    let error = write_to(refusal(400, "ExpiredToken")).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.hint().is_some_and(|hint| hint.contains("log in")), "{error:?}");
}

#[tokio::test]
async fn errors_show_neither_secret_nor_body() {
    for reply in [Reply::Close, refusal(403, "SignatureDoesNotMatch"), Reply::new(200, "no XML, and no tag")]
    {
        let error = write_to(reply).await;
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(SECRET) && !shown.contains("body-7f3a"), "{shown}");
    }
}

#[tokio::test]
async fn a_region_is_needed_and_nothing_listens_there() {
    let error = connect("http://127.0.0.1:9").await.identities().caller().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.hint().is_some_and(|hint| hint.contains("reached")), "{error:?}");
}

#[tokio::test]
async fn only_who_reads_a_key_hears_how_s3_denies_absent_ones() {
    let hinted = |error: ProviderError| error.hint().is_some_and(|hint| hint.contains("s3:ListBucket"));
    let server = Loopback::serve(|_| refusal(403, "AccessDenied")).await.expect("a port is free");
    let aws = connect(&server.url()).await;
    assert!(hinted(aws.storage().get("records", "a").await.expect_err("is denied")));
    // Its answer has no body, and no code.
    assert!(hinted(aws.storage().head("records", "a").await.expect_err("is denied")));
    assert!(!hinted(write_to(refusal(403, "AccessDenied")).await));
    let denied = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>";
    let server = Loopback::serve(move |_| Reply::new(403, denied)).await.expect("a port is free");
    let databases = connect(&server.url()).await.databases();
    let error = databases.get("orders").await.expect_err("is denied");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(!hinted(error));
}
