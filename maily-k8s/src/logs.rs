//! Logs of pods.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use kube::client::Body;
use maily_core::{
    object::ObjectKey,
    provider::{ErrorKind, Follow, LogLine, LogOptions, LogStream, ProviderError},
    runtime::within,
};

use crate::{
    KubeCluster,
    error::{About, PROVIDER},
    request::{CALL, PAGE, at_most, query_value},
};

/// So long the first line of a log that is followed may take.
const FOLLOWED: Duration = Duration::from_secs(600);

/// Longer lines are cut, in bytes: a container may draw its progress without ever ending one.
const LONGEST: usize = 64 << 10;

pub(crate) async fn logs(
    cluster: &KubeCluster,
    pod: &ObjectKey,
    options: &LogOptions,
) -> Result<LogStream, ProviderError> {
    let name = pod.to_string();
    let about = About { operation: "read the log of", resource: &name };
    let mut uri = format!("{}/log?timestamps=true", cluster.path_of(pod, about).await?);
    if options.follow == Follow::Yes {
        uri.push_str("&follow=true");
    }
    if options.previous {
        uri.push_str("&previous=true");
    }
    if let Some(container) = &options.container {
        uri.push_str(&format!("&container={}", query_value(container)));
    }
    if let Some(time) = options.since_time {
        // In whole seconds: what the server hands on to the node has no parts of them.
        let time = jiff::Timestamp::from_second(time.as_second()).unwrap_or(time);
        uri.push_str(&format!("&sinceTime={}", query_value(&time.to_string())));
    } else if let Some(since) = options.since {
        uri.push_str(&format!("&sinceSeconds={}", since.as_secs().max(1)));
    }
    if let Some(tail) = options.tail {
        uri.push_str(&format!("&tailLines={tail}"));
    }
    if let Some(bytes) = options.bytes {
        uri.push_str(&format!("&limitBytes={bytes}"));
    }
    // The node begins to answer with the first line, however long a container that is followed says nothing.
    let limit = if options.follow == Follow::Yes { FOLLOWED } else { CALL };
    let body = cluster.inner.wire.open(about, &uri, limit).await?.into_body();
    let state = Some(Lines { body, buffer: BytesMut::new(), searched: 0, cut: false });
    let runtime = std::sync::Arc::clone(&cluster.inner.wire.runtime);
    let follow = options.follow;
    Ok(stream::unfold(state, move |state| {
        let (name, runtime) = (name.clone(), std::sync::Arc::clone(&runtime));
        async move {
            let mut lines = state?;
            let read = lines.next();
            // A container may be silent for as long as it likes; what it has said already comes at once (T14).
            let read = match follow {
                Follow::Yes => Some(read.await),
                Follow::No => within(&*runtime, at_most(PAGE), read).await,
            };
            let broken =
                |kind, message: String| ProviderError::new(kind, PROVIDER, "read the log of", name, message);
            match read {
                Some(Ok(Some(text))) => Some((Ok(split(&text)), Some(lines))),
                Some(Ok(None)) => None,
                Some(Err(error)) => {
                    let told = broken(ErrorKind::Unavailable, "it broke off".to_owned());
                    Some((Err(told.with_source(error)), None))
                }
                None => {
                    let message = format!("it stopped for {} s", PAGE.as_secs());
                    Some((Err(broken(ErrorKind::DeadlineExceeded, message)), None))
                }
            }
        }
    })
    .boxed())
}

/// Lines of a body.
struct Lines {
    body: Body,
    buffer: BytesMut,
    /// So much of the buffer has no end of a line.
    searched: usize,
    /// The beginning of a line that is too long was told: the rest of it is not.
    cut: bool,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<String>, kube::Error> {
        loop {
            if let Some(text) = self.take() {
                return Ok(Some(text));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(error),
                None if self.buffer.is_empty() || self.cut => return Ok(None),
                None => {
                    self.searched = 0;
                    return Ok(Some(text(&self.buffer.split())));
                }
            }
        }
    }

    /// The next line of what was read.
    fn take(&mut self) -> Option<String> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(end) = end.map(|end| self.searched + end) else {
                self.searched = self.buffer.len();
                if self.cut {
                    self.buffer.clear();
                    self.searched = 0;
                } else if self.buffer.len() > LONGEST {
                    (self.searched, self.cut) = (0, true);
                    return Some(format!("{}…", text(&self.buffer.split()[..LONGEST])));
                }
                return None;
            };
            let line = self.buffer.split_to(end);
            self.buffer.advance(1);
            self.searched = 0;
            if !std::mem::take(&mut self.cut) {
                return Some(match line.len() > LONGEST {
                    true => format!("{}…", text(&line[..LONGEST])),
                    false => text(&line),
                });
            }
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

/// The kubelet puts the time before each line.
fn split(line: &str) -> LogLine {
    let line = line.trim_end_matches('\r');
    if let Some((time, text)) = line.split_once(' ')
        && let Ok(time) = time.parse()
    {
        return LogLine { time: Some(time), text: text.to_owned() };
    }
    LogLine { time: None, text: line.to_owned() }
}
