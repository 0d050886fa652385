//! The provider traits over one simulated world.

mod cloud;
mod cluster;
mod door;
mod environment;
mod frontend;
mod monitoring;
mod prober;
mod runtime;
mod sandbox;
mod secrets;
mod shared;

pub use cloud::{SimDatabases, SimIdentities, SimStorage};
pub use cluster::SimCluster;
#[cfg(feature = "harness")]
pub(crate) use cluster::{found, selected, served, told};
pub use environment::environment;
pub use frontend::SimFrontend;
pub use monitoring::SimMonitoring;
pub use prober::SimProber;
pub use runtime::SimRuntime;
pub use sandbox::{Mode, Sandbox, SandboxError};
pub use secrets::SimSecrets;
pub use shared::Shared;
