//! The project as a whole.

use std::path::PathBuf;

use indexmap::IndexMap;

use super::{
    super::{
        NameError, ProjectErrors, ProjectName, ServiceName,
        fields::{Errors, Fields, nearest},
        project::{LIMITS, Project, Retention},
        service::Service,
    },
    environment::environments,
    phase::{default_phases, gates, phases},
    references::{Scope, references},
    service::{bundle_of, service},
};
use crate::yaml::{Content, Node, Place, parse_repeated};

/// Keys of later parts that have their place already.
const LATER_TOP: &[&str] = &["secrets", "backups", "freeze"];

impl Project {
    /// Reads a project from text. `origin` names the text in errors.
    ///
    /// # Errors
    /// All errors at once.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ProjectErrors> {
        let (documents, repeated) =
            parse_repeated(origin, text, LIMITS).map_err(|error| ProjectErrors(vec![*error]))?;
        let errors = Errors::new(origin, text);
        for error in repeated {
            errors.add(error.place, error.message, error.help);
        }
        let project = match documents.first() {
            Some(root) => read(root, &errors, origin, text),
            None => {
                errors.add(
                    Place { line: 1, column: 1, width: 1 },
                    "the file is empty",
                    Some("`mailyctl init` writes one".into()),
                );
                None
            }
        };
        errors.into_result(project)
    }
}

fn history(node: &Node, errors: &Errors<'_>) -> Retention {
    let mut history = Retention::default();
    let Some(mut fields) = Fields::of(node, "a history", errors) else { return history };
    let place = node.place;
    if let Some(releases) = fields.value("releases") {
        history.releases = releases;
    }
    if let Some(age) = fields.value("age") {
        history.age = age;
    }
    fields.finish();
    if history.releases == 0 {
        let help = Some("the release in force is always kept: write 1 or more".to_owned());
        errors.add(place, "`releases` is at least 1", help);
    }
    history
}

pub(super) fn read(root: &Node, errors: &Errors<'_>, origin: &str, text: &str) -> Option<Project> {
    let mut fields = Fields::of(root, "the project file", errors)?;
    match fields.text("maily") {
        Some((version, _)) if version == "1" => {}
        Some((version, place)) => {
            errors.add(
                place,
                format!("format `{version}` is unknown; this version of maily reads format 1"),
                None,
            );
        }
        None => {
            errors.add(fields.place(), "the format is missing", Some("write `maily: 1` at the top".into()))
        }
    }
    let name = fields.value::<ProjectName>("project");
    if name.is_none() && fields.key_place("project").is_none() {
        errors.add(fields.place(), "the project's name is missing", Some("write `project: NAME`".into()));
    }
    let images = fields.words("images").into_iter().map(|(text, _)| text).collect();
    let strict = fields.flag("strict").unwrap_or(false);
    let history = fields.take("history").map(|node| history(node, errors)).unwrap_or_default();
    let environments = environments(&mut fields, name.as_deref().unwrap_or("default"));
    let raw: IndexMap<ServiceName, Node> = named(fields.map("services"), errors);
    let services: IndexMap<ServiceName, Service> =
        raw.iter().filter_map(|(name, node)| Some((name.clone(), service(name, node, errors)?))).collect();
    let sources: IndexMap<_, _> = named(fields.map("sources"), errors)
        .into_iter()
        .filter_map(|(name, node)| Some((name, bundle_of(&node, errors)?)))
        .collect();
    let data = data(&mut fields);
    let gates = gates(&mut fields);
    let phases_node = fields.take("phases");
    fields.not_yet(LATER_TOP);
    fields.finish();
    let project = Project {
        name: name?,
        images,
        strict,
        history,
        environments,
        services,
        sources,
        data,
        phases: Vec::new(),
        gates,
        root: PathBuf::new(),
        raw,
        origin: origin.to_owned(),
        text: text.to_owned(),
    };
    let phases = match phases_node {
        Some(node) => phases(node, &project, errors),
        None => default_phases(),
    };
    let project = Project { phases, ..project };
    let everywhere = Scope::of(&project);
    references(&everywhere, errors);
    // What an environment changes must be right there, too.
    for environment in project.environments.values() {
        let mut scope = everywhere.clone();
        for (name, change) in &environment.services {
            match project.raw.get(name) {
                Some(base) => {
                    let merged = merge(base, change);
                    if let Some(changed) = service(name, &merged, errors) {
                        scope.services.insert(name.clone(), (changed, merged));
                    }
                }
                None => unknown(errors, change.place, "service", name, project.raw.keys().map(|k| &**k)),
            }
        }
        references(&scope, errors);
    }
    Some(project)
}

/// Kinds of things that services use and that no release creates.
const DATA: &[&str] = &["rds", "redis", "s3", "host"];

fn data(fields: &mut Fields<'_, '_>) -> Vec<String> {
    let errors = fields.errors();
    let mut names = Vec::new();
    for (key, node) in fields.map("data") {
        if let Err(error) = key.name.parse::<ServiceName>() {
            errors.add(key.place, error.to_string(), None);
        }
        names.push(key.name.clone());
        let Some(mut fields) = Fields::of(node, "something that is used", errors) else { continue };
        let given = DATA.iter().filter(|kind| fields.text(kind).is_some()).count();
        if given != 1 && node.entries().is_none_or(|entries| entries.len() != 1) {
            let help = format!("give it exactly one of {}, like `rds: NAME`", DATA.join(", "));
            errors.add(key.place, format!("it is not said what `{}` is", key.name), Some(help));
        }
        fields.finish();
    }
    names
}

/// Entries of a map whose keys are names.
pub(super) fn named<N>(entries: &[(crate::yaml::Key, Node)], errors: &Errors<'_>) -> IndexMap<N, Node>
where
    N: std::str::FromStr<Err = NameError> + Eq + std::hash::Hash,
{
    entries
        .iter()
        .filter_map(|(key, node)| match key.name.parse() {
            Ok(name) => Some((name, node.clone())),
            Err(error) => {
                let error: NameError = error;
                errors.add(key.place, error.to_string(), None);
                None
            }
        })
        .collect()
}

pub(super) fn unknown<'k>(
    errors: &Errors<'_>,
    place: Place,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) {
    let help = nearest(name, known.clone()).or_else(|| {
        let known: Vec<&str> = known.take(12).collect();
        (!known.is_empty()).then(|| format!("known: {}", known.join(", ")))
    });
    errors.add(place, format!("unknown {what} `{name}`"), help);
}

/// One map over another: maps are merged, everything else is replaced.
pub(in crate::model) fn merge(base: &Node, change: &Node) -> Node {
    match (&base.content, &change.content) {
        (Content::Map(base_entries), Content::Map(changes)) => {
            let mut entries = base_entries.clone();
            for (key, node) in changes {
                match entries.iter_mut().find(|(known, _)| known.name == key.name) {
                    Some((_, known)) => *known = merge(known, node),
                    None => entries.push((key.clone(), node.clone())),
                }
            }
            Node { place: change.place, content: Content::Map(entries) }
        }
        _ => change.clone(),
    }
}

pub(super) fn name_at<N: std::str::FromStr<Err = NameError>>(
    text: &str,
    place: Place,
    errors: &Errors<'_>,
) -> Option<N> {
    text.parse().map_err(|error: NameError| errors.add(place, error.to_string(), None)).ok()
}
