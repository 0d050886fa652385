//! Vault's refusals in our terms: the one place that knows its status codes and sentences.

use maily_core::provider::{Effect, ErrorKind, ProviderError};
use rustify::errors::ClientError as RestError;
use vaultrs::error::ClientError;

pub(crate) const PROVIDER: &str = "vault";

/// What a request was about, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) operation: &'static str,
    pub(crate) resource: &'a str,
}

impl About<'_> {
    pub(crate) fn error(self, kind: ErrorKind, message: impl Into<String>) -> ProviderError {
        ProviderError::new(kind, PROVIDER, self.operation, self.resource, message)
    }

    /// An answer that cannot be understood. Its content stays out of the error: it may hold values.
    pub(crate) fn garbled(self) -> ProviderError {
        self.error(ErrorKind::Internal, "the answer could not be understood")
    }

    /// A call that failed.
    pub(crate) fn failed(self, error: ClientError) -> ProviderError {
        use vaultrs::error::ClientError::{APIError, RestClientError};
        match error {
            APIError { code, errors } => self.refused(code, &errors),
            RestClientError { source } => match answer(&source) {
                Some((code, _)) => self.refused(code, &[]),
                None => self.unanswered(&source),
            },
            _ => self.garbled(),
        }
    }

    /// No answer came.
    fn unanswered(self, error: &(dyn std::error::Error + 'static)) -> ProviderError {
        let mut next = error.source();
        while let Some(cause) = next {
            if let Some(cause) = cause.downcast_ref::<reqwest::Error>() {
                return if cause.is_connect() {
                    self.error(ErrorKind::Unavailable, "the server could not be reached")
                        .with_effect(Effect::None)
                        .with_hint("check the address, and that the server can be reached from here")
                        .with_source(chain(cause))
                } else if cause.is_timeout() {
                    self.error(ErrorKind::DeadlineExceeded, "no answer in time").with_source(chain(cause))
                } else {
                    self.error(ErrorKind::Unavailable, "the connection broke off").with_source(chain(cause))
                };
            }
            next = cause.source();
        }
        self.garbled()
    }

    fn refused(self, code: u16, errors: &[String]) -> ProviderError {
        let said = errors.join("; ");
        let kind = kind(code, &said);
        let message = if said.is_empty() { format!("the server answered {code}") } else { said.clone() };
        let mut error = self.error(kind, message.trim().replace('\n', " "));
        if matches!(code, 307 | 308 | 412 | 472 | 473 | 503) {
            // A standby, a sealed or a lagging node does nothing.
            error = error.with_effect(Effect::None);
        }
        match hint(code, kind, &said) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// Status and body of an answer that is no success and whose body is not an error of Vault.
pub(crate) fn answer(error: &RestError) -> Option<(u16, Option<&str>)> {
    match error {
        RestError::ServerResponseError { code, content } => Some((*code, content.as_deref())),
        _ => None,
    }
}

fn kind(code: u16, said: &str) -> ErrorKind {
    match code {
        400 if said.contains("check-and-set parameter did not match") => ErrorKind::Conflict,
        401 => ErrorKind::Unauthenticated,
        403 if ["invalid token", "bad token", "missing client token"].iter().any(|s| said.contains(s)) => {
            ErrorKind::Unauthenticated
        }
        403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        405 => ErrorKind::Unsupported,
        408 | 504 => ErrorKind::DeadlineExceeded,
        429 => ErrorKind::Throttled,
        307 | 308 | 412 | 472 | 473 | 500..600 => ErrorKind::Unavailable,
        400..500 => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}

fn hint(code: u16, kind: ErrorKind, said: &str) -> Option<&'static str> {
    match (code, kind) {
        (307 | 308 | 472 | 473, _) => {
            Some("this node is a standby: use the address of the cluster or of the active node")
        }
        (503, _) => Some("the server is sealed or in maintenance: `vault status` tells"),
        (404, _) if said.contains("no handler for route") => {
            Some("check the mount, and that a key/value engine of version 2 is enabled there")
        }
        (400, ErrorKind::Invalid) if said.contains("check-and-set parameter required") => {
            Some("this secret takes writes only with the version that they replace")
        }
        (_, ErrorKind::Unauthenticated) => {
            Some("log in again (`vault login`): the token is unknown or has expired")
        }
        (_, ErrorKind::PermissionDenied) => Some(
            "ask for a policy on this path; a token that has expired is answered so, too (`vault token lookup`)",
        ),
        _ => None,
    }
}

/// The causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        said.push(cause.to_string());
        next = cause.source();
    }
    said.dedup();
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, said: &str) -> ProviderError {
        About { operation: "write", resource: "secret/db" }.refused(code, &[said.to_owned()])
    }

    #[test]
    fn refusals_are_told_apart() {
        for (code, said, kind, effect) in [
            (
                400,
                "check-and-set parameter did not match the current version",
                ErrorKind::Conflict,
                Effect::None,
            ),
            (400, "check-and-set parameter required for this call", ErrorKind::Invalid, Effect::None),
            (403, "1 error occurred:\n\t* permission denied\n\n", ErrorKind::PermissionDenied, Effect::None),
            (
                403,
                "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n",
                ErrorKind::Unauthenticated,
                Effect::None,
            ),
            (404, "no handler for route \"kv/data/db\"", ErrorKind::NotFound, Effect::None),
            (429, "request path: rate limit quota exceeded", ErrorKind::Throttled, Effect::None),
            (500, "internal error", ErrorKind::Unavailable, Effect::Unknown),
            (503, "Vault is sealed", ErrorKind::Unavailable, Effect::None),
            (307, "", ErrorKind::Unavailable, Effect::None),
        ] {
            let error = of(code, said);
            assert_eq!((error.kind(), error.effect()), (kind, effect), "{code} {said}");
            assert!(!error.message().contains('\n'), "{error}");
        }
    }
}
