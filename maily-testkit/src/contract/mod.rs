//! Suites that hold every implementation of a provider trait to the trait's `# Contract`.
//!
//! One function per sentence; a test of a backend calls it with a fresh place to work in.

pub mod cluster;
pub mod controllers;
pub mod databases;
pub mod fence;
pub mod frontend;
pub mod identities;
pub mod monitoring;
pub mod records;
pub mod secrets;
pub mod storage;
