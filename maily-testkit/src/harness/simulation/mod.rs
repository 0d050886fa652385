//! One seed: the script is played, the matter is settled by somebody else, and the world has to be the new or the old
//! one.

mod settled;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use maily_core::{
    engine::{
        EnvironmentError, Event, FenceError, LeaseError, Outcome, RunEnd, RunId, RunOptions, Wish,
        journal::JournalError,
    },
    model::Version,
    object::{ObjectKey, ObjectKind},
    provider::Precondition,
    runtime::Runtime as _,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    chance::Chance,
    place::{Place, lock},
    scheduler::{Participant, Scheduler, Seat},
    script::{Act, Script, ordinary},
    stage::{NOTE, Stage, VERSIONS, environment, lease_of, release, squat},
    weather::{Tally, Weather},
    witness::Witness,
};

/// The operator whose process the script is about.
const FIRST: &str = "first";
/// Everything has to be settled within this virtual time.
const LIMIT: Duration = Duration::from_secs(3 * 3_600);
/// After this time nothing of a former process can be on its way any more.
const AFTERMATH: Duration = Duration::from_secs(180);

/// What a seed came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Virtual time that passed.
    pub time: Duration,
    /// Faults by kind.
    pub faults: Tally,
    /// Steps that were seen to end.
    pub steps: u64,
    /// How the runs ended, by name.
    pub ends: BTreeMap<String, u64>,
    /// What must never happen and did.
    pub violations: Vec<String>,
    /// Digest of everything that happened.
    pub digest: u64,
    /// Everything that happened, where it is kept.
    pub log: Vec<String>,
}

struct Play {
    stage: Arc<Stage>,
    place: Arc<Place>,
    scheduler: Scheduler,
    script: Script,
    ends: Mutex<BTreeMap<String, u64>>,
    cancel: CancellationToken,
    over: Mutex<bool>,
    /// The first operator has nothing more to do.
    first_done: Mutex<bool>,
    /// Environments in which a person ended a run as it was.
    left: Mutex<BTreeSet<usize>>,
}

/// Plays one seed.
pub fn simulate(stage: &Arc<Stage>, seed: u64, keep_log: bool) -> Report {
    let mut chance = Chance::new(seed);
    let script = Script::draw(&mut chance);
    let scheduler = Scheduler::new();
    let network = scheduler.join(chance.draw(), 1_000_000);
    let director = scheduler.join(chance.draw(), 1_000_000);
    let first = scheduler.join(chance.draw(), script.rate);
    let mut witness = Witness::new(Stage::secrets(), keep_log);
    witness.note(&format!("{script:?}"));
    let place = Place::new(stage.world(), network, chance.draw(), witness);
    if script.fenced {
        let environments = stage.environments.iter();
        place.fence(environments.map(|e| (&*e.environment.name, e.environment.namespace.as_str())));
    }
    let play = Arc::new(Play {
        stage: Arc::clone(stage),
        place: Arc::clone(&place),
        scheduler: scheduler.clone(),
        script,
        ends: Mutex::default(),
        cancel: CancellationToken::new(),
        over: Mutex::new(false),
        first_done: Mutex::new(false),
        left: Mutex::default(),
    });
    {
        let (play, seat) = (Arc::clone(&play), first.clone());
        first.detach(async move {
            play.phased(&seat, FIRST, VERSIONS[1]).await;
            *lock(&play.first_done) = true;
        });
    }
    {
        let (play, seat) = (Arc::clone(&play), director.clone());
        director.detach(async move {
            play.direct(&seat, &first).await;
            *lock(&play.over) = true;
        });
    }
    let settled = scheduler.run(&mut chance, LIMIT, || *lock(&play.over));
    if !settled {
        lock(&place.witness).violation("I8", "it is not settled");
    }
    scheduler.close();
    let mut witness = std::mem::take(&mut *lock(&place.witness));
    let faults = lock(&place.tally).clone();
    let ends = lock(&play.ends).clone();
    Report {
        seed,
        time: scheduler.now(),
        faults,
        steps: witness.steps,
        ends,
        violations: std::mem::take(&mut witness.violations),
        digest: witness.digest,
        log: witness.log.take().unwrap_or_default(),
    }
}

