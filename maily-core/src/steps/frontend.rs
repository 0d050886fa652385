//! A version of the frontend: build, wait, show; and show the one before again.

use std::{collections::BTreeMap, time::Duration};

use super::{
    context::{Context, End, Past, Trouble},
    waited::Waited,
};
use crate::{
    planted::{Defect, is_planted},
    provider::{Effect, FrontendDeployment, FrontendHost, FrontendState, Production, ProviderError},
    run::{Direction, Failure, NO_WAY_BACK, RunId, Step, What},
    runtime::Moment,
};

/// After this time an unanswered call of the host has had its effect or never will.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at a domain that is being changed, which takes a moment and not minutes.
const SWITCH: Duration = Duration::from_millis(300);

/// The tag that names the run of a deployment.
const RUN_TAG: &str = "maily-run";

/// Whether a run has made a deployment.
pub(crate) fn is_made_by(deployment: &FrontendDeployment, run: &RunId) -> bool {
    deployment.tags.get(RUN_TAG).is_some_and(|made| **made == *run.to_string())
}

/// Somebody else had a domain show something.
fn promoted(shown: Option<&str>) -> Failure {
    let message = format!("the domain shows {} meanwhile", shown.unwrap_or("nothing"));
    Failure::new("changed", message)
}

/// What a frontend step is about.
pub(super) struct Wish<'a> {
    pub(super) project: &'a str,
    pub(super) domain: Option<&'a str>,
    pub(super) version: &'a str,
    pub(super) existing: Option<&'a str>,
    pub(super) before: Option<&'a str>,
}

struct Presenting<'a> {
    context: &'a Context,
    step: &'a Step,
    host: &'a dyn FrontendHost,
    direction: Direction,
    deadline: Moment,
    effect: Effect,
    waited: Waited<'a>,
}

/// Brings the wanted version, or takes it back.
pub(super) async fn run(
    context: &Context,
    step: &Step,
    wish: &Wish<'_>,
    direction: Direction,
    past: Past,
) -> End {
    let Some(host) = context.providers.frontend.as_deref() else {
        let failure = Failure::new("unsupported", "no frontend host is set up").with_effect(Effect::None);
        return End::Failed(Box::new(failure), context.result(&step.id));
    };
    let deadline = context.runtime.now() + super::rollout::time_for(step, direction);
    let resumed = past == Past::Unknown;
    let effect = if resumed || direction == Direction::Back { Effect::Unknown } else { Effect::None };
    let waited = Waited::new(context, &step.id);
    let mut work = Presenting { context, step, host, direction, deadline, effect, waited };
    let result = match direction {
        Direction::Forward => work.forward(wish, resumed).await,
        Direction::Back => work.back(wish, resumed || context.result(&step.id).unanswered).await,
    };
    match result {
        Ok(()) => End::Done(context.result(&step.id)),
        Err(Trouble::Halted) => End::Halted,
        Err(Trouble::Failed(mut failure)) => {
            failure.effect = work.effect;
            End::Failed(failure, context.result(&step.id))
        }
    }
}

