//! What refers to something must find it.

use indexmap::IndexMap;

use super::{
    super::{
        ServiceName, fields::Errors, project::Gate, project::Project, service::Service, service::Source,
    },
    project::unknown,
};
use crate::yaml::{Content, Node, Place};

/// Services with their texts, and what they may refer to.
#[derive(Clone)]
pub(super) struct Scope<'p> {
    pub(super) services: IndexMap<ServiceName, (Service, Node)>,
    project: &'p Project,
}

impl<'p> Scope<'p> {
    /// The services as no environment changes them.
    pub(super) fn of(project: &'p Project) -> Self {
        let services = project.services.iter();
        let services = services
            .filter_map(|(name, service)| {
                Some((name.clone(), (service.clone(), project.raw.get(name)?.clone())))
            })
            .collect();
        Self { services, project }
    }

    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.project.raw.keys().map(|name| &**name)
    }

    fn is_data(&self, name: &str) -> bool {
        self.project.data.iter().any(|data| data == name)
    }
}

/// The place of a word below a path of keys.
fn place_of(node: &Node, path: &[&str], word: &str) -> Place {
    let found = path.iter().try_fold(node, |node, key| node.get(key));
    let Some(found) = found else { return node.place };
    match &found.content {
        Content::List(items) => items
            .iter()
            .find(|item| matches!(&item.content, Content::Scalar { text, .. } if text == word))
            .map_or(found.place, |item| item.place),
        _ => found.place,
    }
}

pub(super) fn references(scope: &Scope<'_>, errors: &Errors<'_>) {
    for (name, (service, node)) in &scope.services {
        for need in &service.needs {
            if let Some((Service { source: Source::Job(_), .. }, _)) = scope.services.get(need) {
                let place = place_of(node, &["needs"], need);
                let help = "it runs before or after its own service by itself: need that one";
                errors.add(place, format!("`{need}` is a job"), Some(help.into()));
            }
            if !scope.is_data(need) && !scope.project.raw.contains_key(need) {
                let candidates: Vec<&str> =
                    scope.names().chain(scope.project.data.iter().map(String::as_str)).collect();
                unknown(errors, place_of(node, &["needs"], need), "service", need, candidates.into_iter());
            }
        }
        peers(scope, name, service, node, errors);
        workload_names(scope, name, service, node, errors);
        aliases(scope, name, service, node, errors);
        neighbours(scope, service, node, errors);
        of_gates(scope, name, service, node, errors);
        if let Source::From(source) = &service.source
            && !scope.project.sources.contains_key(source)
        {
            let known = scope.project.sources.keys().map(|name| &**name);
            unknown(errors, place_of(node, &["from"], source), "source", source, known);
        }
        if let Some(path) = circle(scope, name) {
            let place = place_of(node, &["needs"], &path[1]);
            errors.add(
                place,
                format!("needs form a cycle: {}", path.join(" -> ")),
                Some("drop one of the needs".into()),
            );
        }
    }
}

/// Whom a workload talks to: a misspelt name must not open the way to everything.
fn peers(scope: &Scope<'_>, name: &ServiceName, service: &Service, node: &Node, errors: &Errors<'_>) {
    let Source::Workload(workload) = &service.source else { return };
    for peer in workload.talks_to.iter().flatten() {
        let place = place_of(node, &["workload", "talks-to"], peer);
        match scope.services.get(peer.as_str()) {
            _ if **peer == **name => {
                errors.add(place, format!("`{name}` talks to itself"), Some("take it out".into()));
            }
            Some((Service { source: Source::Workload(_), .. }, _)) => {}
            Some((other, _)) => {
                let kind = other.source.kind();
                let message = format!(
                    "`{peer}` is described by `{kind}`: which pods are its is not known here, so that no \
                     NetworkPolicy can let `{name}` through to it"
                );
                let help = format!(
                    "describe `{peer}` as a `workload`; or leave `talks-to` out of `{name}`, and write its \
                     NetworkPolicy as a manifest"
                );
                errors.add(place, message, Some(help));
            }
            None if scope.is_data(peer) || scope.project.raw.contains_key(peer.as_str()) => {}
            None => {
                let candidates: Vec<&str> =
                    scope.names().chain(scope.project.data.iter().map(String::as_str)).collect();
                unknown(errors, place, "service", peer, candidates.into_iter());
            }
        }
    }
}

