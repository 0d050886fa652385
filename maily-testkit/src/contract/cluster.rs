//! What every [`Cluster`] does.
//!
//! Each function works in a namespace of its own, which exists and is empty, on a cluster with controllers.

use std::{fmt, sync::Arc, time::Duration};

use futures::StreamExt as _;
use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Cluster, Deleted, Dependents, Effect, ErrorKind, Follow, ListQuery, LogLine, LogOptions,
        Precondition, WatchEvent, WatchStream, WriteMode, WriteOptions, patch_of,
    },
    runtime::{Runtime, within},
};
use serde_json::{Value, json};

const MINE: &str = "maily";
const OTHER: &str = "somebody-else";
/// Time within which controllers and watches have to move.
const SOON: Duration = Duration::from_secs(60);

/// Lets a pod say one more line.
pub type Say = Arc<dyn Fn(&ObjectKey, &str) + Send + Sync>;

/// A place to run the suite in.
#[derive(Clone)]
pub struct Place {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// An empty namespace.
    pub namespace: String,
    /// The clock.
    pub runtime: Arc<dyn Runtime>,
    /// What lets the pod `goes-on` say one more line.
    pub say: Say,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Place {
    fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some(&self.namespace), name)
    }

    fn map(&self, name: &str, data: Value) -> Object {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": self.namespace}, "data": data});
        Object::from_value(body).expect("is an object")
    }

    async fn apply(&self, object: &Object) -> Object {
        self.cluster.write(object, &forced(MINE)).await.expect("is applied")
    }

    async fn get(&self, name: &str) -> Option<Object> {
        self.cluster.get(&self.key(name)).await.expect("answers")
    }

    async fn pod(&self, name: &str) -> ObjectKey {
        let body = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"containers": [{"name": "main", "image": "registry.example/shop/one:v1"}]},
        });
        let pod = self.apply(&Object::from_value(body).expect("is an object")).await;
        let until = self.runtime.now() + SOON;
        loop {
            let now = self.cluster.get(pod.key()).await.expect("answers").expect("is there");
            if now.text("/status/phase") == Some("Running") {
                return pod.key().clone();
            }
            assert!(self.runtime.now() < until, "the pod does not run: {:?}", now.at("/status"));
            self.runtime.sleep(Duration::from_millis(100)).await;
        }
    }
}

fn apply(manager: &'static str, force: bool, precondition: Precondition) -> WriteOptions {
    WriteOptions { mode: WriteMode::Apply { force }, manager, precondition, dry_run: false }
}

fn forced(manager: &'static str) -> WriteOptions {
    apply(manager, true, Precondition::Any)
}

fn exactly(object: &Object) -> Precondition {
    Precondition::Exactly {
        uid: object.uid().expect("has a uid").to_owned(),
        resource_version: object.resource_version().expect("has a version").to_owned(),
    }
}

/// Sentence 1: reads see every earlier write.
pub async fn reads_see_earlier_writes(place: &Place) {
    for turn in 0..5 {
        place.apply(&place.map("one", json!({"turn": turn.to_string()}))).await;
        let read = place.get("one").await.expect("is there");
        assert_eq!(read.text("/data/turn"), Some(turn.to_string().as_str()));
        let query = ListQuery::new(ObjectKind::new("v1", "ConfigMap"), Some(&place.namespace));
        let listed = place.cluster.list(&query).await.expect("answers");
        let listed = listed.iter().find(|object| object.key().name == "one").expect("is listed");
        assert_eq!(listed.text("/data/turn"), Some(turn.to_string().as_str()));
    }
}

/// Sentence 2: an absent object is none, an unknown kind is unsupported.
pub async fn absent_objects_are_none_and_unknown_kinds_unsupported(place: &Place) {
    assert_eq!(place.get("nothing").await, None);
    let unknown =
        ObjectKey::new(ObjectKind::new("nowhere.example/v1", "Nothing"), Some(&place.namespace), "x");
    let error = place.cluster.get(&unknown).await.expect_err("is unknown");
    assert_eq!((error.kind(), error.served_in()), (ErrorKind::Unsupported, &[][..]));
    // Of a kind that is served in another version that one is named.
    let other = ObjectKind::new("apps/v1beta1", "Deployment");
    let other = ObjectKey::new(other, Some(&place.namespace), "x");
    let error = place.cluster.get(&other).await.expect_err("is of another version");
    assert_eq!((error.kind(), error.served_in()), (ErrorKind::Unsupported, &["v1".to_owned()][..]));
}

