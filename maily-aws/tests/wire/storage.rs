//! The contract of object storage over HTTP.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use maily_core::provider::{Effect, ErrorKind, ObjectStorage as _, PutIf};
use maily_testkit::{
    contract::storage,
    harness::{Loopback, Reply},
};

use crate::{
    bucket::{Bucket, NAME},
    connect,
};

async fn place() -> (Loopback, storage::Place) {
    let bucket = Bucket::default();
    let server = Loopback::serve(move |request| bucket.answer(&request)).await.expect("a port is free");
    let storage = Arc::new(connect(&server.url()).await.storage());
    (server, storage::Place { storage, bucket: NAME.into(), prefix: "suite/".into() })
}

macro_rules! sentences {
    ($($sentence:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $sentence() {
            let (_server, place) = place().await;
            storage::$sentence(&place).await;
        })+
    };
}

sentences!(
    reads_see_earlier_writes,
    absent_keys_are_none_and_absent_buckets_errors,
    a_present_object_stays,
    one_of_many_puts_wins,
    a_put_onto_another_state_conflicts,
    lists_are_complete_and_ordered,
    deleted_objects_are_gone,
    keys_are_taken_as_they_are,
);

#[tokio::test]
async fn a_head_in_an_absent_bucket_is_an_error() {
    let (_server, place) = place().await;
    let error = place.storage.head("nowhere", "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_put_that_crossed_another_may_be_tried_again() {
    let body = "<Error><Code>ConditionalRequestConflict</Code><Message>conflict</Message></Error>";
    let server = Loopback::serve(move |_| Reply::new(409, body)).await.unwrap();
    let storage = connect(&server.url()).await.storage();
    let error = storage.put(NAME, "a", b"-", &PutIf::Absent).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_failed_request_is_sent_once() {
    let seen = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&seen);
    let server = Loopback::serve(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Reply::new(
            503,
            "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
        )
        .header("retry-after", "3")
    })
    .await
    .unwrap();
    let error = connect(&server.url()).await.storage().get(NAME, "a").await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Throttled, Effect::None));
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(3)));
    assert_eq!(seen.load(Ordering::Relaxed), 1, "the engine owns every retry");
}
