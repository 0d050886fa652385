//! Which release `--last-good` means.

use super::{past::Past, rollback::RollbackError};
use crate::{
    engine::{
        Environment, Goal, Head, Note, Outcome, ReleaseId, RunId,
        history::Release,
        journal::{self, JournalError},
        last_good as last_good_of, runs_after,
    },
    provider::RecordStore,
};

/// Which release is the last good one: the newest before that in force which is otherwise, and which no rollback has
/// left; or that in force itself, after a deploy that failed on top of it. With the second comes a note that says so.
/// What was found comes before the first release.
pub(super) async fn last_good(
    past: &mut Past<'_>,
    environment: &Environment,
    head: &Head,
    components: Option<&[String]>,
) -> Result<(ReleaseId, Option<Note>), RollbackError> {
    let (records, kept) = (&*environment.records, environment.retention.releases);
    let heads = past.until(|heads| last_good_of(heads, components).is_some()).await?;
    let before = last_good_of(heads, components);
    let cut = past.is_cut();
    let Some(run) = failed_since(records, head, components).await? else {
        return match before {
            None if cut => Err(RollbackError::NoneOnRecord { kept }),
            before => Ok((before.unwrap_or(ReleaseId(0)), None)),
        };
    };
    let further = match before {
        Some(before) => {
            format!("`mailyctl rollback --env {} --release {before}` goes further back", environment.name)
        }
        None if cut => "no earlier one is on record".to_owned(),
        None => "before it there is only what was found".to_owned(),
    };
    let in_force = head.releases.last().copied().unwrap_or(ReleaseId(0));
    let text = format!(
        "release {in_force} is in force and the last good one: run {run} failed after it and made no release; {further}"
    );
    Ok((in_force, Some(Note { topic: "last-good".to_owned(), text })))
}

/// The newest deploy of these components that failed after the release in force. A rollback that failed does not
/// count: whoever wanted away from a release still wants to.
async fn failed_since(
    records: &dyn RecordStore,
    head: &Head,
    components: Option<&[String]>,
) -> Result<Option<RunId>, JournalError> {
    let Some((released, _)) = &head.release else { return Ok(None) };
    for (epoch, run) in runs_after(records, released).await? {
        let Some(recorded) = journal::read(records, &run).await? else { continue };
        // It came before, and somebody wanted to take it over when it had ended.
        if recorded.ended_before(epoch) {
            continue;
        }
        let failed =
            matches!(recorded.outcome(), Some((Outcome::RolledBack { .. } | Outcome::Stuck { .. }, _)));
        let Some(plan) = recorded.plan.filter(|_| failed) else { continue };
        let touched = components.is_none_or(|names| {
            plan.steps.iter().any(|step| step.service.as_ref().is_some_and(|name| names.contains(name)))
        });
        if matches!(plan.goal, Goal::Deploy { .. }) && touched {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// Refuses to go back to where there was nothing: that would take the application out, which nobody means by going
/// back.
pub(super) fn something_there(release: &Release, components: Option<&[String]>) -> Result<(), RollbackError> {
    if release.head.id != ReleaseId(0) {
        return Ok(());
    }
    let has = |name: &String| {
        release.objects.values().any(|object| object.service.as_ref() == Some(name))
            || !release.head.versions.contains_key(name)
    };
    match components {
        None if release.objects.is_empty() => Err(RollbackError::NothingBefore { component: None }),
        None => Ok(()),
        Some(names) => match names.iter().find(|name| !has(name)) {
            Some(name) => Err(RollbackError::NothingBefore { component: Some(name.clone()) }),
            None => Ok(()),
        },
    }
}