/// Objects are called after their workload: each has a name of its own, and one that serves has one of a Service.
fn workload_names(
    scope: &Scope<'_>,
    name: &ServiceName,
    service: &Service,
    node: &Node,
    errors: &Errors<'_>,
) {
    let called = |name: &ServiceName, service: &Service| match &service.source {
        Source::Workload(workload) => Some(workload.name.clone().unwrap_or_else(|| name.to_string())),
        _ => None,
    };
    let given = |node: &Node| node.get("workload").and_then(|workload| workload.get("name")).map(|n| n.place);
    let Some(own) = called(name, service) else { return };
    let serves = matches!(&service.source, Source::Workload(w) if w.port.is_some() || !w.ports.is_empty());
    // RFC 1035, which servers before 1.34 ask of Services alone.
    if serves && own.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("`{own}` is no name of a Service: it begins with a digit");
        let help = "give the workload a `name` that begins with a letter";
        errors.add(given(node).unwrap_or(node.place), message, Some(help.into()));
    }
    let before = scope.services.iter().take_while(|(other, _)| *other != name);
    let same = before.into_iter().find(|(other, (service, _))| called(other, service).as_ref() == Some(&own));
    let Some((other, (_, other_node))) = same else { return };
    // The place is that of a name that was written, be it the first one.
    let (mine, theirs, place) = match (given(node), given(other_node)) {
        (None, Some(place)) => (other, name, place),
        (place, _) => (name, other, place.unwrap_or(node.place)),
    };
    let message = format!("the workload of `{mine}` is called `{own}`, as that of `{theirs}`");
    errors.add(place, message, Some("give one of them another `name`".into()));
}

/// A name means one service. One that stands in a shared source means what that source calls so: a service of another
/// source may have it, too, and is meant wherever it is asked for by its name.
fn aliases(scope: &Scope<'_>, name: &ServiceName, service: &Service, node: &Node, errors: &Errors<'_>) {
    let is_apart = |other: &Source| match (&service.source, other) {
        (Source::From(source), Source::From(other)) => source != other,
        // The host's project is known by the frontend's name.
        (Source::From(_), other) => !matches!(other, Source::Frontend { .. }),
        _ => false,
    };
    for alias in &service.aliases {
        let other = scope.services.iter().find(|(other, (service, _))| {
            let is_name = ***other == **alias && !is_apart(&service.source);
            other != &name && (is_name || service.aliases.contains(alias))
        });
        if let Some((other, _)) = other {
            let place = place_of(node, &["aliases"], alias);
            errors.add(place, format!("`{alias}` means service `{other}`, too"), Some("keep one".into()));
        }
    }
    if scope.is_data(name) {
        errors.add(
            node.place,
            format!("`{name}` stands under `services` and under `data`"),
            Some("give one of them another name".into()),
        );
    }
}

/// A job stands beside a service that is none.
fn neighbours(scope: &Scope<'_>, service: &Service, node: &Node, errors: &Errors<'_>) {
    for (key, other) in [("before", &service.before), ("after", &service.after)] {
        let Some(other) = other else { continue };
        let place = place_of(node, &[key], other);
        match scope.services.get(other) {
            Some((Service { source: Source::Job(_), .. }, _)) => errors.add(
                place,
                format!("`{other}` is a job itself"),
                Some("name the service that both belong to".into()),
            ),
            Some(_) => {}
            None if scope.project.raw.contains_key(other) => {}
            None => unknown(errors, place, "service", other, scope.names()),
        }
    }
}

/// A run tells its Jobs apart by their names.
fn of_gates(scope: &Scope<'_>, name: &ServiceName, service: &Service, node: &Node, errors: &Errors<'_>) {
    let same = |gate: &&Gate| gate.job_names(&scope.project.phases).iter().any(|job| *job == **name);
    let gate = scope.project.gates.values().find(same);
    if let (Source::Job(_), Some(gate)) = (&service.source, gate) {
        let message = format!("`{name}` is the Job of gate `{}`, too", gate.name);
        errors.add(node.place, message, Some("give one of them another name".into()));
    }
}

/// A way from a service back to itself, told once: at its first name.
fn circle(scope: &Scope<'_>, start: &ServiceName) -> Option<Vec<String>> {
    fn walk(scope: &Scope<'_>, at: &ServiceName, start: &ServiceName, path: &mut Vec<String>) -> bool {
        let Some((service, _)) = scope.services.get(at) else { return false };
        for need in &service.needs {
            if need == start {
                path.push(need.to_string());
                return true;
            }
            if path.iter().any(|seen| **seen == **need) {
                continue;
            }
            path.push(need.to_string());
            if walk(scope, need, start, path) {
                return true;
            }
            path.pop();
        }
        false
    }
    let mut path = vec![start.to_string()];
    let found = walk(scope, start, start, &mut path);
    let first = path.iter().min().is_some_and(|first| **first == **start);
    (found && first).then_some(path)
}
