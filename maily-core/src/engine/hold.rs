//! What a process holds of an environment while it carries a run out: the lease, and the fence that it watches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FenceError, Lease};
use crate::{
    planted::{Defect, is_planted},
    runtime::Task,
    steps::{Context, Halt, Licence, MayWrite},
};

/// The hold of a process on an environment.
pub(crate) struct Hold {
    lease: Mutex<Option<Lease>>,
    /// Watch the lease, and the fence where there is one.
    guards: Mutex<Vec<Task>>,
    unfenced: Mutex<Option<FenceError>>,
    /// How the lease was lost.
    lost: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hold {
    pub(crate) fn new(lease: Lease) -> Arc<Self> {
        Arc::new(Self {
            lease: Mutex::new(Some(lease)),
            guards: Mutex::default(),
            unfenced: Mutex::default(),
            lost: Mutex::default(),
        })
    }

    /// Stops a run as soon as a renewal finds the lease in other hands: a step that only waits asks before no send.
    pub(crate) fn heed(self: &Arc<Self>, context: &Arc<Context>) {
        let Some(loss) = lock(&self.lease).as_ref().map(Lease::loss) else { return };
        let (hold, holder) = (Arc::downgrade(self), Arc::downgrade(context));
        let heeds = async move {
            let how = loss.await;
            let (Some(hold), Some(context)) = (hold.upgrade(), holder.upgrade()) else { return };
            lock(&hold.lost).get_or_insert(how);
            context.halt(Halt::Lost);
        };
        self.guarded_by(context.runtime.spawn(Box::pin(heeds)));
    }

    /// How the lease was lost, where that was seen.
    pub(crate) fn how_lost(&self) -> Option<String> {
        lock(&self.lost).clone()
    }

    /// What steps ask before each send.
    pub(crate) fn licence(self: &Arc<Self>) -> Licence {
        let hold = Arc::clone(self);
        Box::new(move || match lock(&hold.lease).as_ref() {
            Some(lease) => (lease.may_write(), lease.unrenewed()),
            None => (MayWrite::Lost, None),
        })
    }

    /// Keeps a task that watches for as long as the holder works.
    pub(crate) fn guarded_by(&self, task: Task) {
        lock(&self.guards).push(task);
    }

    /// The fence does not hold any more: stops the steps in an orderly way.
    pub(crate) fn unfenced(&self, context: &Context, why: FenceError) {
        context.interrupt(why.to_string());
        lock(&self.unfenced).get_or_insert(why);
    }

    /// Why the fence does not hold, where that stopped the run.
    pub(crate) fn take_unfenced(&self) -> Option<FenceError> {
        lock(&self.unfenced).take()
    }

    /// Takes the lease out, to give it back.
    pub(crate) fn take_lease(&self) -> Option<Lease> {
        lock(&self.lease).take()
    }

    /// Stops renewing without giving the lease back: it belongs to somebody else, or soon will.
    pub(crate) fn give_up_lease(&self) {
        if let Some(mut lease) = self.take_lease() {
            if is_planted(Defect::LostHolderRenews) {
                return std::mem::forget(lease);
            }
            lease.stop_renewing();
        }
    }
}
