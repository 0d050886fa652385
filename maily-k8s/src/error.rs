//! The API server's refusals in our terms: the one place that knows status codes and reasons.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use kube::client::AuthError;
use maily_core::{
    planted::{Defect, is_planted},
    provider::{Effect, ErrorKind, ProviderError},
};
use serde_json::Value;

use crate::{plugin::PluginHangs, words};

pub(crate) const PROVIDER: &str = "kubernetes";

/// The server's name for a namespace that is being deleted.
const NAMESPACE_GOES: &str = "NamespaceTerminating";

/// The server's words for a quota that is used up.
const QUOTA: &str = "exceeded quota";

/// The one remedy for every right that is missing.
const ROLE: &str = "`mailyctl doctor --role` prints all that a release needs";

/// What helps where no answer comes.
const REACH: &str = "check that the API server can be reached from here: its address in the kubeconfig, the network with its \
                     VPN or proxy, and whether the server is well";

/// What a request was about, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) operation: &'static str,
    pub(crate) resource: &'a str,
}

/// What is said of a path that the API server does not have: it has no words of its own for that.
const NO_PATH: &str = "the server has no such path";

/// Whether there is no such path, and not only no such object.
pub(crate) fn is_no_path(error: &ProviderError) -> bool {
    error.kind() == ErrorKind::NotFound && error.message() == NO_PATH
}

/// Answers that say what is there, or what is served: they count from the API server alone.
const OF_WHAT_IS_SERVED: [StatusCode; 5] = [
    StatusCode::NOT_FOUND,
    StatusCode::GONE,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::NOT_ACCEPTABLE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
];

/// An answer that is no success; with whether its headers are those of the API server.
pub(crate) fn refused(
    about: About<'_>,
    code: StatusCode,
    retry_after: Option<Duration>,
    own: bool,
    body: &[u8],
) -> ProviderError {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    // Its plain words for a group that it does not serve are those of any server in Go: they are its own by their headers.
    let own = own || status.get("kind").and_then(Value::as_str) == Some("Status");
    if OF_WHAT_IS_SERVED.contains(&code) && !own {
        // Whoever stands between says nothing of what is there, nor of what became of a write.
        let message = format!("{code} did not come from the API server, but from what answers in its place");
        return ProviderError::new(
            ErrorKind::Unavailable,
            PROVIDER,
            about.operation,
            about.resource,
            message,
        )
        .with_hint(REACH);
    }
    let reason = status.get("reason").and_then(Value::as_str).unwrap_or_default();
    let message = match status.get("message").and_then(Value::as_str) {
        Some(message) if !message.is_empty() => message.to_owned(),
        _ if code == StatusCode::NOT_FOUND && status.is_null() => NO_PATH.to_owned(),
        _ => format!("the server answered {code}"),
    };
    let kind = kind(code, reason, &message, &status);
    let hint = hint(kind, &message, &status);
    // Sentences about a permission, a quota or a namespace are the server's own through and through.
    let own = hint.is_some();
    let message =
        if own || !may_quote(about, kind) { message } else { words::without_values(&message, code) };
    let mut error = ProviderError::new(kind, PROVIDER, about.operation, about.resource, message);
    if let Some(hint) = hint {
        error = error.with_hint(hint);
    }
    let unclear = code == StatusCode::INTERNAL_SERVER_ERROR || code == StatusCode::GATEWAY_TIMEOUT;
    if unclear && kind != ErrorKind::Invalid {
        // A write that was answered so may have been committed (T15).
        let refused = is_planted(Defect::GivenUpIsRefused);
        error = error.with_effect(if refused { Effect::None } else { Effect::Unknown });
    }
    let asked = status.pointer("/details/retryAfterSeconds").and_then(Value::as_u64).map(Duration::from_secs);
    match retry_after.or(asked) {
        Some(after) => error.with_retry_after(after),
        None => error,
    }
}

