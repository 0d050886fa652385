//! One thread, one seed, virtual time: who runs next, and when.
//!
//! Every task belongs to a participant. A participant has a clock of its own, can be halted (his tasks rest while time
//! and his requests go on) and can be killed (his tasks are gone). Among the tasks that can go on, chance chooses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::SignedDuration;
use maily_core::runtime::{Abort, Moment, Runtime, Task};

use super::chance::Chance;

/// Start of the simulated calendar: 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600;
const MILLION: u128 = 1_000_000;
/// So many turns at one moment of time are a circle.
const BUSY: u32 = 1_000_000;

/// Who owns a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Participant(usize);

impl fmt::Display for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How a participant's clock goes.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Local microseconds that pass in a second of true time.
    rate: u64,
    local: Duration,
    since: Duration,
}

impl Clock {
    fn read(&self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.since).as_nanos() * u128::from(self.rate) / MILLION;
        self.local + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// True time at which the clock will show a reading; rounded up, as timers are, so that the reading is there then.
    fn when(&self, reading: Duration) -> Duration {
        let left = reading.saturating_sub(self.local).as_nanos() * MILLION / u128::from(self.rate.max(1));
        self.since + Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)) + Duration::from_micros(1)
    }

    fn set(&mut self, now: Duration, rate: u64) {
        *self = Self { rate, local: self.read(now), since: now };
    }
}

#[derive(Debug)]
struct Member {
    /// Nobody sets it: it goes fast or slow, and it goes on while its machine sleeps.
    clock: Clock,
    /// How far the time of day is off. People set it.
    calendar: SignedDuration,
    halted: bool,
    alive: bool,
    chance: Chance,
}

struct Timer {
    owner: Participant,
    due: Duration,
    /// What the owner's clock shows then.
    reading: Duration,
    waker: Waker,
}

#[derive(Default)]
struct Core {
    now: Duration,
    members: Vec<Member>,
    timers: BTreeMap<u64, Timer>,
    due: BTreeSet<(Duration, u64)>,
    spawned: Vec<(u64, Participant, BoxFuture<'static, ()>)>,
    /// Tasks that have not ended, while nobody runs them, and those that could go on but are halted.
    resting: (BTreeMap<u64, Slot>, Vec<u64>),
    gone: Vec<u64>,
    /// Somebody died whose tasks are still there.
    died: bool,
    next: u64,
}

impl Core {
    /// Computes anew when a participant's timers are due; `later` is what his clock shows more by then.
    fn retime(&mut self, owner: Participant, later: Duration) {
        let (now, Some(clock)) = (self.now, self.members.get(owner.0).map(|member| member.clock)) else {
            return;
        };
        for (id, timer) in self.timers.iter_mut().filter(|(_, timer)| timer.owner == owner) {
            self.due.remove(&(timer.due, *id));
            timer.reading += later;
            timer.due = clock.when(timer.reading).max(now);
            self.due.insert((timer.due, *id));
        }
    }
}

/// Tasks that can go on.
#[derive(Default)]
struct Ready(Mutex<(Vec<u64>, BTreeSet<u64>)>);

impl Ready {
    fn add(&self, task: u64) {
        let mut ready = lock(&self.0);
        if ready.1.insert(task) {
            ready.0.push(task);
        }
    }
}

struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.add(self.task);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.add(self.task);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handle on the scheduler.
#[derive(Clone)]
pub struct Scheduler {
    core: Arc<Mutex<Core>>,
    ready: Arc<Ready>,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("now", &self.now()).finish_non_exhaustive()
    }
}

struct Slot {
    owner: Participant,
    future: BoxFuture<'static, ()>,
    waker: Waker,
}

impl Scheduler {
    /// A scheduler at time zero.
    pub fn new() -> Self {
        Self { core: Arc::default(), ready: Arc::default() }
    }

    /// True time since the start.
    pub fn now(&self) -> Duration {
        lock(&self.core).now
    }

    /// A participant whose clock passes `rate` microseconds in a second of true time.
    pub fn join(&self, seed: u64, rate: u64) -> Seat {
        let mut core = lock(&self.core);
        let participant = Participant(core.members.len());
        let clock = Clock { rate: rate.max(1), local: core.now, since: core.now };
        let (calendar, chance) = (SignedDuration::ZERO, Chance::new(seed));
        core.members.push(Member { clock, calendar, halted: false, alive: true, chance });
        Seat { scheduler: self.clone(), participant }
    }

