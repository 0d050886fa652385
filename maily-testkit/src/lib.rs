//! A simulated world for maily: a cluster, its controllers, a cloud, secrets, monitoring, a frontend host and faults, as
//! plain data that can be stepped, stored and looked at. `mailyctl --sandbox` is this world, kept in a file.

#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "harness")]
pub mod harness;
#[cfg(feature = "mock")]
pub mod mock;
pub mod sim;
pub mod world;
