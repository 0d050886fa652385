//! A phased deploy: which phases of which environments follow each other, and what was seen on staging.

use std::collections::BTreeSet;

use crate::{
    engine::{Head, history, journal::JournalError},
    model::{EnvironmentName, Phase, PhaseName, Project, ServiceName, Source, UnknownEnvironment, Version},
    provider::RecordStore,
};

/// The environment that the platform tries a version on first.
pub const STAGING: &str = "staging";

/// Which of a project's phases to go through; all by default.
#[derive(Clone, Debug, Default)]
pub struct PhaseChoice {
    /// Only the phases of this environment.
    pub environment: Option<String>,
    /// Without the phases of [`STAGING`].
    pub skip_staging: bool,
    /// The first phase, counted from 1.
    pub first: Option<usize>,
    /// The last phase, counted from 1.
    pub last: Option<usize>,
}

/// Phases that follow each other in one environment: one plan, one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The environment.
    pub environment: EnvironmentName,
    /// None: all of the environment's phases.
    pub phases: Option<Vec<PhaseName>>,
}

/// Why there is nothing to go through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhaseError {
    /// The last phase comes before the first one.
    #[error("phase {first} comes after phase {last}")]
    Backwards {
        /// The first.
        first: usize,
        /// The last.
        last: usize,
    },
    /// A number that no phase has.
    #[error("there is no phase {phase}")]
    NoSuchPhase {
        /// The number.
        phase: usize,
        /// How many the project has.
        count: usize,
    },
    /// No such environment.
    #[error(transparent)]
    Unknown(#[from] UnknownEnvironment),
    /// Staging alone, and without staging.
    #[error("only staging and without staging contradict each other")]
    Contradiction,
    /// No phase is for an environment that the project declares.
    #[error("no phase has an environment: the phases are for {}", wanted.join(", "))]
    NoEnvironment {
        /// Environments of the phases.
        wanted: Vec<String>,
    },
    /// Nothing is left of the choice.
    #[error("no phase is left to deploy")]
    NothingLeft,
}

/// What a phased deploy goes through, in order. Phases of environments that the project does not declare are left out.
///
/// # Errors
/// When the choice contradicts itself or the project, or leaves nothing.
pub fn parts(project: &Project, choice: &PhaseChoice) -> Result<Vec<Part>, PhaseError> {
    let count = project.phases.len();
    let (first, last) = (choice.first.unwrap_or(1), choice.last.unwrap_or(count));
    if let Some(phase) = [last, first].into_iter().find(|phase| !(1..=count).contains(phase) && count > 0) {
        return Err(PhaseError::NoSuchPhase { phase, count });
    }
    if first > last && count > 0 {
        return Err(PhaseError::Backwards { first, last });
    }
    if let Some(name) = &choice.environment {
        project.resolve(name)?;
        if choice.skip_staging && name == STAGING {
            return Err(PhaseError::Contradiction);
        }
    }
    let declared = |phase: &&Phase| project.environments.contains_key(&phase.environment);
    let chosen =
        project.phases.iter().take(last).skip(first.saturating_sub(1)).filter(declared).filter(|phase| {
            let named = choice.environment.as_ref().is_none_or(|name| *phase.environment == **name);
            named && !(choice.skip_staging && &*phase.environment == STAGING)
        });
    let mut parts: Vec<(&EnvironmentName, Vec<PhaseName>)> = Vec::new();
    for phase in chosen {
        match parts.last_mut() {
            Some((environment, phases)) if **environment == phase.environment => {
                phases.push(phase.name.clone());
            }
            _ => parts.push((&phase.environment, vec![phase.name.clone()])),
        }
    }
    if parts.is_empty() {
        if project.phases.iter().any(|phase| declared(&phase)) {
            return Err(PhaseError::NothingLeft);
        }
        let wanted: BTreeSet<String> =
            project.phases.iter().map(|phase| phase.environment.to_string()).collect();
        return Err(PhaseError::NoEnvironment { wanted: wanted.into_iter().collect() });
    }
    let all =
        |name: &EnvironmentName| project.phases.iter().filter(|phase| phase.environment == *name).count();
    Ok(parts
        .into_iter()
        .map(|(environment, phases)| Part {
            environment: environment.clone(),
            phases: (phases.len() < all(environment)).then_some(phases),
        })
        .collect())
}

/// Services that these parts release without a look at them on staging before, though the project has phases for them
/// there: those that the parts do not bring there themselves.
///
/// # Errors
/// When an environment of a part is not in the project.
pub fn past_staging(project: &Project, parts: &[Part]) -> Result<BTreeSet<ServiceName>, UnknownEnvironment> {
    let has_phases = project.phases.iter().any(|phase| &*phase.environment == STAGING);
    if !has_phases || !project.environments.contains_key(STAGING) {
        return Ok(BTreeSet::new());
    }
    let mut missed = services(project, STAGING, None)?;
    let mut released = BTreeSet::new();
    for part in parts {
        let brought = services(project, &part.environment, part.phases.as_deref())?;
        if &*part.environment == STAGING {
            missed.retain(|name| !brought.contains(name));
        } else {
            // What the parts bring to staging later comes too late.
            released.extend(brought.intersection(&missed).cloned());
        }
    }
    Ok(released)
}

