//! Logs of pods.

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
    request::{PAGE, at_most, query_value},
};

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
    if let Some(since) = options.since {
        uri.push_str(&format!("&sinceSeconds={}", since.as_secs().max(1)));
    }
    if let Some(tail) = options.tail {
        uri.push_str(&format!("&tailLines={tail}"));
    }
    let body = cluster.inner.wire.open(about, &uri).await?.into_body();
    let state = Some((body, BytesMut::new()));
    let runtime = std::sync::Arc::clone(&cluster.inner.wire.runtime);
    let follow = options.follow;
    Ok(stream::unfold(state, move |state| {
        let (name, runtime) = (name.clone(), std::sync::Arc::clone(&runtime));
        async move {
            let (mut body, mut buffer) = state?;
            let read = line(&mut body, &mut buffer);
            // A container may be silent for as long as it likes; what it has said already comes at once (T14).
            let read = match follow {
                Follow::Yes => Some(read.await),
                Follow::No => within(&*runtime, at_most(PAGE), read).await,
            };
            let broken =
                |kind, message: String| ProviderError::new(kind, PROVIDER, "read the log of", name, message);
            match read {
                Some(Ok(Some(text))) => Some((Ok(split(&text)), Some((body, buffer)))),
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

async fn line(body: &mut Body, buffer: &mut BytesMut) -> Result<Option<String>, kube::Error> {
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end);
            buffer.advance(1);
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    buffer.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => return Err(error),
            None if buffer.is_empty() => return Ok(None),
            None => return Ok(Some(String::from_utf8_lossy(&buffer.split()).into_owned())),
        }
    }
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
