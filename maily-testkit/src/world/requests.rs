//! Requests of clients.

use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{ErrorKind, Precondition, WriteMode, WriteOptions},
};
use serde_json::{Value, json};

use super::{
    World,
    apply::{apply, migrate, patch},
    defaults::{fill, frozen, invalid},
    misfit::{misfit, stored},
    misfit_pods,
};

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub kind: ErrorKind,
    /// In words.
    pub message: String,
}

fn refuse(kind: ErrorKind, message: impl Into<String>) -> Refusal {
    Refusal { kind, message: message.into() }
}

/// An object in the version in which it is asked for. No definition of this world converts more than the version itself.
pub(crate) fn in_version(object: &Object, kind: &ObjectKind) -> Object {
    if object.key().kind.api_version == kind.api_version {
        return object.clone();
    }
    let mut body = object.to_value();
    body["apiVersion"] = kind.api_version.clone().into();
    Object::from_value(body).unwrap_or_else(|_| object.clone())
}

impl World {
    /// Writes an object and answers what became of it.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn write(&mut self, object: &Object, options: &WriteOptions) -> Result<Object, Refusal> {
        self.write_behind(object, options, None)
    }

    /// The same through an API server that has heard of the parameters of policies only up to a version.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn write_behind(
        &mut self,
        object: &Object,
        options: &WriteOptions,
        as_of: Option<u64>,
    ) -> Result<Object, Refusal> {
        let key = object.key();
        let live = self.get(key).map(|live| in_version(live, &key.kind));
        self.admit(key)?;
        check(live.as_ref(), key, &options.precondition)?;
        let time = self.time();
        let written = match &options.mode {
            WriteMode::Apply { force } => {
                let mut desired = without_server_fields(object);
                if let Some(message) = misfit(&desired).or_else(|| misfit_pods::unknown(&desired)) {
                    let message = format!("failed to create typed patch object ({key}): {message}");
                    return Err(refuse(ErrorKind::Invalid, message));
                }
                if desired.kind() == "Secret" {
                    desired.edit(stored);
                }
                apply(live.as_ref(), &desired, options.manager, *force, &time).map_err(|conflicts| {
                    let said: Vec<String> = conflicts
                        .iter()
                        .map(|conflict| {
                            format!("conflict with \"{}\": {}", conflict.manager, conflict.fields.join(", "))
                        })
                        .collect();
                    refuse(ErrorKind::FieldConflict, said.join("; "))
                })?
            }
            WriteMode::Merge => {
                let live =
                    live.as_ref().ok_or_else(|| refuse(ErrorKind::NotFound, format!("{key} not found")))?;
                patch(live, object, options.manager, &time)
            }
            WriteMode::Migrate { from } => {
                let live =
                    live.as_ref().ok_or_else(|| refuse(ErrorKind::NotFound, format!("{key} not found")))?;
                migrate(live, object, options.manager, from, &time)
            }
        };
        if let Some(message) = self.fenced(live.as_ref(), &written, options.manager, as_of) {
            return Err(refuse(ErrorKind::StaleEpoch, message));
        }
        self.accept(live.as_ref(), written, options.dry_run)
    }

    /// Changes an object as another client does: by update, under that client's name. For tests.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn edit_as(
        &mut self,
        manager: &'static str,
        key: &ObjectKey,
        fields: Value,
    ) -> Result<Object, Refusal> {
        let object = maily_core::provider::patch_of(key, fields)
            .map_err(|error| refuse(ErrorKind::Invalid, error.to_string()))?;
        self.write(&object, &WriteOptions::merge(manager, Precondition::Any))
    }

    fn accept(&mut self, live: Option<&Object>, written: Object, dry_run: bool) -> Result<Object, Refusal> {
        let mut written = written;
        // A dry run must not move the counter of addresses.
        fill(&mut written, self.version);
        // What was valid before is not looked through again where only its status or metadata change.
        let as_before = live.is_some_and(|live| live.at("/spec") == written.at("/spec"));
        let message =
            invalid(&written).or_else(|| if as_before { None } else { misfit_pods::invalid(&written) });
        if let Some(message) = message {
            return Err(refuse(ErrorKind::Invalid, format!("{} is invalid: {message}", written.key())));
        }
        match live {
            Some(live) => {
                if let Some(message) = frozen(live, &written) {
                    return Err(refuse(
                        ErrorKind::Invalid,
                        format!("{} is invalid: {message}", written.key()),
                    ));
                }
                if written == *live {
                    return Ok(written);
                }
                if !same_content(live, &written) {
                    let generation = live.generation().unwrap_or(1) + 1;
                    written.edit(|body| body["metadata"]["generation"] = json!(generation));
                }
            }
            None => {
                let (uid, time) = (if dry_run { "dry-run".to_owned() } else { self.uid() }, self.time());
                written.edit(|body| {
                    let metadata = &mut body["metadata"];
                    metadata["uid"] = json!(uid);
                    metadata["creationTimestamp"] = json!(time);
                    metadata["generation"] = json!(1);
                });
            }
        }
        if dry_run {
            return Ok(written);
        }
        let created = live.is_none();
        let stored = self.put(written);
        if created && stored.kind() == "Namespace" {
            self.edit(stored.key(), |body| {
                body.entry("status").or_insert(json!({}))["phase"] = json!("Active")
            });
        }
        if created && stored.kind() == "CustomResourceDefinition" {
            self.edit(stored.key(), |body| {
                body.insert(
                    "status".into(),
                    json!({"conditions": [{"type": "Established", "status": "True"}]}),
                );
            });
        }
        if stored.is_terminating()
            && stored.items("/metadata/finalizers").is_empty()
            && stored.kind() != "Namespace"
        {
            // The last finalizer held it.
            self.remove(stored.key());
            self.collect(stored.uid().unwrap_or_default());
        }
        Ok(self.get(stored.key()).cloned().unwrap_or(stored))
    }

    fn admit(&self, key: &ObjectKey) -> Result<(), Refusal> {
        let Some(namespace) = &key.namespace else { return Ok(()) };
        let name = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, namespace.clone());
        match self.get(&name) {
            None => Err(refuse(ErrorKind::NotFound, format!("namespaces \"{namespace}\" not found"))),
            Some(found) if found.is_terminating() && self.get(key).is_none() => {
                let message = format!(
                    "unable to create new content in namespace {namespace} because it is being terminated"
                );
                Err(refuse(ErrorKind::Invalid, message))
            }
            Some(_) => Ok(()),
        }
    }
}

