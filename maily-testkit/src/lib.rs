//! A simulated world for maily: a cluster, its controllers, a cloud, secrets, monitoring, a frontend host and faults, as
//! plain data that can be stepped, stored and looked at. `mailyctl --sandbox` is this world, kept in a file.
//!
//! [`world::World`] is the state and its transitions, [`sim`] the provider traits over it. Everything else stands
//! behind features: `contract` holds the suites that every backend has to pass, `mock` mocks of every trait, `harness` the
//! simulation and the test stack.
//!
//! ```
//! use std::sync::Arc;
//!
//! use maily_core::{
//!     object::{ObjectKey, ObjectKind},
//!     provider::Cluster,
//!     runtime::Runtime,
//! };
//! use maily_testkit::{
//!     sim::{Shared, SimCluster, SimRuntime},
//!     world::World,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Clock, timers and chance follow from the seed.
//! let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(7));
//! let world = Shared::new(World::new(runtime.wall(), runtime.random(), &["shop"]), Arc::clone(&runtime));
//! let cluster = SimCluster::new(Arc::clone(&world));
//!
//! let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, "shop");
//! assert!(cluster.get(&key).await?.is_some());
//!
//! // From now on the pods of `api` at v2 crash.
//! world.world().faults.push("crash api@v2".parse()?);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "harness")]
pub mod harness;
#[cfg(feature = "mock")]
pub mod mock;
pub mod sim;
pub mod world;
