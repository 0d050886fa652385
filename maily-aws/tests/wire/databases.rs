//! RDS and STS: requests by name, answers by their XML.

use std::sync::{Arc, Mutex};

use maily_core::provider::{
    Access, CallerIdentity, DatabaseState, Databases as _, Deleted, ErrorKind, Identities as _, NewSnapshot,
    Restore, RestoreFrom, SnapshotQuery, SnapshotState,
};
use maily_testkit::harness::{HttpRequest, Loopback, Reply};

use crate::connect;

const INSTANCE: &str = "<DBInstance>
  <DBInstanceIdentifier>main</DBInstanceIdentifier><DbiResourceId>db-ABC</DbiResourceId>
  <DBInstanceStatus>backing-up</DBInstanceStatus><Engine>postgres</Engine><EngineVersion>17.5</EngineVersion>
  <Endpoint><Address>main.abc.eu-west-1.rds.amazonaws.com</Address><Port>5432</Port></Endpoint>
  <LatestRestorableTime>2026-01-01T10:00:00.5Z</LatestRestorableTime>
  <BackupRetentionPeriod>7</BackupRetentionPeriod><DBInstanceClass>db.t4g.medium</DBInstanceClass>
  <MultiAZ>true</MultiAZ><DeletionProtection>true</DeletionProtection>
  <DBSubnetGroup><DBSubnetGroupName>private</DBSubnetGroupName></DBSubnetGroup>
  <VpcSecurityGroups><VpcSecurityGroupMembership><VpcSecurityGroupId>sg-1</VpcSecurityGroupId>
    </VpcSecurityGroupMembership></VpcSecurityGroups>
  <DBParameterGroups><DBParameterGroup><DBParameterGroupName>tuned</DBParameterGroupName></DBParameterGroup>
    </DBParameterGroups>
  <TagList><Tag><Key>env</Key><Value>production</Value></Tag></TagList>
</DBInstance>";

fn answer(action: &str, inner: &str) -> Reply {
    Reply::new(200, format!("<{action}Response><{action}Result>{inner}</{action}Result></{action}Response>"))
}

