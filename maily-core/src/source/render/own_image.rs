//! Which image a service gets.

use super::work::Work;
use crate::{
    model::{Placeholders, expand},
    object::Object,
    run::Note,
    source::{
        images::{images, reference, set_image},
        reserved,
    },
};

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

/// Why a pattern makes no image, and what to do.
struct NoImage {
    message: String,
    help: &'static str,
}

impl Work<'_> {
    /// Checks an object, and gives it the image of its service.
    pub(super) fn finish(&mut self, own: &OwnImage, object: Object) -> Option<Object> {
        let mut object = object;
        let environments = self.request.resolved.project.environments.keys().map(|name| &**name);
        for (message, help) in reserved::refusals(&object, environments) {
            self.refuse_object(&object, message, help);
        }
        for (container, image) in images(&object) {
            let Some(parts) = reference(&image) else {
                let message = format!("container `{container}`: `{image}` is no image");
                self.refuse_object(&object, message, "write it like `registry/name:version`");
                return None;
            };
            let ours = own.name() == Some(parts.name);
            if let OwnImage::Given(own) = own
                && ours
                && parts.digest.is_none()
            {
                set_image(&mut object, &container, own);
                continue;
            }
            if parts.moves() {
                let text =
                    format!("container `{container}` uses `{image}`, which may be another image tomorrow");
                if ours || self.request.resolved.project.strict {
                    self.refuse_object(&object, text, "give it a version or a digest");
                    return None;
                }
                let text = format!("{}: {text}", self.place(&object));
                self.rendered.notes.push(Note { topic: "moving-image".into(), text });
            }
        }
        Some(object)
    }

    /// The image that the file itself describes something with.
    pub(super) fn image(&mut self, service: &str, pattern: Option<&String>) -> Option<String> {
        match self.own_image(Some(service), pattern) {
            Ok(Some(image)) => return Some(image),
            Ok(None) => {
                let help = "write `image: …`, or `images: …/{service}:{version}` at the top";
                self.refuse(service, "has no image", help);
            }
            Err(NoImage { message, help }) => self.refuse(service, message, help),
        }
        None
    }

    /// The image that manifests get, wherever they name it.
    pub(super) fn given_image(&mut self, service: &str, pattern: Option<&String>) -> OwnImage {
        match self.own_image(Some(service), pattern) {
            Ok(image) => image.map_or(OwnImage::None, OwnImage::Given),
            Err(NoImage { message, help }) => {
                self.refuse(service, message, help);
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
        let images = self.request.resolved.project.images.as_ref();
        let Some(written) = pattern.or(images) else { return Ok(None) };
        let filled = |pattern: &str, values: &Placeholders<'_>| {
            let wrong = |message| NoImage {
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
            None => Err(NoImage {
                message: format!("`{image}` is no image"),
                help: "write it like `registry/name:{version}`",
            }),
            Some(parts) if parts.moves() => Err(NoImage {
                message: format!("image `{image}` has no fixed version"),
                help: "end it with `:{version}`",
            }),
            Some(_) => Ok(Some(image)),
        }
    }
}
