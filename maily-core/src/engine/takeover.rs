//! Going on with a run of another process: forward, or back.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;

use super::{
    Direction, Environment, EnvironmentError, Epoch, Lease, Outcome, RunEnd, RunId, RunOptions, Sealer, Step,
    StepId, Storage, What, epoch,
    executor::Executor,
    fence::Gate,
    history::{Head, Unfinished},
    hold::Hold,
    interrupt::{UNANSWERED, paused, unless_cancelled, with_grace},
    journal::{self, JournalEvent, Recorded, ReleaseHead},
    patience::patiently,
    state::{Course, Progress, RunState},
    wish::{Wish, forget_wish, who_and_why, who_asked},
};
use crate::{
    planted::{Defect, is_planted},
    provider::Effect,
    steps::{Context, Halt, Trouble, left_alone, stamp, stamp_pods},
};

/// How long the records may be out of reach.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run that was claimed.
enum Taken {
    /// It has ended.
    Over(Box<RunEnd>),
    /// There is more to do.
    Open(Box<Open>),
}

/// What going on with a run needs.
struct Open {
    epoch: Epoch,
    gate: Option<Gate>,
    writer: journal::Writer,
    /// What its processes have written down.
    events: Vec<(Epoch, JournalEvent)>,
    state: RunState,
    aim: Aim,
    sealer: Sealer,
}

/// What is to become of it.
#[derive(PartialEq)]
enum Aim {
    /// It goes on as it went.
    GoOn,
    /// It turns now, at somebody's wish.
    Turn(String),
    /// It ends with everything as it is.
    Leave,
}

