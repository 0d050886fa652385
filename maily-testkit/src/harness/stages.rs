//! Which project a seed is about.

use std::sync::Arc;

use super::{GATED, PLATFORM, Report, Stage, StageError, simulate};

/// Every fourth seed is about the project with migrations and gates.
const GATED_EVERY: u64 = 4;

/// The projects that seeds are about.
#[derive(Clone, Debug)]
pub struct Stages {
    platform: Arc<Stage>,
    gated: Arc<Stage>,
    /// Play all seeds with this one.
    only: Option<Arc<Stage>>,
}

impl Stages {
    /// Builds all.
    ///
    /// # Errors
    /// When a calm run does not succeed.
    pub fn new() -> Result<Self, StageError> {
        let (platform, gated) = (Arc::new(Stage::new(PLATFORM)?), Arc::new(Stage::new(GATED)?));
        Ok(Self { platform, gated, only: None })
    }

    /// Plays all seeds with the project of this name, `platform` or `gated`; `None` where there is no such.
    #[must_use]
    pub fn only(mut self, name: &str) -> Option<Self> {
        self.only = Some(match name {
            "platform" => Arc::clone(&self.platform),
            "gated" => Arc::clone(&self.gated),
            _ => return None,
        });
        Some(self)
    }

    /// The project of a seed.
    pub fn of(&self, seed: u64) -> &Arc<Stage> {
        let own = if seed % GATED_EVERY == GATED_EVERY - 1 { &self.gated } else { &self.platform };
        self.only.as_ref().unwrap_or(own)
    }

    /// Plays a seed with its project.
    pub fn simulate(&self, seed: u64, keep_log: bool) -> Report {
        simulate(self.of(seed), seed, keep_log)
    }
}
