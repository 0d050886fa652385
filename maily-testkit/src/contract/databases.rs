//! What every [`Databases`] does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::SignedDuration;
use maily_core::{
    provider::{
        Database, DatabaseSettings, DatabaseState, Databases, Deleted, ErrorKind, NewSnapshot, Restore,
        RestoreFrom, Snapshot, SnapshotQuery, SnapshotState,
    },
    runtime::Runtime,
};

/// Longest that a change may take.
const CHANGE: Duration = Duration::from_secs(3600);

/// A place to run the suite in: each function may change its database.
#[derive(Clone, Debug)]
pub struct Place {
    /// The provider.
    pub databases: Arc<dyn Databases>,
    /// A database that is available, unprotected, with backups, and with a parameter group of its own.
    pub database: String,
    /// Begins the names of what the suite makes.
    pub prefix: String,
    /// The clock.
    pub runtime: Arc<dyn Runtime>,
}

impl Place {
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let until = self.runtime.now() + CHANGE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(self.runtime.now() < until, "{what} does not come");
            self.runtime.sleep(Duration::from_secs(1)).await;
        }
    }

    async fn available(&self, name: &str) -> Database {
        self.until(name, async || {
            let found = self.databases.get(name).await.expect("answers")?;
            (found.state == DatabaseState::Available).then_some(found)
        })
        .await
    }

    async fn take(&self, name: &str) -> Snapshot {
        let wanted = self.wanted(name);
        self.databases.create_snapshot(&wanted).await.expect("is accepted")
    }

    fn wanted(&self, name: &str) -> NewSnapshot {
        let tags = BTreeMap::from([("maily-run".to_owned(), "a".to_owned())]);
        NewSnapshot { name: self.name(name), database: self.database.clone(), tags }
    }

    async fn taken(&self, name: &str) -> Snapshot {
        self.until(name, async || {
            let query = SnapshotQuery { name: Some(self.name(name)), database: None };
            let found = self.databases.snapshots(&query).await.expect("answers").pop()?;
            (found.state == SnapshotState::Available).then_some(found)
        })
        .await
    }

    fn restore(&self, from: RestoreFrom, name: &str) -> Restore {
        let settings = DatabaseSettings::default();
        Restore { from, name: self.name(name), settings, tags: BTreeMap::new() }
    }

    async fn refused(&self, restore: &Restore) -> ErrorKind {
        self.databases.restore(restore).await.map(|_| ()).expect_err("is refused").kind()
    }
}

/// Sentence 1: an unknown name is no error.
pub async fn an_unknown_database_is_none(place: &Place) {
    assert_eq!(place.databases.get(&place.name("nobody")).await.expect("answers"), None);
    let known = place.databases.get(&place.database).await.expect("answers").expect("is there");
    assert_eq!((known.name, known.state), (place.database.clone(), DatabaseState::Available));
}

/// Sentence 2: a snapshot is answered before it is taken.
pub async fn a_snapshot_takes_time(place: &Place) {
    let begun = place.take("slow").await;
    assert_eq!((begun.state, begun.taken), (SnapshotState::Creating, None));
    let taken = place.taken("slow").await;
    assert_eq!((taken.percent, taken.taken.is_some()), (100, true));
    assert_eq!(taken.tags.get("maily-run").map(String::as_str), Some("a"));
}

/// Sentence 3: a name is taken once, also by the same call.
pub async fn a_snapshot_name_is_taken_once(place: &Place) {
    place.take("once").await;
    for _ in 0..2 {
        let error = place.databases.create_snapshot(&place.wanted("once")).await.expect_err("is taken");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        place.taken("once").await;
    }
}

