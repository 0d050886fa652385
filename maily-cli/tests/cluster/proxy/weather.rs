//! What a bad line does with requests, by a seed.
//!
//! Each class of requests has a deck of cards of its own, shuffled anew whenever it is used up: whatever the seed, every
//! trouble comes within a deck, and how requests of other classes interleave changes nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use maily_testkit::harness::Chance;

/// So many requests of a class may be lost one after the other; before a run begins, a command asks five times.
const IN_A_ROW: u32 = 2;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    Passes,
    /// It is carried out, and its answer comes late.
    Late,
    /// It is refused for load, without a word on when to come again: 429.
    Busy,
    /// The same, with the time to wait.
    BusyFor,
    /// It is not carried out: 500.
    Broken,
    /// It is carried out, and answered 504.
    Lost,
    /// A watch breaks off, perhaps in the middle of an event.
    Cut,
}

impl Fate {
    fn loses(self) -> bool {
        matches!(self, Self::Busy | Self::BusyFor | Self::Broken | Self::Lost)
    }
}

pub(super) const TROUBLES: [Fate; 6] =
    [Fate::Late, Fate::Busy, Fate::BusyFor, Fate::Broken, Fate::Lost, Fate::Cut];

/// The fate of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Card {
    pub(super) fate: Fate,
    /// How late an answer comes.
    pub(super) late: Duration,
    /// How long a watch lives.
    pub(super) life: Duration,
    /// Whether a watch ends within an event.
    pub(super) torn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Read,
    Write,
    Watch,
}

impl Class {
    /// Class of a request by its first line.
    fn of(start: &str) -> Self {
        if start.contains("watch=true") {
            Self::Watch
        } else if start.starts_with("GET ") {
            Self::Read
        } else {
            Self::Write
        }
    }

    fn fates(self, chance: &mut Chance) -> Vec<Fate> {
        use Fate::{Broken, Busy, BusyFor, Cut, Late, Lost, Passes};
        match self {
            // What a command reads before it begins is read again as a whole where one answer is missing.
            Self::Read => {
                let lost = *chance.pick(&[Busy, BusyFor, Broken, Lost]).expect("there are four");
                [vec![Late, Late, lost], vec![Passes; 13]].concat()
            }
            Self::Write => [vec![Late, Late, Busy, BusyFor, Broken, Lost, Lost], vec![Passes; 5]].concat(),
            Self::Watch => vec![Cut, Cut, Cut, Cut, Busy, Broken, Passes, Passes],
        }
    }
}

#[derive(Debug)]
struct Deck {
    chance: Chance,
    left: Vec<Fate>,
    lost: u32,
}

impl Deck {
    fn draw(&mut self, class: Class) -> Card {
        if self.left.is_empty() {
            self.left = class.fates(&mut self.chance);
            for last in (1..self.left.len()).rev() {
                let other = self.chance.below(u64::try_from(last + 1).expect("is small"));
                self.left.swap(last, usize::try_from(other).expect("is small"));
            }
        }
        let mut fate = self.left.pop().expect("was filled");
        self.lost = if fate.loses() { self.lost + 1 } else { 0 };
        if self.lost > IN_A_ROW {
            (fate, self.lost) = (Fate::Passes, 0);
        }
        Card {
            fate,
            late: Duration::from_millis(200 + self.chance.below(2_800)),
            life: Duration::from_millis(500 + self.chance.below(3_500)),
            torn: self.chance.hits(500_000),
        }
    }
}

#[derive(Debug)]
pub(super) struct Weather {
    /// None of a line that is good.
    seed: Option<u64>,
    decks: Mutex<BTreeMap<Class, Deck>>,
    came: Mutex<BTreeMap<Fate, usize>>,
    /// Reads pass until a lease is asked for.
    waits: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Weather {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed: Some(seed), ..Self::calm() }
    }

    /// A line on which nothing is late or lost.
    pub(super) fn calm() -> Self {
        Self { seed: None, decks: Mutex::default(), came: Mutex::default(), waits: AtomicBool::new(false) }
    }

    /// Lets reads pass until a run begins: an answer that a command misses before may end it with nothing done.
    pub(super) fn waits_for_a_run(&self) {
        self.waits.store(true, SeqCst);
    }

    /// What becomes of the request with this first line.
    pub(super) fn draw(&self, start: &str) -> Card {
        let Some(seed) = self.seed else {
            let (late, life) = (Duration::ZERO, Duration::MAX);
            return Card { fate: Fate::Passes, late, life, torn: false };
        };
        let class = Class::of(start);
        if class == Class::Write && start.contains("/leases/") {
            self.waits.store(false, SeqCst);
        }
        let mut decks = lock(&self.decks);
        let deck = decks.entry(class).or_insert_with(|| Deck {
            chance: Chance::new(seed ^ ((class as u64 + 1) << 56)),
            left: Vec::new(),
            lost: 0,
        });
        let mut card = deck.draw(class);
        if class == Class::Read && card.fate.loses() && self.waits.load(SeqCst) {
            card.fate = Fate::Passes;
        }
        *lock(&self.came).entry(card.fate).or_default() += 1;
        card
    }

    /// How often a fate came.
    pub(super) fn came(&self, fate: Fate) -> usize {
        lock(&self.came).get(&fate).copied().unwrap_or_default()
    }
}
