//! What every [`Secrets`] does.

use std::{collections::BTreeMap, sync::Arc};

use maily_core::provider::{
    Cas, Effect, ErrorKind, SecretData, SecretVersion, Secrets, VersionChange, VersionState,
};

/// A place to run the suite in.
#[derive(Clone, Debug)]
pub struct Place {
    /// The store.
    pub secrets: Arc<dyn Secrets>,
    /// A folder under which there is nothing, without a slash at the end.
    pub folder: String,
}

impl Place {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    async fn write(&self, name: &str, value: &str, cas: Cas) -> Result<u64, ErrorKind> {
        let written = self.secrets.write(&self.path(name), &data(value), cas).await;
        written.map(|info| info.version).map_err(|error| error.kind())
    }

    async fn read(&self, name: &str, version: Option<u64>) -> Option<SecretVersion> {
        self.secrets.read(&self.path(name), version).await.expect("answers")
    }

    async fn change(&self, name: &str, versions: &[u64], change: VersionChange) {
        self.secrets.change_versions(&self.path(name), versions, change).await.expect("is accepted");
    }
}

fn data(value: &str) -> SecretData {
    SecretData::default().with("password", value).with("user", "maily")
}

fn password(version: &SecretVersion) -> Option<&str> {
    version.data.as_ref()?.expose().find(|(field, _)| *field == "password").map(|(_, value)| value)
}

/// Sentence 1: versions count from one, and the newest is read.
pub async fn versions_count_from_one(place: &Place) {
    for (version, value) in [(1, "a"), (2, "b"), (3, "c")] {
        assert_eq!(place.write("db", value, Cas::Any).await, Ok(version));
        let newest = place.read("db", None).await.expect("is there");
        assert_eq!((newest.info.version, newest.info.state), (version, VersionState::Live));
        assert_eq!(password(&newest), Some(value));
        let fields: Vec<&str> = newest.data.iter().flat_map(SecretData::fields).collect();
        assert_eq!(fields, ["password", "user"]);
    }
    assert_eq!(password(&place.read("db", Some(1)).await.expect("is there")), Some("a"));
}

/// Sentence 2: check-and-set compares with the newest version, deleted or not.
pub async fn a_write_onto_another_version_conflicts(place: &Place) {
    assert_eq!(place.write("db", "a", Cas::Version(1)).await, Err(ErrorKind::Conflict));
    assert_eq!(place.write("db", "a", Cas::Absent).await, Ok(1));
    assert_eq!(place.write("db", "b", Cas::Absent).await, Err(ErrorKind::Conflict));
    assert_eq!(place.write("db", "b", Cas::Version(1)).await, Ok(2));
    assert_eq!(place.write("db", "c", Cas::Version(1)).await, Err(ErrorKind::Conflict));
    assert_eq!(password(&place.read("db", None).await.expect("is there")), Some("b"));
    place.change("db", &[2], VersionChange::Delete).await;
    assert_eq!(place.write("db", "c", Cas::Absent).await, Err(ErrorKind::Conflict));
    assert_eq!(place.write("db", "c", Cas::Version(1)).await, Err(ErrorKind::Conflict));
    assert_eq!(place.write("db", "c", Cas::Version(2)).await, Ok(3));
}

/// Sentence 3: of many writers one wins.
pub async fn one_of_many_writes_wins(place: &Place) {
    let path = place.path("raced");
    let bodies: Vec<SecretData> = (0..8).map(|writer| data(&writer.to_string())).collect();
    let writes = bodies.iter().map(|body| place.secrets.write(&path, body, Cas::Absent));
    let answers = futures::future::join_all(writes).await;
    let mut won = Vec::new();
    for (writer, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(_) => won.push(writer.to_string()),
            Err(error) => assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None)),
        }
    }
    assert_eq!(won.len(), 1, "{won:?}");
    let kept = place.read("raced", None).await.expect("is there");
    assert_eq!((kept.info.version, password(&kept)), (1, Some(won[0].as_str())));
}

/// Sentence 4: the same write twice is written twice.
pub async fn the_same_write_twice_makes_two_versions(place: &Place) {
    assert_eq!(place.write("db", "same", Cas::Any).await, Ok(1));
    assert_eq!(place.write("db", "same", Cas::Any).await, Ok(2));
    assert_eq!(place.write("db", "same", Cas::Version(1)).await, Err(ErrorKind::Conflict));
}

/// Sentence 5: what was deleted is known, and can be brought back.
pub async fn a_deleted_version_can_be_brought_back(place: &Place) {
    for value in ["a", "b"] {
        place.write("db", value, Cas::Any).await.expect("is written");
    }
    for (versions, asked) in [(&[1_u64][..], Some(1)), (&[2], None)] {
        place.change("db", versions, VersionChange::Delete).await;
        let found = place.read("db", asked).await.expect("is known");
        assert!(
            matches!(found.info.state, VersionState::Deleted { .. }) && found.data.is_none(),
            "{found:?}"
        );
    }
    let metadata = place.secrets.metadata(&place.path("db")).await.expect("answers").expect("is there");
    assert_eq!(metadata.current, 2);
    assert!(metadata.versions.iter().all(|version| matches!(version.state, VersionState::Deleted { .. })));
    place.change("db", &[1, 2], VersionChange::Undelete).await;
    assert_eq!(password(&place.read("db", Some(1)).await.expect("is there")), Some("a"));
    assert_eq!(password(&place.read("db", None).await.expect("is there")), Some("b"));
}

