//! The deployment engine of the Maily platform.
//!
//! A release is one journaled transaction: a project is planned against observed state into a plan, the engine
//! runs the plan step by step through the [`provider`] traits and ends at the new release or the old one.
//! Nothing in this crate knows an SDK; adapters implement the traits elsewhere.
//!
//! Start from a [`model::Project`], which is a project file that was read and checked. In one of its environments it
//! is a [`model::Resolved`]; [`source::render`] makes the objects of a version from that, and an
//! [`engine::Environment`] plans, runs, resumes and looks.
//!
//! ```
//! use maily_core::model::{Project, Version};
//! use maily_core::source::{ProgramTools, RenderRequest, render};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let project = Project::parse(
//!     "
//! maily: 1
//! project: shop
//! images: registry.example/{service}:{version}
//! environments:
//!   staging: {namespace: shop-staging}
//! services:
//!   web: {workload: {port: 8080}}
//! ",
//!     "maily.yaml",
//! )?;
//! let resolved = project.resolve("staging")?;
//! let version: Version = "v1.0.0".parse()?;
//! let request = RenderRequest { resolved: &resolved, version: &version, only: None, accept_new: false };
//! let rendered = render(&request, &ProgramTools).await?;
//! let kinds: Vec<&str> = rendered.services["web"].objects.iter().map(|object| object.kind()).collect();
//! assert_eq!(kinds, ["ServiceAccount", "Service", "Deployment", "PodDisruptionBudget"]);
//!
//! // Mistakes are errors with their place and a remedy, all of them at once.
//! let error = Project::parse("maily: 1\nproject: shop\nservces: {}\n", "maily.yaml").unwrap_err();
//! assert!(error.to_string().starts_with("maily.yaml:3:1: unknown key `servces`"));
//! # Ok(())
//! # }
//! ```

pub mod engine;
pub mod model;
pub mod object;
#[cfg_attr(not(feature = "planted-defects"), doc(hidden))]
pub mod planted;
pub mod program;
pub mod provider;
pub mod records;
pub mod release;
pub mod rollout;
mod run;
pub mod runtime;
pub mod source;
mod steps;
pub mod yaml;

pub use steps::Providers;
