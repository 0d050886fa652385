//! The log of one container, which outlives the connection it is followed over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use serde_json::Value;

use crate::{
    object::{Object, ObjectKey},
    provider::{Cluster, ErrorKind, Follow, LogLine, LogOptions, LogStream, ProviderError},
    runtime::{Moment, Runtime, within},
};

/// First pause before a log that broke off is taken up again; doubles up to the last.
const PAUSE: Duration = Duration::from_millis(500);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Pause after a log that ended in good order: so that the watch can tell first that its container has ended, too.
const ENDED: Duration = Duration::from_secs(3);
/// A log that is followed and says nothing for so long is asked for again: not every way to a node tells that it is gone.
const SILENCE: Duration = Duration::from_secs(120);

/// A container of a pod, by the pod's uid.
type Container = (String, String);
/// The same by the pod's name, by which a log is asked for, whoever has that name now.
type Place = (String, String);

/// What is known of containers, for all who read their logs.
#[derive(Clone, Default)]
pub(super) struct Containers(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// Instances that are read, or were, by the number of restarts.
    begun: BTreeSet<(Container, i64)>,
    last: BTreeMap<Container, Told>,
    /// What was told of the instances of one place, by the turn in which they were begun.
    heard: BTreeMap<Place, BTreeMap<usize, Heard>>,
}

/// Times of lines of one instance.
#[derive(Clone, Copy, Default)]
struct Heard {
    first: Option<jiff::Timestamp>,
    /// Of a connection that may be one to a later instance.
    astray: Option<jiff::Timestamp>,
}

/// What a pod has told of a container.
#[derive(Default)]
struct Told {
    /// The last instance.
    restarts: i64,
    runs: bool,
    /// How often it was told.
    changes: u64,
}

/// One instance of a container.
pub(super) struct Instance {
    containers: Containers,
    container: Container,
    place: Place,
    restarts: i64,
}

impl Containers {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a pod says of a container; answers its instance.
    pub(super) fn told(&self, pod: &Object, name: &str, status: &Value) -> Instance {
        let restarts = status.get("restartCount").and_then(Value::as_i64).unwrap_or_default();
        let runs = status.pointer("/state/running").is_some();
        let container = (pod.uid().unwrap_or_default().to_owned(), name.to_owned());
        let place = (pod.name().to_owned(), name.to_owned());
        let mut known = self.known();
        let told = known.last.entry(container.clone()).or_default();
        told.changes += 1;
        // A list may be older than what a watch has told.
        if restarts >= told.restarts {
            (told.restarts, told.runs) = (restarts, runs);
        }
        drop(known);
        Instance { containers: self.clone(), container, place, restarts }
    }

    /// A pod is gone.
    pub(super) fn gone(&self, uid: &str) {
        self.known().last.retain(|(of, _), _| of != uid);
    }
}

impl Instance {
    pub(super) fn restarts(&self) -> i64 {
        self.restarts
    }

    pub(super) fn is_begun(&self) -> bool {
        self.containers.known().begun.contains(&(self.container.clone(), self.restarts))
    }

    /// Answers its turn among the instances of its place.
    pub(super) fn begin(&self) -> usize {
        let mut known = self.containers.known();
        known.begun.insert((self.container.clone(), self.restarts));
        let heard = known.heard.entry(self.place.clone()).or_default();
        let turn = heard.last_key_value().map_or(0, |(turn, _)| turn + 1);
        heard.insert(turn, Heard::default());
        turn
    }

    /// There was nothing to read: the next change of the pod has it tried again.
    fn leave(&self) {
        self.containers.known().begun.remove(&(self.container.clone(), self.restarts));
    }

    fn runs(&self) -> bool {
        let known = self.containers.known();
        known.last.get(&self.container).is_some_and(|told| told.runs && told.restarts == self.restarts)
    }

    /// Whether what has its name is another instance, or nothing any more.
    fn is_over(&self) -> bool {
        let known = self.containers.known();
        known.last.get(&self.container).is_none_or(|told| told.restarts > self.restarts)
    }

    /// Whether a line is to be told by the reader of this turn. What was asked for again may be the log of a later
    /// instance, which has a reader of its own: from that one's first line on it is told there, and up to here it was
    /// told already.
    fn hears(&self, turn: usize, time: Option<jiff::Timestamp>, again: bool) -> Hears {
        let mut known = self.containers.known();
        let Some(heard) = known.heard.get_mut(&self.place) else { return Hears::Own };
        let begun = |heard: &Heard| heard.first.is_some_and(|first| time.is_none_or(|time| first <= time));
        if again && heard.range(turn + 1..).any(|(_, later)| begun(later)) {
            return Hears::Later;
        }
        if time.is_some() && heard.range(..turn).any(|(_, earlier)| time <= earlier.astray) {
            return Hears::Told;
        }
        if let Some(own) = heard.get_mut(&turn) {
            own.first = own.first.or(time);
            own.astray = if again { time } else { None };
        }
        Hears::Own
    }

    fn changes(&self) -> u64 {
        self.containers.known().last.get(&self.container).map(|told| told.changes).unwrap_or_default()
    }
}

