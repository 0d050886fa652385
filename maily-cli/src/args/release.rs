//! Commands that plan a run, carry it out, or go on with it.

use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::{EnvArg, PlanArgs, RunArgs, TurnArgs, VersionArgs, WaitArgs};
use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct PlanCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// Version to release: the tag of the project's own images
    #[arg(long)]
    pub(crate) version: String,
    /// Only these services; all by default
    #[arg(long, value_delimiter = ',', value_name = "A,B", add = ArgValueCandidates::new(complete::services))]
    pub(crate) components: Vec<String>,
    /// Save the plan to this file, for `apply`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Exit with 8 when there are changes, and with 4 when there are none and something does not serve
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) plan: VersionArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyCommand {
    /// The plan, as `plan --out` has saved it
    pub(crate) plan: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeployCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// Version to release: the tag of the project's own images
    #[arg(long)]
    pub(crate) version: String,
    /// Only these services; all by default
    #[arg(long, value_delimiter = ',', value_name = "A,B", add = ArgValueCandidates::new(complete::services))]
    pub(crate) components: Vec<String>,
    /// Only show the plan
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Begin again from what is in the cluster, where the records of the release in force are damaged and there is no
    /// backup
    #[arg(long, conflicts_with = "components")]
    pub(crate) anew: bool,
    #[command(flatten)]
    pub(crate) plan: VersionArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PhasedCommand {
    /// Only the phases of this environment; those of all by default
    #[arg(short, long, visible_alias = "environment", value_name = "NAME", add = ArgValueCandidates::new(complete::environments))]
    pub(crate) env: Option<String>,
    /// Version to release: the tag of the project's own images
    #[arg(long)]
    pub(crate) version: String,
    /// Only show the plans; as JSON one a line
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave staging out; a version that never succeeded there needs `--yes --reason TEXT`
    #[arg(long)]
    pub(crate) skip_staging: bool,
    /// First phase; after staging as with `--skip-staging`
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) start_phase: u8,
    /// Last phase; the last one of the project by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) end_phase: Option<u8>,
    /// Shift traffic step by step (not there yet)
    #[arg(long)]
    pub(crate) canary: bool,
    /// First share of traffic in percent (not there yet)
    #[arg(long, value_name = "1..99", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub(crate) canary_weight: Option<u8>,
    #[command(flatten)]
    pub(crate) plan: VersionArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("target").required(true)))]
pub(crate) struct RollbackCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// `all`, or only these services
    #[arg(long, value_delimiter = ',', default_value = "all", value_name = "all|A,B", add = ArgValueCandidates::new(complete::services_or_all))]
    pub(crate) components: Vec<String>,
    /// For each component the newest release in which it had this version
    #[arg(long, group = "target", value_name = "VERSION")]
    pub(crate) to_version: Option<String>,
    /// The newest release before the one in force that differs and that no rollback has left; the one in force, where
    /// a deploy failed after it
    #[arg(long, group = "target")]
    pub(crate) last_good: bool,
    /// A release by its number, as `history` lists them
    #[arg(long, group = "target", value_name = "ID")]
    pub(crate) release: Option<u64>,
    /// Only show the plan
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// `all`, or only these services
    #[arg(long, value_delimiter = ',', required = true, value_name = "all|A,B", add = ArgValueCandidates::new(complete::services_or_all))]
    pub(crate) components: Vec<String>,
    /// Only show the plan
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// The run; the one that has not ended where none is named
    pub(crate) run: Option<String>,
    #[command(flatten)]
    pub(crate) turn: TurnArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AbortCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// End the run with everything as it is now, instead of taking it back
    #[arg(long)]
    pub(crate) leave: bool,
    #[command(flatten)]
    pub(crate) options: RunArgs,
}
