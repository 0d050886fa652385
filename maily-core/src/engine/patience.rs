//! Reading again what could not be read for the moment: a busy or restarting API server must not end a command.

use std::time::Duration;

use futures::future::BoxFuture;

use super::{EnvironmentError, FenceError, LeaseError, journal::JournalError};
use crate::{
    provider::ProviderError,
    runtime::{Moment, Runtime},
};

/// How often something is tried again.
pub(super) const TRIES: u32 = 4;

/// Nobody comes back later than after this time, unless the provider asks for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An error that may come from a provider.
pub(crate) trait OfProvider {
    /// The provider's error, where it is one.
    fn of_provider(&self) -> Option<&ProviderError>;
}

impl OfProvider for ProviderError {
    fn of_provider(&self) -> Option<&ProviderError> {
        Some(self)
    }
}

impl OfProvider for JournalError {
    fn of_provider(&self) -> Option<&ProviderError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl OfProvider for FenceError {
    fn of_provider(&self) -> Option<&ProviderError> {
        match self {
            Self::Provider { source, .. } | Self::Forbidden { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl OfProvider for EnvironmentError {
    fn of_provider(&self) -> Option<&ProviderError> {
        match self {
            Self::Provider(error) | Self::Lease(LeaseError::Provider(error)) => Some(error),
            Self::Journal(error) => error.of_provider(),
            _ => None,
        }
    }
}

/// Does something that may be repeated, again while the provider cannot answer.
pub(crate) async fn patiently<'a, T, E: OfProvider>(
    runtime: &dyn Runtime,
    act: impl Fn() -> BoxFuture<'a, Result<T, E>> + Send,
) -> Result<T, E> {
    let mut left = TRIES;
    let may_again = move || {
        let may = left > 0;
        left = left.saturating_sub(1);
        may
    };
    again_while(runtime, may_again, act).await
}

/// The same until a moment: where a run would have to stop without the answer.
pub(crate) async fn patiently_until<'a, T, E: OfProvider>(
    runtime: &dyn Runtime,
    until: Moment,
    act: impl Fn() -> BoxFuture<'a, Result<T, E>> + Send,
) -> Result<T, E> {
    again_while(runtime, || runtime.now() < until, act).await
}

async fn again_while<'a, T, E: OfProvider>(
    runtime: &dyn Runtime,
    mut may_again: impl FnMut() -> bool + Send,
    act: impl Fn() -> BoxFuture<'a, Result<T, E>> + Send,
) -> Result<T, E> {
    let mut pause = Duration::from_millis(250);
    loop {
        let error = match act().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let transient = error.of_provider().filter(|error| error.is_transient());
        let Some(after) = transient.filter(|_| may_again()) else { return Err(error) };
        runtime.sleep(after.retry_after().unwrap_or(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
