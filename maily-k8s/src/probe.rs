//! A look at a Service through the API server.

use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use maily_core::{
    provider::{ErrorKind, ProviderError},
    runtime::within,
};
use serde_json::Value;

use crate::{
    client::{Login, Unanswered},
    error::{About, PROVIDER, failed},
    request::{Wire, is_gateway},
};

/// How long the text of a refusal is waited for.
const READ: Duration = Duration::from_secs(2);
/// So much of it is read, in bytes.
const MOST: usize = 64 << 10;
/// So much of it is quoted, in characters.
const LENGTH: usize = 300;

pub(crate) async fn service(
    wire: &Wire,
    namespace: &str,
    name: &str,
    port: u16,
    path: &str,
    given: Duration,
) -> Result<u16, ProviderError> {
    let resource = format!("Service {namespace}/{name}:{port}");
    let about = About { operation: "probe", resource: &resource };
    let path = path.trim_start_matches('/');
    let uri = format!("/api/v1/namespaces/{namespace}/services/{name}:{port}/proxy/{path}");
    let refuse =
        |kind, message: String| ProviderError::new(kind, PROVIDER, "probe", resource.clone(), message);
    let request = || Request::builder().method(Method::GET).uri(uri.as_str()).body(Body::empty());
    // A service may want a login of its own: nobody is asked to log in to the cluster again for it.
    let (mut login, mut limit) = (Login::Kept, given);
    loop {
        let answer = match wire.client.send(&*wire.runtime, limit, login, request).await {
            Ok((answer, left)) => {
                limit = left;
                answer
            }
            Err(Unanswered::Late) => {
                let message = format!("no answer within {} s", given.as_millis().div_ceil(1000));
                return Err(refuse(ErrorKind::DeadlineExceeded, message));
            }
            Err(Unanswered::Failed(error)) => return Err(failed(about, wire.client.server(), error)),
        };
        let status = answer.status();
        // The API server's own answers look like the service's. These cannot be told from it: it refuses for load
        // without words of its own, and so may what stands between. All others of its own have their form.
        let open =
            is_gateway(status) || matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
        if !open && !status.is_client_error() && !status.is_server_error() {
            return Ok(status.as_u16());
        }
        let (parts, body) = answer.into_parts();
        let read = within(&*wire.runtime, READ, Limited::new(body, MOST).collect()).await;
        let body = read.and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        if !open && own(&body).is_none() {
            return Ok(status.as_u16());
        }
        if status == StatusCode::UNAUTHORIZED && login == Login::Kept && wire.client.renews() {
            login = Login::Renewed;
            continue;
        }
        let form = parts.headers.get(header::CONTENT_TYPE).and_then(|form| form.to_str().ok());
        return Err(refuse(ErrorKind::Unavailable, refusal(status, form.unwrap_or_default(), &body)));
    }
}

/// What the API server itself says.
fn own(body: &[u8]) -> Option<Value> {
    let is_own = |body: &Value| body["kind"] == "Status" && body["apiVersion"] == "v1";
    serde_json::from_slice::<Value>(body).ok().filter(is_own)
}

/// Whose refusal it is, as far as the answer tells, in its own words.
fn refusal(status: StatusCode, form: &str, body: &[u8]) -> String {
    let own = own(body);
    let said = own.as_ref().and_then(|body| body["message"].as_str());
    if let Some(said) = said {
        return format!("the API server itself refused it with {status}: {}", quoted(said));
    }
    let whose =
        format!("{status} came from the API server's proxy, something on the way, or the service itself");
    // A page for browsers says nothing in a line.
    let text =
        if form.starts_with("text/plain") { quoted(&String::from_utf8_lossy(body)) } else { String::new() };
    if text.is_empty() { whose } else { format!("{whose}: {text}") }
}

/// A text of others in one line that is not too long.
fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_quoted_and_told_whose_it_is() {
        let status = StatusCode::FORBIDDEN;
        let own = br#"{"kind": "Status", "apiVersion": "v1", "message": "services \"web\" is forbidden: User \"ci\" cannot get services/proxy"}"#;
        assert_eq!(
            refusal(status, "application/json", own),
            "the API server itself refused it with 403 Forbidden: services \"web\" is forbidden: User \"ci\" cannot get services/proxy"
        );
        let open =
            "403 Forbidden came from the API server's proxy, something on the way, or the service itself";
        let denied = refusal(status, "text/plain; charset=utf-8", b"resolve_deny:\n denied destination\n");
        assert_eq!(denied, format!("{open}: resolve_deny: denied destination"));
        assert_eq!(refusal(status, "text/html", b"<html>"), open);
        assert_eq!(refusal(status, "application/json", br#"{"message": "mine"}"#), open);
        let long = refusal(status, "text/plain", "ä".repeat(9000).as_bytes());
        assert!(long.ends_with("ä…") && long.chars().count() < 500, "{long}");
    }
}
