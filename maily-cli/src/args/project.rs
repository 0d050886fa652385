//! Commands that write the project file.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Derive services from manifests: a file, a folder or a pattern, with {version} where the version stands
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Option<String>,
    /// The version to look at: it stands for {version} in the path, and is the tag of the project's own images; else what these carry
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// Name of the project; else the folder's
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Services of the last phase; none by default
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) critical: Vec<String>,
    /// Replace a file that is there; without it that is refused
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// Bind an environment to a cluster; makes the environment if it is absent
    #[command(
        after_help = "Examples:\n  mailyctl env bind production --context prod --namespace shop\n  mailyctl env bind production --install-fence"
    )]
    Bind(BindArgs),
    /// List environments
    #[command(after_help = "Examples:\n  mailyctl env list\n  mailyctl env list --output json")]
    List,
}

#[derive(Debug, Args)]
pub(crate) struct BindArgs {
    /// Name of the environment
    #[arg(add = ArgValueCandidates::new(complete::environments))]
    pub(crate) name: String,
    /// Context of the kubeconfig; else its current one, which is written down
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Namespace; else what the file says, else the project's name
    #[arg(long)]
    pub(crate) namespace: Option<String>,
    /// Make the namespace if it does not exist; without it that is only told
    #[arg(long)]
    pub(crate) create_namespace: bool,
    /// Bind it to another cluster than before; without it that is refused
    #[arg(long)]
    pub(crate) rebind: bool,
    /// Have the API server refuse writes of former holders: installs the fence or repairs it, and records it
    #[arg(long, conflicts_with = "remove_fence")]
    pub(crate) install_fence: bool,
    /// Take the fence down, and record that there is none
    #[arg(long)]
    pub(crate) remove_fence: bool,
}
