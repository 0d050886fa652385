//! The world: objects, controllers over time, faults. A plain value without threads or clocks of its own.

mod agenda;
mod apply;
mod budget;
mod controllers;
mod defaults;
mod fault;
mod jobs;
mod pods;
mod requests;
mod sets;
mod state;
mod store;

pub use fault::{Fault, FaultError, PodTrouble};
pub use requests::Refusal;
pub use state::{Change, Frontend, World};
