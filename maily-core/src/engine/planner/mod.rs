//! The planner: what is wanted and what was observed become a plan. Pure.

mod adopted;
mod apart;
mod asked;
mod beside;
mod change;
mod claims;
mod configuration;
mod conflict;
mod defined;
mod idle;
mod missing;
mod needs;
mod order;
mod problem;
mod replace;
mod volumes;
mod wanted;

pub(crate) use adopted::Cut;
pub(crate) use asked::to_ask_about;
pub use change::{DryRun, Observed};
pub(crate) use change::{holds_data, is_to_be_kept};
pub(crate) use claims::that_stay as claims_that_stay;
pub(crate) use idle::tell_idle;
pub(crate) use missing::{referred, resource, to_look_for};
pub use order::plan;
pub use problem::{NeedPlace, PlanProblem, PlanProblems, Taken};
pub(crate) use volumes::{claim, coming, gone_when_scaled, in_words};
pub use wanted::{Force, Frontend, Gate, JobSpec, Look, PlanOptions, Wanted, WantedPhase, WantedService};