/// Sentence 3: a list has all pages.
pub async fn lists_have_all_pages(place: &Place) {
    const COUNT: usize = 520;
    let objects: Vec<Object> = (0..COUNT).map(|n| place.map(&format!("many-{n:04}"), json!({}))).collect();
    for some in objects.chunks(20) {
        futures::future::join_all(some.iter().map(|object| place.apply(object))).await;
    }
    let query = ListQuery::new(ObjectKind::new("v1", "ConfigMap"), Some(&place.namespace));
    let listed = place.cluster.list(&query).await.expect("answers");
    assert_eq!(listed.iter().filter(|object| object.key().name.starts_with("many-")).count(), COUNT);
    let metadata = |objects: &[Object]| -> Vec<_> {
        objects.iter().map(|object| (object.key().clone(), object.at("/metadata").cloned())).collect()
    };
    let known = place.cluster.list_metadata(&query).await.expect("answers");
    assert_eq!(metadata(&known), metadata(&listed));
}

/// Sentence 4: what must be absent is created, or refused.
pub async fn an_apply_onto_absence_creates_or_conflicts(place: &Place) {
    let object = place.map("new", json!({"a": "1"}));
    let options = apply(MINE, true, Precondition::Absent);
    place.cluster.write(&object, &options).await.expect("is created");
    let again = place.map("new", json!({"a": "2"}));
    let error = place.cluster.write(&again, &options).await.expect_err("exists");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(place.get("new").await.expect("is there").text("/data/a"), Some("1"));
    // One that is on its way out is there, too.
    let mut held = place.map("held", json!({})).to_value();
    held["metadata"]["finalizers"] = json!(["maily.dev/test"]);
    place.apply(&Object::from_value(held).expect("is an object")).await;
    place
        .cluster
        .delete(&place.key("held"), &Precondition::Any, Dependents::Follow)
        .await
        .expect("is accepted");
    let error =
        place.cluster.write(&place.map("held", json!({})), &options).await.expect_err("is terminating");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    release(place, "held").await;
}

async fn release(place: &Place, name: &str) {
    let patch = patch_of(&place.key(name), json!({"metadata": {"finalizers": null}})).expect("is a patch");
    place.cluster.write(&patch, &WriteOptions::merge(MINE, Precondition::Any)).await.expect("is released");
}

