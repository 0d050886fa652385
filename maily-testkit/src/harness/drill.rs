//! Drills: one run, killed or refused at one exact point, taken over by somebody else, and compared with a run to which
//! nothing happened. An embedder drills his own project: the steps are those of his plan.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use maily_core::{
    engine::{EnvironmentError, Outcome, RunEnd, RunOptions, STAMP, StepId, Wish, journal::JournalEvent},
    model::Version,
    object::{Object, ObjectKey},
    runtime::Runtime as _,
};

use super::{
    chance::Chance,
    content::{content, differences},
    contest::contest,
    place::{Place, lock},
    scheduler::{Participant, Scheduler, Seat},
    stage::{Stage, VERSIONS, environment, planned, squat},
    weather::Guard,
    witness::{Witness, segment_of},
};

/// Where the run is disturbed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trap {
    /// The process dies at a request, counted from 1.
    Request {
        /// Which.
        number: u64,
        /// Whether the request takes effect.
        after_effect: bool,
    },
    /// The process dies when it has written down that a step begins.
    AfterStarted(StepId),
    /// The process dies when it is about to write down that a step was applied: the step is carried out again.
    BeforeApplied(StepId),
    /// The process dies when it is about to write down that a step was undone: it is undone again.
    BeforeUndone(StepId),
}

/// What a drill does to the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drill {
    /// Where the process dies.
    pub trap: Option<Trap>,
    /// The step whose writes are all refused.
    pub refused: Option<StepId>,
    /// Take the run back instead of going on with it.
    pub back: bool,
    /// The step whose first change of an object that is there, by whoever takes the run over, arrives late, and whose
    /// other writes are refused from then on.
    pub late: Option<StepId>,
    /// Services whose new version becomes ready slowly.
    pub slow: Vec<String>,
    /// How long nobody takes the run over.
    pub pause: Duration,
    /// The lease cannot be renewed by the process that begins.
    pub unrenewed: bool,
    /// A write of the process that begins arrives late.
    pub straggler: Option<Straggler>,
    /// Somebody else takes the environment while the process that begins lives.
    pub contest: Option<Contest>,
    /// The step whose writes by the process that begins are refused as too many until somebody else has written the
    /// same object.
    pub busy: Option<StepId>,
    /// What gates ask outside says no.
    pub gates_fail: bool,
    /// Between plan and run a person makes an object of a name that the new version has, too.
    pub squatted: bool,
    /// Which create of the process that begins, counted from 1, the network keeps until somebody else is through. The
    /// process dies with it.
    pub kept: Option<u64>,
    /// The API server fences the environment.
    pub fenced: bool,
    /// What the process that begins sends goes through a second API server, which hears of no epoch that is raised
    /// afterwards.
    pub behind: bool,
}

/// A write that arrives late: its sender sees the connection break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Straggler {
    /// Which write on an object of the application, counted from 1.
    pub write: u64,
    /// How late.
    pub after: Duration,
    /// Whether the sender dies with it; else whatever else he sends on the way forward is refused.
    pub dies: bool,
}

/// Somebody else ends the run from a request of its holder on, and brings the third version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contest {
    /// At which request of the holder, counted from 1.
    pub request: u64,
    /// Whether the holder is halted until the other is through; else a person deletes the lease that the other waits
    /// for, who so takes over a holder as lively as before.
    pub halted: bool,
    /// Whether an object gets the stamp of a higher epoch before the other looks, as one that is copied from another
    /// environment has: the other claims a number above it.
    pub stamped: bool,
}

/// What came of a drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drilled {
    /// Whether the process died.
    pub died: bool,
    /// How the run ended; none where nothing was on record yet.
    pub outcome: Option<Outcome>,
    /// Whether the first process had to give up, so that the run was taken over.
    pub stuck: bool,
    /// Verdicts of gates in the journal.
    pub verdicts: u32,
    /// What must not be and is.
    pub violations: Vec<String>,
    /// Requests that the first process sent.
    pub requests: u64,
    /// Whether the straggler was sent, or the contest began.
    pub met: bool,
    /// Everything that happened.
    pub log: Vec<String>,
}

/// The trap at the server's door.
#[derive(Debug)]
pub(super) struct Armed {
    pub(super) who: Participant,
    pub(super) drill: Drill,
    pub(super) requests: u64,
    /// Writes on objects of the application so far.
    pub(super) writes: u64,
    /// Creates of objects of the application so far.
    pub(super) creates: u64,
    /// The contest has begun.
    pub(super) contested: bool,
    /// The stamp of the write that arrives late.
    pub(super) delayed: Option<String>,
    /// The object whose write was refused as one too many.
    pub(super) busy: Option<ObjectKey>,
    /// Somebody else has written it.
    pub(super) free: bool,
    pub(super) sprung: bool,
    /// The first process has its lease.
    pub(super) leased: bool,
}

