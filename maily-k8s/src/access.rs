//! What the present credentials may do.

use futures::future;
use http::Method;
use maily_core::provider::{Access, Permission, ProviderError};
use serde_json::{Value, json};

use crate::{
    error::About,
    request::{CALL, Content, Wire, again_later},
};

/// Reviews at a time.
const PARALLEL: usize = 8;

pub(crate) async fn allowed(wire: &Wire, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
    let mut answers = Vec::with_capacity(permissions.len());
    for some in permissions.chunks(PARALLEL) {
        let reviews: Vec<_> = some.iter().map(|permission| review(wire, permission)).collect();
        answers.extend(future::try_join_all(reviews).await?);
    }
    Ok(answers)
}

async fn review(wire: &Wire, permission: &Permission) -> Result<Access, ProviderError> {
    let resource = permission.path.as_ref().unwrap_or(&permission.resource);
    let about = About { operation: "review access to", resource };
    let spec = match &permission.path {
        Some(path) => json!({"nonResourceAttributes": {"verb": permission.verb, "path": path}}),
        None => {
            let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
            json!({"resourceAttributes": {
                "verb": permission.verb, "group": permission.group, "resource": resource, "subresource": part,
                "namespace": permission.namespace.clone().unwrap_or_default(),
                "name": permission.name.clone().unwrap_or_default(),
            }})
        }
    };
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": spec,
    });
    let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let body = Some((Content::Json, body.to_string().into_bytes()));
    let answer = wire.call(about, Method::POST, uri, body, CALL).await?.json(about)?;
    let status = |field: &str| answer.pointer(&format!("/status/{field}")).and_then(Value::as_bool);
    match (status("allowed"), answer.pointer("/status/evaluationError")) {
        (Some(true), _) => Ok(Access::Allowed),
        // As little as it refuses for good.
        (Some(false), None) if wire.client.may_have_started(wire.runtime.now()) => {
            Err(again_later(about, "not allowed"))
        }
        (Some(false), None) => Ok(Access::Denied),
        _ => Ok(Access::Unknown),
    }
}