/// Stable name of an error.
fn error_name(error: &EnvironmentError) -> &'static str {
    match error {
        EnvironmentError::OutOfDate(_) => "out of date",
        EnvironmentError::Unfinished { .. } => "unfinished run in the way",
        EnvironmentError::Problems(..) => "no plan",
        EnvironmentError::Lease(LeaseError::Held { .. }) => "held",
        EnvironmentError::Journal(JournalError::NotHolder { .. })
        | EnvironmentError::Lease(LeaseError::Lost { .. }) => "lost to another holder",
        EnvironmentError::Provider(_)
        | EnvironmentError::Journal(JournalError::Store(_))
        | EnvironmentError::Lease(LeaseError::Provider(_)) => "no answer",
        EnvironmentError::NoReturn(_) => "no way back",
        EnvironmentError::Fence(FenceError::Raised { .. }) => "lost to another holder",
        EnvironmentError::Fence(FenceError::Provider { .. }) => "no answer",
        EnvironmentError::Fence(_) => "the fence does not hold",
        _ => "another error",
    }
}

impl Play {
    fn options(self: &Arc<Self>, seat: &Seat, name: &str) -> RunOptions {
        let mut options = RunOptions::new(name);
        let (place, by) = (Arc::clone(&self.place), seat.participant());
        options.listener = Arc::new(move |event: &Event| lock(&place.witness).hears(by, event));
        options
    }

    /// Brings a version through all environments, as `phased-deploy` does.
    async fn phased(self: &Arc<Self>, seat: &Seat, name: &str, version: &str) {
        let Ok(parsed) = version.parse::<Version>() else { return };
        for index in 0..self.stage.environments.len() {
            let mut tries = 0;
            let end = loop {
                let end = self.deploy(seat, name, index, &parsed, None).await;
                match &end {
                    // A person tries again when the API does not answer.
                    Err(EnvironmentError::Provider(_) | EnvironmentError::Journal(_)) if tries < 3 => {
                        tries += 1;
                        seat.sleep(Duration::from_secs(5)).await;
                    }
                    _ => break end,
                }
            };
            if !matches!(
                end,
                Ok(RunEnd::Over { outcome: Outcome::Succeeded { .. } | Outcome::Unchanged { .. }, .. })
            ) {
                return;
            }
        }
    }

    async fn deploy(
        self: &Arc<Self>,
        seat: &Seat,
        name: &str,
        index: usize,
        version: &Version,
        wait: Option<Duration>,
    ) -> Result<RunEnd, EnvironmentError> {
        let resolved = &self.stage.environments[index];
        let environment = environment(&self.place, seat, resolved);
        let rendered = self.stage.rendered_of(&resolved.environment.name, version);
        let mut options = self.options(seat, name);
        options.wait = wait;
        if name == FIRST {
            options.cancel = self.cancel.clone();
        }
        let end = release(&environment, resolved, rendered, version, &options).await;
        self.ended((name, seat.participant()), index, Some(version), &end);
        end
    }

    /// An end that a process reports has to be true in the world.
    fn ended(
        &self,
        (name, by): (&str, Participant),
        index: usize,
        version: Option<&str>,
        end: &Result<RunEnd, EnvironmentError>,
    ) {
        let resolved = &self.stage.environments[index];
        let word = match end {
            Ok(RunEnd::Over { outcome, .. }) => match outcome {
                Outcome::Succeeded { .. } => "succeeded",
                Outcome::Unchanged { .. } => "unchanged",
                Outcome::RolledBack { .. } => "rolled back",
                Outcome::Stuck { .. } => {
                    lock(&self.left).insert(index);
                    "left"
                }
                Outcome::Cancelled { .. } => "cancelled",
            },
            Ok(RunEnd::Paused { .. }) => "paused",
            Ok(RunEnd::Stuck { .. }) => "stuck",
            Err(error) => error_name(error),
        };
        *lock(&self.ends).entry(word.to_owned()).or_default() += 1;
        let environment = resolved.environment.name.to_string();
        let said = match end {
            Err(error) => format!("{error}"),
            Ok(end) => format!("{end:?}"),
        };
        let mut witness = lock(&self.place.witness);
        witness.leaks("an error", &said);
        witness.note(&format!("{name} in {environment}: {said}"));
        if let Err(EnvironmentError::Journal(JournalError::NotHolder { epoch, .. })) = end
            && witness.holds_alone(by, &environment, epoch.0)
            && self.holder_of(index).as_deref() == Some(name)
        {
            witness
                .violation("I13", format!("{name} says that it lost {environment}, and nobody else has it"));
        }
        let newest = |run: &RunId| witness.is_newest(&environment, run.as_str());
        // A process that was held on its way out may tell of what somebody else has changed since.
        let succeeded = matches!(end, Ok(RunEnd::Over { run: Some(run), outcome: Outcome::Succeeded { .. } }) if newest(run));
        drop(witness);
        if let (true, Some(version)) = (succeeded, version) {
            self.compare("I1", index, version);
        }
    }