/// What the door does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    /// The sender dies before the request has its effect.
    Dies,
    /// The request has its effect, and the sender dies.
    DiesAfter,
    /// The server refuses.
    Refuses,
    /// The server has too much to do.
    Busy,
    /// The request has its effect, and the sender is halted.
    Halts,
}

/// After this time nothing is on its way any more.
pub(super) const LANDED: Duration = Duration::from_secs(90);
/// How late a late write arrives: before the server would have ended it.
const LATE: Duration = Duration::from_secs(8);
/// How late a create arrives that the network keeps: somebody else is through by then.
const KEPT: Duration = Duration::from_secs(100);

impl Armed {
    /// Whether a write of a participant arrives late.
    pub(super) fn delays(
        &mut self,
        by: Participant,
        body: Option<&Object>,
        guard: Guard,
    ) -> Option<Duration> {
        if let Some(kept) = self.drill.kept.filter(|_| by == self.who && !self.sprung) {
            let creates = guard == Guard::Absence && stamp_of(body).is_some();
            self.creates += u64::from(creates);
            if !creates || self.creates != kept {
                return None;
            }
            self.delayed = stamp_of(body);
            self.sprung = true;
            return Some(KEPT);
        }
        if let Some(straggler) = self.drill.straggler.filter(|_| by == self.who && !self.sprung) {
            self.writes += u64::from(stamp_of(body).is_some());
            if self.writes == straggler.write && self.delayed.is_none() && stamp_of(body).is_some() {
                self.delayed = stamp_of(body);
                self.sprung = straggler.dies;
                return Some(straggler.after.min(guard.latest()));
            }
            return None;
        }
        let guarded = guard == Guard::Version;
        if by == self.who || !guarded || self.delayed.is_some() || !forward(body, self.drill.late.as_ref()) {
            return None;
        }
        self.delayed = stamp_of(body);
        Some(LATE.min(guard.latest()))
    }

    /// Whether what a participant sends goes through the server that lags.
    pub(super) fn lags(&self, by: Participant) -> bool {
        self.drill.behind && by == self.who
    }

    /// Whether who sent a delayed write dies with it.
    pub(super) fn dies_of_delay(&self) -> bool {
        self.drill.kept.is_some() || self.drill.straggler.is_some_and(|straggler| straggler.dies)
    }

    /// Decides over a request of a participant.
    pub(super) fn meets(&mut self, by: Participant, body: Option<&Object>, writes: bool) -> Door {
        if by != self.who && self.delayed.is_some() && forward(body, self.drill.late.as_ref()) {
            return if self.delayed == stamp_of(body) { Door::Open } else { Door::Refuses };
        }
        let written = body.filter(|_| writes && by != self.who).map(Object::key);
        self.free |= written.is_some() && written == self.busy.as_ref();
        if by != self.who || self.sprung {
            return Door::Open;
        }
        self.requests += 1;
        if self.drill.straggler.is_some() && self.delayed.is_some() {
            // A stamp of an earlier run is none of this way.
            let run = |stamp: &str| stamp.split(' ').next().map(str::to_owned);
            let present = self.delayed.as_deref().and_then(run);
            let on_its_way =
                stamp_of(body).is_some_and(|stamp| stamp.contains(" forward ") && run(&stamp) == present);
            return if on_its_way && self.delayed != stamp_of(body) { Door::Refuses } else { Door::Open };
        }
        if let Some(contest) = self.drill.contest.filter(|contest| contest.request == self.requests) {
            self.contested = true;
            if contest.halted {
                return Door::Halts;
            }
        }
        if !self.free && forward(body, self.drill.busy.as_ref()) {
            self.busy = body.map(|body| body.key().clone());
            return Door::Busy;
        }
        let renews = body.is_some_and(|body| body.kind() == "Lease");
        if renews && self.drill.unrenewed && std::mem::replace(&mut self.leased, true) {
            return Door::Refuses;
        }
        let door = match &self.drill.trap {
            Some(Trap::Request { number, after_effect }) if self.requests == *number => {
                if *after_effect {
                    Door::DiesAfter
                } else {
                    Door::Dies
                }
            }
            Some(Trap::AfterStarted(step)) if writes && begins(body, step) => Door::DiesAfter,
            Some(Trap::BeforeApplied(step)) if writes && announces(body, step, true) => Door::Dies,
            Some(Trap::BeforeUndone(step)) if writes && announces(body, step, false) => Door::Dies,
            _ => Door::Open,
        };
        if door != Door::Open {
            self.sprung = true;
            return door;
        }
        if forward(body, self.drill.refused.as_ref()) { Door::Refuses } else { Door::Open }
    }
}

fn stamp_of(body: Option<&Object>) -> Option<String> {
    body.and_then(|body| body.annotation(STAMP)).map(str::to_owned)
}

