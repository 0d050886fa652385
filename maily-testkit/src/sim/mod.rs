//! The provider traits over one simulated world.

mod cluster;
mod environment;
mod frontend;
mod prober;
mod runtime;
mod sandbox;
mod shared;

pub use cluster::SimCluster;
#[cfg(feature = "harness")]
pub(crate) use cluster::{fits, served};
pub use environment::environment;
pub use frontend::SimFrontend;
pub use prober::SimProber;
pub use runtime::SimRuntime;
pub use sandbox::{Mode, Sandbox, SandboxError};
pub use shared::{Crash, Shared};
