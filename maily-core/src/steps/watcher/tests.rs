use serde_json::json;

use super::*;

fn made(uid: &str, version: &str) -> Object {
    Object::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api",
        "namespace": "shop", "uid": uid, "resourceVersion": version}}))
    .expect("an object")
}

fn known(store: &Store) -> Option<&str> {
    let object = made("", "");
    store.objects.get(&object.key().kind)?.get(object.key())?.uid()
}

/// The watch is behind the answers to our own writes.
#[test]
fn what_is_told_late_of_a_former_object_says_nothing_of_the_one_that_was_made_since() {
    let mut store = Store::default();
    store.put(made("old", "10"));
    store.deleted(&made("old", "11"));
    assert_eq!(known(&store), None);
    store.put(made("old", "10"));
    let target = Target::pin(&made("new", "20")).expect("is waited for");
    store.register(&Arc::new(target), &Arc::new(Notify::new()));
    assert_eq!(known(&store), Some("new"));
    for late in [made("old", "10"), made("old", "15")] {
        store.put(late);
        assert_eq!(known(&store), Some("new"));
    }
    store.deleted(&made("old", "15"));
    assert_eq!(known(&store), Some("new"));
    // What comes after it is news.
    store.put(made("newest", "30"));
    assert_eq!(known(&store), Some("newest"));
    store.deleted(&made("newest", "31"));
    assert_eq!(known(&store), None);
}