/// Whether a write is one of a step on the way forward.
fn forward(body: Option<&Object>, step: Option<&StepId>) -> bool {
    let stamp = stamp_of(body).unwrap_or_default();
    let mut words = stamp.split(' ').skip(1);
    step.is_some_and(|step| words.next() == Some(step.as_str())) && words.next() == Some("forward")
}

/// Whether a record says that a step begins.
fn begins(body: Option<&Object>, step: &StepId) -> bool {
    let Some((_, segment)) = body.and_then(segment_of) else { return false };
    segment
        .events
        .iter()
        .any(|event| matches!(event, JournalEvent::StepStarted { step: known, .. } if known == step))
}

/// Whether a record says that a step was applied, or undone.
fn announces(body: Option<&Object>, step: &StepId, applied: bool) -> bool {
    let Some((_, segment)) = body.and_then(segment_of) else { return false };
    segment.events.iter().any(|event| match event {
        JournalEvent::StepApplied { step: known, .. } => applied && known == step,
        JournalEvent::Undone { step: known, .. } => !applied && known == step,
        _ => false,
    })
}

/// Runs a deploy of the second version in the first environment of a stage under a drill.
pub fn drill(stage: &Arc<Stage>, drill: &Drill) -> Drilled {
    let scheduler = Scheduler::new();
    let drilled = play(stage, drill, &scheduler);
    scheduler.close();
    drilled
}

fn play(stage: &Arc<Stage>, drill: &Drill, scheduler: &Scheduler) -> Drilled {
    let (network, first, second) =
        (scheduler.join(1, 1_000_000), scheduler.join(2, 1_000_000), scheduler.join(3, 1_000_000));
    let place = Place::new(stage.world(), network, 1, Witness::new(Stage::secrets(), true));
    let who = first.participant();
    *lock(&place.armed) = Some(Armed {
        who,
        drill: drill.clone(),
        requests: 0,
        writes: 0,
        creates: 0,
        contested: false,
        delayed: None,
        busy: None,
        free: false,
        sprung: false,
        leased: false,
    });
    if drill.fenced {
        let environments = stage.environments.iter();
        place.fence(environments.map(|e| (&*e.environment.name, e.environment.namespace.as_str())));
    }
    let slow = drill.slow.iter().filter_map(|service| format!("slow {service}@{}", VERSIONS[1]).parse().ok());
    place.world().faults.extend(slow);
    *lock(&place.gates_fail) = drill.gates_fail;
    let result: Arc<Mutex<Option<Result<RunEnd, EnvironmentError>>>> = Arc::default();
    {
        let (stage, place, result, seat) =
            (Arc::clone(stage), Arc::clone(&place), Arc::clone(&result), first.clone());
        let squatted = drill.squatted;
        first.detach(async move {
            let Ok(version) = VERSIONS[1].parse::<Version>() else { return };
            let resolved = &stage.environments[0];
            let environment = environment(&place, &seat, resolved);
            let rendered = stage.rendered_of(&resolved.environment.name, VERSIONS[1]);
            let planned = planned(&environment, resolved, rendered, &version).await;
            if squatted {
                squat(&place, resolved);
            }
            let end = match planned {
                Ok(planned) => environment.run(planned, &RunOptions::new("first")).await,
                Err(error) => Err(error),
            };
            *lock(&result) = Some(end);
        });
    }
    let limit = Duration::from_secs(1_800);
    let sprung = || lock(&place.armed).as_ref().is_some_and(|armed| armed.sprung);
    let contested = || lock(&place.armed).as_ref().is_some_and(|armed| armed.contested);
    let mut chance = Chance::new(1);
    let mut drilled = Drilled::default();
    if !scheduler.run(&mut chance, limit, || sprung() || contested() || lock(&result).is_some()) {
        drilled.violations.push("the first process does not end".to_owned());
    }
    if contested() {
        let contest = contest(stage, &place, scheduler, &first, &second, &mut chance);
        drilled.violations.extend(contest);
        drilled.met = true;
        drilled.log = lock(&place.witness).log.take().unwrap_or_default();
        return drilled;
    }
    drilled.met = lock(&place.armed).as_ref().is_some_and(|armed| armed.delayed.is_some());
    drilled.died = sprung();
    drilled.requests = lock(&place.armed).as_ref().map(|armed| armed.requests).unwrap_or_default();
    if !drilled.died {
        match lock(&result).take() {
            Some(Ok(RunEnd::Over { outcome, .. })) => drilled.outcome = Some(outcome),
            Some(Ok(RunEnd::Stuck { .. })) => drilled.stuck = true,
            other => drilled.violations.push(format!("the first process ends with {other:?}")),
        }
    }
    if drill.straggler.is_some() && !drilled.died {
        // It lands after everything else.
        let landed = scheduler.now() + LANDED;
        scheduler.run(&mut chance, landed, || false);
    }
    if drilled.died || drilled.stuck {
        take_over(stage, &place, scheduler, &second, &mut chance, drill, &mut drilled);
    }
    judge(stage, &place, &mut drilled);
    drilled
}

