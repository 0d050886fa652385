//! Every entry that a journal may have, each with all that it may tell.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maily_core::{
    engine::{
        Epoch, Failure, Outcome, ReleaseId, StepId, Stuck,
        journal::{JournalEvent, ReleaseHead, StepResult, Written},
    },
    provider::Effect,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).expect("is a time")
}

fn step(subject: &str) -> StepId {
    StepId::new("production", subject, "rollout")
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn failure() -> Failure {
    Failure {
        object: Some("Pod shop/web-1".to_owned()),
        evidence_at: Some(at(3)),
        log: vec!["panic: no configuration".to_owned()],
        events: vec!["BackOff: Back-off restarting failed container (x3)".to_owned()],
        ..Failure::new("crash-loop", "container `web` crashes again and again")
    }
    .with_hint("see its log")
    .with_effect(Effect::Done)
}

fn result() -> StepResult {
    let there = Written {
        uid: Some("u-1".to_owned()),
        fingerprint: "f-1".to_owned(),
        released: "r-1".to_owned(),
        images: BTreeMap::new(),
    };
    let gone =
        Written { uid: None, fingerprint: String::new(), released: String::new(), images: BTreeMap::new() };
    let written = [("Deployment shop/web".to_owned(), there), ("Service shop/old".to_owned(), gone)]
        .into_iter()
        .collect();
    StepResult { written, artefact: Some("dpl_1".to_owned()), unanswered: true }
}

fn head() -> ReleaseHead {
    ReleaseHead {
        id: ReleaseId(4),
        versions: map(&[("web", "v1")]),
        title: "deploy v1".to_owned(),
        fingerprints: map(&[("Deployment shop/web", "r-1")]),
        images: BTreeMap::new(),
        frontends: map(&[("site", "dpl_1")]),
        origins: BTreeMap::new(),
        beside_trouble: false,
        at: at(9),
    }
}

/// The entries by segment; the first segment is the one with the plan of this digest.
pub(crate) fn segments(plan: &str) -> Vec<Vec<JournalEvent>> {
    use JournalEvent as E;
    let (by, reason) = ("tester".to_owned(), Some("as asked".to_owned()));
    let stuck = Stuck { step: step("web"), why: failure(), remedy: "mend it".to_owned() };
    let over = |outcome, release| E::RunFinished { outcome, release, at: at(9) };
    vec![
        vec![
            E::RunStarted { plan: plan.to_owned(), by: by.clone(), reason: reason.clone() },
            E::StepStarted { step: step("web"), at: at(1) },
        ],
        vec![
            E::GateDecided {
                step: step("web"),
                verdict: "pass".to_owned(),
                evidence: "answered 200".to_owned(),
                by: by.clone(),
                at: at(2),
            },
            E::StepApplied { step: step("web"), result: result(), at: at(2) },
        ],
        vec![
            E::StepFailed { step: step("api"), failure: failure(), result: result(), at: at(4) },
            E::Turned { why: failure(), step: Some(step("api")), by: by.clone(), at: None },
            E::UndoStarted { step: step("web"), at: None },
        ],
        vec![
            E::Undone { step: step("web"), at: at(5) },
            E::UndoFailed { step: step("api"), failure: failure(), remedy: "mend it".to_owned(), at: None },
            E::Paused { why: "interrupted".to_owned(), items: Vec::new(), at: None },
        ],
        vec![E::EpochClaimed { epoch: Epoch(8), by, reason, at: None }],
        // A run ends once; here all its ends stand in a row.
        vec![
            over(Outcome::Succeeded { release: ReleaseId(4), not_serving: Vec::new() }, Some(head())),
            over(Outcome::Unchanged { not_serving: Vec::new() }, None),
            over(
                Outcome::RolledBack { step: Some(step("api")), why: failure(), not_serving: Vec::new() },
                None,
            ),
            over(Outcome::Stuck { items: vec![stuck] }, None),
            over(Outcome::Cancelled { why: "it had written nothing".to_owned() }, None),
        ],
    ]
}
