//! From settings to the library's types: flags above environment variables above files above defaults.

use std::{cell::Cell, path::PathBuf, sync::Arc, time::Duration};

use maily_core::{
    Providers,
    engine::Environment,
    model::{Project, Resolved, Seconds},
    provider::{Cluster, Prober},
    records::ClusterRecords,
    runtime::{Moment, Runtime, TokioRuntime},
};
use maily_k8s::{ConnectOptions, KubeCluster};
use maily_testkit::sim::{Mode, Sandbox};

use crate::{args::Globals, exit::CliError, prober::ProgramProber};

/// Path of the project file.
pub(crate) fn project_path(globals: &Globals) -> PathBuf {
    globals.directory.clone().unwrap_or_default().join(&globals.file)
}

/// Path of the sandbox's file.
pub(crate) fn sandbox_path(globals: &Globals) -> PathBuf {
    let project = project_path(globals);
    project.parent().map(|folder| folder.join(".maily/sandbox.json")).unwrap_or_default()
}

/// The clock of this process.
pub(crate) fn runtime() -> Arc<dyn Runtime> {
    Arc::new(TokioRuntime)
}

/// What a command works with.
pub(crate) struct Workshop {
    pub(crate) project: Project,
    globals: Globals,
    sandbox: Option<Sandbox>,
}

/// An environment that is ready to be worked on.
pub(crate) struct Wired {
    pub(crate) environment: Environment,
    pub(crate) resolved: Resolved,
    /// Since when one waits for one's turn: once for all that a command waits for.
    pub(crate) since: Cell<Moment>,
}

impl Wired {
    fn new(environment: Environment, resolved: Resolved) -> Self {
        let since = Cell::new(environment.runtime.now());
        Self { environment, resolved, since }
    }

    /// Does something that is no waiting for one's turn, such as to wait for a person's answer.
    pub(crate) fn aside<T>(&self, act: impl FnOnce() -> T) -> T {
        let begun = self.environment.runtime.now();
        let done = act();
        self.since.set(self.since.get() + self.environment.runtime.now().since(begun));
        done
    }
}

impl Workshop {
    /// Loads the project, and the sandbox where one is asked for.
    pub(crate) fn open(globals: &Globals, mode: Mode) -> Result<Self, CliError> {
        let project = Project::load(&project_path(globals))?;
        let sandbox = if globals.sandbox { Some(open_sandbox(globals, &project, mode)?) } else { None };
        Ok(Self { project, globals: globals.clone(), sandbox })
    }

    /// The environment of this name, or the only one.
    pub(crate) fn name(&self, wanted: Option<&str>) -> Result<String, CliError> {
        let known: Vec<String> = self.project.environments.keys().map(ToString::to_string).collect();
        match (wanted, known.as_slice()) {
            (Some(name), _) => Ok(name.to_owned()),
            (None, [only]) => Ok(only.clone()),
            (None, []) => {
                Err(CliError::usage("the project has no environment yet").help(self.add_one("NAME")))
            }
            (None, _) => Err(CliError::usage("which environment?")
                .help(format!("choose with `--env`: {}", known.join(", ")))),
        }
    }

    /// How the project gets an environment. Nothing is bound in the sandbox: there the file alone decides.
    fn add_one(&self, name: &str) -> String {
        if self.sandbox.is_none() {
            return format!("bind one: `mailyctl env bind {name} --context CONTEXT --namespace NAMESPACE`");
        }
        let file = project_path(&self.globals);
        let namespace = &self.project.name;
        format!(
            "write one into `{}`:\n\n  environments:\n    {name}: {{namespace: {namespace}}}\n",
            file.display()
        )
    }

    /// What the project says of an environment.
    pub(crate) fn resolve(&self, name: &str) -> Result<Resolved, CliError> {
        self.project.resolve(name).map_err(|error| {
            let help =
                if self.project.environments.is_empty() { self.add_one(name) } else { error.help.clone() };
            CliError::usage(error.to_string()).help(help)
        })
    }

