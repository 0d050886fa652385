//! Rendering a project in an environment at a version.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::{
    bundle::{self, Tools},
    follows,
    group::{Groups, group},
    hooks::{Hook, HookJob},
    images::{images, reference, set_image, write_pull_policies},
    jobs,
    manifests::{Found, SourceError, SourceErrors},
    order::{is_cluster_scoped, sort},
    partition::partition_note,
    reserved,
    workload::{self, Surroundings},
};
use crate::{
    engine::planner::{Frontend, Gate, JobSpec, Look, WantedService},
    model::{
        Bundle, Check, Gate as GateModel, GateLook, JobSource, Placeholders, Resolved, Service, ServiceName,
        Source, TIMEOUT, Version, Workload, expand, expand_words,
    },
    object::{Object, ObjectKey},
    provider::{ProbeRequest, ProbeService},
    run::Note,
};

/// Namespaces that every cluster has: whoever owned one would take it away with the project.
const SYSTEM: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// What shall be rendered.
#[derive(Clone, Debug)]
pub struct RenderRequest<'a> {
    /// The project in its environment.
    pub resolved: &'a Resolved,
    /// The version.
    pub version: &'a Version,
    /// Only these services; all where none are named.
    pub only: Option<&'a [ServiceName]>,
    /// Take new services of a shared source into the release although the file has no line for them.
    pub accept_new: bool,
    /// Seconds for every service, above what the file says.
    pub timeout_s: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// Services with their objects in the order of writing.
    pub services: IndexMap<String, WantedService>,
    /// Objects that belong to no single service, in the order of writing.
    pub shared: Vec<Object>,
    /// Jobs that a chart runs around a service, in their order, by service.
    pub hooks: BTreeMap<String, Vec<HookJob>>,
    /// Gates by name.
    pub gates: BTreeMap<String, Gate>,
    /// What a person should know.
    pub notes: Vec<Note>,
    /// Services that a shared source has and the file has not.
    pub new_services: Vec<String>,
}

/// Renders.
///
/// # Errors
/// All errors at once.
pub async fn render(request: &RenderRequest<'_>, tools: &dyn Tools) -> Result<Rendered, SourceErrors> {
    let mut work =
        Work { request, rendered: Rendered::default(), errors: Vec::new(), places: BTreeMap::new() };
    let services: Vec<&Service> =
        request.resolved.services.values().filter(|s| work.wanted(&s.name)).collect();
    let mut bundles: BTreeMap<String, Groups> = BTreeMap::new();
    for service in &services {
        work.service(service, &mut bundles, tools).await;
    }
    work.leftovers(bundles);
    work.jobs();
    work.same_jobs();
    work.gates();
    let objects = work.rendered.services.values_mut().flat_map(|service| &mut service.objects);
    objects.chain(&mut work.rendered.shared).for_each(write_pull_policies);
    for service in work.rendered.services.values_mut() {
        sort(&mut service.objects);
    }
    sort(&mut work.rendered.shared);
    let Rendered { services, notes, .. } = &mut work.rendered;
    notes.extend(services.values().flat_map(|service| &service.objects).filter_map(partition_note));
    let told = follows::told(request, &work.rendered);
    work.rendered.notes.extend(told);
    if work.errors.is_empty() { Ok(work.rendered) } else { Err(SourceErrors(work.errors)) }
}

struct Work<'a> {
    request: &'a RenderRequest<'a>,
    rendered: Rendered,
    errors: Vec<SourceError>,
    places: BTreeMap<ObjectKey, String>,
}

/// The image of a service, and what is done about others of its name.
enum OwnImage {
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
    fn wanted(&self, name: &str) -> bool {
        self.request.only.is_none_or(|only| only.iter().any(|wanted| **wanted == *name))
    }

    fn namespace(&self) -> &str {
        &self.request.resolved.environment.namespace
    }

    fn refuse(&mut self, service: &str, message: impl Into<String>, help: &str) {
        let (service, message, help) = (service.to_owned(), message.into(), help.to_owned());
        self.errors.push(SourceError::Service { service, message, help });
    }

    /// Where an object was written, or which it is.
    fn place(&self, object: &Object) -> String {
        self.places.get(object.key()).cloned().unwrap_or_else(|| object.key().short())
    }

    fn refuse_object(&mut self, object: &Object, message: String, help: &str) {
        self.errors.push(SourceError::File { path: self.place(object), message, help: help.to_owned() });
    }

    fn placeholders<'s>(&'s self, service: Option<&'s str>) -> Placeholders<'s> {
        Placeholders {
            version: Some(self.request.version),
            environment: Some(&self.request.resolved.environment.name),
            service,
            project: Some(&self.request.resolved.project.name),
            images: None,
        }
    }

