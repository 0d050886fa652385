//! For tests that run whole processes against real servers.

mod stack;

pub use stack::{Stack, StackError};
