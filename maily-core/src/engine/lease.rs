//! The lease: who works on an environment, for politeness. Safety is the epoch's part.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{ENVIRONMENT, RECORDS_MANAGER, RunId, patience::patiently};
use crate::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster, ErrorKind, Precondition, ProviderError, WriteOptions, exactly},
    runtime::{Moment, Runtime, Task},
    steps::{MayWrite, Unrenewed},
};

/// A lease that was not renewed for this long may be taken.
pub const LEASE: Duration = Duration::from_secs(15);
/// Time between renewals.
pub(super) const RENEW: Duration = Duration::from_secs(5);
/// A holder that could not renew for this long stops writing.
pub(super) const STOP_WRITING: Duration = Duration::from_secs(10);

/// How often whoever waits looks at the lease.
const LOOK: Duration = Duration::from_millis(500);

const RUN: &str = "maily.dev/run";
/// Tells two takings of one holder apart: process ids come again, and one process may take a lease twice.
const NONCE: &str = "maily.dev/nonce";
/// How often taking a lease is tried again while the cluster cannot answer.
const TRIES: u32 = 5;
/// How often it is tried again where somebody has changed it meanwhile, or the server says so of a lease that is free.
const CONFLICTS: u32 = 50;

/// Why the lease was not obtained or kept.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else works on the environment.
    #[error("environment `{environment}` is held by {holder}")]
    Held {
        /// The environment.
        environment: String,
        /// Who, since when, for which run.
        holder: String,
    },
    /// It was taken from a holder that lives.
    #[error("the lease of environment `{environment}` was lost: {how}")]
    Lost {
        /// The environment.
        environment: String,
        /// Who has it now, or that nobody has.
        how: String,
    },
    /// The provider failed.
    #[error("failed to take the lease")]
    Provider(#[source] ProviderError),
}

/// Where and for whom a lease is taken.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The environment.
    pub environment: String,
    /// Its namespace.
    pub namespace: String,
    /// Who asks: person, machine, process.
    pub holder: String,
    /// For which run.
    pub run: RunId,
    /// Until when to wait for one's turn; none: not at all.
    pub until: Option<Moment>,
}

/// A lease that is held and renewed until it is released or dropped.
#[derive(Debug)]
pub struct Lease {
    shared: Arc<Shared>,
    renewal: Option<Task>,
}

#[derive(Debug)]
struct Shared {
    cluster: Arc<dyn Cluster>,
    runtime: Arc<dyn Runtime>,
    key: ObjectKey,
    taking: Taking,
    renewed: Mutex<Moment>,
    /// Why the last renewal has failed, where it has.
    unrenewed: Mutex<Option<Unrenewed>>,
    /// The lease as our last write left it.
    at: Mutex<Precondition>,
    /// How it was lost.
    lost: watch::Sender<Option<String>>,
}

/// One taking of a lease.
#[derive(Clone, Debug)]
struct Taking {
    holder: String,
    run: RunId,
    nonce: String,
}

impl Taking {
    /// Whether the lease is held by this very taking.
    fn holds(&self, lease: &Object) -> bool {
        lease.text("/spec/holderIdentity") == Some(&self.holder)
            && lease.annotation(RUN) == Some(self.run.as_str())
            && lease.annotation(NONCE) == Some(&self.nonce)
    }
}

fn kind() -> ObjectKind {
    ObjectKind::new("coordination.k8s.io/v1", "Lease")
}

fn key_of(environment: &str, namespace: &str) -> ObjectKey {
    ObjectKey::new(kind(), Some(namespace), format!("maily-{environment}"))
}

/// How an environment's lease looks, for people.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseSight {
    /// Who holds it; none: nobody.
    pub(crate) holder: Option<String>,
    /// When it was renewed last, by its holder's clock.
    pub(crate) renewed: Option<jiff::Timestamp>,
    /// For which run it is held.
    pub(crate) run: Option<String>,
}

