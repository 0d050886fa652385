//! The Vault secrets provider of maily: the key/value engine, version 2, behind
//! [`Secrets`](maily_core::provider::Secrets).
//!
//! Each call is one request; retries are the engine's. The errors of the client stay inside of this crate: `error`
//! maps them all.
//!
//! ```no_run
//! use maily_core::provider::Secrets;
//! use maily_vault::{ConnectOptions, connect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let token = String::from("from the login");
//! let secrets = connect(&ConnectOptions::new("https://vault.example:8200", token))?;
//! println!("{:?}", secrets.list("shop/").await?);
//! # Ok(())
//! # }
//! ```

mod connect;
mod error;
mod kv;

pub use connect::{ConnectOptions, connect};
pub use kv::VaultSecrets;
