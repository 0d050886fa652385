//! The brakes: whether a step goes on, and whether it may send now.

use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::{Context, Trouble, lock};
use crate::{
    planted::{Defect, is_planted},
    run::{Direction, Failure},
    runtime::Moment,
};

/// Whether the holder may write now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayWrite {
    /// It may.
    Yes,
    /// Not until a renewal gets through.
    NotNow,
    /// Never again: somebody else has the lease.
    Lost,
}

/// Asks whoever holds the environment; once before each send.
pub(crate) type Licence = Box<dyn Fn() -> MayWrite + Send + Sync>;

/// Why the steps of a run are told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Halt {
    /// They are not.
    Go,
    /// The run goes back: forward steps end at once.
    Turn,
    /// A person interrupted: every step ends after its present call.
    Interrupt,
    /// Somebody else holds the environment: nothing may be sent any more.
    Lost,
}

impl Context {
    /// Stops the steps in an orderly way for a reason, of which the first counts.
    pub(crate) fn interrupt(&self, why: String) {
        lock(&self.interrupted).get_or_insert(why);
        self.halt(Halt::Interrupt);
    }

    /// Why the steps were interrupted, where it was not a person who did it.
    pub(crate) fn why_interrupted(&self) -> Option<String> {
        lock(&self.interrupted).clone()
    }

    /// Tells the steps to stop, or forward steps to; never takes a stronger order back.
    pub(crate) fn halt(&self, order: Halt) {
        let mut present = lock(&self.halt);
        if order > *present {
            *present = order;
            self.ordered_anew.notify_waiters();
        }
    }

    /// The present order.
    pub(crate) fn ordered(&self) -> Halt {
        *lock(&self.halt)
    }

    /// Whether a step of this direction has to stop.
    pub(crate) fn must_stop(&self, direction: Direction) -> bool {
        stops(self.ordered(), direction)
    }

    /// Ends when a step of this direction has to stop.
    pub(crate) async fn stopped(&self, direction: Direction) {
        self.until(|order| stops(order, direction)).await;
    }

    /// Ends when somebody else holds the environment.
    pub(crate) async fn until_lost(&self) {
        self.until(|order| order == Halt::Lost).await;
    }

    async fn until(&self, fits: impl Fn(Halt) -> bool) {
        loop {
            // Before the look: what is ordered after it is heard.
            let anew = self.ordered_anew.notified();
            if fits(self.ordered()) {
                return;
            }
            anew.await;
        }
    }

    /// Waits, unless the step has to stop.
    pub(crate) async fn pause(&self, direction: Direction, duration: Duration) -> Result<(), Trouble> {
        let stopped = self.stopped(direction);
        futures::pin_mut!(stopped);
        match futures::future::select(stopped, self.runtime.sleep(duration)).await {
            futures::future::Either::Left(_) => Err(Trouble::Halted),
            futures::future::Either::Right(_) => Ok(()),
        }
    }

    /// Waits until a write may be sent: the lease was renewed lately, and nobody ordered a stop. At most until the
    /// step's time is up.
    pub(crate) async fn may_send(&self, direction: Direction, deadline: Moment) -> Result<(), Trouble> {
        while !self.sends_now(direction)? {
            if self.runtime.now() >= deadline {
                let message = "the lease could not be renewed before the step's time was up";
                return Err(Failure::new("deadline", message)
                    .with_hint("see whether the cluster's API answers")
                    .into());
            }
            self.pause(direction, Duration::from_millis(250)).await?;
        }
        Ok(())
    }

    /// Whether a write may be sent now.
    fn sends_now(&self, direction: Direction) -> Result<bool, Trouble> {
        if self.must_stop(direction) {
            return Err(Trouble::Halted);
        }
        if is_planted(Defect::LeaseIgnored) {
            return Ok(true);
        }
        match (self.licence)() {
            MayWrite::Yes => Ok(true),
            MayWrite::NotNow => Ok(false),
            MayWrite::Lost => Err(self.lost()),
        }
    }

    /// A place among the requests that are under way, at a moment at which a write may be sent. Who has to wait for
    /// that moment keeps no place meanwhile.
    pub(crate) async fn turn_to_send(
        &self,
        direction: Direction,
        deadline: Moment,
    ) -> Result<Option<SemaphorePermit<'_>>, Trouble> {
        loop {
            self.may_send(direction, deadline).await?;
            let permit = self.requests.acquire().await.ok();
            if self.sends_now(direction)? {
                return Ok(permit);
            }
        }
    }

    /// Stops everything: a newer holder was seen.
    pub(crate) fn lost(&self) -> Trouble {
        self.halt(Halt::Lost);
        Trouble::Halted
    }
}

fn stops(order: Halt, direction: Direction) -> bool {
    match direction {
        Direction::Forward => order > Halt::Go,
        Direction::Back => order > Halt::Turn,
    }
}
