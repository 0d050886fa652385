//! A service and where its objects come from.

use super::{
    Quantity, Seconds, ServiceName, SourceName,
    project::{Bundle, HelmChart},
    workload::{SecretRef, Workload},
};

/// Time for what has none of its own, such as a service to serve or a step to end.
pub const TIMEOUT: Seconds = Seconds(600);

/// Something that is released.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Name.
    pub name: ServiceName,
    /// Other names of its workloads in manifests.
    pub aliases: Vec<String>,
    /// Whether it belongs to the last phase.
    pub critical: bool,
    /// Services that must serve before it.
    pub needs: Vec<ServiceName>,
    /// Where its objects come from.
    pub source: Source,
    /// Pattern of its image, where it is not the project's.
    pub image: Option<String>,
    /// Looks from outside after a rollout.
    pub checks: Vec<Check>,
    /// Time within which it must serve.
    pub timeout: Option<Seconds>,
    /// It is a Job that runs before this service.
    pub before: Option<ServiceName>,
    /// It is a Job that runs after this service.
    pub after: Option<ServiceName>,
}

/// Where a service's objects come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Described here.
    Workload(Box<Workload>),
    /// A Job before or after another service.
    Job(JobSource),
    /// Files of its own.
    Bundle(Bundle),
    /// A share of a source that several services use.
    From(SourceName),
    /// A project of the frontend host.
    Frontend {
        /// The host's project.
        project: String,
        /// The domain.
        domain: Option<String>,
    },
}

impl Source {
    /// The key that names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Workload(_) => "workload",
            Self::Job(_) => "job",
            Self::Bundle(Bundle::Manifests(_)) => "manifests",
            Self::Bundle(Bundle::Kustomize(_)) => "kustomize",
            Self::Bundle(Bundle::Helm(HelmChart { .. })) => "helm",
            Self::From(_) => "from",
            Self::Frontend { .. } => "vercel",
        }
    }
}

/// A Kubernetes Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSource {
    /// Pattern of its image.
    pub image: Option<String>,
    /// What it runs; the image's own where empty.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// What takes it back; without it, it is irreversible.
    pub undo: Option<Vec<String>>,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// Variables from existing Secrets.
    pub secrets: Vec<(String, SecretRef)>,
    /// CPUs: request and limit.
    pub cpu: (Quantity, Quantity),
    /// Bytes: request and limit.
    pub memory: (Quantity, Quantity),
    /// Time within which it must end.
    pub timeout: Option<Seconds>,
}

/// A look from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// An HTTP request: a path of the service, or a URL.
    Http {
        /// Path or URL.
        url: String,
        /// Status that counts as success.
        expect: u16,
    },
    /// A program.
    Command(Vec<String>),
}
