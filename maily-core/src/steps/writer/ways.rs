//! What a person can do about an object that is neither as it was before the run nor as the run had written it, so that
//! the rest can go back.

use super::Writer;
use crate::{
    object::{Object, ObjectKey},
    run::{Change, FieldChange, is_secret_key, sealed_value},
};

/// So many fields of an edit are named one by one.
const NAMED: usize = 3;
/// So long a value may be that is named.
const LONGEST: usize = 80;

/// An edit of an object: what is different from what the run had written, and from what was before it.
#[derive(Debug, Default)]
pub(super) struct Edit {
    pub(super) since: Vec<FieldChange>,
    pub(super) from_before: Vec<FieldChange>,
}

impl Writer<'_> {
    /// Ways to a state from which the object goes back, or need not.
    pub(super) fn ways(&self, change: &Change, edit: Option<&Edit>, live: Option<&Object>) -> String {
        let key = &change.key;
        let mut ways = Vec::new();
        if let Some(edit) = edit {
            ways.push(format!("undo the edit of {key}{}", self.undone(key, &edit.since)));
        }
        ways.push(match &change.before {
            None => {
                let named = format!("{} {}{}", key.kind.named(), key.name, key.namespace_option());
                let made = self.context.written(&self.step.id, key).and_then(|written| written.uid);
                if live.is_some_and(|live| live.uid() != made.as_deref() && !self.is_ours(live)) {
                    format!(
                        "{key} is none that the run has made: where somebody needs it, leave it and end the run; only \
                         where nobody does, take it away: `kubectl delete {named}`"
                    )
                } else {
                    format!("take {key} away, as there was none before the run: `kubectl delete {named}`")
                }
            }
            Some(_) if is_secret_key(key) => {
                let values = edit.and_then(|edit| self.put_in(key, &edit.from_before));
                match values {
                    Some(command) => format!("put the values of before the run into {key}: {command}"),
                    None => format!(
                        "put {key} back as it was before the run, by `kubectl {}` of what it was made of then: no release \
                         shows its values",
                        if live.is_some() { "replace" } else { "apply" }
                    ),
                }
            }
            Some(before) => {
                let command = if live.is_some() { ", by `kubectl replace`" } else { "" };
                // No release has what this very run was going to take over.
                let release = self.context.base.filter(|_| !before.adopted).map(|base| {
                    let environment = &self.context.environment;
                    format!(
                        ": release {base} has it (`mailyctl show release {base} --env {environment} --output json`)"
                    )
                });
                format!("put {key} back as it was before the run{command}{}", release.unwrap_or_default())
            }
        });
        ways.join("; or ")
    }

    /// What undoes an edit, where it can be told in short.
    fn undone(&self, key: &ObjectKey, since: &[FieldChange]) -> String {
        let whole = ", so that it is as the run had written it".to_owned();
        if is_secret_key(key) {
            return self.put_in(key, since).map_or(whole, |command| format!(": {command}"));
        }
        let is_short = |value: &String| value.len() <= LONGEST && !value.contains(['\n', '`']);
        if since.is_empty()
            || since.len() > NAMED
            || !since.iter().filter_map(|f| f.from.as_ref()).all(is_short)
        {
            return whole;
        }
        let fields: Vec<String> = since
            .iter()
            .map(|field| match &field.from {
                Some(value) => format!("`{}` is to be `{value}` again", field.path),
                None => format!("`{}` is to be gone again", field.path),
            })
            .collect();
        format!(": {}", fields.join(", "))
    }

    /// Commands that put former values into a Secret, out of where they are kept: nobody sees them. None where more than
    /// values was changed.
    fn put_in(&self, key: &ObjectKey, fields: &[FieldChange]) -> Option<String> {
        let namespace = key.namespace_option();
        let commands: Option<Vec<String>> = fields
            .iter()
            .map(|field| {
                let name = field.path.strip_prefix("data.")?;
                let data = match &field.from {
                    None => format!("'{{\"data\":{{\"{name}\":null}}}}'"),
                    Some(value) => {
                        let kept = self.context.sealer.payload(sealed_value(value)?);
                        format!(
                            "\"$(kubectl get secret {}{} --output go-template='{{\"data\":{{\"{name}\":\"{{{{.data.value}}}}\"}}}}')\"",
                            kept.name,
                            kept.namespace_option()
                        )
                    }
                };
                Some(format!("`kubectl patch Secret {}{namespace} --patch {data}`", key.name))
            })
            .collect();
        commands.filter(|commands| !commands.is_empty()).map(|commands| commands.join(" and "))
    }
}
