//! What every [`RecordStore`] does.

use std::sync::Arc;

use maily_core::provider::{Created, RecordStore};

/// Sentences 1 and 4: what was created is read back unchanged; what was not is absent.
pub async fn created_records_are_read_back(store: Arc<dyn RecordStore>) {
    assert_eq!(store.get("run/a/1").await.expect("answers"), None);
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(store.create("run/a/1", &bytes).await.expect("answers"), Created::Created);
    assert_eq!(store.get("run/a/1").await.expect("answers"), Some(bytes));
    assert_eq!(store.get("run/a/2").await.expect("answers"), None);
}

/// Sentence 2: a present record is never touched.
pub async fn a_present_record_stays(store: Arc<dyn RecordStore>) {
    store.create("epoch/1", b"first").await.expect("answers");
    for bytes in [&b"second"[..], b"first"] {
        assert_eq!(store.create("epoch/1", bytes).await.expect("answers"), Created::Exists);
    }
    assert_eq!(store.get("epoch/1").await.expect("answers").as_deref(), Some(&b"first"[..]));
}

/// Sentence 3: of many writers one wins.
pub async fn one_of_many_creates_wins(store: Arc<dyn RecordStore>) {
    let bodies: Vec<Vec<u8>> = (0..16_u8).map(|writer| vec![writer]).collect();
    let writes = bodies.iter().map(|body| store.create("epoch/7", body));
    let answers = futures::future::join_all(writes).await;
    let won: Vec<usize> = answers
        .into_iter()
        .enumerate()
        .filter(|(_, answer)| matches!(answer, Ok(Created::Created)))
        .map(|(writer, _)| writer)
        .collect();
    assert_eq!(won.len(), 1, "{won:?}");
    let kept = store.get("epoch/7").await.expect("answers");
    assert_eq!(kept, Some(vec![u8::try_from(won[0]).expect("small")]), "the winner's bytes are kept");
}

/// Sentence 5: a list is complete, ordered, and sees what was created just before.
pub async fn lists_are_complete_and_ordered(store: Arc<dyn RecordStore>) {
    for key in ["run/b/000002", "run/a/000010", "release/000000001", "run/a/000009", "runner/x"] {
        store.create(key, b"-").await.expect("answers");
    }
    let listed = store.list("run/").await.expect("answers");
    assert_eq!(listed, ["run/a/000009", "run/a/000010", "run/b/000002"]);
    assert_eq!(store.list("run/a/").await.expect("answers").len(), 2);
    store.create("run/c/000001", b"-").await.expect("answers");
    assert!(store.list("run/").await.expect("answers").contains(&"run/c/000001".to_owned()));
}

/// Sentence 6: deleting twice is as good as once.
pub async fn deleted_records_are_gone(store: Arc<dyn RecordStore>) {
    store.create("blob/a", b"-").await.expect("answers");
    for _ in 0..2 {
        store.delete("blob/a").await.expect("absence is success");
        assert_eq!(store.get("blob/a").await.expect("answers"), None);
    }
    assert_eq!(store.create("blob/a", b"new").await.expect("answers"), Created::Created);
}

/// Sentence 7: a large record is stored whole.
pub async fn large_records_are_stored_whole(store: Arc<dyn RecordStore>) {
    let bytes: Vec<u8> = (0..700 * 1024_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    store.create("blob/large", &bytes).await.expect("answers");
    assert_eq!(store.get("blob/large").await.expect("answers"), Some(bytes));
}