    /// Ends all tasks of a participant at once.
    pub fn kill(&self, participant: Participant) {
        let mut core = lock(&self.core);
        if let Some(member) = core.members.get_mut(participant.0) {
            member.alive = false;
            core.died = true;
        }
    }

    /// Halts a participant, or lets him go on.
    pub fn halt(&self, participant: Participant, halted: bool) {
        if let Some(member) = lock(&self.core).members.get_mut(participant.0) {
            member.halted = halted;
        }
    }

    /// Halts a participant whose machine sleeps for a time: his clock goes on, and what he sleeps for takes as much
    /// longer, because timers rest with the machine. Who wakes him is whoever let him sleep.
    pub fn suspend(&self, participant: Participant, time: Duration) {
        let mut core = lock(&self.core);
        let now = core.now;
        let Some(member) = core.members.get_mut(participant.0) else { return };
        member.halted = true;
        let slept = member.clock.read(now + time).saturating_sub(member.clock.read(now));
        core.retime(participant, slept);
    }

    /// Sets how fast a participant's clock goes from now on, in parts of a million.
    pub fn wind(&self, participant: Participant, rate: u64) {
        let mut core = lock(&self.core);
        let now = core.now;
        let Some(member) = core.members.get_mut(participant.0) else { return };
        member.clock.set(now, rate.max(1));
        core.retime(participant, Duration::ZERO);
    }

    /// Sets a participant's time of day, forward or back.
    pub fn set_calendar(&self, participant: Participant, by: SignedDuration) {
        if let Some(member) = lock(&self.core).members.get_mut(participant.0) {
            member.calendar += by;
        }
    }

    fn spawn(&self, owner: Participant, future: BoxFuture<'static, ()>) -> u64 {
        let mut core = lock(&self.core);
        let id = core.next;
        core.next += 1;
        core.spawned.push((id, owner, future));
        // The dead begin nothing.
        core.died |= core.members.get(owner.0).is_some_and(|member| !member.alive);
        id
    }

    /// Runs everybody's tasks until `stop` says so, nothing can happen any more, or the time is up. Tells whether
    /// `stop` said so. The next call goes on where this one left off.
    pub fn run(&self, chance: &mut Chance, limit: Duration, stop: impl Fn() -> bool) -> bool {
        let (mut tasks, mut held) = std::mem::take(&mut lock(&self.core).resting);
        let mut busy = 0;
        let stopped = loop {
            self.settle(&mut tasks, &mut held);
            if stop() {
                break true;
            }
            match self.choose(chance, &tasks, &mut held) {
                // Somebody turns in circles.
                Some(_) if busy > BUSY => break false,
                Some(task) => {
                    busy += 1;
                    if let Some(slot) = tasks.get_mut(&task) {
                        let mut context = Context::from_waker(&slot.waker);
                        if slot.future.as_mut().poll(&mut context).is_ready() {
                            tasks.remove(&task);
                        }
                    }
                }
                None => {
                    busy = 0;
                    if !self.pass_time(limit) {
                        break false;
                    }
                }
            }
        };
        lock(&self.core).resting = (tasks, held);
        stopped
    }

    /// Ends all tasks of everybody: tasks know their scheduler, so that neither would ever go by itself.
    pub fn close(&self) {
        let (resting, spawned) = {
            let mut core = lock(&self.core);
            (std::mem::take(&mut core.resting), std::mem::take(&mut core.spawned))
        };
        drop((resting, spawned));
        // Whoever ends may have begun something.
        lock(&self.core).spawned.clear();
    }

    /// Takes in new tasks, and lets those of the dead go.
    fn settle(&self, tasks: &mut BTreeMap<u64, Slot>, held: &mut Vec<u64>) {
        let (spawned, gone, died) = {
            let mut core = lock(&self.core);
            let died = std::mem::take(&mut core.died);
            (std::mem::take(&mut core.spawned), std::mem::take(&mut core.gone), died)
        };
        for (id, owner, future) in spawned {
            let waker = Waker::from(Arc::new(TaskWaker { task: id, ready: Arc::clone(&self.ready) }));
            tasks.insert(id, Slot { owner, future, waker });
            self.ready.add(id);
        }
        for id in gone {
            tasks.remove(&id);
        }
        if died {
            let alive: Vec<bool> = lock(&self.core).members.iter().map(|member| member.alive).collect();
            tasks.retain(|_, slot| alive[slot.owner.0]);
        }
        if !held.is_empty() {
            let core = lock(&self.core);
            held.retain(|id| match tasks.get(id) {
                Some(slot) if core.members[slot.owner.0].halted => true,
                Some(_) => {
                    self.ready.add(*id);
                    false
                }
                None => false,
            });
        }
    }