/// Sentence 5: a write for one exact state takes effect on that state alone.
pub async fn a_write_onto_another_state_conflicts(place: &Place) {
    let first = place.apply(&place.map("one", json!({"a": "1"}))).await;
    let second = place.apply(&place.map("one", json!({"a": "2"}))).await;
    let mut foreign = exactly(&second);
    if let Precondition::Exactly { uid, .. } = &mut foreign {
        *uid = "00000000-0000-0000-0000-000000000000".to_owned();
    }
    let third = place.map("one", json!({"a": "3"}));
    for stale in [exactly(&first), foreign] {
        let error = place.cluster.write(&third, &apply(MINE, true, stale)).await.expect_err("is stale");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    assert_eq!(place.get("one").await.expect("is there").text("/data/a"), Some("2"));
    place.cluster.write(&third, &apply(MINE, true, exactly(&second))).await.expect("fits");
    place
        .cluster
        .delete(&place.key("one"), &Precondition::Any, Dependents::Follow)
        .await
        .expect("is deleted");
    let error =
        place.cluster.write(&third, &apply(MINE, true, exactly(&second))).await.expect_err("is absent");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(place.get("one").await, None);
}

/// Sentence 6: the same apply again changes nothing.
pub async fn the_same_apply_again_changes_nothing(place: &Place) {
    let object = place.map("one", json!({"a": "1"}));
    let first = place.apply(&object).await;
    let second = place.apply(&object).await;
    assert_eq!(first.resource_version(), second.resource_version());
}

/// Sentence 7: what is left out goes, unless somebody else owns it, too.
pub async fn left_out_fields_are_removed(place: &Place) {
    place.apply(&place.map("one", json!({"mine": "1", "ours": "1", "kept": "1"}))).await;
    place
        .cluster
        .write(&place.map("one", json!({"ours": "1", "theirs": "1"})), &forced(OTHER))
        .await
        .expect("applies");
    let now = place.apply(&place.map("one", json!({"kept": "1"}))).await;
    assert_eq!(now.at("/data"), Some(&json!({"kept": "1", "ours": "1", "theirs": "1"})));
}

/// Sentence 8: fields of others are not taken by accident, and their owner is named.
pub async fn fields_of_others_are_a_conflict_that_names_them(place: &Place) {
    place.cluster.write(&place.map("one", json!({"a": "theirs"})), &forced(OTHER)).await.expect("applies");
    let mine = place.map("one", json!({"a": "mine"}));
    let error =
        place.cluster.write(&mine, &apply(MINE, false, Precondition::Any)).await.expect_err("conflicts");
    assert_eq!(error.kind(), ErrorKind::FieldConflict);
    assert!(error.to_string().contains(OTHER), "{error}");
    assert_eq!(place.get("one").await.expect("is there").text("/data/a"), Some("theirs"));
    place.cluster.write(&mine, &forced(MINE)).await.expect("is taken");
    assert_eq!(place.get("one").await.expect("is there").text("/data/a"), Some("mine"));
}

/// Sentence 9: a dry run tells and does not do.
pub async fn a_dry_run_changes_nothing(place: &Place) {
    let object = place.map("one", json!({"a": "1"}));
    let told = place.cluster.write(&object, &forced(MINE).dry_run()).await.expect("answers");
    assert_eq!(told.text("/data/a"), Some("1"));
    assert_eq!(place.get("one").await, None);
    let before = place.apply(&object).await;
    let told = place
        .cluster
        .write(&place.map("one", json!({"a": "2"})), &forced(MINE).dry_run())
        .await
        .expect("answers");
    assert_eq!(told.text("/data/a"), Some("2"));
    assert_eq!(place.get("one").await.expect("is there").resource_version(), before.resource_version());
}

/// Sentence 10: only what exists can be patched.
pub async fn a_merge_patch_needs_its_object(place: &Place) {
    let patch = patch_of(&place.key("one"), json!({"data": {"a": "1"}})).expect("is a patch");
    let options = WriteOptions::merge(MINE, Precondition::Any);
    let error = place.cluster.write(&patch, &options).await.expect_err("is absent");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    place.apply(&place.map("one", json!({"b": "1"}))).await;
    let now = place.cluster.write(&patch, &options).await.expect("is patched");
    assert_eq!(now.at("/data"), Some(&json!({"a": "1", "b": "1"})));
}

/// Sentence 11: a delete says what became of it.
pub async fn deletes_say_what_became_of_them(place: &Place) {
    let key = place.key("one");
    assert_eq!(
        place.cluster.delete(&key, &Precondition::Any, Dependents::Follow).await.expect("answers"),
        Deleted::AlreadyAbsent
    );
    let first = place.apply(&place.map("one", json!({"a": "1"}))).await;
    let second = place.apply(&place.map("one", json!({"a": "2"}))).await;
    let error = place.cluster.delete(&key, &exactly(&first), Dependents::Follow).await.expect_err("is stale");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(
        place.cluster.delete(&key, &exactly(&second), Dependents::Follow).await.expect("fits"),
        Deleted::Gone
    );
    let mut held = place.map("one", json!({})).to_value();
    held["metadata"]["finalizers"] = json!(["maily.dev/test"]);
    let held = place.apply(&Object::from_value(held).expect("is an object")).await;
    let uid = held.uid().expect("has a uid").to_owned();
    assert_eq!(
        place.cluster.delete(&key, &exactly(&held), Dependents::Follow).await.expect("is accepted"),
        Deleted::Pending { uid }
    );
    release(place, "one").await;
    assert_eq!(place.get("one").await, None);
}

/// Sentence 12: a watch begins with all there is, and goes on.
pub async fn a_watch_begins_with_all_and_goes_on(place: &Place) {
    let number = |object: &Object| -> u64 {
        object.resource_version().and_then(|version| version.parse().ok()).expect("a number")
    };
    place.apply(&place.map("one", json!({"a": "1"}))).await;
    let gone = place.apply(&place.map("three", json!({}))).await;
    place.cluster.delete(&place.key("three"), &exactly(&gone), Dependents::Follow).await.expect("is deleted");
    let query = ListQuery::new(ObjectKind::new("v1", "ConfigMap"), Some(&place.namespace));
    let mut watch = place.cluster.watch(&query).await.expect("opens");
    match next(place, &mut watch).await {
        WatchEvent::Listed { objects, version } => {
            assert!(objects.iter().any(|object| object.key().name == "one"));
            let listed: u64 = version.parse().expect("a number");
            assert!(listed >= number(&gone), "{listed} knows of the write of what is gone, {gone:?}");
        }
        other => panic!("begins with {other:?}"),
    }
    place.apply(&place.map("one", json!({"a": "2"}))).await;
    place.apply(&place.map("two", json!({}))).await;
    place
        .cluster
        .delete(&place.key("two"), &Precondition::Any, Dependents::Follow)
        .await
        .expect("is deleted");
    let (mut changed, mut gone) = (false, false);
    while !(changed && gone) {
        match next(place, &mut watch).await {
            WatchEvent::Applied(object) if object.key().name == "one" => {
                changed = object.text("/data/a") == Some("2")
            }
            WatchEvent::Deleted(object) if object.key().name == "two" => gone = true,
            WatchEvent::Listed { objects, .. } => {
                // History may be told in one piece.
                changed |= objects.iter().any(|object| object.text("/data/a") == Some("2"));
                gone |= !objects.iter().any(|object| object.key().name == "two");
            }
            _ => {}
        }
    }
}

async fn next(place: &Place, watch: &mut WatchStream) -> WatchEvent {
    let event = within(&*place.runtime, SOON, watch.next()).await.expect("tells something in time");
    event.expect("does not end").expect("is no error")
}

/// Sentence 13: what the managers that are named had set can be removed after a migration, and nothing of others.
pub async fn migrated_fields_can_be_removed(place: &Place) {
    // A merge patch under kubectl's name is what client-side apply sends.
    place.apply(&place.map("one", json!({}))).await;
    let patch = patch_of(&place.key("one"), json!({"data": {"old": "1", "new": "1"}})).expect("is a patch");
    let client_side = WriteOptions::merge("kubectl-client-side-apply", Precondition::Any);
    place.cluster.write(&patch, &client_side).await.expect("is patched");
    // On the server they apply, too, and who is not named keeps what is his.
    let applied = place.map("one", json!({"applied": "1"}));
    place.cluster.write(&applied, &forced("helm")).await.expect("is applied");
    let edited = patch_of(&place.key("one"), json!({"data": {"edited": "1"}})).expect("is a patch");
    let editor = WriteOptions::merge("kubectl-edit", Precondition::Any);
    let before = place.cluster.write(&edited, &editor).await.expect("is patched");
    let migrate = WriteOptions {
        mode: WriteMode::Migrate { from: ["kubectl-client-side-apply", "helm"].map(str::to_owned).into() },
        manager: MINE,
        precondition: exactly(&before),
        dry_run: false,
    };
    let after = place.cluster.write(&before, &migrate).await.expect("is migrated");
    assert_eq!(after.at("/data"), before.at("/data"), "metadata alone changes");
    let now = place.apply(&place.map("one", json!({"new": "1"}))).await;
    assert_eq!(now.at("/data"), Some(&json!({"new": "1", "edited": "1"})));
}

/// Sentence 14: logs come in order, and need their pod.
pub async fn logs_come_in_order_and_need_their_pod(place: &Place) {
    let key = place.pod("talks").await;
    let lines = lines(place, &key, LogOptions::default()).await;
    let times: Vec<_> = lines.iter().map(|line| line.time.expect("has a time")).collect();
    assert!(times.len() > 1 && times.is_sorted() && times.first() < times.last(), "{lines:?}");
    let missing = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some(&place.namespace), "nobody");
    let error =
        place.cluster.logs(&missing, &LogOptions::default()).await.map(|_| ()).expect_err("is absent");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

async fn lines(place: &Place, key: &ObjectKey, options: LogOptions) -> Vec<LogLine> {
    let lines = place.cluster.logs(key, &options).await.expect("opens");
    lines.map(|line| line.expect("is read")).collect().await
}

/// Sentence 21: the options of a log narrow it, and what is not there is an error.
pub async fn logs_are_narrowed_by_their_options(place: &Place) {
    let key = place.pod("talks").await;
    let all = lines(place, &key, LogOptions::default()).await;
    assert!(all.len() > 1, "one line cannot be told from all: {all:?}");
    let last = lines(place, &key, LogOptions { tail: Some(1), ..LogOptions::default() }).await;
    assert_eq!(last, all[all.len() - 1..]);
    let none = lines(place, &key, LogOptions { tail: Some(0), ..LogOptions::default() }).await;
    assert_eq!(none, []);
    let container = Some("main".to_owned());
    assert_eq!(lines(place, &key, LogOptions { container, ..LogOptions::default() }).await, all);
    let all_bytes = LogOptions { bytes: Some(1 << 20), ..LogOptions::default() };
    assert_eq!(lines(place, &key, all_bytes).await, all);
    // Nothing is said by a pod that only serves.
    place.runtime.sleep(Duration::from_secs(4)).await;
    let since = |seconds| LogOptions { since: Some(Duration::from_secs(seconds)), ..LogOptions::default() };
    assert_eq!(lines(place, &key, since(2)).await, []);
    assert_eq!(lines(place, &key, since(1_000_000_000)).await, all);
    for options in [
        LogOptions { container: Some("other".to_owned()), ..LogOptions::default() },
        LogOptions { previous: true, ..LogOptions::default() },
    ] {
        let error = match place.cluster.logs(&key, &options).await {
            Err(error) => error,
            Ok(mut lines) => match lines.next().await {
                Some(Err(error)) => error,
                other => panic!("{options:?}: {other:?}"),
            },
        };
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound), "{options:?}: {error}");
    }
}

