//! The command line.

mod look;
mod options;
mod project;
mod release;
mod sandbox;
mod schema;

use std::path::PathBuf;

use clap::{Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub(crate) use look::{DoctorCommand, HistoryCommand, LogsCommand, ShowCommand, StatusCommand};
pub(crate) use options::{EnvArg, PlanArgs, RunArgs, TurnArgs, VersionArgs, WaitArgs};
pub(crate) use project::{BindArgs, EnvCommand, InitArgs};
pub(crate) use release::{
    AbortCommand, ApplyCommand, DeployCommand, PhasedCommand, PlanCommand, RemoveCommand, ResumeCommand,
    RollbackCommand,
};
pub(crate) use sandbox::{FaultCommand, SandboxCommand};
pub(crate) use schema::{SchemaCommand, SchemaFor};

/// Deploys applications to Kubernetes as one journaled transaction: planned, watched, and taken back when it fails.
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
    /// Folder of the project; the current one by default
    #[arg(short = 'C', long = "directory", global = true, hide_short_help = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Project file, relative to the folder
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", default_value = "maily.yaml")]
    pub(crate) file: PathBuf,
    /// Use a simulated world, kept in .maily/sandbox.json beside the project file
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) sandbox: bool,
    /// Kubeconfig; else KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How results are written
    #[arg(short = 'o', long, global = true, hide_short_help = true, value_enum, default_value_t = Output::Auto)]
    pub(crate) output: Output,
    /// Say only what was asked for, such as a plan or a state, and what went wrong
    #[arg(short, long, global = true, hide_short_help = true)]
    pub(crate) quiet: bool,
    /// Say more: all fields of a plan, and each request; twice: diagnostics of the libraries, too
    #[arg(short, long, global = true, hide_short_help = true, action = clap::ArgAction::Count)]
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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a project file
    #[command(
        after_help = "Examples:\n  mailyctl init --name shop\n  mailyctl init --from 'manifests/{version}.yaml' --version v1.0.0"
    )]
    Init(InitArgs),
    /// Environments
    #[command(subcommand)]
    Env(EnvCommand),
    /// Show what a deploy would change, object by object
    #[command(
        after_help = "Examples:\n  mailyctl plan --env production --version v1.2.0\n  mailyctl plan --env production --version v1.2.0 --out plan.json"
    )]
    Plan(PlanCommand),
    /// Carry out a plan that was saved
    #[command(
        after_help = "Examples:\n  mailyctl apply plan.json\n  mailyctl apply plan.json --yes --reason 'reviewed'"
    )]
    Apply(ApplyCommand),
    /// Bring a version to an environment
    #[command(
        after_help = "Examples:\n  mailyctl deploy --env production --version v1.2.0\n  mailyctl deploy --env production --version v1.2.0 --components api,web --yes"
    )]
    Deploy(DeployCommand),
    /// Bring a version through all phases
    #[command(
        after_help = "Examples:\n  mailyctl phased-deploy --version v1.2.0\n  mailyctl phased-deploy --version v1.2.0 --end-phase 1"
    )]
    PhasedDeploy(PhasedCommand),
    /// Go back to a recorded state
    #[command(
        after_help = "Examples:\n  mailyctl rollback --env production --last-good\n  mailyctl rollback --env production --components api --to-version v1.1.0"
    )]
    Rollback(RollbackCommand),
    /// Take services out of an environment
    #[command(
        after_help = "Examples:\n  mailyctl remove --env production --components api --dry-run\n  mailyctl remove --env production --components all"
    )]
    Remove(RemoveCommand),
    /// What is released, and whether it serves
    #[command(
        after_help = "Examples:\n  mailyctl status --env production\n  mailyctl status --env production --watch"
    )]
    Status(StatusCommand),
    /// Runs and releases on record
    #[command(
        after_help = "Examples:\n  mailyctl history --env production\n  mailyctl history --env production --limit 5 --output json"
    )]
    History(HistoryCommand),
    /// Show a run, a release or the project
    #[command(subcommand)]
    Show(ShowCommand),
    /// Logs of a service's pods
    #[command(
        after_help = "Examples:\n  mailyctl logs --env production api --follow\n  mailyctl logs --env production api --since 10m --tail 100"
    )]
    Logs(LogsCommand),
    /// Go on with a run that has not ended
    #[command(
        after_help = "Examples:\n  mailyctl resume --env production\n  mailyctl resume --env production --wait-lock 5m"
    )]
    Resume(ResumeCommand),
    /// Take a run back that has not ended
    #[command(
        after_help = "Examples:\n  mailyctl abort --env production\n  mailyctl abort --env production --leave"
    )]
    Abort(AbortCommand),
    /// Check identity, permissions, versions and clocks
    #[command(
        after_help = "Examples:\n  mailyctl doctor --env production\n  mailyctl doctor --env production --role > role.yaml"
    )]
    Doctor(DoctorCommand),
    /// Print the JSON Schema of the project file, or of what `--output json` prints
    #[command(
        after_help = "Examples:\n  mailyctl schema > maily.schema.json\n  mailyctl schema --for status"
    )]
    Schema(SchemaCommand),
    /// Make a shell complete commands, options and the names of the project
    #[command(
        after_help = "Examples:\n  source <(mailyctl completions bash)\n  mailyctl completions fish | source"
    )]
    Completions {
        /// The shell that is to read it
        shell: clap_complete::Shell,
    },
    /// Write man pages
    #[command(after_help = "Examples:\n  mailyctl man ~/.local/share/man/man1")]
    Man {
        /// Folder to write them to; made if it is absent
        folder: PathBuf,
    },
    /// The simulated world
    #[command(subcommand)]
    Sandbox(SandboxCommand),
}

