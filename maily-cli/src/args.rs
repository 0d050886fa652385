//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Releases of the Maily platform: planned, journaled, watched, and taken back when they fail.
#[derive(Debug, Parser)]
#[command(name = "mailyctl", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done or nothing to do, 1 failed before any change, 2 wrong use or invalid file, \
3 rolled back, 4 needs a person, 5 held by another run, 6 plan out of date, 7 waits for approval, 8 changes, \
130 interrupted and resumable."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Globals {
    /// Folder of the project
    #[arg(short = 'C', long = "directory", global = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Project file, relative to the folder
    #[arg(long, global = true, value_name = "FILE", default_value = "maily.yaml")]
    pub(crate) file: PathBuf,
    /// Use a simulated world, kept in .maily/sandbox.json beside the project file
    #[arg(long, global = true)]
    pub(crate) sandbox: bool,
    /// Kubeconfig; else KUBECONFIG, else the home folder's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How results are written
    #[arg(short = 'o', long, global = true, value_enum, default_value_t = Output::Auto)]
    pub(crate) output: Output,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A live tree on a terminal, a log elsewhere
    #[default]
    Auto,
    /// A log
    Text,
    /// One JSON document, or one event a line
    Json,
}

/// Which environment.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct EnvArg {
    /// Environment; may be left out where there is only one
    #[arg(short, long, visible_alias = "environment", value_name = "NAME")]
    pub(crate) env: Option<String>,
}

/// How a run is carried out.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Say yes to every question, and to approval
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Why; goes on record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Wait for one's turn, at most so long; 10m where no time is given
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10m")]
    pub(crate) wait_lock: Option<String>,
}

