//! Installing a fence, removing it, and looking at it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    error::FenceError,
    gate::{Gate, PROOF},
    manifest::{binding_key, epoch_in, objects, parameter, parameter_key, policy_key},
};
use crate::{
    engine::{Epoch, RECORDS_MANAGER},
    object::{Object, ObjectKey},
    planted::{Defect, is_planted},
    provider::{
        Cluster, Deleted, Dependents, ErrorKind, Precondition, ProviderError, WriteOptions, exactly, patch_of,
    },
    runtime::Runtime,
};

/// How often a write of the parameter is tried again when somebody else was faster.
const TRIES: u32 = 8;

/// The fence of one environment.
#[derive(Clone, Debug)]
pub struct Fence {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) environment: String,
    pub(super) namespace: String,
}

/// Whether a fence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FenceState {
    /// The project file has none, and the cluster neither.
    NotInstalled,
    /// It stands in the cluster, and the project file does not know.
    Unrecorded,
    /// It is recorded and all its parts are there.
    Installed,
    /// It is recorded and its parameter is there; the present credentials may not read its policy.
    Unseen,
    /// It is recorded and its parameter is missing: everything passes.
    Open,
    /// It is recorded and its policy or binding is missing: everything passes.
    Gone,
    /// None is recorded, and the present credentials may not see whether there is one.
    Unknown,
}

/// What was seen of a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct FenceSight {
    /// Whether it stands.
    pub state: FenceState,
    /// The epoch that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
}

impl Fence {
    /// The fence of an environment, which need not stand.
    pub fn new(
        cluster: Arc<dyn Cluster>,
        runtime: Arc<dyn Runtime>,
        environment: &str,
        namespace: &str,
    ) -> Self {
        Self { cluster, runtime, environment: environment.to_owned(), namespace: namespace.to_owned() }
    }

    pub(super) fn failed(&self, source: ProviderError) -> FenceError {
        FenceError::Provider { environment: self.environment.clone(), source }
    }

    pub(super) fn parameter_key(&self) -> ObjectKey {
        parameter_key(&self.environment, &self.namespace)
    }

    pub(super) fn open(&self) -> FenceError {
        FenceError::Open {
            environment: self.environment.clone(),
            namespace: self.namespace.clone(),
            parameter: self.parameter_key().name,
        }
    }

    pub(super) fn damaged(&self) -> FenceError {
        FenceError::Damaged { environment: self.environment.clone(), parameter: self.parameter_key().name }
    }

    /// The epoch of the fence; none where there is no parameter.
    ///
    /// # Errors
    /// When the parameter cannot be read, or holds no epoch.
    pub async fn epoch(&self) -> Result<Option<Epoch>, FenceError> {
        let found = self.cluster.get(&self.parameter_key()).await.map_err(|error| self.failed(error))?;
        found.map(|parameter| epoch_in(&parameter).ok_or_else(|| self.damaged())).transpose()
    }