/// Understands the command line of this process.
pub(crate) fn parse() -> Result<Args, clap::Error> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let understood =
        pointed(Args::command()).try_get_matches().and_then(|found| Args::from_arg_matches(&found));
    understood.map_err(|mut error| {
        let word = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(word)) if error.kind() == ErrorKind::UnknownArgument => word,
            _ => return error,
        };
        let number = word.strip_prefix('v').unwrap_or(word);
        if number.starts_with(|c: char| c.is_ascii_digit()) {
            let tip = format!("a version is an option: `--version {word}`").into();
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        }
        error
    })
}

/// What a short help leaves out, and where it stands.
const MORE: &str = "`--help` tells more, also of the options of every command: --sandbox, -C, -o, …";

/// The short help of a command, and of those below it, says where the rest is.
fn pointed(command: clap::Command) -> clap::Command {
    let long = command.get_after_help().cloned().unwrap_or_default();
    let short = if long.to_string().is_empty() { MORE.to_owned() } else { format!("{MORE}\n\n{long}") };
    command.after_help(short).after_long_help(long).mut_subcommands(pointed)
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
    use clap::{CommandFactory as _, Parser as _};

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

    /// Commands without commands of their own, with the words that lead to them.
    fn leaves(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
        for below in command.get_subcommands() {
            let words = format!("{words} {}", below.get_name());
            if below.has_subcommands() {
                leaves(below, &words, found);
            } else {
                found.push((words, below.clone()));
            }
        }
    }

    #[test]
    fn every_command_has_examples_that_are_understood() {
        let mut found = Vec::new();
        leaves(&super::Args::command(), "", &mut found);
        assert!(found.len() > 20);
        for (words, command) in found {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> =
                help.strip_prefix("Examples:\n").unwrap_or_default().lines().map(str::trim).collect();
            assert!(!examples.is_empty(), "`{words}` has none");
            for example in examples {
                let call =
                    example.trim_start_matches("source <(").split([')', '>', '|']).next().unwrap_or_default();
                let args = call.split_whitespace().map(|word| word.trim_matches('\''));
                let parsed = super::Args::try_parse_from(args);
                assert!(example.contains(words.trim()) && parsed.is_ok(), "`{words}`: {example}: {parsed:?}");
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
