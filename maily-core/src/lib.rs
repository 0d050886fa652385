//! maily-core