    /// Who has the lease of an environment.
    fn holder_of(&self, index: usize) -> Option<String> {
        let key = lease_of(&self.stage.environments[index]);
        self.place.peek(|world| world.get(&key)?.text("/spec/holderIdentity").map(str::to_owned))
    }

    async fn direct(self: &Arc<Self>, seat: &Seat, first: &Seat) {
        for (after, act) in self.script.acts.clone() {
            seat.sleep(after).await;
            self.place.count(act.name());
            lock(&self.place.witness).note(&format!("-- {act:?}"));
            self.play(seat, first, act);
        }
        // Let the first operator finish what he can, for a while.
        let until = seat.now() + Duration::from_secs(400);
        while !*lock(&self.first_done) && seat.now() < until {
            seat.sleep(Duration::from_secs(2)).await;
        }
        *lock(&self.place.weather) = Weather::calm();
        self.relieve();
        self.repair(seat).await;
        self.settle(seat).await;
        // Whoever was halted wakes up now, and every request that is still on its way has time to land.
        self.scheduler.halt(first.participant(), false);
        seat.sleep(AFTERMATH).await;
        // Somebody who waited for his turn may have begun only then, and been halted or killed.
        self.settle(seat).await;
        self.conclude(seat).await;
    }

    fn play(self: &Arc<Self>, seat: &Seat, first: &Seat, act: Act) {
        let who = first.participant();
        match act {
            Act::Weather(weather) => *lock(&self.place.weather) = weather,
            Act::Kill => self.scheduler.kill(who),
            Act::Halt(time) => {
                self.scheduler.halt(who, true);
                self.wake(seat, who, time);
            }
            Act::Suspend(time) => {
                self.scheduler.suspend(who, time);
                self.wake(seat, who, time);
            }
            Act::Wind(rate) => self.scheduler.wind(who, rate),
            Act::Calendar(hours) => {
                self.scheduler.set_calendar(who, jiff::SignedDuration::from_hours(hours));
            }
            Act::Trouble(fault) => {
                if let Ok(fault) = fault.parse() {
                    self.place.world().faults.push(fault);
                }
            }
            Act::Relief => self.relieve(),
            Act::GatesFail => *lock(&self.place.gates_fail) = true,
            Act::Squat => {
                if let Some(resolved) = self.stage.environments.last() {
                    squat(&self.place, resolved);
                }
            }
            Act::Edit { service, of_release } => self.edit(&service, of_release),
            Act::Interrupt => self.cancel.cancel(),
            Act::Unfence => {
                if let (true, Some(last)) = (self.place.is_fenced(), self.stage.environments.last()) {
                    let kind = ObjectKind::new("v1", "ConfigMap");
                    let name = format!("maily-fence-{}", last.environment.name);
                    let key = ObjectKey::new(kind, Some(&last.environment.namespace), name);
                    let _ = self.place.world().delete(&key, &Precondition::Any);
                    lock(&self.place.witness).fenced(&last.environment.name, None);
                }
            }
            Act::Rival { waits } => {
                let rival = self.another(seat);
                let (play, seat) = (Arc::clone(self), rival.clone());
                rival.detach(async move {
                    let Ok(version) = VERSIONS[2].parse::<Version>() else { return };
                    let last = play.stage.environments.len() - 1;
                    let wait = waits.then_some(Duration::from_secs(120));
                    let name = format!("rival {}", seat.participant());
                    let _ = play.deploy(&seat, &name, last, &version, wait).await;
                });
            }
            Act::Abort => {
                let other = self.another(seat);
                // Without a fence a create of the holder may land until he has noticed.
                if seat.random().is_multiple_of(3) && self.place.is_fenced() {
                    self.unlease(seat);
                }
                let (play, seat) = (Arc::clone(self), other.clone());
                other.detach(async move {
                    // Each has a name of his own: whoever takes over from another one is not the same.
                    let name = format!("aborter {}", seat.participant());
                    for index in 0..play.stage.environments.len() {
                        play.take_over(&seat, &name, index, Wish::Abort).await;
                    }
                });
            }
        }
    }