fn take_over(
    stage: &Arc<Stage>,
    place: &Arc<Place>,
    scheduler: &Scheduler,
    second: &Seat,
    chance: &mut Chance,
    drill: &Drill,
    drilled: &mut Drilled,
) {
    type Taken = Result<Option<RunEnd>, EnvironmentError>;
    let result: Arc<Mutex<Option<Taken>>> = Arc::default();
    {
        let (stage, place, result, seat) =
            (Arc::clone(stage), Arc::clone(place), Arc::clone(&result), second.clone());
        let (back, pause) = (drill.back, drill.pause);
        second.detach(async move {
            seat.sleep(pause).await;
            let environment = environment(&place, &seat, &stage.environments[0]);
            let wish = if back { Wish::Abort } else { Wish::Resume };
            let end = environment.take_over(None, wish, &RunOptions::new("second")).await;
            // Whatever the dead process sent has landed by now.
            seat.sleep(LANDED).await;
            *lock(&result) = Some(end);
        });
    }
    scheduler.run(chance, Duration::from_secs(14_400), || lock(&result).is_some());
    match lock(&result).take() {
        Some(Ok(None)) => {}
        Some(Ok(Some(RunEnd::Over { outcome, .. }))) => drilled.outcome = Some(outcome),
        other => drilled.violations.push(format!("the takeover ends with {other:?}")),
    }
}

/// The world has to be the one that the outcome says.
fn judge(stage: &Arc<Stage>, place: &Arc<Place>, drilled: &mut Drilled) {
    let resolved = &stage.environments[0];
    let world = place.world();
    let found = content(&world, &resolved.environment.namespace);
    let jobs: Vec<&str> = world.of_kind("Job").into_iter().map(|job| job.name()).collect();
    for undo in jobs.iter().filter(|name| name.ends_with("-undo")) {
        if !jobs.contains(&undo.trim_end_matches("-undo")) {
            drilled.violations.push(format!("{undo} takes back what never ran"));
        }
    }
    // What ran forward was taken back, and what only looked is gone. Jobs of earlier runs stay.
    let old_world = stage.world();
    let earlier: Vec<&str> = old_world.of_kind("Job").into_iter().map(|job| job.name()).collect();
    let alone = jobs.iter().filter(|name| {
        !name.ends_with("-undo") && !earlier.contains(name) && !jobs.contains(&&*format!("{name}-undo"))
    });
    if matches!(drilled.outcome, Some(Outcome::RolledBack { .. })) {
        let alone = alone.map(|name| format!("{name} has outlived its run"));
        drilled.violations.extend(alone);
    }
    drop(world);
    let is = |version: &str| stage.content_of(&resolved.environment.name, version) == Some(&found);
    let (old, new) = (is(VERSIONS[0]), is(VERSIONS[1]));
    let fits = match &drilled.outcome {
        Some(Outcome::Succeeded { .. }) => new,
        Some(Outcome::RolledBack { .. } | Outcome::Cancelled { .. }) => old,
        // Nothing was on record, or everything was.
        None | Some(Outcome::Unchanged { .. }) => old || new,
        Some(Outcome::Stuck { .. }) => false,
    };
    if !fits {
        let state = if old {
            "old"
        } else if new {
            "new"
        } else {
            "mixed"
        };
        let back = matches!(drilled.outcome, Some(Outcome::RolledBack { .. } | Outcome::Cancelled { .. }));
        let wanted = stage.content_of(&resolved.environment.name, VERSIONS[usize::from(!back)]);
        let differences = differences(wanted.map_or(&[], Vec::as_slice), &found).join("; ");
        let outcome = &drilled.outcome;
        drilled.violations.push(format!("the world is {state}, the outcome {outcome:?}: {differences}"));
    }
    let mut witness = lock(&place.witness);
    drilled.violations.append(&mut witness.violations);
    drilled.verdicts = witness.verdicts;
    drilled.log = witness.log.take().unwrap_or_default();
    let unfinished: Vec<String> = witness.unfinished().into_iter().map(str::to_owned).collect();
    drilled.violations.extend(unfinished.into_iter().map(|run| format!("run {run} has no end")));
}

/// The steps of a stage's plan that change something, in order.
pub fn steps(stage: &Arc<Stage>) -> Vec<StepId> {
    let environment = &stage.environments[0];
    let name = &environment.environment.name;
    let rendered = stage.rendered_of(name, VERSIONS[1]);
    rendered.services.keys().map(|service| StepId::new(name, service, "rollout")).collect()
}
