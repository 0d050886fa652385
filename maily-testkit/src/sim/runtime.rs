//! A runtime on tokio's clock, which a test can pause: time then jumps to the next timer whenever everybody waits,
//! and chance comes from a seed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use maily_core::runtime::{Abort, Moment, Runtime, Task};

/// Start of the simulated calendar: 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600;

/// A simulated runtime.
#[derive(Debug)]
pub struct SimRuntime {
    started: tokio::time::Instant,
    state: AtomicU64,
}

impl SimRuntime {
    /// A runtime with its clock at zero. To be made inside a tokio runtime with paused time.
    #[expect(clippy::disallowed_methods, reason = "this is the paused clock")]
    pub fn new(seed: u64) -> Self {
        Self { started: tokio::time::Instant::now(), state: AtomicU64::new(seed) }
    }
}

#[async_trait]
impl Runtime for SimRuntime {
    #[expect(clippy::disallowed_methods, reason = "this is the paused clock")]
    fn now(&self) -> Moment {
        Moment::at(tokio::time::Instant::now() - self.started)
    }

    fn wall(&self) -> jiff::Timestamp {
        let start = jiff::Timestamp::from_second(START).unwrap_or_default();
        start + jiff::SignedDuration::try_from(self.now().since_start()).unwrap_or(jiff::SignedDuration::ZERO)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the paused clock")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn random(&self) -> u64 {
        // SplitMix64: every call another number, the same for the same seed.
        let mut z = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        Task::new(Handle(tokio::spawn(future)))
    }
}

#[derive(Debug)]
struct Handle(tokio::task::JoinHandle<()>);

impl Abort for Handle {
    fn abort(&self) {
        self.0.abort();
    }
}