/// Sentence 23: a log ends after so many bytes.
pub async fn a_log_ends_after_so_many_bytes(place: &Place) {
    let key = place.pod("talks").await;
    let all = lines(place, &key, LogOptions::default()).await;
    let few = lines(place, &key, LogOptions { bytes: Some(3), ..LogOptions::default() }).await;
    assert_eq!(few.len(), 1, "{few:?}");
    assert!(few[0].text.len() <= 3 && !all[0].text.is_empty(), "{few:?}");
}

/// Sentence 22: a log that is followed goes on: what is said later comes, once, and then more is waited for.
pub async fn a_followed_log_goes_on(place: &Place) {
    let key = place.pod("goes-on").await;
    let before = lines(place, &key, LogOptions::default()).await;
    let options = LogOptions { follow: Follow::Yes, ..LogOptions::default() };
    let mut lines = place.cluster.logs(&key, &options).await.expect("opens");
    let mut next = async || {
        let line =
            within(&*place.runtime, SOON, lines.next()).await.expect("in time").expect("has not ended");
        line.expect("is read").text
    };
    for line in &before {
        assert_eq!(next().await, line.text);
    }
    place.runtime.sleep(Duration::from_secs(2)).await;
    for line in ["one more", "and another"] {
        (place.say)(&key, line);
        assert_eq!(next().await, line);
    }
    let rest = async { while lines.next().await.is_some() {} };
    assert!(within(&*place.runtime, Duration::from_secs(5), rest).await.is_none(), "it has ended");
}

