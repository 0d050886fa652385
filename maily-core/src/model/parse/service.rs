//! A service, its source, its checks.

use super::{
    super::{
        ServiceName,
        fields::{Errors, Fields, text},
        placeholder::{Placeholders, expand_words},
        project::{Bundle, ChartValue, HelmChart},
        quantity::Status,
        service::{Check, JobSource, Service, Source},
    },
    amount::range,
    project::name_at,
    workload::{environment_names, secrets, workload_of},
};
use crate::yaml::{Content, Key, Node, Place};

/// Keys of later parts that have their place already.
const LATER_SERVICE: &[&str] = &["flags", "monitors", "slo"];
/// Keys that a job has from the service that it runs beside, or of its own.
const BESIDE_NO_JOB: [&str; 4] = ["critical", "needs", "timeout", "checks"];

/// A service by its node.
pub(in crate::model) fn service(name: &ServiceName, node: &Node, errors: &Errors<'_>) -> Option<Service> {
    let mut fields = Fields::of(node, "a service", errors)?;
    let of_services = BESIDE_NO_JOB.map(|key| (key, fields.key_place(key)));
    let aliases = fields.words("aliases").into_iter().map(|(text, _)| text).collect();
    let critical = fields.flag("critical").unwrap_or(false);
    let needs = fields
        .words("needs")
        .into_iter()
        .filter_map(|(text, place)| name_at::<ServiceName>(&text, place, errors))
        .collect();
    let image = fields.text("image").map(|(text, _)| text);
    let timeout = fields.timeout();
    let checks = checks(&mut fields);
    let before = fields.value::<ServiceName>("before");
    let after = fields.value::<ServiceName>("after");
    if let Some((strategy, place)) = fields.text("strategy")
        && strategy != "rolling"
    {
        errors.add(place, format!("strategy `{strategy}` is not there yet"), Some("`rolling` is".into()));
    }
    let source = source(&mut fields);
    fields.not_yet(LATER_SERVICE);
    if source.is_none() {
        let help = "give it one of `workload`, `job`, `manifests`, `kustomize`, `helm`, `vercel`, `from`";
        if !SOURCES.iter().any(|key| fields.key_place(key).is_some()) {
            errors.add(node.place, format!("service `{name}` has no source"), Some(help.into()));
        }
    }
    fields.finish();
    let service = Service {
        name: name.clone(),
        aliases,
        critical,
        needs,
        source: source?,
        image,
        checks,
        timeout,
        before,
        after,
    };
    if let Source::Job(_) = &service.source {
        let owner = service.before.as_ref().or(service.after.as_ref());
        for (key, place) in of_services {
            let help = match owner {
                _ if key == "timeout" => Some("write it inside of `job`".to_owned()),
                owner => owner.map(|owner| format!("write it at `{owner}`")),
            };
            if let Some(place) = place {
                errors.add(place, format!("`{key}` beside a `job` would do nothing"), help);
            }
        }
    }
    let beside = [&service.before, &service.after].into_iter().flatten().count();
    match (&service.source, beside) {
        (Source::Job(_), 0) => errors.add(
            node.place,
            "a job without `before` or `after` would never run",
            Some("write `before: SERVICE`".into()),
        ),
        (Source::Job(_), 2) => errors.add(
            node.place,
            "a job runs once: either `before` or `after` a service",
            Some("keep one of them".into()),
        ),
        (Source::Job(_), _) | (_, 0) => {}
        _ => errors.add(node.place, "only a `job` runs before or after another service", None),
    }
    Some(service)
}

const SOURCES: &[&str] = &["workload", "job", "manifests", "kustomize", "helm", "vercel", "from"];

pub(super) fn source(fields: &mut Fields<'_, '_>) -> Option<Source> {
    let errors = fields.errors();
    let given: Vec<Place> = SOURCES.iter().filter_map(|key| fields.key_place(key)).collect();
    if given.len() > 1 {
        errors.add(given[1], "a service has exactly one source", Some("keep one of them".into()));
    }
    let workload = fields
        .take("workload")
        .and_then(|node| workload_of(node, errors))
        .map(|w| Source::Workload(Box::new(w)));
    let job = fields.take("job").and_then(|node| job(node, errors)).map(Source::Job);
    let bundle = bundle(fields).map(Source::Bundle);
    let frontend = fields.take("vercel").and_then(|node| {
        let mut fields = Fields::of(node, "a frontend", errors)?;
        let project = fields.text("project").map(|(text, _)| text);
        let domain = fields.text("domain").map(|(text, _)| text);
        if project.is_none() {
            errors.add(node.place, "the frontend's project is missing", Some("write `project: NAME`".into()));
        }
        fields.finish();
        Some(Source::Frontend { project: project?, domain })
    });
    let from = fields.value("from").map(Source::From);
    workload.or(job).or(bundle).or(frontend).or(from)
}

pub(super) fn bundle_of(node: &Node, errors: &Errors<'_>) -> Option<Bundle> {
    let mut fields = Fields::of(node, "a source", errors)?;
    let bundle = bundle(&mut fields);
    if bundle.is_none() {
        errors.add(node.place, "a source is one of `manifests`, `kustomize`, `helm`", None);
    }
    fields.finish();
    bundle
}

