//! A client's way into the world: under its name, through the faults, into the call log.

use std::sync::Arc;

use maily_core::provider::ProviderError;

use super::shared::Shared;
use crate::world::{Refusal, World};

/// Who asks, and for which provider.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) shared: Arc<Shared>,
    pub(super) who: Arc<str>,
    pub(super) provider: &'static str,
}

/// What a request does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing.
    Read,
    /// It changes something: its answer can be lost.
    Write,
    /// What it changes is on the disk before it is answered.
    Record,
}

impl Door {
    pub(super) fn new(shared: Arc<Shared>, provider: &'static str) -> Self {
        Self { shared, who: Arc::from("maily"), provider }
    }

    pub(super) fn named(self, who: &str) -> Self {
        Self { who: Arc::from(who), ..self }
    }

    pub(super) async fn read<T>(
        &self,
        operation: &'static str,
        resource: &str,
        act: impl FnOnce(&mut World) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        self.shared.request(self, operation, resource, Access::Read, act).await
    }

    pub(super) async fn write<T>(
        &self,
        operation: &'static str,
        resource: &str,
        act: impl FnOnce(&mut World) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        self.shared.request(self, operation, resource, Access::Write, act).await
    }
}

/// Constructors of a simulated client.
macro_rules! client {
    ($client:ident, $provider:literal) => {
        impl $client {
            /// A client of a world.
            pub fn new(shared: std::sync::Arc<super::shared::Shared>) -> Self {
                Self { door: super::door::Door::new(shared, $provider) }
            }

            /// The same client under a name of its own in the call log.
            #[must_use]
            pub fn named(self, who: &str) -> Self {
                Self { door: self.door.named(who) }
            }
        }
    };
}

pub(super) use client;
