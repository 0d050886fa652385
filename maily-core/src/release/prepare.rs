//! From a version to a plan, in one call: render, wait for one's turn, read what is released, compare.

use super::{DeployScope, deploy};
use crate::{
    engine::{
        Depth, Environment, EnvironmentError, Note, Planned, RunOptions, Storage, belongs_to, patiently,
        planner::{PlanOptions, WantedService},
    },
    model::{Resolved, Version},
    object::Object,
    provider::ErrorKind,
    source::{Occasion, RenderRequest, Rendered, SourceErrors, Tools, render},
};

/// What shall be brought to an environment, and how closely to look before.
#[derive(Clone, Debug)]
pub struct DeployRequest {
    /// The version.
    pub version: Version,
    /// Which part of the environment.
    pub scope: DeployScope,
    /// Take new services of a shared source along although the file has no line for them.
    pub accept_new: bool,
    /// Begin from what is in the cluster, without the release in force: only where its records are damaged or lost.
    pub anew: bool,
    /// What the planner may do; its time is that of every service, too.
    pub options: PlanOptions,
    /// Whether the server is asked what each change would do.
    pub depth: Depth,
    /// Whether the plan is to be carried out.
    pub storage: Storage,
}

impl DeployRequest {
    /// All of a version, dry-run, ready to be carried out.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            scope: DeployScope::default(),
            accept_new: false,
            anew: false,
            options: PlanOptions::default(),
            depth: Depth::DryRun,
            storage: Storage::Lasting,
        }
    }
}

/// Why there is no plan for a deploy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// A deploy of nothing would take everything out that is there.
    #[error("the project has no services")]
    NoServices,
    /// The file does not know services that a shared source has.
    #[error("version {version} has services that the project file does not know: {}", names.join(", "))]
    NewServices {
        /// The version.
        version: Version,
        /// The services.
        names: Vec<String>,
    },
    /// There is nothing to begin anew.
    #[error("the environment cannot be begun anew: {0}")]
    NotAnew(&'static str),
    /// The objects could not be made.
    #[error(transparent)]
    Source(#[from] SourceErrors),
    /// The environment could not be read, or there is no way from what is there to what is wanted.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
}

/// Makes the plan of a deploy. Nothing is asked of the cluster before the objects of the version are complete.
///
/// `run` says who asks, how long to wait for a run that is under way, and who hears of the wait.
///
/// # Errors
/// When there is no plan.
pub async fn prepare(
    environment: &Environment,
    resolved: &Resolved,
    request: &DeployRequest,
    tools: &dyn Tools,
    run: &RunOptions,
) -> Result<Planned, PrepareError> {
    if resolved.services.is_empty() {
        return Err(PrepareError::NoServices);
    }
    let DeployRequest { version, scope, accept_new, anew, options, depth, storage } = request;
    let rendering =
        RenderRequest { resolved, version, only: scope.components.as_deref(), accept_new: *accept_new };
    let mut rendered = render(&rendering, tools).await?;
    if !rendered.new_services.is_empty() && !accept_new {
        return Err(PrepareError::NewServices { version: version.clone(), names: rendered.new_services });
    }
    let environment = &environment.told_to(&run.listener);
    let (head, base) = if *anew {
        if scope.components.is_some() || scope.phases.is_some() {
            return Err(PrepareError::NotAnew("it says nothing of the other services"));
        }
        let whole = PrepareError::NotAnew("the records are whole");
        let head = environment.begin_anew(run).await?.ok_or(whole)?;
        upgrade_what_is_there(environment, &mut rendered).await?;
        (head, None)
    } else {
        let head = environment.turn(run).await?;
        let base = environment.released(&head).await?;
        (head, base)
    };
    let places = std::mem::take(&mut rendered.places);
    let mut wanted = deploy(resolved, rendered, version, base.as_ref(), scope);
    if *anew {
        let text = "what is in the cluster is taken as it is; what the lost release had and this version has not stays \
                    there, labelled `maily.dev/project`, for a person to delete";
        wanted.notes.push(Note { topic: "anew".to_owned(), text: text.to_owned() });
    }
    let planned = environment.plan(&wanted, head, base.as_ref(), options, *depth, *storage).await;
    Ok(planned.map_err(|error| match error {
        EnvironmentError::Problems(problems, forced) => {
            EnvironmentError::Problems(problems.located(&places), forced)
        }
        error => error,
    })?)
}

/// Jobs of charts, where no release tells which services were there before: what is there was installed.
async fn upgrade_what_is_there(
    environment: &Environment,
    rendered: &mut Rendered,
) -> Result<(), EnvironmentError> {
    let Rendered { services, hooks, notes, .. } = rendered;
    for (name, jobs) in hooks {
        let Some(service) = services.get(name) else { continue };
        if !is_there(environment, service).await? {
            continue;
        }
        for job in jobs.iter().filter(|job| job.occasion == Occasion::Install) {
            let text = format!(
                "Job {} is for the first release of `{name}`, which is there: it does not run",
                job.spec.name
            );
            notes.push(Note { topic: "anew".to_owned(), text });
        }
        jobs.retain(|job| job.occasion != Occasion::Install);
        jobs.iter_mut().for_each(|job| job.occasion = Occasion::Every);
    }
    Ok(())
}

/// Whether the cluster has something of a service that a release has brought.
async fn is_there(environment: &Environment, service: &WantedService) -> Result<bool, EnvironmentError> {
    let cluster = &*environment.providers.cluster;
    let of_release = |live: &Object| belongs_to(live, &environment.project, &environment.name);
    for object in &service.objects {
        match patiently(&*environment.runtime, || cluster.get(object.key())).await {
            Ok(Some(live)) if of_release(&live) => return Ok(true),
            Ok(_) => {}
            // Its kind may come with this very release.
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => return Err(EnvironmentError::Provider(error)),
        }
    }
    Ok(false)
}
