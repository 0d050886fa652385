//! From a wish to its end: look, plan, ask, run, report.

mod consent;
mod moved;
mod planning;
mod run;
mod turn;

pub(crate) use consent::{Consent, ask, consent};
pub(crate) use planning::{components, deploy_request, depth, plan, prepare};
pub(crate) use run::{carry_out, fulfil, nothing_to, take_over};
pub(crate) use turn::{Seen, hearing, look, take_up};
