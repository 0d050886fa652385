//! Looks from outside at what was released.

use std::time::Duration;

use futures::pin_mut;

use super::{
    context::{Context, End, Trouble},
    waited::Waited,
};
use crate::{
    planted::{Defect, is_planted},
    provider::{Effect, ProbeRequest, ProviderError, Verdict},
    run::{Direction, Failure, Step},
};

/// Time for one request; a command may take what is left of the step's time.
const LOOK: Duration = Duration::from_secs(10);

/// The last look begins so long before the time is up: one without time sees nothing.
const LAST: Duration = Duration::from_secs(1);

/// A look that takes longer is told.
const SLOW: Duration = Duration::from_secs(4);
/// And again after this time at the latest.
const LONGEST_SILENCE: Duration = Duration::from_secs(25);

/// Looks until it works or the time is up. Silence is never a success.
pub(super) async fn run(context: &Context, step: &Step, probe: &ProbeRequest, gate: bool) -> End {
    let deadline = context.runtime.now() + Duration::from_secs(step.timeout_s);
    let fail =
        |failure: Failure| End::Failed(Box::new(failure.with_effect(Effect::Done)), context.result(&step.id));
    let Some(prober) = &context.providers.prober else {
        return fail(Failure::new("unsupported", "nothing here can carry out checks"));
    };
    let mut pause = Duration::from_millis(500);
    let mut waited = Waited::new(context, &step.id);
    let mut refusal = None;
    let mut seen: Option<Verdict> = None;
    loop {
        if context.must_stop(Direction::Forward) {
            return End::Halted;
        }
        let limit = match probe {
            ProbeRequest::Http { .. } => LOOK.min(context.left(deadline)),
            ProbeRequest::Command { .. } => context.left(deadline),
        };
        let verdict = match seen.take() {
            Some(verdict) if limit.is_zero() => verdict,
            _ => {
                let Some(answer) = look(context, &mut waited, prober.probe(probe, limit)).await else {
                    return End::Halted;
                };
                match answer {
                    Ok(verdict) => verdict,
                    Err(error) if error.is_transient() => {
                        Verdict::Insufficient { evidence: error.to_string() }
                    }
                    Err(error) => return fail(Failure::of(&error)),
                }
            }
        };
        // What said no and then ran out of time has said no.
        let verdict = match (verdict, &mut refusal) {
            (Verdict::Fail { evidence }, refusal) => {
                *refusal = Some(evidence.clone());
                Verdict::Fail { evidence }
            }
            (Verdict::Insufficient { evidence }, Some(said)) if context.runtime.now() >= deadline => {
                Verdict::Fail { evidence: format!("{said}; the last look: {evidence}") }
            }
            (verdict, _) => verdict,
        };
        let (name, evidence) = verdict.parts();
        if (matches!(verdict, Verdict::Pass { .. }) || context.runtime.now() >= deadline) && gate {
            context.decide(&step.id, name, evidence);
        }
        match &verdict {
            Verdict::Pass { .. } => return End::Done(context.result(&step.id)),
            _ if gate && is_planted(Defect::GatesIgnored) => return End::Done(context.result(&step.id)),
            Verdict::Fail { .. } | Verdict::Insufficient { .. } if context.runtime.now() >= deadline => {
                let cause =
                    if matches!(verdict, Verdict::Fail { .. }) { "check-failed" } else { "no-evidence" };
                let message = format!("not seen to work within {} s: {evidence}", step.timeout_s);
                return fail(Failure::new(cause, message));
            }
            _ => {
                waited.tell(None, None, evidence);
            }
        }
        seen = Some(verdict);
        let left = context.left(deadline);
        let rest = left.checked_sub(LAST).filter(|rest| !rest.is_zero()).unwrap_or(left);
        match context.pause(Direction::Forward, pause.min(rest)).await {
            Ok(()) => {}
            Err(Trouble::Halted | Trouble::Failed(_)) => return End::Halted,
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Waits for one look, and says so where it takes long; none where the run turns or stops meanwhile.
async fn look(
    context: &Context,
    waited: &mut Waited<'_>,
    look: impl Future<Output = Result<Verdict, ProviderError>> + Send,
) -> Option<Result<Verdict, ProviderError>> {
    let begun = context.runtime.now();
    let mut next = SLOW;
    let stopped = context.stopped(Direction::Forward);
    pin_mut!(look, stopped);
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => return None,
            answer = &mut look => return Some(answer),
            () = context.runtime.sleep(next) => {}
        }
        let since = context.runtime.now().since(begun);
        waited.tell(None, None, &format!("no verdict yet after {} s", since.as_secs()));
        // Twice as late each time, and never longer silent than others who wait.
        next = since.min(LONGEST_SILENCE);
    }
}
