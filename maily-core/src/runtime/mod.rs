//! Time, chance and tasks, injected.
//!
//! The engine takes all of them from a [`Runtime`], so that a simulation can replay a seed byte for byte.

mod real;

use std::{fmt, future::Future, time::Duration};

use async_trait::async_trait;
use futures::{future::BoxFuture, pin_mut};

pub use real::TokioRuntime;

/// A clock reading: time since an arbitrary start, running also while the machine sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// A moment this long after the clock's start.
    pub fn at(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// Time since the clock's start.
    pub fn since_start(self) -> Duration {
        self.0
    }

    /// Time from an earlier moment to this one; zero if it was not earlier.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, later: Duration) -> Moment {
        Moment(self.0 + later)
    }
}

/// A running task; dropping it ends the task at its next await.
#[derive(Debug)]
pub struct Task(Box<dyn Abort>);

/// How a runtime ends one of its tasks.
pub trait Abort: fmt::Debug + Send + Sync {
    /// Ends the task at its next await.
    fn abort(&self);
}

impl Task {
    /// Wraps a runtime's own handle.
    pub fn new(handle: impl Abort + 'static) -> Self {
        Self(Box::new(handle))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Clock, timers, randomness and tasks.
#[async_trait]
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    /// The steady clock (`CLOCK_BOOTTIME` on Linux).
    fn now(&self) -> Moment;

    /// The time of day, for people and records. Where the age of a record, a lease that is shown, a Job or a verdict is
    /// told by it, the clocks of two machines are compared: nothing of that decides who may write.
    fn wall(&self) -> jiff::Timestamp;

    /// Waits.
    async fn sleep(&self, duration: Duration);

    /// A random number.
    fn random(&self) -> u64;

    /// Runs a future beside the caller.
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task;
}

/// The future's result, or `None` once the time is up.
pub async fn within<T>(runtime: &dyn Runtime, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let timer = runtime.sleep(limit);
    pin_mut!(future, timer);
    match futures::future::select(future, timer).await {
        futures::future::Either::Left((value, _)) => Some(value),
        futures::future::Either::Right(_) => None,
    }
}
