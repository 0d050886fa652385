//! Who changed an object by hand.

use super::{FieldChange, Sealer, compared, drifted, told};
use crate::object::{FieldSet, Object, editors, managers};

/// Who changed by hand what a release or a run had set: who owns one of these fields now, in the object or by scaling
/// it. Of what is gone nobody is the owner: that may have been anyone who wrote the object.
pub(crate) fn changed_by<'a>(sealer: &Sealer, live: &'a Object, set: &Object) -> Vec<&'a str> {
    let scope = compared(set);
    let edited = |fields: &FieldSet| drifted(&fields.project(set), &sealer.view(live, fields), live);
    let owners: Vec<&str> = people(managers(live))
        .filter(|manager| {
            let theirs = FieldSet::owned_or_scaled_by(live, |name| name == *manager).intersection(&scope);
            !theirs.is_empty() && !edited(&theirs).is_empty()
        })
        .collect();
    if owners.is_empty() && edited(&scope).iter().any(|field| field.to.is_none()) {
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
    clients.into_iter().filter(|name| !name.starts_with("kube-") && !name.starts_with("maily"))
}
