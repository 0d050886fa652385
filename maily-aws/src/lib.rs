//! The AWS providers of maily: RDS, S3 and STS behind the traits of [`maily_core::provider`].
//!
//! Each call is one request; retries are the engine's. The errors of the SDK stay inside of this crate: `error`
//! maps them all.

mod connect;
mod databases;
mod error;
mod identities;
mod storage;

pub use connect::{AccessKey, Aws, ConnectOptions};
pub use databases::RdsDatabases;
pub use identities::StsIdentities;
pub use storage::S3Storage;
