//! The world as the participants of a simulation reach it: over a network, with a witness at the server's door.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures::channel::oneshot;
use jiff::{SignedDuration, Timestamp};
use maily_core::{
    engine::{Epoch, RECORDS_MANAGER, fence_objects},
    model::Resolved,
    object::{Object, ObjectKey},
    provider::{Effect, ErrorKind, Precondition, ProviderError, WriteOptions},
    runtime::{Runtime, within},
};
use tokio::sync::Notify;

use super::{
    chance::Chance,
    drill::{Armed, Door},
    scheduler::{Participant, Seat},
    stage::lease_of,
    weather::{Fate, Guard, LATEST, Tally, Weather, span},
    witness::{Deed, Witness},
};
use crate::world::{Refusal, World};

/// A client gives a request up after this time.
const CLIENT_LIMIT: Duration = Duration::from_secs(15);
const PROVIDER: &str = "simulated";

/// The world, its network and its witness.
pub struct Place {
    seat: Seat,
    begun: Timestamp,
    world: Mutex<World>,
    changed: Notify,
    pub(super) weather: Mutex<Weather>,
    chance: Mutex<Chance>,
    pub(super) tally: Mutex<Tally>,
    pub(super) witness: Mutex<Witness>,
    /// Whether gates that ask something outside of the world fail.
    pub(super) gates_fail: Mutex<bool>,
    fenced: OnceLock<()>,
    /// The trap of a drill.
    pub(super) armed: Mutex<Option<Armed>>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request.
pub(super) struct Request {
    pub(super) by: Participant,
    pub(super) operation: &'static str,
    pub(super) resource: String,
    /// The object that it may change; none for reads and dry runs.
    pub(super) writes: Option<ObjectKey>,
    /// Field manager of a write.
    pub(super) manager: &'static str,
    /// The body of a write.
    pub(super) body: Option<Object>,
    pub(super) guard: Guard,
    /// It goes through a server whose policies lag.
    pub(super) behind: bool,
    /// How many times the ordinary way it has.
    pub(super) distance: u32,
}

impl Request {
    pub(super) fn read(by: Participant, operation: &'static str, resource: impl Into<String>) -> Self {
        Self {
            by,
            operation,
            resource: resource.into(),
            writes: None,
            manager: "",
            body: None,
            guard: Guard::Reads,
            behind: false,
            distance: 1,
        }
    }

    fn error(&self, kind: ErrorKind, message: &str) -> ProviderError {
        ProviderError::new(kind, PROVIDER, self.operation, self.resource.clone(), message)
    }
}

impl Place {
    /// A place for a world. The seat is the network's own.
    pub fn new(world: World, seat: Seat, seed: u64, witness: Witness) -> Arc<Self> {
        let place = Arc::new(Self {
            begun: world.now,
            seat: seat.clone(),
            world: Mutex::new(world),
            changed: Notify::new(),
            weather: Mutex::new(Weather::calm()),
            chance: Mutex::new(Chance::new(seed)),
            tally: Mutex::default(),
            witness: Mutex::new(witness),
            gates_fail: Mutex::default(),
            fenced: OnceLock::new(),
            armed: Mutex::default(),
        });
        let driven = Arc::clone(&place);
        seat.detach(async move {
            loop {
                driven.moved().await;
            }
        });
        place
    }

    /// Fences environments: name and namespace of each.
    pub fn fence<'a>(&self, environments: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut world = self.world();
        for (name, namespace) in environments {
            for object in fence_objects(name, namespace, Epoch(1)) {
                let written = world.write(&object, &WriteOptions::apply(RECORDS_MANAGER, Precondition::Any));
                written.expect("the simulated cluster serves policies");
            }
            lock(&self.witness).fenced(name, Some(1));
        }
        self.fenced.get_or_init(|| ());
    }

    /// Whether environments are fenced.
    pub fn is_fenced(&self) -> bool {
        self.fenced.get().is_some()
    }

