//! The SDK's errors in our terms: the one place that knows AWS's codes.

use std::{error::Error as StdError, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use maily_core::provider::{Effect, ErrorKind, ProviderError};

pub(crate) const PROVIDER: &str = "aws";

/// What a request was about, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) operation: &'static str,
    pub(crate) resource: &'a str,
}

impl About<'_> {
    fn error(self, kind: ErrorKind, message: impl Into<String>) -> ProviderError {
        ProviderError::new(kind, PROVIDER, self.operation, self.resource, message)
    }

    /// What this adapter does not do yet.
    pub(crate) fn unsupported(self, missing: &str) -> ProviderError {
        self.error(ErrorKind::Unsupported, format!("{missing} is not implemented by the AWS adapter"))
    }

    /// An answer that lacks what it must have.
    pub(crate) fn garbled(self, missing: &str) -> ProviderError {
        self.error(ErrorKind::Internal, format!("the answer has no {missing}"))
    }

    /// A body that broke off.
    pub(crate) fn broken(self, error: impl StdError + 'static) -> ProviderError {
        self.error(ErrorKind::Unavailable, "the answer broke off").with_source(cause(&error))
    }

    /// A precondition on what is absent.
    pub(crate) fn absent(self) -> ProviderError {
        self.error(ErrorKind::Conflict, "the object is absent")
    }

    /// A call that failed.
    pub(crate) fn failed<E>(self, error: SdkError<E, HttpResponse>) -> ProviderError
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let source = cause(&error);
        if has_cause::<CredentialsError>(&error) {
            return self
                .error(ErrorKind::Unauthenticated, "no usable credentials were found")
                .with_hint("log in (`aws sso login`), or choose another profile")
                .with_source(source);
        }
        match &error {
            SdkError::ConstructionFailure(_) => {
                self.error(ErrorKind::Invalid, "the request could not be made").with_source(source)
            }
            SdkError::TimeoutError(_) => {
                self.error(ErrorKind::DeadlineExceeded, "no answer in time").with_source(source)
            }
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                self.error(ErrorKind::DeadlineExceeded, "no answer in time").with_source(source)
            }
            SdkError::DispatchFailure(_) => self
                .error(ErrorKind::Unavailable, "the service could not be reached")
                .with_hint("check that the endpoint can be reached from here")
                .with_source(source),
            SdkError::ServiceError(refusal) => {
                let (code, message) = (refusal.err().code(), refusal.err().message());
                self.refused(refusal.raw(), code.unwrap_or_default(), message.unwrap_or_default())
            }
            _ => {
                // The status tells more than a body that cannot be read: proxies answer in HTML.
                let status = error.raw_response().map(|response| response.status().as_u16());
                let kind = if status.is_some_and(|status| status >= 500) {
                    ErrorKind::Unavailable
                } else {
                    ErrorKind::Internal
                };
                self.error(kind, "the answer could not be understood").with_source(source)
            }
        }
    }

    fn refused(self, response: &HttpResponse, code: &str, message: &str) -> ProviderError {
        let status = response.status().as_u16();
        let kind = kind(code, status);
        let message = match (code, message) {
            ("", "") => format!("the service answered {status}"),
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{message} ({code})"),
        };
        let mut error = self.error(kind, message);
        if code == CONDITIONAL_CONFLICT || code == "OperationAborted" {
            // Somebody else's request is under way, and ours was not carried out.
            error = error.with_effect(Effect::None);
        }
        if let Some(hint) = self.hint(code, kind) {
            error = error.with_hint(hint);
        }
        let after = response.headers().get("retry-after").and_then(|value| value.trim().parse().ok());
        match after.map(Duration::from_secs) {
            Some(after) => error.with_retry_after(after),
            None => error,
        }
    }
}

