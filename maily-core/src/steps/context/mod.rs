//! What every step of a run shares: providers, the epoch, what was last seen of each object, and the brakes.

mod brakes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, Semaphore};

use super::watcher::Watcher;
use crate::{
    object::{Object, ObjectKey},
    planted::{Defect, is_planted},
    provider::{Cluster, FrontendHost, Precondition, Prober, ProviderError, unserved_is_absent},
    run::{
        Begun, Change, Digests, Direction, ENVIRONMENT, Epoch, Event, Failure, Goal, Listener, NAMESPACE,
        PROJECT, Plan, ReleaseId, RunId, SERVICE, Sealer, Stamp, Step, StepId, StepResult, What, Written,
    },
    runtime::{Moment, Runtime},
};

pub use brakes::MayWrite;
pub(crate) use brakes::{Halt, Licence, Unrenewed};

/// Requests that are under way at once.
pub(crate) const PARALLEL: usize = 24;

/// What the engine needs from the outside for one environment.
#[derive(Clone, Debug)]
pub struct Providers {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// The frontend host, where the project has a frontend.
    pub frontend: Option<Arc<dyn FrontendHost>>,
    /// Carries out checks.
    pub prober: Option<Arc<dyn Prober>>,
}

/// What earlier attempts at a step may have left in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// Nothing.
    Nothing,
    /// What its result says: every call was made by this process, or answered.
    Known,
    /// A former process may have calls on their way.
    Unknown,
}

/// How a step ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Seen to succeed.
    Done(StepResult),
    /// Failed.
    Failed(Box<Failure>, StepResult),
    /// Told to stop, in the middle.
    Halted,
}

/// Why a step could not go on.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It failed.
    Failed(Box<Failure>),
    /// It was told to stop.
    Halted,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// Shared by all steps of a run.
