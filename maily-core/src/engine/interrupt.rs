//! A person's wish to stop, heard wherever something is waited for: before a run of ours begins, and while it takes up
//! what another process has left.

use std::{future::Future, time::Duration};

use futures::{
    future::{Either, select},
    pin_mut,
};
use tokio_util::sync::CancellationToken;

use super::{EnvironmentError, RunEnd, RunOptions, What};
use crate::{
    runtime::within,
    steps::{Context, Halt},
};

/// So long an interrupted run waits for answers. What is under way then is as after a crash, which a resume knows.
pub(super) const GRACE: Duration = Duration::from_millis(800);

/// Why a run is paused whose last calls have got no answer.
pub(super) const UNANSWERED: &str = "interrupted before every call had its answer";

impl RunOptions {
    /// Does something by which no run of ours has begun: a wish to stop drops it.
    pub(super) async fn before_any_change<T>(
        &self,
        work: impl Future<Output = Result<T, EnvironmentError>>,
    ) -> Result<T, EnvironmentError> {
        unless_cancelled(&self.cancel, work).await.unwrap_or(Err(EnvironmentError::Interrupted))
    }
}

/// Does something that may end in the middle, as by a crash. `None` where a wish to stop has dropped it.
pub(super) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = T>,
) -> Option<T> {
    let cancelled = cancel.cancelled();
    pin_mut!(cancelled, work);
    match select(cancelled, work).await {
        Either::Left(_) => None,
        Either::Right((done, _)) => Some(done),
    }
}

/// Does something that heeds the run's brakes. A wish to stop pulls them; `None` where the answers do not come soon.
pub(super) async fn with_grace<T>(
    context: &Context,
    cancel: &CancellationToken,
    work: impl Future<Output = T>,
) -> Option<T> {
    let cancelled = cancel.cancelled();
    pin_mut!(cancelled, work);
    match select(cancelled, work).await {
        Either::Left(((), work)) => {
            context.halt(Halt::Interrupt);
            within(&*context.runtime, GRACE, work).await
        }
        Either::Right((done, _)) => Some(done),
    }
}

/// Ends this process's part of a run that goes on another time, where the journal is not told.
pub(super) fn paused(context: &Context, why: &str) -> RunEnd {
    context.tell(What::Paused { why: why.to_owned(), items: Vec::new() });
    RunEnd::Paused { run: context.run.clone(), why: why.to_owned() }
}
