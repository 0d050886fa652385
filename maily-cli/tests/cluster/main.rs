//! `mailyctl` on a real API server with real controllers and simulated nodes.

#![allow(clippy::disallowed_methods, reason = "tests of processes live by the machine's clock and variables")]

mod adoption;
mod boutique;
mod budget;
mod checks;
mod defaults;
mod described;
mod durability;
mod edits;
mod failures;
mod fence;
mod gates;
mod helm;
mod jobs;
mod kills;
mod kinds;
mod logs;
mod managers;
mod operators;
mod order;
mod proxy;
mod records;
mod refusals;
mod rights;
mod schema;
mod secrets;
mod site;
mod takeover;
#[path = "../terminal/mod.rs"]
mod terminal;
mod typed;
