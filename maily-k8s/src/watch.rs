//! A watch that outlives closed connections and lost history (T11).

use std::{sync::Arc, time::Duration};

use bytes::{Buf as _, BytesMut};
use futures::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use kube::client::Body;
use maily_core::{
    object::Object,
    planted::{Defect, is_planted},
    provider::{ApiResource, ErrorKind, ListQuery, ProviderError, WatchEvent, WatchStream},
    runtime::{Moment, within},
};
use serde_json::Value;

use crate::{
    cluster::{Inner, list_all, object, of_interest, selector},
    error::{About, PROVIDER},
    json,
    request::{CALL, JSON, collection, query_value},
};

/// The server closes a watch after this long; taking it up again costs one request.
const SPAN: Duration = Duration::from_secs(120);
/// Silence after which a connection is given up: later than the server's own end of the watch.
const SILENCE: Duration = Duration::from_secs(130);
/// First pause after a failure; doubles up to the last.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A watch that ends sooner and has told nothing was refused by something on the way.
const SHORT: Duration = Duration::from_secs(1);

pub(crate) async fn watch(
    inner: Arc<Inner>,
    resource: ApiResource,
    query: ListQuery,
) -> Result<WatchStream, ProviderError> {
    let name = query.kind.to_string();
    let about = About { operation: "watch", resource: &name };
    let (objects, version) = list_all(&inner.wire, &resource, &query, JSON, about).await?;
    let first = WatchEvent::Listed { objects, version: version.clone() };
    let opened = inner.wire.runtime.now();
    let watching = Watching {
        inner,
        resource,
        query,
        name,
        version: Some(version),
        listed: opened,
        body: None,
        opened,
        quiet: true,
        pause: PAUSE,
    };
    let rest = stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        match watching.next().await {
            Ok(event) => Some((Ok(event), Some(watching))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(stream::once(async move { Ok(first) }).chain(rest).boxed())
}

struct Watching {
    inner: Arc<Inner>,
    resource: ApiResource,
    query: ListQuery,
    name: String,
    /// Where to go on; none: list again.
    version: Option<String>,
    /// When all was listed last.
    listed: Moment,
    body: Option<(Body, BytesMut)>,
    opened: Moment,
    /// Nothing was told since it was opened.
    quiet: bool,
    pause: Duration,
}

/// What one line of the stream means.
enum Line {
    Event(WatchEvent),
    Bookmark,
    /// History is lost.
    Expired,
    Broken(String),
}

impl Watching {
    async fn next(&mut self) -> Result<WatchEvent, ProviderError> {
        loop {
            if self.version.is_none() {
                match self.list().await {
                    Ok(event) => return Ok(event),
                    Err(error) => return self.interrupted(error).await,
                }
            }
            if self.body.is_none()
                && let Err(error) = self.open().await
            {
                if error.kind() == ErrorKind::NotFound {
                    // 410: the resource version is too old.
                    self.lost().await;
                    continue;
                }
                return self.interrupted(error).await;
            }
            match self.line().await {
                Some(Line::Event(event)) => {
                    self.pause = PAUSE;
                    self.quiet = false;
                    return Ok(event);
                }
                Some(Line::Bookmark) => {
                    self.pause = PAUSE;
                    self.quiet = false;
                }
                Some(Line::Expired) if is_planted(Defect::LostHistoryKept) => self.body = None,
                Some(Line::Expired) => self.lost().await,
                Some(Line::Broken(why)) => {
                    (self.version, self.body) = (None, None);
                    self.rest().await;
                    return Ok(WatchEvent::Interrupted(why));
                }
                None if is_planted(Defect::ClosedWatchEnds) => {
                    let message = "the server closed the watch";
                    return Err(ProviderError::new(
                        ErrorKind::Unavailable,
                        PROVIDER,
                        "watch",
                        &self.name,
                        message,
                    ));
                }
                // A closed watch is not an end. One that is closed at once, again and again, is asked for with pauses.
                None => {
                    self.body = None;
                    if self.quiet && self.inner.wire.runtime.now().since(self.opened) < SHORT {
                        self.rest().await;
                    }
                }
            }
        }
    }

    /// Permanent errors end the watch, all others pause it.
    async fn interrupted(&mut self, error: ProviderError) -> Result<WatchEvent, ProviderError> {
        self.body = None;
        if !error.is_transient() && error.kind() != ErrorKind::Internal {
            return Err(error);
        }
        self.rest().await;
        Ok(WatchEvent::Interrupted(error.to_string()))
    }

    /// History is lost: all is listed again, with a pause where that was done a moment ago.
    async fn lost(&mut self) {
        (self.version, self.body) = (None, None);
        if self.inner.wire.runtime.now().since(self.listed) < SHORT {
            self.rest().await;
        } else {
            self.pause = PAUSE;
        }
    }

    async fn rest(&mut self) {
        self.inner.wire.runtime.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    async fn list(&mut self) -> Result<WatchEvent, ProviderError> {
        let about = About { operation: "watch", resource: &self.name };
        let (objects, version) = list_all(&self.inner.wire, &self.resource, &self.query, JSON, about).await?;
        (self.version, self.listed) = (Some(version.clone()), self.inner.wire.runtime.now());
        Ok(WatchEvent::Listed { objects, version })
    }

    async fn open(&mut self) -> Result<(), ProviderError> {
        let about = About { operation: "watch", resource: &self.name };
        let path = collection(&self.resource, self.query.namespace.as_deref());
        let version = query_value(self.version.as_deref().unwrap_or_default());
        let uri = format!(
            "{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={version}{}",
            SPAN.as_secs(),
            selector(&self.query),
        );
        let response = self.inner.wire.open(about, &uri, CALL).await?;
        self.body = Some((response.into_body(), BytesMut::new()));
        (self.opened, self.quiet) = (self.inner.wire.runtime.now(), true);
        Ok(())
    }

    /// The next line; `None` at the end of the stream.
    async fn line(&mut self) -> Option<Line> {
        loop {
            let (body, buffer) = self.body.as_mut()?;
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(end);
                buffer.advance(1);
                return Some(self.understand(&line));
            }
            let silence = if is_planted(Defect::SilentWatchBelieved) { Duration::MAX } else { SILENCE };
            match within(&*self.inner.wire.runtime, silence, body.frame()).await {
                Some(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        buffer.extend_from_slice(&data);
                    }
                }
                // The end, a broken connection, or silence: half a line is worth nothing.
                Some(Some(Err(_))) => {
                    self.inner.wire.client.was_away(self.inner.wire.runtime.now());
                    return None;
                }
                Some(None) | None => return None,
            }
        }
    }

    fn understand(&mut self, line: &[u8]) -> Line {
        let mut value = match json::read(line) {
            Ok(value) => value,
            Err(error) => return Line::Broken(format!("an event is not JSON: {error}")),
        };
        let about = About { operation: "watch", resource: &self.name };
        let body = value.get_mut("object").map(Value::take).unwrap_or_default();
        if let Some(version) = body.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            self.version = Some(version.to_owned());
        }
        let take = |body: Value| -> Result<Object, ProviderError> {
            Ok(of_interest(object(body, &self.query.kind, about)?, &self.query))
        };
        let event = match value.get("type").and_then(Value::as_str).unwrap_or_default() {
            "ADDED" | "MODIFIED" => take(body).map(WatchEvent::Applied),
            "DELETED" => take(body).map(WatchEvent::Deleted),
            "BOOKMARK" => return Line::Bookmark,
            "ERROR" if body.get("code").and_then(Value::as_u64) == Some(410) => return Line::Expired,
            other => {
                let said = body.get("message").and_then(Value::as_str).unwrap_or(other);
                let message = format!("the server ended the watch: {said}");
                Err(ProviderError::new(ErrorKind::Unavailable, PROVIDER, "watch", &self.name, message))
            }
        };
        match event {
            Ok(event) => Line::Event(event),
            Err(error) => Line::Broken(error.to_string()),
        }
    }
}