/// Sentence 4: only a database that is ready for it is snapshotted.
pub async fn a_snapshot_needs_a_ready_database(place: &Place) {
    let nobody = NewSnapshot { database: place.name("nobody"), ..place.wanted("a") };
    let error = place.databases.create_snapshot(&nobody).await.expect_err("has no database");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    place.databases.delete(&place.database, None).await.expect("is accepted");
    let error = place.databases.create_snapshot(&place.wanted("b")).await.expect_err("is going");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

/// Sentence 5: snapshots are newest first; of what is unknown there are none.
pub async fn snapshots_are_newest_first(place: &Place) {
    for name in ["first", "second"] {
        place.take(name).await;
        place.taken(name).await;
        place.available(&place.database).await;
        place.runtime.sleep(Duration::from_secs(1)).await;
    }
    let all = SnapshotQuery { database: Some(place.database.clone()), name: None };
    let found = place.databases.snapshots(&all).await.expect("answers");
    let ours: Vec<_> =
        found.into_iter().map(|one| one.name).filter(|n| n.starts_with(&place.prefix)).collect();
    assert_eq!(ours, [place.name("second"), place.name("first")]);
    for (database, name) in [(Some("nobody"), None), (None, Some("nothing"))] {
        let query =
            SnapshotQuery { database: database.map(|n| place.name(n)), name: name.map(|n| place.name(n)) };
        assert_eq!(place.databases.snapshots(&query).await.expect("answers"), []);
    }
}

/// Sentence 6: a restore makes another database and leaves the source alone.
pub async fn a_restore_makes_another_database(place: &Place) {
    let source = place.databases.get(&place.database).await.expect("answers").expect("is there");
    place.take("full").await;
    place.taken("full").await;
    let restore = place.restore(RestoreFrom::Snapshot(place.name("full")), "copy");
    let begun = place.databases.restore(&restore).await.expect("is accepted");
    assert_eq!((begun.state, begun.endpoint), (DatabaseState::Creating, None));
    let copy = place.available(&restore.name).await;
    assert!(copy.id != source.id && copy.endpoint.is_some(), "{copy:?}");
    assert_eq!(place.refused(&restore).await, ErrorKind::Conflict);
    let after = place.available(&place.database).await;
    assert_eq!((after.id, after.settings), (source.id, source.settings));
}

/// Sentence 7: a copy has the settings that were given, and defaults for the others.
pub async fn a_restore_takes_no_settings_over(place: &Place) {
    let source = place.databases.get(&place.database).await.expect("answers").expect("is there").settings;
    place.take("bare").await;
    place.taken("bare").await;
    let from = RestoreFrom::Snapshot(place.name("bare"));
    let bare = place.databases.restore(&place.restore(from.clone(), "bare")).await.expect("is accepted");
    assert_ne!(bare.settings.parameter_group, source.parameter_group);
    let full = Restore { settings: source.clone(), ..place.restore(from, "full") };
    let full = place.databases.restore(&full).await.expect("is accepted");
    assert_eq!(full.settings, source);
}

/// Sentence 8: what cannot be restored is refused by its reason.
pub async fn a_restore_needs_a_recovery_point(place: &Place) {
    let latest = place.databases.get(&place.database).await.expect("answers").expect("is there");
    let latest = latest.latest_restorable.expect("has backups");
    let day = SignedDuration::from_hours(24);
    for at in [latest + day, latest - 400 * day] {
        let from = RestoreFrom::Moment { database: place.database.clone(), at: Some(at) };
        assert_eq!(place.refused(&place.restore(from, "a")).await, ErrorKind::Invalid, "{at}");
    }
    let nobody = RestoreFrom::Moment { database: place.name("nobody"), at: None };
    assert_eq!(place.refused(&place.restore(nobody, "a")).await, ErrorKind::NotFound);
    let nothing = RestoreFrom::Snapshot(place.name("nothing"));
    assert_eq!(place.refused(&place.restore(nothing, "a")).await, ErrorKind::NotFound);
    place.take("early").await;
    let early = RestoreFrom::Snapshot(place.name("early"));
    assert_eq!(place.refused(&place.restore(early, "a")).await, ErrorKind::Conflict);
}

/// Sentence 9: the newest recovery point trails the present and follows it.
pub async fn the_newest_recovery_point_follows(place: &Place) {
    let latest = async || {
        let found = place.databases.get(&place.database).await.expect("answers").expect("is there");
        found.latest_restorable.expect("has backups")
    };
    let first = latest().await;
    assert!(first <= place.runtime.wall(), "{first} is in the future");
    place.runtime.sleep(Duration::from_secs(900)).await;
    let second = latest().await;
    assert!(second > first && second <= place.runtime.wall(), "{first}, {second}");
}

/// Sentence 10: a renamed database is found under its new name alone, after a while.
pub async fn a_renamed_database_keeps_its_id(place: &Place) {
    let before = place.databases.get(&place.database).await.expect("answers").expect("is there");
    let to = place.name("renamed");
    place.databases.rename(&place.database, &to).await.expect("is accepted");
    let after = place.available(&to).await;
    assert_eq!(after.id, before.id);
    assert_eq!(place.databases.get(&place.database).await.expect("answers"), None);
    let error = place.databases.rename(&to, &to).await.expect_err("is taken");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

/// Sentence 11: a deleted database goes after a while, its final snapshot before it.
pub async fn a_deleted_database_leaves_its_last_snapshot(place: &Place) {
    let gone = place.databases.delete(&place.name("nobody"), None).await.expect("answers");
    assert_eq!(gone, Deleted::AlreadyAbsent);
    let last = place.name("last");
    let id = place.databases.get(&place.database).await.expect("answers").expect("is there").id;
    let going = place.databases.delete(&place.database, Some(&last)).await.expect("is accepted");
    assert_eq!(going, Deleted::Pending { uid: id });
    let gone = async || place.databases.get(&place.database).await.expect("answers").is_none().then_some(());
    place.until("the end of the database", gone).await;
    let query = SnapshotQuery { name: Some(last), database: None };
    let kept = place.databases.snapshots(&query).await.expect("answers");
    assert_eq!(kept.first().map(|kept| &kept.state), Some(&SnapshotState::Available));
}

/// Sentence 11: a protected database stays. The place's database is protected.
pub async fn a_protected_database_stays(place: &Place) {
    let error = place.databases.delete(&place.database, None).await.expect_err("is protected");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(place.databases.get(&place.database).await.expect("answers").is_some());
}

/// Sentence 12: deleting a snapshot twice is as good as once.
pub async fn deleted_snapshots_are_gone(place: &Place) {
    place.take("old").await;
    place.taken("old").await;
    let name = place.name("old");
    assert_ne!(place.databases.delete_snapshot(&name).await.expect("is accepted"), Deleted::AlreadyAbsent);
    let gone = async || {
        (place.databases.delete_snapshot(&name).await.expect("answers") == Deleted::AlreadyAbsent)
            .then_some(())
    };
    place.until("the end of the snapshot", gone).await;
}

/// Sentence 13: malformed names are refused.
pub async fn malformed_names_are_refused(place: &Place) {
    let long = "a".repeat(64);
    for name in ["", "1st", "a--b", "a-", "a_b", "a b", long.as_str()] {
        let wanted = NewSnapshot { name: name.to_owned(), ..place.wanted("x") };
        let error = place.databases.create_snapshot(&wanted).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name:?}");
    }
}
