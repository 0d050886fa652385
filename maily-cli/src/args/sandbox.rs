//! Commands of the simulated world.

use clap::Subcommand;
use maily_testkit::world::Factor;

#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Things that go wrong on purpose
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Tell how fast the world's time goes, or set it
    #[command(
        after_help = "Examples:\n  mailyctl --sandbox sandbox clock\n  mailyctl --sandbox sandbox clock --factor 10"
    )]
    Clock {
        /// Seconds of the world in a second of this machine: 0.01 to 1000
        #[arg(long, value_name = "N")]
        factor: Option<Factor>,
    },
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
