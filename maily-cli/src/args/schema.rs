//! What has a schema.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
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
    /// The document of `sandbox clock`
    Clock,
    /// The document of `resume` and `abort` when no run is unfinished
    NoRun,
    /// The document on standard error when a command fails
    Error,
}
