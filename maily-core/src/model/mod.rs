//! The project file, `maily.yaml`: what a project consists of, where it runs, and in which order it is released.
//!
//! Maps keyed by name, one source per service named by its key, units written out, four placeholders and no
//! templating: the file is what people read and review most.

mod edit;
mod explain;
mod fields;
mod names;
mod parse;
mod place;
mod placeholder;
mod project;
mod quantity;
mod resolve;
mod schema;
mod service;
mod workload;

pub use edit::{EditError, add_service, bind_environment, record_fence};
pub use explain::Explained;
pub use fields::ProjectErrors;
pub(crate) use fields::nearest;
pub use names::{
    EnvironmentName, GateName, NameError, PhaseName, ProjectName, ServiceName, SourceName, Version,
};
pub(crate) use place::Part;
pub(crate) use placeholder::expand_words;
pub use placeholder::{Placeholders, expand};
pub(crate) use project::gate_job;
pub use project::{
    Approval, Bundle, ChartValue, ClusterBinding, Environment, Fencing, Gate, GateLook, HelmChart, LoadError,
    Phase, Project, Retention, Selection,
};
pub use quantity::{Percent, Port, Quantity, Seconds, Status};
pub use resolve::{NoComponent, Resolved, UnknownEnvironment, UnknownService, WhoseName};
pub use schema::schema;
pub use service::{Check, JobSource, Service, Source, TIMEOUT};
pub use workload::{Health, Ingress, Permission, Scale, SecretRef, Volume, VolumeSource, Workload};
