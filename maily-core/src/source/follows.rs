//! Whether anything follows the version that a deploy names.

use std::collections::BTreeSet;

use super::{
    Rendered,
    images::{images, reference},
    pattern::{Used, alike, remedy},
    render::RenderRequest,
};
use crate::{
    engine::planner::Look,
    model::{Bundle, Placeholders, Source, expand},
    run::Note,
};

/// A word where nothing does: the release would have the version as its name, and nothing else of it. Else one for each
/// pattern that names nothing.
pub(super) fn told(request: &RenderRequest<'_>, rendered: &Rendered) -> Vec<Note> {
    // Some of the services alone may well be other people's, at versions of their own.
    if request.only.is_some() {
        return Vec::new();
    }
    let objects = rendered.services.values().flat_map(|service| &service.objects).chain(&rendered.shared);
    let jobs = rendered.services.values().flat_map(|service| service.before.iter().chain(&service.after));
    let gates = rendered.gates.values().filter_map(|gate| match &gate.look {
        Look::Job(job) => Some(job),
        Look::Probe(_) => None,
    });
    let hooks = rendered.hooks.values().flatten().map(|hook| &hook.spec);
    let used: Used = objects
        .chain(jobs.chain(hooks).map(|job| &job.job))
        .chain(gates)
        .flat_map(|object| images(object).into_iter().map(|(_, image)| (object.key().short(), image)))
        .collect();
    match nothing_follows(request, &used) {
        Some(note) => vec![note],
        None => unused(request, &used),
    }
}

fn nothing_follows(request: &RenderRequest<'_>, used: &Used) -> Option<Note> {
    if by_path(request) {
        return None;
    }
    // Perhaps with a word of its own, as in `v1-slim`.
    let carries = |tag: &str| tag.contains(&**request.version);
    let follows = |image: &str| reference(image).is_some_and(|parts| parts.tag.is_some_and(carries));
    let (_, first) = used.first()?;
    if used.iter().any(|(_, image)| follows(image)) {
        return None;
    }
    let resolved = request.resolved;
    let way = match &resolved.project.images[..] {
        [] => format!("{} in the project file makes them follow", remedy(used)),
        patterns => format!(
            "{}: `images: {}` is given to none of them; there are {}",
            resolved.spoken(resolved.pattern_place(0)),
            patterns.join(", "),
            names(used)
        ),
    };
    let text = format!(
        "no image and no path of the project follows the version: `{}` is the release's name alone, and images stay as they are \
         written, such as `{first}`. {way}",
        request.version
    );
    Some(Note { topic: "version".to_owned(), text })
}

/// Patterns of the project that no image has the registry and path of: a slip, or a line that is left over.
fn unused(request: &RenderRequest<'_>, used: &Used) -> Vec<Note> {
    let resolved = request.resolved;
    if used.is_empty() {
        return Vec::new();
    }
    let values = |service| Placeholders {
        version: Some(request.version),
        environment: Some(&resolved.environment.name),
        service,
        project: Some(&resolved.project.name),
        images: None,
    };
    let services = || resolved.services.keys().map(|name| Some(&**name));
    let made = |pattern: &str, image: &str| {
        let Some(name) = reference(image).map(|parts| parts.name) else { return false };
        let makes = |service| {
            expand(pattern, &values(service))
                .is_ok_and(|own| reference(&own).is_some_and(|own| own.name == name))
        };
        services().chain([None]).any(makes) || alike(pattern, &values(None), name)
    };
    // The first stands for all that a service of the file writes with it.
    let taken_up = resolved.services.values().any(|service| {
        let own = match &service.source {
            Source::Workload(workload) => workload.image.as_ref().or(service.image.as_ref()),
            Source::Job(job) => job.image.as_ref().or(service.image.as_ref()),
            _ => service.image.as_ref(),
        };
        own.is_some_and(|own| own.contains("{images}"))
    });
    let is_used = |(index, pattern): &(usize, &String)| {
        (*index == 0 && taken_up) || used.iter().any(|(_, image)| made(pattern, image))
    };
    let unused = resolved.project.images.iter().enumerate().filter(|one| !is_used(one));
    let note = |(index, pattern): (usize, &String)| {
        let place = resolved.spoken(resolved.pattern_place(index));
        let text = format!("{place}: `images: {pattern}` is given to no image; there are {}", names(used));
        Note { topic: "images".to_owned(), text }
    };
    unused.map(note).collect()
}

/// Names that a sentence has room for.
const NAMED: usize = 5;

/// Images that are there, each once.
fn names(used: &Used) -> String {
    let all: BTreeSet<&str> = used.iter().map(|(_, image)| image.as_str()).collect();
    let named: Vec<String> = all.iter().take(NAMED).map(|image| format!("`{image}`")).collect();
    match all.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Whether another version may read other files, or is told to a chart; a frontend is built from it.
fn by_path(request: &RenderRequest<'_>) -> bool {
    let names = |text: &str| text.contains("{version}");
    let follows = |bundle: &Bundle| match bundle {
        Bundle::Manifests(path) | Bundle::Kustomize(path) => names(path),
        Bundle::Helm(chart) => {
            names(&chart.chart)
                || chart.values.iter().any(|path| names(path))
                || chart.set.iter().any(|value| names(&value.text))
        }
    };
    let resolved = request.resolved;
    resolved.project.sources.values().any(follows)
        || resolved.services.values().any(|service| match &service.source {
            Source::Bundle(bundle) => follows(bundle),
            Source::Frontend { .. } => true,
            _ => false,
        })
}
