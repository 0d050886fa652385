//! What a person wants of a run that has not ended; and the wish to go back, which may reach another process: how it is
//! left, heard, and taken off the records where it cannot be granted.

use std::time::Duration;

use futures::{
    FutureExt as _,
    future::{Either, select},
    pin_mut,
};

use super::{
    Environment, EnvironmentError, Lease, LeaseSight, RunId, RunOptions,
    journal::{self, JournalError, pack, unpack},
    patience::patiently,
    sight_of_lease,
};
use crate::provider::{Created, ProviderError, RecordStore};

/// What to do with an unfinished run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Go on in the direction that it has.
    Resume,
    /// Go back.
    Abort,
    /// End it with everything as it is now: for a run that a person has sorted out by hand.
    Leave,
}

/// Why nobody waits for a run's holder any more.
enum Needless {
    /// The run has ended.
    Ended,
    /// The wish to abort is not on record any more: whoever carries the run out cannot turn it.
    Refused,
}

/// How long to wait for a former holder when nothing else was asked: its lease has to run out.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between looks for a request to abort.
pub(super) const LOOK_FOR_REQUESTS: Duration = Duration::from_secs(3);

fn abort_key(run: &RunId) -> String {
    format!("request/{run}/abort")
}

/// Who asked the holder of a run to turn back.
///
/// # Errors
/// When the records cannot be read.
pub(super) async fn who_asked(
    records: &dyn RecordStore,
    run: &RunId,
) -> Result<Option<String>, JournalError> {
    let key = abort_key(run);
    match records.get(&key).await? {
        // A wish is a wish, also where its record is damaged.
        Some(bytes) => Ok(Some(unpack(&key, &bytes).unwrap_or_else(|_| "somebody".to_owned()))),
        None => Ok(None),
    }
}

/// Takes off the records that somebody asked. Of a run that has not ended, whoever waits for it sees that it cannot be
/// granted, and it does not stand in the way of going on.
///
/// # Errors
/// When the store fails.
pub(super) async fn forget_wish(records: &dyn RecordStore, run: &RunId) -> Result<(), ProviderError> {
    records.delete(&abort_key(run)).await
}

/// Who asks, with the reason where one was given: the one line that a request to abort keeps.
pub(super) fn who_and_why(options: &RunOptions) -> String {
    match &options.reason {
        Some(reason) => format!("{} ({reason})", options.by),
        None => options.by.clone(),
    }
}

impl Environment {
    /// The lease, once the run's former holder has died or ended it; none where it has ended, and somebody else works on the
    /// environment since: nobody waits for him.
    pub(super) async fn lease_of_former(
        &self,
        run: &RunId,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<Option<Lease>, EnvironmentError> {
        let aborts = wish == Wish::Abort;
        let mut waits = options.clone();
        // Whoever lives and goes back gives the lease up at its end, however long that takes.
        waits.wait.get_or_insert(if aborts { Duration::MAX } else { PATIENCE });
        let (lease, needless) = (self.lease(run, &waits), self.until_needless(run, aborts));
        pin_mut!(lease, needless);
        match select(lease, needless).await {
            Either::Left((lease, _)) => lease.map(Some),
            Either::Right((Needless::Ended, _)) => Ok(None),
            Either::Right((Needless::Refused, _)) => Err(EnvironmentError::NoReturn(run.clone())),
        }
    }

    /// Leaves a request that a living holder obeys; a dead one's run is turned by whoever takes it over.
    pub(super) async fn ask_to_abort(
        &self,
        run: &RunId,
        options: &RunOptions,
    ) -> Result<(), EnvironmentError> {
        let (key, wish) = (abort_key(run), pack(&who_and_why(options)));
        // Who asks twice has asked.
        match patiently(&*self.runtime, || self.records.create(&key, &wish).boxed()).await {
            Ok(Created::Created | Created::Exists) => Ok(()),
            Err(error) => Err(EnvironmentError::Provider(error)),
        }
    }

    /// Ends when there is nothing to wait for any more.
    async fn until_needless(&self, run: &RunId, aborts: bool) -> Needless {
        loop {
            self.runtime.sleep(LOOK_FOR_REQUESTS).await;
            if self.is_over(run).await {
                return Needless::Ended;
            }
            if aborts && matches!(self.records.get(&abort_key(run)).await, Ok(None)) {
                return Needless::Refused;
            }
        }
    }

    /// Whether somebody works on another run, as this one has ended. What cannot be read is looked at another time.
    async fn is_over(&self, run: &RunId) -> bool {
        let seen = sight_of_lease(&*self.providers.cluster, &self.name, &self.namespace).await;
        let another = |seen: LeaseSight| seen.run.is_some_and(|other| other != run.as_str());
        if !seen.is_ok_and(another) {
            return false;
        }
        let read = journal::read(&*self.records, run).await;
        read.is_ok_and(|recorded| recorded.is_some_and(|recorded| recorded.outcome().is_some()))
    }
}