impl LeaseSight {
    /// Whether the holder shows life. It compares the clocks of two machines, which is good enough to tell people, and
    /// for nothing else; a renewal that lies ahead of us says as little as one of long ago.
    pub(crate) fn lives(&self, now: jiff::Timestamp) -> bool {
        let is_fresh =
            |renewed: jiff::Timestamp| now.as_second().abs_diff(renewed.as_second()) <= LEASE.as_secs();
        self.holder.is_some() && self.renewed.is_some_and(is_fresh)
    }
}

/// How an environment's lease looks.
pub(crate) async fn sight(
    cluster: &dyn Cluster,
    environment: &str,
    namespace: &str,
) -> Result<LeaseSight, ProviderError> {
    let key = key_of(environment, namespace);
    Ok(cluster.get(&key).await?.as_ref().map(sight_of).unwrap_or_default())
}

fn sight_of(lease: &Object) -> LeaseSight {
    let holder = lease.text("/spec/holderIdentity").filter(|holder| !holder.is_empty()).map(str::to_owned);
    let run = lease.annotation(RUN).filter(|_| holder.is_some()).map(str::to_owned);
    LeaseSight { holder, renewed: lease.text("/spec/renewTime").and_then(|text| text.parse().ok()), run }
}

/// How somebody waits for another's lease.
#[derive(Debug)]
pub(super) struct Watch {
    begun: Moment,
    until: Option<Moment>,
    /// The lease as it was seen last, and since when.
    seen: Option<(String, Moment)>,
}

/// What whoever waits sees.
#[derive(Debug, PartialEq, Eq)]
enum Waited {
    /// The lease has run out: its holder has died.
    RunOut,
    /// Its holder has it, and it is waited for.
    Held(String),
    /// Its holder has it for longer than we wait.
    Over(String),
}

impl Watch {
    /// Begins to wait: until a moment, or only for a holder that shows no life.
    pub(super) fn new(begun: Moment, until: Option<Moment>) -> Self {
        Self { begun, until, seen: None }
    }

    /// A look at a lease. It has run out when it has not changed for its duration on our own clock: clocks of two
    /// machines are never compared for that. They only tell whether it is worth to see it for oneself, where nobody
    /// asked to wait.
    fn look(&mut self, lease: &Object, now: Moment, wall: jiff::Timestamp) -> Waited {
        let version = lease.resource_version().unwrap_or_default();
        let since = match &self.seen {
            Some((known, since)) if known == version => *since,
            _ => {
                self.seen = Some((version.to_owned(), now));
                now
            }
        };
        if now.since(since) > LEASE {
            return Waited::RunOut;
        }
        let holder = describe(lease).unwrap_or_default();
        let waits = match self.until {
            Some(until) => now <= until,
            None => !sight_of(lease).lives(wall) && now.since(self.begun) < LEASE + LEASE / 2,
        };
        if waits { Waited::Held(holder) } else { Waited::Over(holder) }
    }
}

/// Waits until nobody else holds an environment's lease, and tells `queued` who does; the lease as it stands then, where
/// there is one. What `is_ours` is nobody else's.
pub(super) async fn until_free(
    cluster: &dyn Cluster,
    runtime: &dyn Runtime,
    (environment, namespace): (&str, &str),
    watch: &mut Watch,
    is_ours: &(dyn Fn(&Object) -> bool + Send + Sync),
    queued: &(dyn Fn(&str) + Send + Sync),
) -> Result<Option<Object>, LeaseError> {
    let key = key_of(environment, namespace);
    loop {
        let found = patiently(runtime, || cluster.get(&key)).await.map_err(LeaseError::Provider)?;
        let Some(lease) = found else { return Ok(None) };
        if describe(&lease).is_none() || is_ours(&lease) {
            return Ok(Some(lease));
        }
        match watch.look(&lease, runtime.now(), runtime.wall()) {
            Waited::RunOut => return Ok(Some(lease)),
            Waited::Held(holder) => queued(&holder),
            Waited::Over(holder) => {
                return Err(LeaseError::Held { environment: environment.to_owned(), holder });
            }
        }
        runtime.sleep(LOOK).await;
    }
}

