//! What is on record outlives full disks, damage, and later versions of the program.

#![allow(
    clippy::disallowed_methods,
    reason = "a test that runs in a process of its own is told where by a variable"
)]

mod entries;
mod folder;
mod formats;
mod place;
mod process;
mod refusals;
mod runs;
