//! The one error of all providers.

use std::{error::Error as StdError, fmt, time::Duration};

use crate::object::ObjectKey;

/// Nobody waits longer on a provider's word: a proxy that says an hour must not outlast every deadline.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// And nobody comes back at once.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// What kind of failure it was, as far as the caller's next move depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing does not exist.
    NotFound,
    /// A precondition did not hold: something else is there than what was expected.
    Conflict,
    /// Fields belong to another field manager, who is named in the message.
    FieldConflict,
    /// The request was understood and is invalid: sending it again does not help.
    Invalid,
    /// Credentials are missing, wrong or expired.
    Unauthenticated,
    /// Credentials are valid and not allowed to do this.
    PermissionDenied,
    /// The epoch of the write is older than the one of the environment: we are no longer the holder.
    StaleEpoch,
    /// Too many requests; `retry_after` may say when to come back.
    Throttled,
    /// The provider could not be reached or answered with a temporary failure.
    Unavailable,
    /// No answer within the deadline.
    DeadlineExceeded,
    /// The provider does not know this kind of request or resource.
    Unsupported,
    /// An answer that cannot be understood, or a defect of ours.
    Internal,
}

/// Whether the call changed anything, as far as can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The provider refused: nothing was changed.
    None,
    /// No or no clear answer: it may have been changed, also later.
    Unknown,
    /// It was changed.
    Done,
}

impl Effect {
    /// Of two calls together.
    #[must_use]
    pub(crate) fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, effect) | (effect, Self::None) => effect,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Done, Self::Done) => Self::Done,
        }
    }
}

/// A failed call of a provider. The source is not part of the one-line form; follow [`StdError::source`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ProviderError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    provider: &'static str,
    operation: &'static str,
    resource: String,
    message: String,
    effect: Effect,
    retry_after: Option<Duration>,
    hint: Option<String>,
    served_in: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ProviderError {
    /// An error of `provider` (such as `kubernetes`) in `operation` (such as `apply`) on `resource`.
    ///
    /// The effect follows from the kind: a refusal changed nothing, silence may have.
    pub fn new(
        kind: ErrorKind,
        provider: &'static str,
        operation: &'static str,
        resource: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let effect = match kind {
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::Internal => Effect::Unknown,
            _ => Effect::None,
        };
        Self(Box::new(Inner {
            kind,
            provider,
            operation,
            resource: resource.into(),
            message: message.into(),
            effect,
            retry_after: None,
            hint: None,
            served_in: Vec::new(),
            source: None,
        }))
    }

    /// States the effect where it differs from what the kind implies.
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.0.effect = effect;
        self
    }

    /// States when the provider asked to be called again: half a second later at the soonest, half a minute at the latest.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after.clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        self
    }

    /// States what a person can do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Of a kind that is not served in the version that was asked for: in which others of its group it is.
    #[must_use]
    pub fn with_served_in(mut self, versions: Vec<String>) -> Self {
        self.0.served_in = versions;
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether anything was changed.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// When the provider asked to be called again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What a person can do next.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// In which other versions of its group a kind is served that is not in the one that was asked for.
    pub fn served_in(&self) -> &[String] {
        &self.0.served_in
    }

    /// What the call was about.
    pub fn resource(&self) -> &str {
        &self.0.resource
    }

    /// What the provider said.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The error with its causes in one text. Of a server that does not answer its own sentence alone, which names it: what
    /// it was asked makes no difference then.
    pub fn brief(&self) -> String {
        let text = with_causes(self);
        let silent = matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded);
        match text.find(&self.0.message) {
            Some(at) if silent && self.0.message.contains("the API server") => text[at..].to_owned(),
            _ => text,
        }
    }

    /// Whether it is not let through, by a role or by what a webhook or a policy decides: it changed nothing, and somebody
    /// else may do it, or at another time.
    pub fn is_refusal(&self) -> bool {
        let denied =
            || ["denied the request", "denied request"].iter().any(|words| self.0.message.contains(words));
        self.0.kind == ErrorKind::PermissionDenied || self.0.kind == ErrorKind::Invalid && denied()
    }

    /// Whether the same call may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Throttled | ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
    }
}

/// Of what is not served, not yet or not any more, nothing is found.
pub(crate) fn unserved_is_none<T: Default>(error: ProviderError) -> Result<T, ProviderError> {
    if error.kind() == ErrorKind::Unsupported { Ok(T::default()) } else { Err(error) }
}

/// Of a kind that is not served, not yet or not any more, nothing is there. Of one that is served in another version all is
/// there, and the error says what a person can do.
pub(crate) fn unserved_is_absent<T: Default>(
    error: ProviderError,
    key: &ObjectKey,
) -> Result<T, ProviderError> {
    let versions = error.served_in();
    if error.kind() != ErrorKind::Unsupported || versions.is_empty() {
        return unserved_is_none(error);
    }
    let (version, others) = (key.kind.version(), versions.join(", "));
    let message = format!(
        "{key} cannot be looked at: the cluster serves its kind not in {version} any more, but in {others}"
    );
    let hint = format!("let its definition serve {version} again (`served: true`) until the run is over");
    let Inner { kind, provider, operation, .. } = &*error.0;
    Err(ProviderError::new(*kind, provider, operation, key.to_string(), message).with_hint(hint))
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { provider, operation, resource, message, .. } = &*self.0;
        write!(f, "{operation} `{resource}` in {provider}: {message}")
    }
}

impl StdError for ProviderError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// An error with its causes in one text; what one of them has said already is not said again.
pub fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_admission_denies_is_a_refusal_as_what_a_role_does_not_allow() {
        let is = |kind, message: &str| ProviderError::new(kind, "test", "write", "x", message).is_refusal();
        assert!(is(ErrorKind::PermissionDenied, "forbidden"));
        let policy = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        for message in ["admission webhook \"w\" denied the request: no", policy] {
            assert!(is(ErrorKind::Invalid, message));
            assert!(!is(ErrorKind::Conflict, message), "it is to be tried again");
        }
        assert!(!is(ErrorKind::Invalid, "spec.ports: Required value"));
    }

    #[test]
    fn a_pause_that_a_provider_asks_for_has_an_end() {
        let asked = |after| {
            let error = ProviderError::new(ErrorKind::Throttled, "test", "get", "x", "busy");
            error.with_retry_after(Duration::from_secs(after)).retry_after()
        };
        assert_eq!(asked(7), Some(Duration::from_secs(7)));
        assert_eq!(asked(3_600), Some(LONGEST_PAUSE));
        // Nor is it none at all: who is told so by everybody would ask without end.
        assert_eq!(asked(0), Some(SHORTEST_PAUSE));
    }
}
