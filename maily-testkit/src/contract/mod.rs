//! Suites that hold every implementation of a provider trait to the trait's `# Contract`.
//!
//! One function per sentence; a test of a backend calls it with a fresh place to work in.

pub mod cluster;
pub mod frontend;
pub mod records;
