//! What the frontend host shows of a release.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::status::ServiceHealth;
use crate::{
    engine::{
        Environment, Work,
        history::{Release, Unfinished},
        patiently,
    },
    model::{Resolved, Source},
    provider::{FrontendDeployment, Production},
    steps,
};

/// What is known of where a frontend is shown.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    /// What the host answered.
    Seen {
        /// The domain, or the project where all of its domains are meant.
        place: String,
        /// What is there.
        production: Production,
    },
    /// Nothing, and why.
    Unknown(String),
}

/// Asks the host about the frontends of a release, as a plan does: by the project file, which says where each is shown.
pub(super) async fn look(
    environment: &Environment,
    resolved: &Resolved,
    release: &Release,
) -> BTreeMap<String, Sight> {
    let is_frontend = |name: &str| {
        let described = resolved.services.get(name).map(|service| &service.source);
        matches!(described, Some(Source::Frontend { .. })) || release.head.frontends.contains_key(name)
    };
    let names = release.head.versions.keys().filter(|name| is_frontend(name));
    join_all(names.map(|name| async move { (name.clone(), look_at(environment, resolved, name).await) }))
        .await
        .into_iter()
        .collect()
}

async fn look_at(environment: &Environment, resolved: &Resolved, name: &str) -> Sight {
    let Some(Source::Frontend { project, domain }) = resolved.services.get(name).map(|one| &one.source)
    else {
        return Sight::Unknown("the project file has no frontend of this name to look for".to_owned());
    };
    let Some(host) = environment.providers.frontend.as_deref() else {
        return Sight::Unknown("no frontend host is set up".to_owned());
    };
    let place = domain.as_deref().unwrap_or(project).to_owned();
    match patiently(&*environment.runtime, || host.production(project, domain.as_deref())).await {
        Ok(production) => Sight::Seen { place, production },
        // The rest of the environment is worth telling without it.
        Err(error) => Sight::Unknown(error.to_string()),
    }
}

/// How a frontend is.
pub(super) struct Judged {
    pub(super) health: ServiceHealth,
    pub(super) why: Option<String>,
    /// Whether it is so by somebody's hand.
    pub(super) is_drift: bool,
    /// Whether the unfinished run has shown what is there.
    pub(super) is_of_run: bool,
}

/// Compares what is shown with what was released.
pub(super) fn judge(name: &str, sight: &Sight, released: Option<&str>, run: Option<&Unfinished>) -> Judged {
    let judged = |health, why| Judged { health, why: Some(why), is_drift: false, is_of_run: false };
    let (place, production) = match sight {
        Sight::Unknown(why) => return judged(ServiceHealth::Unknown, why.clone()),
        Sight::Seen { place, production } => (place, production),
    };
    if let Some(coming) = &production.coming {
        return judged(ServiceHealth::Progressing, format!("`{place}` is being changed to {coming}"));
    }
    let Some(released) = released else {
        return judged(ServiceHealth::Unknown, "the release has no deployment of it".to_owned());
    };
    let is_drift = true;
    match &production.shown {
        None => {
            let why = format!("`{place}` shows nothing, and {released} was released");
            Judged { is_drift, ..judged(ServiceHealth::Missing, why) }
        }
        Some(shown) => {
            let is_of_run = run.is_some_and(|run| is_of(run, name, shown));
            if shown.id == released || is_of_run {
                return Judged { health: ServiceHealth::Serving, why: None, is_drift: false, is_of_run };
            }
            let why =
                format!("`{place}` shows {} ({}), and {released} was released", shown.version, shown.id);
            Judged { is_drift, ..judged(ServiceHealth::Drifted, why) }
        }
    }
}

/// Whether a run shows this deployment: one that it has made, or one of before that it goes back to.
fn is_of(run: &Unfinished, name: &str, shown: &FrontendDeployment) -> bool {
    let again = run.recorded.plan.iter().flat_map(|plan| &plan.steps).any(|step| {
        matches!(&step.work, Work::Frontend { existing: Some(id), .. } if *id == shown.id)
            && step.service.as_deref() == Some(name)
    });
    again || steps::is_made_by(shown, &run.recorded.run)
}