fn refuse(status: u16, code: &str) -> Reply {
    let error = format!("<Type>Sender</Type><Code>{code}</Code><Message>said so</Message>");
    Reply::new(status, format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>"))
}

fn snapshot(name: &str, status: &str, time: &str) -> String {
    let taken = if time.is_empty() {
        String::new()
    } else {
        format!("<SnapshotCreateTime>{time}</SnapshotCreateTime>")
    };
    format!(
        "<DBSnapshot><DBSnapshotIdentifier>{name}</DBSnapshotIdentifier><Status>{status}</Status>
         <DBInstanceIdentifier>main</DBInstanceIdentifier><PercentProgress>40</PercentProgress>{taken}
         <SnapshotType>manual</SnapshotType></DBSnapshot>"
    )
}

async fn serve(reply: impl Fn(&str, &HttpRequest) -> Reply + Send + Sync + 'static) -> Loopback {
    Loopback::serve(move |request| reply(&request.form("Action").unwrap_or_default(), &request))
        .await
        .expect("a port is free")
}

#[tokio::test]
async fn a_database_is_read_with_its_settings() {
    let server = serve(|action, request| match request.form("DBInstanceIdentifier").as_deref() {
        Some("main") => answer(action, &format!("<DBInstances>{INSTANCE}</DBInstances>")),
        _ => refuse(404, "DBInstanceNotFound"),
    })
    .await;
    let databases = connect(&server.url()).await.databases();
    let found = databases.get("main").await.expect("a port is free").unwrap();
    assert_eq!((found.id.as_str(), found.state), ("db-ABC", DatabaseState::BackingUp));
    assert_eq!(found.latest_restorable, Some("2026-01-01T10:00:00.5Z".parse().unwrap()));
    assert_eq!(found.endpoint.map(|endpoint| endpoint.port), Some(5432));
    assert_eq!(found.settings.security_groups, ["sg-1"]);
    assert_eq!((found.settings.parameter_group.as_str(), found.settings.multi_az), ("tuned", true));
    assert_eq!(found.tags.get("env").map(String::as_str), Some("production"));
    assert!(found.deletion_protection && found.backup_retention_days == 7);
    assert_eq!(databases.get("nobody").await.unwrap(), None);
}

#[tokio::test]
async fn a_snapshot_is_created_once_by_its_name() {
    let taken = Mutex::new(Vec::new());
    let server = serve(move |action, request| {
        let name = request.form("DBSnapshotIdentifier").unwrap();
        assert_eq!(request.form("Tags.Tag.1.Key").as_deref(), Some("maily-run"));
        let mut taken = taken.lock().unwrap();
        match request.form("DBInstanceIdentifier").as_deref() {
            Some("busy") => refuse(400, "InvalidDBInstanceState"),
            Some("main") if taken.contains(&name) => refuse(400, "DBSnapshotAlreadyExists"),
            Some("main") => {
                taken.push(name.clone());
                answer(action, &snapshot(&name, "creating", ""))
            }
            _ => refuse(404, "DBInstanceNotFound"),
        }
    })
    .await;
    let databases = connect(&server.url()).await.databases();
    let tags = [("maily-run".to_owned(), "r1".to_owned())];
    let wanted = |database: &str| NewSnapshot {
        name: "before-v2".into(),
        database: database.into(),
        tags: tags.clone().into(),
    };
    let begun = databases.create_snapshot(&wanted("main")).await.unwrap();
    assert_eq!((begun.state, begun.percent, begun.taken), (SnapshotState::Creating, 40, None));
    for (database, kind) in
        [("main", ErrorKind::Conflict), ("busy", ErrorKind::Conflict), ("nobody", ErrorKind::NotFound)]
    {
        assert_eq!(
            databases.create_snapshot(&wanted(database)).await.unwrap_err().kind(),
            kind,
            "{database}"
        );
    }
}

#[tokio::test]
async fn snapshots_of_all_pages_are_newest_first() {
    let server = serve(|action, request| {
        let (inner, marker) =
            match (request.form("Marker").as_deref(), request.form("DBInstanceIdentifier").as_deref()) {
                (_, Some("nobody")) => return refuse(404, "DBInstanceNotFound"),
                (None, _) => (snapshot("a", "available", "2026-01-01T10:00:00Z"), "<Marker>2</Marker>"),
                (Some("2"), _) => {
                    let newer = snapshot("b", "available", "2026-01-01T11:00:00Z");
                    (newer + &snapshot("c", "creating", ""), "")
                }
                _ => return refuse(400, "InvalidParameterValue"),
            };
        answer(action, &format!("{marker}<DBSnapshots>{inner}</DBSnapshots>"))
    })
    .await;
    let databases = connect(&server.url()).await.databases();
    let of = |database: &str| SnapshotQuery { database: Some(database.into()), name: None };
    let found = databases.snapshots(&of("main")).await.unwrap();
    assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
    assert_eq!(databases.snapshots(&of("nobody")).await.unwrap(), []);
}

#[tokio::test]
async fn an_absent_snapshot_is_deleted_already() {
    let server = serve(|action, request| match request.form("DBSnapshotIdentifier").as_deref() {
        Some("old") => answer(action, &snapshot("old", "deleted", "2026-01-01T10:00:00Z")),
        _ => refuse(404, "DBSnapshotNotFound"),
    })
    .await;
    let databases = connect(&server.url()).await.databases();
    assert_eq!(databases.delete_snapshot("old").await.unwrap(), Deleted::Gone);
    assert_eq!(databases.delete_snapshot("nothing").await.unwrap(), Deleted::AlreadyAbsent);
}

#[tokio::test]
async fn the_caller_is_told() {
    let region = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&region);
    let server = serve(move |action, request| {
        request.header("authorization").unwrap().clone_into(&mut seen.lock().unwrap());
        let inner = "<Arn>arn:aws:iam::123456789012:user/api</Arn><UserId>AID</UserId><Account>123456789012</Account>";
        answer(action, inner)
    })
    .await;
    let caller = connect(&server.url()).await.identities().caller().await.unwrap();
    let expected = CallerIdentity {
        account: "123456789012".into(),
        principal: "arn:aws:iam::123456789012:user/api".into(),
        region: "eu-west-1".into(),
    };
    assert_eq!(caller, expected);
    assert!(region.lock().unwrap().contains("/eu-west-1/sts/"), "signed for the region");
}

#[tokio::test]
async fn what_is_not_implemented_says_so() {
    let aws = connect("http://127.0.0.1:9").await;
    let (databases, identities) = (aws.databases(), aws.identities());
    let restore = Restore {
        from: RestoreFrom::Snapshot("a".into()),
        name: "copy".into(),
        settings: Default::default(),
        tags: Default::default(),
    };
    let errors = [
        databases.restore(&restore).await.map(|_| ()).unwrap_err(),
        databases.rename("a", "b").await.map(|_| ()).unwrap_err(),
        databases.delete("a", None).await.map(|_| ()).unwrap_err(),
        identities.role("api").await.map(|_| ()).unwrap_err(),
        identities.allowed("me", &[], "*").await.map(|_: Vec<Access>| ()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("not implemented"), "{error}");
    }
}
