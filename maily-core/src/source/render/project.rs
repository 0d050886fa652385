//! A whole project at a version.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::rendering::Rendering;
use crate::{
    engine::planner::{Gate, WantedService},
    model::{Resolved, Service, ServiceName, Version},
    object::{Object, ObjectKey},
    run::Note,
    source::{
        aggregated::leave_rules, bundle::Tools, defaults::write_defaults, follows, group::Groups,
        hooks::HookJob, manifests::SourceErrors, order::sort, partition::partition_note,
    },
};

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
    /// Where objects were written, as `file:line`.
    pub places: BTreeMap<ObjectKey, String>,
}

/// Renders.
///
/// # Errors
/// All errors at once.
pub async fn render(request: &RenderRequest<'_>, tools: &dyn Tools) -> Result<Rendered, SourceErrors> {
    let mut work = Rendering {
        request,
        rendered: Rendered::default(),
        errors: Vec::new(),
        image_places: BTreeMap::new(),
        images_told: false,
        of_project: BTreeMap::new(),
        alike: BTreeMap::new(),
    };
    work.images_of_project();
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
    work.patterns();
    work.tell_alike();
    let objects = work.rendered.services.values_mut().flat_map(|service| &mut service.objects);
    objects.chain(&mut work.rendered.shared).for_each(|object| {
        write_defaults(object);
        leave_rules(object);
    });
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