impl About<'_> {
    fn hint(self, code: &str, kind: ErrorKind) -> Option<&'static str> {
        match (code, kind) {
            ("RequestTimeTooSkewed" | "SignatureDoesNotMatch", _) => {
                Some("check this machine's clock, then the secret access key")
            }
            (code, _) if code.contains("QuotaExceeded") => {
                Some("ask for a higher quota, or delete what is not needed")
            }
            (_, ErrorKind::Unauthenticated) => {
                Some("log in again (`aws sso login`), or choose another profile")
            }
            // The answer to a HEAD has no code.
            (_, ErrorKind::PermissionDenied)
                if self.operation == "read" && self.resource.starts_with("s3://") =>
            {
                Some("without `s3:ListBucket`, S3 denies access to a key that is absent, too")
            }
            _ => None,
        }
    }
}

const CONDITIONAL_CONFLICT: &str = "ConditionalRequestConflict";

fn kind(code: &str, status: u16) -> ErrorKind {
    match code {
        CONDITIONAL_CONFLICT | "OperationAborted" => ErrorKind::Unavailable,
        "PreconditionFailed" => ErrorKind::Conflict,
        // RDS: `DBSnapshotAlreadyExists`, `InvalidDBInstanceState`, with and without `Fault`.
        code if code.contains("AlreadyExists") => ErrorKind::Conflict,
        code if code.starts_with("InvalidDB") && code.contains("State") => ErrorKind::Conflict,
        "NoSuchKey" | "NoSuchBucket" | "NotFound" => ErrorKind::NotFound,
        code if code.trim_end_matches("Fault").ends_with("NotFound") => ErrorKind::NotFound,
        "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "RequestThrottled"
        | "TooManyRequestsException"
        | "RequestThrottledException" => ErrorKind::Throttled,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "AuthFailure"
        | "RequestExpired"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "MissingAuthenticationToken"
        | "RequestTimeTooSkewed" => ErrorKind::Unauthenticated,
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => ErrorKind::PermissionDenied,
        "NotImplemented" => ErrorKind::Unsupported,
        "RequestTimeout" => ErrorKind::DeadlineExceeded,
        _ => match status {
            401 => ErrorKind::Unauthenticated,
            403 => ErrorKind::PermissionDenied,
            404 => ErrorKind::NotFound,
            409 | 412 => ErrorKind::Conflict,
            429 => ErrorKind::Throttled,
            501 => ErrorKind::Unsupported,
            504 => ErrorKind::DeadlineExceeded,
            400..500 => ErrorKind::Invalid,
            500..600 => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        },
    }
}

fn has_cause<T: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.is::<T>() {
            return true;
        }
        next = cause.source();
    }
    false
}

/// The chain of causes in one line: no type of the SDK leaves this crate, and neither headers nor bodies, which the
/// SDK's own forms contain.
fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut said = Vec::new();
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

    #[test]
    fn codes_are_told_apart() {
        for (code, status, expected) in [
            ("DBSnapshotAlreadyExists", 400, ErrorKind::Conflict),
            ("DBSnapshotAlreadyExistsFault", 400, ErrorKind::Conflict),
            ("InvalidDBInstanceState", 400, ErrorKind::Conflict),
            ("DBInstanceNotFound", 404, ErrorKind::NotFound),
            ("DBInstanceNotFoundFault", 404, ErrorKind::NotFound),
            ("InvalidParameterValue", 400, ErrorKind::Invalid),
            ("SnapshotQuotaExceeded", 400, ErrorKind::Invalid),
            ("PreconditionFailed", 412, ErrorKind::Conflict),
            ("ConditionalRequestConflict", 409, ErrorKind::Unavailable),
            ("SlowDown", 503, ErrorKind::Throttled),
            ("Throttling", 400, ErrorKind::Throttled),
            ("ExpiredToken", 403, ErrorKind::Unauthenticated),
            ("AccessDenied", 403, ErrorKind::PermissionDenied),
            ("", 404, ErrorKind::NotFound),
            ("InternalError", 500, ErrorKind::Unavailable),
            ("", 418, ErrorKind::Invalid),
        ] {
            assert_eq!(kind(code, status), expected, "{code} {status}");
        }
    }
}
