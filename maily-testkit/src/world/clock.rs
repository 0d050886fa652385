//! How fast the world's time goes beside the machine's.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::World;

/// Slowest and fastest.
const RANGE: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

/// Seconds of the world in a second of the machine: from 0.01 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Factor(f64);

/// It is no number, or none that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a factor is a number from 0.01 to 1000")]
pub struct FactorError;

impl Factor {
    /// How long the world takes for a time of the machine.
    pub(crate) fn of_world(self, machine: Duration) -> SignedDuration {
        // Exact where nothing is asked for: a seed replays to the nanosecond.
        if self == Self::default() {
            return SignedDuration::try_from(machine).unwrap_or(SignedDuration::MAX);
        }
        SignedDuration::try_from_secs_f64(machine.as_secs_f64() * self.0).unwrap_or(SignedDuration::MAX)
    }

    /// How long the machine takes for a time of the world; none of one that has passed.
    pub(crate) fn of_machine(self, world: SignedDuration) -> Duration {
        let world = Duration::try_from(world).unwrap_or_default();
        if self == Self::default() { world } else { world.div_f64(self.0) }
    }
}

impl Default for Factor {
    fn default() -> Self {
        Self(1.0)
    }
}

impl TryFrom<f64> for Factor {
    type Error = FactorError;

    fn try_from(factor: f64) -> Result<Self, FactorError> {
        if RANGE.contains(&factor) { Ok(Self(factor)) } else { Err(FactorError) }
    }
}

impl From<Factor> for f64 {
    fn from(factor: Factor) -> Self {
        factor.0
    }
}

impl FromStr for Factor {
    type Err = FactorError;

    fn from_str(text: &str) -> Result<Self, FactorError> {
        text.parse::<f64>().map_err(|_| FactorError)?.try_into()
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A clock that was set: since when it goes at its factor, by the machine's clock and by the world's own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Clock {
    factor: Factor,
    machine: Timestamp,
    world: Timestamp,
}

impl World {
    /// Seconds that pass here in one of the machine's.
    pub fn factor(&self) -> Factor {
        self.clock.map(|clock| clock.factor).unwrap_or_default()
    }

    /// Lets time go at a factor from now on; `machine` is the machine's time of day.
    pub fn set_factor(&mut self, factor: Factor, machine: Timestamp) {
        self.clock = Some(Clock { factor, machine, world: self.now });
    }

    /// How far this world's clock is ahead of the machine's; none where it was never set, and goes with it.
    pub(crate) fn ahead(&self, machine: Timestamp) -> Option<SignedDuration> {
        self.clock.map(|_| self.now.duration_since(machine))
    }

    /// The time here when it is this time at the machine.
    pub(crate) fn time_at(&self, machine: Timestamp) -> Timestamp {
        let Some(clock) = self.clock else { return machine };
        // A machine whose clock was set back holds the world's on.
        let passed = Duration::try_from(machine.duration_since(clock.machine)).unwrap_or_default();
        clock.world.checked_add(clock.factor.of_world(passed)).unwrap_or(Timestamp::MAX)
    }
}
