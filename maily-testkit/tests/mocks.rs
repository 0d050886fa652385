//! Every mock answers what it was told to, stands in for its trait, and fails when it is not called as expected.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use maily_core::{
    object::{ObjectKey, ObjectKind},
    provider::{
        Access, Answer, Cas, Cluster, Created, Databases, Effect, ErrorKind, Found, FrontendHost, Identities,
        Monitoring, NewSnapshot, ObjectStorage, ProbeRequest, Prober, Production, ProviderError, PutIf,
        Reading, RecordStore, SecretData, Secrets, Verdict, VersionInfo, VersionState,
    },
};
use maily_testkit::mock::{
    MockCluster, MockDatabases, MockFrontendHost, MockIdentities, MockMonitoring, MockObjectStorage,
    MockProber, MockRecordStore, MockSecrets,
};

fn refused(operation: &'static str) -> ProviderError {
    ProviderError::new(ErrorKind::Throttled, "mock", operation, "thing", "slow down")
}

#[tokio::test]
async fn a_cluster() {
    let mut mock = MockCluster::new();
    mock.expect_get().once().returning(|_| Ok(None));
    mock.expect_get().returning(|key| Err(refused("get").with_hint(key.to_string())));
    let cluster: Arc<dyn Cluster> = Arc::new(mock);
    let key = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some("shop"), "api");
    assert_eq!(cluster.get(&key).await.unwrap(), None);
    let error = cluster.get(&key).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Throttled, Effect::None));
    assert_eq!(error.hint(), Some(key.to_string().as_str()));
}

#[tokio::test]
async fn a_frontend_host() {
    let mut mock = MockFrontendHost::new();
    mock.expect_production()
        .withf(|project, domain| project == "web" && domain.as_deref() == Some("maily.example"))
        .returning(|_, _| Ok(Production { shown: None, coming: Some("dpl-1".into()) }));
    mock.expect_promote().returning(|_, _, _| Err(refused("promote")));
    let host: Arc<dyn FrontendHost> = Arc::new(mock);
    let production = host.production("web", Some("maily.example")).await.unwrap();
    assert_eq!(production.coming.as_deref(), Some("dpl-1"));
    assert_eq!(host.promote("web", "dpl-1", None).await.unwrap_err().kind(), ErrorKind::Throttled);
}

#[tokio::test]
async fn a_prober() {
    let mut mock = MockProber::new();
    mock.expect_probe().returning(|_, _| Ok(Verdict::Insufficient { evidence: "no answer".into() }));
    let prober: Arc<dyn Prober> = Arc::new(mock);
    let request = ProbeRequest::Command { argv: vec!["true".into()] };
    let verdict = prober.probe(&request, Duration::from_secs(1)).await.unwrap();
    assert_eq!(verdict.parts(), ("insufficient", "no answer"));
}

#[tokio::test]
async fn a_record_store() {
    let mut mock = MockRecordStore::new();
    let mut order = mockall::Sequence::new();
    mock.expect_create().once().in_sequence(&mut order).returning(|_, _| Ok(Created::Created));
    mock.expect_create().once().in_sequence(&mut order).returning(|_, _| Ok(Created::Exists));
    let store: Arc<dyn RecordStore> = Arc::new(mock);
    assert_eq!(store.create("epoch/1", b"a").await.unwrap(), Created::Created);
    assert_eq!(store.create("epoch/1", b"a").await.unwrap(), Created::Exists);
}

#[tokio::test]
async fn databases() {
    let mut mock = MockDatabases::new();
    mock.expect_create_snapshot()
        .withf(|wanted| wanted.database == "main")
        .returning(|_| Err(refused("create-snapshot")));
    mock.expect_delete().withf(|_, last| last.is_none()).returning(|_, _| Err(refused("delete")));
    let databases: Arc<dyn Databases> = Arc::new(mock);
    let wanted = NewSnapshot { name: "a".into(), database: "main".into(), tags: BTreeMap::new() };
    assert_eq!(databases.create_snapshot(&wanted).await.unwrap_err().kind(), ErrorKind::Throttled);
    assert!(databases.delete("main", None).await.is_err());
}

#[tokio::test]
async fn object_storage() {
    let mut mock = MockObjectStorage::new();
    mock.expect_put()
        .withf(|bucket, key, bytes, when| {
            (bucket, key, bytes) == ("records", "a", &b"-"[..]) && *when == PutIf::Absent
        })
        .returning(|_, _, _, _| Err(refused("put")));
    let storage: Arc<dyn ObjectStorage> = Arc::new(mock);
    assert!(storage.put("records", "a", b"-", &PutIf::Absent).await.is_err());
}

#[tokio::test]
async fn identities() {
    let mut mock = MockIdentities::new();
    mock.expect_allowed().returning(|_, actions, _| Ok(vec![Access::Unknown; actions.len()]));
    let identities: Arc<dyn Identities> = Arc::new(mock);
    let actions = ["rds:CreateDBSnapshot".to_owned(), "s3:PutObject".to_owned()];
    assert_eq!(identities.allowed("me", &actions, "*").await.unwrap(), [Access::Unknown; 2]);
}

#[tokio::test]
async fn secrets() {
    let mut mock = MockSecrets::new();
    let info = VersionInfo { version: 4, created: jiff::Timestamp::UNIX_EPOCH, state: VersionState::Live };
    mock.expect_write()
        .withf(|path, data, cas| {
            path == "prod/db" && data.fields().eq(["password"]) && *cas == Cas::Version(3)
        })
        .returning(move |_, _, _| Ok(info));
    let secrets: Arc<dyn Secrets> = Arc::new(mock);
    let data = SecretData::default().with("password", "x");
    assert_eq!(secrets.write("prod/db", &data, Cas::Version(3)).await.unwrap(), info);
}

#[tokio::test]
async fn monitoring() {
    let mut mock = MockMonitoring::new();
    mock.expect_query().returning(|_, _| Ok(Answer { found: Found::NoData, warnings: Vec::new() }));
    let monitoring: Arc<dyn Monitoring> = Arc::new(mock);
    assert_eq!(monitoring.query("up", None).await.unwrap().reading(), Reading::NoData);
}

#[tokio::test]
#[should_panic(expected = "MockSecrets::list")]
async fn a_call_that_was_not_expected_fails() {
    let _ = MockSecrets::new().list("prod").await;
}
