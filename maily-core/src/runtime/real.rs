//! The machine's own clock, timers and tasks.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use rustix::time::{ClockId, clock_gettime};

use super::{Abort, Moment, Runtime, Task};

/// The runtime of a real process, on tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioRuntime;

#[async_trait]
impl Runtime for TokioRuntime {
    fn now(&self) -> Moment {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
        Moment::at(Duration::new(seconds, nanos))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn random(&self) -> u64 {
        // Keys are made of it, too: nothing but the operating system's own source will do.
        getrandom::u64().expect("the operating system has random numbers")
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
