//! From the project file and a version to Kubernetes objects, service by service.
//!
//! Reading and grouping are pure; the programs `kustomize` and `helm` are run by [`Tools`], which a test replaces.

mod aggregated;
mod bundle;
mod defaults;
mod derive;
mod follows;
mod group;
mod hooks;
mod images;
mod jobs;
mod manifests;
mod order;
mod partition;
mod patch;
mod pattern;
mod pods;
mod references;
mod render;
mod reserved;
mod secrets;
mod versions;
mod workload;

pub use bundle::{Printed, ProgramTools, Tools, spoken};
pub use derive::{DeriveRequest, Derived, derive};
pub use hooks::{HookJob, Occasion, Side};
pub use manifests::{SourceError, SourceErrors, read_manifests};
pub use render::{RenderRequest, Rendered, render};

pub(crate) use images::moving_images;
pub(crate) use order::{rank_of_going, sort};
pub(crate) use partition::partition_note;
pub(crate) use references::{Need, Reference, pod_references};
pub(crate) use versions::{follows_version, some_version};