    async fn service(
        &mut self,
        service: &Service,
        bundles: &mut BTreeMap<String, Groups>,
        tools: &dyn Tools,
    ) {
        let name = service.name.to_string();
        let mut wanted = WantedService {
            version: self.request.version.to_string(),
            needs: service.needs.iter().map(ToString::to_string).collect(),
            timeout_s: self.request.timeout_s.or(service.timeout.map(|t| t.0)).unwrap_or(TIMEOUT.0),
            ..WantedService::default()
        };
        let mut own = OwnImage::None;
        match &service.source {
            // Rendered with the service that they belong to.
            Source::Job(_) => return,
            Source::Workload(workload) => {
                let pattern = workload.image.as_ref().or(service.image.as_ref());
                if let Some(image) = self.image(&name, pattern) {
                    own = OwnImage::Written(image.clone());
                    let namespace = self.namespace().to_owned();
                    let around = Surroundings {
                        name: workload.name.as_deref().unwrap_or(&name),
                        image: &image,
                        namespace: &namespace,
                        peers: self.peers(workload.talks_to.as_deref().unwrap_or_default()),
                    };
                    match workload::render(&self.spoken(&name, workload), &around) {
                        Ok(objects) => wanted.objects = objects,
                        Err(message) => self.refuse(&name, message, "correct the patch"),
                    }
                    wanted.checks = self.checks(service, Some((around.name, workload.port)));
                }
            }
            Source::Frontend { project, domain } => {
                wanted.frontend =
                    Some(Frontend { project: project.clone(), domain: domain.clone(), existing: None });
                wanted.checks = self.checks(service, None);
            }
            Source::Bundle(bundle) => {
                own = self.given_image(&name, service.image.as_ref());
                if let Some((objects, hooks)) = self.read(bundle, &name, tools).await {
                    if objects.is_empty()
                        && let Some(hook) = hooks.first()
                    {
                        let message =
                            format!("{} is a Helm hook around nothing", hook.found.object.key().short());
                        let help = "describe it as a `job` with `before` or `after`";
                        self.refuse_object(&hook.found.object, message, help);
                    }
                    self.hooks(&name, &own, hooks);
                    // All of its own files are the service's, claimed or not.
                    wanted.objects = objects;
                    wanted.checks = self.checks(service, None);
                }
            }
            Source::From(source) => {
                if !bundles.contains_key(&**source) {
                    let bundle = self.request.resolved.project.sources.get(source).cloned();
                    let Some(bundle) = bundle else { return };
                    let (objects, hooks) = self.read(&bundle, source, tools).await.unwrap_or_default();
                    for hook in hooks {
                        let object = &hook.found.object;
                        let message = format!(
                            "{} is a Helm hook, and which service of `{source}` it belongs to is not known",
                            object.key().short()
                        );
                        let help = "give the source to one service instead of `from`, or turn the hook off and describe it as a `job` with `before` or `after`";
                        self.refuse_object(object, message, help);
                    }
                    bundles.insert(source.to_string(), group(objects));
                }
                let Some(groups) = bundles.get_mut(&**source) else { return };
                own = self.given_image(&name, service.image.as_ref());
                let mut names = vec![name.clone()];
                names.extend(service.aliases.iter().cloned());
                for name in names {
                    wanted.objects.extend(groups.services.remove(&name).unwrap_or_default());
                }
                if wanted.objects.is_empty() {
                    // The version may simply not have it yet, or not any more.
                    let version = self.request.version;
                    let text = format!("service `{name}` is not in source `{source}` at {version}");
                    self.rendered.notes.push(Note { topic: "absent".into(), text });
                    return;
                }
                wanted.checks = self.checks(service, None);
            }
        }
        wanted.objects = std::mem::take(&mut wanted.objects)
            .into_iter()
            .filter_map(|object| self.finish(&own, object))
            .collect();
        self.rendered.services.insert(name, wanted);
    }