pub(crate) struct Context {
    pub(crate) providers: Providers,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) sealer: Arc<Sealer>,
    licence: Licence,
    pub(crate) run: RunId,
    pub(crate) epoch: Epoch,
    /// All epochs of this run, the present one included.
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) project: String,
    pub(crate) environment: String,
    namespace: String,
    /// The release that the plan starts from.
    pub(crate) base: Option<ReleaseId>,
    /// The plan is to bring back what was.
    is_rollback: bool,
    /// A step that cannot be undone has begun.
    past_return: AtomicBool,
    pub(crate) watcher: Watcher,
    pub(crate) requests: Semaphore,
    halt: Mutex<Halt>,
    /// Wakes whoever waits for another order, in the order in which they came: with `watch`, which draws lots, no seed
    /// of a simulation would play twice in the same way.
    ordered_anew: Notify,
    attempts: AtomicU64,
    seen: Mutex<BTreeMap<ObjectKey, Object>>,
    /// Resource versions under which calls of this process were sent that got no answer.
    sent: Mutex<BTreeSet<(ObjectKey, String)>>,
    /// Objects of steps on which a call of this process got no answer.
    doubtful: Mutex<BTreeSet<(StepId, ObjectKey)>>,
    results: Mutex<BTreeMap<StepId, StepResult>>,
    /// What steps of former processes have begun, and of which no answer is on record.
    begun: Mutex<BTreeMap<StepId, Begun>>,
    /// Verdicts of gates that are not written down yet.
    decided: Mutex<BTreeMap<StepId, (String, String)>>,
    listener: Arc<dyn Listener>,
    /// Why the steps were interrupted, where it was not a person who did it.
    interrupted: Mutex<Option<String>>,
    /// Why the lease is not renewed, as it was told last.
    unrenewed: Mutex<Option<String>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("run", &self.run).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    #[expect(clippy::too_many_arguments, reason = "made in one place, from what the run has just opened")]
    pub(crate) fn new(
        providers: Providers,
        runtime: Arc<dyn Runtime>,
        sealer: Arc<Sealer>,
        licence: Licence,
        run: RunId,
        epoch: Epoch,
        epochs: Vec<Epoch>,
        plan: &Plan,
        seen: BTreeMap<ObjectKey, Object>,
        listener: Arc<dyn Listener>,
    ) -> Self {
        let watcher = Watcher::new(Arc::clone(&providers.cluster), Arc::clone(&runtime));
        Self {
            providers,
            runtime,
            sealer,
            licence,
            run,
            epoch,
            epochs,
            project: plan.project.clone(),
            environment: plan.environment.clone(),
            namespace: plan.namespace.clone(),
            base: plan.base,
            is_rollback: matches!(plan.goal, Goal::Rollback { .. }),
            past_return: AtomicBool::new(false),
            watcher,
            requests: Semaphore::new(PARALLEL),
            halt: Mutex::new(Halt::Go),
            ordered_anew: Notify::new(),
            attempts: AtomicU64::new(0),
            seen: Mutex::new(seen),
            sent: Mutex::default(),
            doubtful: Mutex::default(),
            results: Mutex::default(),
            begun: Mutex::default(),
            decided: Mutex::default(),
            listener,
            interrupted: Mutex::default(),
            unrenewed: Mutex::default(),
        }
    }

    /// Tells a listener.
    pub(crate) fn tell(&self, what: What) {
        self.tell_again(what, false, self.runtime.wall(), false);
    }

    /// Tells a listener, perhaps of something from before.
    pub(crate) fn tell_again(&self, what: What, replayed: bool, at: jiff::Timestamp, untimed: bool) {
        let event = Event::new(self.run.clone(), &self.environment, at, what);
        self.listener.event(&Event { replayed, untimed, ..event });
    }

    /// A stamp for the next attempt of a step.
    pub(crate) fn stamp(&self, step: &StepId, direction: Direction) -> Stamp {
        Stamp {
            epoch: self.epoch,
            run: self.run.clone(),
            step: step.clone(),
            direction,
            attempt: self.attempts.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Whether what is taken away has been found wanting: nobody waits for it.
    pub(crate) fn goes_back(&self, direction: Direction) -> bool {
        self.is_rollback || direction == Direction::Back
    }

    /// Whether the run cannot turn any more.
    pub(crate) fn is_past_return(&self) -> bool {
        self.past_return.load(Ordering::Relaxed)
    }

    /// Keeps whether the run cannot turn any more.
    pub(crate) fn note_past_return(&self, is: bool) {
        self.past_return.store(is, Ordering::Relaxed);
    }

    /// Writes on an object whose it is.
    pub(crate) fn label(&self, object: &mut Object, step: &Step) {
        object.set_label(ENVIRONMENT, Some(&self.environment));
        object.set_label(NAMESPACE, Some(&self.namespace));
        object.set_label(PROJECT, Some(&self.project));
        if let Some(service) = &step.service {
            object.set_label(SERVICE, Some(service));
        }
    }

    /// What was last seen of an object in this process: the plan's list, or the answer to our own last write.
    pub(crate) fn seen(&self, key: &ObjectKey) -> Option<Object> {
        lock(&self.seen).get(key).cloned()
    }

    /// Remembers, or forgets, what was seen of an object.
    pub(crate) fn remember(&self, key: &ObjectKey, object: Option<Object>) {
        match object {
            Some(object) => lock(&self.seen).insert(key.clone(), object),
            None => lock(&self.seen).remove(key),
        };
    }

    /// Reads an object and remembers it. Of a kind that is not served, not yet or not any more, nothing is there; not so of
    /// one that is served in another version.
    pub(crate) async fn read(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        let object = self.providers.cluster.get(key).await;
        let object = object.or_else(|error| unserved_is_absent(error, key))?;
        self.remember(key, object.clone());
        Ok(object)
    }

    /// What this run last wrote of an object in a step.
    pub(crate) fn written(&self, step: &StepId, key: &ObjectKey) -> Option<Written> {
        lock(&self.results).get(step)?.written.get(&key.to_string()).cloned()
    }

    /// Keeps what was written of an object.
    pub(crate) fn wrote(&self, step: &StepId, change: &Change, written: Written) {
        lock(&self.results).entry(step.clone()).or_default().written.insert(change.key.to_string(), written);
    }

    /// Keeps which images a workload that serves was seen to run.
    pub(crate) fn ran(&self, step: &StepId, key: &ObjectKey, images: Digests) {
        if let Some(written) =
            lock(&self.results).get_mut(step).and_then(|result| result.written.get_mut(&key.to_string()))
        {
            written.images = images;
        }
    }

    /// Keeps the artefact of a step.
    pub(crate) fn made(&self, step: &StepId, artefact: &str) {
        lock(&self.results).entry(step.clone()).or_default().artefact = Some(artefact.to_owned());
    }

    /// Keeps what a gate decided, and on what grounds, until it is written down.
    pub(crate) fn decide(&self, step: &StepId, verdict: &str, evidence: &str) {
        lock(&self.decided).insert(step.clone(), (verdict.to_owned(), evidence.to_owned()));
    }

    /// Takes what a gate decided.
    pub(crate) fn take_decision(&self, step: &StepId) -> Option<(String, String)> {
        lock(&self.decided).remove(step)
    }

    /// Keeps that a call of a step got no answer: it may take effect later.
    pub(crate) fn unanswered(&self, step: &StepId) {
        lock(&self.results).entry(step.clone()).or_default().unanswered = true;
    }

    /// Keeps that a call of a step on an object got no answer.
    pub(crate) fn may_land(&self, step: &StepId, key: &ObjectKey, precondition: &Precondition) {
        lock(&self.doubtful).insert((step.clone(), key.clone()));
        if let Precondition::Exactly { resource_version, .. } = precondition {
            lock(&self.sent).insert((key.clone(), resource_version.clone()));
        }
    }

    /// Whether a call of a step on an object got no answer in this process.
    pub(crate) fn is_doubtful(&self, step: &StepId, key: &ObjectKey) -> bool {
        lock(&self.doubtful).contains(&(step.clone(), key.clone()))
    }

    /// Whether a call of this process may still change an object that was read: one that was sent under the version
    /// that it has now. Once the object has moved on, the server refuses it.
    pub(crate) fn in_flight(&self, live: &Object) -> bool {
        if is_planted(Defect::UnansweredForgotten) {
            return false;
        }
        let version = live.resource_version().unwrap_or_default().to_owned();
        lock(&self.sent).contains(&(live.key().clone(), version))
    }

    /// Everything a step left behind so far.
    pub(crate) fn result(&self, step: &StepId) -> StepResult {
        lock(&self.results).get(step).cloned().unwrap_or_default()
    }

    /// What a step has begun of which the journal has no answer.
    pub(crate) fn begun(&self, step: &StepId) -> Begun {
        lock(&self.begun).get(step).copied().unwrap_or_default()
    }

    /// Takes over what the journal says that a step has begun.
    pub(crate) fn has_begun(&self, step: &StepId, begun: Begun) {
        lock(&self.begun).insert(step.clone(), begun);
    }

    /// Takes over what the journal says that a step left behind.
    pub(crate) fn recall(&self, step: &StepId, result: &StepResult) {
        lock(&self.results).insert(step.clone(), result.clone());
    }

    /// Time until a moment.
    pub(crate) fn left(&self, deadline: Moment) -> Duration {
        deadline.since(self.runtime.now())
    }
}
