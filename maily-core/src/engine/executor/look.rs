//! The last look before a run is over: whether what it brought is still there, or what it took back serves again.

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};

use super::Executor;
use crate::{
    engine::{
        Failure, RunEnd, Step, StepId, Stuck,
        journal::{JournalEvent, ReleaseHead},
        patience::patiently,
        state::{Conclusion, Course, Progress},
    },
    steps::{Halt, brought, missing, restored},
};

pub(super) type Look = BoxFuture<'static, Seen>;

/// What the last look has shown.
pub(super) enum Seen {
    /// All that the run brought is there, but for this.
    Brought(Option<(StepId, Failure)>),
    /// What was taken back serves, but for this.
    Back(Vec<Failure>),
    /// Nothing: it was told to stop.
    Halted,
}

impl Executor {
    /// The look that is due before the run is over; none where it is not about to be, or was looked at already.
    pub(super) fn last_look(&self) -> Option<Look> {
        if self.looked {
            return None;
        }
        let context = Arc::clone(&self.context);
        match self.state.conclusion() {
            Conclusion::Succeeded => {
                let brought = brought(&context, self.state.plan());
                let look = async move {
                    let look = || missing(&context, &brought).boxed();
                    // Who may not look, or cannot be answered, has seen everything at least once.
                    let seen = patiently(&*context.runtime, look).await;
                    Seen::Brought(seen.unwrap_or_default())
                };
                Some(look.boxed())
            }
            Conclusion::RolledBack { .. } => {
                let undone = |step: &&Step| {
                    self.state.of(&step.id).is_some_and(|state| state.progress == Progress::Undone)
                };
                let steps: Vec<Step> = self.state.plan().steps.iter().filter(undone).cloned().collect();
                let look = async move { restored(&context, &steps).await.map_or(Seen::Halted, Seen::Back) };
                Some(look.boxed())
            }
            Conclusion::Stuck(_) | Conclusion::Unfinished => None,
        }
    }

    /// Takes in what the last look has shown; with the end where this process has nothing more to do.
    pub(super) fn looked(&mut self, seen: Seen, interrupted: bool) -> Option<(RunEnd, Option<ReleaseHead>)> {
        match seen {
            // The run has turned meanwhile, and takes back itself what is missing: the way back has its own look.
            Seen::Brought(_) if self.state.course != Course::Forward => {}
            Seen::Brought(None) => self.looked = true,
            Seen::Back(not_serving) => {
                self.looked = true;
                self.not_serving = not_serving;
            }
            Seen::Brought(Some((step, why))) if !self.state.past_return() => {
                self.push(JournalEvent::Turned { why, step: Some(step), by: "maily".to_owned() });
                self.context.halt(Halt::Turn);
            }
            Seen::Brought(Some((step, why))) => {
                let remedy = remedy(&why).to_owned();
                return Some(self.stuck(vec![Stuck { step, why, remedy }]));
            }
            Seen::Halted => return Some(self.conclude(interrupted)),
        }
        None
    }
}

/// What a person has to do where the run cannot go back.
fn remedy(why: &Failure) -> &'static str {
    match why.cause.as_str() {
        "replaced" => {
            "see that it is as it should be, then `mailyctl abort --leave`, which ends the run with everything as it \
             is, so that the next deploy or rollback brings a whole release"
        }
        _ => "put it back, then `mailyctl resume`",
    }
}
