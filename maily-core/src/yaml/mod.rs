//! YAML with places: every node knows its line and column, so that every error can point at it.

mod diagnostic;
mod json;
mod tree;

pub use diagnostic::{Diagnostic, Place};
pub use json::to_json;
pub use tree::{Content, Key, Limits, Node, parse, parse_repeated};
