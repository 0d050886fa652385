//! What a plan leaves as it is, and does not serve.

use super::change::Observed;
use crate::{
    engine::{Note, Plan, history::Release, remedy},
    steps::{is_idle, left_alone},
};

/// Notes on just what a deploy of the plan would look at, and wait for.
pub(super) fn notes(plan: &Plan, observed: &Observed, base: Option<&Release>) -> Vec<Note> {
    let environment = &plan.environment;
    let idle = left_alone(plan).filter(|key| observed.objects.get(key).is_some_and(is_idle));
    let told = idle.map(|key| {
        let why = match observed.causes.get(key) {
            Some(why) => why.clone(),
            None => format!("`mailyctl status --env {environment}` says why"),
        };
        let kept = plan.unchanged.iter().find(|kept| kept.desired.key() == key);
        let service = kept.and_then(|kept| kept.service.as_deref());
        let remedy = service.map(|service| remedy(environment, service, base.map(|base| &base.head)));
        let remedy = remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
        let text = format!("{key} stays as it is, and does not serve now: {why}{remedy}");
        Note { topic: "not-serving".into(), text }
    });
    told.collect()
}
