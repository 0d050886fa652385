//! Why a workload does not serve, and what a person can do about it.

use super::{journal::ReleaseHead, origins::way_back};
use crate::{
    object::Object,
    rollout::{Health, unready},
};

/// What ails a workload.
#[derive(Clone, Debug)]
pub(crate) struct Ailment {
    pub(crate) why: String,
    cure: Cure,
}

#[derive(Clone, Debug)]
enum Cure {
    /// The log of a container tells more: of its last start, or of the one before.
    Log { previous: bool },
    /// Nothing of it runs yet that could tell more, and it may never.
    NoLog,
    /// What else helps.
    Command(String),
    /// To wait.
    Patience,
}

impl Ailment {
    /// What a verdict says, and the pods that it was made from; none where it serves, or cannot be told.
    pub(crate) fn of(health: &Health, pods: &[&Object]) -> Option<Self> {
        let log = |found: Option<&(String, bool)>| match found {
            Some((_, previous)) => Cure::Log { previous: *previous },
            None => Cure::NoLog,
        };
        Some(match health {
            Health::Failed(reason) => {
                Self { why: reason.message.clone(), cure: log(reason.container.as_ref()) }
            }
            Health::HeldUp { why, way_on, .. } => {
                Self { why: why.clone(), cure: Cure::Command(way_on.clone()) }
            }
            Health::Waiting { why, .. } => {
                let mut logs = pods.iter().filter_map(|pod| unready(pod));
                let cure = logs.next().map_or(Cure::Patience, |found| log(found.as_ref()));
                Self { why: why.clone(), cure }
            }
            Health::Done | Health::Ask(_) => return None,
        })
    }

    /// The command without which it stays as it is, where there is one.
    pub(crate) fn command(&self) -> Option<String> {
        match &self.cure {
            Cure::Command(command) => Some(command.clone()),
            _ => None,
        }
    }

    /// What a person can do about it, where something helps.
    pub(crate) fn remedy(
        &self,
        environment: &str,
        service: &str,
        in_force: Option<&ReleaseHead>,
    ) -> Option<String> {
        let (first, may_go_back) = match &self.cure {
            Cure::Log { previous } => {
                let previous = if *previous { " --previous" } else { "" };
                let log =
                    format!("`mailyctl logs {service} --env {environment}{previous}` shows its last words");
                (Some(log), true)
            }
            Cure::NoLog => (None, true),
            Cure::Command(command) => (Some(command.clone()), true),
            Cure::Patience => (None, false),
        };
        let back = way_back(environment, service, in_force).filter(|_| may_go_back);
        let all: Vec<String> = first.into_iter().chain(back).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
