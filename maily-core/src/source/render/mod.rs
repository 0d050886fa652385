//! Rendering a project in an environment at a version.
//!
//! `project` is the request and its result, `rendering` goes over the services. What becomes of one stands by where its
//! objects come from: `described` by the file itself, or `from_sources`.

mod described;
mod from_sources;
mod looks;
mod own_image;
mod project;
mod rendering;

pub use project::{RenderRequest, Rendered, render};
