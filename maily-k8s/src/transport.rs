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

use crate::{
    plugin::{Asked, Token, beside},
    request::CONNECT,
};

/// A silent connection is asked for a sign of life, and given up without one: long before a lease is lost for want of a
/// renewal that went into it.
const PING: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// So long a credential plugin may take: people may have to log in.
const PLUGIN: Duration = Duration::from_secs(60);

/// A client, and the token that its requests carry where a plugin gives it.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) client: kube::Client,
    pub(crate) token: Option<Token>,
}

/// Makes a client. kube alone would run a credential plugin three times, which takes seconds with that of EKS.
pub(crate) fn make(config: Config) -> Asked<Connected> {
    make_within(config, PLUGIN)
}

fn make_within(config: Config, limit: Duration) -> Asked<Connected> {
    let plugin = plugin_of(&config);
    let runtime = tokio::runtime::Handle::current();
    beside(&plugin, limit, move || {
        let _inside = runtime.enter();
        Ok(build(config)?)
    })
}

fn plugin_of(config: &Config) -> String {
    config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone()).unwrap_or_default()
}

fn build(config: Config) -> Result<Connected, kube::Error> {
    let plugin = plugin_of(&config);
    let by_plugin = config.auth_info.exec.is_some();
    let by_proxy = config.proxy_url.is_some();
    if by_proxy && !by_plugin {
        return Ok(Connected { client: kube::Client::try_from(config)?, token: None });
    }
    let credentials = config.auth_layer()?;
    let mut plain = config;
    // Without a layer the plugin answered with a certificate, which is a matter of the connection.
    if credentials.is_some() {
        plain.auth_info.exec = None;
    }
    let (token, credentials) = match credentials {
        Some(layer) if by_plugin => (Some(Token::new(&layer, &plugin, PLUGIN)), None),
        other => (None, other),
    };
    if by_proxy {
        return Ok(Connected { client: ClientBuilder::try_from(plain)?.build(), token });
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
    Ok(Connected { client: kube::Client::new(service, namespace), token })
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

    /// Something on the way forgets a connection, and would take a new one: a renewal has to get through on that before
    /// its holder stops writing, which is at two thirds of the lease.
    #[test]
    fn a_dead_connection_is_given_up_long_before_a_lease_is() {
        let stops = maily_core::engine::LEASE * 2 / 3;
        assert!(PING + PING_TIMEOUT + Duration::from_secs(2) < stops);
    }

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