/// Sentence 6: what was destroyed does not come back.
pub async fn a_destroyed_version_stays_so(place: &Place) {
    for value in ["a", "b"] {
        place.write("db", value, Cas::Any).await.expect("is written");
    }
    place.change("db", &[1], VersionChange::Destroy).await;
    place.change("db", &[1], VersionChange::Undelete).await;
    let found = place.read("db", Some(1)).await.expect("is known");
    assert!(found.info.state == VersionState::Destroyed && found.data.is_none(), "{found:?}");
    let metadata = place.secrets.metadata(&place.path("db")).await.expect("answers").expect("is there");
    let states: Vec<_> = metadata.versions.iter().map(|version| (version.version, version.state)).collect();
    assert_eq!(states, [(1, VersionState::Destroyed), (2, VersionState::Live)]);
}

/// Sentence 7: what was never written is none.
pub async fn what_was_never_written_is_none(place: &Place) {
    assert!(place.read("nothing", None).await.is_none());
    assert!(place.read("nothing", Some(1)).await.is_none());
    assert_eq!(place.secrets.metadata(&place.path("nothing")).await.expect("answers"), None);
    place.write("db", "a", Cas::Any).await.expect("is written");
    assert!(place.read("db", Some(2)).await.is_none());
}

/// Sentence 8: versions that do not exist can be changed without effect.
pub async fn absent_versions_change_nothing(place: &Place) {
    place.write("db", "a", Cas::Any).await.expect("is written");
    for change in [VersionChange::Delete, VersionChange::Undelete, VersionChange::Destroy] {
        place.change("db", &[7], change).await;
        place.change("nothing", &[1], change).await;
    }
    assert_eq!(password(&place.read("db", None).await.expect("is there")), Some("a"));
    assert!(place.read("nothing", None).await.is_none());
}

/// Sentence 9: a list shows one level, in order.
pub async fn lists_show_one_level(place: &Place) {
    for name in ["b", "a/deep/er", "a", "c/x", "c/y"] {
        place.write(name, "-", Cas::Any).await.expect("is written");
    }
    let list = async |folder: &str| place.secrets.list(folder).await.expect("answers");
    assert_eq!(list(&place.folder).await, ["a", "a/", "b", "c/"]);
    assert_eq!(list(&place.path("c")).await, ["x", "y"]);
    assert_eq!(list(&place.path("nothing")).await, Vec::<String>::new());
}

/// Sentence 10: notes are replaced, and make no version.
pub async fn notes_make_no_version(place: &Place) {
    place.write("db", "a", Cas::Any).await.expect("is written");
    for (key, value) in [("rotation", "pending"), ("owner", "api")] {
        let notes = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        place.secrets.annotate(&place.path("db"), &notes).await.expect("is accepted");
        let metadata = place.secrets.metadata(&place.path("db")).await.expect("answers").expect("is there");
        assert_eq!((metadata.notes, metadata.current), (notes, 1));
    }
    assert_eq!(password(&place.read("db", None).await.expect("is there")), Some("a"));
}

/// Sentence 11: what was removed begins anew.
pub async fn a_removed_secret_begins_anew(place: &Place) {
    for value in ["a", "b"] {
        place.write("db", value, Cas::Any).await.expect("is written");
    }
    for _ in 0..2 {
        place.secrets.remove(&place.path("db")).await.expect("absence is success");
        assert!(place.read("db", None).await.is_none());
        assert_eq!(place.secrets.metadata(&place.path("db")).await.expect("answers"), None);
    }
    assert_eq!(place.write("db", "c", Cas::Absent).await, Ok(1));
}

/// Sentence 12: where check-and-set is required, nothing is written without. `strict` is such a secret, with no
/// version yet.
pub async fn a_strict_secret_needs_check_and_set(place: &Place, strict: &str) {
    let write = async |cas| place.secrets.write(strict, &data("a"), cas).await;
    let error = write(Cas::Any).await.expect_err("is refused");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
    assert_eq!(write(Cas::Absent).await.expect("is written").version, 1);
    let metadata = place.secrets.metadata(strict).await.expect("answers").expect("is there");
    assert!(metadata.cas_required && metadata.current == 1, "{metadata:?}");
}

/// Sentence 13: no value is shown by `Debug`, in answers and in errors.
pub async fn values_are_never_shown(place: &Place) {
    let planted = "planted-7f3a";
    let info = place.secrets.write(&place.path("db"), &data(planted), Cas::Any).await.expect("is written");
    let read = place.read("db", None).await.expect("is there");
    let error =
        place.secrets.write(&place.path("db"), &data(planted), Cas::Absent).await.expect_err("is there");
    let metadata = place.secrets.metadata(&place.path("db")).await.expect("answers");
    let shown = format!("{info:?} {read:?} {error:?} {error} {metadata:?} {:?}", place.secrets);
    assert!(!shown.contains(planted), "{shown}");
    assert_eq!(password(&read), Some(planted));
}
