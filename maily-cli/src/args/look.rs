//! Commands that only look.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::EnvArg;
use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct StatusCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// Show it again every 2 s, until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// At most so many runs, the newest ones
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one)]
    pub(crate) limit: usize,
}

/// None of something is no question.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("it is at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}: write a number from 1 on")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct DoctorCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// Version whose objects tell what is needed; the one in force, else one that the files have, by default
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// Print the Role that releases need, for somebody who may make it; what was found goes to standard error
    #[arg(long)]
    pub(crate) role: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShowCommand {
    /// A run with every step
    #[command(
        after_help = "Examples:\n  mailyctl show run --env production\n  mailyctl show run --env production 20261125-134821-385e2d"
    )]
    Run {
        #[command(flatten)]
        env: EnvArg,
        /// The run; the last one where none is named
        run: Option<String>,
    },
    /// A release with its objects
    #[command(
        after_help = "Examples:\n  mailyctl show release --env production\n  mailyctl show release --env production 4 --output json"
    )]
    Release {
        #[command(flatten)]
        env: EnvArg,
        /// The release; the one in force where none is named
        release: Option<u64>,
    },
    /// The project in an environment, everything resolved
    #[command(after_help = "Examples:\n  mailyctl show project\n  mailyctl show project --env production")]
    Project {
        #[command(flatten)]
        env: EnvArg,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LogsCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// Service whose pods are read, or a job or gate of the last run
    #[arg(add = ArgValueCandidates::new(complete::services))]
    pub(crate) service: String,
    /// Go on as the logs grow, across restarts, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only what is younger, such as 90s or 10m; all that there is by default
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only so many last lines of each container; all by default
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u32>,
    /// The instance before the last restart: what a container said before it crashed
    #[arg(long, conflicts_with = "follow")]
    pub(crate) previous: bool,
}
