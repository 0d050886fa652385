//! The world: objects, controllers over time, databases, buckets, secrets, metrics, faults. A plain value without
//! threads or clocks of its own.

mod agenda;
mod apply;
mod budget;
mod calls;
mod clock;
mod controllers;
mod databases;
mod defaults;
mod endings;
mod fault;
mod fence;
mod frontend;
mod jobs;
mod metrics;
mod misfit;
mod misfit_pods;
mod pods;
mod query;
mod requests;
mod secrets;
mod sets;
mod state;
mod storage;
mod store;

pub use calls::{Call, CallLog, CallOutcome};
pub use clock::{Factor, FactorError};
pub use databases::DatabaseService;
pub use fault::{Fault, FaultError, PodTrouble};
pub use frontend::Frontend;
pub use metrics::Telemetry;
pub(crate) use pods::is_ready;
pub use requests::Refusal;
pub(crate) use requests::in_version;
pub use secrets::SecretStore;
pub use state::{Change, World};
pub use storage::Account;
