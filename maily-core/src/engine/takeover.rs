//! Going on with a run of another process: forward, or back.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;

use super::{
    Direction, Environment, EnvironmentError, Failure, Lease, Outcome, RunEnd, RunId, RunOptions, Storage,
    executor::{Executor, abort_key},
    history::Unfinished,
    hold::Hold,
    journal::{self, JournalEvent, pack},
    lease,
    patience::patiently,
    state::{Course, Progress, RunState},
};
use crate::{
    planted::{Defect, is_planted},
    provider::Created,
    steps::{Context, Halt, Trouble, stamp},
};

/// What to do with an unfinished run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Go on in the direction that it has.
    Resume,
    /// Go back.
    Abort,
    /// End it with everything as it is now: for a run that a person has sorted out by hand.
    Leave,
}

/// How long to wait for a former holder when nothing else was asked: its lease has to run out.
const PATIENCE: Duration = Duration::from_secs(60);

impl Environment {
    /// Takes an unfinished run over. `None` where there is none.
    ///
    /// # Errors
    /// When another process holds it, or it was lost on the way.
    pub async fn take_over(
        &self,
        only: Option<&RunId>,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<Option<RunEnd>, EnvironmentError> {
        let nameless = RunId::from("-");
        let heard = self.heard(&options.listener, only.unwrap_or(&nameless));
        heard.check().await?;
        let unfinished = heard.head().await?.unfinished;
        let open = unfinished.as_ref().map(|unfinished| &unfinished.recorded.run);
        if let Some(only) = only.filter(|only| open != Some(only)) {
            let known = patiently(&*self.runtime, || journal::read(&*heard.records, only).boxed()).await?;
            return if known.is_some() { Ok(None) } else { Err(EnvironmentError::NoRun(only.clone())) };
        }
        let Some(run) = open.cloned() else { return Ok(None) };
        let heard = self.heard(&options.listener, &run);
        let mut options = options.clone();
        if options.wait.is_none() {
            options.wait = Some(PATIENCE);
        }
        if wish == Wish::Abort {
            heard.ask_to_abort(&run, &options).await?;
        }
        let mut lease = Some(heard.lease(&run, &options).await?);
        let end = heard.in_turn(&run, &mut lease, wish, &options).await;
        // Whatever was not handed on to a run is given back, also after an error: nobody has to wait for it to run out.
        lease::release(&mut lease).await;
        end
    }

    async fn in_turn(
        &self,
        run: &RunId,
        lease: &mut Option<Lease>,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<Option<RunEnd>, EnvironmentError> {
        // The holder may have ended it while we waited for our turn.
        let head = self.head().await?;
        let Some(unfinished) = head.unfinished.clone().filter(|now| now.recorded.run == *run) else {
            return self.ended(run).await;
        };
        self.go_on(unfinished, head, lease, wish, options).await.map(Some)
    }

    /// The newest epoch on the objects of a plan: a restored or copied stamp must not lock the run.
    async fn newest_stamp(
        &self,
        plan: Option<&super::Plan>,
    ) -> Result<Option<super::Epoch>, EnvironmentError> {
        let Some(plan) = plan else { return Ok(None) };
        let keys: Vec<&crate::object::ObjectKey> = plan.changes().map(|change| &change.key).collect();
        let cluster = &*self.providers.cluster;
        let read = || super::observe::read(cluster, keys.iter().copied()).boxed();
        Ok(patiently(&*self.runtime, read).await?.values().filter_map(super::epoch_of).max())
    }

    /// Leaves a request that a living holder obeys; a dead one's run is turned by whoever takes it over.
    async fn ask_to_abort(&self, run: &RunId, options: &RunOptions) -> Result<(), EnvironmentError> {
        let (key, wish) = (abort_key(run), pack(&who_and_why(options)));
        // Who asks twice has asked.
        match patiently(&*self.runtime, || self.records.create(&key, &wish)).await {
            Ok(Created::Created | Created::Exists) => Ok(()),
            Err(error) => Err(EnvironmentError::Provider(error)),
        }
    }

    async fn ended(&self, run: &RunId) -> Result<Option<RunEnd>, EnvironmentError> {
        let recorded = patiently(&*self.runtime, || journal::read(&*self.records, run).boxed()).await?;
        Ok(recorded.and_then(|recorded| {
            let (outcome, _) = recorded.outcome()?;
            Some(RunEnd::Over { run: Some(run.clone()), outcome: outcome.clone() })
        }))
    }

    async fn go_on(
        &self,
        unfinished: Unfinished,
        head: super::history::Head,
        lease: &mut Option<Lease>,
        wish: Wish,
        options: &RunOptions,
    ) -> Result<RunEnd, EnvironmentError> {
        if let Some(plan) = &unfinished.recorded.plan {
            self.is_of(&plan.project)?;
        }
        let run = unfinished.recorded.run.clone();
        let mut gate = self.gate().await?;
        let seen = self.newest_stamp(unfinished.recorded.plan.as_ref()).await?;
        let seen = seen.max(gate.as_ref().and_then(super::fence::Gate::epoch));
        let epoch =
            super::epoch::claim(&*self.records, &*self.runtime, head.epoch, seen, &run, &options.by).await?;
        if let Some(gate) = &mut gate {
            let slow = |why| self.tell_before(&run, options, super::What::Waiting { why });
            gate.shut(epoch, slow).await?;
        }
        super::epoch::close(&self.records, &self.runtime, &head.pending, epoch, &options.by).await?;
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
        let recorded = recorded.ok_or_else(|| self.unfinished(&run))?;
        if let Some((outcome, release)) = recorded.outcome() {
            if let Some(release) = release {
                super::history::record_release(&*self.records, &run, epoch, release).await?;
            }
            let outcome = outcome.clone();
            return Ok(RunEnd::Over { run: Some(run), outcome });
        }
        let newer = recorded.events.iter().find_map(|(_, event)| match event {
            JournalEvent::EpochClaimed { epoch: other, .. } if *other > epoch => Some(*other),
            _ => None,
        });
        if newer.is_some() {
            return Err(journal::JournalError::NotHolder { epoch, other: newer }.into());
        }
        let at = self.runtime.wall();
        let Some(plan) = recorded.plan.clone() else {
            // The plan never became durable, so that nothing else was done.
            let outcome = Outcome::Cancelled { why: "it ended before its plan was stored".to_owned() };
            let finished = JournalEvent::RunFinished { outcome: outcome.clone(), release: None, at };
            writer.append(vec![finished], until).await?;
            return Ok(RunEnd::Over { run: Some(run), outcome });
        };
        let mut state = RunState::new(plan);
        for (epoch, event) in &recorded.events {
            state.fold(*epoch, event);
        }
        if wish == Wish::Leave {
            let outcome = Outcome::Stuck { items: state.left_behind() };
            let finished = JournalEvent::RunFinished { outcome: outcome.clone(), release: None, at };
            writer.append(vec![finished], until).await?;
            return Ok(RunEnd::Over { run: Some(run), outcome });
        }
        let wishes = abort_key(&run);
        let asked = patiently(&*self.runtime, || self.records.get(&wishes)).await;
        let asked = asked.map_err(EnvironmentError::Provider)?.is_some();
        let may_turn = state.course == Course::Forward && !state.past_return();
        if asked && state.past_return() {
            // A wish that cannot be granted must not stand in the way of going on.
            let forget = patiently(&*self.runtime, || self.records.delete(&wishes)).await;
            forget.map_err(EnvironmentError::Provider)?;
        }
        if wish == Wish::Abort && state.course == Course::Forward && !may_turn {
            return Err(EnvironmentError::NoReturn(run));
        }
        let turn = may_turn && (wish == Wish::Abort || asked);
        let sealer = self.sealer(Storage::Lasting).await?;
        let Some(lease) = lease.take() else { return Err(self.unfinished(&run)) };
        let hold = Hold::new(lease);
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
        for step in state.open() {
            let back = matches!(
                state.of(&step.id).map(|known| &known.progress),
                Some(Progress::Undoing | Progress::UndoFailed(..))
            );
            let direction = if back { Direction::Back } else { Direction::Forward };
            if is_planted(Defect::NoStampingBarrier) {
                break;
            }
            match stamp(&context, step, direction).await {
                Ok(()) => {}
                Err(Trouble::Halted) => {
                    let lost = journal::JournalError::NotHolder { epoch, other: None };
                    return self.finish(context, hold, Err(lost)).await;
                }
                Err(Trouble::Failed(failure)) => {
                    let items = vec![super::Stuck {
                        step: step.id.clone(),
                        remedy: "mend the cause, then `mailyctl resume`".to_owned(),
                        why: *failure,
                    }];
                    return self.finish(context, hold, Ok((RunEnd::Stuck { run, items }, None))).await;
                }
            }
        }
        let going_back = state.course != Course::Forward;
        // Our own claim is among them, and is told below: it is new.
        let earlier = recorded.events.into_iter().filter(|(written_in, _)| *written_in != epoch);
        let events: Vec<JournalEvent> = earlier.map(|(_, event)| event).collect();
        let mut executor = Executor::new(
            Arc::clone(&context),
            state,
            writer,
            Arc::clone(&self.records),
            head.next_release(),
            head.base(),
            options.cancel.clone(),
            options.by.clone(),
        );
        executor.replay(&events);
        context.tell(super::What::Resumed { epoch, by: options.by.clone() });
        if going_back {
            context.halt(Halt::Turn);
        }
        if turn {
            executor.turn(Failure::new("aborted", format!("{} asked to abort", who_and_why(options))));
        }
        executor.carry_on();
        let end = executor.run().await;
        self.finish(context, hold, end).await
    }
}

/// Who asks, with the reason where one was given: the one line that a request to abort keeps.
fn who_and_why(options: &RunOptions) -> String {
    match &options.reason {
        Some(reason) => format!("{} ({reason})", options.by),
        None => options.by.clone(),
    }
}
