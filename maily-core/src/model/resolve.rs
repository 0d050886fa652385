//! A project as it is in one environment.

use indexmap::IndexMap;

use super::{
    Environment, EnvironmentName, Phase, Project, Service, ServiceName, Source,
    fields::{Errors, nearest},
    parse::{merge, service},
};

/// A project in one environment.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The project.
    pub project: Project,
    /// The environment.
    pub environment: Environment,
    /// The services, as this environment has them.
    pub services: IndexMap<ServiceName, Service>,
    /// The phases of this environment, in order.
    pub phases: Vec<Phase>,
}

impl Project {
    /// The project as it is in an environment.
    ///
    /// # Errors
    /// When there is no such environment; the message names the nearest.
    pub fn resolve(&self, name: &str) -> Result<Resolved, UnknownEnvironment> {
        let Some(environment) = self.environments.get(name) else {
            let known: Vec<&str> = self.environments.keys().map(|known| &**known).collect();
            let help = nearest(name, known.iter().copied()).unwrap_or_else(|| {
                if known.is_empty() {
                    format!("bind one: `mailyctl env bind {name}`")
                } else {
                    format!("known: {}", known.join(", "))
                }
            });
            return Err(UnknownEnvironment { name: name.to_owned(), help });
        };
        let errors = Errors::new(&self.origin, &self.text);
        let mut services = self.services.clone();
        for (name, change) in &environment.services {
            let Some(base) = self.raw.get(name) else { continue };
            if let Some(changed) = service(name, &merge(base, change), &errors) {
                services.insert(name.clone(), changed);
            }
        }
        let phases =
            self.phases.iter().filter(|phase| phase.environment == environment.name).cloned().collect();
        Ok(Resolved { project: self.clone(), environment: environment.clone(), services, phases })
    }

    /// What is released by itself, by name or alias: services, and no jobs, which run beside one.
    ///
    /// # Errors
    /// The first name of none, with the nearest known one, or with the service of a job.
    pub fn find_components(&self, names: &[String]) -> Result<Vec<ServiceName>, NoComponent> {
        let found = self.find_services(names)?;
        for (name, asked) in found.iter().zip(names) {
            let Some(Service { source: Source::Job(_), before, after, .. }) = self.services.get(name) else {
                continue;
            };
            let service = before.as_ref().or(after.as_ref()).map(ToString::to_string).unwrap_or_default();
            return Err(NoComponent::Job { name: asked.clone(), service });
        }
        Ok(found)
    }

    /// Services by name or alias.
    ///
    /// # Errors
    /// The first unknown name, with the nearest known one.
    pub fn find_services(&self, names: &[String]) -> Result<Vec<ServiceName>, UnknownService> {
        names
            .iter()
            .map(|name| {
                let called = || self.services.iter().find(|(_, service)| service.aliases.contains(name));
                self.services
                    .get_key_value(name.as_str())
                    .or_else(called)
                    .map(|(known, _)| known.clone())
                    .ok_or_else(|| {
                        let known: Vec<&str> = self.services.keys().map(|known| &**known).collect();
                        let help = nearest(name, known.iter().copied())
                            .unwrap_or_else(|| format!("known: {}", known.join(", ")));
                        UnknownService { name: name.clone(), help }
                    })
            })
            .collect()
    }

    /// The name by which a release has a service: its own, or another one of it where it was renamed and not deployed
    /// since. What another service of the file is called means that one. None where the release does not have it.
    ///
    /// # Errors
    /// When another source may have brought what has the other name: a release does not keep of which source it is.
    pub fn released_as<'s>(
        &'s self,
        name: &'s ServiceName,
        has: impl Fn(&str) -> bool,
    ) -> Result<Option<&'s str>, WhoseName> {
        if has(name) {
            return Ok(Some(name));
        }
        let Some(service) = self.services.get(name) else { return Ok(None) };
        let mut aliases = service.aliases.iter().map(String::as_str);
        let Some(alias) = aliases.find(|alias| !self.services.contains_key(*alias) && has(alias)) else {
            return Ok(None);
        };
        match &service.source {
            Source::From(source) if self.sources.keys().any(|other| other != source) => {
                let (name, alias) = (name.to_string(), alias.to_owned());
                Err(WhoseName { name, alias, of: source.to_string() })
            }
            _ => Ok(Some(alias)),
        }
    }
}

impl Resolved {
    /// The services that a service needs; other needs are data, which no release brings.
    pub(crate) fn needs(&self, service: &Service) -> Vec<String> {
        let needs = service.needs.iter().filter(|need| self.services.contains_key(*need));
        needs.map(ToString::to_string).collect()
    }
}

/// There is no such environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown environment `{name}`")]
pub struct UnknownEnvironment {
    /// The name.
    pub name: String,
    /// What to do.
    pub help: String,
}

/// There is no such service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown component `{name}`")]
pub struct UnknownService {
    /// The name.
    pub name: String,
    /// What to do.
    pub help: String,
}

/// A release has something by another name of a service, and whose it is cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the release has no `{name}`, and its `{alias}` may be from another source than `{of}`")]
pub struct WhoseName {
    /// The service.
    pub name: String,
    /// The other name.
    pub alias: String,
    /// The service's source.
    pub of: String,
}

impl WhoseName {
    /// What to do.
    pub fn help(&self) -> String {
        format!("where it is meant, name it as the release has it: `{}`", self.alias)
    }
}

/// Something that cannot be released by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoComponent {
    /// There is none of this name.
    #[error(transparent)]
    Unknown(#[from] UnknownService),
    /// It is a job.
    #[error("`{name}` is a job")]
    Job {
        /// The name.
        name: String,
        /// The service that it runs beside.
        service: String,
    },
}

impl NoComponent {
    /// What to do.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown(error) => error.help.clone(),
            Self::Job { service, .. } => format!("name the service that it runs beside: `{service}`"),
        }
    }
}

impl EnvironmentName {
    /// Whether an environment of this name that is written into a file gets `approval: required`.
    pub(super) fn is_production(&self) -> bool {
        matches!(&**self, "production" | "prod")
    }
}
