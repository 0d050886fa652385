//! Looking at a released service from outside: HTTP requests and commands.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::ProviderError;

/// One look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "probe", rename_all = "kebab-case")]
pub enum ProbeRequest {
    /// A GET request.
    Http {
        /// Where: a full URL, or a path of the service below.
        url: String,
        /// The Service object (namespace, name, port) that a path is asked of, through the cluster.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ProbeService>,
        /// The status that counts as success.
        expect: u16,
    },
    /// A program of the machine that runs maily; exit code 0 counts as success.
    Command {
        /// Program and arguments; no shell.
        argv: Vec<String>,
    },
}

/// A Service object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProbeService {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Port.
    pub port: u16,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It works.
    Pass {
        /// On what grounds.
        evidence: String,
    },
    /// It does not.
    Fail {
        /// On what grounds.
        evidence: String,
    },
    /// Nothing could be found out: never to be read as a pass.
    Insufficient {
        /// Why not.
        evidence: String,
    },
}

impl Verdict {
    /// Stable name and grounds.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Pass { evidence } => ("pass", evidence),
            Self::Fail { evidence } => ("fail", evidence),
            Self::Insufficient { evidence } => ("insufficient", evidence),
        }
    }
}

/// Carries out probes.
///
/// # Contract
/// 1. An answer with the expected status is `Pass`, any other answer is `Fail`.
/// 2. No answer within the limit is `Insufficient`.
/// 3. A command that cannot be started is an error of kind `NotFound` or `PermissionDenied`.
#[async_trait]
pub trait Prober: fmt::Debug + Send + Sync + 'static {
    /// Looks once.
    ///
    /// # Errors
    /// When the look could not be taken at all.
    async fn probe(&self, request: &ProbeRequest, limit: Duration) -> Result<Verdict, ProviderError>;
}
