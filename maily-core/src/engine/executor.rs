//! The one place that runs steps and writes the journal.
//!
//! A single task: step futures side by side, at most one append under way, whatever becomes ready meanwhile in the
//! next segment together. The state is folded from the very events that are written, so that the journal and the
//! process never disagree; an effect starts only when the segment that announces it is durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, OptionFuture},
    stream::FuturesUnordered,
};
use tokio_util::sync::CancellationToken;

use super::{
    Direction, Epoch, Failure, Outcome, ReleaseId, StepId, StepInfo, Stuck, What,
    journal::{self, JournalError, JournalEvent, ReleaseHead},
    state::{Conclusion, Course, Next, RunState},
};
use crate::{
    planted::{Defect, is_planted},
    provider::RecordStore,
    steps::{self, Context, End, Halt, Past},
};

/// How long results wait for company before they are written alone.
const HOLD: Duration = Duration::from_millis(100);
/// How long an append is tried again while the records cannot be reached.
const APPEND_LIMIT: Duration = Duration::from_secs(120);
/// So long an interrupted run waits for answers. What is under way then is as after a crash, which a resume knows.
const GRACE: Duration = Duration::from_millis(800);
/// Time between looks for a request to abort.
const LOOK_FOR_REQUESTS: Duration = Duration::from_secs(3);

/// How a process ended its work on a run.
#[derive(Debug)]
pub(crate) enum Finish {
    /// The run is over.
    Over(Outcome, Option<Box<ReleaseHead>>),
    /// The run goes on when somebody resumes it.
    Paused(String),
    /// The run goes on when a person has mended something.
    Stuck(Vec<Stuck>),
}

type StepFuture = BoxFuture<'static, (StepId, Direction, End)>;
type Append = BoxFuture<'static, (journal::Writer, Vec<JournalEvent>, Vec<Next>, Result<(), JournalError>)>;

pub(crate) struct Executor {
    pub(crate) context: Arc<Context>,
    pub(crate) state: RunState,
    pub(crate) records: Arc<dyn RecordStore>,
    pub(crate) release: ReleaseId,
    pub(crate) frontends: BTreeMap<String, String>,
    pub(crate) cancel: CancellationToken,
    pub(crate) by: String,
    journal: Option<journal::Writer>,
    pending: Vec<JournalEvent>,
    launches: Vec<Next>,
    /// Steps that were announced and have not ended.
    active: BTreeSet<StepId>,
    /// Steps that a former process had begun, and that wait until gates were taken again.
    held: Vec<Next>,
    /// Steps that a former process may have calls of on their way.
    resumed: BTreeSet<StepId>,
    running: FuturesUnordered<StepFuture>,
}

impl Executor {
    #[expect(clippy::too_many_arguments, reason = "made in one place, from what the run has just opened")]
    pub(crate) fn new(
        context: Arc<Context>,
        state: RunState,
        journal: journal::Writer,
        records: Arc<dyn RecordStore>,
        release: ReleaseId,
        frontends: BTreeMap<String, String>,
        cancel: CancellationToken,
        by: String,
    ) -> Self {
        Self {
            context,
            state,
            records,
            release,
            frontends,
            cancel,
            by,
            journal: Some(journal),
            pending: Vec::new(),
            launches: Vec::new(),
            active: BTreeSet::new(),
            held: Vec::new(),
            resumed: BTreeSet::new(),
            running: FuturesUnordered::new(),
        }
    }

    fn epoch(&self) -> Epoch {
        self.context.epoch
    }

    /// Begins a new run: the first segment carries the plan and what can start at once.
    pub(crate) async fn begin(&mut self, first: JournalEvent) -> Result<(), JournalError> {
        self.push(first);
        self.schedule();
        let events = std::mem::take(&mut self.pending);
        let launches = std::mem::take(&mut self.launches);
        let until = self.context.runtime.now() + APPEND_LIMIT;
        let plan = self.state.plan().clone();
        if let Some(journal) = &mut self.journal {
            journal.begin(&plan, events.clone(), until).await?;
        }
        self.committed(&events, launches);
        Ok(())
    }

    /// Goes on with steps that a former process had begun, after gates whose verdict is old were taken again.
    pub(crate) fn carry_on(&mut self) {
        self.resumed = self.state.open().into_iter().map(|step| step.id.clone()).collect();
        self.held = self.state.interrupted();
        let at = self.context.runtime.wall();
        for gate in self.state.outdated_gates(at) {
            self.resumed.insert(gate.clone());
            self.active.insert(gate.clone());
            self.push(JournalEvent::StepStarted { step: gate.clone(), at });
            self.launches.push(Next::Start(gate));
        }
    }

