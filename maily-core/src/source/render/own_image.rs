//! Which image a service gets.

use std::fmt::Write as _;

use super::rendering::Rendering;
use crate::{
    model::{Part, Placeholders, Source, expand},
    object::Object,
    run::Note,
    source::{
        images::{Reference, images, reference, set_image},
        manifests::SourceError,
        pattern::{alike, beside},
        reserved,
    },
};

const IMAGE: &str = "write it like `registry/name:version`: below the registry's host in lower-case letters";
const MOVES: &str = "which may be another image tomorrow";

/// The image of a service, and what is done about others of its name.
pub(super) enum OwnImage {
    /// It has none.
    None,
    /// Manifests get it.
    Given(String),
    /// The file describes the service with it; whatever else a patch names is meant.
    Written(String),
}

impl OwnImage {
    /// Registry and path.
    fn name(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Given(image) | Self::Written(image) => reference(image).map(|parts| parts.name),
        }
    }
}

/// Where the file says which image something gets.
const KEYS: &[&str] = &["workload.image", "job.image", "image", "/images"];

/// Why a pattern makes no image that can be used.
enum NoImage {
    /// What is wrong, and what to do.
    Wrong { message: String, help: &'static str },
    /// It may be another one tomorrow.
    Moves(String),
}

impl NoImage {
    /// What is wrong, and what to do.
    fn told(self) -> (String, &'static str) {
        match self {
            Self::Wrong { message, help } => (message, help),
            Self::Moves(image) => {
                (format!("image `{image}` has no fixed version"), "end it with `:{version}`")
            }
        }
    }
}

impl Rendering<'_> {
    /// Checks an object, and gives it the image of its service.
    pub(super) fn finish(&mut self, own: &OwnImage, object: Object) -> Option<Object> {
        let mut object = object;
        let environments = self.request.resolved.project.environments.keys().map(|name| &**name);
        for (message, help) in reserved::refusals(&object, environments) {
            self.refuse_object(&object, message, help);
        }
        for (container, image) in images(&object) {
            if container.is_empty() {
                let message = format!("a container of {} has no name", object.key().short());
                self.refuse_object(&object, message, "write `name: …`");
                return None;
            }
            let Some(parts) = reference(&image) else {
                let message = format!("container `{container}`: `{image}` is no image");
                self.refuse_image(&object, &container, message, IMAGE);
                return None;
            };
            let ours = own.name() == Some(parts.name) || self.of_project.contains_key(parts.name);
            let written = matches!(own, OwnImage::Written(_));
            if !written && parts.digest.is_none() {
                let given = match own {
                    OwnImage::Given(image) if own.name() == Some(parts.name) => Some(image),
                    _ => self.of_project.get(parts.name),
                };
                if let Some(given) = given {
                    set_image(&mut object, &container, given);
                    continue;
                }
                self.look_alike(&object, &image, &parts);
            }
            // What the file describes was judged where it stands there.
            if parts.moves() && !matches!(own, OwnImage::Written(own) if *own == image) {
                let text = format!("container `{container}` uses `{image}`, {MOVES}");
                if ours || self.request.resolved.project.strict {
                    self.refuse_image(&object, &container, text, "give it a version or a digest");
                    return None;
                }
                let text = format!("{}: {text}", self.place(&object));
                self.rendered.notes.push(Note { topic: "moving-image".into(), text });
            }
        }
        Some(object)
    }

