//! Which project a seed is about.

use std::sync::Arc;

use super::{GATED, IN_ORDER, ORDERED, PLATFORM, Report, Stage, StageError, simulate};

/// Every fourth seed is about one of the smaller projects: of so many the last one is about StatefulSets in order, the
/// others about migrations and gates.
const SMALLER_EVERY: u64 = 4;
const ORDERED_EVERY: u64 = 8;

/// The projects that seeds are about.
#[derive(Clone, Debug)]
pub struct Stages {
    platform: Arc<Stage>,
    gated: Arc<Stage>,
    ordered: Arc<Stage>,
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
        let ordered = Arc::new(Stage::in_order(ORDERED, IN_ORDER)?);
        Ok(Self { platform, gated, ordered, only: None })
    }

    /// Plays all seeds with the project of this name, `platform`, `gated` or `ordered`; `None` where there is no such.
    #[must_use]
    pub fn only(mut self, name: &str) -> Option<Self> {
        self.only = Some(match name {
            "platform" => Arc::clone(&self.platform),
            "gated" => Arc::clone(&self.gated),
            "ordered" => Arc::clone(&self.ordered),
            _ => return None,
        });
        Some(self)
    }

    /// The project of a seed.
    pub fn of(&self, seed: u64) -> &Arc<Stage> {
        let last_of = |many: u64| seed % many == many - 1;
        let own = match seed {
            _ if last_of(ORDERED_EVERY) => &self.ordered,
            _ if last_of(SMALLER_EVERY) => &self.gated,
            _ => &self.platform,
        };
        self.only.as_ref().unwrap_or(own)
    }

    /// Plays a seed with its project.
    pub fn simulate(&self, seed: u64, keep_log: bool) -> Report {
        simulate(self.of(seed), seed, keep_log)
    }
}