    /// Installs the fence, or repairs it: makes or raises the parameter to at least `epoch`, then the policy, the
    /// binding and the anchor, and proves that older writes are refused.
    ///
    /// # Errors
    /// [`FenceError::Forbidden`] for who may not install policies, where nobody did it for them: the parameter stands
    /// then, and [`super::fence_manifest`] is what is missing. [`FenceError::Silent`] when the fence does not refuse
    /// within its deadline.
    pub async fn install(&self, epoch: Epoch) -> Result<Epoch, FenceError> {
        // At epoch 0 there is no older write to be refused.
        let epoch = self.lift(epoch.max(Epoch(1))).await?;
        let mut denied = None;
        for object in objects(&self.environment, &self.namespace) {
            let options = WriteOptions::apply(RECORDS_MANAGER, Precondition::Any);
            match self.cluster.write(&object, &options).await {
                Ok(_) => {}
                Err(error) if error.is_refusal() => denied = Some(error),
                Err(error) => return Err(self.failed(error)),
            }
        }
        match (self.prove(epoch).await, denied) {
            (Ok(()), _) => Ok(epoch),
            (Err(FenceError::Silent { .. }), Some(source)) => {
                Err(FenceError::Forbidden { environment: self.environment.clone(), source })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Makes the parameter, or raises it; a higher epoch stays.
    async fn lift(&self, epoch: Epoch) -> Result<Epoch, FenceError> {
        let mut last = None;
        for _ in 0..TRIES {
            let found = self.cluster.get(&self.parameter_key()).await.map_err(|error| self.failed(error))?;
            let written = match &found {
                None => {
                    let made = parameter(&self.environment, &self.namespace, epoch);
                    let options = WriteOptions::apply(RECORDS_MANAGER, Precondition::Absent);
                    self.cluster.write(&made, &options).await
                }
                Some(found) => match epoch_in(found) {
                    Some(there) if there >= epoch => return Ok(there),
                    // What is damaged, or was made by hand, is made anew.
                    _ => {
                        let whole = parameter(&self.environment, &self.namespace, epoch);
                        let options = WriteOptions::apply(RECORDS_MANAGER, exactly(found));
                        self.cluster.write(&whole, &options).await
                    }
                },
            };
            match written {
                Ok(_) => return Ok(epoch),
                Err(error) if error.kind() == ErrorKind::Conflict => last = Some(error),
                Err(error) => return Err(self.failed(error)),
            }
        }
        Err(last.map_or_else(|| self.open(), |error| self.failed(error)))
    }

    /// Proves that a write of the epoch before this one is refused.
    ///
    /// # Errors
    /// [`FenceError::Silent`] when it passes until the deadline.
    pub async fn prove(&self, epoch: Epoch) -> Result<(), FenceError> {
        Gate::prove(self, epoch, PROOF).await
    }

    /// Sets the parameter to a higher epoch, if it is as it was read: only upwards.
    ///
    /// # Errors
    /// [`FenceError::Raised`] when it stands higher.
    pub async fn raise(&self, epoch: Epoch) -> Result<(), FenceError> {
        let found = self.cluster.get(&self.parameter_key()).await.map_err(|error| self.failed(error))?;
        let found = found.ok_or_else(|| self.open())?;
        self.raise_from(found, epoch).await
    }

    pub(super) async fn raise_from(&self, found: Object, epoch: Epoch) -> Result<(), FenceError> {
        let mut found = found;
        let mut tries = 0;
        loop {
            let there = epoch_in(&found).ok_or_else(|| self.damaged())?;
            if there > epoch && !is_planted(Defect::FenceLowered) {
                let environment = self.environment.clone();
                return Err(FenceError::Raised { environment, ours: epoch, found: there });
            }
            // Ours already: the answer was lost.
            if there == epoch {
                return Ok(());
            }
            let patch =
                patch_of(&self.parameter_key(), serde_json::json!({"data": {"epoch": epoch.to_string()}}))
                    .expect("has kind and name");
            let options = WriteOptions::merge(RECORDS_MANAGER, exactly(&found));
            match self.cluster.write(&patch, &options).await {
                Ok(_) => return Ok(()),
                Err(error)
                    if tries < TRIES && (error.kind() == ErrorKind::Conflict || error.is_transient()) =>
                {
                    tries += 1;
                    let pause = std::time::Duration::from_millis(100 * u64::from(tries));
                    self.runtime.sleep(error.retry_after().unwrap_or(pause)).await;
                }
                Err(error) => return Err(self.failed(error)),
            }
            found = crate::engine::patience::patiently(&*self.runtime, || {
                let key = self.parameter_key();
                Box::pin(async move { self.cluster.get(&key).await })
            })
            .await
            .map_err(|error| self.failed(error))?
            .ok_or_else(|| self.open())?;
        }
    }

    /// Takes the fence down: the binding and the parameter. The policy and the anchor stay, which other
    /// environments share. Answers
    /// what the present credentials may not delete; without its parameter a binding lets everything pass.
    ///
    /// # Errors
    /// When the cluster fails.
    pub async fn remove(&self) -> Result<Vec<ObjectKey>, FenceError> {
        let mut left = Vec::new();
        let binding = binding_key(&self.environment, &self.namespace);
        self.delete(&binding, &mut left).await?;
        self.delete(&self.parameter_key(), &mut left).await?;
        Ok(left)
    }

    async fn delete(&self, key: &ObjectKey, left: &mut Vec<ObjectKey>) -> Result<(), FenceError> {
        match self.cluster.delete(key, &Precondition::Any, Dependents::Follow).await {
            Ok(Deleted::AlreadyAbsent | Deleted::Gone | Deleted::Pending { .. }) => Ok(()),
            Err(error) if error.is_refusal() => {
                left.push(key.clone());
                Ok(())
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Looks whether the fence stands, without writing.
    ///
    /// # Errors
    /// When the parameter cannot be read.
    pub async fn sight(&self, recorded: bool) -> Result<FenceSight, FenceError> {
        let epoch = match self.epoch().await {
            Ok(epoch) => epoch,
            Err(FenceError::Damaged { .. }) if recorded => {
                return Ok(FenceSight { state: FenceState::Open, epoch: None });
            }
            Err(FenceError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let state = match (recorded, epoch) {
            (false, None) => FenceState::NotInstalled,
            (true, None) => FenceState::Open,
            (_, Some(_)) => match (self.parts().await?, recorded) {
                (Some(false), true) => FenceState::Gone,
                (Some(false), false) => FenceState::NotInstalled,
                (None, true) => FenceState::Unseen,
                (Some(true), true) => FenceState::Installed,
                (Some(true) | None, false) => FenceState::Unrecorded,
            },
        };
        Ok(FenceSight { state, epoch })
    }

    /// Whether policy and binding are there; none where they may not be read.
    async fn parts(&self) -> Result<Option<bool>, FenceError> {
        for key in [policy_key(), binding_key(&self.environment, &self.namespace)] {
            match self.cluster.get(&key).await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Some(false)),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(Some(true))
    }
}