fn kind(code: StatusCode, reason: &str, message: &str, status: &Value) -> ErrorKind {
    let field_conflict = has_cause(status, "FieldManagerConflict");
    match code {
        // The fence's own words (policy.yaml in maily-core/src/engine/fence): told apart from every other policy.
        _ if message.contains("maily-fence") && message.contains("epoch") => ErrorKind::StaleEpoch,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
            ErrorKind::Invalid
        }
        // An apply that does not fit the schema is refused before anything is stored, as an error of the server's own.
        StatusCode::INTERNAL_SERVER_ERROR if words::does_not_fit(message) => ErrorKind::Invalid,
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
        StatusCode::FORBIDDEN if message.contains(QUOTA) => ErrorKind::Invalid,
        // No permission helps here, though the server says "forbidden".
        StatusCode::FORBIDDEN if has_cause(status, NAMESPACE_GOES) => ErrorKind::Invalid,
        StatusCode::FORBIDDEN if is_denied(message) => ErrorKind::Invalid,
        StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
        StatusCode::NOT_FOUND | StatusCode::GONE => ErrorKind::NotFound,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::NOT_ACCEPTABLE => {
            ErrorKind::Unsupported
        }
        StatusCode::CONFLICT if field_conflict => ErrorKind::FieldConflict,
        StatusCode::CONFLICT => ErrorKind::Conflict,
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::Throttled,
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => ErrorKind::DeadlineExceeded,
        _ if code.is_server_error() => match reason {
            "Timeout" | "ServerTimeout" => ErrorKind::DeadlineExceeded,
            _ => ErrorKind::Unavailable,
        },
        _ => ErrorKind::Internal,
    }
}

/// Whether a webhook or a policy has refused what an object says, and not who sends it.
fn is_denied(message: &str) -> bool {
    message.contains("\" denied the request")
        || message.contains("ValidatingAdmissionPolicy '") && message.contains("' denied request")
}

/// Whether the server's words may quote the content of a Secret. Those about versions, managers and load do not.
fn may_quote(about: About<'_>, kind: ErrorKind) -> bool {
    let harmless = matches!(
        kind,
        ErrorKind::Conflict
            | ErrorKind::FieldConflict
            | ErrorKind::NotFound
            | ErrorKind::StaleEpoch
            | ErrorKind::Throttled
            | ErrorKind::Unauthenticated
            | ErrorKind::DeadlineExceeded
    );
    about.resource.starts_with("Secret ") && !harmless
}

fn has_cause(status: &Value, wanted: &str) -> bool {
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    causes.into_iter().flatten().any(|cause| cause.get("reason").and_then(Value::as_str) == Some(wanted))
}

fn hint(kind: ErrorKind, message: &str, status: &Value) -> Option<String> {
    match kind {
        ErrorKind::Unauthenticated => Some("renew the credentials of the kubeconfig's user".to_owned()),
        ErrorKind::PermissionDenied => missing(message),
        _ if has_cause(status, NAMESPACE_GOES) => {
            Some("wait until the namespace is gone, and make it again".to_owned())
        }
        ErrorKind::Invalid if message.contains(QUOTA) => {
            Some("raise the quota, or take away what is not needed".to_owned())
        }
        _ => None,
    }
}

/// The permission to ask for, from the authorizer's sentence: `User "u" cannot patch resource "deployments" in API
/// group "apps" in the namespace "shop"`.
fn missing(message: &str) -> Option<String> {
    let said = message.split_once(" cannot ")?.1;
    let (verb, rest) = said.split_once(' ')?;
    let quoted = |before: &str| Some(rest.split_once(before)?.1.split_once('"')?.0);
    let resource = quoted("resource \"")?;
    let resource = match quoted("in API group \"") {
        Some(group) if !group.is_empty() => format!("{resource}.{group}"),
        _ => resource.to_owned(),
    };
    let role = match quoted("in the namespace \"") {
        // A namespace itself lies in none, whatever the sentence says.
        Some(namespace) if resource == "namespaces" => {
            return Some(format!(
                "ask for a ClusterRole that allows `{verb}` on `namespaces` with `resourceNames: [{namespace}]`: {ROLE}"
            ));
        }
        Some(namespace) => format!("a Role in namespace `{namespace}`"),
        None => "a ClusterRole".to_owned(),
    };
    Some(format!("ask for {role} that allows `{verb}` on `{resource}`: {ROLE}"))
}

