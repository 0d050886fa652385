//! What can be wrong with a fence.

use crate::{engine::Epoch, provider::ProviderError};

/// Why a fence does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FenceError {
    /// The parameter is missing, so that the policy lets everything pass.
    #[error(
        "the fence of `{environment}` is open: ConfigMap `{parameter}` is missing in namespace `{namespace}`"
    )]
    Open {
        /// The environment.
        environment: String,
        /// Its namespace.
        namespace: String,
        /// Name of the parameter.
        parameter: String,
    },
    /// The parameter holds no epoch.
    #[error("ConfigMap `{parameter}`, the fence of `{environment}`, holds no epoch")]
    Damaged {
        /// The environment.
        environment: String,
        /// Name of the parameter.
        parameter: String,
    },
    /// A write of an older epoch was not refused.
    #[error("the fence of `{environment}` does not refuse: a write of epoch {older} passed for {seconds} s")]
    Silent {
        /// The environment.
        environment: String,
        /// The epoch of the write.
        older: Epoch,
        /// How long it was tried.
        seconds: u64,
    },
    /// Somebody raised it higher meanwhile.
    #[error("the fence of `{environment}` stands at epoch {found}, above our epoch {ours}")]
    Raised {
        /// The environment.
        environment: String,
        /// Our epoch.
        ours: Epoch,
        /// The fence's.
        found: Epoch,
    },
    /// The present credentials may not install policies, and nobody has done it for them.
    #[error("not allowed to install the fence of `{environment}`")]
    Forbidden {
        /// The environment.
        environment: String,
        /// The refusal.
        #[source]
        source: ProviderError,
    },
    /// The cluster failed.
    #[error("failed to read or move the fence of `{environment}`")]
    Provider {
        /// The environment.
        environment: String,
        /// Why.
        #[source]
        source: ProviderError,
    },
}

impl FenceError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Silent { environment, .. } => Some(format!(
                "repair it: `mailyctl env bind {environment} --install-fence`. Where that or the next run ends like this, \
                 too, the API server has to be restarted: it reads no parameters of fences any more, once all their bindings \
                 were gone for a moment (https://github.com/kubernetes/kubernetes/issues/130887). Or go on without \
                 the fence: `mailyctl env bind {environment} --remove-fence`"
            )),
            Self::Open { environment, .. } | Self::Damaged { environment, .. } => Some(format!(
                "repair it: `mailyctl env bind {environment} --install-fence`; or go on without it: `mailyctl env \
                 bind {environment} --remove-fence`"
            )),
            Self::Raised { .. } => {
                Some("somebody else took the environment over: look with `mailyctl status`".to_owned())
            }
            Self::Forbidden { source, .. } | Self::Provider { source, .. } => {
                source.hint().map(str::to_owned)
            }
        }
    }
}
