//! Checks from this machine: programs, and HTTP through the cluster's API server.

use std::{process::Stdio, sync::Arc, time::Duration};

use async_trait::async_trait;
use maily_core::provider::{ErrorKind, ProbeRequest, Prober, ProviderError, Verdict};
use maily_k8s::KubeCluster;

/// Carries out checks.
#[derive(Debug)]
pub(crate) struct ProgramProber {
    cluster: Arc<KubeCluster>,
}

impl ProgramProber {
    pub(crate) fn new(cluster: Arc<KubeCluster>) -> Self {
        Self { cluster }
    }
}

#[async_trait]
impl Prober for ProgramProber {
    async fn probe(&self, request: &ProbeRequest, limit: Duration) -> Result<Verdict, ProviderError> {
        match request {
            ProbeRequest::Command { argv } => command(argv, limit).await,
            ProbeRequest::Http { url, service: Some(service), expect } => {
                let status = self
                    .cluster
                    .probe_service(&service.namespace, &service.name, service.port, url, limit)
                    .await;
                Ok(match status {
                    Ok(status) if status == *expect => {
                        Verdict::Pass { evidence: format!("GET {url} answered {status}") }
                    }
                    Ok(status) => Verdict::Fail { evidence: format!("GET {url} answered {status}") },
                    Err(error) => Verdict::Insufficient { evidence: error.to_string() },
                })
            }
            ProbeRequest::Http { url, service: None, .. } => Err(ProviderError::new(
                ErrorKind::Unsupported,
                "probe",
                "get",
                url.clone(),
                "requests to addresses outside of the cluster are not there yet",
            )
            .with_hint("use a `command` check, such as `[curl, --fail, URL]`")),
        }
    }
}

async fn command(argv: &[String], limit: Duration) -> Result<Verdict, ProviderError> {
    let Some((program, args)) = argv.split_first() else {
        return Ok(Verdict::Insufficient { evidence: "the command is empty".to_owned() });
    };
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    #[expect(clippy::disallowed_methods, reason = "a program of the machine lives by the machine's clock")]
    let output = tokio::time::timeout(limit, command.output()).await;
    match output {
        Err(_) => Ok(Verdict::Insufficient { evidence: format!("`{program}` did not end in time") }),
        Ok(Err(error)) => {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::PermissionDenied,
            };
            Err(ProviderError::new(kind, "probe", "run", program.clone(), error.to_string()))
        }
        Ok(Ok(output)) if output.status.success() => {
            Ok(Verdict::Pass { evidence: format!("`{program}` succeeded") })
        }
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().next_back().unwrap_or_default();
            Ok(Verdict::Fail { evidence: format!("`{program}` ended with {}: {last}", output.status) })
        }
    }
}
