//! Options that several commands share.

use clap::Args;
use clap_complete::ArgValueCandidates;

use crate::complete;

/// Which environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct EnvArg {
    /// Environment; may be left out where there is only one
    #[arg(short, long, visible_alias = "environment", value_name = "NAME", add = ArgValueCandidates::new(complete::environments))]
    pub(crate) env: Option<String>,
}

/// How a run is carried out.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Say yes to every question, and to approval
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) turn: TurnArgs,
}

/// How an environment is taken hold of.
#[derive(Clone, Debug, Args)]
pub(crate) struct TurnArgs {
    /// Why; goes on record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// How to wait while somebody else works on the environment.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WaitArgs {
    /// Wait for one's turn, at most so long; 10m where no time is given
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10m")]
    pub(crate) wait_lock: Option<String>,
}

/// How a plan is made.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PlanArgs {
    /// Take fields that other clients manage
    #[arg(long)]
    pub(crate) force_conflicts: bool,
    /// Allow this object to be deleted and made again
    #[arg(long, value_name = "KIND/NAME")]
    pub(crate) allow_replace: Vec<String>,
    /// Time for each service, such as 5m; else what the file says, else 10m
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
}

/// How the objects of a version become a plan.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct VersionArgs {
    /// Take new services of a shared source along that have no line in the file yet
    #[arg(long)]
    pub(crate) accept_new: bool,
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
}