/// No answer came from the server of this address.
pub(crate) fn failed(about: About<'_>, server: &str, error: Arc<kube::Error>) -> ProviderError {
    if let Some(message) = of_credentials(&error) {
        let kind = ErrorKind::Unauthenticated;
        // Not as a source: it would tell what the plugin printed and its variables, which are secret.
        return ProviderError::new(kind, PROVIDER, about.operation, about.resource, message)
            .with_hint("renew the credentials of the kubeconfig's user");
    }
    let (kind, hint, message) = match &*error {
        kube::Error::HttpError(_) => (ErrorKind::Invalid, None, "no request can be made of it".to_owned()),
        kube::Error::Api(status) => (ErrorKind::Unavailable, None, status.message.clone()),
        _ => (
            ErrorKind::Unavailable,
            Some(REACH),
            format!("the API server{} could not be reached", at(server)),
        ),
    };
    if let (Some(hint), Some(why)) = (hint, of_network(&error)) {
        // Alone, without the libraries through which it came.
        let message = format!("{message}: {why}");
        return ProviderError::new(kind, PROVIDER, about.operation, about.resource, message).with_hint(hint);
    }
    let error =
        ProviderError::new(kind, PROVIDER, about.operation, about.resource, message).with_source(error);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What the network said, where it was the network.
fn of_network(error: &kube::Error) -> Option<&'static str> {
    use std::io::ErrorKind as Io;
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(Io::ConnectionRefused) => return Some("connection refused"),
            Some(Io::ConnectionReset) => return Some("connection reset"),
            Some(Io::HostUnreachable) => return Some("no route to the host"),
            Some(Io::NetworkUnreachable) => return Some("no route to its network"),
            _ => {}
        }
        cause = error.source();
    }
    None
}

/// What a credential plugin or a token file failed with, at the start or at a renewal.
fn of_credentials(error: &kube::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<PluginHangs>() {
            return Some(error.to_string());
        }
        let of_auth = error.downcast_ref::<AuthError>();
        let of_kube = error.downcast_ref().and_then(|error| match error {
            kube::Error::Auth(error) => Some(error),
            _ => None,
        });
        if let Some(error) = of_auth.or(of_kube) {
            return Some(match error {
                AuthError::AuthExecRun { out, .. } => {
                    let said = String::from_utf8_lossy(&out.stderr);
                    let said = said.lines().map(str::trim).rfind(|line| !line.is_empty());
                    let said = said.map(|line| format!(": {line}")).unwrap_or_default();
                    format!("the credential plugin of the kubeconfig failed ({}){said}", out.status)
                }
                AuthError::AuthExecStart(error) => {
                    format!("the credential plugin of the kubeconfig could not be started: {error}")
                }
                AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
                    "the credential plugin of the kubeconfig did not answer with credentials".to_owned()
                }
                other => format!("the credentials could not be got: {other}"),
            });
        }
        cause = error.source();
    }
    None
}

/// No answer came in time.
pub(crate) fn late(about: About<'_>, server: &str, limit: Duration) -> ProviderError {
    let message = format!("no answer of the API server{} within {} s", at(server), limit.as_secs());
    ProviderError::new(ErrorKind::DeadlineExceeded, PROVIDER, about.operation, about.resource, message)
        .with_hint(REACH)
}

fn at(server: &str) -> String {
    if server.is_empty() { String::new() } else { format!(" at {server}") }
}

/// An answer that cannot be understood.
pub(crate) fn garbled(about: About<'_>, why: impl Into<String>) -> ProviderError {
    ProviderError::new(ErrorKind::Internal, PROVIDER, about.operation, about.resource, why)
}

