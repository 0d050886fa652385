//! The brakes: whether a step goes on, and whether it may send now.

use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::{Context, Trouble, lock};
use crate::{
    planted::{Defect, is_planted},
    provider::ProviderError,
    run::{Direction, Failure, What},
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

/// Why no renewal of the lease gets through.
#[derive(Clone, Debug)]
pub(crate) struct Unrenewed {
    why: String,
    hint: Option<String>,
    /// Whether waiting may help.
    may_pass: bool,
}

impl From<ProviderError> for Unrenewed {
    fn from(error: ProviderError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { why: error.brief(), hint, may_pass: error.is_transient() }
    }
}

/// Asks whoever holds the environment, before each send; with what keeps it from being renewed.
pub(crate) type Licence = Box<dyn Fn() -> (MayWrite, Option<Unrenewed>) + Send + Sync>;

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
            let (_, unrenewed) = (self.licence)();
            if self.runtime.now() >= deadline {
                return Err(late(unrenewed).into());
            }
            // What may pass is told by whoever asks again.
            if let Some(unrenewed) = unrenewed.filter(|unrenewed| !unrenewed.may_pass) {
                self.tell_unrenewed(unrenewed.why);
            }
            self.pause(direction, Duration::from_millis(250)).await?;
        }
        Ok(())
    }

    /// Tells why nothing is sent: for all steps once.
    fn tell_unrenewed(&self, why: String) {
        let told = lock(&self.unrenewed).replace(why.clone());
        if told.as_ref() != Some(&why) {
            self.tell(What::Waiting { why: format!("nothing is sent, as the lease is not renewed: {why}") });
        }
    }

    /// Whether a write may be sent now.
    fn sends_now(&self, direction: Direction) -> Result<bool, Trouble> {
        if self.must_stop(direction) {
            return Err(Trouble::Halted);
        }
        if is_planted(Defect::LeaseIgnored) {
            return Ok(true);
        }
        match (self.licence)().0 {
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

/// The step's time was up before the lease was renewed.
fn late(unrenewed: Option<Unrenewed>) -> Failure {
    let mut message = "the lease could not be renewed before the step's time was up".to_owned();
    let mut hint = None;
    if let Some(unrenewed) = unrenewed {
        message = format!("{message}: {}", unrenewed.why);
        hint = unrenewed.hint;
    }
    let hint = hint.unwrap_or_else(|| "see whether the cluster's API answers".to_owned());
    Failure::new("deadline", message).with_hint(hint)
}

fn stops(order: Halt, direction: Direction) -> bool {
    match direction {
        Direction::Forward => order > Halt::Go,
        Direction::Back => order > Halt::Turn,
    }
}
