//! The one place that runs steps and writes the journal.
//!
//! A single task: step futures side by side, at most one append under way, whatever becomes ready meanwhile in the
//! next segment together. The state is folded from the very events that are written, so that the journal and the
//! process never disagree; an effect starts only when the segment that announces it is durable.

mod conclude;
mod launch;
mod look;
mod lost;
mod story;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, OptionFuture},
    stream::FuturesUnordered,
};
use tokio_util::sync::CancellationToken;

use look::Look;

use super::{
    Direction, Epoch, Failure, ReleaseId, RunEnd, StepId, What,
    interrupt::{GRACE, UNANSWERED, paused},
    journal::{self, JournalError, JournalEvent, ReleaseHead},
    state::{Course, Next, RunState},
    wish::{LOOK_FOR_REQUESTS, forget_wish, who_asked},
};
use crate::{
    object::ObjectKey,
    planted::{Defect, is_planted},
    provider::RecordStore,
    runtime::Moment,
    steps::{Context, End, Halt, SERVES_WITHIN},
};

/// How long results wait for company before they are written alone.
const HOLD: Duration = Duration::from_millis(100);
/// How long an append, or the last look, is tried again while the cluster cannot be reached.
const APPEND_LIMIT: Duration = Duration::from_secs(120);

type StepFuture = BoxFuture<'static, (StepId, Direction, End)>;
type Append = BoxFuture<'static, (journal::Writer, Vec<JournalEvent>, Vec<Next>, Result<(), JournalError>)>;

pub(crate) struct Executor {
    pub(crate) context: Arc<Context>,
    pub(crate) state: RunState,
    pub(crate) records: Arc<dyn RecordStore>,
    pub(crate) release: ReleaseId,
    /// The release on top of which it is made.
    pub(crate) base: Option<ReleaseHead>,
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
    /// Whether the last look was taken.
    looked: bool,
    /// Workloads that the plan leaves as they are, and of which it is not known that they serve.
    aside: BTreeSet<ObjectKey>,
    /// Until when these are waited for.
    aside_until: Moment,
    /// What does not serve, or is gone, in the end.
    not_serving: Vec<Failure>,
    /// Whose wish to go back could not be granted.
    refused: Option<String>,
}

impl Executor {
    #[expect(clippy::too_many_arguments, reason = "made in one place, from what the run has just opened")]
    pub(crate) fn new(
        context: Arc<Context>,
        state: RunState,
        journal: journal::Writer,
        records: Arc<dyn RecordStore>,
        release: ReleaseId,
        base: Option<ReleaseHead>,
        aside: BTreeSet<ObjectKey>,
        cancel: CancellationToken,
        by: String,
    ) -> Self {
        // From now on: what is broken for good makes no long run longer.
        let aside_until = context.runtime.now() + SERVES_WITHIN;
        Self {
            context,
            state,
            records,
            release,
            base,
            cancel,
            by,
            journal: Some(journal),
            pending: Vec::new(),
            launches: Vec::new(),
            active: BTreeSet::new(),
            held: Vec::new(),
            resumed: BTreeSet::new(),
            running: FuturesUnordered::new(),
            looked: false,
            aside,
            aside_until,
            not_serving: Vec::new(),
            refused: None,
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
        if let Some(journal) = &mut self.journal {
            journal.begin(self.state.plan(), &events, until).await?;
        }
        self.committed(&events, launches);
        Ok(())
    }

    /// Turns the run back at a person's wish.
    pub(crate) fn turn(&mut self, by: String) {
        let may_turn = self.state.finished.is_none() && !self.state.past_return();
        if self.state.course == Course::Forward && may_turn {
            let why = Failure::new("aborted", format!("{by} asked to abort"));
            let at = Some(self.context.runtime.wall());
            self.push(JournalEvent::Turned { why, step: None, by, at });
            self.context.halt(Halt::Turn);
        }
    }

    /// Obeys a wish to go back, or takes it off the records: whoever asked sees there that it cannot be granted.
    fn heed(&mut self, by: String) -> BoxFuture<'static, Option<String>> {
        let forward = self.state.course == Course::Forward && self.state.finished.is_none();
        if !(forward && self.state.past_return()) {
            self.turn(by);
            return self.next_look();
        }
        if self.refused.as_ref() != Some(&by) {
            let why =
                format!("{by} asked to abort: a step that cannot be undone has begun, so that it goes on");
            self.context.tell(What::Waiting { why });
            self.refused = Some(by);
        }
        let (records, run, next) = (Arc::clone(&self.records), self.context.run.clone(), self.next_look());
        async move {
            // What fails here is tried again with the next look.
            let _ = forget_wish(&*records, &run).await;
            next.await
        }
        .boxed()
    }

