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
    /// Why; goes on record, and `show run` tells it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// How to wait while somebody else works on the environment.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WaitArgs {
    /// Wait for one's turn, at most so long, such as 90s; 10m where no time is given. Without it a command beside
    /// another run is refused at once
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10m")]
    pub(crate) wait_lock: Option<String>,
}

/// How a plan is made.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PlanArgs {
    /// Take fields that other clients manage: those of these managers or objects (KIND/NAME), all where none is named;
    /// without it the plan is refused, and names them
    #[arg(long, value_name = "WHOSE", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    pub(crate) force_conflicts: Option<Vec<String>>,
    /// Allow this object to be deleted and made again, such as Deployment/api: all its pods end before new ones start, and
    /// a Job runs again; may be repeated
    #[arg(long, value_name = "KIND/NAME")]
    pub(crate) allow_replace: Vec<String>,
    /// Time for each service, such as 90s or 5m, at least 1s; else what the file says, else 10m. What does not serve by
    /// then has failed
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