    /// Lets held steps go on once nothing is in their way.
    fn let_go(&mut self) {
        if self.state.takes_gates_again() && self.state.course == Course::Forward {
            return;
        }
        for next in std::mem::take(&mut self.held) {
            // After a turn what goes forward is undone instead.
            if matches!(next, Next::Undo(_)) || self.state.course == Course::Forward {
                self.launch(next);
            }
        }
    }

    /// Turns the run back at a person's wish.
    pub(crate) fn turn(&mut self, why: Failure) {
        let may_turn = self.state.finished.is_none() && !self.state.past_return();
        if self.state.course == Course::Forward && may_turn {
            self.push(JournalEvent::Turned { why, step: None, by: self.by.clone() });
            self.context.halt(Halt::Turn);
        }
    }

    /// Runs until there is nothing more to do for this process.
    pub(crate) async fn run(mut self) -> Result<Finish, JournalError> {
        let runtime = Arc::clone(&self.context.runtime);
        let mut append: OptionFuture<Append> = None.into();
        let mut appending = false;
        let mut hold: OptionFuture<BoxFuture<'static, ()>> = None.into();
        let mut holding = false;
        let mut requests = self.next_look();
        let mut interrupted = false;
        let mut grace: OptionFuture<BoxFuture<'static, ()>> = None.into();
        let mut finish = None;
        loop {
            if self.context.ordered() == Halt::Lost {
                return Err(self.lost());
            }
            if finish.is_none() {
                self.schedule();
            }
            let idle = self.running.is_empty() && self.launches.is_empty() && !appending;
            if idle && finish.is_none() {
                finish = Some(self.conclude(interrupted));
            }
            if idle
                && self.pending.is_empty()
                && let Some(finish) = finish
            {
                return Ok(finish);
            }
            let urgent = self.pending.iter().any(|event| !matches!(event, JournalEvent::StepApplied { .. }));
            if !appending && !self.pending.is_empty() {
                if urgent || self.running.is_empty() {
                    append = Some(self.append()).into();
                    appending = true;
                    holding = false;
                } else if !holding {
                    let runtime = Arc::clone(&runtime);
                    hold = Some(async move { runtime.sleep(HOLD).await }.boxed()).into();
                    holding = true;
                }
            }
            tokio::select! {
                biased;
                Some((journal, events, launches, result)) = &mut append, if appending => {
                    append = None.into();
                    appending = false;
                    self.journal = Some(journal);
                    match result {
                        Ok(()) => self.committed(&events, launches),
                        Err(JournalError::Store(_)) if is_planted(Defect::JournalFailureIgnored) => {
                            self.committed(&events, launches);
                        }
                        // Without a journal nothing more may be done.
                        Err(error) => {
                            self.context.halt(Halt::Lost);
                            return Err(error);
                        }
                    }
                }
                Some((step, direction, end)) = self.running.next(), if !self.running.is_empty() => {
                    self.ended(&step, direction, end);
                }
                Some(()) = &mut hold, if holding && !appending => {
                    hold = None.into();
                    holding = false;
                    if !self.pending.is_empty() {
                        append = Some(self.append()).into();
                        appending = true;
                    }
                }
                () = self.cancel.cancelled(), if !interrupted => {
                    interrupted = true;
                    self.context.halt(Halt::Interrupt);
                    let runtime = Arc::clone(&runtime);
                    grace = Some(async move { runtime.sleep(GRACE).await }.boxed()).into();
                }
                Some(()) = &mut grace, if interrupted => {
                    let why = "interrupted before every call had its answer".to_owned();
                    return Ok(Finish::Paused(why));
                }
                wish = &mut requests => {
                    if let Some(why) = wish {
                        self.turn(why);
                    }
                    requests = self.next_look();
                }
            }
        }
    }

    fn lost(&self) -> JournalError {
        JournalError::NotHolder { epoch: self.epoch(), other: None }
    }

