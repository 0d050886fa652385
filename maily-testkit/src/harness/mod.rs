//! For tests that run whole processes against real servers, and clients against small ones.

mod loopback;
mod stack;

pub use loopback::{HttpRequest, Loopback, Reply, decode};
pub use stack::{Stack, StackError};
