//! Who changed an object by hand.

use super::{
    Change, Epoch, FieldChange, Operation, RunId, Sealer, compared, difference, differing, drifted,
    is_left_since, told,
};
use crate::object::{FieldSet, Object, editors, managers};

/// Clients with which people deploy by hand; their fields become ours when an object is adopted.
const DEPLOYERS: &[&str] = &["before-first-apply", "helm", "Helm", "kubectl"];

/// Whether a manager is a client that deploys and that we take over from on adoption.
pub(crate) fn is_deployer(manager: &str) -> bool {
    DEPLOYERS.contains(&manager) || manager.starts_with("kubectl-") || manager.starts_with("kubectl ")
}

/// Who changed by hand what a release or a run had set: who owns one of these fields now, in the object or by scaling
/// it. Of what is gone nobody is the owner: that may have been anyone who wrote the object.
pub(crate) fn changed_by<'a>(sealer: &Sealer, live: &'a Object, set: &Object) -> Vec<&'a str> {
    let edited = |fields: &FieldSet| drifted(&fields.project(set), &sealer.view(live, fields), live);
    who(live, &compared(set), edited)
}

/// What of an object is not as a release has it, and who changed it; given what of it is compared, and by which run and in
/// which epoch the release was made. What a run has written since is told whatever a person has changed beside it.
pub(crate) fn edited<'a>(
    sealer: &Sealer,
    live: &'a Object,
    released: &Object,
    now: &Object,
    since: Option<(&RunId, Epoch)>,
) -> (Vec<FieldChange>, Vec<&'a str>) {
    let mut by = changed_by(sealer, live, released);
    if !is_left_since(live, since) {
        return (drifted(released, now, live), by);
    }
    by.push("a run that made no release");
    (differing(released, now, live), by)
}

/// What somebody has changed of an object since it was put back as it was before a run, and who: not what controllers go
/// on writing, such as the number of an autoscaler. Operators have names of their own, as people's tools have: of what
/// was made again all is compared, and what they write there counts only where a release sets it.
pub(crate) fn changed_since<'a>(
    sealer: &Sealer,
    live: &'a Object,
    change: &Change,
    before: &Object,
) -> (Vec<FieldChange>, Vec<&'a str>) {
    let mut by_itself = FieldSet::owned_or_scaled_by(live, |manager| !is_person(manager));
    if matches!(change.operation, Operation::Delete | Operation::Replace) {
        // Of what a release had alone that goes nobody knows what it has set: what tools write beside it is in the metadata.
        let released = match &change.desired {
            Some(desired) => compared(desired),
            None => compared(before).without(&["metadata"]),
        };
        let tools = FieldSet::owned_or_scaled_by(live, |manager| !is_deployer(manager));
        by_itself.absorb(tools.difference(&released));
    }
    let scope = change.scope();
    let edited = |fields: &FieldSet| difference(&fields.project(before), &sealer.view(live, fields));
    let left = scope.difference(&by_itself);
    let mut fields = edited(&scope);
    let counted = edited(&left);
    fields.retain(|field| field.to.is_none() || counted.contains(field));
    let by = if fields.is_empty() { Vec::new() } else { who(live, &left, edited) };
    (fields, by)
}

/// The owners of fields of a scope that were edited.
fn who<'a>(
    live: &'a Object,
    scope: &FieldSet,
    edited: impl Fn(&FieldSet) -> Vec<FieldChange>,
) -> Vec<&'a str> {
    let owners: Vec<&str> = people(managers(live))
        .filter(|manager| {
            let theirs = FieldSet::owned_or_scaled_by(live, |name| name == *manager).intersection(scope);
            !theirs.is_empty() && !edited(&theirs).is_empty()
        })
        .collect();
    if owners.is_empty() && edited(scope).iter().any(|field| field.to.is_none()) {
        return people(editors(live)).collect();
    }
    owners
}

/// The first of what was changed, and by whom, in a line.
pub(crate) fn told_edit(fields: &[FieldChange], by: &[&str]) -> String {
    let mut first: Vec<String> = fields.iter().take(3).map(told).collect();
    if first.is_empty() {
        first.push("what the server has filled in".to_owned());
    }
    let by = if by.is_empty() { String::new() } else { format!(" (by {})", by.join(", ")) };
    format!("{}{by}", first.join(", "))
}

/// Clients by which people change objects.
fn people<'a>(clients: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    clients.into_iter().filter(|name| is_person(name))
}

fn is_person(client: &str) -> bool {
    !client.starts_with("kube-") && !client.starts_with("maily")
}
