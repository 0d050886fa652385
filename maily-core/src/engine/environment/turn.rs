//! Whose turn it is: one run at a time works on an environment.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt as _, future::BoxFuture};

use super::{Environment, EnvironmentError, RunOptions};
use crate::{
    engine::{
        Lease, LeaseError, LeaseRequest, RunId, What,
        fence::Gate,
        history::Head,
        journal::{JournalError, Recorded},
        lease::{self, Watch},
    },
    model::Fencing,
    object::Object,
};

impl Environment {
    /// The state of the records of the right cluster, once nobody else works on the environment: waits for one's turn
    /// where asked to.
    ///
    /// # Errors
    /// [`LeaseError::Held`] when somebody works on it for longer than we wait, [`EnvironmentError::Unfinished`] when
    /// a run has to be resumed or aborted first; else like [`Self::check`].
    pub async fn turn(&self, options: &RunOptions) -> Result<Head, EnvironmentError> {
        let turn = async {
            // Before the records are read: what is missing among them is written again.
            let cluster = Some(self.check().await?);
            let read = || async { Ok((self.head().await?, None)) }.boxed();
            let (head, _) = self.in_line(options, read).await?;
            Ok(Head { cluster, ..head })
        };
        options.before_any_change(turn).await
    }

    /// Reads the records once nobody else works on the environment; with what is damaged in them.
    pub(super) async fn in_line<'a>(
        &self,
        options: &RunOptions,
        read: impl Fn() -> BoxFuture<'a, Result<(Head, Option<JournalError>), EnvironmentError>>,
    ) -> Result<(Head, Option<JournalError>), EnvironmentError> {
        let begun = self.runtime.now();
        let until = options.until(begun);
        let mut left = None;
        loop {
            let (head, damage) = read().await?;
            let Some(unfinished) = &head.unfinished else { return Ok((head, damage)) };
            if let Some(plan) = &unfinished.recorded.plan {
                self.is_of(&plan.project)?;
            }
            let run = unfinished.recorded.run.clone();
            // Only what is read after its holder has gone tells whether a run was left: its end comes before that.
            if left.as_ref() == Some(&run) {
                return Err(self.unfinished(&unfinished.recorded));
            }
            // Until nobody works on the environment, or whoever did has died.
            let mut watch = Watch::new(begun, until);
            let (cluster, place) = (&*self.providers.cluster, (&*self.name, &*self.namespace));
            let queued = self.queued(&run, options);
            let (runtime, is_ours) = (&*self.runtime, |_: &Object| false);
            match lease::until_free(cluster, runtime, place, &mut watch, &is_ours, &queued).await {
                Ok(_) => {}
                Err(LeaseError::Provider(error)) => return Err(EnvironmentError::Provider(error)),
                Err(error) => return Err(error.into()),
            }
            left = Some(run.clone());
        }
    }

    /// Tells whom a run waits for, each one once.
    fn queued(&self, run: &RunId, options: &RunOptions) -> impl Fn(&str) + Send + Sync {
        let last = Mutex::new(String::new());
        move |holder: &str| {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if *last != holder {
                holder.clone_into(&mut last);
                self.tell_before(run, options, What::Queued { holder: holder.to_owned() });
            }
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
            until: options.until(self.runtime.now()),
        };
        let queued = self.queued(run, options);
        let cluster = Arc::clone(&self.providers.cluster);
        Ok(Lease::acquire(cluster, Arc::clone(&self.runtime), &request, &queued).await?)
    }

    pub(in crate::engine) fn unfinished(&self, recorded: &Recorded) -> EnvironmentError {
        let stuck = recorded.stuck().map(|item| item.why.message.clone());
        EnvironmentError::Unfinished { environment: self.name.clone(), run: recorded.run.clone(), stuck }
    }
}
