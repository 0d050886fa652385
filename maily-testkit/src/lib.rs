//! maily-testkit
