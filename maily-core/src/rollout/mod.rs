//! Rollout verdicts: whether what was written serves, still goes on, or is known to fail.
//!
//! Pure functions over live objects; the watcher gathers them. Each rule answers to a defect that a deployment tool
//! really had (`docs/tests.md`).

mod conditions;
mod digests;
mod judge;
mod lost;
mod pod;
mod refused;
mod target;
#[cfg(test)]
mod tests;
mod workload;

pub(crate) use digests::digests;
pub use judge::{Evidence, Health, Obstacle, Reason, judge};
pub(crate) use judge::{RESTARTED, says_it_serves, serves};
pub(crate) use pod::{is_ready, unready, unready_since};
pub use target::Target;
pub(crate) use workload::{REVISION, controller};
