//! Carrying out a plan.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Environment, EnvironmentError, Planned};
use crate::{
    engine::{
        Epoch, Failure, Lease, LeaseError, Listener, Outcome, ReleaseId, RunEnd, RunId, What, epoch,
        executor::Executor,
        fence::Gate,
        history::record_release,
        hold::Hold,
        interrupt::{paused, with_grace},
        journal::{JournalError, JournalEvent, ReleaseHead},
        lease, name_added,
        state::RunState,
        sweep::{sweep_runs, sweep_values},
    },
    object::ObjectKey,
    planted::{Defect, is_planted},
    provider::Effect,
    run::seal::hashes,
    runtime::{Moment, within},
    steps::{Context, SERVES_WITHIN, idle, not_serving},
};

/// So long the last records and the lease's end may take.
const LAST_RECORDS: Duration = Duration::from_secs(2);
/// The same where somebody has interrupted the run, and waits for the command to come back.
const LAST_RECORDS_INTERRUPTED: Duration = Duration::from_millis(150);

fn last_records(interrupted: bool) -> Duration {
    if interrupted { LAST_RECORDS_INTERRUPTED } else { LAST_RECORDS }
}

/// How a run is carried out.
#[derive(Clone)]
pub struct RunOptions {
    /// Who runs it: person, machine, process.
    pub by: String,
    /// Why, where a reason was asked for.
    pub reason: Option<String>,
    /// How long to wait for one's turn; none: not at all.
    pub wait: Option<Duration>,
    /// Since when that is counted, for whoever waits more than once: for the plan, for the run, for both anew. None: each
    /// time from its own beginning.
    pub since: Option<Moment>,
    /// Interrupts the run in an orderly way: it can be resumed.
    pub cancel: CancellationToken,
    /// Receives the events.
    pub listener: Arc<dyn Listener>,
}

impl std::fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions").field("by", &self.by).field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl RunOptions {
    /// Runs for somebody, who is told nothing on the way.
    pub fn new(by: impl Into<String>) -> Self {
        Self {
            by: by.into(),
            reason: None,
            wait: None,
            since: None,
            cancel: CancellationToken::new(),
            listener: Arc::new(|_: &crate::engine::Event| {}),
        }
    }

    /// Until when to wait for one's turn, where one begins to now.
    pub(super) fn until(&self, now: Moment) -> Option<Moment> {
        let since = self.since.unwrap_or(now).since_start();
        self.wait.map(|wait| Moment::at(since.saturating_add(wait)))
    }
}