/// A kind that the server does not serve.
pub(crate) fn unserved(about: About<'_>) -> ProviderError {
    let message = "the cluster does not serve this kind";
    ProviderError::new(ErrorKind::Unsupported, PROVIDER, about.operation, about.resource, message)
        .with_hint("check `apiVersion` and `kind`, or install what defines the kind")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(code: u16, body: &Value) -> ProviderError {
        let about = About { operation: "apply", resource: "Deployment a/b" };
        refused(about, StatusCode::from_u16(code).unwrap(), None, false, body.to_string().as_bytes())
    }

    #[test]
    fn t15_a_504_may_have_taken_effect() {
        let error = of(504, &json!({"reason": "Timeout", "message": "timed out"}));
        assert_eq!((error.kind(), error.effect()), (ErrorKind::DeadlineExceeded, Effect::Unknown));
        let error = of(500, &json!({"message": "etcdserver: leader changed"}));
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
    }

    /// The rule is worth what turns red without it.
    #[cfg(feature = "planted-defects")]
    #[test]
    fn a_504_that_counts_as_a_refusal_turns_its_test_red() {
        maily_core::planted::turns_red(Defect::GivenUpIsRefused, t15_a_504_may_have_taken_effect);
    }

    #[test]
    fn an_apply_that_does_not_fit_the_schema_is_refused_for_good() {
        // Answers of Kubernetes 1.36, which have neither a reason nor details.
        for message in [
            "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.replcas: field not declared in schema",
            "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.replicas: expected numeric (int or float), got string",
            "failed to convert new object (a/b; /v1, Kind=Secret) to proper version: unable to convert unstructured object to /v1, Kind=Secret: error decoding from json: illegal base64 data at input byte 3",
        ] {
            let error = of(500, &json!({"kind": "Status", "message": message, "code": 500}));
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None), "{message}");
            assert!(!error.is_transient());
            assert_eq!(error.message(), message);
        }
        let message = "failed to convert new object (a/b; x.example/v1, Kind=X) to proper version: conversion webhook for x.example/v1, Kind=X failed: connection refused";
        assert!(of(500, &json!({"message": message})).is_transient());
    }

    #[test]
    fn a_refused_secret_is_told_without_the_words_that_may_quote_it() {
        let about = About { operation: "apply", resource: "Secret a/b" };
        for (code, message, told) in [
            (
                500,
                "failed to create typed patch object (a/b; /v1, Kind=Secret): .stringData.n: expected string, got &value.valueUnstructured{Value:31337}",
                ".stringData.n: expected string",
            ),
            (
                500,
                "failed to create typed patch object (a/b; /v1, Kind=Secret): errors:\n  .data.x: expected string, got &{hunter2}\n  .immutable: expected boolean, got &{hunter2}",
                ".immutable: expected boolean",
            ),
            (
                500,
                "failed to create typed patch object (a/b; /v1, Kind=Secret): .stringdata: field not declared in schema",
                ".stringdata: field not declared in schema",
            ),
            (
                422,
                "Secret \"b\" is invalid: data[tls.crt]: Invalid value: \"hunter2\": no certificate",
                "data[tls.crt]: Invalid value",
            ),
            (
                422,
                "Secret \"b\" is invalid: [data[tls.key]: Required value, type: Invalid value: \"hunter2\": field is immutable]",
                "data[tls.key]: Required value",
            ),
            (
                422,
                "Secret \"b\" is invalid: data: Forbidden: field is immutable when `immutable` is set",
                "field is immutable",
            ),
            (
                400,
                "Secret in version \"v1\" cannot be handled as a Secret: json: cannot unmarshal hunter2",
                "not shown",
            ),
            (
                403,
                "admission webhook \"x\" denied the request: hunter2 is too weak",
                "webhook \"x\" denied the request",
            ),
            (503, "hunter2", "not shown"),
        ] {
            let body = json!({"message": message}).to_string();
            let error = refused(about, StatusCode::from_u16(code).unwrap(), None, false, body.as_bytes());
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hunter2") && !text.contains("31337"), "{text}");
            assert!(error.message().contains(told), "`{told}` in {error}");
        }
        // Elsewhere, and where nothing can be quoted, the server's own words.
        let error = of(422, &json!({"message": "spec.x: Invalid value: 5"}));
        assert_eq!(error.message(), "spec.x: Invalid value: 5");
        let conflict = json!({"message": "the object has been modified"}).to_string();
        let error = refused(about, StatusCode::CONFLICT, None, false, conflict.as_bytes());
        assert_eq!(error.message(), "the object has been modified");
    }

    #[test]
    fn t13_a_429_is_passed_on_with_its_pause() {
        let error = of(429, &json!({"message": "slow down", "details": {"retryAfterSeconds": 7}}));
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Throttled, Effect::None));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn conflicts_of_fields_and_of_versions_are_told_apart() {
        let causes = json!([{"reason": "FieldManagerConflict", "field": ".spec.replicas"}]);
        let fields = json!({"reason": "Conflict", "message": "x", "details": {"causes": causes}});
        assert_eq!(of(409, &fields).kind(), ErrorKind::FieldConflict);
        assert_eq!(of(409, &json!({"reason": "Conflict"})).kind(), ErrorKind::Conflict);
    }

    #[test]
    fn a_refusal_names_the_permission_to_ask_for() {
        let message = r#"deployments.apps "b" is forbidden: User "u" cannot patch resource "deployments" in API group "apps" in the namespace "a""#;
        let error = of(403, &json!({"reason": "Forbidden", "message": message}));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let hint = error.hint().unwrap();
        assert!(hint.contains("a Role in namespace `a` that allows `patch` on `deployments.apps`"), "{hint}");
        let message = r#"namespaces is forbidden: User "u" cannot list resource "namespaces" in API group "" at the cluster scope"#;
        let error = of(403, &json!({"reason": "Forbidden", "message": message}));
        assert!(error.hint().unwrap().contains("a ClusterRole that allows `list` on `namespaces`"));
    }

    #[test]
    fn every_missing_right_has_the_same_remedy() {
        for (resource, place) in [("deployments", "shop"), ("namespaces", "kube-system")] {
            let message = format!(
                r#"forbidden: User "u" cannot get resource "{resource}" in API group "" in the namespace "{place}""#
            );
            let hint = of(403, &json!({"reason": "Forbidden", "message": message}));
            let hint = hint.hint().unwrap().to_owned();
            assert!(hint.ends_with("`mailyctl doctor --role` prints all that a release needs"), "{hint}");
            // No Role in a namespace allows to read the namespace of another one.
            let role = if resource == "namespaces" { "a ClusterRole" } else { "a Role in namespace `shop`" };
            assert!(hint.contains(role), "{hint}");
        }
    }

    #[test]
    fn a_server_that_hangs_says_where_it_is_and_what_to_look_at() {
        let about = About { operation: "describe", resource: "cluster" };
        let error = late(about, "127.0.0.1:31200", Duration::from_secs(15));
        assert_eq!(error.brief(), "no answer of the API server at 127.0.0.1:31200 within 15 s");
        assert!(error.hint().is_some_and(|hint| hint.contains("kubeconfig") && hint.contains("VPN")));
    }

    #[test]
    fn a_namespace_that_goes_is_no_question_of_permission() {
        let causes = json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]);
        let message = "unable to create new content in namespace a because it is being terminated";
        let error =
            of(403, &json!({"reason": "Forbidden", "message": message, "details": {"causes": causes}}));
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.hint().unwrap().contains("make it again"), "{error}");
    }

    #[test]
    fn what_a_webhook_or_a_policy_denies_is_no_question_of_permission() {
        for message in [
            r#"admission webhook "guard.example" denied the request: replicas must be odd"#,
            "deployments.apps \"b\" is forbidden: ValidatingAdmissionPolicy 'odd' with binding 'odd' denied request: replicas must be odd",
        ] {
            let error = of(403, &json!({"reason": "Forbidden", "message": message}));
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
            assert_eq!((error.message(), error.hint()), (message, None));
        }
        // The fence speaks for itself.
        let message = "ValidatingAdmissionPolicy 'maily-fence-production' with binding 'maily-fence-production' denied request: epoch 3 is older than 4";
        assert_eq!(
            of(403, &json!({"reason": "Forbidden", "message": message})).kind(),
            ErrorKind::StaleEpoch
        );
    }

    #[test]
    fn a_quota_that_is_used_up_is_to_be_raised() {
        let about = About { operation: "apply", resource: "Secret a/maily-production.run.r.000001" };
        let message = r#"secrets "b" is forbidden: exceeded quota: full, requested: secrets=1, used: secrets=9, limited: secrets=9"#;
        let body = json!({"reason": "Forbidden", "message": message}).to_string();
        let error = refused(about, StatusCode::FORBIDDEN, None, false, body.as_bytes());
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
        assert_eq!(error.message(), message, "nothing in it is anybody's value");
        assert!(error.hint().unwrap().contains("raise the quota"), "{error}");
    }

    #[test]
    fn a_refusal_without_a_body_still_says_something() {
        let error = of(418, &Value::Null);
        assert!(error.to_string().contains("418"), "{error}");
    }
}
