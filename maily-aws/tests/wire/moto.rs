//! The adapter against moto, an emulator that others wrote: `moto_server -p PORT`, and its URL in `MAILY_TEST_MOTO`.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use maily_core::provider::{Databases as _, ErrorKind, Identities as _, NewSnapshot, SnapshotQuery};
use maily_testkit::contract::storage;

use crate::connect;

#[expect(clippy::disallowed_methods, reason = "tests are configured by the environment")]
fn url() -> String {
    std::env::var("MAILY_TEST_MOTO").expect("MAILY_TEST_MOTO names the address of a moto server")
}

/// Makes what the adapter cannot make.
fn prepare(scope: &str, request: &str, body: &str) {
    let url = url();
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).expect("moto listens");
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.0\r\nhost: {host}\r\ncontent-length: {length}\r\n\
         content-type: application/x-www-form-urlencoded\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential=A/20260101/{scope}/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n{body}"
    )
    .expect("is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("is answered");
    assert!(answer.contains(" 200 "), "{answer}");
}

macro_rules! sentences {
    ($($sentence:ident),+ $(,)?) => {
        $(#[tokio::test]
        #[ignore = "needs moto"]
        async fn $sentence() {
            let bucket = stringify!($sentence).replace('_', "-");
            prepare("us-east-1/s3", &format!("PUT /{bucket}"), "");
            let storage = Arc::new(connect(&url()).await.storage());
            storage::$sentence(&storage::Place { storage, bucket, prefix: "suite/".into() }).await;
        })+
    };
}

sentences!(
    reads_see_earlier_writes,
    absent_keys_are_none_and_absent_buckets_errors,
    a_present_object_stays,
    a_put_onto_another_state_conflicts,
    lists_are_complete_and_ordered,
    deleted_objects_are_gone,
    keys_are_taken_as_they_are,
);

#[tokio::test]
#[ignore = "needs moto"]
async fn snapshots_are_created_once_and_read() {
    let create = "Action=CreateDBInstance&Version=2014-10-31&DBInstanceIdentifier=moto-main&Engine=postgres\
        &DBInstanceClass=db.t3.micro&AllocatedStorage=20&MasterUsername=maily&MasterUserPassword=not-a-secret";
    prepare("eu-west-1/rds", "POST /", create);
    let databases = connect(&url()).await.databases();
    assert_eq!(databases.get("moto-main").await.unwrap().unwrap().engine, "postgres");
    assert_eq!(databases.get("nobody").await.unwrap(), None);
    let tags = [("maily-run".to_owned(), "r1".to_owned())].into();
    let wanted = NewSnapshot { name: "before-v2".into(), database: "moto-main".into(), tags };
    databases.create_snapshot(&wanted).await.unwrap();
    assert_eq!(databases.create_snapshot(&wanted).await.unwrap_err().kind(), ErrorKind::Conflict);
    let query = SnapshotQuery { name: Some("before-v2".into()), database: None };
    let found = databases.snapshots(&query).await.unwrap().pop().unwrap();
    assert_eq!(found.tags.get("maily-run").map(String::as_str), Some("r1"));
    let nobody = NewSnapshot { database: "nobody".into(), name: "other".into(), ..wanted };
    assert_eq!(databases.create_snapshot(&nobody).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
#[ignore = "needs moto"]
async fn the_caller_has_an_account() {
    assert_eq!(connect(&url()).await.identities().caller().await.unwrap().account.len(), 12);
}
