//! Services from manifests, kustomizations and charts: of their own, out of a shared source, or taken along.

use std::collections::BTreeMap;

use super::{own_image::OwnImage, rendering::Rendering};
use crate::{
    engine::planner::{JobSpec, WantedService},
    model::{Bundle, Part, Service, Source, SourceName},
    object::{Object, Scopes},
    run::Note,
    source::{
        bundle::{self, Tools},
        group::{Groups, group},
        hooks::{Hook, HookJob},
        manifests::{Found, SourceError},
    },
};

/// Namespaces that every cluster has: whoever owned one would take it away with the project.
const SYSTEM: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

impl Rendering<'_> {
    /// A service with a source of its own.
    pub(super) async fn bundled(
        &mut self,
        service: &Service,
        bundle: &Bundle,
        wanted: &mut WantedService,
        tools: &dyn Tools,
    ) -> OwnImage {
        let name = service.name.to_string();
        let own = self.given_image(&name, service.image.as_ref());
        if let Some((objects, hooks)) = self.read(bundle, Part::Service(&name), tools).await {
            if objects.is_empty()
                && let Some(hook) = hooks.first()
            {
                let message = format!("{} is a Helm hook around nothing", hook.found.object.key().short());
                let help = "describe it as a `job` with `before` or `after`";
                self.refuse_object(&hook.found.object, message, help);
            }
            self.holds_something(bundle, Part::Service(&name), &objects, &hooks);
            self.hooks(&name, &own, hooks);
            // All of its own files are the service's, claimed or not.
            wanted.objects = objects;
            wanted.checks = self.checks(service, None);
        }
        own
    }

    /// A service's part of a source that several share; none where the source has nothing of it.
    pub(super) async fn shared_in(
        &mut self,
        service: &Service,
        source: &SourceName,
        bundles: &mut BTreeMap<String, Groups>,
        wanted: &mut WantedService,
        tools: &dyn Tools,
    ) -> Option<OwnImage> {
        let name = service.name.to_string();
        if !bundles.contains_key(&**source) {
            let bundle = self.request.resolved.project.sources.get(source).cloned()?;
            let read = self.read(&bundle, Part::Source(source), tools).await;
            if let Some((objects, hooks)) = &read {
                self.holds_something(&bundle, Part::Source(source), objects, hooks);
            }
            let (objects, hooks) = read.unwrap_or_default();
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
        let groups = bundles.get_mut(&**source)?;
        let own = self.given_image(&name, service.image.as_ref());
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
            return None;
        }
        wanted.checks = self.checks(service, None);
        Some(own)
    }

    /// What of the shared sources no service of the file took.
    pub(super) fn leftovers(&mut self, bundles: BTreeMap<String, Groups>) {
        // A part of the services says nothing about the rest of them; what is shared it only leaves out.
        let part = self.request.only.is_some();
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for (source, groups) in bundles {
            for (name, objects) in groups.services.into_iter().filter(|_| !part) {
                if let Some(whose) = self.has_name(&name, &taken) {
                    let message =
                        format!("workload `{name}` of source `{source}` has no line in the file, {whose}");
                    let help = format!(
                        "give it one with a name of its own, such as `{source}-{name}: {{from: {source}, aliases: [{name}]}}`"
                    );
                    match objects.iter().find(|object| object.name() == name) {
                        Some(object) => self.refuse_object(object, message, &help),
                        None => self.refuse(Part::Source(&source), &[], message, &help),
                    }
                    continue;
                }
                taken.insert(name.clone(), source.clone());
                self.rendered.new_services.push(name.clone());
                if !self.request.accept_new {
                    continue;
                }
                let own = self.given_image(&name, None);
                let objects: Vec<Object> = objects.into_iter().filter_map(|o| self.finish(&own, o)).collect();
                let version = self.request.version.to_string();
                let wanted = WantedService { version, objects, ..WantedService::default() };
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
                if !part {
                    self.rendered.notes.push(Note { topic: "shared".into(), text });
                }
                if let Some(object) = self.finish(&self.shared_image(), object) {
                    self.rendered.shared.push(object);
                }
            }
        }
    }

    /// Who has the name of a service already: the file, or what is taken along from another source.
    fn has_name(&self, name: &str, taken: &BTreeMap<String, String>) -> Option<String> {
        if let Some(other) = taken.get(name) {
            return Some(format!("nor has the one of source `{other}` that is called so, too"));
        }
        let known = match &self.request.resolved.services.get(name)?.source {
            Source::From(other) => format!("from source `{other}`"),
            other => format!("described by `{}`", other.kind()),
        };
        Some(format!("whose service `{name}` is {known}"))
    }

    /// The objects and hooks of a source, each in its place.
    async fn read(
        &mut self,
        bundle: &Bundle,
        part: Part<'_>,
        tools: &dyn Tools,
    ) -> Option<(Vec<Object>, Vec<Hook>)> {
        let root = self.request.resolved.project.root.clone();
        let placeholders = self.placeholders(None);
        let read = bundle::read(bundle, part.name(), self.namespace(), &root, &placeholders, tools).await;
        let sorted = match read {
            Ok((sorted, note)) => {
                self.rendered.notes.extend(note);
                sorted
            }
            Err(errors) => {
                let errors = errors.0.into_iter().map(|error| self.asked_by(part, error));
                let errors: Vec<SourceError> = errors.collect();
                self.errors.extend(errors);
                return None;
            }
        };
        for test in sorted.tests {
            let what = test.object.key().short();
            let text = format!("{}: {what} is for `helm test`, and no part of a release", test.place);
            self.rendered.notes.push(Note { topic: "left-out".into(), text });
        }
        // Where a kind lives whose definition is not here, only a cluster can tell: the planner asks it.
        let scopes = Scopes::of_definitions(sorted.objects.iter().map(|found| &found.object));
        let objects = sorted.objects.into_iter().filter_map(|found| self.placed(found, &scopes)).collect();
        let hooks = sorted.hooks.into_iter().filter_map(|hook| {
            let place = hook.found.place.clone();
            let object = self.placed(hook.found, &scopes)?;
            Some(Hook { found: Found { object, place, images: Vec::new() }, ..hook })
        });
        Some((objects, hooks.collect()))
    }

    /// Refuses manifests in which nothing stands: a file that was emptied would take away all that it had. What a program
    /// prints may well be nothing.
    fn holds_something(&mut self, bundle: &Bundle, part: Part<'_>, objects: &[Object], hooks: &[Hook]) {
        if objects.is_empty() && hooks.is_empty() && matches!(bundle, Bundle::Manifests(_)) {
            let help = "`mailyctl remove --components NAME` takes a service away; else write what it is";
            self.refuse(part, &["manifests"], "its manifests hold no object", help);
        }
    }

    /// An error with the part of the file that wants the program which it is about.
    fn asked_by(&self, part: Part<'_>, error: SourceError) -> SourceError {
        let SourceError::Program { program, message, help } = error else { return error };
        let resolved = self.request.resolved;
        let path = resolved.spoken(resolved.place(part, &["kustomize", "helm"]));
        SourceError::File { path, message: format!("{part}: {program}: {message}"), help }
    }

    /// Gives an object its namespace, and refuses it where another source has it already.
    fn placed(&mut self, found: Found, scopes: &Scopes) -> Option<Object> {
        let Found { mut object, place, images } = found;
        let namespace = self.namespace().to_owned();
        if scopes.is_cluster_scoped(&object.key().kind) {
            // As for servers and other clients, one that stands there says nothing.
            object.leave_namespace();
        } else {
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
        if let Some(first) = self.rendered.places.insert(object.key().clone(), place.clone()) {
            self.errors.push(SourceError::File {
                path: place,
                message: format!("{} stands twice (first in {first})", object.key()),
                help: "keep it in one place".to_owned(),
            });
            return None;
        }
        let key = |container| (object.key().clone(), container);
        self.image_places.extend(images.into_iter().map(|(container, place)| (key(container), place)));
        Some(object)
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

    /// A Job of a chart and one of the file, beside whichever service or as a gate, need names of their own: a run tells
    /// its Jobs apart by them.
    pub(super) fn same_jobs(&mut self) {
        let resolved = self.request.resolved;
        let is_job = |service: &&Service| matches!(service.source, Source::Job(_));
        let jobs = resolved.services.values().filter(is_job).map(|job| {
            let what = format!("`{}` is a job of the file, too", job.name);
            (job.name.to_string(), (what, "give the job of the file another name"))
        });
        let gates = resolved.project.gates.values().flat_map(|gate| {
            gate.job_names(&resolved.phases).into_iter().map(|name| {
                let what = format!("`{name}` is the Job of gate `{}`, too", gate.name);
                (name, (what, "give the gate another name"))
            })
        });
        let known: BTreeMap<String, (String, &str)> = jobs.chain(gates).collect();
        let hooks: Vec<Object> =
            self.rendered.hooks.values().flatten().map(|hook| hook.spec.job.clone()).collect();
        for job in hooks {
            if let Some((what, help)) = known.get(job.name()) {
                let message = format!("Job {} is a Helm hook, and {what}", job.name());
                self.refuse_object(&job, message, help);
            }
        }
    }
}