    async fn read(
        &mut self,
        bundle: &Bundle,
        name: &str,
        tools: &dyn Tools,
    ) -> Option<(Vec<Object>, Vec<Hook>)> {
        let root = self.request.resolved.project.root.clone();
        let placeholders = self.placeholders(None);
        let read = bundle::read(bundle, name, self.namespace(), &root, &placeholders, tools).await;
        let sorted = match read {
            Ok((sorted, note)) => {
                self.rendered.notes.extend(note);
                sorted
            }
            Err(errors) => {
                self.errors.extend(errors.0);
                return None;
            }
        };
        for test in sorted.tests {
            let what = test.object.key().short();
            let text = format!("{}: {what} is for `helm test`, and no part of a release", test.place);
            self.rendered.notes.push(Note { topic: "left-out".into(), text });
        }
        let objects = sorted.objects.into_iter().filter_map(|found| self.placed(found)).collect();
        let hooks = sorted.hooks.into_iter().filter_map(|hook| {
            let place = hook.found.place.clone();
            let object = self.placed(hook.found)?;
            Some(Hook { found: Found { object, place }, ..hook })
        });
        Some((objects, hooks.collect()))
    }

    /// The Jobs of a service's chart.
    fn hooks(&mut self, service: &str, own: &OwnImage, hooks: Vec<Hook>) {
        let mut jobs = Vec::new();
        for hook in hooks {
            let Some(job) = self.finish(own, hook.found.object) else { continue };
            let spec = JobSpec { name: job.name().to_owned(), job, undo: None, timeout_s: None };
            jobs.push(HookJob { spec, side: hook.side, occasion: hook.occasion });
        }
        if !jobs.is_empty() {
            self.rendered.hooks.insert(service.to_owned(), jobs);
        }
    }

    /// A Job of a chart and one of the file need names of their own.
    fn same_jobs(&mut self) {
        let mut twice = Vec::new();
        for (name, hooks) in &self.rendered.hooks {
            let Some(service) = self.rendered.services.get(name) else { continue };
            let own: BTreeSet<&str> =
                service.before.iter().chain(&service.after).map(|job| job.name.as_str()).collect();
            twice.extend(hooks.iter().filter(|hook| own.contains(hook.spec.name.as_str())).cloned());
        }
        for hook in twice {
            let message =
                format!("Job {0} is a Helm hook, and `{0}` is a job of the file, too", hook.spec.name);
            self.refuse_object(&hook.spec.job, message, "give the job of the file another name");
        }
    }

    /// Gives an object its namespace, and refuses it where another source has it already.
    fn placed(&mut self, found: Found) -> Option<Object> {
        let Found { mut object, place } = found;
        let namespace = self.namespace().to_owned();
        if !is_cluster_scoped(&object) {
            match object.namespace() {
                None => object.set_namespace(&namespace),
                Some(other) if other == namespace => {}
                Some(other) => {
                    self.errors.push(SourceError::File {
                        path: place,
                        message: format!(
                            "{} stands in namespace `{other}`, the environment in `{namespace}`",
                            object.key().short()
                        ),
                        help: "leave the namespace out of the manifest".to_owned(),
                    });
                    return None;
                }
            }
        }
        if object.kind() == "Namespace" && SYSTEM.contains(&object.name()) {
            self.errors.push(SourceError::File {
                path: place,
                message: format!("namespace `{}` belongs to the cluster, not to a project", object.name()),
                help: "take it out of the manifests".to_owned(),
            });
            return None;
        }
        if let Some(first) = self.places.insert(object.key().clone(), place.clone()) {
            self.errors.push(SourceError::File {
                path: place,
                message: format!("{} stands twice (first in {first})", object.key()),
                help: "keep it in one place".to_owned(),
            });
            return None;
        }
        Some(object)
    }

