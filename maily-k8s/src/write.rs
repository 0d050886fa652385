//! Writes and deletes with their preconditions.

use std::collections::BTreeSet;

use http::Method;
use maily_core::{
    object::{Object, ObjectKey},
    planted::{Defect, is_planted},
    provider::{
        Cluster as _, Deleted, Dependents, ErrorKind, Precondition, ProviderError, WriteMode, WriteOptions,
    },
};
use serde_json::{Value, json};

use crate::{
    KubeCluster,
    cluster::object,
    error::{About, PROVIDER, garbled, is_no_path},
    migrate::migrated,
    request::{CALL, Content, is_absent},
};

/// No object is ever at this version, so that an apply with it and without a uid creates or is refused.
/// Found by trial on Kubernetes 1.36 and not documented: the contract suite holds it.
const NEVER: &str = "1";

pub(crate) async fn write(
    cluster: &KubeCluster,
    desired: &Object,
    options: &WriteOptions,
) -> Result<Object, ProviderError> {
    let key = desired.key();
    let name = key.to_string();
    let operation = match &options.mode {
        WriteMode::Apply { .. } => "apply",
        WriteMode::Merge => "patch",
        WriteMode::Migrate { .. } => "migrate the fields of",
    };
    let about = About { operation, resource: &name };
    let path = cluster.path_of(key, about).await?;
    let mut uri = format!("{path}?fieldManager={}{}", options.manager, server_limit("&"));
    if options.dry_run {
        uri.push_str("&dryRun=All");
    }
    let mut body = desired.to_value();
    let content = match &options.mode {
        WriteMode::Apply { force } => {
            uri.push_str("&fieldValidation=Strict");
            if *force {
                uri.push_str("&force=true");
            }
            for field in ["managedFields", "generation", "creationTimestamp", "deletionTimestamp"] {
                remove(&mut body, field);
            }
            body.as_object_mut().map(|map| map.remove("status"));
            Content::Apply
        }
        WriteMode::Merge => Content::MergePatch,
        WriteMode::Migrate { from } => match migration(cluster, desired, options, from, about).await? {
            Migration::Needless(live) => return Ok(live),
            Migration::Patch(patch) => {
                body = patch;
                Content::MergePatch
            }
        },
    };
    if !matches!(options.mode, WriteMode::Migrate { .. }) {
        remove(&mut body, "uid");
        remove(&mut body, "resourceVersion");
        guard(&mut body, &options.precondition);
    }
    let bytes = body.to_string().into_bytes();
    let answer = cluster.inner.wire.call(about, Method::PATCH, &uri, Some((content, bytes)), CALL).await;
    match answer {
        Ok(answer) => {
            if !options.dry_run {
                cluster.inner.discovery.expect(&cluster.inner.wire, desired);
            }
            object(answer.json(about)?, &key.kind, about)
        }
        // An apply with a uid on an absent object is a conflict for the server as well; a patch is not found.
        Err(error)
            if is_absent(&error)
                && matches!(options.precondition, Precondition::Exactly { .. })
                && !namespace_is_missing(&error, key) =>
        {
            Err(ProviderError::new(
                ErrorKind::Conflict,
                PROVIDER,
                operation,
                name,
                "it does not exist any more",
            ))
        }
        // The server tells an apply onto an object of another uid that the uid cannot be changed.
        Err(error)
            if error.kind() == ErrorKind::Invalid
                && matches!(options.precondition, Precondition::Exactly { .. })
                && error.message().contains("metadata.uid: Invalid value") =>
        {
            let message = "another object has this name now";
            Err(ProviderError::new(ErrorKind::Conflict, PROVIDER, operation, name, message))
        }
        Err(error) => Err(error),
    }
}

fn namespace_is_missing(error: &ProviderError, key: &ObjectKey) -> bool {
    key.namespace.is_some() && error.message().starts_with("namespaces ")
}

