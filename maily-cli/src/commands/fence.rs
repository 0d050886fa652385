//! The fence of an environment, as `env bind` installs, repairs, removes and records it.

use std::{path::Path, sync::Arc};

use maily_core::{
    engine::{Epoch, Fence, FenceError, fence_manifest, history::head},
    model::{EnvironmentName, Fencing, record_fence},
    provider::{Cluster, ProviderError},
    records::ClusterRecords,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{args::BindArgs, exit::CliError, render::Ui, wire::runtime};

/// What `--remove-fence` leaves.
const KEPT: &str = "the policy `maily-fence` and the binding `maily-fence.anchor` stay: they judge nothing, other \
                    environments use them, and without them the API server could have no fence again until it restarts";

/// What was bound.
pub(super) struct Bound<'a> {
    pub(super) path: &'a Path,
    /// The project file, as it was written.
    pub(super) text: &'a str,
    pub(super) name: &'a EnvironmentName,
    pub(super) namespace: &'a str,
    /// Whether the namespace exists.
    pub(super) exists: bool,
    /// What the project file said before.
    pub(super) recorded: Fencing,
    /// That record spoke of another cluster or namespace.
    pub(super) moved: bool,
}

/// What has become of the fence.
#[derive(Debug, Default, JsonSchema, Serialize)]
pub(super) struct Settled {
    /// `installed` or `none`: what the project file says now.
    recorded: &'static str,
    /// What is older than this epoch is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    /// What is not as it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// What stays in the cluster, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<&'static str>,
    /// What is to be handed to somebody who may install it.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
}

impl Settled {
    /// Tells what a person has to know; the manifest is the result of the command.
    pub(super) fn tell(&self, ui: &Ui, name: &str) -> Result<(), CliError> {
        if let Some(epoch) = self.epoch {
            ui.tell(&format!(
                "the fence of `{name}` is installed and refuses what is older than epoch {epoch}"
            ));
        }
        if let Some(warning) = &self.warning {
            ui.caution(warning);
        }
        if let Some(help) = &self.help {
            ui.insist(&format!("{}: {}", ui.beside.strong("help"), ui.tool.in_text(help)));
        }
        if let Some(kept) = self.kept {
            ui.tell(kept);
        }
        match &self.manifest {
            Some(manifest) => ui.print(manifest),
            None => Ok(()),
        }
    }
}

/// Installs, removes or keeps the fence, and writes down which.
pub(super) async fn settle(
    cluster: Arc<dyn Cluster>,
    bound: &Bound<'_>,
    args: &BindArgs,
) -> Result<Settled, CliError> {
    let fence = Fence::new(Arc::clone(&cluster), runtime(), bound.name, bound.namespace);
    let mut settled = Settled::default();
    let written = if bound.moved { Fencing::None } else { bound.recorded };
    let mut now = written;
    if args.install_fence {
        let records = ClusterRecords::new(cluster, bound.name, bound.namespace);
        let claimed = head(&records).await?.epoch.unwrap_or_default();
        match fence.install(claimed).await {
            Ok(epoch) => (now, settled.epoch) = (Fencing::Installed, Some(epoch)),
            Err(FenceError::Forbidden { source, .. }) => {
                now = Fencing::None;
                forbidden(&mut settled, bound, &source);
            }
            Err(error) => return Err(error.into()),
        }
    } else if args.remove_fence {
        now = Fencing::None;
        let left = fence.remove().await?;
        settled.kept = Some(KEPT);
        if !left.is_empty() {
            let names: Vec<String> = left.iter().map(ToString::to_string).collect();
            settled.warning = Some(format!("not allowed to delete {}", names.join(", ")));
            settled.help =
                Some("have them deleted; without its ConfigMap a fence lets everything pass".to_owned());
        }
    } else if bound.moved && bound.recorded == Fencing::Installed {
        settled.warning =
            Some(format!("the fence of `{}` was that of the former binding: there is none now", bound.name));
        settled.help = Some(format!("install one: `mailyctl env bind {} --install-fence`", bound.name));
    }
    settled.recorded = now.as_str();
    if now != written {
        record(bound, now)?;
    }
    Ok(settled)
}

fn forbidden(settled: &mut Settled, bound: &Bound<'_>, refusal: &ProviderError) {
    settled.warning = Some(format!(
        "the fence of `{}` is not installed: {}. Runs go on without it, protected by preconditions and stamps alone",
        bound.name,
        refusal.message()
    ));
    settled.help = Some(format!(
        "have this manifest applied by somebody who may, then `mailyctl env bind {} --install-fence` once more",
        bound.name
    ));
    settled.manifest = Some(fence_manifest(bound.name, bound.namespace));
}

fn record(bound: &Bound<'_>, fence: Fencing) -> Result<(), CliError> {
    let edited = record_fence(bound.text, &bound.path.display().to_string(), bound.name, fence)
        .map_err(|error| CliError::usage(error.to_string()))?;
    crate::file::write(bound.path, &edited)
}