    /// The world, brought to the present.
    pub fn world(&self) -> MutexGuard<'_, World> {
        let mut world = lock(&self.world);
        let passed = SignedDuration::try_from(self.seat.now().since_start()).unwrap_or(SignedDuration::ZERO);
        let before = world.version;
        world.advance(self.begun + passed);
        if world.version != before {
            lock(&self.witness).saw(&world, before);
            self.changed.notify_waiters();
        }
        world
    }

    /// The version of the world up to which a server that lags hears of parameters, where a participant's requests go
    /// through it.
    pub(super) fn lags_from(&self, by: Participant) -> Option<u64> {
        let lags = lock(&self.armed).as_ref().is_some_and(|armed| armed.lags(by));
        lags.then(|| self.peek(|world| world.version))
    }

    /// Looks at the world as it is, without bringing it on.
    pub(super) fn peek<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&lock(&self.world))
    }

    /// A person deletes the lease of an environment: whoever waits for it takes over a holder that lives.
    pub(super) fn unlease(&self, resolved: &Resolved) {
        let _ = self.world().delete(&lease_of(resolved), &Precondition::Any);
        self.tell_changed();
    }

    /// A person changes something at the server itself: a field, and whether a release sets it.
    pub(super) fn by_hand(
        &self,
        pointer: &str,
        of_release: bool,
        change: impl FnOnce(&mut World) -> Result<Object, Refusal>,
    ) {
        let mut world = self.world();
        let before = world.version;
        let Ok(changed) = change(&mut world) else { return };
        let mut witness = lock(&self.witness);
        witness.saw(&world, before);
        witness.edited(&changed, pointer, of_release);
        drop((world, witness));
        self.tell_changed();
    }

    /// Tells who waits that somebody changed the world at the server itself.
    pub(super) fn tell_changed(&self) {
        self.changed.notify_waiters();
    }

    /// Ends when the world may have changed.
    pub(super) async fn moved(&self) {
        let changed = self.changed.notified();
        futures::pin_mut!(changed);
        changed.as_mut().enable();
        let wait = {
            let world = self.world();
            world.next_due().and_then(|due| Duration::try_from(due.duration_since(world.now)).ok())
        };
        match wait {
            Some(wait) => {
                futures::future::select(changed, self.seat.sleep(wait.max(Duration::from_micros(100)))).await;
            }
            None => changed.await,
        }
    }

    pub(super) fn draw<T>(&self, from: impl FnOnce(&mut Chance, &Weather) -> T) -> T {
        let weather = lock(&self.weather).clone();
        from(&mut lock(&self.chance), &weather)
    }

    pub(super) fn count(&self, what: &'static str) {
        lock(&self.tally).count(what);
    }

    /// Sends a request over the network, as a client does.
    pub(super) async fn send<T: Send + 'static>(
        self: &Arc<Self>,
        client: &Seat,
        request: Request,
        act: impl Fn(&mut World) -> Result<T, Refusal> + Send + Sync + 'static,
    ) -> Result<T, ProviderError> {
        let (guard, distance) = (request.guard, request.distance);
        let (fate, out, back, held) = self.draw(|chance, weather| {
            let delay = Duration::from_millis(weather.delay_ms.max(1)) * distance;
            let held = guard != Guard::Reads && chance.hits(weather.held);
            let held = held.then(|| span(chance, LATEST));
            (weather.fate(chance, guard), span(chance, delay), span(chance, delay), held)
        });
        let (delayed, dies) = lock(&self.armed)
            .as_mut()
            .map(|armed| (armed.delays(request.by, request.body.as_ref(), guard), armed.dies_of_delay()))
            .unwrap_or_default();
        let fate = delayed.map_or(fate, Fate::Late);
        if let Some(time) = held {
            self.count("held before the send");
            // A create that is sent after its time is what only a fence at the server stops; a host has none.
            if matches!(guard, Guard::Absence | Guard::Host) {
                client.step_back().await;
            } else {
                client.sleep(time).await;
            }
        }
        if let Some(name) = fate.name() {
            self.count(name);
        }
        let broken = request.error(ErrorKind::Unavailable, "the connection broke");
        let late = request.error(ErrorKind::DeadlineExceeded, "no answer within 15 s");
        let (answer, answered) = oneshot::channel();
        let place = Arc::clone(self);
        let by = request.by;
        self.seat.detach(async move { place.deliver(request, act, fate, out, back, answer).await });
        if delayed.is_some() && dies {
            self.seat.scheduler().kill(by);
        }
        match within(client, CLIENT_LIMIT, answered).await {
            Some(Ok(answer)) => answer,
            // Who answers has gone: the connection is closed.
            Some(Err(_)) => Err(broken),
            None => Err(late),
        }
    }

    async fn deliver<T>(
        self: Arc<Self>,
        request: Request,
        act: impl Fn(&mut World) -> Result<T, Refusal>,
        fate: Fate,
        out: Duration,
        back: Duration,
        answer: oneshot::Sender<Result<T, ProviderError>>,
    ) {
        self.seat.sleep(out).await;
        let failed = |timeout: bool| {
            let (kind, message) = if timeout {
                (ErrorKind::DeadlineExceeded, "the server answered 504: timeout")
            } else {
                (ErrorKind::Unavailable, "the server answered 500: etcdserver: leader changed")
            };
            request.error(kind, message).with_effect(Effect::Unknown)
        };
        let reply = match fate {
            Fate::Fine => self.act(&request, &act),
            Fate::Refused => {
                let error = request.error(ErrorKind::PermissionDenied, "exceeded quota: secrets");
                Err(error.with_effect(Effect::None))
            }
            Fate::Throttled { retry_after } => {
                let error = request.error(ErrorKind::Throttled, "too many requests");
                Err(if retry_after { error.with_retry_after(Duration::from_secs(1)) } else { error })
            }
            Fate::Failed { effect, timeout } => {
                if effect {
                    let _ = self.act(&request, &act);
                }
                Err(failed(timeout))
            }
            Fate::Lost { noticed: true } => return,
            Fate::Lost { noticed: false } => return self.silence(answer).await,
            Fate::Unanswered { noticed } => {
                let _ = self.act(&request, &act);
                if noticed {
                    return;
                }
                return self.silence(answer).await;
            }
            Fate::Late(after) => {
                drop(answer);
                self.seat.sleep(after.saturating_sub(out)).await;
                let _ = self.act(&request, &act);
                return;
            }
            Fate::Twice(after) => {
                let reply = self.act(&request, &act);
                self.seat.sleep(back).await;
                let _ = answer.send(reply);
                self.seat.sleep(after.saturating_sub(out + back)).await;
                let _ = self.act(&request, &act);
                return;
            }
        };
        self.seat.sleep(back).await;
        let _ = answer.send(reply);
    }

    /// Keeps a connection open on which nothing comes.
    async fn silence<T>(&self, answer: oneshot::Sender<T>) {
        self.seat.sleep(CLIENT_LIMIT * 4).await;
        drop(answer);
    }

    fn act<T>(
        &self,
        request: &Request,
        act: &impl Fn(&mut World) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        let door = lock(&self.armed).as_mut().map_or(Door::Open, |armed| {
            armed.meets(request.by, request.body.as_ref(), request.writes.is_some())
        });
        match door {
            Door::Open | Door::DiesAfter => {}
            Door::Dies => {
                self.seat.scheduler().kill(request.by);
                return Err(request.error(ErrorKind::Unavailable, "nobody waits for this any more"));
            }
            Door::Busy => return Err(request.error(ErrorKind::Throttled, "too many requests")),
            Door::Refuses => return Err(request.error(ErrorKind::Invalid, "refused by the drill")),
            Door::Halts => self.seat.scheduler().halt(request.by, true),
        }
        let mut world = self.world();
        world.calls += 1;
        let before = world.version;
        let old = request.writes.as_ref().and_then(|key| world.get(key).cloned());
        let answer = act(&mut world);
        if request.guard == Guard::Host {
            let end = if answer.is_ok() { "" } else { ": refused" };
            let line = format!("{:?} {} {}{end}", request.by, request.operation, request.resource);
            lock(&self.witness).note(&line);
        }
        if world.version != before {
            let mut witness = lock(&self.witness);
            if let Some(key) = &request.writes {
                let new = world.get(key).cloned();
                let (by, operation, manager) = (request.by, request.operation, request.manager);
                let body = request.body.as_ref();
                let behind = request.behind;
                witness.deed(&Deed { by, operation, manager, key, body, old, new, behind }, &world);
            }
            witness.saw(&world, before);
            drop(witness);
            self.changed.notify_waiters();
        }
        if door == Door::DiesAfter {
            self.seat.scheduler().kill(request.by);
        }
        answer.map_err(|refusal| request.error(refusal.kind, &refusal.message).with_effect(Effect::None))
    }
}