    /// Checks an object, and gives it the image of its service.
    fn finish(&mut self, own: &OwnImage, object: Object) -> Option<Object> {
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
    fn image(&mut self, service: &str, pattern: Option<&String>) -> Option<String> {
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
    fn given_image(&mut self, service: &str, pattern: Option<&String>) -> OwnImage {
        match self.own_image(Some(service), pattern) {
            Ok(image) => image.map_or(OwnImage::None, OwnImage::Given),
            Err(NoImage { message, help }) => {
                self.refuse(service, message, help);
                OwnImage::None
            }
        }
    }

    /// The image of what belongs to no service; none where the project's pattern names one.
    fn shared_image(&self) -> OwnImage {
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

    fn checks(&mut self, service: &Service, own: Option<(&str, Option<u16>)>) -> Vec<ProbeRequest> {
        let namespace = self.namespace().to_owned();
        let mut probes = Vec::new();
        for check in &service.checks {
            match check {
                Check::Command(argv) => probes.push(self.command(argv, Some(&service.name))),
                Check::Http { url, expect } => {
                    let values = self.placeholders(Some(&service.name));
                    let url = expand_words(url, &values).unwrap_or_else(|_| url.clone());
                    let inside = own.and_then(|(name, port)| {
                        let (namespace, name) = (namespace.clone(), name.to_owned());
                        Some(ProbeService { namespace, name, port: port? })
                    });
                    if url.starts_with('/') && inside.is_none() {
                        let message =
                            format!("check `{url}` is a path, and the service has no port of its own");
                        self.refuse(&service.name, message, "write a full URL");
                        continue;
                    }
                    let service = inside.filter(|_| url.starts_with('/'));
                    probes.push(ProbeRequest::Http { url, service, expect: *expect });
                }
            }
        }
        probes
    }

    fn command(&self, argv: &[String], service: Option<&str>) -> ProbeRequest {
        let values = self.placeholders(service);
        let argv = argv.iter().map(|word| expand_words(word, &values).unwrap_or_else(|_| word.clone()));
        ProbeRequest::Command { argv: argv.collect() }
    }

    /// What of the shared sources no service of the file took.
    fn leftovers(&mut self, bundles: BTreeMap<String, Groups>) {
        // A part of the services says nothing about the rest.
        if self.request.only.is_some() {
            return;
        }
        for (source, groups) in bundles {
            for (name, objects) in groups.services {
                self.rendered.new_services.push(name.clone());
                if !self.request.accept_new {
                    continue;
                }
                let own = self.given_image(&name, None);
                let objects: Vec<Object> = objects.into_iter().filter_map(|o| self.finish(&own, o)).collect();
                let version = self.request.version.to_string();
                let timeout_s = self.request.timeout_s.unwrap_or(TIMEOUT.0);
                let wanted = WantedService { version, objects, timeout_s, ..WantedService::default() };
                self.rendered.services.insert(name.clone(), wanted);
                let text =
                    format!("service `{name}` of source `{source}` is new and has no line in the file yet");
                self.rendered.notes.push(Note { topic: "new-service".into(), text });
            }
            for (object, claims) in groups.shared {
                let whose = if claims.is_empty() {
                    "belongs to no service".to_owned()
                } else {
                    format!("is used by {}", claims.iter().cloned().collect::<Vec<_>>().join(", "))
                };
                let text = format!("{} {whose}: applied before the services", object.key().short());
                self.rendered.notes.push(Note { topic: "shared".into(), text });
                if let Some(object) = self.finish(&self.shared_image(), object) {
                    self.rendered.shared.push(object);
                }
            }
        }
    }

    fn jobs(&mut self) {
        let resolved = self.request.resolved;
        for service in resolved.services.values() {
            let Source::Job(job) = &service.source else { continue };
            let Some(owner) = service.before.as_ref().or(service.after.as_ref()) else {
                self.refuse(
                    &service.name,
                    "a job without `before` or `after` would never run",
                    "write `before: SERVICE`",
                );
                continue;
            };
            if !self.wanted(owner) {
                continue;
            }
            let Some(spec) = self.job(&service.name, job, service.image.as_ref()) else { continue };
            match self.rendered.services.get_mut(&**owner) {
                Some(owner) if service.before.is_some() => owner.before.push(spec),
                Some(owner) => owner.after.push(spec),
                None => {}
            }
        }
    }

    fn job(&mut self, name: &str, job: &JobSource, image: Option<&String>) -> Option<JobSpec> {
        let image = self.image(name, job.image.as_ref().or(image))?;
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

    fn gates(&mut self) {
        let resolved = self.request.resolved;
        let used: BTreeSet<_> = resolved.phases.iter().flat_map(|phase| &phase.gates).collect();
        for name in used {
            let Some(GateModel { look, timeout, .. }) = resolved.project.gates.get(name) else { continue };
            let look = match look {
                GateLook::Job(job) => {
                    let job = JobSource { timeout: *timeout, ..(**job).clone() };
                    self.job(&format!("gate-{name}"), &job, None).map(|spec| Look::Job(spec.job))
                }
                GateLook::Check(Check::Command(argv)) => Some(Look::Probe(self.command(argv, None))),
                GateLook::Check(Check::Http { url, expect }) => {
                    match expand_words(url, &self.placeholders(None)) {
                        Ok(url) if url.starts_with("http") => {
                            Some(Look::Probe(ProbeRequest::Http { url, service: None, expect: *expect }))
                        }
                        Ok(_) => {
                            self.refuse(name, "a gate's `http` is a full URL", "write `https://…`");
                            None
                        }
                        Err(message) => {
                            self.refuse(name, message, "correct the placeholder");
                            None
                        }
                    }
                }
            };
            if let Some(look) = look {
                let timeout_s = timeout.map(|time| time.0);
                self.rendered.gates.insert(name.to_string(), Gate { look, timeout_s });
            }
        }
    }
}