/// How a plan is made.
#[derive(Clone, Debug, Default, ClapArgs)]
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
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct VersionArgs {
    /// Take new services of a shared source along that have no line in the file yet
    #[arg(long)]
    pub(crate) accept_new: bool,
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a project file
    Init(InitArgs),
    /// Environments
    #[command(subcommand)]
    Env(EnvCommand),
    /// Show what a deploy would change, object by object
    Plan(PlanCommand),
    /// Carry out a plan that was saved
    Apply(ApplyCommand),
    /// Bring a version to an environment
    Deploy(DeployCommand),
    /// Bring a version through all phases
    PhasedDeploy(PhasedCommand),
    /// Go back to a recorded state
    Rollback(RollbackCommand),
    /// Take services out of an environment
    Remove(RemoveCommand),
    /// What is released, and whether it serves
    Status(StatusCommand),
    /// Runs and releases on record
    History(HistoryCommand),
    /// Show a run, a release or the project
    #[command(subcommand)]
    Show(ShowCommand),
    /// Logs of a service's pods
    Logs(LogsCommand),
    /// Go on with a run that has not ended
    Resume(ResumeCommand),
    /// Take a run back that has not ended
    Abort(AbortCommand),
    /// Check identity, permissions, versions and clocks
    Doctor(EnvOnly),
    /// Print the JSON Schema of the project file, or of what `--output json` prints
    Schema(SchemaCommand),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages
    Man {
        /// Folder to write them to
        folder: PathBuf,
    },
    /// The simulated world
    #[command(subcommand)]
    Sandbox(SandboxCommand),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InitArgs {
    /// Derive services from manifests: a file, a folder or a pattern, with {version} where the version stands
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Option<String>,
    /// The version to look at
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// Name of the project; else the folder's
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Services of the last phase
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) critical: Vec<String>,
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// Bind an environment to a cluster; makes the environment if it is absent
    Bind(BindArgs),
    /// List environments
    List,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BindArgs {
    /// Name of the environment
    pub(crate) name: String,
    /// Context of the kubeconfig; else its current one, which is written down
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Namespace; else what the file says, else the project's name
    #[arg(long)]
    pub(crate) namespace: Option<String>,
    /// Make the namespace if it does not exist
    #[arg(long)]
    pub(crate) create_namespace: bool,
    /// Bind it to another cluster than before
    #[arg(long)]
    pub(crate) rebind: bool,
    /// Have the API server refuse writes of former holders: installs the fence or repairs it, and records it
    #[arg(long, conflicts_with = "remove_fence")]
    pub(crate) install_fence: bool,
    /// Take the fence down, and record that there is none
    #[arg(long)]
    pub(crate) remove_fence: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PlanCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// The version
    #[arg(long)]
    pub(crate) version: String,
    /// Only these services
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) components: Vec<String>,
    /// Save the plan
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Exit with 8 when there are changes
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) plan: VersionArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ApplyCommand {
    /// The saved plan
    pub(crate) plan: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DeployCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// The version
    #[arg(long)]
    pub(crate) version: String,
    /// Only these services
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) components: Vec<String>,
    /// Only show the plan
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) plan: VersionArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PhasedCommand {
    /// Only the phases of this environment
    #[arg(short, long, visible_alias = "environment", value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// The version
    #[arg(long)]
    pub(crate) version: String,
    /// Only show the plans; as JSON one a line
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave staging out; a version that never succeeded there needs `--yes --reason TEXT`
    #[arg(long)]
    pub(crate) skip_staging: bool,
    /// First phase; after staging as with `--skip-staging`
    #[arg(long, value_name = "1..3", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) start_phase: u8,
    /// Last phase
    #[arg(long, value_name = "1..3", value_parser = clap::value_parser!(u8).range(1..))]
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

#[derive(Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("target").required(true)))]
pub(crate) struct RollbackCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// `all`, or services
    #[arg(long, value_delimiter = ',', default_value = "all", value_name = "all|A,B")]
    pub(crate) components: Vec<String>,
    /// For each component the newest release in which it had this version
    #[arg(long, group = "target", value_name = "VERSION")]
    pub(crate) to_version: Option<String>,
    /// The release before the one in force; the one in force, where a deploy failed after it
    #[arg(long, group = "target")]
    pub(crate) last_good: bool,
    /// A release by number
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

#[derive(Debug, ClapArgs)]
pub(crate) struct RemoveCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// `all`, or services
    #[arg(long, value_delimiter = ',', required = true, value_name = "all|A,B")]
    pub(crate) components: Vec<String>,
    /// Only show the plan
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StatusCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// Show it again and again
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HistoryCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// At most so many runs
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EnvOnly {
    #[command(flatten)]
    pub(crate) env: EnvArg,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShowCommand {
    /// A run with every step
    Run {
        #[command(flatten)]
        env: EnvArg,
        /// The run; the last one where none is named
        run: Option<String>,
    },
    /// A release with its objects
    Release {
        #[command(flatten)]
        env: EnvArg,
        /// The release; the one in force where none is named
        release: Option<u64>,
    },
    /// The project in an environment, everything resolved
    Project {
        #[command(flatten)]
        env: EnvArg,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SchemaCommand {
    /// What the schema is for
    #[arg(long = "for", value_name = "WHAT", value_enum, default_value_t = SchemaFor::Project)]
    pub(crate) of: SchemaFor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFor {
    /// The project file
    Project,
    /// The document of `status`
    Status,
    /// The document of `history`
    History,
    /// The document of `plan`, and of every `--dry-run`
    Plan,
    /// The lines of a run: one event each
    Event,
    /// The lines of `logs`
    Log,
    /// The document of `show run`
    Run,
    /// The document of `show release`
    Release,
    /// The document of `show project`
    ShowProject,
    /// The document of `env list`
    Environments,
    /// The document of `env bind`
    Binding,
    /// The document of `init`
    Init,
    /// The document of `doctor`
    Doctor,
    /// The document of `sandbox fault list`
    Faults,
    /// The document of `resume` and `abort` when no run is unfinished
    NoRun,
    /// The document on standard error when a command fails
    Error,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LogsCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// The service
    pub(crate) service: String,
    /// Go on as the logs grow, across restarts
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only what is younger, such as 10m
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only so many last lines of each pod
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u32>,
    /// The instance before the last restart
    #[arg(long)]
    pub(crate) previous: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ResumeCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// The run; the one that has not ended where none is named
    pub(crate) run: Option<String>,
    #[command(flatten)]
    pub(crate) options: RunArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AbortCommand {
    #[command(flatten)]
    pub(crate) env: EnvArg,
    /// End the run with everything as it is now, instead of taking it back
    #[arg(long)]
    pub(crate) leave: bool,
    #[command(flatten)]
    pub(crate) options: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Things that go wrong on purpose
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Begin with a new world
    Reset,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Add a fault, such as `crash api@v1.1.0`
    Add {
        /// The fault
        #[arg(required = true, num_args = 1..)]
        fault: Vec<String>,
    },
    /// List the faults in force, and those that there are
    List,
    /// Clear all faults
    Clear,
}

/// Whether a command line that was not understood asks for JSON all the same.
pub(crate) fn wants_json(words: impl IntoIterator<Item = std::ffi::OsString>) -> bool {
    let mut words = words.into_iter().map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        // `-q -o json` may be written as `-qo json`, too.
        let flags = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
        let flags = flags.map(|rest| rest.trim_start_matches(['q', 'v']));
        let value = match (word.as_str(), flags) {
            ("--", _) => return false,
            ("--output", _) | (_, Some("o")) => words.next(),
            (_, Some(rest)) => rest.strip_prefix('o').map(|rest| rest.trim_start_matches('=').to_owned()),
            (long, None) => long.strip_prefix("--output=").map(str::to_owned),
        };
        if let Some(value) = value {
            return value == "json";
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn a_wish_for_json_is_seen_in_every_form() {
        let wants = |line: &str| super::wants_json(line.split(' ').map(Into::into));
        for line in
            ["m -o json x", "m x -ojson", "m -o=json", "m --output json", "m x --output=json", "m -qo json"]
        {
            assert!(wants(line), "{line}");
        }
        for line in ["m -o text", "m -- -o json", "m json", "m -C o json", "m -o"] {
            assert!(!wants(line), "{line}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
