//! From options to clients.

use std::{fmt, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use maily_core::provider::{ErrorKind, ProviderError};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{RdsDatabases, S3Storage, StsIdentities, error::PROVIDER};

/// Time within which a connection has to stand.
const CONNECT: Duration = Duration::from_secs(5);

/// An access key given outright, instead of what the SDK finds in profiles, single sign-on and metadata services.
#[derive(Clone)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// Token of a session.
    pub session: Option<SecretString>,
}

/// Without the secret and the token.
impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Which account and region to speak to, and how.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Region; else what the profile says.
    pub region: Option<String>,
    /// Profile of the shared configuration; else the default one.
    pub profile: Option<String>,
    /// An access key to use instead of the profile's credentials.
    pub access_key: Option<AccessKey>,
    /// Another endpoint for every service, such as an emulator's; buckets are then addressed by path.
    pub endpoint_url: Option<String>,
    /// Time within which a call has to be answered.
    pub deadline: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        let deadline = Duration::from_secs(30);
        Self { region: None, profile: None, access_key: None, endpoint_url: None, deadline }
    }
}

/// A way to an account in a region.
pub struct Aws {
    config: SdkConfig,
    region: String,
    path_style: bool,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Aws {
    /// Reads the configuration; nothing is sent yet.
    ///
    /// # Errors
    /// When no region is known.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ProviderError> {
        // The engine owns every retry: it knows whether the call may be repeated.
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(CONNECT).operation_timeout(options.deadline).build(),
            );
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &options.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &options.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(key) = &options.access_key {
            let session = key.session.as_ref().map(|session| session.expose_secret().to_owned());
            let secret = key.secret.expose_secret();
            loader = loader.credentials_provider(Credentials::new(&key.id, secret, session, None, "options"));
        }
        let config = loader.load().await;
        let region = config.region().map(|region| region.as_ref().to_owned()).ok_or_else(|| {
            ProviderError::new(ErrorKind::Invalid, PROVIDER, "connect to", "account", "no region is set")
                .with_hint("name the region, or set it in the profile")
        })?;
        Ok(Self { config, region, path_style: options.endpoint_url.is_some() })
    }

    /// Databases of the account in the region.
    pub fn databases(&self) -> RdsDatabases {
        RdsDatabases::new(aws_sdk_rds::Client::new(&self.config))
    }

    /// Buckets of the account.
    pub fn storage(&self) -> S3Storage {
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(self.path_style);
        S3Storage::new(aws_sdk_s3::Client::from_conf(config.build()))
    }

    /// Who we are in the account.
    pub fn identities(&self) -> StsIdentities {
        StsIdentities::new(aws_sdk_sts::Client::new(&self.config), self.region.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_show_its_secret() {
        let key =
            AccessKey { id: "AKIAEXAMPLE".into(), secret: "planted".into(), session: Some("planted".into()) };
        let shown = format!("{:?}", ConnectOptions { access_key: Some(key), ..ConnectOptions::default() });
        assert!(shown.contains("AKIAEXAMPLE") && !shown.contains("planted"), "{shown}");
    }
}
