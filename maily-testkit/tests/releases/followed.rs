//! Logs that are followed over connections that end, hang or fall silent.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterInfo, Deleted, Dependents, ErrorKind, Follow, ListQuery,
        LogLine, LogOptions, LogStream, Permission, Precondition, ProviderError, WatchEvent, WatchStream,
        WriteOptions,
    },
    release::{self, PodLines},
    runtime::{Runtime, within},
};
use maily_testkit::sim::SimCluster;
use serde_json::{Value, json};

use crate::{
    logs::Behind,
    setup::{Setup, succeeded},
};

/// What a connection does, with the numbers of the lines that were said by then.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// It ends in good order.
    Ends(usize),
    /// It stays, and says no more.
    Stays(usize),
    /// It breaks off.
    Breaks(usize),
    /// There is no answer.
    Hangs,
    /// The node cannot be reached.
    Away,
    /// There is no log yet.
    NotYet,
    /// The log of another instance, which begins with a later line; it stays.
    Other(usize, usize),
    /// The same, with five seconds before each line.
    Drips(usize, usize),
}

/// What a watch tells later.
#[derive(Clone, Debug)]
enum Change {
    /// The pod with this uid is so now.
    Applied(&'static str, Value),
    /// Its history was lost: the pod with this uid is all that is there.
    Listed(&'static str, Value),
}

/// A cluster with one pod whose logs are told in ways by script.
#[derive(Debug)]
struct Talks {
    cluster: SimCluster,
    runtime: Arc<dyn Runtime>,
    /// Of the pod, one after the other.
    states: Vec<Value>,
    /// Each with the time at which it is told.
    changes: Vec<(Duration, Change)>,
    /// By container.
    ways: Mutex<BTreeMap<String, VecDeque<Way>>>,
    began: jiff::Timestamp,
    asked: Mutex<Vec<LogOptions>>,
}

impl Talks {
    /// One line each tenth of a second.
    fn line(&self, number: usize) -> LogLine {
        let after = Duration::from_millis(100) * u32::try_from(number).expect("is small");
        LogLine { time: Some(self.began + after), text: format!("line {number}") }
    }

    fn error(kind: ErrorKind) -> ProviderError {
        ProviderError::new(kind, "test", "logs", "worker-x", "by script")
    }
}

#[async_trait]
impl Cluster for Talks {
    async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        self.cluster.describe().await
    }

    async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError> {
        self.cluster.resources(kinds).await
    }

    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        self.cluster.allowed(permissions).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        self.cluster.get(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.cluster.list(query).await
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        self.cluster.list_metadata(query).await
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        self.cluster.write(object, options).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        self.cluster.delete(key, precondition, dependents).await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        let pod = |uid: &str, status: &Value| {
            let body = json!({"apiVersion": "v1", "kind": "Pod", "status": status,
                "metadata": {"name": "worker-x", "namespace": "shop", "uid": uid, "labels": query.labels}});
            Object::from_value(body).expect("is an object")
        };
        let listed = |pod| WatchEvent::Listed { objects: vec![pod], version: "1".to_owned() };
        let mut events = vec![(Duration::ZERO, listed(pod("u-1", &self.states[0])))];
        events.extend(
            self.states[1..].iter().map(|status| (Duration::ZERO, WatchEvent::Applied(pod("u-1", status)))),
        );
        events.extend(self.changes.iter().map(|(at, change)| match change {
            Change::Applied(uid, status) => (*at, WatchEvent::Applied(pod(uid, status))),
            Change::Listed(uid, status) => (*at, listed(pod(uid, status))),
        }));
        let (runtime, start) = (Arc::clone(&self.runtime), self.runtime.now());
        let events = stream::iter(events).then(move |(at, event)| {
            let runtime = Arc::clone(&runtime);
            async move {
                runtime.sleep(at.saturating_sub(runtime.now().since(start))).await;
                Ok(event)
            }
        });
        Ok(events.chain(stream::pending()).boxed())
    }

    async fn logs(&self, _: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        self.asked.lock().expect("not poisoned").push(options.clone());
        let container = options.container.clone().expect("is named");
        let way = self.ways.lock().expect("not poisoned").get_mut(&container).and_then(VecDeque::pop_front);
        let (mut first, mut pause) = (1, Duration::ZERO);
        let (said, rest): (usize, LogStream) = match way.unwrap_or(Way::Ends(0)) {
            Way::Other(from, said) => {
                first = from;
                (said, stream::pending().boxed())
            }
            Way::Drips(from, said) => {
                (first, pause) = (from, Duration::from_secs(5));
                (said, stream::pending().boxed())
            }
            Way::Ends(said) => (said, stream::empty().boxed()),
            Way::Stays(said) => (said, stream::pending().boxed()),
            Way::Breaks(said) => (said, stream::iter([Err(Self::error(ErrorKind::Unavailable))]).boxed()),
            Way::Hangs => std::future::pending().await,
            Way::Away => return Err(Self::error(ErrorKind::Unavailable)),
            Way::NotYet => {
                self.runtime.sleep(Duration::from_millis(200)).await;
                return Err(Self::error(ErrorKind::Invalid));
            }
        };
        let by_age = options.since.map(|age| self.runtime.wall() - age);
        let from = options.since_time.or(by_age);
        let lines: Vec<LogLine> = (first..=said)
            .map(|number| self.line(number))
            .filter(|line| from.is_none_or(|from| line.time >= Some(from)))
            .collect();
        let tail = options.tail.map_or(lines.len(), |tail| usize::try_from(tail).expect("is small"));
        let left_out = lines.len().saturating_sub(tail);
        let runtime = Arc::clone(&self.runtime);
        let lines = stream::iter(lines.into_iter().skip(left_out)).then(move |line| {
            let runtime = Arc::clone(&runtime);
            async move {
                runtime.sleep(pause).await;
                Ok(line)
            }
        });
        Ok(lines.chain(rest).boxed())
    }
}

fn container(name: &str, restarts: i64, state: &str) -> Value {
    json!({"name": name, "restartCount": restarts, "state": {state: {}}})
}

fn running() -> Vec<Value> {
    vec![json!({"containerStatuses": [container("main", 0, "running")]})]
}

/// `worker`, whose one pod talks so from now on.
async fn talks(states: Vec<Value>, ways: &[(&str, &[Way])]) -> (Setup, Arc<Talks>) {
    changes(states, Vec::new(), ways).await
}

/// The same, with what becomes of the pod.
async fn changes(
    states: Vec<Value>,
    changes: Vec<(Duration, Change)>,
    ways: &[(&str, &[Way])],
) -> (Setup, Arc<Talks>) {
    let mut setup = Setup::new(117);
    assert!(succeeded(&setup.deploy("v1").await));
    let ways = ways.iter().map(|(name, ways)| ((*name).to_owned(), ways.iter().copied().collect()));
    let talks = Arc::new(Talks {
        cluster: SimCluster::new(Arc::clone(&setup.shared)),
        runtime: Arc::clone(&setup.runtime),
        states,
        changes,
        ways: Mutex::new(ways.collect()),
        began: setup.runtime.wall(),
        asked: Mutex::default(),
    });
    setup.cluster = Some(Arc::clone(&talks) as Arc<dyn Cluster>);
    (setup, talks)
}

async fn follow(setup: &Setup, tail: Option<u32>) -> PodLines {
    let options = LogOptions { follow: Follow::Yes, tail, ..LogOptions::default() };
    let logs = release::logs(&setup.environment(), "worker", &options).await.expect("can be read");
    logs.expect("has pods").lines
}

/// What comes within a time.
async fn told(setup: &Setup, lines: &mut PodLines, limit: Duration) -> Vec<String> {
    let end = setup.runtime.now().since_start() + limit;
    let mut told = Vec::new();
    loop {
        let left = end.saturating_sub(setup.runtime.now().since_start());
        let Some(line) = within(&*setup.runtime, left, lines.next()).await else { return told };
        told.push(line.expect("goes on").expect("is read").line.text);
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// A node, or what leads to it, that comes again ends what it tells as if the container had ended.
#[tokio::test(start_paused = true)]
async fn a_followed_log_that_ends_while_its_container_runs_goes_on() {
    let (setup, talks) =
        talks(running(), &[("main", &[Way::Ends(1), Way::Away, Way::Ends(1), Way::Stays(3)])]).await;
    let mut lines = follow(&setup, None).await;
    assert_eq!(told(&setup, &mut lines, MINUTE).await, ["line 1", "line 2", "line 3"]);
    let asked = talks.asked.lock().expect("not poisoned");
    assert!(asked[1..].iter().all(|options| options.since_time == talks.line(1).time), "{asked:?}");
}

/// Where that is told after the end of the connection, once more: it may have been the end of the connection alone.
#[tokio::test(start_paused = true)]
async fn a_followed_log_of_a_container_that_has_ended_is_not_asked_for_again() {
    let ended = || vec![is(0, "terminated")];
    for (states, times) in [(ended(), 1), ([running(), ended()].concat(), 2)] {
        let (setup, talks) = talks(states, &[("main", &[Way::Ends(1); 9])]).await;
        let mut lines = follow(&setup, None).await;
        assert_eq!(told(&setup, &mut lines, 5 * MINUTE).await, ["line 1"]);
        assert_eq!(talks.asked.lock().expect("not poisoned").len(), times);
    }
}

/// A connection that something on the way has forgotten says nothing any more, and does not end.
#[tokio::test(start_paused = true)]
async fn a_followed_log_that_has_fallen_silent_is_asked_for_again() {
    let (setup, _) = talks(running(), &[("main", &[Way::Stays(1), Way::Hangs, Way::Stays(2)])]).await;
    let mut lines = follow(&setup, None).await;
    assert_eq!(told(&setup, &mut lines, 5 * MINUTE).await, ["line 1", "line 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_says_nothing_holds_back_no_other() {
    let states = vec![
        json!({"containerStatuses": [container("calm", 0, "running"), container("main", 0, "running")]}),
    ];
    let (setup, _) = talks(states, &[("calm", &[Way::Hangs]), ("main", &[Way::Stays(1)])]).await;
    let mut lines = follow(&setup, None).await;
    assert_eq!(told(&setup, &mut lines, Duration::from_secs(1)).await, ["line 1"]);
}

/// What was asked for from now on is asked for from then on.
#[tokio::test(start_paused = true)]
async fn what_is_said_before_a_log_could_be_opened_is_told() {
    let (setup, _) = talks(running(), &[("main", &[Way::Away, Way::Away, Way::Stays(3)])]).await;
    let mut lines = follow(&setup, Some(0)).await;
    assert_eq!(told(&setup, &mut lines, MINUTE).await, ["line 1", "line 2", "line 3"]);
}

/// A change of the pod that comes while its log is asked for is no other time's change.
#[tokio::test(start_paused = true)]
async fn a_log_that_was_not_there_yet_is_asked_for_again_with_a_change_that_came_meanwhile() {
    let states = [running(), running()].concat();
    let (setup, _) = talks(states, &[("main", &[Way::NotYet, Way::Stays(1)])]).await;
    let mut lines = follow(&setup, None).await;
    assert_eq!(told(&setup, &mut lines, MINUTE).await, ["line 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_goes_on_where_it_was_whatever_the_clock_here_says() {
    let ways = [&[Way::Breaks(1)][..], &[Way::Away; 8], &[Way::Stays(3)]].concat();
    let (mut setup, _) = talks(running(), &[("main", &ways)]).await;
    setup.runtime = Arc::new(Behind(Arc::clone(&setup.runtime), Duration::from_secs(30)));
    let mut lines = follow(&setup, None).await;
    assert_eq!(told(&setup, &mut lines, 2 * MINUTE).await, ["line 1", "line 2", "line 3"]);
}

fn is(restarts: i64, state: &str) -> Value {
    json!({"containerStatuses": [container("main", restarts, state)]})
}

/// The next instance has a reader of its own.
#[tokio::test(start_paused = true)]
async fn a_followed_log_that_fell_silent_before_a_restart_is_not_read_twice_after_it() {
    let later = Duration::from_secs(100);
    for change in [Change::Applied("u-1", is(1, "running")), Change::Listed("u-2", is(0, "running"))] {
        let ways = [Way::Stays(1), Way::Other(2, 3), Way::Other(2, 4)];
        let (setup, talks) = changes(running(), vec![(later, change.clone())], &[("main", &ways)]).await;
        let mut lines = follow(&setup, None).await;
        assert_eq!(
            told(&setup, &mut lines, Duration::from_secs(210)).await,
            ["line 1", "line 2", "line 3"],
            "{change:?}"
        );
        assert_eq!(talks.asked.lock().expect("not poisoned").len(), 2, "{change:?}");
    }
}

/// What is asked for again before the watch tells of a restart may be the log of the next instance already.
#[tokio::test(start_paused = true)]
async fn a_followed_log_that_runs_into_the_next_instance_ends_where_that_one_is_read() {
    let later = Duration::from_secs(131);
    for change in [Change::Applied("u-1", is(1, "running")), Change::Listed("u-2", is(0, "running"))] {
        // From the 120th second on the old one has line 2 each fifth second, and so on.
        let ways = [Way::Stays(1), Way::Drips(2, 9), Way::Other(2, 7)];
        let (setup, _) = changes(running(), vec![(later, change.clone())], &[("main", &ways)]).await;
        let mut lines = follow(&setup, None).await;
        let all = [1, 2, 3, 4, 5, 6, 7].map(|number| format!("line {number}"));
        assert_eq!(told(&setup, &mut lines, Duration::from_secs(200)).await, all, "{change:?}");
    }
}

/// What a container says last may come after a connection that something on the way has closed.
#[tokio::test(start_paused = true)]
async fn the_last_words_of_a_container_that_ends_right_after_a_closed_connection_are_told() {
    let ended = (Duration::from_secs(1), Change::Applied("u-1", is(0, "terminated")));
    let ways = [Way::Ends(1), Way::Ends(3)];
    let (setup, talks) = changes(running(), vec![ended], &[("main", &ways)]).await;
    let mut lines = follow(&setup, None).await;
    assert_eq!(told(&setup, &mut lines, MINUTE).await, ["line 1", "line 2", "line 3"]);
    assert_eq!(talks.asked.lock().expect("not poisoned").len(), 2);
}
