//! What a step waits for, told while it waits: when it changes, once more when it has turned out to last, and then
//! every while.

use std::time::Duration;

use super::context::Context;
use crate::{
    run::{StepId, What},
    runtime::Moment,
};

/// So long after a change it is told once more: who listens may leave out what is over in a moment.
const LASTS: Duration = Duration::from_secs(4);
/// Time after which what has not changed is told again.
const AGAIN: Duration = Duration::from_secs(25);

/// Tells what one wait is for.
pub(super) struct Waited<'a> {
    context: &'a Context,
    step: &'a StepId,
    last: Option<(Option<u32>, Option<u32>, String)>,
    due: Moment,
}

impl<'a> Waited<'a> {
    pub(super) fn new(context: &'a Context, step: &'a StepId) -> Self {
        Self { context, step, last: None, due: context.runtime.now() + LASTS }
    }

    /// Tells it, unless it was told a moment ago.
    pub(super) fn tell(&mut self, ready: Option<u32>, desired: Option<u32>, why: &str) {
        let now = self.context.runtime.now();
        let same = self.last.as_ref().is_some_and(|last| (last.0, last.1, &*last.2) == (ready, desired, why));
        if same && now < self.due {
            return;
        }
        self.due = now + if same { AGAIN } else { LASTS };
        let why = why.to_owned();
        self.last = Some((ready, desired, why.clone()));
        self.context.tell(What::StepProgress { step: self.step.clone(), ready, desired, why });
    }

    /// Time until it has to be told again.
    pub(super) fn left(&self) -> Duration {
        self.context.left(self.due)
    }
}
