//! One request and its answer, with a deadline.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use kube::client::Body;
use maily_core::{
    object::ObjectKey,
    planted::{Defect, is_planted},
    provider::{ApiResource, Effect, ErrorKind, ProviderError},
    runtime::{Runtime, within},
};
use serde_json::Value;

use crate::{
    client::{Client, Login, Unanswered},
    error::{About, PROVIDER, failed, garbled, late, refused},
    json,
};

/// Time to connect.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// Time for a read of one object, and for a write.
pub(crate) const CALL: Duration = Duration::from_secs(15);
/// Time for a page of a list.
pub(crate) const PAGE: Duration = Duration::from_secs(30);

/// The time that something may take (T14).
pub(crate) fn at_most(limit: Duration) -> Duration {
    if is_planted(Defect::AnswersAwaited) { Duration::MAX } else { limit }
}

/// Content types of bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    Json,
    Apply,
    MergePatch,
}

impl Content {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Apply => "application/apply-patch+yaml",
            Self::MergePatch => "application/merge-patch+json",
        }
    }
}

/// Content type of an answer as it is wanted.
pub(crate) const JSON: &str = "application/json";
/// A list without what the objects say beyond their metadata; a server that cannot do that sends all.
pub(crate) const METADATA: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: bytes::Bytes,
}

impl Answer {
    pub(crate) fn json(&self, about: About<'_>) -> Result<Value, ProviderError> {
        json::read(&self.body).map_err(|error| {
            garbled(about, format!("the answer is not JSON: {error}"))
                .with_hint("see what answers at the address in the kubeconfig: something in between may do so in the server's place")
        })
    }
}

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) client: Client,
    pub(crate) runtime: std::sync::Arc<dyn Runtime>,
}

impl Wire {
    /// Sends a request and reads the whole answer; every status but success is an error.
    pub(crate) async fn call(
        &self,
        about: About<'_>,
        method: Method,
        uri: &str,
        body: Option<(Content, Vec<u8>)>,
        limit: Duration,
    ) -> Result<Answer, ProviderError> {
        self.ask(about, method, uri, body, JSON, limit).await
    }

    /// Reads a page of a list in the form that is wanted.
    pub(crate) async fn page(
        &self,
        about: About<'_>,
        uri: &str,
        accept: &'static str,
    ) -> Result<Answer, ProviderError> {
        self.ask(about, Method::GET, uri, None, accept, PAGE).await
    }

    async fn ask(
        &self,
        about: About<'_>,
        method: Method,
        uri: &str,
        body: Option<(Content, Vec<u8>)>,
        accept: &'static str,
        limit: Duration,
    ) -> Result<Answer, ProviderError> {
        let (response, left) = self.send(about, method, uri, body, accept, limit).await?;
        self.read(about, response, left, limit).await
    }

    /// Reads with a GET.
    pub(crate) async fn get(
        &self,
        about: About<'_>,
        uri: &str,
        limit: Duration,
    ) -> Result<Answer, ProviderError> {
        self.call(about, Method::GET, uri, None, limit).await
    }

    /// Opens a stream: the deadline holds for its beginning.
    pub(crate) async fn open(
        &self,
        about: About<'_>,
        uri: &str,
        limit: Duration,
    ) -> Result<Response<Body>, ProviderError> {
        let (response, left) = self.send(about, Method::GET, uri, None, JSON, limit).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        match self.read(about, response, left.min(CALL), limit).await {
            Ok(_) => Err(garbled(about, "the answer is no stream")),
            Err(error) => Err(error),
        }
    }

    /// Reads an answer within what is left of a limit.
    async fn read(
        &self,
        about: About<'_>,
        response: Response<Body>,
        left: Duration,
        limit: Duration,
    ) -> Result<Answer, ProviderError> {
        let (parts, body) = response.into_parts();
        let body = within(&*self.runtime, left, body.collect()).await;
        let body = body.ok_or_else(|| late(about, self.client.server(), limit))?;
        let body = body.map_err(|error| {
            self.client.was_away(self.runtime.now());
            let message = "the answer broke off";
            ProviderError::new(ErrorKind::Unavailable, PROVIDER, about.operation, about.resource, message)
                .with_source(error)
        })?;
        let body = body.to_bytes();
        if parts.status.is_success() {
            return Ok(Answer { headers: parts.headers, body });
        }
        let after =
            parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // It names each of its answers, and the rule by which it took the request.
        let own = ["audit-id", "x-kubernetes-pf-flowschema-uid"]
            .iter()
            .any(|name| parts.headers.contains_key(*name));
        let error = refused(about, parts.status, after.map(Duration::from_secs), own, &body);
        if is_of_rights(&error) && self.client.may_have_started(self.runtime.now()) {
            return Err(not_yet(about, &error));
        }
        Err(error)
    }

