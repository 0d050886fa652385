//! What every [`ObjectStorage`] does.

use std::sync::Arc;

use maily_core::provider::{Effect, ErrorKind, ObjectStorage, PutIf};

/// A place to run the suite in.
#[derive(Clone, Debug)]
pub struct Place {
    /// The provider.
    pub storage: Arc<dyn ObjectStorage>,
    /// A bucket.
    pub bucket: String,
    /// Begins the keys of what the suite makes; nothing has a key that begins so.
    pub prefix: String,
}

impl Place {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn put(&self, name: &str, bytes: &[u8], when: &PutIf) -> Result<String, ErrorKind> {
        let put = self.storage.put(&self.bucket, &self.key(name), bytes, when).await;
        put.map(|info| info.etag).map_err(|error| error.kind())
    }

    async fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let found = self.storage.get(&self.bucket, &self.key(name)).await.expect("answers");
        found.map(|found| found.bytes)
    }
}

/// Sentence 1: reads and lists see what was answered before.
pub async fn reads_see_earlier_writes(place: &Place) {
    let every: Vec<u8> = (0..=255).collect();
    let mut tags = Vec::new();
    for bytes in [&b"one"[..], &every, b""] {
        tags.push(place.put("a", bytes, &PutIf::Any).await.expect("is stored"));
        assert_eq!(place.bytes("a").await.as_deref(), Some(bytes));
        let info =
            place.storage.head(&place.bucket, &place.key("a")).await.expect("answers").expect("is there");
        assert_eq!((info.size, Some(&info.etag)), (bytes.len() as u64, tags.last()));
        let listed = place.storage.list(&place.bucket, &place.key("a")).await.expect("answers");
        assert_eq!(listed.iter().map(|info| info.size).collect::<Vec<_>>(), [bytes.len() as u64]);
    }
    assert!(tags[0] != tags[1] && tags[1] != tags[2], "{tags:?}");
    place.storage.delete(&place.bucket, &place.key("a")).await.expect("is deleted");
    assert_eq!(place.bytes("a").await, None);
    assert_eq!(place.storage.list(&place.bucket, &place.key("a")).await.expect("answers"), []);
}

/// Sentence 2: an absent key is none; an absent bucket is an error.
pub async fn absent_keys_are_none_and_absent_buckets_errors(place: &Place) {
    assert_eq!(place.bytes("nothing").await, None);
    assert_eq!(place.storage.head(&place.bucket, &place.key("nothing")).await.expect("answers"), None);
    let nowhere = format!("{}-nowhere", place.bucket);
    let error = place.storage.get(&nowhere, "a").await.expect_err("has no bucket");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = place.storage.list(&nowhere, "").await.expect_err("has no bucket");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// Sentence 3: what is there is not put again.
pub async fn a_present_object_stays(place: &Place) {
    place.put("kept", b"first", &PutIf::Absent).await.expect("is stored");
    for bytes in [&b"second"[..], b"first"] {
        assert_eq!(place.put("kept", bytes, &PutIf::Absent).await, Err(ErrorKind::Conflict));
    }
    assert_eq!(place.bytes("kept").await.as_deref(), Some(&b"first"[..]));
}

/// Sentence 4: of many writers one wins.
pub async fn one_of_many_puts_wins(place: &Place) {
    let key = place.key("raced");
    let bodies: Vec<Vec<u8>> = (0..16_u8).map(|writer| vec![writer]).collect();
    let puts = bodies.iter().map(|body| place.storage.put(&place.bucket, &key, body, &PutIf::Absent));
    let answers = futures::future::join_all(puts).await;
    let mut won = Vec::new();
    for (writer, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(_) => won.push(writer),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable), "{error}");
                assert_eq!(error.effect(), Effect::None);
            }
        }
    }
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(place.bytes("raced").await, Some(bodies[won[0]].clone()), "the winner's bytes are kept");
}

/// Sentence 5: a put onto another state is refused.
pub async fn a_put_onto_another_state_conflicts(place: &Place) {
    let first = place.put("x", b"1", &PutIf::Any).await.expect("is stored");
    let second = place.put("x", b"2", &PutIf::Matches(first.clone())).await.expect("is stored");
    assert_eq!(place.put("x", b"3", &PutIf::Matches(first)).await, Err(ErrorKind::Conflict));
    assert_eq!(place.bytes("x").await.as_deref(), Some(&b"2"[..]));
    assert_eq!(place.put("y", b"1", &PutIf::Matches(second)).await, Err(ErrorKind::Conflict));
    assert_eq!(place.bytes("y").await, None);
}

/// Sentence 6: a list has every page, in order. More objects than a page of S3 holds.
pub async fn lists_are_complete_and_ordered(place: &Place) {
    let mut names: Vec<String> = (0..1005).rev().map(|n| format!("list/{n:04}")).collect();
    for name in names.iter().map(String::as_str).chain(["lisu", "other"]) {
        place.put(name, b"-", &PutIf::Any).await.expect("is stored");
    }
    names.sort();
    let listed = place.storage.list(&place.bucket, &place.key("list/")).await.expect("answers");
    let keys: Vec<String> = listed.into_iter().map(|info| info.key).collect();
    assert_eq!(keys, names.iter().map(|name| place.key(name)).collect::<Vec<_>>());
}

/// Sentence 7: deleting twice is as good as once.
pub async fn deleted_objects_are_gone(place: &Place) {
    place.put("gone", b"-", &PutIf::Any).await.expect("is stored");
    for _ in 0..2 {
        place.storage.delete(&place.bucket, &place.key("gone")).await.expect("absence is success");
        assert_eq!(place.bytes("gone").await, None);
    }
    place.put("gone", b"new", &PutIf::Absent).await.expect("is absent");
}

/// Sentence 8: keys are taken as they are.
pub async fn keys_are_taken_as_they_are(place: &Place) {
    let names = ["a b", "a+b", "a%20b", "a/b/c", "a?b=c&d", "ключ", "a#b", "a&<b>"];
    for name in names {
        place.put(name, name.as_bytes(), &PutIf::Any).await.expect("is stored");
    }
    for name in names {
        assert_eq!(place.bytes(name).await.as_deref(), Some(name.as_bytes()), "{name}");
    }
    let mut expected: Vec<String> = names.iter().map(|name| place.key(name)).collect();
    expected.sort();
    let listed = place.storage.list(&place.bucket, &place.prefix).await.expect("answers");
    assert_eq!(listed.into_iter().map(|info| info.key).collect::<Vec<_>>(), expected);
}