impl Presenting<'_> {
    /// The host has no idempotency token: a deployment is found again by these.
    fn tags(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (RUN_TAG.to_owned(), self.context.run.to_string()),
            ("maily-step".to_owned(), self.step.id.to_string()),
        ])
    }

    async fn forward(&mut self, wish: &Wish<'_>, resumed: bool) -> Result<(), Trouble> {
        if !resumed {
            self.as_planned(wish).await?;
        }
        let made = self.make(wish, resumed).await?;
        self.context.made(&self.step.id, &made.id);
        let ready = self.built(wish, made).await?;
        if let Err(trouble) = self.as_planned(wish).await {
            self.forget(wish, &ready.id, resumed).await?;
            return Err(trouble);
        }
        self.show(wish, &ready.id).await
    }

    /// Whether the domain still shows what it showed when the plan was made, or what this run brought: what somebody
    /// else has promoted since is his.
    async fn as_planned(&mut self, wish: &Wish<'_>) -> Result<(), Trouble> {
        let shown = self.settled(wish).await?;
        let id = shown.as_ref().map(|shown| shown.id.as_str());
        let ours = shown.as_ref().is_some_and(|shown| is_made_by(shown, &self.context.run));
        let wanted = id.is_some() && id == wish.existing;
        if id == wish.before || ours || wanted {
            return Ok(());
        }
        Err(promoted(id).into())
    }

    /// Removes what was made and never promoted, so that nothing of it has to be taken back. Where more may be left of
    /// an unanswered call, or of a former process, the way back looks.
    async fn forget(&mut self, wish: &Wish<'_>, made: &str, resumed: bool) -> Result<(), Trouble> {
        if resumed || self.context.result(&self.step.id).unanswered {
            return Ok(());
        }
        if wish.existing != Some(made) {
            self.remove(wish, made).await?;
        }
        self.effect = Effect::None;
        Ok(())
    }

    /// At most one deployment per run and step, whatever was lost.
    async fn make(&mut self, wish: &Wish<'_>, resumed: bool) -> Result<FrontendDeployment, Trouble> {
        let tags = self.tags();
        let mut look = resumed;
        if let Some(known) = self.known(wish).await? {
            return Ok(known);
        }
        loop {
            if look {
                // A create that was not answered may still land.
                self.outlast().await?;
                match self.surplus(wish, &tags).await? {
                    // No host builds again what it could not build.
                    Some(found) if resumed && matches!(found.state, FrontendState::Failed(_)) => {
                        self.remove(wish, &found.id).await?;
                    }
                    Some(found) => return Ok(found),
                    None => {}
                }
            }
            self.context.may_send(self.direction, self.deadline).await?;
            match self.host.create(wish.project, wish.version, &tags).await {
                Ok(made) => {
                    self.effect = Effect::Done;
                    return Ok(made);
                }
                Err(error) => {
                    look = error.effect() == Effect::Unknown && !is_planted(Defect::CreateRepeatedBlindly);
                    self.after_change(error).await?;
                }
            }
        }
    }

    /// The deployment that a release had, if the host still has it.
    async fn known(&mut self, wish: &Wish<'_>) -> Result<Option<FrontendDeployment>, Trouble> {
        let Some(id) = wish.existing else { return Ok(None) };
        loop {
            match self.host.get(wish.project, id).await {
                Ok(found) => return Ok(found.filter(|found| found.state == FrontendState::Ready)),
                Err(error) => self.after(error).await?,
            }
        }
    }

    /// The deployment that the step is known to have made: a search may not find yet what was made a moment ago.
    async fn remembered(&mut self, wish: &Wish<'_>) -> Result<Option<FrontendDeployment>, Trouble> {
        let made = self.context.result(&self.step.id).artefact;
        let Some(id) = made.filter(|id| Some(id.as_str()) != wish.existing) else { return Ok(None) };
        loop {
            match self.host.get(wish.project, &id).await {
                Ok(found) => return Ok(found),
                Err(error) => self.after(error).await?,
            }
        }
    }

    /// The one deployment of this step; removes others that a lost answer left behind.
    async fn surplus(
        &mut self,
        wish: &Wish<'_>,
        tags: &BTreeMap<String, String>,
    ) -> Result<Option<FrontendDeployment>, Trouble> {
        loop {
            match self.host.find(wish.project, tags).await {
                Ok(mut found) => {
                    let keep = found.pop();
                    for extra in found {
                        self.remove(wish, &extra.id).await?;
                    }
                    return Ok(keep);
                }
                Err(error) => self.after(error).await?,
            }
        }
    }

    async fn built(
        &mut self,
        wish: &Wish<'_>,
        made: FrontendDeployment,
    ) -> Result<FrontendDeployment, Trouble> {
        let mut deployment = made;
        loop {
            match &deployment.state {
                FrontendState::Ready => return Ok(deployment),
                FrontendState::Failed(said) => {
                    let message = format!("the build of {} failed: {said}", wish.version);
                    return Err(Failure::new("build-failed", message)
                        .with_object(deployment.url.clone())
                        .with_hint("read the build's log at the host")
                        .into());
                }
                FrontendState::Building => {}
            }
            if self.context.runtime.now() >= self.deadline {
                let message = format!("the build is not through after {} s", self.step.timeout_s);
                return Err(Failure::new("deadline", message).with_object(deployment.url.clone()).into());
            }
            self.waited.tell(None, None, &format!("building {}", deployment.url));
            self.context.pause(self.direction, Duration::from_secs(1)).await?;
            match self.host.get(wish.project, &deployment.id).await {
                Ok(Some(found)) => deployment = found,
                Ok(None) => {
                    return Err(Failure::new("gone", "the deployment was removed meanwhile").into());
                }
                Err(error) => self.after(error).await?,
            }
        }
    }

    async fn show(&mut self, wish: &Wish<'_>, id: &str) -> Result<(), Trouble> {
        let mut ask = true;
        loop {
            if ask {
                self.context.may_send(self.direction, self.deadline).await?;
                match self.host.promote(wish.project, id, wish.domain).await {
                    Ok(()) => self.effect = Effect::Done,
                    Err(error) => {
                        let may_land = error.effect() == Effect::Unknown;
                        self.after_change(error).await?;
                        if may_land {
                            // It must not land after the promotion of a later run.
                            self.outlast().await?;
                        }
                        continue;
                    }
                }
            }
            match self.host.production(wish.project, wish.domain).await {
                // Only what was seen counts.
                Ok(Production { shown: Some(shown), coming: None }) if shown.id == id => return Ok(()),
                Ok(production) => ask = production.coming.is_none(),
                Err(error) => {
                    ask = false;
                    self.after(error).await?;
                    continue;
                }
            }
            if self.context.runtime.now() >= self.deadline {
                let message = format!("the host does not show {id} although it accepted to");
                return Err(Failure::new("deadline", message).into());
            }
            self.waited.tell(None, None, &format!("the domain does not show {id} yet"));
            self.context.pause(self.direction, SWITCH).await?;
        }
    }

    async fn back(&mut self, wish: &Wish<'_>, unanswered: bool) -> Result<(), Trouble> {
        if unanswered {
            // What is looked up before an unanswered call has had its time may come after the look.
            self.outlast().await?;
        }
        let tags = self.tags();
        let made = match self.surplus(wish, &tags).await? {
            Some(found) => Some(found),
            None => self.remembered(wish).await?,
        };
        let shown = self.settled(wish).await?.map(|shown| shown.id);
        let ours = made.as_ref().map(|made| made.id.as_str());
        match (shown.as_deref(), wish.before) {
            (shown, before) if shown == before => {}
            (shown, Some(before)) if shown == ours || shown == wish.existing => {
                self.show(wish, before).await?
            }
            (shown, None) if shown == ours || shown == wish.existing => {
                let why = "the domain showed nothing before, and the host cannot unset it";
                return Err(Failure::new(NO_WAY_BACK, why).into());
            }
            (shown, _) => return Err(promoted(shown).into()),
        }
        match made {
            Some(made) => self.remove(wish, &made.id).await,
            None => Ok(()),
        }
    }

    /// Waits until a call without an answer has had its effect or never will.
    async fn outlast(&mut self) -> Result<(), Trouble> {
        let until = self.context.runtime.now() + CALL_LIMIT;
        while !self.context.left(until).is_zero() {
            let why =
                format!("waits {} s: a call without an answer may still take effect", CALL_LIMIT.as_secs());
            self.waited.tell(None, None, &why);
            let pause = self.context.left(until).min(self.waited.left());
            self.context.pause(self.direction, pause).await?;
        }
        Ok(())
    }

    /// Removes a deployment that no domain shows.
    async fn remove(&mut self, wish: &Wish<'_>, id: &str) -> Result<(), Trouble> {
        loop {
            self.context.may_send(self.direction, self.deadline).await?;
            match self.host.remove(wish.project, id).await {
                Ok(()) => return Ok(()),
                Err(error) => self.after(error).await?,
            }
        }
    }

    /// What the domain shows once nothing is on its way there.
    async fn settled(&mut self, wish: &Wish<'_>) -> Result<Option<FrontendDeployment>, Trouble> {
        loop {
            match self.host.production(wish.project, wish.domain).await {
                Ok(Production { shown, coming: None }) => return Ok(shown),
                Ok(_) if self.context.runtime.now() >= self.deadline => {
                    return Err(Failure::new("deadline", "the domain is still being changed").into());
                }
                Ok(_) => {
                    self.waited.tell(None, None, "the domain is still being changed");
                    self.context.pause(self.direction, SWITCH).await?;
                }
                Err(error) => self.after(error).await?,
            }
        }
    }

    /// Decides after a create or a promotion that failed: without an answer it may still take effect.
    async fn after_change(&mut self, error: ProviderError) -> Result<(), Trouble> {
        if error.effect() == Effect::Unknown {
            self.context.unanswered(&self.step.id);
        }
        self.after(error).await
    }

    async fn after(&mut self, error: ProviderError) -> Result<(), Trouble> {
        if error.effect() == Effect::Unknown && self.effect == Effect::None {
            self.effect = Effect::Unknown;
        }
        if !error.is_transient() || self.context.runtime.now() >= self.deadline {
            return Err(Failure::of(&error).into());
        }
        let pause = error.retry_after().unwrap_or(Duration::from_secs(1));
        self.context.tell(What::StepRetried {
            step: self.step.id.clone(),
            error: error.to_string(),
            after_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        });
        self.context.pause(self.direction, pause).await
    }
}
