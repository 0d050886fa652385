//! What goes over the wire, and how answers are understood: against a scripted server, with a paused clock.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, Cluster as _, Deleted, Dependents, Effect, ErrorKind, Follow, ListQuery, LogOptions,
        Permission, Precondition, WatchEvent, WriteOptions,
    },
    runtime::{Runtime, within},
};
use maily_k8s::KubeCluster;
use maily_testkit::sim::SimRuntime;
use serde_json::{Value, json};

type Answer = UnsyncBoxBody<Bytes, std::io::Error>;
type Asked = Arc<Mutex<Vec<String>>>;

/// Longer than anything may take.
const HOUR: Duration = Duration::from_secs(3_600);

/// What a scripted server does with a request.
enum Reply {
    Json(u16, Value),
    /// Lines of a watch, after which the connection ends.
    Lines(Vec<Value>),
    /// The beginning of a body that then never goes on.
    Begun(&'static str),
    /// A status, and a body in pieces of so many bytes.
    Pieces(u16, String, usize),
    /// A status and a plain text, with the headers of the API server.
    Headed(u16, &'static str),
    /// Nothing, ever.
    Silence,
    /// An answer after a time, with the server's.
    Dated(Duration, &'static str, Value),
    /// Nobody listens.
    Down,
    /// The beginning of a body, and then the end of the connection.
    Torn(&'static str),
}

/// A cluster whose server answers by a script; discovery is answered by itself.
fn cluster(mut script: impl FnMut(&str) -> Reply + Send + 'static) -> (KubeCluster, Asked, Arc<dyn Runtime>) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Answer>>();
    let asked: Asked = Arc::default();
    let told = Arc::clone(&asked);
    let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(1));
    let clock = Arc::clone(&runtime);
    let frame = |bytes: &[u8]| {
        let frame = Full::new(Bytes::copy_from_slice(bytes)).frame().now_or_never().flatten();
        frame.expect("has a frame").map_err(|never| -> std::io::Error { match never {} })
    };
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some((request, answer)) = handle.next_request().await {
            let uri = request.uri().to_string();
            let path = request.uri().path().to_owned();
            if path == "/api/v1" {
                answer.send_response(respond(200, discovery().to_string()));
                continue;
            }
            told.lock().expect("is not poisoned").push(uri.clone());
            match script(&uri) {
                Reply::Json(status, body) => answer.send_response(respond(status, body.to_string())),
                Reply::Lines(lines) => {
                    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                    answer.send_response(respond(200, text));
                }
                Reply::Begun(text) => {
                    let frames =
                        futures::stream::iter([frame(text.as_bytes())]).chain(futures::stream::pending());
                    answer.send_response(Response::new(StreamBody::new(frames).boxed_unsync()));
                }
                Reply::Pieces(status, text, size) => {
                    let pieces: Vec<_> = text.as_bytes().chunks(size).map(frame).collect();
                    let body = StreamBody::new(futures::stream::iter(pieces)).boxed_unsync();
                    answer.send_response(Response::builder().status(status).body(body).expect("a response"));
                }
                Reply::Headed(status, text) => {
                    let mut response = respond(status, text.to_owned());
                    let id = "910ffefa-e8f3-409d-a30b-392a91e18f0b";
                    response.headers_mut().insert("audit-id", http::HeaderValue::from_static(id));
                    answer.send_response(response);
                }
                Reply::Silence => kept.push(answer),
                Reply::Dated(after, date, body) => {
                    clock.sleep(after).await;
                    let mut response = respond(200, body.to_string());
                    response.headers_mut().insert("date", date.parse().expect("is a header"));
                    answer.send_response(response);
                }
                Reply::Down => answer.send_error(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
                Reply::Torn(text) => {
                    let end = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                    let frames = futures::stream::iter([frame(text.as_bytes()), end]);
                    answer.send_response(Response::new(StreamBody::new(frames).boxed_unsync()));
                }
            }
        }
    });
    let client = kube::Client::new(service, "default");
    (KubeCluster::with_client(client, Arc::clone(&runtime)), asked, runtime)
}

fn respond(status: u16, body: String) -> Response<Answer> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).body(body).expect("is a response")
}

fn discovery() -> Value {
    json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        {"name": "pods", "kind": "Pod", "namespaced": true, "singularName": "", "verbs": ["get", "list"]},
        {"name": "configmaps", "kind": "ConfigMap", "namespaced": true, "singularName": "", "verbs": ["get", "list"]},
        {"name": "secrets", "kind": "Secret", "namespaced": true, "singularName": "", "verbs": ["get", "list"]},
    ]})
}

fn map(name: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n", "resourceVersion": version}})
}

fn key() -> ObjectKey {
    ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("n"), "a")
}

fn query() -> ListQuery {
    ListQuery::new(ObjectKind::new("v1", "ConfigMap"), Some("n"))
}