pub(super) fn bundle(fields: &mut Fields<'_, '_>) -> Option<Bundle> {
    let errors = fields.errors();
    let manifests = fields.text("manifests").map(|(path, _)| Bundle::Manifests(path));
    let kustomize = fields.text("kustomize").map(|(path, _)| Bundle::Kustomize(path));
    let helm = fields.take("helm").and_then(|node| {
        let mut fields = Fields::of(node, "a chart", errors)?;
        let chart = fields.text("chart").map(|(text, _)| text);
        let release = fields.text("release").map(|(text, _)| text);
        let values = fields.words("values").into_iter().map(|(text, _)| text).collect();
        let set = fields.map("set").iter().filter_map(|(key, node)| {
            let text = scalar(node, &key.name, errors)?;
            let quoted = matches!(node.content, Content::Scalar { quoted: true, .. });
            Some(ChartValue { path: key.name.clone(), text, quoted })
        });
        let set = set.collect();
        if chart.is_none() {
            errors.add(node.place, "the chart is missing", Some("write `chart: FOLDER`".into()));
        }
        fields.finish();
        Some(Bundle::Helm(HelmChart { chart: chart?, release, values, set }))
    });
    manifests.or(kustomize).or(helm)
}

pub(super) fn checks(fields: &mut Fields<'_, '_>) -> Vec<Check> {
    let errors = fields.errors();
    let Some(node) = fields.take("checks") else { return Vec::new() };
    let Content::List(items) = &node.content else {
        errors.add(node.place, "`checks` is a list", Some("write `checks: [{http: /health}]`".into()));
        return Vec::new();
    };
    items.iter().filter_map(|item| check(item, errors)).collect()
}

pub(super) fn check(node: &Node, errors: &Errors<'_>) -> Option<Check> {
    let mut fields = Fields::of(node, "a check", errors)?;
    let url = fields.text("http");
    let expect = expected(&mut fields, url.is_some());
    let command = phrases(&mut fields, "command");
    fields.finish();
    match (url, command.is_empty()) {
        (Some((url, place)), true) => {
            if !["/", "http://", "https://"].iter().any(|start| url.starts_with(start)) {
                let help = "write a path of the service, like `/health`, or a full URL";
                errors.add(place, format!("`{url}` is neither a path nor a URL"), Some(help.into()));
            }
            placeholders(&url, place, &IN_SERVICES, errors);
            Some(Check::Http { url, expect })
        }
        (None, false) => Some(Check::Command(command)),
        _ => {
            errors.add(node.place, "a check is either `http` or `command`", None);
            None
        }
    }
}

pub(super) fn job(node: &Node, errors: &Errors<'_>) -> Option<JobSource> {
    let mut fields = Fields::of(node, "a job", errors)?;
    let image = fields.text("image").map(|(text, _)| text);
    let command = phrases(&mut fields, "command");
    let args = phrases(&mut fields, "args");
    let undo = phrases(&mut fields, "undo");
    let env = phrase_pairs(&mut fields, "env");
    let secrets = secrets(&mut fields);
    let cpu = range(&mut fields, "cpu", "100m..500m");
    let memory = range(&mut fields, "memory", "128Mi..256Mi");
    let timeout = fields.timeout();
    environment_names(&env, &secrets, node, errors);
    fields.finish();
    let undo = (!undo.is_empty()).then_some(undo);
    Some(JobSource { image, command, args, undo, env, secrets, cpu, memory, timeout })
}

/// The status that an HTTP request shall answer; nothing else answers one.
pub(super) fn expected(fields: &mut Fields<'_, '_>, is_http: bool) -> u16 {
    let place = fields.key_place("expect");
    if let Some(place) = place.filter(|_| !is_http) {
        fields.errors().add(place, "`expect` belongs to `http`", Some("take it out".into()));
    }
    fields.value::<Status>("expect").map_or(200, |status| status.0)
}

/// What means something where a single service is looked at.
const IN_SERVICES: Placeholders<'_> = Placeholders { service: Some(""), ..IN_GATES };
/// What means something where no service is.
pub(super) const IN_GATES: Placeholders<'_> =
    Placeholders { version: Some(""), environment: Some(""), service: None, project: Some(""), images: None };

/// Refuses placeholders that mean nothing in a text that may have braces of its own.
pub(super) fn placeholders(text: &str, place: Place, known: &Placeholders<'_>, errors: &Errors<'_>) {
    if let Err(message) = expand_words(text, known) {
        let help = "braces around other text than a lower-case word stay as they are";
        errors.add(place, message, Some(help.into()));
    }
}

/// Words in which the placeholders of a service may stand.
pub(super) fn phrases(fields: &mut Fields<'_, '_>, name: &'static str) -> Vec<String> {
    phrases_with(fields, name, &IN_SERVICES)
}

/// Words in which these placeholders may stand.
pub(super) fn phrases_with(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    known: &Placeholders<'_>,
) -> Vec<String> {
    let errors = fields.errors();
    let words = fields.words(name);
    words.iter().for_each(|(text, place)| placeholders(text, *place, known, errors));
    words.into_iter().map(|(text, _)| text).collect()
}

/// Pairs in whose values placeholders may stand.
pub(super) fn phrase_pairs(fields: &mut Fields<'_, '_>, name: &'static str) -> Vec<(String, String)> {
    let errors = fields.errors();
    fields
        .map(name)
        .iter()
        .filter_map(|(key, node)| {
            let text = scalar(node, &key.name, errors)?;
            placeholders(&text, node.place, &IN_SERVICES, errors);
            Some((key.name.clone(), text))
        })
        .collect()
}

/// A value of a pair; an empty text counts.
fn scalar(node: &Node, name: &str, errors: &Errors<'_>) -> Option<String> {
    match &node.content {
        Content::Scalar { text, quoted: false } if text.is_empty() => Some(String::new()),
        _ => text(node, name, errors),
    }
}

/// Pairs whose values are taken as they are.
pub(super) fn pairs(entries: &[(Key, Node)], errors: &Errors<'_>) -> Vec<(String, String)> {
    entries
        .iter()
        .filter_map(|(key, node)| Some((key.name.clone(), scalar(node, &key.name, errors)?)))
        .collect()
}