impl Environment {
    /// Carries out a plan.
    ///
    /// # Errors
    /// When it could not begin, or was interrupted before it had ([`EnvironmentError::Interrupted`]); when the
    /// environment was lost to another process on the way; and when the records could not be written or the fence fell in
    /// the middle, whereupon the run has not ended: it can be resumed.
    pub async fn run(&self, planned: Planned, options: &RunOptions) -> Result<RunEnd, EnvironmentError> {
        if planned.plan.steps.is_empty() && !is_planted(Defect::UnchangedClaims) {
            // Nothing is written but perhaps a release, and it would be no success where something does not serve.
            let not_serving = options.before_any_change(self.left_alone(&planned, options)).await?;
            if planned.plan.is_empty() || !not_serving.is_empty() {
                return Ok(RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving } });
            }
        }
        if let Some(unfinished) = &planned.head.unfinished {
            return Err(self.unfinished(&unfinished.recorded));
        }
        let run = RunId::new(&*self.runtime);
        let heard = self.heard(&options.listener, &run);
        let mut lease = Some(options.before_any_change(heard.lease(&run, options)).await?);
        let end = heard.carry_out(run, planned, &mut lease, options).await;
        heard.give_back(&mut lease, options).await;
        end
    }

    /// What a plan without steps is about, and does not serve.
    async fn left_alone(
        &self,
        planned: &Planned,
        options: &RunOptions,
    ) -> Result<Vec<Failure>, EnvironmentError> {
        let targets = idle(&planned.plan, &planned.seen);
        let asked = RunId::new(&*self.runtime);
        let heard = self.heard(&options.listener, &asked);
        let tell = |why| self.tell_before(&asked, options, What::Waiting { why });
        let until = self.runtime.now() + SERVES_WITHIN;
        let mut failures = not_serving(&heard.providers.cluster, &self.runtime, targets, until, tell).await;
        if failures.is_empty() {
            return Ok(failures);
        }
        let kept = planned.plan.unchanged.iter();
        let workloads: Vec<_> = kept
            .filter_map(|kept| Some((planned.seen.get(kept.desired.key())?.clone(), &kept.desired)))
            .collect();
        name_added(&mut failures, &workloads);
        Ok(failures)
    }

    /// Gives a lease back that was not handed on to a run.
    pub(in crate::engine) async fn give_back(&self, lease: &mut Option<Lease>, options: &RunOptions) {
        let limit = last_records(options.cancel.is_cancelled());
        let _ = within(&*self.runtime, limit, lease::release(lease)).await;
    }

    /// Claims the environment for a new run, and keeps what it needs.
    async fn claim(
        &self,
        run: &RunId,
        planned: &Planned,
        options: &RunOptions,
    ) -> Result<(Option<Gate>, Epoch), EnvironmentError> {
        let mut gate = self.gate().await?;
        let stamps = planned.seen.values().filter_map(crate::engine::epoch_of).max();
        let seen = stamps.max(gate.as_ref().and_then(Gate::epoch));
        let known = planned.head.epoch.or(Some(Epoch(0)));
        let claimed = epoch::claim(&*self.records, &*self.runtime, known, seen, run, &options.by).await;
        if let (Ok(epoch), Some(gate)) = (&claimed, &mut gate) {
            let slow = |why| self.tell_before(run, options, What::Waiting { why });
            gate.shut(*epoch, slow).await?;
        }
        let closed = match &claimed {
            Ok(epoch) => {
                let pending = &planned.head.pending;
                epoch::close(&self.records, &self.runtime, pending, *epoch, &options.by).await
            }
            Err(_) => Ok(()),
        };
        let epoch = match closed.and(claimed) {
            Ok(epoch) => epoch,
            Err(JournalError::NotHolder { .. }) => {
                let why = "somebody else changed the environment since the plan was made".to_owned();
                return Err(EnvironmentError::OutOfDate(vec![why]));
            }
            Err(error) => return Err(error.into()),
        };
        self.keep_values(planned).await?;
        Ok((gate, epoch))
    }

    async fn carry_out(
        &self,
        run: RunId,
        planned: Planned,
        lease: &mut Option<Lease>,
        options: &RunOptions,
    ) -> Result<RunEnd, EnvironmentError> {
        let (gate, epoch) = options.before_any_change(self.claim(&run, &planned, options)).await?;
        let Some(lease) = lease.take() else {
            return Err(EnvironmentError::Unfinished { environment: self.name.clone(), run, stuck: None });
        };
        let hold = Hold::new(lease);
        let plan = planned.plan;
        let aside = idle(&plan, &planned.seen).map(|target| target.key().clone()).collect();
        // What else stays as it is is not looked at again.
        let mut seen = planned.seen;
        let changed: BTreeSet<&ObjectKey> = plan.changes().map(|change| &change.key).collect();
        seen.retain(|key, _| changed.contains(key));
        let context = Arc::new(Context::new(
            self.providers.clone(),
            Arc::clone(&self.runtime),
            planned.sealer,
            hold.licence(),
            run.clone(),
            epoch,
            vec![epoch],
            &plan,
            seen,
            Arc::clone(&options.listener),
        ));
        hold.heed(&context);
        if let Some(gate) = gate {
            gate.guard(&context, &hold);
        }
        let journal = crate::engine::journal::Writer::new(
            Arc::clone(&self.records),
            Arc::clone(&self.runtime),
            run.clone(),
            epoch,
            0,
        );
        let digest = plan.digest.clone();
        let values: BTreeSet<String> = plan.objects().flat_map(hashes).collect();
        let mut executor = Executor::new(
            Arc::clone(&context),
            RunState::new(plan),
            journal,
            Arc::clone(&self.records),
            planned.head.next_release(),
            planned.head.base(),
            aside,
            options.cancel.clone(),
            options.by.clone(),
        );
        let (by, reason) = (options.by.clone(), options.reason.clone());
        let first = JournalEvent::RunStarted { plan: digest, by, reason };
        match with_grace(&context, &options.cancel, executor.begin(first)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                // What was refused is nowhere: nothing has begun, and nobody has to wait for the lease to run out.
                if matches!(&error, JournalError::Store(refused) if refused.effect() == Effect::None) {
                    self.give_back(&mut hold.take_lease(), options).await;
                }
                return self.finish(context, hold, Err(error)).await;
            }
            None => {
                let why = "interrupted while its beginning was written down: `mailyctl status` tells whether it has begun";
                let end = paused(&context, why);
                return self.finish(context, hold, Ok((end, None))).await;
            }
        }
        let end = {
            let run = executor.run();
            let sweeping = self.sweep(&values, &context, &planned.head.releases);
            futures::pin_mut!(run, sweeping);
            match futures::future::select(run, sweeping).await {
                futures::future::Either::Left((end, _)) => end,
                futures::future::Either::Right((swept, run)) => {
                    // What else failed there is nobody's trouble today, and is tried again by the next run.
                    if let Err(error @ (JournalError::Damaged { .. } | JournalError::Newer { .. })) = swept {
                        context.tell(What::Waiting { why: format!("old records stay: {error}") });
                    }
                    run.await
                }
            }
        };
        self.finish(context, hold, end).await
    }

    async fn sweep(
        &self,
        values: &BTreeSet<String>,
        context: &Context,
        releases: &[ReleaseId],
    ) -> Result<(), JournalError> {
        let (records, runtime) = (&*self.records, &*self.runtime);
        if sweep_runs(records, runtime, self.retention, releases).await? {
            let cluster = &*self.providers.cluster;
            let when = (context.epoch, runtime.wall(), self.retention);
            sweep_values(cluster, records, &context.sealer, values, when).await?;
        }
        Ok(())
    }

    /// Writes down what follows from how a run ended, and gives the lease back.
    pub(in crate::engine) async fn finish(
        &self,
        context: Arc<Context>,
        hold: Arc<Hold>,
        end: Result<(RunEnd, Option<ReleaseHead>), JournalError>,
    ) -> Result<RunEnd, EnvironmentError> {
        let (end, release) = match end {
            Ok(end) => end,
            Err(error) => {
                hold.give_up_lease();
                if let Some(error) = hold.take_unfenced() {
                    return Err(error.into());
                }
                return Err(match (error, hold.how_lost()) {
                    (JournalError::NotHolder { .. }, Some(how)) => {
                        LeaseError::Lost { environment: self.name.clone(), how }.into()
                    }
                    (error, _) => error.into(),
                });
            }
        };
        {
            let interrupted = matches!(end, RunEnd::Paused { .. });
            let record = async {
                if let Some(release) = &release {
                    // The journal is what counts; who finds this record missing writes it again.
                    let _ = record_release(&*self.records, &context.run, context.epoch, release).await;
                }
            };
            let release = async {
                if let Some(lease) = hold.take_lease() {
                    lease.release().await;
                }
            };
            let rest = futures::future::join(record, release);
            let limit = self.runtime.sleep(last_records(interrupted));
            futures::pin_mut!(rest);
            // Both are for whoever comes next to have it easier: neither is worth waiting for a server that is silent.
            let _ = futures::future::select(rest, limit).await;
        }
        match (end, hold.take_unfenced()) {
            (RunEnd::Paused { .. }, Some(error)) => Err(error.into()),
            (end, _) => Ok(end),
        }
    }
}
