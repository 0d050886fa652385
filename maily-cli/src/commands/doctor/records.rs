//! What is on record: releases, runs, and the values of Secrets that a way back needs.

use futures::{FutureExt as _, StreamExt as _, stream};
use maily_core::{
    engine::{EnvironmentError, Head, Loss, LostValue, ReleaseId, history, journal::JournalError},
    release::UnfinishedRun,
};

use super::Findings;
use crate::{
    render::{by_the_clock, plain, see_run, ways_on},
    wire::Wired,
};

/// Releases that are read at once.
const READS: usize = 8;
/// Lost values that are named; who mends the cause mends the others.
const SHOWN: usize = 5;

pub(super) async fn records(wired: &Wired, findings: &mut Findings) {
    match wired.environment.head().await {
        Err(error) => findings.unseen("records", error),
        Ok(head) => {
            let release =
                head.release.as_ref().map(|(_, release)| format!("release {} is in force", release.id));
            findings.add("ok", "records", release.unwrap_or_else(|| "nothing released yet".to_owned()), None);
            releases(wired, &head, findings).await;
            journals(wired, &head, findings).await;
            payloads(wired, &head, findings).await;
            run(wired, &head, findings).await;
        }
    }
}

/// A run that has not ended, and whether somebody lives who carries it out.
async fn run(wired: &Wired, head: &Head, findings: &mut Findings) {
    let Some(unfinished) = &head.unfinished else { return };
    let run = &unfinished.recorded.run;
    match maily_core::release::unfinished(&wired.environment, head).await {
        Err(error) => findings.unseen("run", error),
        Ok(Some(UnfinishedRun { alive: true, holder: Some(holder), .. })) => {
            let held = format!("{run} is under way, held by {}", by_the_clock(&plain(&holder)));
            findings.add("ok", "run", held, None);
        }
        Ok(Some(UnfinishedRun { stuck: Some(why), .. })) => {
            let help = see_run(run, &wired.environment.name);
            findings.add("warn", "run", format!("{run} is stuck: {}", plain(&why)), Some(&help));
        }
        Ok(_) => {
            let open = format!("{run} has not ended, and nobody carries it out");
            findings.add("warn", "run", open, Some(&ways_on(&wired.environment.name)));
        }
    }
}

/// Records of earlier releases that cannot be read.
async fn releases(wired: &Wired, head: &Head, findings: &mut Findings) {
    let environment = &wired.environment;
    let reads = head.releases.iter().map(|id| {
        let id = *id;
        environment.read(move |records| history::release_head(records, id).boxed())
    });
    let mut reads = stream::iter(reads).buffered(READS);
    while let Some(read) = reads.next().await {
        match read {
            Ok(_) => {}
            Err(EnvironmentError::Journal(error @ JournalError::Damaged { .. })) => {
                let help = "there is no way back to it unless it is brought back from a backup of the namespace; it goes \
                            with the releases that are forgotten after it";
                findings.add("warn", "release", error.to_string(), Some(help));
            }
            Err(error @ EnvironmentError::Journal(JournalError::Newer { .. })) => {
                findings.unseen("release", error);
            }
            // Whoever keeps the records would say the same of all others.
            Err(error) => return findings.unseen("release", error),
        }
    }
}

/// Journals that cannot be read whole, and one that does not tell of the release that it made.
async fn journals(wired: &Wired, head: &Head, findings: &mut Findings) {
    let all = |records| maily_core::release::runs(records, usize::MAX).boxed();
    let runs = match wired.environment.read(all).await {
        Ok(runs) => runs,
        Err(error) => return findings.unseen("journals", error),
    };
    for run in &runs {
        if let Some(damaged) = &run.damaged {
            let help = format!(
                "bring it back from a backup of the namespace; where it is of the release in force and there is none, \
                 `mailyctl deploy --env {} --version VERSION --anew` begins again from what is in the cluster",
                wired.environment.name
            );
            findings.add("bad", "journal", damaged.clone(), Some(&help));
        }
    }
    let Some((released, release)) = &head.release else { return };
    if runs.iter().any(|run| run.run == *released && run.outcome.is_none() && run.damaged.is_none()) {
        let what = format!("run {released} made release {}, and its journal has lost its end", release.id);
        findings.add("bad", "journal", what, Some("bring its last segment back from a backup"));
    }
}

/// Values of Secrets that are on record by their names alone.
async fn payloads(wired: &Wired, head: &Head, findings: &mut Findings) {
    let stored = match wired.environment.stored_values(head).await {
        Ok(stored) => stored,
        Err(error) => return findings.unseen("payloads", error),
    };
    if let Some(key) = &stored.lost_key {
        let detail = format!("{key} is gone, the key by which stored values of Secrets are found");
        let help = "bring it back from a backup of the namespace before the next run makes another one: with another \
                    one there is no way back to a release that has a Secret";
        findings.add("bad", "payloads", detail, Some(help));
    }
    let in_force = head.release.as_ref().map(|(_, release)| release.id);
    let (now, before): (Vec<&LostValue>, Vec<&LostValue>) =
        stored.lost.iter().partition(|lost| in_force.is_some_and(|id| lost.releases.contains(&id)));
    if let (Some(id), false) = (in_force, now.is_empty()) {
        let detail = format!("release {id}, which is in force, could not be gone back to: {}", told(&now));
        let version = version_of(head);
        let changed = now.iter().any(|lost| lost.loss == Loss::Changed);
        let first = if changed { "delete what is not as it was stored; then, " } else { "" };
        let help = format!(
            "{first}while the files or the Secret itself have the value, `mailyctl plan --env {} --version {version} \
             --out FILE` stores it again, as the next run does that changes something; else bring it back from a backup of the namespace",
            wired.environment.name
        );
        findings.add("bad", "payloads", detail, Some(&help));
    }
    if !before.is_empty() {
        let ids: std::collections::BTreeSet<ReleaseId> =
            before.iter().flat_map(|lost| lost.releases.iter().copied()).collect();
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let detail = format!("there is no way back to release {}: {}", ids.join(", "), told(&before));
        findings.add("warn", "payloads", detail, Some("bring it back from a backup of the namespace"));
    }
    if stored.count > 0 && stored.lost.is_empty() && stored.lost_key.is_none() {
        let values = if stored.count == 1 { "value" } else { "values" };
        findings.add("ok", "payloads", format!("{} {values} of Secrets can be restored", stored.count), None);
    }
}

/// The version in force, where there is one for all.
fn version_of(head: &Head) -> &str {
    let mut versions = head.release.iter().flat_map(|(_, release)| release.versions.values());
    match versions.next() {
        Some(first) if versions.all(|version| version == first) => first,
        _ => "VERSION",
    }
}

fn told(lost: &[&LostValue]) -> String {
    let told = lost.iter().take(SHOWN).map(|lost| {
        let LostValue { object, field, payload, loss, .. } = lost;
        let what = match loss {
            Loss::Missing => "is gone",
            Loss::Changed => "does not fit its name, or the key is another one",
        };
        format!("`{field}` of {} ({} {what})", object.short(), payload.name)
    });
    let mut text = told.collect::<Vec<_>>().join(", ");
    if lost.len() > SHOWN {
        text.push_str(&format!(" and {} more", lost.len() - SHOWN));
    }
    text
}