/// Services that phases of an environment release; those of all its phases where none are named. A job is part of its
/// service, and in no release by itself.
fn services(
    project: &Project,
    environment: &str,
    phases: Option<&[PhaseName]>,
) -> Result<BTreeSet<ServiceName>, UnknownEnvironment> {
    let resolved = project.resolve(environment)?;
    let chosen = resolved.phases.iter().filter(|phase| phases.is_none_or(|some| some.contains(&phase.name)));
    let taken =
        chosen.flat_map(|phase| resolved.services.values().filter(|service| phase.services.takes(service)));
    let released = taken.filter(|service| !matches!(service.source, Source::Job(_)));
    Ok(released.map(|service| service.name.clone()).collect())
}

/// Those of `services` of which no release on record of an environment, whose records and head these are, had the
/// version. One that was made beside something that did not serve is no success.
///
/// # Errors
/// When the records cannot be read.
pub async fn never_had(
    records: &dyn RecordStore,
    head: &Head,
    version: &Version,
    mut services: BTreeSet<ServiceName>,
) -> Result<BTreeSet<ServiceName>, JournalError> {
    for id in head.releases.iter().rev() {
        if services.is_empty() {
            break;
        }
        let Some((_, release)) = history::release_head(records, *id).await? else { continue };
        let has = |name: &ServiceName| release.versions.get(&**name).is_some_and(|had| *had == **version);
        if !release.beside_trouble {
            services.retain(|name| !has(name));
        }
    }
    Ok(services)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  staging: {namespace: shop-staging}
  production: {namespace: shop}
services:
  api: {critical: true, workload: {port: 80}}
  web: {workload: {port: 80}}
  report: {workload: {port: 80}}
phases:
  - {name: try, environment: staging, services: [api, web]}
  - {name: rest, environment: production, services: non-critical}
  - {name: critical, environment: production, services: critical}
  - {name: far, environment: elsewhere, services: all}
";

    fn project() -> Project {
        Project::parse(PROJECT, "maily.yaml").expect("is a project")
    }

    fn told(choice: &PhaseChoice) -> Result<Vec<String>, PhaseError> {
        let parts = parts(&project(), choice)?;
        let names = |phases: &Vec<PhaseName>| phases.iter().map(|name| &**name).collect::<Vec<_>>().join("+");
        let told = |part: &Part| {
            format!("{}: {}", part.environment, part.phases.as_ref().map_or("all".to_owned(), names))
        };
        Ok(parts.iter().map(told).collect())
    }

    #[test]
    fn phases_of_one_environment_go_together() {
        let from = |first, last| PhaseChoice { first, last, ..PhaseChoice::default() };
        assert_eq!(told(&PhaseChoice::default()).unwrap(), ["staging: all", "production: all"]);
        assert_eq!(told(&from(Some(2), Some(2))).unwrap(), ["production: rest"]);
        assert_eq!(told(&from(None, Some(2))).unwrap(), ["staging: all", "production: rest"]);
        assert_eq!(told(&from(Some(4), None)), Err(PhaseError::NothingLeft));
        assert_eq!(told(&from(Some(3), Some(2))), Err(PhaseError::Backwards { first: 3, last: 2 }));
        assert_eq!(told(&from(None, Some(5))), Err(PhaseError::NoSuchPhase { phase: 5, count: 4 }));
        assert_eq!(told(&from(Some(0), None)), Err(PhaseError::NoSuchPhase { phase: 0, count: 4 }));
        let named = |name: &str, skip_staging| PhaseChoice {
            environment: Some(name.to_owned()),
            skip_staging,
            ..PhaseChoice::default()
        };
        assert_eq!(told(&named("production", true)).unwrap(), ["production: all"]);
        assert_eq!(told(&named(STAGING, true)), Err(PhaseError::Contradiction));
        assert!(matches!(told(&named("prod", false)), Err(PhaseError::Unknown(_))));
    }

    #[test]
    fn what_staging_never_releases_is_not_missed_there() {
        let project = project();
        let past = |first, last| {
            let choice = PhaseChoice { first, last, ..PhaseChoice::default() };
            let past = past_staging(&project, &parts(&project, &choice).unwrap()).unwrap();
            past.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(past(None, None).is_empty());
        assert_eq!(past(Some(2), None), ["api", "web"]);
        assert_eq!(past(Some(2), Some(2)), ["web"]);
    }

    #[test]
    fn what_comes_to_staging_later_is_missed_there() {
        let text = PROJECT.replace(
            "  - {name: try, environment: staging, services: [api, web]}\n  \
             - {name: rest, environment: production, services: non-critical}\n",
            "  - {name: try-api, environment: staging, services: [api]}\n  \
             - {name: rest, environment: production, services: non-critical}\n  \
             - {name: try-web, environment: staging, services: [web]}\n",
        );
        let project = Project::parse(&text, "maily.yaml").expect("is a project");
        let parts = parts(&project, &PhaseChoice::default()).unwrap();
        let past = past_staging(&project, &parts).unwrap();
        assert_eq!(past.iter().map(|name| &**name).collect::<Vec<_>>(), ["web"]);
    }

    #[test]
    fn who_begins_in_the_middle_of_staging_has_not_been_through_its_earlier_phases() {
        let text = PROJECT.replace(
            "  - {name: try, environment: staging, services: [api, web]}\n",
            "  - {name: try-api, environment: staging, services: [api]}\n  \
             - {name: try-web, environment: staging, services: [web]}\n",
        );
        let project = Project::parse(&text, "maily.yaml").expect("is a project");
        let past = |first| {
            let choice = PhaseChoice { first: Some(first), ..PhaseChoice::default() };
            let past = past_staging(&project, &parts(&project, &choice).unwrap()).unwrap();
            past.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(past(1).is_empty());
        assert_eq!(past(2), ["api"]);
        assert_eq!(past(3), ["api", "web"]);
    }
}
