//! What a seed does to a simulation: a list of acts, drawn before it begins.

use std::time::Duration;

use super::{
    chance::Chance,
    weather::{Weather, span},
};

/// Something that is done to the world or its participants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The network turns bad.
    Weather(Weather),
    /// The first operator's process dies.
    Kill,
    /// The first operator's process is halted for a time.
    Halt(Duration),
    /// The first operator's machine sleeps for a time.
    Suspend(Duration),
    /// The first operator's clock goes at another rate from now on (parts of a million).
    Wind(u64),
    /// The first operator's time of day is set by so many hours.
    Calendar(i64),
    /// Pods of a service get into trouble at a version.
    Trouble(String),
    /// The troubles are over, and gates pass again.
    Relief,
    /// A second operator tries to bring the third version.
    Rival {
        /// Whether he waits for his turn.
        waits: bool,
    },
    /// A second operator asks to abort.
    Abort,
    /// A person edits the workload of a service in the last environment: a field that the release sets, or a note
    /// that it does not know.
    Edit {
        /// Whose.
        service: String,
        /// Whether the release sets the field.
        of_release: bool,
    },
    /// A person makes an object of a name that the second version has, too.
    Squat,
    /// What gates ask outside says no.
    GatesFail,
    /// The first operator interrupts.
    Interrupt,
    /// Somebody deletes the parameter of a fence, if there is one.
    Unfence,
}

/// Acts in order, each so long after the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The acts.
    pub acts: Vec<(Duration, Act)>,
    /// Whether whoever settles the matter takes unfinished runs back instead of going on.
    pub settle_back: bool,
    /// Whether the API server fences the environments.
    pub fenced: bool,
    /// Rate of the first operator's clock, in parts of a million.
    pub rate: u64,
}

/// Rate of the slowest clock, in parts of a million.
const SLOWEST: u64 = 720_000;
/// Rate of the fastest clock.
const FASTEST: u64 = 1_090_000;

const TROUBLES: &[&str] = &["never-ready", "crash", "image-missing", "config-error", "slow", "unschedulable"];
const SERVICES: &[&str] =
    &["api", "web", "worker", "search", "ledger", "reports", "schema", "cleanup", "suite"];

impl Script {
    /// The script of a seed.
    pub fn draw(chance: &mut Chance) -> Self {
        let mut script = Self {
            settle_back: chance.hits(300_000),
            fenced: chance.hits(500_000),
            rate: rate(chance),
            ..Self::default()
        };
        // A quarter of all runs meets nothing at all: they show that the ordinary path is ordinary.
        if chance.hits(250_000) {
            return script;
        }
        if chance.hits(700_000) {
            let strength = 1 + chance.below(3);
            script.acts.push((Duration::ZERO, Act::Weather(Weather::storm(strength))));
        }
        if chance.hits(350_000) {
            let trouble = chance.pick(TROUBLES).copied().unwrap_or("crash");
            let service = chance.pick(SERVICES).copied().unwrap_or("api");
            script.acts.push((Duration::ZERO, Act::Trouble(format!("{trouble} {service}@v2"))));
        }
        if chance.hits(80_000) {
            script.acts.push((Duration::ZERO, Act::GatesFail));
        }
        for _ in 0..=chance.below(3) {
            let mut after = span(chance, Duration::from_secs(6));
            let act = match chance.below(16) {
                0..=3 => Act::Kill,
                4..=6 => Act::Halt(Duration::from_secs(1) + span(chance, Duration::from_secs(60))),
                7 => {
                    let sleep = Act::Suspend(span(chance, Duration::from_secs(30)));
                    script.acts.push((after, Act::Wind(rate(chance))));
                    let hours = i64::try_from(chance.below(9)).unwrap_or_default() - 4;
                    script.acts.push((Duration::ZERO, Act::Calendar(hours)));
                    after = Duration::ZERO;
                    sleep
                }
                8 => Act::Rival { waits: chance.hits(500_000) },
                9 => Act::Abort,
                10 => Act::Interrupt,
                11 => Act::Squat,
                12 | 13 => Act::Edit {
                    service: chance.pick(SERVICES).copied().unwrap_or("api").to_owned(),
                    of_release: chance.hits(500_000),
                },
                14 => Act::Unfence,
                _ => Act::Relief,
            };
            script.acts.push((after, act));
        }
        script
    }
}

/// Most clocks are right, some are a few hundredths off, few as much as the engine's waits allow: who waits 11 s for what
/// the server ends after 10 s may be fast by less than a tenth, and who stops writing after 10 s, because others wait
/// 15 s, may be slow by less than a third. Clocks of machines are a thousand times better.
fn rate(chance: &mut Chance) -> u64 {
    match chance.below(10) {
        0..=6 => 1_000_000,
        7 => 900_000 + chance.below(FASTEST - 900_000),
        8 => 980_000 + chance.below(40_000),
        _ => SLOWEST + chance.below(FASTEST - SLOWEST),
    }
}

/// Rate of everybody else's clock: ordinary, and never quite right.
pub(super) fn ordinary(draw: u64) -> u64 {
    980_000 + draw % 40_000
}

impl Act {
    /// Name for counting.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Weather(_) => "bad network",
            Self::Kill => "crash",
            Self::Halt(_) => "halt",
            Self::Suspend(_) => "machine asleep",
            Self::Wind(_) => "clock of another rate",
            Self::Calendar(_) => "time of day set",
            Self::Trouble(_) => "pod trouble",
            Self::Relief => "pod trouble over",
            Self::Rival { .. } => "rival",
            Self::Abort => "abort asked",
            Self::Edit { of_release: true, .. } => "a person's edit",
            Self::Edit { of_release: false, .. } => "a person's note",
            Self::Squat => "a person's object in the way",
            Self::GatesFail => "gates fail",
            Self::Interrupt => "interrupt",
            Self::Unfence => "fence opened",
        }
    }
}
