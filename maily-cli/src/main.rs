//! mailyctl
fn main() {}