    async fn send(
        &self,
        about: About<'_>,
        method: Method,
        uri: &str,
        body: Option<(Content, Vec<u8>)>,
        accept: &'static str,
        limit: Duration,
    ) -> Result<(Response<Body>, Duration), ProviderError> {
        let body = body.map(|(content, bytes)| (content, bytes::Bytes::from(bytes)));
        let request = || {
            let mut request =
                Request::builder().method(method.clone()).uri(uri).header(header::ACCEPT, accept);
            let body = match &body {
                Some((content, bytes)) => {
                    request = request.header(header::CONTENT_TYPE, content.name());
                    Body::from(bytes.clone())
                }
                None => Body::empty(),
            };
            request.body(body)
        };
        let began = self.runtime.now();
        let mut answer = self.client.send(&*self.runtime, at_most(limit), Login::Renewed, &request).await;
        // Of all that sends, the engine alone asks again (T13).
        let mut hidden = if is_planted(Defect::LoadHidden) { 15 } else { 0 };
        while hidden > 0 && answer.as_ref().is_ok_and(|(answer, _)| is_busy(answer.status())) {
            hidden -= 1;
            answer = self.client.send(&*self.runtime, at_most(limit), Login::Renewed, &request).await;
        }
        let ms = u64::try_from(self.runtime.now().since(began).as_millis()).unwrap_or(u64::MAX);
        // A query may hold what a person wrote into the address of a check.
        let path = uri.split('?').next().unwrap_or_default();
        match &answer {
            Ok((answer, _)) => {
                tracing::debug!(%method, path, status = answer.status().as_u16(), ms, "request")
            }
            Err(_) => tracing::debug!(%method, path, ms, "request without an answer"),
        }
        answer.map_err(|why| match why {
            Unanswered::Late => late(about, self.client.server(), limit),
            Unanswered::Failed(error) => {
                let error = failed(about, self.client.server(), error);
                // Credentials that could not be got are no word about the server.
                if error.kind() == ErrorKind::Unavailable {
                    self.client.was_away(self.runtime.now());
                }
                error
            }
        })
    }
}

/// Whether the server knows no such person, or no such right. What policies and webhooks deny is neither.
fn is_of_rights(error: &ProviderError) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unauthenticated)
}

/// A refusal by a server that may have started a moment ago: it is asked again.
fn not_yet(about: About<'_>, error: &ProviderError) -> ProviderError {
    let again = again_later(about, error.message());
    match error.hint() {
        Some(hint) => again.with_hint(hint),
        None => again,
    }
}

/// What it said so early is no answer yet.
pub(crate) fn again_later(about: About<'_>, said: &str) -> ProviderError {
    let message = format!("{said} (the API server was away a moment ago)");
    ProviderError::new(ErrorKind::Unavailable, PROVIDER, about.operation, about.resource, message)
        .with_effect(Effect::None)
        .with_retry_after(Duration::from_secs(1))
}

/// Path of a kind, such as `/apis/apps/v1/namespaces/a/deployments`.
pub(crate) fn collection(resource: &ApiResource, namespace: Option<&str>) -> String {
    let mut path = group_path(&resource.kind.api_version);
    if let (true, Some(namespace)) = (resource.namespaced, namespace) {
        path.push_str("/namespaces/");
        path.push_str(namespace);
    }
    path.push('/');
    path.push_str(&resource.plural);
    path
}

/// Path of an object.
pub(crate) fn item(
    resource: &ApiResource,
    key: &ObjectKey,
    about: About<'_>,
) -> Result<String, ProviderError> {
    if resource.namespaced && key.namespace.is_none() {
        return Err(garbled(about, "the kind lives in namespaces and none is given"));
    }
    // What Kubernetes takes as a part of a path: names of RBAC are those of people.
    let fits = |text: &str| !matches!(text, "" | "." | "..") && !text.contains(['/', '%']);
    if !fits(&key.name) || !key.namespace.as_deref().is_none_or(fits) {
        let message = "the name has characters that no name may have";
        return Err(ProviderError::new(
            ErrorKind::Invalid,
            PROVIDER,
            about.operation,
            about.resource,
            message,
        ));
    }
    let namespace = key.namespace.as_deref().map(path_part);
    Ok(format!("{}/{}", collection(resource, namespace.as_deref()), path_part(&key.name)))
}

/// Path of a group and version.
pub(crate) fn group_path(api_version: &str) -> String {
    if api_version.contains('/') { format!("/apis/{api_version}") } else { format!("/api/{api_version}") }
}

/// Text as a value of a query.
pub(crate) fn query_value(text: &str) -> String {
    encoded(text, b"-._~")
}

/// Text as a part of a path.
fn path_part(text: &str) -> String {
    encoded(text, b"-._~:")
}

fn encoded(text: &str, plain: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Whether an error is the answer 404.
pub(crate) fn is_absent(error: &ProviderError) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// Whether a status means that the server has too much to do.
fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || is_gateway(status)
}

/// Whether a status means that a service behind the API server's proxy could not be reached.
pub(crate) fn is_gateway(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}