pub(super) fn check(
    live: Option<&Object>,
    key: &ObjectKey,
    precondition: &Precondition,
) -> Result<(), Refusal> {
    match (precondition, live) {
        (Precondition::Any, _) | (Precondition::Absent, None) => Ok(()),
        (Precondition::Absent, Some(_)) => Err(refuse(ErrorKind::Conflict, format!("{key} exists"))),
        (Precondition::Exactly { .. }, None) => {
            Err(refuse(ErrorKind::Conflict, format!("{key} does not exist")))
        }
        (Precondition::Exactly { uid, resource_version }, Some(live)) => {
            if live.uid() == Some(uid) && live.resource_version() == Some(resource_version) {
                Ok(())
            } else {
                Err(refuse(ErrorKind::Conflict, format!("{key}: the object has been modified")))
            }
        }
    }
}

/// What is applied of an object: not what the server sets by itself.
fn without_server_fields(object: &Object) -> Object {
    const SET: &[&str] = &["managedFields", "resourceVersion", "uid"];
    let metadata = object.body().get("metadata").and_then(Value::as_object);
    let sets = metadata.is_some_and(|metadata| SET.iter().any(|field| metadata.contains_key(*field)));
    let mut object = object.clone();
    // Most requests carry none of them, and need no copy.
    if sets || object.body().contains_key("status") {
        object.edit(|body| {
            body.remove("status");
            if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.retain(|field, _| !SET.contains(&field.as_str()));
            }
        });
    }
    object
}

/// Whether two states of an object are equal in what raises the generation: everything but metadata and status; of a
/// Deployment its annotations too, as seen on 1.36.
fn same_content(one: &Object, other: &Object) -> bool {
    fn content(object: &Object) -> impl Iterator<Item = (&String, &Value)> {
        object.body().iter().filter(|(field, _)| !matches!(field.as_str(), "metadata" | "status"))
    }
    fn annotations(object: &Object) -> impl Iterator<Item = (&String, &Value)> {
        let all = object.at("/metadata/annotations").and_then(Value::as_object);
        all.into_iter().flatten().filter(|(name, _)| *name != "deployment.kubernetes.io/revision")
    }
    content(one).eq(content(other)) && (one.kind() != "Deployment" || annotations(one).eq(annotations(other)))
}
