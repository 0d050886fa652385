//! From a step of a plan to the code that does it.

use super::{
    check,
    context::{Context, End, Past},
    frontend::{self, Wish},
    job, rollout,
};
use crate::run::{Direction, Step, Work};

/// Does or undoes a step.
pub(crate) async fn execute(context: &Context, step: &Step, direction: Direction, past: Past) -> End {
    let done = || End::Done(context.result(&step.id));
    if (direction, past) == (Direction::Back, Past::Nothing) {
        return done();
    }
    match (&step.work, direction) {
        (Work::Rollout { changes } | Work::Prune { changes }, Direction::Forward) => {
            rollout::apply(context, step, changes, past).await
        }
        (Work::Rollout { changes } | Work::Prune { changes }, Direction::Back) => {
            rollout::undo(context, step, changes, past).await
        }
        (Work::Job { job, .. }, Direction::Forward) => job::run(context, step, job, direction, past).await,
        (Work::Job { job, undo: Some(undo), .. }, Direction::Back) => {
            job::undo(context, step, job, undo, past).await
        }
        (Work::Frontend { project, domain, version, existing, before }, direction) => {
            let (domain, existing, before) = (domain.as_deref(), existing.as_deref(), before.as_deref());
            let wish = Wish { project, domain, version, existing, before };
            frontend::run(context, step, &wish, direction, past).await
        }
        (Work::Check { probe, gate }, Direction::Forward) => check::run(context, step, probe, *gate).await,
        (Work::Job { job, undo: None, .. }, Direction::Back) => job::end(context, step, job, past).await,
        (Work::Check { .. } | Work::Barrier {}, Direction::Back) | (Work::Barrier {}, Direction::Forward) => {
            done()
        }
    }
}
