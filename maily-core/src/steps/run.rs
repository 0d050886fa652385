//! From a step of a plan to the code that does it.

use super::{
    check,
    context::{Context, End},
    frontend::{self, Wish},
    job, rollout,
};
use crate::engine::{Direction, Step, Work};

/// Does or undoes a step. `may_have_effect` says, going forward, that a former process had begun it; going back,
/// that some call of it may have changed something.
pub(crate) async fn execute(
    context: &Context,
    step: &Step,
    direction: Direction,
    may_have_effect: bool,
) -> End {
    let done = || End::Done(context.result(&step.id));
    match (&step.work, direction) {
        (Work::Rollout { changes }, Direction::Forward) => {
            rollout::apply(context, step, changes, may_have_effect).await
        }
        (Work::Prune { changes }, Direction::Forward) => {
            rollout::prune(context, step, changes, may_have_effect).await
        }
        (Work::Rollout { changes } | Work::Prune { changes }, Direction::Back) => {
            rollout::undo(context, step, changes, may_have_effect).await
        }
        (Work::Job { job, .. }, Direction::Forward) => {
            job::run(context, step, job, direction, may_have_effect).await
        }
        (Work::Job { undo: Some(undo), .. }, Direction::Back) => {
            job::run(context, step, undo, direction, may_have_effect).await
        }
        (Work::Frontend { project, domain, version, existing, before }, direction) => {
            let (domain, existing, before) = (domain.as_deref(), existing.as_deref(), before.as_deref());
            let wish = Wish { project, domain, version, existing, before };
            match direction {
                Direction::Forward => frontend::apply(context, step, &wish, may_have_effect).await,
                Direction::Back if may_have_effect => frontend::undo(context, step, &wish).await,
                Direction::Back => done(),
            }
        }
        (Work::Check { probe, gate }, Direction::Forward) => check::run(context, step, probe, *gate).await,
        (Work::Check { .. } | Work::Barrier {} | Work::Job { undo: None, .. }, Direction::Back)
        | (Work::Barrier {}, Direction::Forward) => done(),
    }
}
