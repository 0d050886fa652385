//! Looks from outside at what was released.

use std::time::Duration;

use super::context::{Context, End, Trouble};
use crate::{
    planted::{Defect, is_planted},
    provider::{Effect, ProbeRequest, Verdict},
    run::{Direction, Failure, Step, What},
};

/// Time for one request; a command may take what is left of the step's time.
const LOOK: Duration = Duration::from_secs(10);

/// Looks until it works or the time is up. Silence is never a success.
pub(super) async fn run(context: &Context, step: &Step, probe: &ProbeRequest, gate: bool) -> End {
    let deadline = context.runtime.now() + Duration::from_secs(step.timeout_s);
    let fail =
        |failure: Failure| End::Failed(Box::new(failure.with_effect(Effect::Done)), context.result(&step.id));
    let Some(prober) = &context.providers.prober else {
        return fail(Failure::new("unsupported", "nothing here can carry out checks"));
    };
    let mut pause = Duration::from_millis(500);
    loop {
        if context.must_stop(Direction::Forward) {
            return End::Halted;
        }
        let limit = match probe {
            ProbeRequest::Http { .. } => LOOK.min(context.left(deadline)),
            ProbeRequest::Command { .. } => context.left(deadline),
        };
        let verdict = match prober.probe(probe, limit).await {
            Ok(verdict) => verdict,
            Err(error) if error.is_transient() => Verdict::Insufficient { evidence: error.to_string() },
            Err(error) => return fail(Failure::of(&error)),
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
                let (ready, desired, why) = (None, None, evidence.to_owned());
                context.tell(What::StepProgress { step: step.id.clone(), ready, desired, why });
            }
        }
        match context.pause(Direction::Forward, pause.min(context.left(deadline))).await {
            Ok(()) => {}
            Err(Trouble::Halted | Trouble::Failed(_)) => return End::Halted,
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}