impl Environment {
    /// Takes an unfinished run over. `None` where there is none.
    ///
    /// Without a time to wait, going on waits as long as a lease may take to run out; going back as long as a holder that
    /// lives goes back itself.
    ///
    /// # Errors
    /// When another process holds it, or it was lost on the way; [`EnvironmentError::Interrupted`] where nothing was done
    /// yet. A wish to abort that is on record stays there: [`EnvironmentError::Asked`].
    pub async fn take_over(
        &self,
        only: Option<&RunId>,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<Option<RunEnd>, EnvironmentError> {
        let nameless = RunId::from("-");
        let heard = self.heard(&options.listener, only.unwrap_or(&nameless));
        let Some(run) = options.before_any_change(heard.open_run(only)).await? else { return Ok(None) };
        let heard = self.heard(&options.listener, &run);
        if wish == Wish::Abort {
            let asked = options.before_any_change(heard.ask_to_abort(&run, options)).await;
            // Without an answer it may be on its way, or be there.
            let may_stand = |error: &EnvironmentError| match error {
                EnvironmentError::Provider(error) => {
                    error.is_transient() || error.effect() == Effect::Unknown
                }
                error => matches!(error, EnvironmentError::Interrupted),
            };
            asked.map_err(|error| if may_stand(&error) { self.asked(&run, error, false) } else { error })?;
        }
        let mut lease = None;
        let end = heard.in_turn(&run, &mut lease, wish, options).await;
        // Whatever was not handed on to a run is given back, also after an error: nobody has to wait for it to run out.
        heard.give_back(&mut lease, options).await;
        end.map_err(|error| match error {
            // The wish was refused, came too late, or is in the hands of somebody else.
            EnvironmentError::NoReturn(_)
            | EnvironmentError::TooLate { .. }
            | EnvironmentError::Journal(journal::JournalError::NotHolder { .. }) => error,
            error if wish == Wish::Abort => self.asked(&run, error, true),
            error => error,
        })
    }

    /// Why an abort has failed, of which the wish is on record, or may be: whoever takes the run over goes back.
    fn asked(&self, run: &RunId, because: EnvironmentError, stands: bool) -> EnvironmentError {
        let environment = self.name.clone();
        EnvironmentError::Asked { environment, run: run.clone(), stands, because: Box::new(because) }
    }

    /// The run that has not ended, where it is the one that is meant.
    async fn open_run(&self, only: Option<&RunId>) -> Result<Option<RunId>, EnvironmentError> {
        self.check().await?;
        let unfinished = self.head_to_end().await?.unfinished;
        // Before anything is asked of it: a wish stays on record.
        if let Some(plan) = unfinished.as_ref().and_then(|unfinished| unfinished.recorded.plan.as_ref()) {
            self.is_of(&plan.project)?;
        }
        let open = unfinished.map(|unfinished| unfinished.recorded.run);
        if let Some(only) = only.filter(|only| open.as_ref() != Some(only)) {
            let known = patiently(&*self.runtime, || journal::read(&*self.records, only).boxed()).await?;
            return if known.is_some() { Ok(None) } else { Err(EnvironmentError::NoRun(only.clone())) };
        }
        Ok(open)
    }

    async fn in_turn(
        &self,
        run: &RunId,
        lease: &mut Option<Lease>,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<Option<RunEnd>, EnvironmentError> {
        *lease = options.before_any_change(self.lease_of_former(run, wish, options)).await?;
        if lease.is_none() {
            return self.ended(run, wish, options).await;
        }
        // The holder may have ended it while we waited for our turn.
        let head = options.before_any_change(self.head_to_end()).await?;
        let Some(unfinished) = head.unfinished.clone().filter(|now| now.recorded.run == *run) else {
            return self.ended(run, wish, options).await;
        };
        self.go_on(unfinished, head, lease, wish, options).await.map(Some)
    }

    /// The newest epoch on the objects of a plan: a restored or copied stamp must not lock the run.
    async fn newest_stamp(&self, plan: Option<&super::Plan>) -> Result<Option<Epoch>, EnvironmentError> {
        let Some(plan) = plan else { return Ok(None) };
        let keys: Vec<&crate::object::ObjectKey> = plan.changes().map(|change| &change.key).collect();
        let cluster = &*self.providers.cluster;
        let read = || super::observe::read(cluster, keys.iter().copied()).boxed();
        Ok(patiently(&*self.runtime, read).await?.values().filter_map(super::epoch_of).max())
    }

    /// How the run ended that somebody else has carried out to its end.
    async fn ended(
        &self,
        run: &RunId,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<Option<RunEnd>, EnvironmentError> {
        let read =
            async { Ok(patiently(&*self.runtime, || journal::read(&*self.records, run).boxed()).await?) };
        let recorded = options.before_any_change(read).await?;
        let Some((outcome, release)) = recorded.as_ref().and_then(Recorded::outcome) else { return Ok(None) };
        self.over(run, outcome.clone(), release, wish, options).map(Some)
    }

    /// Tells how a run ended that needs nobody any more.
    fn over(
        &self,
        run: &RunId,
        outcome: Outcome,
        release: Option<&ReleaseHead>,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<RunEnd, EnvironmentError> {
        if let (Wish::Abort, Outcome::Succeeded { release, .. }) = (wish, &outcome) {
            let environment = self.name.clone();
            return Err(EnvironmentError::TooLate { environment, run: run.clone(), release: *release });
        }
        let release = release.map(|release| release.id);
        self.tell_before(run, options, What::RunFinished { outcome: outcome.clone(), release });
        Ok(RunEnd::Over { run: Some(run.clone()), outcome })
    }

    async fn go_on(
        &self,
        unfinished: Unfinished,
        head: Head,
        lease: &mut Option<Lease>,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<RunEnd, EnvironmentError> {
        let plan = unfinished.recorded.plan.as_ref();
        let look = async {
            let gate = self.gate().await?;
            let stamps = self.newest_stamp(plan).await?;
            Ok((gate, stamps))
        };
        let seen = options.before_any_change(look).await?;
        let taking = self.take(&unfinished, &head, seen, wish, options);
        match unless_cancelled(&options.cancel, taking).await {
            None => {
                let run = unfinished.recorded.run;
                let why = UNANSWERED.to_owned();
                self.tell_before(&run, options, What::Paused { why: why.clone(), items: Vec::new() });
                Ok(RunEnd::Paused { run, why })
            }
            Some(taken) => match taken? {
                Taken::Over(end) => Ok(*end),
                Taken::Open(open) => {
                    let Some(lease) = lease.take() else { return Err(self.unfinished(&unfinished.recorded)) };
                    let run = unfinished.recorded.run;
                    self.carry_on(run, *open, head, Hold::new(lease), options).await
                }
            },
        }
    }

    /// Claims the environment for a run of another process, and sees what is to be done about it.
    async fn take(
        &self,
        unfinished: &Unfinished,
        head: &Head,
        (mut gate, stamps): (Option<Gate>, Option<Epoch>),
        wish: Wish,
        options: &RunOptions,
    ) -> Result<Taken, EnvironmentError> {
        let run = unfinished.recorded.run.clone();
        // A wish that cannot be granted claims nothing.
        if wish == Wish::Abort
            && let Some(state) = RunState::of_journal(&unfinished.recorded)
        {
            self.aim(&run, &state, wish, options).await?;
        }
        let seen = stamps.max(gate.as_ref().and_then(Gate::epoch));
        let epoch = epoch::claim(&*self.records, &*self.runtime, head.epoch, seen, &run, &options.by).await?;
        if let Some(gate) = &mut gate {
            let slow = |why| self.tell_before(&run, options, What::Waiting { why });
            gate.shut(epoch, slow).await?;
        }
        epoch::close(&self.records, &self.runtime, &head.pending, epoch, &options.by).await?;
        let next = unfinished.recorded.next;
        let mut writer = journal::Writer::new(
            Arc::clone(&self.records),
            Arc::clone(&self.runtime),
            run.clone(),
            epoch,
            next,
        );
        let until = self.runtime.now() + PATIENCE;
        writer.claim(&options.by, options.reason.as_deref(), until).await?;
        // Late segments of the former holder may have come in before our claim.
        let recorded = patiently(&*self.runtime, || journal::read(&*self.records, &run).boxed()).await?;
        let recorded = recorded.ok_or_else(|| self.unfinished(&unfinished.recorded))?;
        if let Some((outcome, release)) = recorded.outcome() {
            if let Some(release) = release {
                // The journal is what counts; who finds this record missing writes it again.
                let _ = super::history::record_release(&*self.records, &run, epoch, release).await;
            }
            return self
                .over(&run, outcome.clone(), release, wish, options)
                .map(|end| Taken::Over(Box::new(end)));
        }
        let newer = recorded.events.iter().find_map(|(_, event)| match event {
            JournalEvent::EpochClaimed { epoch: other, .. } if *other > epoch => Some(*other),
            _ => None,
        });
        if newer.is_some() {
            return Err(journal::JournalError::NotHolder { epoch, other: newer }.into());
        }
        let Some(state) = RunState::of_journal(&recorded) else {
            // The plan never became durable, so that nothing else was done.
            let outcome = Outcome::Cancelled { why: "it ended before its plan was stored".to_owned() };
            let at = self.runtime.wall();
            let finished = JournalEvent::RunFinished { outcome: outcome.clone(), release: None, at };
            writer.append(&[finished], until).await?;
            return self.over(&run, outcome, None, wish, options).map(|end| Taken::Over(Box::new(end)));
        };
        let aim = match wish {
            Wish::Leave => Aim::Leave,
            Wish::Resume | Wish::Abort => self.aim(&run, &state, wish, options).await?,
        };
        let sealer = self.sealer(Storage::Lasting).await?;
        let open = Open { epoch, gate, writer, events: recorded.events, state, aim, sealer };
        Ok(Taken::Open(Box::new(open)))
    }

    /// Whether a run that goes on turns, because somebody asked for it; what cannot be granted is forgotten.
    async fn aim(
        &self,
        run: &RunId,
        state: &RunState,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<Aim, EnvironmentError> {
        let asked = patiently(&*self.runtime, || who_asked(&*self.records, run).boxed()).await?;
        let may_turn = state.course == Course::Forward && !state.past_return();
        if asked.is_some() && state.past_return() {
            let forget = patiently(&*self.runtime, || forget_wish(&*self.records, run).boxed()).await;
            forget.map_err(EnvironmentError::Provider)?;
        }
        if wish == Wish::Abort && state.course == Course::Forward && !may_turn {
            return Err(EnvironmentError::NoReturn(run.clone()));
        }
        // Who asked first has asked, and need not be who takes the run over.
        let asked = asked.or_else(|| (wish == Wish::Abort).then(|| who_and_why(options)));
        Ok(asked.filter(|_| may_turn).map_or(Aim::GoOn, Aim::Turn))
    }

    /// Goes on with a run that was taken over, in its direction or back, or ends it as it is.
    async fn carry_on(
        &self,
        run: RunId,
        open: Open,
        head: Head,
        hold: Arc<Hold>,
        options: &RunOptions,
    ) -> Result<RunEnd, EnvironmentError> {
        let Open { epoch, gate, mut writer, events, state, aim, sealer } = open;
        let context = Arc::new(Context::new(
            self.providers.clone(),
            Arc::clone(&self.runtime),
            Arc::new(sealer),
            hold.licence(),
            run.clone(),
            epoch,
            state.epochs.clone(),
            state.plan(),
            std::collections::BTreeMap::new(),
            Arc::clone(&options.listener),
        ));
        hold.heed(&context);
        if let Some(gate) = gate {
            gate.guard(&context, &hold);
        }
        for step in &state.plan().steps {
            if let Some(known) = state.of(&step.id) {
                context.recall(&step.id, &known.result);
            }
        }
        let stamping = stamp_open(&context, &state, aim == Aim::Leave);
        let end = match with_grace(&context, &options.cancel, stamping).await {
            Some(Ok(())) => None,
            Some(Err((_, Trouble::Halted))) if context.ordered() == Halt::Lost => {
                Some(Err(journal::JournalError::NotHolder { epoch, other: None }))
            }
            Some(Err((_, Trouble::Halted))) => {
                let why = context.why_interrupted().unwrap_or_else(|| "interrupted".to_owned());
                Some(Ok((paused(&context, &why), None)))
            }
            Some(Err((step, Trouble::Failed(why)))) => {
                let remedy = format!("mend the cause, then `mailyctl resume --env {}`", context.environment);
                let items = vec![super::Stuck { step, why: *why, remedy }];
                let why = items[0].why.message.clone();
                context.tell(What::Paused { why, items: items.clone() });
                Some(Ok((RunEnd::Stuck { run, items }, None)))
            }
            None => Some(Ok((paused(&context, UNANSWERED), None))),
        };
        if let Some(end) = end {
            return self.finish(context, hold, end).await;
        }
        if aim == Aim::Leave {
            let outcome = Outcome::Stuck { items: state.left_behind() };
            let at = self.runtime.wall();
            let finished = JournalEvent::RunFinished { outcome: outcome.clone(), release: None, at };
            let written = writer.append(&[finished], self.runtime.now() + PATIENCE).await;
            let end = written.map(|()| {
                context.tell(What::RunFinished { outcome: outcome.clone(), release: None });
                (RunEnd::Over { run: Some(context.run.clone()), outcome }, None)
            });
            return self.finish(context, hold, end).await;
        }
        let going_back = state.course != Course::Forward;
        // Our own claim is among them, and is told below: it is new.
        let earlier = events.into_iter().filter(|(written_in, _)| *written_in != epoch);
        let events: Vec<JournalEvent> = earlier.map(|(_, event)| event).collect();
        // Which of them did not serve is not on record.
        let aside = left_alone(state.plan()).map(|desired| desired.key().clone()).collect();
        let mut executor = Executor::new(
            Arc::clone(&context),
            state,
            writer,
            Arc::clone(&self.records),
            head.next_release(),
            head.base(),
            aside,
            options.cancel.clone(),
            options.by.clone(),
        );
        executor.replay(&events);
        context.tell(What::Resumed { epoch, by: options.by.clone() });
        if going_back {
            context.halt(Halt::Turn);
        }
        if let Aim::Turn(by) = aim {
            executor.turn(by);
        }
        executor.carry_on();
        let end = executor.run().await;
        self.finish(context, hold, end).await
    }
}

/// Stamps what a former process may still change. Nobody is kept from leaving a run by an object that cannot be stamped.
async fn stamp_open(context: &Context, state: &RunState, leaves: bool) -> Result<(), (StepId, Trouble)> {
    let through = |step: &Step, stamped| match stamped {
        Err(Trouble::Failed(why)) if leaves => {
            context.tell(What::Waiting { why: why.message });
            Ok(())
        }
        stamped => stamped.map_err(|trouble| (step.id.clone(), trouble)),
    };
    let direction_of = |step: &Step| match state.of(&step.id).map(|known| &known.progress) {
        Some(Progress::Undoing | Progress::Undone | Progress::UndoFailed(..)) => Direction::Back,
        _ => Direction::Forward,
    };
    for step in state.open().into_iter().filter(|_| !is_planted(Defect::NoStampingBarrier)) {
        through(step, stamp(context, step, direction_of(step)).await)?;
    }
    for step in state.followed() {
        through(step, stamp_pods(context, step, direction_of(step)).await)?;
    }
    Ok(())
}
