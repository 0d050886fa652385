//! Phases and their gates.

use indexmap::IndexMap;

use super::{
    super::{
        EnvironmentName, GateName, PhaseName, ServiceName,
        fields::{Errors, Fields, nearest, value},
        project::{Gate, GateLook, Phase, Project, Selection},
        service::Check,
    },
    project::{name_at, named, unknown},
    service::{IN_GATES, expected, job, phrases_with, placeholders},
};
use crate::yaml::{Content, Node};

pub(super) fn gates(fields: &mut Fields<'_, '_>) -> IndexMap<GateName, Gate> {
    let errors = fields.errors();
    let mut gates = IndexMap::new();
    for (name, node) in named::<GateName>(fields.map("gates"), errors) {
        let Some(mut fields) = Fields::of(&node, "a gate", errors) else { continue };
        let timeout = fields.timeout();
        let job = fields.take("job").and_then(|node| {
            if let Some(undo) = node.get("undo") {
                let help = "take it out: a gate looks, and a way back runs none";
                errors.add(undo.place, "a gate's job has no `undo`", Some(help.into()));
            }
            job(node, errors)
        });
        let url = fields.text("http").map(|(url, place)| {
            if !url.starts_with("http://") && !url.starts_with("https://") {
                let help = "write `https://…`: a gate belongs to no service whose path it could be";
                errors.add(place, format!("`{url}` is no full URL"), Some(help.into()));
            }
            placeholders(&url, place, &IN_GATES, errors);
            url
        });
        let expect = expected(&mut fields, url.is_some());
        let command = phrases_with(&mut fields, "command", &IN_GATES);
        fields.finish();
        let timeout = timeout.or(job.as_ref().and_then(|job| job.timeout));
        let look = match (job, url, command.is_empty()) {
            (Some(job), None, true) => GateLook::Job(Box::new(job)),
            (None, Some(url), true) => GateLook::Check(Check::Http { url, expect }),
            (None, None, false) => GateLook::Check(Check::Command(command)),
            _ => {
                errors.add(node.place, "a gate is exactly one of `job`, `http`, `command`", None);
                continue;
            }
        };
        gates.insert(name.clone(), Gate { name, look, timeout });
    }
    gates
}

pub(super) fn phases(node: &Node, project: &Project, errors: &Errors<'_>) -> Vec<Phase> {
    let Content::List(items) = &node.content else {
        errors.add(node.place, "`phases` is a list", None);
        return Vec::new();
    };
    let mut phases: Vec<Phase> = Vec::new();
    for item in items {
        let Some(mut fields) = Fields::of(item, "a phase", errors) else { continue };
        let name = fields.value::<PhaseName>("name");
        let environment = fields
            .take("environment")
            .and_then(|node| Some((value::<EnvironmentName>(node, "environment", errors)?, node.place)));
        let services =
            fields.take("services").map_or(Selection::All, |node| selection(node, project, errors));
        let gates: Vec<GateName> = fields
            .words("gates")
            .into_iter()
            .filter_map(|(text, place)| {
                let name = name_at::<GateName>(&text, place, errors)?;
                if !project.gates.contains_key(&name) {
                    unknown(errors, place, "gate", &name, project.gates.keys().map(|k| &**k));
                }
                Some(name)
            })
            .collect();
        fields.finish();
        if name.is_none() || environment.is_none() {
            errors.add(item.place, "a phase has a `name` and an `environment`", None);
            continue;
        }
        let (Some(name), Some((environment, place))) = (name, environment) else { continue };
        if phases.iter().any(|phase| phase.name == name) {
            errors.add(item.place, format!("phase `{name}` stands twice"), None);
        }
        // Phases of environments that are not declared yet are skipped when they run; a misspelt one is an error.
        if !project.environments.contains_key(&environment)
            && let Some(help) = nearest(&environment, project.environments.keys().map(|k| &**k))
        {
            errors.add(place, format!("unknown environment `{environment}`"), Some(help));
        }
        phases.push(Phase { name, environment, services, gates });
    }
    phases
}

pub(super) fn selection(node: &Node, project: &Project, errors: &Errors<'_>) -> Selection {
    match &node.content {
        Content::Scalar { text, .. } => match text.as_str() {
            "all" => Selection::All,
            "critical" => Selection::Critical,
            "non-critical" => Selection::NonCritical,
            other => {
                let help = nearest(other, ["all", "critical", "non-critical"]);
                errors.add(
                    node.place,
                    format!("`services` is `all`, `critical`, `non-critical` or a list, not `{other}`"),
                    help,
                );
                Selection::All
            }
        },
        Content::List(items) => Selection::Named(
            items
                .iter()
                .filter_map(|item| {
                    let name: ServiceName = value(item, "services", errors)?;
                    if !project.raw.contains_key(&name) {
                        unknown(errors, item.place, "service", &name, project.raw.keys().map(|k| &**k));
                    }
                    Some(name)
                })
                .collect(),
        ),
        Content::Map(_) => {
            errors.add(node.place, "`services` is a word or a list", None);
            Selection::All
        }
    }
}

/// Staging first, then production: what is not critical before what is.
pub(super) fn default_phases() -> Vec<Phase> {
    let phase = |name: &str, environment: &str, services: Selection| Phase {
        name: name.parse().expect("is a name"),
        environment: environment.parse().expect("is a name"),
        services,
        gates: Vec::new(),
    };
    vec![
        phase("staging", "staging", Selection::All),
        phase("non-critical", "production", Selection::NonCritical),
        phase("critical", "production", Selection::Critical),
    ]
}
