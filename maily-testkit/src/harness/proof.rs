//! Shows that the checks can fail: takes a rule of the engine away and plays seeds until one turns red.

use maily_core::planted::{Defect, plant};

use super::{Report, Stages};

/// How a defect was noticed.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The defect.
    pub defect: Defect,
    /// Seeds that were played.
    pub tried: u64,
    /// The report of the seed that turned red; none where none did.
    pub red: Option<Report>,
}

/// Plays seeds from `from` on with a defect until one turns red, at most `seeds`.
pub fn prove(stages: &Stages, defect: Defect, from: u64, seeds: u64) -> Proof {
    plant(Some(defect));
    let mut proof = Proof { defect, tried: 0, red: None };
    for seed in from..from.saturating_add(seeds) {
        proof.tried += 1;
        let report = stages.simulate(seed, false);
        if !report.violations.is_empty() {
            proof.red = Some(report);
            break;
        }
    }
    plant(None);
    proof
}
