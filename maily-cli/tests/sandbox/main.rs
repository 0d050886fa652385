//! `mailyctl --sandbox`: what a person sees and a machine reads, without any server.
#![allow(clippy::disallowed_methods, reason = "tests of processes live by the machine's clock and variables")]

mod bad_input;
mod clock;
mod commands;
mod completions;
mod desk;
#[cfg(target_os = "linux")]
mod disk;
mod doctor;
mod files;
mod hints;
mod interrupts;
mod machines;
mod model;
mod own_images;
mod phased;
mod screens;
#[path = "../terminal/mod.rs"]
mod terminal;
mod tools;
mod ways_back;
