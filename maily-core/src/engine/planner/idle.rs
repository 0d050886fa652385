//! What a plan leaves as it is, and does not serve.

use std::collections::BTreeMap;

use crate::{
    engine::{Ailment, Note, Plan, history::Release},
    object::{Object, ObjectKey},
    steps::idle,
};

/// The plan with notes on just what a deploy of it would look at, and wait for; with the causes that are known.
pub(crate) fn tell_idle(
    mut plan: Plan,
    live: &BTreeMap<ObjectKey, Object>,
    causes: &BTreeMap<ObjectKey, Ailment>,
    base: Option<&Release>,
) -> Plan {
    let environment = &plan.environment;
    let told = idle(&plan, live).map(|target| {
        let key = target.key();
        let ailment = causes.get(key);
        let why = match ailment {
            Some(ailment) => ailment.why.clone(),
            None => format!("`mailyctl status --env {environment}` says why"),
        };
        let kept = plan.unchanged.iter().find(|kept| kept.desired.key() == key);
        let service = kept.and_then(|kept| kept.service.as_deref());
        let in_force = base.map(|base| &base.head);
        let remedy = ailment
            .zip(service)
            .and_then(|(ailment, service)| ailment.remedy(environment, service, in_force));
        let remedy = remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
        let text = format!("{key} stays as it is, and does not serve now: {why}{remedy}");
        Note { topic: "not-serving".into(), text }
    });
    let told: Vec<Note> = told.collect();
    if told.is_empty() {
        return plan;
    }
    plan.notes.extend(told);
    plan.notes.sort();
    plan.notes.dedup();
    plan.sealed()
}