    /// Runs until there is nothing more to do for this process; with the release where one was made.
    pub(crate) async fn run(mut self) -> Result<(RunEnd, Option<ReleaseHead>), JournalError> {
        let runtime = Arc::clone(&self.context.runtime);
        let mut append: OptionFuture<Append> = None.into();
        let mut appending = false;
        let mut hold: OptionFuture<BoxFuture<'static, ()>> = None.into();
        let mut holding = false;
        let mut requests = self.next_look();
        let mut interrupted = false;
        let mut grace: OptionFuture<BoxFuture<'static, ()>> = None.into();
        let mut look: OptionFuture<Look> = None.into();
        let mut looking = false;
        let mut end = None;
        let context = Arc::clone(&self.context);
        let lost = context.until_lost();
        futures::pin_mut!(lost);
        loop {
            if context.ordered() == Halt::Lost {
                return Err(self.lost());
            }
            if end.is_none() {
                self.schedule();
            }
            let resting = self.running.is_empty() && self.launches.is_empty() && !looking;
            // The steps may have heard of it before: then they have all stopped.
            let stopped = interrupted || self.cancel.is_cancelled();
            // A look changes nothing: it need not wait until what it follows is written down.
            if resting && end.is_none() && !stopped {
                let due = self.last_look();
                looking = due.is_some();
                look = due.into();
            }
            let idle = resting && !looking && !appending;
            if idle && end.is_none() {
                end = Some(self.conclude(stopped));
            }
            if idle
                && self.pending.is_empty()
                && let Some(end) = end
            {
                return Ok(end);
            }
            let urgent = self.pending.iter().any(|event| !matches!(event, JournalEvent::StepApplied { .. }));
            if !appending && !self.pending.is_empty() {
                // The end of the run, which the last look decides, goes with the results before it.
                if urgent || (self.running.is_empty() && !looking) {
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
                () = &mut lost => return Err(self.lost()),
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
                Some(seen) = &mut look, if looking => {
                    look = None.into();
                    looking = false;
                    end = self.looked(seen, interrupted);
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
                    return Ok((paused(&self.context, UNANSWERED), None));
                }
                wish = &mut requests => {
                    requests = match wish {
                        Some(by) => self.heed(by),
                        None => self.next_look(),
                    };
                }
            }
        }
    }

    fn lost(&self) -> JournalError {
        JournalError::NotHolder { epoch: self.epoch(), other: None }
    }

    /// Looks after a while whether somebody asked to abort the run, and who.
    fn next_look(&self) -> BoxFuture<'static, Option<String>> {
        let (context, records) = (Arc::clone(&self.context), Arc::clone(&self.records));
        async move {
            context.runtime.sleep(LOOK_FOR_REQUESTS).await;
            who_asked(&*records, &context.run).await.ok()?
        }
        .boxed()
    }

    /// Writes down an event and takes it into the state.
    fn push(&mut self, event: JournalEvent) {
        // Everything looks different on the way back.
        self.looked &= !matches!(event, JournalEvent::Turned { .. });
        self.state.fold(self.context.epoch, &event);
        self.pending.push(event);
    }

    fn append(&mut self) -> Append {
        let events = std::mem::take(&mut self.pending);
        let launches = std::mem::take(&mut self.launches);
        let until = self.context.runtime.now() + APPEND_LIMIT;
        let mut journal = self.journal.take().expect("no other append is under way");
        async move {
            let result = if is_planted(Defect::SegmentsOverlap) {
                journal.append_at_once(&events, until).await
            } else {
                journal.append(&events, until).await
            };
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
}