    /// The environment of this name, or all.
    pub(crate) fn names(&self, wanted: Option<&str>) -> Result<Vec<String>, CliError> {
        let known: Vec<String> = self.project.environments.keys().map(ToString::to_string).collect();
        if wanted.is_none() && known.len() > 1 { Ok(known) } else { Ok(vec![self.name(wanted)?]) }
    }

    /// Connects to an environment.
    pub(crate) async fn wire(&self, name: Option<&str>) -> Result<Wired, CliError> {
        let name = self.name(name)?;
        let resolved = self.resolve(&name)?;
        if let Some(sandbox) = &self.sandbox {
            let environment = maily_testkit::sim::environment(&sandbox.shared, &resolved, runtime());
            return Ok(Wired::new(environment, resolved));
        }
        let namespace = resolved.environment.namespace.clone();
        let (providers, identity) =
            (self.real(&resolved).await?, resolved.environment.cluster.identity.clone());
        let records = Arc::new(ClusterRecords::new(Arc::clone(&providers.cluster), &name, &namespace));
        let environment = Environment {
            project: self.project.name.to_string(),
            name,
            namespace,
            identity,
            fencing: resolved.environment.fence,
            retention: self.project.history,
            providers,
            records,
            runtime: runtime(),
        };
        Ok(Wired::new(environment, resolved))
    }

    async fn real(&self, resolved: &Resolved) -> Result<Providers, CliError> {
        let environment = &resolved.environment;
        if environment.cluster.identity.is_none() {
            let unbound = maily_core::engine::EnvironmentError::Unbound(environment.name.to_string());
            let hint = unbound.hint().unwrap_or_default();
            let help = format!("{hint}; or try it in a simulated world: `--sandbox`");
            return Err(CliError::from(unbound).help(help));
        }
        let cluster = connect(&self.globals, environment.cluster.context.as_deref()).await?;
        let prober: Arc<dyn Prober> = Arc::new(ProgramProber::new(Arc::clone(&cluster), &self.project.root));
        let cluster: Arc<dyn Cluster> = cluster;
        Ok(Providers { cluster, frontend: None, prober: Some(prober) })
    }

    /// Writes what the sandbox has become. The records are there already, so that how a command ended stays as it is.
    pub(crate) fn close(&self) {
        if let Some(sandbox) = &self.sandbox
            && let Err(message) = sandbox.shared.save()
        {
            crate::render::warning(&message);
        }
    }
}

/// Connects to a cluster by kubeconfig.
pub(crate) async fn connect(globals: &Globals, context: Option<&str>) -> Result<Arc<KubeCluster>, CliError> {
    let options =
        ConnectOptions { kubeconfig: globals.kubeconfig.clone(), context: context.map(str::to_owned) };
    Ok(Arc::new(KubeCluster::connect(&options).await?))
}

/// Opens the sandbox beside the project file.
pub(crate) fn open_sandbox(globals: &Globals, project: &Project, mode: Mode) -> Result<Sandbox, CliError> {
    let namespaces: Vec<&str> =
        project.environments.values().map(|environment| environment.namespace.as_str()).collect();
    Ok(Sandbox::open(&sandbox_path(globals), mode, runtime(), &namespaces)?)
}

/// A time span of the command line.
pub(crate) fn span(text: &str, option: &str) -> Result<Duration, CliError> {
    text.parse::<Seconds>().map(|seconds| Duration::from_secs(seconds.0)).map_err(|error| {
        CliError::usage(format!("`--{option}`: {error}")).help("whole numbers of `s`, `m`, `h` or `d`")
    })
}

/// The user by number, where nothing tells the name: in containers.
fn user_id() -> String {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self")
        .map_or_else(|_| "unknown".to_owned(), |of_us| format!("uid{}", of_us.uid()))
}

/// Who runs this process: person, machine, process.
#[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
pub(crate) fn whoami() -> String {
    let named = |name| std::env::var(name).ok().filter(|user: &String| !user.is_empty());
    let user = named("USER").or_else(|| named("LOGNAME")).unwrap_or_else(user_id);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map_or_else(|| "unknown".to_owned(), |host| host.trim().to_owned());
    format!("{user}@{host}/{}", std::process::id())
}
