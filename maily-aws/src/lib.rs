//! The AWS providers of maily: RDS, S3 and STS behind the traits of [`maily_core::provider`].
//!
//! Each call is one request; retries are the engine's. The errors of the SDK stay inside of this crate: `error`
//! maps them all.
//!
//! ```no_run
//! use maily_aws::{Aws, ConnectOptions};
//! use maily_core::provider::Identities;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = ConnectOptions { region: Some("eu-central-1".into()), ..ConnectOptions::default() };
//! let aws = Aws::connect(&options).await?;
//! println!("{}", aws.identities().caller().await?.account);
//! # Ok(())
//! # }
//! ```

mod connect;
mod databases;
mod error;
mod identities;
mod storage;

pub use connect::{AccessKey, Aws, ConnectOptions};
pub use databases::RdsDatabases;
pub use identities::StsIdentities;
pub use storage::S3Storage;
