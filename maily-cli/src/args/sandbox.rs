//! Commands of the simulated world.

use clap::Subcommand;

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
