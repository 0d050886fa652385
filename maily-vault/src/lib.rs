//! The Vault secrets provider of maily: the key/value engine, version 2, behind
//! [`Secrets`](maily_core::provider::Secrets).
//!
//! Each call is one request; retries are the engine's. The errors of the client stay inside of this crate: `error`
//! maps them all.

mod connect;
mod error;
mod kv;

pub use connect::{ConnectOptions, connect};
pub use kv::VaultSecrets;
