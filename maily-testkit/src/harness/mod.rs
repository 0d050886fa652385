//! Crash and simulation runs, and what tests need that run whole processes against real servers.
//!
//! A simulation is the whole engine on the simulated world: virtual time, one thread, one seed, and a witness who
//! checks what must always hold at every effect.

mod capture;
mod chance;
mod content;
mod contest;
mod drill;
mod host;
mod loopback;
mod network;
mod place;
mod prober;
mod projects;
#[cfg(feature = "planted")]
mod proof;
mod scheduler;
mod script;
mod shown;
mod simulation;
mod stack;
mod stage;
mod stages;
mod weather;
mod witness;

pub use chance::Chance;
pub use content::content;
pub use drill::{Contest, Drill, Drilled, Straggler, Trap, drill, steps};
pub use loopback::{HttpRequest, Loopback, Reply, decode};
pub use network::NetCluster;
pub use place::Place;
pub use projects::{GATED, IN_ORDER, ORDERED, PLATFORM};
#[cfg(feature = "planted")]
pub use proof::{Proof, prove};
pub use scheduler::{Participant, Scheduler, Seat};
pub use script::{Act, Script};
pub use simulation::{Report, simulate};
pub use stack::{Stack, StackError};
pub use stage::{Stage, StageError, VERSIONS, environment, release};
pub use stages::Stages;
pub use weather::{Fate, Tally, Weather};
pub use witness::Witness;
