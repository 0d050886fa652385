//! From text to a project, with every error at once.

mod amount;
mod data;
mod environment;
mod ingress;
mod phase;
mod project;
mod references;
mod service;
mod volume;
mod workload;

pub(super) use project::merge;
pub(super) use service::service;
