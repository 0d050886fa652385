//! Who we are, by STS.

use std::fmt;

use async_trait::async_trait;
use aws_sdk_sts::Client;
use maily_core::provider::{Access, CallerIdentity, Identities, ProviderError, Role};

use crate::error::About;

/// Identities of an account. Reading roles and simulating policies needs IAM and is not implemented.
pub struct StsIdentities {
    client: Client,
    region: String,
}

impl StsIdentities {
    pub(crate) fn new(client: Client, region: String) -> Self {
        Self { client, region }
    }
}

impl fmt::Debug for StsIdentities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StsIdentities").field("region", &self.region).finish_non_exhaustive()
    }
}

#[async_trait]
impl Identities for StsIdentities {
    async fn caller(&self) -> Result<CallerIdentity, ProviderError> {
        let about = About { operation: "read", resource: "caller identity" };
        let answer = self.client.get_caller_identity().send().await.map_err(|error| about.failed(error))?;
        Ok(CallerIdentity {
            account: answer.account.ok_or_else(|| about.garbled("account"))?,
            principal: answer.arn.ok_or_else(|| about.garbled("ARN"))?,
            region: self.region.clone(),
        })
    }

    async fn role(&self, name: &str) -> Result<Option<Role>, ProviderError> {
        Err(About { operation: "read role", resource: name }.unsupported("reading roles (IAM `GetRole`)"))
    }

    async fn allowed(
        &self,
        principal: &str,
        _actions: &[String],
        _resource: &str,
    ) -> Result<Vec<Access>, ProviderError> {
        let about = About { operation: "check permissions of", resource: principal };
        Err(about.unsupported("checking permissions (IAM `SimulatePrincipalPolicy`)"))
    }
}
