//! The fence: the API server itself refuses writes of an epoch that is over.
//!
//! A second line behind preconditions and stamps: a ValidatingAdmissionPolicy whose parameter, a ConfigMap of the
//! environment, holds the present epoch. Every holder raises it and proves it before the first write.

mod error;
mod gate;
mod install;
mod manifest;

pub use error::FenceError;
pub(super) use gate::Gate;
pub use install::{Fence, FenceSight, FenceState};
pub use manifest::{FENCE_POLICY, fence_manifest, fence_objects};
