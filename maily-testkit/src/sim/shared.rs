//! One world, many users: its clock, its faults at the door, and what is told to watches and to the file.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use maily_core::{
    provider::{Effect, ErrorKind, ProviderError},
    runtime::{Moment, Runtime},
};
use tokio::sync::Notify;

use super::door::{Access, Door};
use crate::world::{Call, CallOutcome, Factor, Fault, Refusal, World};

/// Time that the world is brought on at once.
const STRETCH: SignedDuration = SignedDuration::from_secs(1);
/// After such a pause the world does not play every turn of it.
const PAUSE: SignedDuration = SignedDuration::from_secs(120);
/// Time that may be spent on bringing it on.
const MOST: Duration = Duration::from_millis(500);

/// How long nobody looks at a world in which nothing is due.
const QUIET: Duration = Duration::from_millis(500);
/// Clocks are not finer than this.
const LEAST: Duration = Duration::from_millis(1);

type Save = Box<dyn Fn(&World) -> Result<(), String> + Send + Sync>;

/// A world that is in use.
pub struct Shared {
    world: Mutex<World>,
    runtime: Arc<dyn Runtime>,
    /// From where the world's clock goes: it is set anew where its factor changes and where it falls behind.
    since: Mutex<(Moment, Timestamp)>,
    /// Told on every change.
    pub(crate) changed: Notify,
    save: Option<Save>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// A world whose clock goes on from now.
    pub fn new(world: World, runtime: Arc<dyn Runtime>) -> Arc<Self> {
        Self::with_save(world, runtime, None)
    }

    pub(super) fn with_save(world: World, runtime: Arc<dyn Runtime>, save: Option<Save>) -> Arc<Self> {
        let since = Mutex::new((runtime.now(), world.now));
        Arc::new(Self { world: Mutex::new(world), runtime, since, changed: Notify::new(), save })
    }

    /// The world, brought to the present.
    pub fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = self.runtime.now();
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = world.factor().of_world(begun.since(since.0));
        let mut now = since.1.checked_add(passed).unwrap_or(Timestamp::MAX);
        let before = world.version;
        while world.now + STRETCH < now && now.duration_since(world.now) <= PAUSE {
            let to = world.now + STRETCH;
            world.advance(to);
            // On a machine that cannot keep up the world goes slower; else it would be chased forever.
            if self.runtime.now().since(begun) > MOST {
                *since = (begun, to);
                now = to;
                break;
            }
        }
        world.advance(now);
        if world.version != before {
            self.changed.notify_waiters();
        }
        world
    }

    /// Lets the world's time go faster or slower than the clock of its users: pods come up, addresses are given and
    /// builds end in a fraction of their time. What its users wait for by their own clock, such as leases and
    /// deadlines, takes its time, as do requests.
    pub fn set_factor(&self, factor: Factor) {
        let mut world = self.world();
        let now = world.now;
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = (self.runtime.now(), now);
        world.set_factor(factor, self.runtime.wall());
        // Who waits for something that is due then has to reckon anew.
        self.changed.notify_waiters();
    }

    pub(super) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// Ends when the world may have changed: somebody changed it, or its controllers have something to do.
    pub(super) async fn moved(&self) {
        let changed = self.changed.notified();
        futures::pin_mut!(changed);
        // A change between the look and this wait is not lost.
        changed.as_mut().enable();
        let next = {
            let world = self.world();
            let wait = |due: Timestamp| world.factor().of_machine(due.duration_since(world.now));
            world.next_due().map_or(QUIET, wait)
        };
        futures::future::select(changed, self.runtime.sleep(next.clamp(LEAST, QUIET))).await;
    }

    /// Writes the world to its file, where it has one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Result<(), String> {
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        self.save.as_ref().map_or(Ok(()), |save| save(&world))
    }

    /// Carries out a request.
    pub(super) async fn request<T>(
        &self,
        door: &Door,
        operation: &'static str,
        resource: &str,
        access: Access,
        act: impl FnOnce(&mut World) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        // A request takes time, and lets others go on.
        self.runtime.sleep(Duration::from_millis(2)).await;
        let error = |kind, message: &str| ProviderError::new(kind, "sandbox", operation, resource, message);
        let answer = {
            let mut world = self.world();
            world.calls += 1;
            let (answer, came) = if take(&mut world, |fault| matches!(fault, Fault::ApiDown { .. })) {
                let down = error(ErrorKind::Unavailable, "the API server does not answer");
                (Err(down.with_effect(Effect::None)), CallOutcome::Down)
            } else {
                let before = world.version;
                let answer = act(&mut world).map_err(|refusal| {
                    // What the world refuses has had no effect.
                    error(refusal.kind, &refusal.message).with_effect(Effect::None)
                });
                if world.version != before {
                    self.changed.notify_waiters();
                }
                let lost = access != Access::Read
                    && answer.is_ok()
                    && take(&mut world, |fault| matches!(fault, Fault::LostAnswer { .. }));
                match answer {
                    _ if lost => {
                        (Err(error(ErrorKind::DeadlineExceeded, "no answer in time")), CallOutcome::Lost)
                    }
                    Ok(answer) => (Ok(answer), CallOutcome::Done),
                    Err(error) => {
                        let kind = error.kind();
                        (Err(error), CallOutcome::Refused(kind))
                    }
                }
            };
            let call = Call {
                at: world.now,
                who: door.who.to_string(),
                provider: door.provider.to_owned(),
                operation: operation.to_owned(),
                resource: resource.to_owned(),
                outcome: came,
            };
            world.log.add(call);
            answer
        };
        if access == Access::Record {
            self.save().map_err(|message| error(ErrorKind::Internal, &message))?;
        }
        answer
    }
}

/// Uses up one request of a fault.
fn take(world: &mut World, which: impl Fn(&Fault) -> bool) -> bool {
    let Some(index) = world.faults.iter().position(which) else { return false };
    let (Fault::ApiDown { requests } | Fault::LostAnswer { requests }) = &mut world.faults[index] else {
        return false;
    };
    let active = *requests > 0;
    *requests = requests.saturating_sub(1);
    if *requests == 0 {
        world.faults.remove(index);
    }
    active
}