    /// Somebody else, on another machine.
    fn another(&self, seat: &Seat) -> Seat {
        let draw = seat.random();
        self.scheduler.join(draw, ordinary(draw))
    }

    /// Lets a halted participant go on after a time.
    fn wake(&self, seat: &Seat, who: Participant, after: Duration) {
        let (scheduler, timer) = (self.scheduler.clone(), seat.clone());
        seat.detach(async move {
            timer.sleep(after).await;
            scheduler.halt(who, false);
        });
    }

    /// A person deletes the leases while somebody waits for one, who so takes over a holder that lives.
    fn unlease(&self, seat: &Seat) {
        self.place.count("lease deleted");
        let (stage, place, timer) = (Arc::clone(&self.stage), Arc::clone(&self.place), seat.clone());
        seat.detach(async move {
            timer.sleep(Duration::from_millis(1_500)).await;
            for resolved in &stage.environments {
                place.unlease(resolved);
            }
        });
    }

    fn relieve(&self) {
        self.place.world().faults.clear();
        *lock(&self.place.gates_fail) = false;
    }

    /// A person edits a workload of the last environment with a client of his own.
    fn edit(&self, service: &str, of_release: bool) {
        let Some(resolved) = self.stage.environments.last() else { return };
        let of = |kind: &str| {
            ObjectKey::new(ObjectKind::new("apps/v1", kind), Some(&resolved.environment.namespace), service)
        };
        let (mut key, set) = (of("Deployment"), of("StatefulSet"));
        if self.place.peek(|world| world.get(&set).is_some()) {
            key = set;
        }
        let (pointer, fields) = if of_release {
            let pod = json!({"terminationGracePeriodSeconds": 77});
            let fields = json!({"spec": {"template": {"spec": pod}}});
            ("/spec/template/spec/terminationGracePeriodSeconds".to_owned(), fields)
        } else {
            let fields = json!({"metadata": {"annotations": {NOTE: "ask me first"}}});
            (format!("/metadata/annotations/{}", NOTE.replace('/', "~1")), fields)
        };
        self.place.by_hand(&pointer, of_release, |world| world.edit_as("kubectl-edit", &key, fields));
    }

    async fn take_over(self: &Arc<Self>, seat: &Seat, name: &str, index: usize, wish: Wish) -> bool {
        let environment = environment(&self.place, seat, &self.stage.environments[index]);
        let options = self.options(seat, name);
        match environment.take_over(None, wish, &options).await {
            Ok(None) => true,
            Ok(Some(end)) => {
                let over = matches!(end, RunEnd::Over { .. });
                self.ended((name, seat.participant()), index, None, &Ok(end));
                over
            }
            Err(error) => {
                self.ended((name, seat.participant()), index, None, &Err(error));
                false
            }
        }
    }

    /// A person repairs what was opened.
    async fn repair(self: &Arc<Self>, seat: &Seat) {
        for resolved in self.stage.environments.iter().filter(|_| self.place.is_fenced()) {
            let environment = environment(&self.place, seat, resolved);
            let epoch = environment.head().await.ok().and_then(|head| head.epoch).unwrap_or_default();
            if let Err(error) = environment.fence().install(epoch).await {
                let name = &resolved.environment.name;
                lock(&self.place.witness).violation("I8", format!("{name} cannot be fenced: {error}"));
            }
        }
    }

    /// Another operator ends whatever has not ended.
    async fn settle(self: &Arc<Self>, seat: &Seat) {
        for index in 0..self.stage.environments.len() {
            let mut tries = 0;
            loop {
                let wish = match tries {
                    0 if self.script.settle_back => Wish::Abort,
                    // A person's edit stands in the way: he ends the run as it is.
                    4.. if self.is_edited(index) => Wish::Leave,
                    _ => Wish::Resume,
                };
                if self.take_over(seat, "settler", index, wish).await {
                    break;
                }
                tries += 1;
                if tries > 8 {
                    let name = &self.stage.environments[index].environment.name;
                    lock(&self.place.witness)
                        .violation("I8", format!("{name} is not settled after {tries} tries"));
                    break;
                }
                seat.sleep(Duration::from_secs(20)).await;
            }
        }
    }
}