fn describe(object: &Object) -> Option<String> {
    let holder = object.text("/spec/holderIdentity").filter(|holder| !holder.is_empty())?;
    let since = object.text("/spec/acquireTime").unwrap_or("an unknown time");
    let run = object.annotation(RUN).unwrap_or("unknown");
    Some(format!("{holder} since {since} (run {run})"))
}

impl Lease {
    /// Takes the lease; waits for its turn where asked to, and tells `queued` whom it waits for.
    ///
    /// A lease counts as expired when it has not changed for its duration on our own clock.
    ///
    /// # Errors
    /// [`LeaseError::Held`] when somebody else keeps it for longer than we wait.
    pub async fn acquire(
        cluster: Arc<dyn Cluster>,
        runtime: Arc<dyn Runtime>,
        request: &LeaseRequest,
        queued: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Self, LeaseError> {
        let (environment, namespace) = (request.environment.as_str(), request.namespace.as_str());
        let key = key_of(environment, namespace);
        let mut watch = Watch::new(runtime.now(), request.until);
        let (mut tries, mut conflicts) = (0, 0);
        let taking = Taking {
            holder: request.holder.clone(),
            run: request.run.clone(),
            nonce: format!("{:016x}", runtime.random()),
        };
        // Our own is one whose answer was lost.
        let is_ours = |lease: &Object| taking.holds(lease);
        loop {
            let place = (environment, namespace);
            let found = until_free(&*cluster, &*runtime, place, &mut watch, &is_ours, queued).await?;
            let precondition = found.as_ref().map_or(Precondition::Absent, exactly);
            let sent = runtime.now();
            match cluster.write(&wanted(request, &taking, &key, &*runtime), &options(precondition)).await {
                Ok(object) => return Ok(Self::start(cluster, runtime, key, taking, &object, sent)),
                Err(error) if error.kind() == ErrorKind::Conflict && conflicts < CONFLICTS => {
                    conflicts += 1;
                    runtime.sleep(Duration::from_millis(100)).await;
                }
                Err(error) if error.is_transient() && tries < TRIES => {
                    tries += 1;
                    runtime.sleep(error.retry_after().unwrap_or(Duration::from_millis(500))).await;
                }
                Err(error) => return Err(LeaseError::Provider(error)),
            }
        }
    }

    fn start(
        cluster: Arc<dyn Cluster>,
        runtime: Arc<dyn Runtime>,
        key: ObjectKey,
        taking: Taking,
        object: &Object,
        sent: Moment,
    ) -> Self {
        let shared = Arc::new(Shared {
            cluster,
            runtime: Arc::clone(&runtime),
            key,
            taking,
            renewed: Mutex::new(sent),
            unrenewed: Mutex::default(),
            at: Mutex::new(exactly(object)),
            lost: watch::channel(None).0,
        });
        let renewal = runtime.spawn(Box::pin(Arc::clone(&shared).renew()));
        Self { shared, renewal: Some(renewal) }
    }

    /// Whether the holder may write now; asked before each send.
    pub fn may_write(&self) -> MayWrite {
        if self.shared.is_lost() {
            return MayWrite::Lost;
        }
        let renewed = *self.shared.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shared.runtime.now().since(renewed) >= STOP_WRITING {
            MayWrite::NotNow
        } else {
            MayWrite::Yes
        }
    }

    /// Why the last renewal has failed, where it has.
    pub(crate) fn unrenewed(&self) -> Option<Unrenewed> {
        self.shared.unrenewed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops renewing without releasing: what a holder does that has lost the environment.
    pub fn stop_renewing(&mut self) {
        self.shared.lose("its holder gave it up".to_owned());
        self.renewal = None;
    }

    /// Ends when a renewal finds that the lease is not ours any more; with how that came.
    pub(super) fn loss(&self) -> impl Future<Output = String> + Send + 'static {
        let mut lost = self.shared.lost.subscribe();
        async move {
            let how = lost.wait_for(Option::is_some).await.ok().and_then(|how| how.clone());
            match how {
                Some(how) => how,
                // Given back: there is nothing to lose any more.
                None => std::future::pending().await,
            }
        }
    }

    /// Gives the lease back. A failure is not told: the lease then expires by itself.
    pub async fn release(mut self) {
        self.renewal = None;
        if self.shared.is_lost() {
            return;
        }
        let at = self.shared.at();
        let Err(error) = self.shared.empty(at).await else { return };
        // A renewal whose answer we did not wait for, or somebody's label: look.
        if error.kind() == ErrorKind::Conflict
            && let Ok(Some(object)) = self.shared.cluster.get(&self.shared.key).await
            && self.shared.taking.holds(&object)
        {
            let _ = self.shared.empty(exactly(&object)).await;
        }
    }
}

/// Gives back a lease that was not handed on.
pub(super) async fn release(lease: &mut Option<Lease>) {
    if let Some(lease) = lease.take() {
        lease.release().await;
    }
}

impl Shared {
    fn at(&self) -> Precondition {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_at(&self, object: &Object) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = exactly(object);
    }

    fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    fn lose(&self, how: String) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert(how);
            first
        });
    }

    /// Changes the lease as it was last seen.
    async fn change(&self, at: Precondition, spec: Value) -> Result<Object, ProviderError> {
        let patch = crate::provider::patch_of(&self.key, json!({"spec": spec})).expect("has kind and name");
        self.cluster.write(&patch, &WriteOptions::merge(RECORDS_MANAGER, at)).await
    }

    async fn empty(&self, at: Precondition) -> Result<(), ProviderError> {
        self.change(at, json!({"holderIdentity": ""})).await.map(drop)
    }

    async fn renew(self: Arc<Self>) {
        let mut pause = RENEW;
        loop {
            self.runtime.sleep(pause).await;
            let sent = self.runtime.now();
            let time = micro_time(&*self.runtime);
            match self.change(self.at(), json!({"renewTime": time})).await {
                Ok(object) => {
                    self.is_at(&object);
                    *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = sent;
                    *self.unrenewed.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    pause = RENEW;
                }
                Err(error) => {
                    // Our own renewal whose answer was lost, somebody's label, or another holder: look.
                    pause = Duration::from_secs(1);
                    let kind = error.kind();
                    *self.unrenewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.into());
                    if !matches!(kind, ErrorKind::Conflict | ErrorKind::NotFound) {
                        continue;
                    }
                    match self.cluster.get(&self.key).await {
                        Ok(Some(object)) if self.taking.holds(&object) => {
                            self.is_at(&object);
                            pause = Duration::ZERO;
                        }
                        Ok(found) => return self.lose(how_lost(found.as_ref())),
                        Err(_) => {}
                    }
                }
            }
        }
    }
}

fn how_lost(found: Option<&Object>) -> String {
    let holder = found.map(|lease| lease.text("/spec/holderIdentity").unwrap_or_default());
    match holder {
        None => "somebody deleted it".to_owned(),
        Some("") => "somebody else has had it, and given it back".to_owned(),
        Some(holder) => format!("{holder} holds it now"),
    }
}

fn wanted(request: &LeaseRequest, taking: &Taking, key: &ObjectKey, runtime: &dyn Runtime) -> Object {
    let now = micro_time(runtime);
    Object::from_value(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": key.name, "namespace": key.namespace,
            "labels": {ENVIRONMENT: request.environment},
            "annotations": {RUN: taking.run.as_str(), NONCE: taking.nonce},
        },
        "spec": {
            "holderIdentity": taking.holder, "leaseDurationSeconds": LEASE.as_secs(),
            "acquireTime": now, "renewTime": now,
        },
    }))
    .expect("has kind and name")
}

fn options(precondition: Precondition) -> WriteOptions {
    WriteOptions::apply(RECORDS_MANAGER, precondition)
}

/// The API's `MicroTime`: exactly six digits of a second.
fn micro_time(runtime: &dyn Runtime) -> Value {
    runtime.wall().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string().into()
}
