//! The Kubernetes cluster provider of maily: [`maily_core::provider::Cluster`] over the API server's own HTTP.
//!
//! Objects travel as plain JSON. Nothing here retries: the engine does, because only it knows what a retry may
//! repeat. Every request has a deadline.

mod access;
mod client;
mod cluster;
mod connect;
mod discovery;
mod error;
mod logs;
mod migrate;
mod probe;
mod proxy;
mod request;
mod watch;
mod write;

pub use cluster::KubeCluster;
pub use connect::ConnectOptions;