fn list(version: &str, items: Vec<Value>) -> Reply {
    Reply::Json(
        200,
        json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}),
    )
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    Reply::Json(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

#[tokio::test(start_paused = true)]
async fn t11_a_closed_watch_goes_on_where_it_was_and_lost_history_is_listed_again() {
    let mut turn = 0;
    let (cluster, asked, _) = cluster(move |_| {
        turn += 1;
        match turn {
            1 => list("5", vec![map("a", "3")]),
            // A bookmark moves on without an event, then the server closes.
            2 => Reply::Lines(vec![
                json!({"type": "ADDED", "object": map("b", "7")}),
                json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}}}),
            ]),
            3 => Reply::Lines(vec![
                json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}),
            ]),
            4 => list("20", vec![map("a", "3"), map("b", "7"), map("c", "15")]),
            5 => Reply::Lines(vec![json!({"type": "DELETED", "object": map("a", "21")})]),
            6 => status(410, "Expired", "too old resource version"),
            7 => list("30", vec![map("b", "7")]),
            _ => Reply::Silence,
        }
    });
    let mut watch = cluster.watch(&query()).await.expect("opens");
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(match watch.next().await.expect("goes on").expect("is no error") {
            WatchEvent::Listed { objects, version } => format!("listed {} at {version}", objects.len()),
            WatchEvent::Applied(object) => format!("applied {}", object.name()),
            WatchEvent::Deleted(object) => format!("deleted {}", object.name()),
            WatchEvent::Interrupted(why) => format!("interrupted {why}"),
        });
    }
    assert_eq!(told, ["listed 1 at 5", "applied b", "listed 3 at 20", "deleted a", "listed 1 at 30"]);
    let asked = asked.lock().expect("is not poisoned").clone();
    let from: Vec<Option<&str>> = asked
        .iter()
        .map(|uri| {
            uri.contains("watch=true")
                .then(|| uri.split("resourceVersion=").nth(1)?.split('&').next())
                .flatten()
        })
        .collect();
    assert_eq!(from[..7], [None, Some("5"), Some("9"), None, Some("20"), Some("21"), None]);
    assert!(asked[1].contains("allowWatchBookmarks=true"), "{}", asked[1]);
}

/// The line of a bookmark, after which nothing comes.
const BOOKMARK: &str = concat!(
    r#"{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"6"}}}"#,
    "\n"
);

