//! Sets of fields, as server-side apply tracks them in `metadata.managedFields`.
//!
//! Format: <https://kubernetes.io/docs/reference/using-api/server-side-apply/> (`FieldsV1`).

mod atomic;
mod cut;
mod managers;
mod overlay;
mod set;
#[cfg(test)]
mod tests;

pub(crate) use atomic::atomics;
pub(crate) use overlay::covers;
pub use overlay::lay_over;
pub use set::FieldSet;