    /// Notes the images of the project that manifests get, whichever service they are of.
    pub(super) fn images_of_project(&mut self) {
        let resolved = self.request.resolved;
        let mut found = Vec::new();
        for pattern in resolved.project.images.iter().skip(1).filter(|pattern| !pattern.contains("{service}"))
        {
            found.extend(self.own_image(None, Some(pattern)).ok().flatten());
        }
        // A pattern that makes none is refused with its service.
        for service in resolved.services.values() {
            let own = match &service.source {
                Source::Workload(workload) => workload.image.as_ref().or(service.image.as_ref()),
                Source::Job(job) => job.image.as_ref().or(service.image.as_ref()),
                _ => service.image.as_ref(),
            };
            // A fixed one says nothing about other services that use another version of it.
            if own.is_none_or(|own| own.contains("{version}") || own.contains("{images}")) {
                found.extend(self.own_image(Some(&service.name), own).ok().flatten());
            }
            for pattern in
                resolved.project.images.iter().skip(1).filter(|pattern| pattern.contains("{service}"))
            {
                found.extend(self.own_image(Some(&service.name), Some(pattern)).ok().flatten());
            }
        }
        let named = found.into_iter().filter_map(|image| Some((reference(&image)?.name.to_owned(), image)));
        self.of_project = named.collect();
    }

    /// Refuses patterns that make no image, whether a service uses them or not. The first one was told with the service
    /// that would get it, if there is any.
    pub(super) fn patterns(&mut self) {
        let resolved = self.request.resolved;
        let of_service = resolved.services.keys().next().map_or("service", |name| name);
        for (index, pattern) in resolved.project.images.iter().enumerate() {
            if index == 0 && self.images_told {
                continue;
            }
            let service = pattern.contains("{service}").then_some(of_service);
            let Err(why) = self.own_image(service, Some(pattern)) else { continue };
            let (message, help) = why.told();
            let message = format!("`images`: {message}");
            self.errors.push(match resolved.pattern_place(index) {
                Some(place) => SourceError::Text(resolved.diagnostic(place, message).with_help(help)),
                None => SourceError::File { path: resolved.spoken(None), message, help: help.to_owned() },
            });
        }
    }

    /// Refuses the image of a part; what is wrong with the project's own pattern is told once, not once per service.
    fn refuse_own(&mut self, part: Part<'_>, pattern: Option<&String>, why: NoImage) {
        let (message, help) = why.told();
        // One with `{images}` in it may be wrong by itself.
        let of_project =
            pattern.is_none_or(|own| own.contains("{images}") && self.first_is_wrong(part.name()));
        if !(of_project && std::mem::replace(&mut self.images_told, of_project)) {
            self.refuse(part, KEYS, message, help);
        }
    }

    fn first_is_wrong(&self, service: &str) -> bool {
        matches!(self.own_image(Some(service), None), Err(NoImage::Wrong { .. }))
    }

    /// Notes an image that has the name of one of the project and another version.
    fn look_alike(&mut self, object: &Object, image: &str, parts: &Reference<'_>) {
        let version: &str = self.request.version;
        let values = self.placeholders(None);
        let images = &self.request.resolved.project.images;
        if parts.tag.is_none_or(|tag| !tag.contains(version))
            && images
                .iter()
                .any(|pattern| alike(pattern, &values, parts.name) || beside(pattern, &values, parts.name))
        {
            self.alike.entry(image.to_owned()).or_default().push(object.key().short());
        }
    }

    /// A word for each image that looks like the project's own, and does not follow the version.
    pub(super) fn tell_alike(&mut self) {
        let images = &self.request.resolved.project.images;
        let listed: String = images.iter().map(|pattern| format!("'{pattern}', ")).collect();
        for (image, users) in std::mem::take(&mut self.alike) {
            let parts = reference(&image);
            let name = parts.as_ref().map_or(&*image, |parts| parts.name);
            let mut text = format!(
                "{}: image `{image}` looks like the project's own and stays as it is: \
                 `images: [{listed}'{name}:{{version}}']` makes it follow the version",
                users.join(", ")
            );
            // A pattern without a fixed version is refused.
            if parts.is_some_and(|parts| !parts.moves()) {
                let _ = write!(text, ", and `'{image}'` there holds it at this one wherever it is named");
            }
            self.rendered.notes.push(Note { topic: "own-image".into(), text });
        }
    }