/// Sentence 24: nothing is made in a namespace that is being deleted.
pub async fn nothing_is_made_in_a_namespace_that_goes(place: &Place) {
    let goes = Place { namespace: format!("{}-goes", place.namespace), ..place.clone() };
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": goes.namespace}});
    let namespace = place.apply(&Object::from_value(body).expect("is an object")).await;
    let mut held = goes.map("one", json!({})).to_value();
    held["metadata"]["finalizers"] = json!(["maily.dev/test"]);
    goes.apply(&Object::from_value(held).expect("is an object")).await;
    let deleted = goes
        .cluster
        .delete(namespace.key(), &Precondition::Any, Dependents::Follow)
        .await
        .expect("is accepted");
    assert!(matches!(deleted, Deleted::Pending { .. }), "{deleted:?}");
    for options in [forced(MINE), apply(MINE, true, Precondition::Absent)] {
        let error =
            goes.cluster.write(&goes.map("late", json!({})), &options).await.expect_err("is too late");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None), "{error}");
        assert!(error.message().contains("being terminated"), "{error}");
    }
    release(&goes, "one").await;
}

/// Sentence 20: what does not fit its kind is invalid and changes nothing, and no error about a Secret tells a value.
pub async fn what_does_not_fit_is_invalid_and_untold(place: &Place) {
    let made = |kind: &str, content: Value| {
        let mut body = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "misfit", "namespace": place.namespace}});
        for (field, value) in content.as_object().expect("is a map") {
            body[field] = value.clone();
        }
        Object::from_value(body).expect("is an object")
    };
    for (kind, content) in [
        ("ConfigMap", json!({"dta": {"a": "hunter2"}})),
        ("ConfigMap", json!({"data": {"a": 31337}})),
        ("Secret", json!({"stringdata": {"a": "hunter2"}})),
        ("Secret", json!({"stringData": {"a": 31337}})),
        ("Secret", json!({"data": {"a": {"b": "hunter2"}}})),
        ("Secret", json!({"data": "hunter2"})),
        ("Secret", json!({"data": {"a": "hunter2 is no base64"}})),
    ] {
        let object = made(kind, content);
        for options in [forced(MINE), forced(MINE).dry_run()] {
            let error = place.cluster.write(&object, &options).await.expect_err("does not fit");
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None), "{error}");
            let told = format!("{error} {error:?} {:?}", error.hint());
            assert!(kind != "Secret" || !told.contains("hunter2") && !told.contains("31337"), "{told}");
        }
        assert_eq!(place.cluster.get(object.key()).await.expect("answers"), None, "nothing was made");
    }
    let wrapped = made("Secret", json!({"data": {"a": "aHVu\r\ndGVyMg==\n", "b": null}}));
    let read = place.apply(&wrapped).await;
    assert_eq!(read.at("/data"), Some(&json!({"a": "aHVudGVyMg==", "b": ""})));
}

