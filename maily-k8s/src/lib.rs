//! The Kubernetes cluster provider of maily: [`maily_core::provider::Cluster`] over the API server's own HTTP.
//!
//! Objects travel as plain JSON. Nothing here retries: the engine does, because only it knows what a retry may
//! repeat. Every request has a deadline.
//!
//! ```no_run
//! use maily_core::{
//!     object::ObjectKind,
//!     provider::{Cluster, ListQuery},
//! };
//! use maily_k8s::{ConnectOptions, KubeCluster};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The file and the context are named: nothing is taken from what happens to be current.
//! let options =
//!     ConnectOptions { kubeconfig: Some("staging.kubeconfig".into()), context: Some("staging".into()) };
//! let cluster = KubeCluster::connect(&options).await?;
//! println!("{}", cluster.describe().await?.identity.uid);
//! for pod in cluster.list(&ListQuery::new(ObjectKind::new("v1", "Pod"), Some("shop"))).await? {
//!     println!("{}", pod.name());
//! }
//! # Ok(())
//! # }
//! ```

mod access;
mod client;
mod cluster;
mod connect;
mod discovery;
mod error;
mod json;
mod logs;
mod migrate;
mod plugin;
mod probe;
mod proxy;
mod request;
mod transport;
mod watch;
mod words;
mod write;

pub use cluster::KubeCluster;
pub use connect::ConnectOptions;
