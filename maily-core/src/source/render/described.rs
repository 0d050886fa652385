//! Workloads and jobs that the project file describes itself.

use super::{own_image::OwnImage, rendering::Rendering};
use crate::{
    engine::planner::{JobSpec, WantedService},
    model::{JobSource, Part, Service, Source, Workload, expand_words},
    source::{
        jobs,
        workload::{self, Surroundings},
    },
};

impl Rendering<'_> {
    /// A workload that the file itself describes.
    pub(super) fn described(
        &mut self,
        service: &Service,
        workload: &Workload,
        wanted: &mut WantedService,
    ) -> OwnImage {
        let name = service.name.to_string();
        let pattern = workload.image.as_ref().or(service.image.as_ref());
        let Some(image) = self.image(Part::Service(&name), &name, pattern) else { return OwnImage::None };
        let namespace = self.namespace().to_owned();
        let around = Surroundings {
            name: workload.name.as_deref().unwrap_or(&name),
            image: &image,
            namespace: &namespace,
            peers: self.peers(workload.talks_to.as_deref().unwrap_or_default()),
        };
        match workload::render(&self.spoken(&name, workload), &around) {
            Ok(objects) => wanted.objects = objects,
            Err(message) => {
                self.refuse(Part::Service(&name), &["workload.patch"], message, "correct the patch");
            }
        }
        wanted.checks = self.checks(service, Some((around.name, workload.port)));
        OwnImage::Written(image)
    }

    /// A workload with its placeholders replaced. The parser has refused those that mean nothing.
    fn spoken(&self, service: &str, workload: &Workload) -> Workload {
        let values = self.placeholders(Some(service));
        let mut workload = workload.clone();
        let env = workload.env.iter_mut().map(|(_, value)| value);
        for text in workload.command.iter_mut().chain(&mut workload.args).chain(env) {
            if let Ok(spoken) = expand_words(text, &values) {
                *text = spoken;
            }
        }
        workload
    }

    /// Kubernetes names of the services that a workload talks to.
    fn peers(&self, names: &[String]) -> Vec<Option<String>> {
        names
            .iter()
            .map(|name| {
                let service = self.request.resolved.services.get(name.as_str())?;
                match &service.source {
                    Source::Workload(workload) => Some(workload.name.clone().unwrap_or_else(|| name.clone())),
                    _ => Some(name.clone()),
                }
            })
            .collect()
    }

    /// Jobs of the file, each with the service that it runs beside.
    pub(super) fn jobs(&mut self) {
        let resolved = self.request.resolved;
        for service in resolved.services.values() {
            let Source::Job(job) = &service.source else { continue };
            let Some(owner) = service.before.as_ref().or(service.after.as_ref()) else {
                let message = "a job without `before` or `after` would never run";
                self.refuse(Part::Service(&service.name), &["job"], message, "write `before: SERVICE`");
                continue;
            };
            if !self.wanted(owner) {
                continue;
            }
            let part = Part::Service(&service.name);
            let Some(spec) = self.job(part, &service.name, job, service.image.as_ref()) else { continue };
            match self.rendered.services.get_mut(&**owner) {
                Some(owner) if service.before.is_some() => owner.before.push(spec),
                Some(owner) => owner.after.push(spec),
                None => {}
            }
        }
    }

    pub(super) fn job(
        &mut self,
        part: Part<'_>,
        name: &str,
        job: &JobSource,
        image: Option<&String>,
    ) -> Option<JobSpec> {
        let image = self.image(part, name, job.image.as_ref().or(image))?;
        let values = self.placeholders(Some(name));
        let mut job = job.clone();
        let env = job.env.iter_mut().map(|(_, value)| value);
        let words = job.command.iter_mut().chain(&mut job.args).chain(job.undo.iter_mut().flatten());
        for text in words.chain(env) {
            if let Ok(spoken) = expand_words(text, &values) {
                *text = spoken;
            }
        }
        let job = &job;
        let namespace = self.namespace().to_owned();
        let undo = job.undo.as_ref().map(|_| jobs::render(job, name, &image, &namespace, true));
        let rendered = jobs::render(job, name, &image, &namespace, false);
        Some(JobSpec {
            name: name.to_owned(),
            job: rendered,
            undo,
            timeout_s: job.timeout.map(|time| time.0),
        })
    }
}
