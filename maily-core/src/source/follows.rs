//! Whether anything follows the version that a deploy names.

use super::{
    Rendered,
    images::{images, reference},
    pattern::{Used, remedy},
    render::RenderRequest,
};
use crate::{
    model::{Bundle, Source},
    run::Note,
};

/// A word where nothing does: the release would have the version as its name, and nothing else of it.
pub(super) fn told(request: &RenderRequest<'_>, rendered: &Rendered) -> Option<Note> {
    // Some of the services alone may well be other people's, at versions of their own.
    if request.only.is_some() || by_path(request) {
        return None;
    }
    let objects = rendered.services.values().flat_map(|service| &service.objects).chain(&rendered.shared);
    let used: Used = objects
        .flat_map(|object| images(object).into_iter().map(|(_, image)| (object.key().short(), image)))
        .collect();
    // Perhaps with a word of its own, as in `v1-slim`.
    let names = |tag: &str| tag.contains(&**request.version);
    let follows = |image: &str| reference(image).is_some_and(|parts| parts.tag.is_some_and(names));
    let (_, first) = used.first()?;
    if used.iter().any(|(_, image)| follows(image)) {
        return None;
    }
    let way = match &request.resolved.project.images[..] {
        [] => format!("{} in the project file makes them follow", remedy(&used)),
        patterns => format!(
            "`images: {}` is given to none of them; {} would follow",
            patterns.join(", "),
            remedy(&used)
        ),
    };
    let text = format!(
        "no image and no path of the project follows the version: `{}` is the release's name alone, and images stay as they are \
         written, such as `{first}`. {way}",
        request.version
    );
    Some(Note { topic: "version".to_owned(), text })
}

/// Whether another version may read other files, or is told to a chart; a frontend is built from it.
fn by_path(request: &RenderRequest<'_>) -> bool {
    let names = |text: &str| text.contains("{version}");
    let follows = |bundle: &Bundle| match bundle {
        Bundle::Manifests(path) | Bundle::Kustomize(path) => names(path),
        Bundle::Helm(chart) => {
            names(&chart.chart)
                || chart.values.iter().any(|path| names(path))
                || chart.set.iter().any(|(_, value)| names(value))
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
