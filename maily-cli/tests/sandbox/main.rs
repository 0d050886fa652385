//! `mailyctl --sandbox`: what a person sees and a machine reads, without any server.
#![allow(clippy::disallowed_methods, reason = "tests of processes live by the machine's clock and variables")]

mod bad_input;
mod clock;
mod colour;
mod commands;
mod completions;
mod credentials;
mod desk;
#[cfg(target_os = "linux")]
mod disk;
mod doctor;
mod elsewhere;
mod files;
mod hints;
mod interrupts;
mod logs;
mod machines;
mod manifests;
mod model;
mod named_runs;
mod new_services;
mod own_images;
mod ownership;
mod patience;
mod phased;
mod remedies;
mod saved_plans;
mod screens;
mod server;
#[path = "../terminal/mod.rs"]
mod terminal;
mod tools;
mod ways_back;
