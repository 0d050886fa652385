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
}

/// A cluster with one pod whose logs are told in ways by script.
#[derive(Debug)]
struct Talks {
    cluster: SimCluster,
    runtime: Arc<dyn Runtime>,
    /// Of the pod, one after the other.
    states: Vec<Value>,
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
        let pod = |status: &Value| {
            let body = json!({"apiVersion": "v1", "kind": "Pod", "status": status,
                "metadata": {"name": "worker-x", "namespace": "shop", "uid": "u-1", "labels": query.labels}});
            Object::from_value(body).expect("is an object")
        };
        let mut events =
            vec![WatchEvent::Listed { objects: vec![pod(&self.states[0])], version: "1".to_owned() }];
        events.extend(self.states[1..].iter().map(|status| WatchEvent::Applied(pod(status))));
        Ok(stream::iter(events.into_iter().map(Ok)).chain(stream::pending()).boxed())
    }

    async fn logs(&self, _: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        self.asked.lock().expect("not poisoned").push(options.clone());
        let container = options.container.clone().expect("is named");
        let way = self.ways.lock().expect("not poisoned").get_mut(&container).and_then(VecDeque::pop_front);
        let (said, rest): (usize, LogStream) = match way.unwrap_or(Way::Ends(0)) {
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
        let lines: Vec<LogLine> = (1..=said)
            .map(|number| self.line(number))
            .filter(|line| from.is_none_or(|from| line.time >= Some(from)))
            .collect();
        let tail = options.tail.map_or(lines.len(), |tail| usize::try_from(tail).expect("is small"));
        let left_out = lines.len().saturating_sub(tail);
        Ok(stream::iter(lines.into_iter().skip(left_out).map(Ok)).chain(rest).boxed())
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
    let mut setup = Setup::new(117);
    assert!(succeeded(&setup.deploy("v1").await));
    let ways = ways.iter().map(|(name, ways)| ((*name).to_owned(), ways.iter().copied().collect()));
    let talks = Arc::new(Talks {
        cluster: SimCluster::new(Arc::clone(&setup.shared)),
        runtime: Arc::clone(&setup.runtime),
        states,
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

#[tokio::test(start_paused = true)]
async fn a_followed_log_of_a_container_that_has_ended_is_not_asked_for_again() {
    let ended = json!({"containerStatuses": [container("main", 0, "terminated")]});
    let (setup, talks) = talks([running(), vec![ended]].concat(), &[("main", &[Way::Ends(1)])]).await;
    let mut lines = follow(&setup, None).await;
    assert_eq!(told(&setup, &mut lines, MINUTE).await, ["line 1"]);
    assert_eq!(talks.asked.lock().expect("not poisoned").len(), 1);
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
