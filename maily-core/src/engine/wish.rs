//! What a person wants of a run that has not ended; and the wish to go back, which may reach another process: how it is
//! left, heard, and taken off the records where it cannot be granted.

use std::time::Duration;

use futures::{
    FutureExt as _,
    future::{Either, select},
    pin_mut,
};

use super::{
    Environment, EnvironmentError, Lease, RunId, RunOptions,
    journal::{JournalError, pack, unpack},
    patience::patiently,
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
    /// The lease, once the run's former holder has died or ended it.
    pub(super) async fn lease_of_former(
        &self,
        run: &RunId,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<Lease, EnvironmentError> {
        let mut waits = options.clone();
        if wish != Wish::Abort {
            waits.wait.get_or_insert(PATIENCE);
            return self.lease(run, &waits).await;
        }
        self.ask_to_abort(run, options).await?;
        // Whoever lives and goes back gives the lease up at its end, however long that takes.
        waits.wait.get_or_insert(Duration::MAX);
        let (lease, refused) = (self.lease(run, &waits), self.until_refused(run));
        pin_mut!(lease, refused);
        match select(lease, refused).await {
            Either::Left((lease, _)) => lease,
            Either::Right(((), _)) => Err(EnvironmentError::NoReturn(run.clone())),
        }
    }

    /// Leaves a request that a living holder obeys; a dead one's run is turned by whoever takes it over.
    async fn ask_to_abort(&self, run: &RunId, options: &RunOptions) -> Result<(), EnvironmentError> {
        let (key, wish) = (abort_key(run), pack(&who_and_why(options)));
        // Who asks twice has asked.
        match patiently(&*self.runtime, || self.records.create(&key, &wish).boxed()).await {
            Ok(Created::Created | Created::Exists) => Ok(()),
            Err(error) => Err(EnvironmentError::Provider(error)),
        }
    }

    /// Ends when the wish to abort is not on record any more: whoever carries the run out cannot turn it.
    async fn until_refused(&self, run: &RunId) {
        loop {
            self.runtime.sleep(LOOK_FOR_REQUESTS).await;
            if let Ok(None) = self.records.get(&abort_key(run)).await {
                return;
            }
        }
    }
}
