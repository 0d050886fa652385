//! The way to the server: one connection with many requests on it, each sent at once.
//!
//! kube's own transport leaves Nagle's algorithm on, so that the first request on every connection waits 40 ms for an
//! acknowledgement, and speaks HTTP/1.1, so that every request in flight has a TLS handshake of its own.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Config,
    client::{Body, ClientBuilder, ConfigExt as _},
};
use tower::ServiceBuilder;

use crate::request::CONNECT;

/// Requests that may wait for the connection.
const QUEUE: usize = 1024;
/// A silent connection is asked for a sign of life, and given up without one: what client-go does, too.
const PING: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// So long a credential plugin may take: people may have to log in.
const PLUGIN: Duration = Duration::from_secs(60);

/// Makes a client. kube alone would run a credential plugin three times, which takes seconds with that of EKS.
pub(crate) async fn make(config: Config) -> Result<kube::Client, kube::Error> {
    make_within(config, PLUGIN).await
}

async fn make_within(config: Config, limit: Duration) -> Result<kube::Client, kube::Error> {
    let plugin = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone()).unwrap_or_default();
    // The plugin is a program that blocks its caller. A thread of its own: nobody waits at the end for one that hangs.
    let (tell, told) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _inside = runtime.enter();
        let _ = tell.send(build(config));
    });
    #[expect(clippy::disallowed_methods, reason = "a program of the machine lives by the machine's clock")]
    match tokio::time::timeout(limit, told).await {
        Ok(Ok(made)) => made,
        Ok(Err(gone)) => Err(kube::Error::Service(gone.into())),
        Err(_) => Err(kube::Error::Service(Box::new(PluginHangs { plugin, limit }))),
    }
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

fn build(config: Config) -> Result<kube::Client, kube::Error> {
    let by_proxy = config.proxy_url.is_some();
    if by_proxy && config.auth_info.exec.is_none() {
        return kube::Client::try_from(config);
    }
    let credentials = config.auth_layer()?;
    let mut plain = config;
    // Without a layer the plugin answered with a certificate, which is a matter of the connection.
    if credentials.is_some() {
        plain.auth_info.exec = None;
    }
    if by_proxy {
        let builder = ClientBuilder::try_from(plain)?;
        let Some(credentials) = credentials else { return Ok(builder.build()) };
        // What the credentials are put before has to be cloned.
        let queue = tower::buffer::BufferLayer::new(QUEUE);
        return Ok(builder.with_layer(&queue).with_layer(&credentials).build());
    }
    let namespace = plain.default_namespace.clone();
    let client = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .build::<_, Body>(connector(&plain)?);
    let service = ServiceBuilder::new()
        .layer(plain.base_uri_layer())
        .option_layer(credentials)
        .layer(plain.extra_headers_layer()?)
        .map_err(tower::BoxError::from)
        .service(client);
    Ok(kube::Client::new(service, namespace))
}

fn connector(config: &Config) -> Result<HttpsConnector<HttpConnector>, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let mut tls =
        HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(|error| kube::Error::Service(Box::new(error)))?;
        tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(tls.enable_all_versions().wrap_connector(tcp))
}

#[cfg(test)]
mod tests {
    use kube::config::ExecConfig;

    use super::*;

    #[tokio::test]
    async fn a_plugin_that_hangs_is_given_up() {
        let mut config = Config::new("https://127.0.0.1:1".parse().expect("an address"));
        config.auth_info.exec = Some(ExecConfig {
            api_version: Some("client.authentication.k8s.io/v1".to_owned()),
            command: Some("sleep".to_owned()),
            args: Some(vec!["3".to_owned()]),
            ..serde_json::from_str("{}").expect("all is optional")
        });
        let error = make_within(config, Duration::from_millis(100)).await.err().expect("hangs");
        let error =
            crate::error::failed(crate::error::About { operation: "connect", resource: "x" }, "", error);
        assert!(error.message().contains("credential plugin `sleep` did not end within 100ms"), "{error}");
    }
}