enum Migration {
    Needless(Object),
    Patch(Value),
}

async fn migration(
    cluster: &KubeCluster,
    desired: &Object,
    options: &WriteOptions,
    from: &BTreeSet<String>,
    about: About<'_>,
) -> Result<Migration, ProviderError> {
    let refuse =
        |kind, message: &str| ProviderError::new(kind, PROVIDER, about.operation, about.resource, message);
    let live = cluster.get(desired.key()).await?;
    let live = live.ok_or_else(|| refuse(ErrorKind::NotFound, "it does not exist"))?;
    if let Precondition::Exactly { uid, resource_version } = &options.precondition
        && (live.uid() != Some(uid) || live.resource_version() != Some(resource_version))
    {
        return Err(refuse(ErrorKind::Conflict, "it has changed"));
    }
    let Some(fields) = migrated(&live, options.manager, from) else { return Ok(Migration::Needless(live)) };
    let mut patch = json!({"metadata": {"managedFields": fields}});
    if let Some(annotations) = desired.at("/metadata/annotations") {
        patch["metadata"]["annotations"] = annotations.clone();
    }
    let (Some(uid), Some(version)) = (live.uid(), live.resource_version()) else {
        return Err(garbled(about, "the object has no uid"));
    };
    patch["metadata"]["uid"] = uid.into();
    patch["metadata"]["resourceVersion"] = version.into();
    Ok(Migration::Patch(patch))
}

fn guard(body: &mut Value, precondition: &Precondition) {
    match precondition {
        Precondition::Any => {}
        Precondition::Absent => body["metadata"]["resourceVersion"] = NEVER.into(),
        Precondition::Exactly { uid, resource_version } => {
            body["metadata"]["uid"] = uid.as_str().into();
            body["metadata"]["resourceVersion"] = resource_version.as_str().into();
        }
    }
}

fn remove(body: &mut Value, field: &str) {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(field);
    }
}

/// The server ends its own work on a change before we stop waiting: a late effect stays bounded.
fn server_limit(joined_by: &str) -> String {
    if is_planted(Defect::ServerUnlimited) { String::new() } else { format!("{joined_by}timeout=10s") }
}

pub(crate) async fn delete(
    cluster: &KubeCluster,
    key: &ObjectKey,
    precondition: &Precondition,
    dependents: Dependents,
) -> Result<Deleted, ProviderError> {
    let name = key.to_string();
    let about = About { operation: "delete", resource: &name };
    let path = cluster.path_of(key, about).await?;
    let policy = match dependents {
        Dependents::Follow => "Background",
        Dependents::GoFirst => "Foreground",
    };
    let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
    if let Precondition::Exactly { uid, resource_version } = precondition {
        body["preconditions"] = json!({"uid": uid, "resourceVersion": resource_version});
    }
    let uri = format!("{path}{}", server_limit("?"));
    let bytes = body.to_string().into_bytes();
    let wire = &cluster.inner.wire;
    let answer = match wire.call(about, Method::DELETE, &uri, Some((Content::Json, bytes)), CALL).await {
        Ok(answer) => answer.json(about)?,
        Err(error) if is_no_path(&error) => {
            cluster.inner.discovery.is_served_still(wire, &key.kind).await?;
            return Ok(Deleted::AlreadyAbsent);
        }
        Err(error) if is_absent(&error) => return Ok(Deleted::AlreadyAbsent),
        Err(error) => return Err(error),
    };
    // A `Status` says that it is gone; the object itself, that something holds it.
    if answer.get("kind").and_then(Value::as_str) == Some("Status") {
        return Ok(Deleted::Gone);
    }
    let held = answer.pointer("/metadata/deletionTimestamp").is_some();
    match (held, answer.pointer("/metadata/uid").and_then(Value::as_str)) {
        (true, Some(uid)) => Ok(Deleted::Pending { uid: uid.to_owned() }),
        _ => Ok(Deleted::Gone),
    }
}
