//! The fence in the hands of a holder: read before the claim, raised and proven after it, watched while it writes.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{
    StreamExt as _,
    future::{Either, select},
};

use super::{
    error::FenceError,
    install::Fence,
    manifest::{PART, binding_key, epoch_in},
};
use crate::{
    engine::{ENVIRONMENT, EPOCH, Epoch, MANAGER, NAMESPACE, hold::Hold, patience::patiently},
    object::{Object, ObjectKind},
    planted::{Defect, is_planted},
    provider::{
        ErrorKind, ListQuery, Precondition, ProviderError, WatchEvent, WatchStream, WriteOptions, patch_of,
    },
    runtime::within,
    steps::{Context, Halt},
};

/// Time within which an older write has to be refused. A new policy takes half a second to come into force.
pub(super) const PROOF: Duration = Duration::from_secs(10);
/// Time between proofs while the holder works: binding and policy are not his to read, only to feel.
const PROVE_AGAIN: Duration = Duration::from_secs(5);
/// Time within which a fence that stood has to refuse again.
const STILL: Duration = Duration::from_secs(5);
/// A proof that takes longer is told.
const SLOW: Duration = Duration::from_secs(3);
/// Time within which the watch has to tell what is there.
const LOOK: Duration = Duration::from_secs(30);
/// Time until a watch that ended is begun anew.
const PAUSE: Duration = Duration::from_secs(1);

/// A fence that a holder stands behind.
pub(crate) struct Gate {
    fence: Fence,
    parameter: Object,
    watch: WatchStream,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("fence", &self.fence).finish_non_exhaustive()
    }
}

impl Gate {
    /// Reads the parameter by beginning to watch it: one list serves both.
    pub(crate) async fn approach(fence: Fence) -> Result<Self, FenceError> {
        let mut watch = begin_watch(&fence).await.map_err(|error| fence.failed(error))?;
        let key = fence.parameter_key();
        let first = async {
            loop {
                match watch.next().await {
                    Some(Ok(WatchEvent::Listed { objects, .. })) => {
                        return Ok(objects.into_iter().find(|object| *object.key() == key));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(fence.failed(error)),
                    None => return Ok(None),
                }
            }
        };
        let parameter = match within(&*fence.runtime, LOOK, first).await {
            Some(found) => found?.ok_or_else(|| fence.open())?,
            None => {
                let error = ProviderError::new(
                    ErrorKind::DeadlineExceeded,
                    "cluster",
                    "watch",
                    key.to_string(),
                    format!("nothing was told within {} s", LOOK.as_secs()),
                );
                return Err(fence.failed(error));
            }
        };
        if epoch_in(&parameter).is_none() {
            return Err(fence.damaged());
        }
        Ok(Self { fence, parameter, watch })
    }

    /// The epoch that the fence held.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        epoch_in(&self.parameter)
    }

    /// Raises the fence to our epoch, only upwards, and proves it; tells `slow` where that takes long.
    pub(crate) async fn shut(&mut self, epoch: Epoch, slow: impl FnOnce(String)) -> Result<(), FenceError> {
        self.fence.raise_from(self.parameter.clone(), epoch).await?;
        if is_planted(Defect::FenceUnproven) {
            return Ok(());
        }
        let proof = self.fence.prove(epoch);
        futures::pin_mut!(proof);
        match select(proof, self.fence.runtime.sleep(SLOW)).await {
            Either::Left((proven, _)) => proven,
            Either::Right(((), proof)) => {
                let (environment, seconds) = (&self.fence.environment, PROOF.as_secs());
                slow(format!(
                    "the fence of `{environment}` does not refuse older writes yet: asks for up to {seconds} s"
                ));
                proof.await
            }
        }
    }

