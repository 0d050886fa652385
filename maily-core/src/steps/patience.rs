//! Patience with a failure that may pass: a controller whose pods are refused tries again ever more rarely.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::runtime::{Moment, Runtime};

/// How long it is looked at again.
const LEAST: Duration = Duration::from_secs(15);
/// As long as it lasts already its controller may wait with the next try, at most so long here.
const MOST_MORE: Duration = Duration::from_secs(60);

/// Until when one failure is waited out.
#[derive(Default)]
pub(super) struct Patience(Mutex<Option<Moment>>);

impl Patience {
    /// Whether there is none left with a failure that is seen now, and arose then.
    pub(super) fn is_over(&self, runtime: &dyn Runtime, arose: Option<Timestamp>) -> bool {
        let now = runtime.now();
        let until = *self.until().get_or_insert_with(|| {
            let lasts = arose.map(|arose| runtime.wall().duration_since(arose));
            let lasts = lasts.and_then(|lasts| Duration::try_from(lasts).ok()).unwrap_or_default();
            now + LEAST + lasts.min(MOST_MORE)
        });
        now >= until
    }

    /// Something else is seen.
    pub(super) fn forget(&self) {
        *self.until() = None;
    }

    /// Time until it is over, where it is not.
    pub(super) fn left(&self, runtime: &dyn Runtime) -> Option<Duration> {
        let left = (*self.until())?.since(runtime.now());
        Some(left).filter(|left| !left.is_zero())
    }

    fn until(&self) -> MutexGuard<'_, Option<Moment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