    /// Looks after a while whether somebody asked to abort the run.
    fn next_look(&self) -> BoxFuture<'static, Option<Failure>> {
        let (context, records) = (Arc::clone(&self.context), Arc::clone(&self.records));
        async move {
            context.runtime.sleep(LOOK_FOR_REQUESTS).await;
            let bytes = records.get(&abort_key(&context.run)).await.ok()??;
            let by: String = journal::unpack("abort", &bytes).ok()?;
            Some(Failure::new("aborted", format!("{by} asked to abort")))
        }
        .boxed()
    }

    /// Writes down an event and takes it into the state.
    fn push(&mut self, event: JournalEvent) {
        self.state.fold(self.context.epoch, &event);
        self.pending.push(event);
    }

    /// Announces everything that may begin now.
    fn schedule(&mut self) {
        let order = self.context.ordered();
        if order >= Halt::Interrupt {
            return;
        }
        self.let_go();
        let at = self.context.runtime.wall();
        for next in self.state.ready() {
            let (Next::Start(step) | Next::Undo(step)) = &next;
            // From its announcement on: a step whose beginning is still being written down is not undone beside it.
            if !self.active.insert(step.clone()) {
                continue;
            }
            self.push(match &next {
                Next::Start(step) => JournalEvent::StepStarted { step: step.clone(), at },
                Next::Undo(step) => JournalEvent::UndoStarted { step: step.clone() },
            });
            if is_planted(Defect::EffectBeforeJournal) {
                self.launch(next);
            } else {
                self.launches.push(next);
            }
        }
    }

    fn append(&mut self) -> Append {
        let events = std::mem::take(&mut self.pending);
        let launches = std::mem::take(&mut self.launches);
        let until = self.context.runtime.now() + APPEND_LIMIT;
        let mut journal = self.journal.take().expect("no other append is under way");
        async move {
            let result = journal.append(events.clone(), until).await;
            (journal, events, launches, result)
        }
        .boxed()
    }

    /// The segment is durable: tell, and let the effects begin.
    fn committed(&mut self, events: &[JournalEvent], launches: Vec<Next>) {
        for event in events {
            if let Some(what) = self.story(event) {
                self.context.tell(what);
            }
        }
        for next in launches {
            self.launch(next);
        }
    }

    fn launch(&mut self, next: Next) {
        let (id, direction) = match next {
            Next::Start(id) => (id, Direction::Forward),
            Next::Undo(id) => (id, Direction::Back),
        };
        let (Some(step), Some(state)) = (self.state.step(&id).cloned(), self.state.of(&id)) else { return };
        let past = match direction {
            Direction::Back if !state.may_have_effect => Past::Nothing,
            _ if self.resumed.contains(&id) => Past::Unknown,
            Direction::Back => Past::Known,
            Direction::Forward => Past::Nothing,
        };
        if is_planted(Defect::AppliedBeforeEffect) && direction == Direction::Forward {
            let (step, at) = (id.clone(), self.context.runtime.wall());
            self.push(JournalEvent::StepApplied { step, result: state.result.clone(), at });
        }
        let context = Arc::clone(&self.context);
        self.active.insert(id.clone());
        self.running.push(
            async move {
                let end = steps::execute(&context, &step, direction, past).await;
                (id, direction, end)
            }
            .boxed(),
        );
    }

    fn ended(&mut self, id: &StepId, direction: Direction, end: End) {
        self.active.remove(id);
        let at = self.context.runtime.wall();
        let step = id.clone();
        if let Some((verdict, evidence)) = self.context.take_decision(id) {
            let by = self.by.clone();
            self.push(JournalEvent::GateDecided { step: step.clone(), verdict, evidence, by, at });
        }
        match (direction, end) {
            (_, End::Halted) => {}
            (Direction::Forward, End::Done(_)) if is_planted(Defect::AppliedBeforeEffect) => {}
            (Direction::Forward, End::Done(result)) => {
                self.push(JournalEvent::StepApplied { step, result, at });
            }
            (Direction::Forward, End::Failed(failure, result)) => {
                let why = (*failure).clone();
                self.push(JournalEvent::StepFailed { step: step.clone(), failure: *failure, result, at });
                if self.state.course == Course::Forward && !self.state.past_return() {
                    self.push(JournalEvent::Turned { why, step: Some(step), by: "maily".to_owned() });
                    self.context.halt(Halt::Turn);
                }
            }
            (Direction::Back, End::Done(_)) => self.push(JournalEvent::Undone { step, at }),
            (Direction::Back, End::Failed(failure, _)) => {
                let remedy = remedy(&failure);
                self.push(JournalEvent::UndoFailed { step, failure: *failure, remedy });
            }
        }
    }

    /// Nothing runs and nothing is ready.
    fn conclude(&mut self, interrupted: bool) -> Finish {
        let at = self.context.runtime.wall();
        match self.state.conclusion() {
            Conclusion::Succeeded => {
                let head = self.release_head(at);
                let outcome = Outcome::Succeeded { release: head.id };
                let release = Some(head.clone());
                self.push(JournalEvent::RunFinished { outcome: outcome.clone(), release, at });
                Finish::Over(outcome, Some(Box::new(head)))
            }
            Conclusion::RolledBack { step, why } => {
                let outcome = Outcome::RolledBack { step, why };
                self.push(JournalEvent::RunFinished { outcome: outcome.clone(), release: None, at });
                Finish::Over(outcome, None)
            }
            Conclusion::Stuck(items) => {
                let why = items.first().map(|item| item.why.message.clone()).unwrap_or_default();
                self.push(JournalEvent::Paused { why });
                Finish::Stuck(items)
            }
            Conclusion::Unfinished => {
                let otherwise = if interrupted { "interrupted" } else { "stopped" };
                let why = self.context.why_unfenced().unwrap_or_else(|| otherwise.to_owned());
                self.push(JournalEvent::Paused { why: why.clone() });
                Finish::Paused(why)
            }
        }
    }

    fn release_head(&self, at: jiff::Timestamp) -> ReleaseHead {
        let plan = self.state.plan();
        let mut head = ReleaseHead {
            id: self.release,
            versions: plan.versions.clone(),
            title: plan.goal.title(),
            fingerprints: BTreeMap::new(),
            frontends: self.frontends.clone(),
            at,
        };
        head.frontends.retain(|service, _| plan.versions.contains_key(service));
        for kept in &plan.unchanged {
            head.fingerprints.insert(kept.desired.key().to_string(), kept.fingerprint.clone());
        }
        for step in &plan.steps {
            let Some(state) = self.state.of(&step.id) else { continue };
            for (key, written) in &state.result.written {
                if written.uid.is_some() {
                    head.fingerprints.insert(key.clone(), written.released.clone());
                }
            }
            if let (Some(service), Some(artefact)) = (&step.service, &state.result.artefact) {
                head.frontends.insert(service.clone(), artefact.clone());
            }
        }
        head
    }

    /// What a journal entry is to a listener.
    fn story(&self, event: &JournalEvent) -> Option<What> {
        Some(match event {
            JournalEvent::RunStarted { .. } => {
                let plan = self.state.plan();
                What::RunStarted {
                    title: plan.goal.title(),
                    epoch: self.epoch(),
                    versions: plan.versions.clone(),
                    steps: plan
                        .steps
                        .iter()
                        .map(|step| StepInfo {
                            id: step.id.clone(),
                            kind: step.work.kind().to_owned(),
                            service: step.service.clone(),
                            phase: step.phase.clone(),
                            needs: step.needs.iter().cloned().collect(),
                        })
                        .collect(),
                }
            }
            JournalEvent::EpochClaimed { epoch, by, .. } => What::Resumed { epoch: *epoch, by: by.clone() },
            JournalEvent::StepStarted { step, .. } => What::StepStarted { step: step.clone() },
            JournalEvent::StepApplied { step, at, .. } => {
                What::StepApplied { step: step.clone(), took_ms: self.took(step, *at) }
            }
            JournalEvent::StepFailed { step, failure, .. } => {
                What::StepFailed { step: step.clone(), failure: failure.clone() }
            }
            JournalEvent::Turned { why, step, .. } => What::Turned { why: why.clone(), step: step.clone() },
            JournalEvent::UndoStarted { step } => What::UndoStarted { step: step.clone() },
            JournalEvent::Undone { step, .. } => What::Undone { step: step.clone() },
            JournalEvent::UndoFailed { step, failure, .. } => {
                What::UndoFailed { step: step.clone(), failure: failure.clone() }
            }
            JournalEvent::GateDecided { step, verdict, evidence, .. } => {
                What::GateDecided { step: step.clone(), verdict: verdict.clone(), evidence: evidence.clone() }
            }
            JournalEvent::Paused { why } => What::Paused { why: why.clone() },
            JournalEvent::RunFinished { outcome, release, .. } => What::RunFinished {
                outcome: outcome.clone(),
                release: release.as_ref().map(|release| release.id),
            },
        })
    }

    fn took(&self, step: &StepId, at: jiff::Timestamp) -> u64 {
        let started = self.state.of(step).and_then(|state| state.started_at);
        started
            .and_then(|started| u64::try_from(at.duration_since(started).as_millis()).ok())
            .unwrap_or_default()
    }

    /// Tells again what an earlier process of the run did.
    pub(crate) fn replay(&self, events: &[JournalEvent]) {
        for event in events {
            if let Some(what) = self.story(event) {
                self.context.tell_again(what, !is_planted(Defect::ReplayUnmarked));
            }
        }
    }
}

/// Key of the record that asks the holder of a run to turn back.
pub(crate) fn abort_key(run: &super::RunId) -> String {
    format!("request/{run}/abort")
}

fn remedy(failure: &Failure) -> String {
    match failure.cause.as_str() {
        "changed" => "decide which state is right: put the object back and `mailyctl resume`, or \
                      `mailyctl abort --leave` to end the run with the object as it is"
            .to_owned(),
        _ => "mend the cause, then `mailyctl resume`".to_owned(),
    }
}
