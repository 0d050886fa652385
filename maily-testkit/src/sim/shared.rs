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

use crate::world::{Fault, Refusal, World};

/// How long nobody looks at a world in which nothing is due.
const QUIET: Duration = Duration::from_millis(500);
/// Clocks are not finer than this.
const LEAST: Duration = Duration::from_millis(1);

type Save = Box<dyn Fn(&World) -> Result<(), String> + Send + Sync>;

/// A point at which the client is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The request, counted from 1.
    pub at: u64,
    /// Whether the request takes effect before the client dies.
    pub after_effect: bool,
}

/// A world that is in use.
pub struct Shared {
    world: Mutex<World>,
    runtime: Arc<dyn Runtime>,
    started: (Moment, Timestamp),
    /// Told on every change.
    pub(crate) changed: Notify,
    crash: Mutex<Option<Crash>>,
    crashed: Notify,
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
        let started = (runtime.now(), world.now);
        Arc::new(Self {
            world: Mutex::new(world),
            runtime,
            started,
            changed: Notify::new(),
            crash: Mutex::new(None),
            crashed: Notify::new(),
            save,
        })
    }

    /// The world, brought to the present.
    pub fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = self.runtime.now().since(self.started.0);
        let now = self.started.1 + SignedDuration::try_from(passed).unwrap_or(SignedDuration::ZERO);
        let before = world.version;
        world.advance(now);
        if world.version != before {
            self.changed.notify_waiters();
        }
        world
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
        let (now, due) = {
            let world = self.world();
            (world.now, world.next_due())
        };
        let next = due.and_then(|due| Duration::try_from(due.duration_since(now)).ok()).unwrap_or(QUIET);
        futures::future::select(changed, self.runtime.sleep(next.clamp(LEAST, QUIET))).await;
    }

    /// Kills the client at a request: the request and everything after it never return.
    pub fn crash_at(&self, crash: Option<Crash>) {
        *self.crash.lock().unwrap_or_else(PoisonError::into_inner) = crash;
    }

    /// Ends when the client was killed.
    pub async fn crashed(&self) {
        self.crashed.notified().await;
    }

    /// Writes the world to its file, where it has one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Result<(), String> {
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        self.save.as_ref().map_or(Ok(()), |save| save(&world))
    }

    /// Carries out a request. `lasting` ones are on the disk before they are answered.
    pub(super) async fn request<T>(
        &self,
        operation: &'static str,
        resource: &str,
        writes: bool,
        lasting: bool,
        act: impl FnOnce(&mut World) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        // A request takes time, and lets others go on.
        self.runtime.sleep(Duration::from_millis(2)).await;
        let error = |kind, message: &str| ProviderError::new(kind, "sandbox", operation, resource, message);
        let outcome = {
            let mut world = self.world();
            world.calls += 1;
            let crash = *self.crash.lock().unwrap_or_else(PoisonError::into_inner);
            let dies = crash.filter(|crash| world.calls >= crash.at);
            if dies.is_some_and(|crash| !crash.after_effect || world.calls > crash.at) {
                None
            } else if take(&mut world, |fault| matches!(fault, Fault::ApiDown { .. })) {
                Some(Err(
                    error(ErrorKind::Unavailable, "the API server does not answer").with_effect(Effect::None)
                ))
            } else {
                let before = world.version;
                let answer = act(&mut world).map_err(|refusal| error(refusal.kind, &refusal.message));
                if world.version != before {
                    self.changed.notify_waiters();
                }
                let lost = writes
                    && answer.is_ok()
                    && take(&mut world, |fault| matches!(fault, Fault::LostAnswer { .. }));
                match dies {
                    Some(_) => None,
                    None if lost => Some(Err(error(ErrorKind::DeadlineExceeded, "no answer in time"))),
                    None => Some(answer),
                }
            }
        };
        if lasting {
            self.save().map_err(|message| error(ErrorKind::Internal, &message))?;
        }
        match outcome {
            Some(answer) => answer,
            None => {
                self.crashed.notify_waiters();
                self.crashed.notify_one();
                std::future::pending().await
            }
        }
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
