//! The project and its parts.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::{
    EnvironmentName, GateName, PhaseName, ProjectErrors, ProjectName, Seconds, Service, ServiceName,
    SourceName,
    service::{Check, JobSource},
};
use crate::{
    provider::ClusterIdentity,
    yaml::{Limits, Node},
};

/// A project file, read and checked.
#[derive(Clone, Debug)]
pub struct Project {
    /// Name.
    pub name: ProjectName,
    /// Patterns of the project's own images; the first is that of a service without one of its own.
    pub images: Vec<String>,
    /// Images of other people without a fixed version are errors instead of warnings.
    pub strict: bool,
    /// What stays on record of each environment.
    pub history: Retention,
    /// Environments.
    pub environments: IndexMap<EnvironmentName, Environment>,
    /// Services, as they are where no environment changes them.
    pub services: IndexMap<ServiceName, Service>,
    /// Sources that several services share.
    pub sources: IndexMap<SourceName, Bundle>,
    /// Things that services use and that no release creates.
    pub data: Vec<String>,
    /// Phases of a phased deploy, in order.
    pub phases: Vec<Phase>,
    /// Gates.
    pub gates: IndexMap<GateName, Gate>,
    /// Folder of the project file: paths in it are relative to this.
    pub root: PathBuf,
    /// Services before any environment changed them.
    pub(super) raw: IndexMap<ServiceName, Node>,
    pub(super) origin: String,
    pub(super) text: String,
}

/// An environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// Name.
    pub name: EnvironmentName,
    /// The cluster.
    pub cluster: ClusterBinding,
    /// Its namespace; the project's name where none is given.
    pub namespace: String,
    /// Whether a person has to say yes.
    pub approval: Approval,
    /// Whether its cluster fences it.
    pub fence: Fencing,
    pub(super) services: Vec<(ServiceName, Node)>,
}

/// Which cluster an environment stands in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterBinding {
    /// Context of the kubeconfig.
    pub context: Option<String>,
    /// Who the cluster is; without it the environment can be planned for but not written to.
    pub identity: Option<ClusterIdentity>,
}

/// Whether a person has to approve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// Nobody has to.
    #[default]
    None,
    /// Somebody has to.
    Required,
}

/// Whether the API server refuses writes of former holders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fencing {
    /// It does not: preconditions and stamps alone protect the environment.
    #[default]
    None,
    /// A fence was installed, and every holder proves it.
    Installed,
}

impl Fencing {
    /// As the project file says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Installed => "installed",
        }
    }
}

/// What stays on record: a run is forgotten when it is older than the newest `releases` releases *and* older than `age`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// So many releases are kept whatever their age; at least one.
    pub releases: u32,
    /// What is younger than this is kept whatever its number.
    pub age: Seconds,
}

impl Default for Retention {
    /// 50 releases, 30 days.
    fn default() -> Self {
        Self { releases: 50, age: Seconds(30 * 86_400) }
    }
}

/// A source that several services share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bundle {
    /// Plain manifests: a file, a folder or a pattern.
    Manifests(String),
    /// A kustomization's folder.
    Kustomize(String),
    /// A Helm chart.
    Helm(HelmChart),
}

/// A Helm chart, rendered by the user's `helm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelmChart {
    /// Folder or reference of the chart.
    pub chart: String,
    /// Name of the release; the service's where none is given.
    pub release: Option<String>,
    /// Files of values.
    pub values: Vec<String>,
    /// Single values by path, above those of the files.
    pub set: Vec<ChartValue>,
}

/// A single value of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartValue {
    /// Path, such as `image.tag`.
    pub path: String,
    /// What stands in the file.
    pub text: String,
    /// Whether it was quoted: a text, whatever it looks like.
    pub quoted: bool,
}

/// A phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Name.
    pub name: PhaseName,
    /// Environment.
    pub environment: EnvironmentName,
    /// Which services.
    pub services: Selection,
    /// Gates at its end.
    pub gates: Vec<GateName>,
}

/// A choice of services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// Those that are not critical.
    NonCritical,
    /// Those that are critical.
    Critical,
    /// These.
    Named(Vec<ServiceName>),
}

impl Selection {
    /// Whether a service is chosen.
    pub fn takes(&self, service: &Service) -> bool {
        match self {
            Self::All => true,
            Self::NonCritical => !service.critical,
            Self::Critical => service.critical,
            Self::Named(names) => names.contains(&service.name),
        }
    }
}

/// What must pass at the end of a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Name.
    pub name: GateName,
    /// What is looked at.
    pub look: GateLook,
    /// Time within which it must pass.
    pub timeout: Option<Seconds>,
}

impl Gate {
    /// What its Jobs are called, where it has any, one in each of these phases: no job of the file may be called the same.
    pub(crate) fn job_names(&self, phases: &[Phase]) -> Vec<String> {
        let is_job = matches!(self.look, GateLook::Job(_));
        let looked_at = phases.iter().filter(|phase| is_job && phase.gates.contains(&self.name));
        looked_at.map(|phase| gate_job(&phase.name, &self.name)).collect()
    }
}

/// What the Job of a gate at the end of a phase is called: one gate may stand in several phases of a run.
pub(crate) fn gate_job(phase: &str, gate: &str) -> String {
    format!("gate-{phase}-{gate}")
}

/// How a gate looks.
#[derive(Clone, Debug, PartialEq)]
pub enum GateLook {
    /// As a check.
    Check(Check),
    /// By a Kubernetes Job.
    Job(Box<JobSource>),
}

/// Why a project file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not UTF-8.
    #[error("`{0}` is not UTF-8 text")]
    NotUtf8(PathBuf),
    /// It is larger than any project file.
    #[error("`{0}` has {1} bytes: that is no project file")]
    TooLarge(PathBuf, u64),
    /// It has errors.
    #[error(transparent)]
    Errors(#[from] ProjectErrors),
}

/// What a project file may have.
pub(super) const LIMITS: Limits =
    Limits { bytes: 4 * 1024 * 1024, nodes: 200_000, depth: 32, documents: 1, aliases: false };

impl Project {
    /// Reads a project file.
    ///
    /// # Errors
    /// When it cannot be read, or has errors: all of them at once.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let read = |source| LoadError::Read { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(read)?.len();
        let most = LIMITS.bytes as u64;
        if length > most {
            return Err(LoadError::TooLarge(path.to_owned(), length));
        }
        // A device has no length, and no end.
        let file = std::fs::File::open(path).map_err(read)?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(file, most + 1), &mut bytes).map_err(read)?;
        if bytes.len() > LIMITS.bytes {
            return Err(LoadError::TooLarge(path.to_owned(), bytes.len() as u64));
        }
        let text = String::from_utf8(bytes).map_err(|_| LoadError::NotUtf8(path.to_owned()))?;
        let mut project = Self::parse(&text, &path.display().to_string())?;
        project.root = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(project)
    }
}
