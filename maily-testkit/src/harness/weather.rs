//! What happens to a request on its way, and how often.

use std::{collections::BTreeMap, time::Duration};

use super::chance::Chance;

/// How often things go wrong, in parts of a million of all requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Refused by the server's own throttle (429), half of them with Retry-After.
    pub throttled: u64,
    /// Answered with 500 or 503, without effect.
    pub failed: u64,
    /// Takes effect, and is answered with 500 or 504 all the same.
    pub failed_after: u64,
    /// Never arrives.
    pub lost: u64,
    /// Takes effect, and the answer never arrives.
    pub unanswered: u64,
    /// A record is refused: its quota is used up.
    pub refused: u64,
    /// The connection breaks at once; the request takes effect seconds later, a guarded one up to a minute.
    pub late: u64,
    /// Delivered twice, the second time as late.
    pub twice: u64,
    /// The sender is halted between his last look at the clock and the send.
    pub held: u64,
    /// A write goes through a second API server, whose policies lag.
    pub behind: u64,
    /// Longest ordinary delay in either direction, in milliseconds.
    pub delay_ms: u64,
    /// A watch breaks off after an event.
    pub cut: u64,
    /// History is lost (410) when a watch is taken up again.
    pub forgotten: u64,
    /// Longest lag of a watch behind the world, in milliseconds.
    pub lag_ms: u64,
    /// An event of a watch comes a second time.
    pub repeated: u64,
    /// Longest lag of the frontend host's index behind what was made, in milliseconds.
    pub index_ms: u64,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing special.
    Fine,
    /// Refused with 429.
    Throttled {
        /// Whether the server says when to come back.
        retry_after: bool,
    },
    /// Refused for good.
    Refused,
    /// Answered with an error.
    Failed {
        /// Whether it took effect.
        effect: bool,
        /// 504 instead of 500.
        timeout: bool,
    },
    /// Never arrives; the sender notices or waits for his deadline.
    Lost {
        /// Whether he notices at once.
        noticed: bool,
    },
    /// Takes effect, and the answer never arrives.
    Unanswered {
        /// Whether the sender notices that the connection is gone.
        noticed: bool,
    },
    /// The connection breaks, and the request takes effect after this time.
    Late(Duration),
    /// Takes effect, and once more after this time.
    Twice(Duration),
}

/// A request can stay in the network for so long after its sender has died or given it up.
pub(super) const LATEST: Duration = Duration::from_secs(60);

/// What keeps a request from having its effect at the wrong time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// It has no effect.
    Reads,
    /// It makes an object of the application that must not be there.
    Absence,
    /// It makes a record, whose name is taken once and for all.
    Record,
    /// A resource version.
    Version,
    /// Nothing: a host without preconditions.
    Host,
}

impl Guard {
    /// How late a request may still have its effect.
    pub(super) fn latest(self) -> Duration {
        match self {
            // What only absence guards lands within the server's own limit, or not at all.
            Self::Absence => SERVER_LIMIT,
            Self::Host => HOST_LIMIT,
            _ => LATEST,
        }
    }
}

/// The server ends its work on a write after this time (`?timeout=10s`).
pub(super) const SERVER_LIMIT: Duration = Duration::from_secs(10);

/// The frontend host has done what it was asked to, or never will, after this time.
const HOST_LIMIT: Duration = Duration::from_secs(12);

impl Weather {
    /// No wind at all.
    pub fn calm() -> Self {
        Self { delay_ms: 3, lag_ms: 5, ..Self::default() }
    }

    /// A storm of this strength, from 1 (some requests in a thousand) to 3 (one in ten).
    pub fn storm(strength: u64) -> Self {
        let often = match strength {
            0 | 1 => 1_500,
            2 => 6_000,
            _ => 15_000,
        };
        Self {
            throttled: often,
            failed: often,
            failed_after: often,
            lost: often,
            refused: often / 3,
            unanswered: often,
            late: often,
            twice: often / 2,
            held: often,
            behind: 200_000,
            delay_ms: 40 * strength.max(1),
            cut: often * 2,
            forgotten: 300_000,
            lag_ms: 150 * strength.max(1),
            repeated: often * 2,
            index_ms: 700 * strength.max(1),
        }
    }

    /// The fate of the next request.
    pub(super) fn fate(&self, chance: &mut Chance, guard: Guard) -> Fate {
        let writes = guard != Guard::Reads;
        let latest = guard.latest();
        let draw = chance.below(1_000_000);
        let mut bound = 0;
        let mut within = |share: u64| {
            bound += share;
            draw < bound
        };
        if within(self.throttled) {
            return Fate::Throttled { retry_after: chance.hits(500_000) };
        }
        if within(self.failed) {
            return Fate::Failed { effect: false, timeout: chance.hits(300_000) };
        }
        if within(self.lost) {
            return Fate::Lost { noticed: chance.hits(700_000) };
        }
        // The way to the host is long, and answers get lost on it.
        let far = if guard == Guard::Host { 6 } else { 1 };
        if within(self.unanswered * far) {
            return Fate::Unanswered { noticed: chance.hits(700_000) };
        }
        if !writes {
            return Fate::Fine;
        }
        if within(self.failed_after * far) {
            return Fate::Failed { effect: true, timeout: chance.hits(500_000) };
        }
        if within(self.refused) && guard == Guard::Record {
            return Fate::Refused;
        }
        if within(self.late * far) {
            return Fate::Late(span(chance, latest));
        }
        // Nobody repeats a create that he saw answered.
        if within(self.twice) && !matches!(guard, Guard::Absence | Guard::Host) {
            return Fate::Twice(span(chance, latest));
        }
        Fate::Fine
    }
}

impl Fate {
    /// Name for counting; none where nothing special happens.
    pub(super) fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Fine => return None,
            Self::Refused => "record refused",
            Self::Throttled { retry_after: true } => "429 with Retry-After",
            Self::Throttled { retry_after: false } => "429",
            Self::Failed { effect: false, .. } => "5xx before the effect",
            Self::Failed { effect: true, timeout: false } => "500 after the effect",
            Self::Failed { effect: true, timeout: true } => "504 after the effect",
            Self::Lost { .. } => "request lost",
            Self::Unanswered { .. } => "answer lost",
            Self::Late(_) => "late effect",
            Self::Twice(_) => "delivered twice",
        })
    }
}

/// A time below a limit.
pub(super) fn span(chance: &mut Chance, limit: Duration) -> Duration {
    Duration::from_micros(chance.below(u64::try_from(limit.as_micros()).unwrap_or(u64::MAX)))
}

/// What happened how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<&'static str, u64>);

impl Tally {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Takes in another tally.
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}