#[tokio::test(start_paused = true)]
async fn t11_a_silent_watch_is_taken_up_again() {
    // It is silent from the beginning, or after it has said something.
    for begun in [false, true] {
        let mut turn = 0;
        let (cluster, asked, runtime) = cluster(move |_| {
            turn += 1;
            match turn {
                1 => list("5", Vec::new()),
                2 if begun => Reply::Begun(BOOKMARK),
                3 => Reply::Lines(vec![json!({"type": "ADDED", "object": map("b", "7")})]),
                _ => Reply::Silence,
            }
        });
        let start = runtime.now();
        let mut watch = cluster.watch(&query()).await.expect("opens");
        watch.next().await.expect("begins").expect("is no error");
        let event = async {
            loop {
                match watch.next().await.expect("goes on").expect("is no error") {
                    WatchEvent::Interrupted(_) => {}
                    event => break event,
                }
            }
        };
        let event = within(&*runtime, HOUR, event).await.expect("is given up");
        assert!(matches!(event, WatchEvent::Applied(_)), "{event:?}");
        assert!(runtime.now().since(start) < Duration::from_secs(200));
        assert_eq!(asked.lock().expect("is not poisoned").len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn t12_no_read_asks_for_an_old_version() {
    let (cluster, asked, _) = cluster(|uri| match uri.contains("/a") && !uri.contains('?') {
        true => Reply::Json(200, map("a", "3")),
        false => list("5", Vec::new()),
    });
    cluster.get(&key()).await.expect("answers");
    cluster.list(&query()).await.expect("answers");
    let asked = asked.lock().expect("is not poisoned").clone();
    assert_eq!(asked.len(), 2);
    for uri in asked {
        assert!(!uri.contains("resourceVersion"), "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn t13_a_refusal_for_load_is_passed_on_and_not_hidden_by_retries() {
    for (code, reason, kind) in [
        (429, "TooManyRequests", ErrorKind::Throttled),
        (503, "ServiceUnavailable", ErrorKind::Unavailable),
        (504, "Timeout", ErrorKind::DeadlineExceeded),
        (500, "InternalError", ErrorKind::Unavailable),
    ] {
        let (cluster, asked, runtime) = cluster(move |_| status(code, reason, "later"));
        let start = runtime.now();
        let error = cluster.get(&key()).await.expect_err("is refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(asked.lock().expect("is not poisoned").len(), 1, "one request, no retry of {code}");
        assert!(runtime.now().since(start) < Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_does_not_fit_is_sent_once_and_is_invalid() {
    // Word for word what Kubernetes 1.36 answers: neither a reason nor details.
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500,
        "message": "failed to create typed patch object (n/a; /v1, Kind=ConfigMap): .dta: field not declared in schema"});
    let (cluster, asked, _) = cluster(move |_| Reply::Json(500, body.clone()));
    let object = Object::from_value(map("a", "")).expect("is an object");
    let options = WriteOptions::apply("maily", Precondition::Any);
    let error = cluster.write(&object, &options).await.expect_err("is refused");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
    assert!(error.message().ends_with(".dta: field not declared in schema"), "{error}");
    assert_eq!(asked.lock().expect("is not poisoned").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_secret_is_not_quoted() {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500,
        "message": "failed to create typed patch object (n/a; /v1, Kind=Secret): .stringData.n: expected string, got &value.valueUnstructured{Value:31337}"});
    let (cluster, ..) = cluster(move |_| Reply::Json(500, body.clone()));
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "n"}, "stringData": {"n": 31337}});
    let object = Object::from_value(body).expect("is an object");
    let options = WriteOptions::apply("maily", Precondition::Any);
    let error = cluster.write(&object, &options).await.expect_err("is refused");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
    let told = format!("{error} {error:?}");
    assert!(told.contains(".stringData.n: expected string") && !told.contains("31337"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn t14_a_server_that_never_answers_is_given_up() {
    let (cluster, _, runtime) = cluster(|_| Reply::Silence);
    let start = runtime.now();
    let answer = within(&*runtime, HOUR, cluster.get(&key())).await.expect("is not waited for any longer");
    let error = answer.expect_err("is given up");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::DeadlineExceeded, Effect::Unknown));
    let waited = runtime.now().since(start);
    assert!(waited >= Duration::from_secs(15) && waited < Duration::from_secs(20), "{waited:?}");
}

/// What is still under way when we stop waiting may have its effect only a bounded time later.
#[tokio::test]
async fn t14_the_server_ends_its_own_work_on_every_change_before_we_stop_waiting() {
    let (cluster, asked, _) = cluster(|_| Reply::Json(200, map("a", "1")));
    let (object, key) = (Object::from_value(map("a", "1")).expect("is an object"), key());
    for options in
        [WriteOptions::apply("maily", Precondition::Any), WriteOptions::merge("maily", Precondition::Any)]
    {
        cluster.write(&object, &options).await.expect("is written");
    }
    cluster.delete(&key, &Precondition::Any, Dependents::Follow).await.expect("is deleted");
    let asked = asked.lock().expect("is not poisoned");
    assert_eq!(asked.len(), 3, "{asked:?}");
    for uri in asked.iter() {
        let query = uri.split_once('?').map(|(_, query)| query).unwrap_or_default();
        assert!(query.split('&').any(|pair| pair == "timeout=10s"), "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn t14_a_log_that_stops_is_given_up_unless_it_is_followed() {
    let pod = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some("n"), "a");
    for (follow, ends) in [(Follow::No, true), (Follow::Yes, false)] {
        let (cluster, _, runtime) =
            cluster(|_| Reply::Begun("2026-01-01T00:00:00Z one\n2026-01-01T00:00:00Z t"));
        let start = runtime.now();
        let mut lines =
            cluster.logs(&pod, &LogOptions { follow, ..LogOptions::default() }).await.expect("opens");
        assert_eq!(lines.next().await.expect("goes on").expect("is a line").text, "one");
        let next = within(&*runtime, HOUR, lines.next()).await;
        if ends {
            let error = next.expect("ends").expect("with an error").expect_err("is given up");
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            assert!(runtime.now().since(start) < Duration::from_secs(60));
        } else {
            assert!(next.is_none(), "a container may be silent");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_is_asked_for_as_its_options_say() {
    let pod = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some("n"), "a");
    let all = LogOptions {
        container: Some("side car".to_owned()),
        follow: Follow::Yes,
        since: Some(Duration::from_millis(90_500)),
        since_time: None,
        tail: Some(7),
        previous: true,
        bytes: Some(9),
    };
    let at_least = LogOptions { since: Some(Duration::from_millis(1)), ..LogOptions::default() };
    let from = LogOptions { since_time: "2026-01-01T00:00:07.9Z".parse().ok(), ..LogOptions::default() };
    for (options, wanted) in [
        (
            all,
            "?timestamps=true&follow=true&previous=true&container=side%20car&sinceSeconds=90&tailLines=7&limitBytes=9",
        ),
        (at_least, "?timestamps=true&sinceSeconds=1"),
        (from, "?timestamps=true&sinceTime=2026-01-01T00%3A00%3A07Z"),
        (LogOptions::default(), "?timestamps=true"),
    ] {
        let (cluster, asked, _) = cluster(|_| Reply::Lines(Vec::new()));
        drop(cluster.logs(&pod, &options).await.expect("opens"));
        let asked = asked.lock().expect("is not poisoned").clone();
        assert_eq!(asked, [format!("/api/v1/namespaces/n/pods/a/log{wanted}")]);
    }
}

/// The node sends nothing, no headers either, before the first line.
#[tokio::test(start_paused = true)]
async fn a_log_that_is_followed_may_begin_late() {
    let pod = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some("n"), "a");
    for (follow, limit) in [(Follow::No, 20), (Follow::Yes, 900)] {
        let (cluster, _, runtime) = cluster(|_| Reply::Silence);
        let start = runtime.now();
        let options = LogOptions { follow, ..LogOptions::default() };
        let opened = within(&*runtime, HOUR, cluster.logs(&pod, &options)).await.expect("is given up once");
        assert_eq!(opened.err().expect("is given up").kind(), ErrorKind::DeadlineExceeded);
        let waited = runtime.now().since(start).as_secs();
        assert!(waited > limit / 2 && waited < limit, "{waited} s");
    }
}

/// What a server that starts says to people who may all they ask for, until it has read who may what.
fn not_yet() -> [Reply; 2] {
    [
        status(
            403,
            "Forbidden",
            "configmaps \"a\" is forbidden: User \"ci\" cannot patch resource \"configmaps\" in API group \"\" in the namespace \"n\"",
        ),
        status(401, "Unauthorized", "Unauthorized"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_away_a_moment_ago_refuses_nobody_for_good() {
    for answer in not_yet() {
        let mut later = Some(answer);
        let mut turn = 0;
        let (cluster, ..) = cluster(move |_| {
            turn += 1;
            match turn {
                1 => list("5", Vec::new()),
                2 => Reply::Down,
                3 => later.take().expect("once"),
                4 => Reply::Lines(vec![json!({"type": "ADDED", "object": map("b", "7")})]),
                _ => Reply::Silence,
            }
        });
        let mut watch = cluster.watch(&query()).await.expect("opens");
        let mut told = Vec::new();
        for _ in 0..4 {
            told.push(match watch.next().await.expect("goes on").expect("is no end") {
                WatchEvent::Listed { .. } => "listed",
                WatchEvent::Applied(_) => "applied",
                WatchEvent::Deleted(_) => "deleted",
                WatchEvent::Interrupted(_) => "interrupted",
            });
        }
        assert_eq!(told, ["listed", "interrupted", "interrupted", "applied"]);
    }
    // Whatever its last sign of life was: an answer that broke off, or a watch.
    for gone in [Reply::Down, Reply::Torn("{\"kind\":")] {
        let (mut gone, mut answers) = (Some(gone), not_yet().into_iter());
        let (cluster, _, runtime) = cluster(move |_| {
            gone.take()
                .or_else(|| answers.next())
                .unwrap_or_else(|| not_yet().into_iter().next().expect("two"))
        });
        let object = Object::from_value(map("a", "")).expect("is an object");
        let options = WriteOptions::apply("maily", Precondition::Any);
        let error = cluster.write(&object, &options).await.expect_err("is away");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
        for _ in not_yet() {
            let error = cluster.write(&object, &options).await.expect_err("has read nothing yet");
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error}");
            assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        }
        // A right that is still missing later is missing.
        runtime.sleep(Duration::from_secs(16)).await;
        let error = cluster.write(&object, &options).await.expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_watched_a_server_that_went_away_is_not_refused_for_good_either() {
    let mut turn = 0;
    let (cluster, ..) = cluster(move |_| {
        turn += 1;
        match turn {
            1 => list("5", Vec::new()),
            2 => Reply::Torn("{"),
            3 => not_yet().into_iter().next().expect("two"),
            _ => Reply::Lines(vec![json!({"type": "ADDED", "object": map("b", "7")})]),
        }
    });
    let mut watch = cluster.watch(&query()).await.expect("opens");
    watch.next().await.expect("begins").expect("is listed");
    let event = watch.next().await.expect("goes on").expect("is no end");
    assert!(matches!(event, WatchEvent::Interrupted(_)), "{event:?}");
}

/// It answers 201 to who asks what he may, as little as it knows of that yet.
#[tokio::test(start_paused = true)]
async fn a_server_that_was_away_a_moment_ago_denies_no_right_for_good() {
    let review = |allowed: bool| {
        Reply::Json(201, json!({"kind": "SelfSubjectAccessReview", "status": {"allowed": allowed}}))
    };
    let permission = Permission {
        namespace: Some("n".to_owned()),
        group: String::new(),
        resource: "configmaps".to_owned(),
        name: None,
        verb: "patch".to_owned(),
        path: None,
    };
    let permissions = [permission];
    let mut script = vec![review(false), review(true), review(false), Reply::Down];
    let (cluster, _, runtime) = cluster(move |_| script.pop().unwrap_or_else(|| review(false)));
    cluster.allowed(&permissions).await.expect_err("is away");
    let error = cluster.allowed(&permissions).await.expect_err("may not know yet");
    assert!(error.is_transient() && error.message().contains("was away a moment ago"), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    // What it allows it knows.
    assert_eq!(cluster.allowed(&permissions).await.expect("answers"), [Access::Allowed]);
    // A right that is still missing later is missing.
    runtime.sleep(Duration::from_secs(16)).await;
    assert_eq!(cluster.allowed(&permissions).await.expect("answers"), [Access::Denied]);
}

/// What a policy or a webhook decides is decided.
#[tokio::test(start_paused = true)]
async fn what_a_webhook_refuses_is_refused_beside_an_outage_as_well() {
    let mut gone = Some(Reply::Down);
    let (cluster, ..) = cluster(move |_| {
        let denied = "admission webhook \"guard.example\" denied the request: no";
        gone.take().unwrap_or_else(|| status(403, "Forbidden", denied))
    });
    let object = Object::from_value(map("a", "")).expect("is an object");
    let options = WriteOptions::apply("maily", Precondition::Any);
    cluster.write(&object, &options).await.expect_err("is away");
    let error = cluster.write(&object, &options).await.expect_err("is refused");
    assert!(!error.is_transient(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_snapshot_is_lost_between_pages_begins_anew() {
    let mut turn = 0;
    let (cluster, asked, _) = cluster(move |_| {
        turn += 1;
        let page = |next: &str, items: Vec<Value>| {
            Reply::Json(200, json!({"metadata": {"resourceVersion": "5", "continue": next}, "items": items}))
        };
        match turn {
            1 => page("one", vec![map("a", "3")]),
            2 => status(410, "Expired", "The provided continue parameter is too old"),
            3 => page("two", vec![map("b", "3")]),
            _ => page("", vec![map("c", "3")]),
        }
    });
    let listed = cluster.list(&query()).await.expect("answers");
    let names: Vec<&str> = listed.iter().map(|object| object.name()).collect();
    assert_eq!(names, ["b", "c"], "nothing of the lost snapshot is mixed in");
    let asked = asked.lock().expect("is not poisoned").clone();
    assert!(asked[1].contains("continue=one") && !asked[2].contains("continue"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_line_of_a_log_without_an_end_is_cut_and_the_next_one_is_whole() {
    let pod = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some("n"), "p");
    let long = "=".repeat(70 << 10);
    // In frames of all sizes, the last of them in the middle of a line.
    for size in [1000, 60_000, 1 << 20] {
        let said = format!(
            "2026-01-01T00:00:00Z starts\n2026-01-01T00:00:01Z {long}\r{long}\n2026-01-01T00:00:02Z ends\n2026-01-01T00:00:03Z {long}\n2026-01-01T00:00:04Z half"
        );
        let (cluster, asked, _) = cluster(move |_| Reply::Pieces(200, said.clone(), size));
        let options = LogOptions { bytes: Some(524_288), ..LogOptions::default() };
        let lines = cluster.logs(&pod, &options).await.expect("opens");
        let lines: Vec<String> = lines.map(|line| line.expect("is read").text).collect().await;
        let lengths: Vec<usize> = lines.iter().map(String::len).collect();
        assert_eq!(lines.len(), 5, "{lengths:?}");
        assert_eq!((&*lines[0], &*lines[2], &*lines[4]), ("starts", "ends", "half"));
        for line in [&lines[1], &lines[3]] {
            assert!(line.ends_with("=…") && (60_000..=64 << 10).contains(&line.len()), "{lengths:?}");
        }
        assert!(asked.lock().expect("is not poisoned")[0].contains("limitBytes=524288"));
    }
}

#[tokio::test(start_paused = true)]
async fn t11_a_watch_that_is_closed_at_once_is_asked_for_with_pauses() {
    let mut turn = 0;
    let (cluster, asked, runtime) = cluster(move |_| {
        turn += 1;
        match turn {
            1 => list("5", Vec::new()),
            30 => Reply::Lines(vec![json!({"type": "ADDED", "object": map("b", "7")})]),
            _ => Reply::Lines(Vec::new()),
        }
    });
    let start = runtime.now();
    let mut watch = cluster.watch(&query()).await.expect("opens");
    watch.next().await.expect("begins").expect("is no error");
    let event = watch.next().await.expect("goes on").expect("is no error");
    assert!(matches!(event, WatchEvent::Applied(_)), "{event:?}");
    assert_eq!(asked.lock().expect("is not poisoned").len(), 30);
    let took = runtime.now().since(start);
    assert!(took > Duration::from_secs(60), "29 requests in {took:?}");
}

#[tokio::test(start_paused = true)]
async fn t11_history_that_is_lost_again_and_again_is_listed_with_pauses() {
    let gone = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}});
    for refused in [true, false] {
        let gone = gone.clone();
        let (cluster, asked, runtime) = cluster(move |uri| match (uri.contains("watch=true"), refused) {
            (false, _) => list("5", Vec::new()),
            (true, true) => status(410, "Expired", "too old resource version"),
            (true, false) => Reply::Lines(vec![gone.clone()]),
        });
        let start = runtime.now();
        let mut watch = cluster.watch(&query()).await.expect("opens");
        for _ in 0..20 {
            let event = watch.next().await.expect("goes on").expect("is no error");
            assert!(matches!(event, WatchEvent::Listed { .. }), "{event:?}");
        }
        let (took, asked) = (runtime.now().since(start), asked.lock().expect("is not poisoned").len());
        assert!(took > Duration::from_secs(60), "{asked} requests in {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_too_old_is_refused() {
    for (version, refused) in [
        ("v1.29.14", true),
        ("v1.29+", true),
        ("v1.30.0", false),
        ("v1.31.4-eks-2d5f260", false),
        ("odd", false),
    ] {
        let (cluster, _, _) = cluster(move |uri| match uri {
            "/version" => Reply::Json(200, json!({"gitVersion": version})),
            _ => Reply::Json(200, json!({"metadata": {"uid": "u"}})),
        });
        let told = cluster.describe().await;
        match (told, refused) {
            (Err(error), true) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.to_string().contains(version), "{error}");
                assert!(error.hint().expect("has a hint").contains("1.30"), "{error}");
            }
            (Ok(info), false) => assert_eq!(info.version, version.trim_start_matches('v')),
            (told, _) => panic!("{version}: {told:?}"),
        }
    }
}

/// A plugin has people log in, and that is no time of the server's clock.
#[tokio::test(start_paused = true)]
async fn what_a_login_took_is_no_difference_of_clocks() {
    for (again, skew) in [(Duration::ZERO, Some(500)), (Duration::from_secs(5), None)] {
        let mut turn = 0;
        let (cluster, asked, _) = cluster(move |uri| {
            turn += 1;
            let version = json!({"gitVersion": "v1.36.0"});
            match uri {
                "/version" => match turn {
                    1 => Reply::Dated(Duration::from_secs(10), "Thu, 01 Jan 2026 00:00:10 GMT", version),
                    _ => Reply::Dated(again, "Thu, 01 Jan 2026 00:00:10 GMT", version),
                },
                _ => Reply::Json(200, json!({"metadata": {"uid": "u"}})),
            }
        });
        assert_eq!(cluster.describe().await.expect("answers").clock_skew_ms, skew);
        assert_eq!(asked.lock().expect("is not poisoned").len(), 3);
    }
}

/// Names of RBAC are those of people and systems.
#[tokio::test(start_paused = true)]
async fn a_name_that_kubernetes_takes_is_asked_for_as_it_is() {
    let kind = ObjectKind::new("rbac.authorization.k8s.io/v1", "RoleBinding");
    let resources = json!({"kind": "APIResourceList", "groupVersion": kind.api_version, "resources": [
        {"name": "rolebindings", "kind": "RoleBinding", "namespaced": true, "singularName": "", "verbs": ["get"]}]});
    let (cluster, asked, _) = cluster(move |uri| match uri.contains("namespaces") {
        true => status(404, "NotFound", "no"),
        false => Reply::Json(200, resources.clone()),
    });
    for (name, path) in [
        ("alice@example.com", "alice%40example.com"),
        ("ci+release bot", "ci%2Brelease%20bot"),
        ("system:node-x", "system:node-x"),
        ("..a", "..a"),
    ] {
        let key = ObjectKey::new(kind.clone(), Some("n"), name);
        assert!(cluster.get(&key).await.expect("answers").is_none());
        let last = asked.lock().expect("is not poisoned").last().cloned().expect("was asked");
        assert_eq!(last, format!("/apis/rbac.authorization.k8s.io/v1/namespaces/n/rolebindings/{path}"));
    }
    for name in ["", ".", "..", "a/b", "a%2fb"] {
        let key = ObjectKey::new(kind.clone(), Some("n"), name);
        assert_eq!(cluster.get(&key).await.expect_err("is no name").kind(), ErrorKind::Invalid, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn kinds_of_a_definition_that_was_written_are_waited_for() {
    let resources = |plural: &str, kind: &str| {
        Reply::Json(
            200,
            json!({"resources": [{"name": plural, "kind": kind, "namespaced": plural == "things"}]}),
        )
    };
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"}, "spec": {"group": "example.com"}});
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "one", "namespace": "n"}});
    let object = |body: &Value| Object::from_value(body.clone()).expect("is an object");
    let options = WriteOptions::apply("test", Precondition::Any);
    for (written, dry_run) in [(false, false), (true, true), (true, false)] {
        let (mut asked, answer, one) = (0, definition.clone(), thing.clone());
        let (cluster, _, _) = cluster(move |uri| match uri {
            "/apis/apiextensions.k8s.io/v1" => {
                resources("customresourcedefinitions", "CustomResourceDefinition")
            }
            // It is established before discovery tells of it.
            "/apis/example.com/v1" => {
                asked += 1;
                if asked < 4 { status(404, "NotFound", "not yet") } else { resources("things", "Thing") }
            }
            uri if uri.contains("customresourcedefinitions") => Reply::Json(200, answer.clone()),
            _ => Reply::Json(200, one.clone()),
        });
        if written {
            let options = if dry_run { options.clone().dry_run() } else { options.clone() };
            cluster.write(&object(&definition), &options).await.expect("is written");
        }
        let told = cluster.write(&object(&thing), &options).await;
        match told {
            Ok(object) if written && !dry_run => assert_eq!(object.name(), "one"),
            Err(error) if !written || dry_run => assert_eq!(error.kind(), ErrorKind::Unsupported),
            told => panic!("written: {written}, dry run: {dry_run}: {told:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_asked_once_for_all_its_kinds() {
    let kinds = ["Thing", "Other", "Wide"];
    let (cluster, asked, _) = cluster(move |uri| match uri {
        "/apis/example.com/v1" => {
            let list: Vec<Value> = kinds
                .iter()
                .map(|kind| json!({"name": format!("{}s", kind.to_lowercase()), "kind": kind, "namespaced": *kind != "Wide"}))
                .collect();
            Reply::Json(200, json!({"resources": list}))
        }
        _ => status(404, "NotFound", "not there"),
    });
    let kind = |name: &str| ObjectKind::new("example.com/v1", name);
    let count = || {
        let asked = asked.lock().expect("is not poisoned");
        asked.iter().filter(|uri| uri.as_str() == "/apis/example.com/v1").count()
    };
    // Together, one after another, and on the way to an object: the answer serves for the life of the process.
    let told = cluster.resources(&kinds.map(kind)).await.expect("answers");
    let scopes: Vec<(&str, bool)> = told.iter().map(|one| (one.kind.kind.as_str(), one.namespaced)).collect();
    assert_eq!(scopes, [("Thing", true), ("Other", true), ("Wide", false)]);
    for name in kinds {
        assert_eq!(cluster.resources(&[kind(name)]).await.expect("answers").len(), 1);
        let key = ObjectKey::new(kind(name), Some("n"), "a");
        assert_eq!(cluster.get(&key).await.expect("answers"), None);
    }
    assert_eq!(count(), 1);
    let gets: Vec<String> = asked.lock().expect("is not poisoned")[1..].to_vec();
    // A kind outside namespaces is asked for there, whatever the key says.
    assert_eq!(
        gets,
        [
            "/apis/example.com/v1/namespaces/n/things/a",
            "/apis/example.com/v1/namespaces/n/others/a",
            "/apis/example.com/v1/wides/a"
        ]
    );
    // What it lacks may have come since.
    for _ in 0..2 {
        assert!(cluster.resources(&[kind("Late")]).await.expect("answers").is_empty());
    }
    assert_eq!(count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_service_asks_its_proxy_and_tells_its_answers_from_those_of_the_way() {
    let gone = "endpoints \"api\" not found";
    let mut answers = vec![
        Reply::Json(200, json!({"ok": true})),
        Reply::Json(404, json!({"kind": "Page", "message": "mine"})),
        Reply::Json(500, json!({})),
        Reply::Json(401, json!({"message": "mine"})),
        status(401, "Unauthorized", "Unauthorized"),
        Reply::Pieces(429, "Too many requests, please try again later.".to_owned(), 100),
        status(500, "InternalError", "etcdserver: leader changed"),
        status(404, "NotFound", gone),
        status(503, "ServiceUnavailable", "no endpoints available for service \"api\""),
        Reply::Json(502, json!({})),
        Reply::Silence,
    ]
    .into_iter();
    let (cluster, asked, _) = cluster(move |_| answers.next().expect("one for each look"));
    let limit = Duration::from_secs(10);
    let look = || cluster.probe_service("n", "api", 8080, "/health/ready?deep=1", limit);
    for own in [200, 404, 500, 401] {
        assert_eq!(look().await.expect("is the service's answer"), own);
    }
    for (kind, said) in [
        (ErrorKind::Unavailable, "the API server itself refused it with 401 Unauthorized"),
        (ErrorKind::Unavailable, "429 Too Many Requests came from the API server's proxy"),
        (ErrorKind::Unavailable, "the API server itself refused it with 500"),
        (ErrorKind::Unavailable, gone),
        (ErrorKind::Unavailable, "no endpoints available"),
        (ErrorKind::Unavailable, "502 Bad Gateway came from the API server's proxy"),
        (ErrorKind::DeadlineExceeded, "no answer within 10 s"),
    ] {
        let error = look().await.expect_err("nobody was reached");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.to_string().contains(said) && error.to_string().contains("Service n/api:8080"),
            "{error}"
        );
    }
    let path = "/api/v1/namespaces/n/services/api:8080/proxy/health/ready?deep=1";
    assert_eq!(*asked.lock().expect("is not poisoned"), vec![path; 11]);
}

/// Whoever stands between has no such page: that says nothing of what is there.
#[tokio::test(start_paused = true)]
async fn a_404_that_is_not_the_api_servers_is_no_absence() {
    let from_between = || Reply::Pieces(404, "default backend - 404".to_owned(), 100);
    let gone = || status(404, "NotFound", "configmaps \"a\" not found");
    let object = Object::from_value(map("a", "7")).expect("is an object");
    let known = Precondition::Exactly { uid: "u".into(), resource_version: "7".into() };
    for own in [false, true] {
        let (cluster, _, _) = cluster(move |_| if own { gone() } else { from_between() });
        let read = cluster.get(&key()).await;
        let deleted = cluster.delete(&key(), &known, Dependents::Follow).await;
        let written = cluster.write(&object, &WriteOptions::merge("test", known.clone())).await;
        let written = written.expect_err("there is none");
        if own {
            assert_eq!((read.expect("answers"), deleted.expect("answers")), (None, Deleted::AlreadyAbsent));
            assert_eq!(written.kind(), ErrorKind::Conflict);
            continue;
        }
        for error in [read.expect_err("is not known"), deleted.expect_err("is not known"), written] {
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown), "{error}");
            assert!(error.to_string().contains("404 Not Found did not come from the API server"), "{error}");
        }
    }
    // Of a group that it does not serve the API server itself speaks plainly, as any server in Go does: its headers tell.
    let kind = ObjectKind::new("example.com/v1", "Thing");
    for (said, own, served) in [
        ("404 page not found\n", true, Some(0)),
        ("404 page not found\n", false, None),
        ("default backend - 404", false, None),
    ] {
        let (cluster, _, _) = cluster(move |_| match own {
            true => Reply::Headed(404, said),
            false => Reply::Pieces(404, said.to_owned(), 100),
        });
        let found = cluster.resources(std::slice::from_ref(&kind)).await;
        assert_eq!(found.ok().map(|found| found.len()), served, "{said}");
    }
    let (cluster, _, _) = cluster(|_| Reply::Headed(404, "404 page not found\n"));
    assert_eq!(cluster.get(&key()).await.expect("answers"), None);
}

/// Where a version is served no more, what was read in it is not gone: also for whoever knew the version before.
#[tokio::test(start_paused = true)]
async fn what_is_absent_in_a_version_that_is_served_no_more_is_not_called_gone() {
    let mut dropped = false;
    let (cluster, _, _) = cluster(move |uri| {
        let group = |version: &str| {
            json!({"kind": "APIResourceList", "groupVersion": format!("example.com/{version}"),
            "resources": [{"name": "things", "kind": "Thing", "namespaced": true, "verbs": ["get"]}]})
        };
        match uri {
            "/apis/example.com" => {
                Reply::Json(200, json!({"kind": "APIGroup", "versions": [{"version": "v1"}]}))
            }
            "/apis/example.com/v1" => Reply::Json(200, group("v1")),
            "/apis/apiextensions.k8s.io/v1" => Reply::Json(
                200,
                json!({"kind": "APIResourceList", "groupVersion": "apiextensions.k8s.io/v1",
                "resources": [{"name": "customresourcedefinitions", "kind": "CustomResourceDefinition",
                    "namespaced": false, "verbs": ["get"]}]}),
            ),
            _ if uri.contains("/customresourcedefinitions/") => Reply::Json(
                200,
                json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "things.example.com", "uid": "u", "resourceVersion": "2"}}),
            ),
            "/apis/example.com/v1beta1" if !dropped => Reply::Json(200, group("v1beta1")),
            _ if uri.contains("/last") => {
                dropped = true;
                Reply::Headed(404, "404 page not found\n")
            }
            _ if dropped => Reply::Headed(404, "404 page not found\n"),
            _ => status(404, "NotFound", "things \"a\" not found"),
        }
    });
    let of = |name: &str| ObjectKey::new(ObjectKind::new("example.com/v1beta1", "Thing"), Some("n"), name);
    assert_eq!(cluster.get(&of("a")).await.expect("answers"), None);
    // Also a moment after a definition was written, of which discovery may not tell yet.
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com", "uid": "u", "resourceVersion": "1"},
        "spec": {"group": "example.com", "names": {"kind": "Thing"}}});
    let definition = Object::from_value(definition).expect("is an object");
    let known = Precondition::Exactly { uid: "u".into(), resource_version: "1".into() };
    cluster.write(&definition, &WriteOptions::merge("test", known.clone())).await.expect("is taken");
    let error = cluster.delete(&of("last"), &known, Dependents::Follow).await.expect_err("is not served");
    assert_eq!((error.kind(), error.served_in()), (ErrorKind::Unsupported, &["v1".to_owned()][..]));
    for name in ["last", "a"] {
        let error = cluster.get(&of(name)).await.expect_err("is not served");
        assert_eq!((error.kind(), error.served_in()), (ErrorKind::Unsupported, &["v1".to_owned()][..]));
    }
}

/// Nor is a request refused that whoever stands between does not take.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_taken_between_says_nothing_of_what_is_served() {
    for code in [405, 406, 415] {
        let said = move || Reply::Pieces(code, "not here".to_owned(), 100);
        for headed in [true, false] {
            let (cluster, _, _) = cluster(move |_| match headed {
                true => Reply::Headed(code, "only JSON"),
                false => status(code, "NotAcceptable", "only JSON"),
            });
            let error = cluster.get(&key()).await.expect_err("is none");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{code}");
        }
        let (cluster, _, _) = cluster(move |_| said());
        let error = cluster.get(&key()).await.expect_err("is not known");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown), "{error}");
        let kind = ObjectKind::new("example.com/v1", "Thing");
        let error = cluster.resources(std::slice::from_ref(&kind)).await.expect_err("is not known");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

/// Each rule is worth what turns red without it.
#[cfg(feature = "planted-defects")]
#[test]
fn every_trap_that_is_put_back_on_the_wire_turns_its_test_red() {
    use maily_core::planted::{Defect, turns_red};

    let goes_on = t11_a_closed_watch_goes_on_where_it_was_and_lost_history_is_listed_again;
    let tests: [(Defect, fn()); 8] = [
        (Defect::ClosedWatchEnds, goes_on),
        (Defect::LostHistoryKept, goes_on),
        (Defect::SilentWatchBelieved, t11_a_silent_watch_is_taken_up_again),
        (Defect::OldReadsTaken, t12_no_read_asks_for_an_old_version),
        (Defect::LoadHidden, t13_a_refusal_for_load_is_passed_on_and_not_hidden_by_retries),
        (Defect::AnswersAwaited, t14_a_server_that_never_answers_is_given_up),
        (Defect::AnswersAwaited, t14_a_log_that_stops_is_given_up_unless_it_is_followed),
        (Defect::ServerUnlimited, t14_the_server_ends_its_own_work_on_every_change_before_we_stop_waiting),
    ];
    for (defect, test) in tests {
        turns_red(defect, test);
    }
}
