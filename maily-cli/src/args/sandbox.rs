//! Commands of the simulated world.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Things that go wrong on purpose
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Begin with a new world
    #[command(after_help = "Examples:\n  mailyctl --sandbox sandbox reset")]
    Reset,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Add a fault, such as `crash api@v1.1.0`
    #[command(
        after_help = "Examples:\n  mailyctl --sandbox sandbox fault add crash api@v1.1.0\n  mailyctl --sandbox sandbox fault add api-down 3"
    )]
    Add {
        /// The fault, as `sandbox fault list` lists them
        #[arg(required = true, num_args = 1..)]
        fault: Vec<String>,
    },
    /// List the faults in force, and those that there are
    #[command(after_help = "Examples:\n  mailyctl --sandbox sandbox fault list")]
    List,
    /// Clear all faults
    #[command(after_help = "Examples:\n  mailyctl --sandbox sandbox fault clear")]
    Clear,
}
