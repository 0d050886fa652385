//! The work on one rendering, service by service.

use std::{collections::BTreeMap, fmt::Display};

use super::{
    own_image::OwnImage,
    project::{RenderRequest, Rendered},
};
use crate::{
    engine::planner::{Frontend, WantedService},
    model::{Part, Placeholders, Service, Source},
    object::{Object, ObjectKey},
    source::{bundle::Tools, group::Groups, manifests::SourceError},
    yaml::Diagnostic,
};

/// What was asked for, and what came of it so far.
pub(super) struct Rendering<'a> {
    pub(super) request: &'a RenderRequest<'a>,
    pub(super) rendered: Rendered,
    pub(super) errors: Vec<SourceError>,
    /// Where the image of each container was written.
    pub(super) image_places: BTreeMap<(ObjectKey, String), Diagnostic>,
    /// What is wrong with the project's `images` was told.
    pub(super) images_told: bool,
    /// Images of the project at this version, by registry and path.
    pub(super) of_project: BTreeMap<String, String>,
    /// Images that look like the project's own, with what uses them.
    pub(super) alike: BTreeMap<String, Vec<String>>,
}

impl Rendering<'_> {
    pub(super) fn wanted(&self, name: &str) -> bool {
        self.request.only.is_none_or(|only| only.iter().any(|wanted| **wanted == *name))
    }

    pub(super) fn namespace(&self) -> &str {
        &self.request.resolved.environment.namespace
    }

    /// Refuses what stands at the first of these keys of a part of the file.
    pub(super) fn refuse(&mut self, part: Part<'_>, keys: &[&str], message: impl Display, help: &str) {
        let (resolved, message) = (self.request.resolved, format!("{part}: {message}"));
        self.errors.push(match resolved.place(part, keys) {
            Some(place) => SourceError::Text(resolved.diagnostic(place, message).with_help(help)),
            None => SourceError::File { path: resolved.spoken(None), message, help: help.to_owned() },
        });
    }

    /// Where an object was written, or which it is.
    pub(super) fn place(&self, object: &Object) -> String {
        self.rendered.places.get(object.key()).cloned().unwrap_or_else(|| object.key().short())
    }

    pub(super) fn refuse_object(&mut self, object: &Object, message: String, help: &str) {
        self.errors.push(SourceError::File { path: self.place(object), message, help: help.to_owned() });
    }

    /// Refuses the image of a container.
    pub(super) fn refuse_image(&mut self, object: &Object, container: &str, message: String, help: &str) {
        let place = self.image_places.get(&(object.key().clone(), container.to_owned())).cloned();
        match place {
            Some(place) => {
                self.errors.push(SourceError::Text(Diagnostic { message, ..place }.with_help(help)));
            }
            None => self.refuse_object(object, message, help),
        }
    }

    pub(super) fn placeholders<'s>(&'s self, service: Option<&'s str>) -> Placeholders<'s> {
        Placeholders {
            version: Some(self.request.version),
            environment: Some(&self.request.resolved.environment.name),
            service,
            project: Some(&self.request.resolved.project.name),
            images: None,
        }
    }

    pub(super) async fn service(
        &mut self,
        service: &Service,
        bundles: &mut BTreeMap<String, Groups>,
        tools: &dyn Tools,
    ) {
        let name = service.name.to_string();
        let mut wanted = WantedService {
            version: self.request.version.to_string(),
            needs: self.request.resolved.needs(service),
            timeout_s: service.timeout.map(|timeout| timeout.0),
            ..WantedService::default()
        };
        let own = match &service.source {
            // Rendered with the service that they belong to.
            Source::Job(_) => return,
            Source::Workload(workload) => self.described(service, workload, &mut wanted),
            Source::Frontend { project, domain } => {
                wanted.frontend =
                    Some(Frontend { project: project.clone(), domain: domain.clone(), existing: None });
                wanted.checks = self.checks(service, None);
                OwnImage::None
            }
            Source::Bundle(bundle) => self.bundled(service, bundle, &mut wanted, tools).await,
            Source::From(source) => {
                match self.shared_in(service, source, bundles, &mut wanted, tools).await {
                    Some(own) => own,
                    None => return,
                }
            }
        };
        wanted.objects = std::mem::take(&mut wanted.objects)
            .into_iter()
            .filter_map(|object| self.finish(&own, object))
            .collect();
        self.rendered.services.insert(name, wanted);
    }
}
