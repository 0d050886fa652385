//! Whose turn it is: one run at a time works on an environment.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;

use super::{Environment, EnvironmentError, RunOptions};
use crate::{
    engine::{Lease, LeaseError, LeaseRequest, RunId, What, fence::Gate, history::Head, patience::patiently},
    model::Fencing,
};

impl Environment {
    /// The state of the records of the right cluster, once nobody else works on the environment: waits for one's turn
    /// where asked to.
    ///
    /// # Errors
    /// [`LeaseError::Held`] when somebody works on it for longer than we wait, [`EnvironmentError::Unfinished`] when
    /// a run has to be resumed or aborted first; else like [`Self::check`].
    pub async fn turn(&self, options: &RunOptions) -> Result<Head, EnvironmentError> {
        let (checked, head) = futures::future::join(self.check(), self.wait_for_turn(options)).await;
        // What is wrong with the cluster as such is the better answer.
        let cluster = Some(checked?);
        Ok(Head { cluster, ..head? })
    }

    async fn wait_for_turn(&self, options: &RunOptions) -> Result<Head, EnvironmentError> {
        let begun = self.runtime.now();
        let mut seen: Option<(String, crate::runtime::Moment)> = None;
        loop {
            let head = self.head().await?;
            let Some(unfinished) = &head.unfinished else { return Ok(head) };
            if let Some(plan) = &unfinished.recorded.plan {
                self.is_of(&plan.project)?;
            }
            let run = unfinished.recorded.run.clone();
            let look =
                || crate::engine::lease::look(&*self.providers.cluster, &self.name, &self.namespace).boxed();
            let found = patiently(&*self.runtime, look).await.map_err(EnvironmentError::Provider)?;
            let Some((holder, version)) = found else { return Err(self.unfinished(&run)) };
            let now = self.runtime.now();
            let since = seen.as_ref().filter(|(known, _)| *known == version).map_or(now, |(_, since)| *since);
            // The holder has died: his run is to be resumed or aborted.
            if now.since(since) > crate::engine::lease::LEASE {
                return Err(self.unfinished(&run));
            }
            if options.wait.is_none_or(|wait| now.since(begun) > wait) {
                let environment = self.name.clone();
                return Err(LeaseError::Held { environment, holder }.into());
            }
            self.tell_before(&run, options, What::Queued { holder: holder.clone() });
            seen = Some((version, since));
            self.runtime.sleep(Duration::from_millis(500)).await;
        }
    }

    /// Tells the listener of a run that has not begun yet.
    pub(in crate::engine) fn tell_before(&self, run: &RunId, options: &RunOptions, what: What) {
        let event = crate::engine::Event::new(run.clone(), &self.name, self.runtime.wall(), what);
        options.listener.event(&event);
    }

    /// The fence, where the environment has one: to be read before the claim, and shut behind it.
    pub(in crate::engine) async fn gate(&self) -> Result<Option<Gate>, EnvironmentError> {
        match self.fencing {
            Fencing::None => Ok(None),
            Fencing::Installed => Ok(Some(Gate::approach(self.fence()).await?)),
        }
    }

    pub(in crate::engine) async fn lease(
        &self,
        run: &RunId,
        options: &RunOptions,
    ) -> Result<Lease, EnvironmentError> {
        let request = LeaseRequest {
            environment: self.name.clone(),
            namespace: self.namespace.clone(),
            holder: options.by.clone(),
            run: run.clone(),
            wait: options.wait,
        };
        let last = std::sync::Mutex::new(String::new());
        let queued = |holder: &str| {
            let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *last != holder {
                holder.clone_into(&mut last);
                self.tell_before(run, options, What::Queued { holder: holder.to_owned() });
            }
        };
        let cluster = Arc::clone(&self.providers.cluster);
        Ok(Lease::acquire(cluster, Arc::clone(&self.runtime), &request, &queued).await?)
    }

    pub(in crate::engine) fn unfinished(&self, run: &RunId) -> EnvironmentError {
        EnvironmentError::Unfinished { environment: self.name.clone(), run: run.clone() }
    }
}
