//! The deployment engine of the Maily platform.
//!
//! A release is one journaled transaction: a project is planned against observed state into a plan, the engine
//! runs the plan step by step through the [`provider`] traits and ends at the new release or the old one.
//! Nothing in this crate knows an SDK; adapters implement the traits elsewhere.

pub mod engine;
pub mod model;
pub mod object;
pub mod provider;
pub mod records;
pub mod release;
pub mod rollout;
pub mod runtime;
pub mod source;
mod steps;
pub mod yaml;

pub use steps::Providers;