    /// Asks what would come of a write of the epoch before ours until it is refused. Only our own refusal counts:
    /// any other policy, or a missing permission, proves nothing.
    pub(super) async fn prove(fence: &Fence, epoch: Epoch, limit: Duration) -> Result<(), FenceError> {
        let older = Epoch(epoch.0.saturating_sub(1));
        let mut probe = patch_of(&fence.parameter_key(), serde_json::json!({})).expect("has kind and name");
        probe.set_label(ENVIRONMENT, Some(&fence.environment));
        probe.set_label(NAMESPACE, Some(&fence.namespace));
        probe.set_annotation(EPOCH, Some(&older.to_string()));
        let options = WriteOptions::merge(MANAGER, Precondition::Any).dry_run();
        let ours = binding_key(&fence.environment, &fence.namespace).name;
        let until = fence.runtime.now() + limit;
        let mut pause = Duration::from_millis(20);
        loop {
            let silent = match fence.cluster.write(&probe, &options).await {
                Err(error) if error.kind() == ErrorKind::StaleEpoch && error.message().contains(&ours) => {
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(fence.open()),
                Err(error) if error.is_transient() => Some(fence.failed(error)),
                Err(error) if error.kind() != ErrorKind::StaleEpoch => return Err(fence.failed(error)),
                Ok(_) | Err(_) => None,
            };
            if fence.runtime.now() >= until {
                return Err(silent.unwrap_or_else(|| FenceError::Silent {
                    environment: fence.environment.clone(),
                    older,
                    seconds: limit.as_secs(),
                }));
            }
            fence.runtime.sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Watches the parameter for as long as the holder works, and stops him when it is gone or was raised, or when the
    /// fence refuses no more.
    pub(crate) fn guard(self, context: &Arc<Context>, hold: &Arc<Hold>) {
        let feel = feel(self.fence.clone(), Arc::downgrade(context), Arc::downgrade(hold));
        hold.guarded_by(context.runtime.spawn(Box::pin(feel)));
        let watch = self.watch(Arc::downgrade(context), Arc::downgrade(hold));
        hold.guarded_by(context.runtime.spawn(Box::pin(watch)));
    }

    async fn watch(mut self, context: Weak<Context>, hold: Weak<Hold>) {
        let key = self.fence.parameter_key();
        loop {
            let event = match self.watch.next().await {
                Some(event) => event,
                // No watch is to end without an error: one that does would miss that the fence is opened.
                None => {
                    self.fence.runtime.sleep(PAUSE).await;
                    match begin_watch(&self.fence).await {
                        Ok(watch) => {
                            self.watch = watch;
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            let (Some(context), Some(hold)) = (context.upgrade(), hold.upgrade()) else { return };
            let (found, gone) = match event {
                Ok(WatchEvent::Listed { objects, .. }) => {
                    let found = objects.into_iter().find(|object| *object.key() == key);
                    let gone = found.is_none();
                    (found, gone)
                }
                Ok(WatchEvent::Applied(object)) if *object.key() == key => (Some(object), false),
                Ok(WatchEvent::Deleted(object)) if *object.key() == key => (None, true),
                Ok(_) => continue,
                Err(error) => {
                    hold.unfenced(&context, self.fence.failed(error));
                    return;
                }
            };
            let epoch = found.as_ref().and_then(epoch_in);
            if gone {
                hold.unfenced(&context, self.fence.open());
                return;
            }
            match epoch {
                None => {
                    hold.unfenced(&context, self.fence.damaged());
                    return;
                }
                Some(epoch) if epoch > context.epoch => {
                    context.halt(Halt::Lost);
                    return;
                }
                // An older state, told late, or our own raise.
                Some(_) => {}
            }
        }
    }
}

async fn begin_watch(fence: &Fence) -> Result<WatchStream, ProviderError> {
    let query = ListQuery::new(ObjectKind::new("v1", "ConfigMap"), Some(&fence.namespace))
        .label(ENVIRONMENT, &fence.environment)
        .label(PART, "fence");
    patiently(&*fence.runtime, || fence.cluster.watch(&query)).await
}

/// Proves the fence every while. What cannot be asked for now is asked for again: only a write that passes tells.
async fn feel(fence: Fence, context: Weak<Context>, hold: Weak<Hold>) {
    loop {
        fence.runtime.sleep(PROVE_AGAIN).await;
        let Some(epoch) = context.upgrade().map(|context| context.epoch) else { return };
        let Err(error @ FenceError::Silent { .. }) = Gate::prove(&fence, epoch, STILL).await else {
            continue;
        };
        if let (Some(context), Some(hold)) = (context.upgrade(), hold.upgrade()) {
            hold.unfenced(&context, error);
        }
        return;
    }
}