    fn choose(&self, chance: &mut Chance, tasks: &BTreeMap<u64, Slot>, held: &mut Vec<u64>) -> Option<u64> {
        loop {
            let task = {
                let mut ready = lock(&self.ready.0);
                let count = u64::try_from(ready.0.len()).unwrap_or_default();
                if count == 0 {
                    return None;
                }
                let index = usize::try_from(chance.below(count)).unwrap_or_default();
                let task = ready.0.swap_remove(index);
                ready.1.remove(&task);
                task
            };
            let Some(slot) = tasks.get(&task) else { continue };
            if lock(&self.core).members[slot.owner.0].halted {
                held.push(task);
                continue;
            }
            return Some(task);
        }
    }

    fn pass_time(&self, limit: Duration) -> bool {
        let mut core = lock(&self.core);
        let Some((due, id)) = core.due.first().copied() else { return false };
        if due > limit {
            return false;
        }
        core.due.remove(&(due, id));
        core.now = core.now.max(due);
        if let Some(timer) = core.timers.remove(&id) {
            drop(core);
            timer.waker.wake();
        }
        true
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}

/// A participant with his clock, chance and tasks.
#[derive(Clone, Debug)]
pub struct Seat {
    scheduler: Scheduler,
    participant: Participant,
}

impl Seat {
    /// Who it is.
    pub fn participant(&self) -> Participant {
        self.participant
    }

    /// The scheduler that he belongs to.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Lets others go first; who is halted meanwhile goes on when he is let.
    pub async fn step_back(&self) {
        let mut stepped = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut stepped, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Runs a future as one of this participant's tasks to its own end.
    pub fn detach(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.scheduler.spawn(self.participant, Box::pin(future));
    }
}

#[async_trait]
impl Runtime for Seat {
    fn now(&self) -> Moment {
        let core = lock(&self.scheduler.core);
        Moment::at(core.members[self.participant.0].clock.read(core.now))
    }

    fn wall(&self) -> jiff::Timestamp {
        let start = jiff::Timestamp::from_second(START).unwrap_or_default();
        let off = lock(&self.scheduler.core).members[self.participant.0].calendar;
        start + off + SignedDuration::try_from(self.now().since_start()).unwrap_or(SignedDuration::ZERO)
    }

    async fn sleep(&self, duration: Duration) {
        Sleep { member: self, duration, timer: None }.await;
    }

    fn random(&self) -> u64 {
        lock(&self.scheduler.core).members[self.participant.0].chance.draw()
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        let id = self.scheduler.spawn(self.participant, future);
        Task::new(Handle { scheduler: self.scheduler.clone(), id })
    }
}

#[derive(Debug)]
struct Handle {
    scheduler: Scheduler,
    id: u64,
}

impl Abort for Handle {
    fn abort(&self) {
        lock(&self.scheduler.core).gone.push(self.id);
    }
}

struct Sleep<'a> {
    member: &'a Seat,
    duration: Duration,
    timer: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut guard = lock(&this.member.scheduler.core);
        let core = &mut *guard;
        match this.timer {
            Some(id) => match core.timers.get_mut(&id) {
                Some(timer) => {
                    timer.waker.clone_from(context.waker());
                    Poll::Pending
                }
                None => Poll::Ready(()),
            },
            None => {
                let id = core.next;
                core.next += 1;
                let owner = this.member.participant;
                let clock = core.members[owner.0].clock;
                let reading = clock.read(core.now) + this.duration;
                let due = clock.when(reading).max(core.now);
                core.timers.insert(id, Timer { owner, due, reading, waker: context.waker().clone() });
                core.due.insert((due, id));
                this.timer = Some(id);
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.timer {
            let mut core = lock(&self.member.scheduler.core);
            if let Some(timer) = core.timers.remove(&id) {
                core.due.remove(&(timer.due, id));
            }
        }
    }
}
