//! From options to a client.

use std::{fs, path::PathBuf, time::Duration};

use maily_core::provider::{ErrorKind, ProviderError};
use reqwest::{Certificate, Url, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString};
use vaultrs::client::{VaultClient, VaultClientSettings};

use crate::{VaultSecrets, error::PROVIDER};

/// Time within which a connection has to stand.
const CONNECT: Duration = Duration::from_secs(5);

/// Which Vault to speak to, and how. Nothing is taken from the environment, a proxy neither.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Address, such as `https://vault.example:8200`.
    pub address: String,
    /// Token.
    pub token: SecretString,
    /// Where the key/value engine (version 2) is mounted.
    pub mount: String,
    /// Namespace, of Vault Enterprise.
    pub namespace: Option<String>,
    /// Certificate authorities in PEM to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Time within which a call has to be answered.
    pub deadline: Duration,
}

impl ConnectOptions {
    /// Options for an address and a token, with the engine mounted at `secret`.
    pub fn new(address: impl Into<String>, token: impl Into<SecretString>) -> Self {
        Self {
            address: address.into(),
            token: token.into(),
            mount: "secret".to_owned(),
            namespace: None,
            ca_file: None,
            deadline: Duration::from_secs(30),
        }
    }
}

/// Makes a client; nothing is sent yet.
///
/// # Errors
/// When the options cannot be used.
pub fn connect(options: &ConnectOptions) -> Result<VaultSecrets, ProviderError> {
    let refuse = |message: String| {
        ProviderError::new(ErrorKind::Invalid, PROVIDER, "connect to", options.address.clone(), message)
    };
    // Everything is checked here: vaultrs panics on what it cannot use.
    let address = Url::parse(&options.address)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| refuse("the address is no URL of `http` or `https`".to_owned()))?;
    if !address.username().is_empty() || address.password().is_some() {
        return Err(refuse("the address contains credentials".to_owned()));
    }
    let header = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !header(options.token.expose_secret()) {
        return Err(refuse("the token is empty or contains characters that no token has".to_owned()));
    }
    if options.namespace.as_deref().is_some_and(|namespace| !header(namespace)) {
        return Err(refuse("the namespace contains characters that no namespace has".to_owned()));
    }
    let mount = options.mount.trim_matches('/').to_owned();
    crate::kv::check_path(&mount).map_err(|why| refuse(format!("the mount {why}")))?;

    let mut http = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        // A proxy of the environment would read the token.
        .no_proxy()
        .timeout(options.deadline)
        // A redirect would carry the token to whatever host the answer names.
        .redirect(Policy::none())
        .retry(reqwest::retry::never());
    if address.scheme() == "http" {
        // Without TLS there is no reason to read the system's certificates.
        http = http.tls_certs_only(Vec::new());
    } else if let Some(file) = &options.ca_file {
        let failed =
            |why: &dyn std::fmt::Display| refuse(format!("failed to read `{}`: {why}", file.display()));
        let pem = fs::read(file).map_err(|error| failed(&error))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| failed(&error))?;
        http = http.tls_certs_merge(certificates);
    }
    let http = http
        .build()
        .map_err(|error| refuse("the HTTP client could not be made".to_owned()).with_source(error))?;

    let settings = VaultClientSettings {
        address,
        ca_certs: Vec::new(),
        identity: None,
        timeout: Some(options.deadline),
        token: options.token.expose_secret().to_owned(),
        verify: true,
        version: 1,
        wrapping: false,
        namespace: options.namespace.clone(),
        proxy: None,
    };
    let mut client =
        VaultClient::new(settings).map_err(|_| refuse("the client could not be made".to_owned()))?;
    client.http.http = http;
    Ok(VaultSecrets::new(client, mount, options.address.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_be_used_are_refused_without_the_token() {
        let good = ConnectOptions::new("http://127.0.0.1:8200", "planted-7f3a");
        assert!(connect(&good).is_ok());
        assert!(!format!("{good:?} {:?}", connect(&good)).contains("planted-7f3a"));
        let bad = [
            ConnectOptions { address: "vault.example".into(), ..good.clone() },
            ConnectOptions { address: "ftp://vault.example".into(), ..good.clone() },
            ConnectOptions { address: "https://me:secret@vault.example".into(), ..good.clone() },
            ConnectOptions { token: "".into(), ..good.clone() },
            ConnectOptions { token: "planted-7f3a\n".into(), ..good.clone() },
            ConnectOptions { mount: "a//b".into(), ..good.clone() },
            ConnectOptions { namespace: Some("a b".into()), ..good.clone() },
            ConnectOptions {
                address: "https://vault.example".into(),
                ca_file: Some("absent.pem".into()),
                ..good
            },
        ];
        for options in bad {
            let error = connect(&options).expect_err("is refused");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(!format!("{error} {error:?}").contains("planted-7f3a"), "{error:?}");
        }
    }
}