/// Whose a line is.
enum Hears {
    Own,
    /// An earlier reader has told it.
    Told,
    /// It is of an instance that another one reads.
    Later,
}

pub(super) struct ContainerLog {
    cluster: Arc<dyn Cluster>,
    runtime: Arc<dyn Runtime>,
    instance: Instance,
    turn: usize,
    pod: ObjectKey,
    options: LogOptions,
    /// None while there is no connection.
    lines: Option<LogStream>,
    /// It was asked for more than once.
    again: bool,
    /// When it was asked for first.
    asked: Option<Moment>,
    /// It was open.
    opened: bool,
    /// Something was told.
    spoke: bool,
    /// Time of the last line.
    last: Option<jiff::Timestamp>,
    /// Up to here everything was told before the connection was given up.
    told: Option<jiff::Timestamp>,
    pause: Duration,
}

impl ContainerLog {
    /// A log that is open already, or is to be opened.
    pub(super) fn new(
        cluster: &Arc<dyn Cluster>,
        runtime: &Arc<dyn Runtime>,
        instance: Instance,
        pod: ObjectKey,
        options: LogOptions,
        lines: Option<LogStream>,
    ) -> Self {
        let turn = instance.begin();
        Self {
            turn,
            again: false,
            cluster: Arc::clone(cluster),
            runtime: Arc::clone(runtime),
            instance,
            pod,
            options,
            opened: lines.is_some(),
            lines,
            asked: None,
            spoke: false,
            last: None,
            told: None,
            pause: PAUSE,
        }
    }

    pub(super) fn lines(self) -> BoxStream<'static, Result<LogLine, ProviderError>> {
        stream::unfold(Some(self), |log| async move {
            let mut log = log?;
            match log.next().await? {
                Ok(line) => Some((Ok(line), Some(log))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<LogLine, ProviderError>> {
        let runtime = Arc::clone(&self.runtime);
        loop {
            let silence = if self.may_go_on() { SILENCE } else { Duration::MAX };
            let Some(lines) = &mut self.lines else {
                // By its name it would be another one's log.
                if self.instance.is_over() {
                    return None;
                }
                self.again = self.asked.is_some();
                let (options, changes) = (self.since(), self.instance.changes());
                match within(&*runtime, silence, self.cluster.logs(&self.pod, &options)).await {
                    Some(Ok(lines)) => (self.lines, self.opened) = (Some(lines), true),
                    Some(Err(error)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => {
                        // The pod or its container is gone, or has no log yet: the next change of the pod tells what
                        // comes. One that came in the meantime comes no second time.
                        if self.opened || self.instance.changes() == changes {
                            if !self.opened {
                                self.instance.leave();
                            }
                            return None;
                        }
                        self.rest().await;
                    }
                    Some(Err(error)) if error.is_transient() => self.rest().await,
                    Some(Err(error)) => return Some(Err(error)),
                    None => {}
                }
                continue;
            };
            match within(&*runtime, silence, lines.next()).await {
                Some(Some(Ok(line))) => {
                    if line.time.is_some() && line.time <= self.told {
                        continue;
                    }
                    match self.instance.hears(self.turn, line.time, self.again) {
                        Hears::Own => {}
                        Hears::Told => continue,
                        Hears::Later => return None,
                    }
                    (self.last, self.spoke) = (line.time.or(self.last), true);
                    self.pause = PAUSE;
                    return Some(Ok(line));
                }
                Some(Some(Err(error))) if self.options.follow == Follow::Yes && error.is_transient() => {
                    (self.lines, self.told) = (None, self.last);
                    self.rest().await;
                }
                Some(Some(Err(error))) => return Some(Err(error)),
                // The node, or what leads to it, goes down as if the container had ended.
                Some(None) => {
                    if !self.may_go_on() || !self.instance.runs() {
                        return None;
                    }
                    (self.lines, self.told) = (None, self.last);
                    self.pause = self.pause.max(ENDED);
                    // One that has ended meanwhile may have said more than came over this connection.
                    self.rest().await;
                }
                None => (self.lines, self.told) = (None, self.last),
            }
        }
    }

    /// Whether it can be taken up without telling twice what was told.
    fn may_go_on(&self) -> bool {
        self.options.follow == Follow::Yes && !self.options.previous && (self.last.is_some() || !self.spoke)
    }

    async fn rest(&mut self) {
        self.runtime.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// From the last line on: some lines come twice and are left out. The time is that of the node, whatever the clock
    /// here says. Of nothing that was there, all that was said since the first time.
    fn since(&mut self) -> LogOptions {
        if self.last.is_some() {
            return LogOptions { since: None, since_time: self.last, tail: None, ..self.options.clone() };
        }
        let now = self.runtime.now();
        let first = *self.asked.get_or_insert(now);
        if first != now && self.options.tail == Some(0) {
            let age = now.since(first) + Duration::from_secs(1);
            return LogOptions { since: Some(age), tail: None, ..self.options.clone() };
        }
        self.options.clone()
    }
}
