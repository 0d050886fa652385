//! The client, made anew where the server stops taking its credentials.
//!
//! kube runs a credential plugin again shortly before the time that the plugin told, and never where it told none or
//! answered with a certificate. Such credentials end with a 401, which had no effect: they are asked for once more.

use std::sync::{Arc, RwLock};

use http::{Request, Response, StatusCode};
use kube::{Config, client::Body};

use crate::{connect, transport};

/// A client that renews its credentials.
#[derive(Clone)]
pub(crate) struct Client {
    current: Arc<RwLock<(u64, kube::Client)>>,
    /// What to make it from; none where nothing new can come of it. The file is not read again: it may speak of
    /// another cluster by now.
    config: Option<Arc<Config>>,
    renewing: Arc<tokio::sync::Mutex<()>>,
    server: Arc<str>,
}

impl Client {
    pub(crate) fn new(client: kube::Client, config: Option<Config>) -> Self {
        let server = config.as_ref().map(|config| connect::address(&config.cluster_url)).unwrap_or_default();
        let renews = |config: &Config| {
            let user = &config.auth_info;
            user.exec.is_some() || user.auth_provider.is_some() || user.token_file.is_some()
        };
        Self {
            current: Arc::new(RwLock::new((0, client))),
            config: config.filter(renews).map(Arc::new),
            renewing: Arc::default(),
            server: server.into(),
        }
    }

    /// Host and port of the server; empty where somebody else made the client.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Sends a request, and a second time where new credentials help.
    pub(crate) async fn send(
        &self,
        request: impl Fn() -> Result<Request<Body>, http::Error>,
    ) -> Result<Response<Body>, kube::Error> {
        let (number, client) = self.current();
        let answer = client.send(request().map_err(kube::Error::HttpError)?).await?;
        let Some(config) = self.config.as_ref().filter(|_| answer.status() == StatusCode::UNAUTHORIZED)
        else {
            return Ok(answer);
        };
        let client = self.renewed(number, config).await?;
        client.send(request().map_err(kube::Error::HttpError)?).await
    }

    fn current(&self) -> (u64, kube::Client) {
        self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// One renewal for all requests that were refused with the same credentials.
    async fn renewed(&self, refused: u64, config: &Arc<Config>) -> Result<kube::Client, kube::Error> {
        let _one = self.renewing.lock().await;
        let (number, client) = self.current();
        if number != refused {
            return Ok(client);
        }
        let client = transport::make(Config::clone(config)).await?;
        let mut current = self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *current = (number + 1, client.clone());
        Ok(client)
    }
}
