//! Tokens of a credential plugin: asked for beside the time of every request, and once for all who wait.
//!
//! kube runs the plugin again shortly before the time that it told. It would do so inside of a request, whose deadline
//! people who have to log in do not keep; and what the plugin answers would be lost with the request.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use kube::client::{Body, middleware::AuthLayer};
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn, util::BoxCloneSyncService};

/// So long a token is sent without a look at its end, which kube keeps a minute away from.
const FRESH: Duration = Duration::from_secs(1);

/// What one run of a plugin comes to, for all who wait for it.
pub(crate) type Asked<T> = Shared<BoxFuture<'static, Result<T, Arc<kube::Error>>>>;

/// When a header was asked for, and what came of it.
type Question = (Instant, Asked<Option<HeaderValue>>);

/// The token of a plugin, which is asked for anew before it ends.
#[derive(Clone)]
pub(crate) struct Token {
    service: BoxCloneSyncService<Request<Body>, Response<Option<HeaderValue>>, BoxError>,
    plugin: Arc<str>,
    limit: Duration,
    asked: Arc<Mutex<Option<Question>>>,
}

impl Token {
    /// The token that a layer puts before requests, and how long its plugin may take.
    pub(crate) fn new(layer: &AuthLayer, plugin: &str, limit: Duration) -> Self {
        let taken = |request: Request<Body>| async move {
            Ok::<_, BoxError>(Response::new(request.headers().get(AUTHORIZATION).cloned()))
        };
        let service = BoxCloneSyncService::new(layer.layer(service_fn(taken)));
        Self { service, plugin: plugin.into(), limit, asked: Arc::default() }
    }

    /// The header for a request.
    pub(crate) async fn header(&self) -> Result<Option<HeaderValue>, Arc<kube::Error>> {
        let asked = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            match &*asked {
                Some((at, known)) if usable(*at, known) => known.clone(),
                _ => {
                    let service = self.service.clone();
                    let ask = async move {
                        let answer = service.oneshot(Request::new(Body::empty())).await?;
                        Ok::<_, BoxError>(answer.into_body())
                    };
                    let new = beside(&self.plugin, self.limit, move || {
                        let runtime = tokio::runtime::Builder::new_current_thread().build();
                        runtime.map_err(BoxError::from)?.block_on(ask)
                    });
                    *asked = Some((now(), new.clone()));
                    new
                }
            }
        };
        asked.await
    }
}

fn usable(at: Instant, asked: &Asked<Option<HeaderValue>>) -> bool {
    match asked.peek() {
        None => true,
        Some(answer) => answer.is_ok() && now().duration_since(at) < FRESH,
    }
}

#[expect(clippy::disallowed_methods, reason = "a program of the machine lives by the machine's clock")]
fn now() -> Instant {
    Instant::now()
}

/// Does what runs a plugin, which blocks its caller. A thread of its own goes on though nobody waits any more, and nobody
/// waits at the end for one that hangs.
pub(crate) fn beside<T: Clone + Send + Sync + 'static>(
    plugin: &str,
    limit: Duration,
    work: impl FnOnce() -> Result<T, BoxError> + Send + 'static,
) -> Asked<T> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = tell.send(work());
    });
    let plugin = plugin.to_owned();
    async move {
        #[expect(
            clippy::disallowed_methods,
            reason = "a program of the machine lives by the machine's clock"
        )]
        let end = tokio::time::timeout(limit, told).await;
        match end {
            Ok(Ok(made)) => made.map_err(of_kube),
            Ok(Err(gone)) => Err(of_kube(gone.into())),
            Err(_) => Err(of_kube(Box::new(PluginHangs { plugin, limit }))),
        }
    }
    .boxed()
    .shared()
}

fn of_kube(error: BoxError) -> Arc<kube::Error> {
    Arc::new(match error.downcast::<kube::Error>() {
        Ok(error) => *error,
        Err(other) => kube::Error::Service(other),
    })
}

/// A credential plugin that did not come to its end.
#[derive(Debug)]
pub(crate) struct PluginHangs {
    plugin: String,
    limit: Duration,
}

impl std::fmt::Display for PluginHangs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the credential plugin `{}` did not end within {:?}", self.plugin, self.limit)
    }
}

impl std::error::Error for PluginHangs {}