/// Of every apply: what cannot change in place is refused, a dry run too.
pub async fn what_cannot_change_in_place_is_refused(place: &Place) {
    let object = |kind: (&str, &str), rest: Value| {
        let mut body = json!({"apiVersion": kind.0, "kind": kind.1,
            "metadata": {"name": "still", "namespace": place.namespace}});
        body.as_object_mut().expect("a map").extend(rest.as_object().expect("a map").clone());
        Object::from_value(body).expect("is an object")
    };
    let labels = json!({"app": "still"});
    let template = json!({"metadata": {"labels": labels},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "main", "image": "registry.example/still:1"}]}});
    let set = |policy: &str| {
        let spec = json!({"replicas": 0, "serviceName": "still", "podManagementPolicy": policy,
            "selector": {"matchLabels": labels}, "template": template});
        object(("apps/v1", "StatefulSet"), json!({"spec": spec}))
    };
    let job = |completions: u32| {
        let mut template = template.clone();
        template["spec"]["restartPolicy"] = json!("Never");
        let spec = json!({"suspend": true, "completions": completions, "template": template});
        object(("batch/v1", "Job"), json!({"spec": spec}))
    };
    let secret = |of: &str| object(("v1", "Secret"), json!({"type": of, "stringData": {"a": "1"}}));
    let claim = |mode: &str| {
        let spec = json!({"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}});
        object(("v1", "PersistentVolumeClaim"), json!({"spec": spec}))
    };
    for (before, after) in [
        (secret("Opaque"), secret("example.com/other")),
        (set("OrderedReady"), set("Parallel")),
        (job(1), job(2)),
        (claim("ReadWriteOnce"), claim("ReadWriteMany")),
    ] {
        let live = place.apply(&before).await;
        for options in [forced(MINE), forced(MINE).dry_run()] {
            let answer = place.cluster.write(&after, &options).await;
            let error = answer.expect_err(after.kind());
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
        let now = place.cluster.get(live.key()).await.expect("answers").expect("is there");
        assert_eq!(now.at("/spec"), live.at("/spec"));
        assert_eq!(now.at("/type"), live.at("/type"));
    }
}