    /// The image that the file itself describes something with.
    pub(super) fn image(
        &mut self,
        part: Part<'_>,
        service: &str,
        pattern: Option<&String>,
    ) -> Option<String> {
        match self.own_image(Some(service), pattern) {
            Ok(Some(image)) => return Some(image),
            Ok(None) => {
                let help = "write `image: …`, or `images: …/{service}:{version}` at the top";
                self.refuse(part, &[], "it has no image", help);
            }
            Err(NoImage::Moves(image)) if self.is_of_others(service, pattern, &image) => {
                let resolved = self.request.resolved;
                if resolved.project.strict {
                    let message = format!("it uses `{image}`, {MOVES}");
                    self.refuse(part, KEYS, message, "give it a version or a digest");
                    return None;
                }
                let place = resolved.spoken(resolved.place(part, KEYS));
                let text = format!("{place}: {part} uses `{image}`, {MOVES}");
                self.rendered.notes.push(Note { topic: "moving-image".into(), text });
                return Some(image);
            }
            Err(why) => self.refuse_own(part, pattern, why),
        }
        None
    }

    /// Whether an image that is written for a service is none of the project's, so far as `images` says which are.
    fn is_of_others(&self, service: &str, pattern: Option<&String>, image: &str) -> bool {
        let patterns = &self.request.resolved.project.images;
        let Some(parts) = reference(image) else { return false };
        let follows = |pattern: &String| pattern.contains("{version}") || pattern.contains("{images}");
        let values = self.placeholders(None);
        // Names that the patterns make, for this service and any other.
        let named = |pattern| match self.own_image(Some(service), Some(pattern)) {
            Ok(Some(own)) | Err(NoImage::Moves(own)) => {
                reference(&own).is_some_and(|own| own.name == parts.name)
            }
            _ => false,
        };
        pattern.is_some_and(|pattern| !follows(pattern))
            && !patterns.is_empty()
            && !self.of_project.contains_key(parts.name)
            && !patterns.iter().any(|pattern| named(pattern) || alike(pattern, &values, parts.name))
    }

    /// The image that manifests get, wherever they name it.
    pub(super) fn given_image(&mut self, service: &str, pattern: Option<&String>) -> OwnImage {
        match self.own_image(Some(service), pattern) {
            Ok(image) => image.map_or(OwnImage::None, OwnImage::Given),
            Err(why) => {
                self.refuse_own(Part::Service(service), pattern, why);
                OwnImage::None
            }
        }
    }

    /// The image of what belongs to no service; none where the project's pattern names one.
    pub(super) fn shared_image(&self) -> OwnImage {
        self.own_image(None, None).ok().flatten().map_or(OwnImage::None, OwnImage::Given)
    }

    /// The image of a service at this version, by its own pattern or the project's; none where there is no pattern.
    fn own_image(&self, service: Option<&str>, pattern: Option<&String>) -> Result<Option<String>, NoImage> {
        let images = self.request.resolved.project.images.first();
        let Some(written) = pattern.or(images) else { return Ok(None) };
        let filled = |pattern: &str, values: &Placeholders<'_>| {
            let wrong = |message| NoImage::Wrong {
                message: format!("image `{pattern}`: {message}"),
                help: "correct the placeholder",
            };
            expand(pattern, values).map_err(wrong)
        };
        let mut values = self.placeholders(service);
        let of_project;
        if let Some(images) = images.filter(|_| pattern.is_some() && written.contains("{images}")) {
            of_project = filled(images, &values)?;
            values.images = Some(&of_project);
        }
        let image = filled(written, &values)?;
        match reference(&image) {
            None => Err(NoImage::Wrong {
                message: format!("image `{written}`: `{image}` is no image"),
                help: "write it like `registry/name:{version}`: below the registry's host in lower-case letters",
            }),
            Some(parts) if parts.moves() => Err(NoImage::Moves(image)),
            Some(_) => Ok(Some(image)),
        }
    }
}
