//! From text to a project, with every error at once.

use std::path::PathBuf;

use indexmap::IndexMap;

use super::{
    EnvironmentName, GateName, PhaseName, ProjectErrors, ProjectName, Seconds, ServiceName,
    fields::{Errors, Fields, nearest, text, value},
    project::{
        Approval, Bundle, ClusterBinding, Environment, Gate, GateLook, HelmChart, Phase, Project, Selection,
    },
    service::{Check, JobSource, Service, Source},
    workload,
};
use crate::{
    provider::ClusterIdentity,
    yaml::{Content, Limits, Node, Place, parse},
};

const LIMITS: Limits =
    Limits { bytes: 4 * 1024 * 1024, nodes: 200_000, depth: 32, documents: 1, aliases: false };
/// Keys of later parts that have their place already.
const LATER_TOP: &[&str] = &["secrets", "backups", "freeze"];
const LATER_SERVICE: &[&str] = &["flags", "monitors", "slo"];

impl Project {
    /// Reads a project from text. `origin` names the text in errors.
    ///
    /// # Errors
    /// All errors at once.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ProjectErrors> {
        let documents = parse(origin, text, LIMITS).map_err(|error| ProjectErrors(vec![*error]))?;
        let errors = Errors::new(origin, text);
        let project = match documents.first() {
            Some(root) => read(root, &errors, origin, text),
            None => {
                errors.add(
                    Place { line: 1, column: 1, width: 1 },
                    "the file is empty",
                    Some("`mailyctl init` writes one".into()),
                );
                None
            }
        };
        errors.into_result(project)
    }
}

fn read(root: &Node, errors: &Errors<'_>, origin: &str, text: &str) -> Option<Project> {
    let mut fields = Fields::of(root, "the project file", errors)?;
    match fields.text("maily") {
        Some((version, _)) if version == "1" => {}
        Some((version, place)) => {
            errors.add(
                place,
                format!("format `{version}` is unknown; this version of maily reads format 1"),
                None,
            );
        }
        None => {
            errors.add(fields.place(), "the format is missing", Some("write `maily: 1` at the top".into()))
        }
    }
    let name = fields.value::<ProjectName>("project");
    if name.is_none() && fields.key_place("project").is_none() {
        errors.add(fields.place(), "the project's name is missing", Some("write `project: NAME`".into()));
    }
    let images = fields.text("images").map(|(text, _)| text);
    let strict = fields.flag("strict").unwrap_or(false);
    let environments = environments(&mut fields, name.as_deref().unwrap_or("default"));
    let raw: IndexMap<ServiceName, Node> = named(fields.map("services"), errors);
    let services: IndexMap<ServiceName, Service> =
        raw.iter().filter_map(|(name, node)| Some((name.clone(), service(name, node, errors)?))).collect();
    let sources: IndexMap<_, _> = named(fields.map("sources"), errors)
        .into_iter()
        .filter_map(|(name, node)| Some((name, bundle_of(&node, errors)?)))
        .collect();
    let data: Vec<String> = fields.map("data").iter().map(|(key, _)| key.name.clone()).collect();
    let gates = gates(&mut fields);
    let phases_node = fields.take("phases");
    fields.not_yet(LATER_TOP);
    fields.finish();
    // A service that an environment changes must be right there, too.
    for environment in environments.values() {
        for (service_name, change) in &environment.services {
            match raw.get(service_name) {
                Some(base) => {
                    let _ = service(service_name, &merge(base, change), errors);
                }
                None => unknown(errors, change.place, "service", service_name, raw.keys().map(|k| &**k)),
            }
        }
    }
    let project = Project {
        name: name?,
        images,
        strict,
        environments,
        services,
        sources,
        data,
        phases: Vec::new(),
        gates,
        root: PathBuf::new(),
        raw,
        origin: origin.to_owned(),
        text: text.to_owned(),
    };
    let phases = match phases_node {
        Some(node) => phases(node, &project, errors),
        None => default_phases(&project),
    };
    let project = Project { phases, ..project };
    references(&project, errors);
    Some(project)
}

/// Entries of a map whose keys are names.
fn named<N>(entries: &[(crate::yaml::Key, Node)], errors: &Errors<'_>) -> IndexMap<N, Node>
where
    N: std::str::FromStr<Err = super::NameError> + Eq + std::hash::Hash,
{
    entries
        .iter()
        .filter_map(|(key, node)| match key.name.parse() {
            Ok(name) => Some((name, node.clone())),
            Err(error) => {
                let error: super::NameError = error;
                errors.add(key.place, error.to_string(), None);
                None
            }
        })
        .collect()
}

fn unknown<'k>(
    errors: &Errors<'_>,
    place: Place,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) {
    let help = nearest(name, known.clone()).or_else(|| {
        let known: Vec<&str> = known.take(12).collect();
        (!known.is_empty()).then(|| format!("there are {}", known.join(", ")))
    });
    errors.add(place, format!("unknown {what} `{name}`"), help);
}

fn environments(fields: &mut Fields<'_, '_>, project: &str) -> IndexMap<EnvironmentName, Environment> {
    let errors = fields.errors();
    let mut environments = IndexMap::new();
    for (name, node) in named::<EnvironmentName>(fields.map("environments"), errors) {
        let Some(mut fields) = Fields::of(&node, "an environment", errors) else { continue };
        let cluster = fields.take("cluster").map(|node| cluster(node, errors)).unwrap_or_default();
        let namespace = fields
            .text("namespace")
            .and_then(|(text, place)| match text.parse::<EnvironmentName>() {
                Ok(_) => Some(text),
                Err(_) => {
                    errors.add(place, format!("`{text}` is no name of a namespace"), None);
                    None
                }
            })
            .unwrap_or_else(|| project.to_owned());
        let approval = match fields.text("approval") {
            None => Approval::None,
            Some((text, _)) if text == "required" => Approval::Required,
            Some((text, _)) if text == "none" => Approval::None,
            Some((text, place)) => {
                errors.add(place, format!("`approval` is `required` or `none`, not `{text}`"), None);
                Approval::None
            }
        };
        let services = named::<ServiceName>(fields.map("services"), errors).into_iter().collect();
        fields.finish();
        environments.insert(name.clone(), Environment { name, cluster, namespace, approval, services });
    }
    environments
}

fn cluster(node: &Node, errors: &Errors<'_>) -> ClusterBinding {
    let Some(mut fields) = Fields::of(node, "a cluster", errors) else { return ClusterBinding::default() };
    let context = fields.text("context").map(|(text, _)| text);
    let identity = fields.take("identity").and_then(|node| {
        let mut fields = Fields::of(node, "an identity", errors)?;
        let uid = fields.text("uid").map(|(text, _)| text);
        let ca = fields
            .text("ca")
            .map(|(text, _)| text.trim_start_matches("sha256:").to_owned())
            .unwrap_or_default();
        let place = fields.place();
        fields.finish();
        match uid {
            Some(uid) => Some(ClusterIdentity { uid, ca }),
            None => {
                errors.add(place, "the identity has no `uid`", Some("`mailyctl env bind` writes it".into()));
                None
            }
        }
    });
    fields.finish();
    ClusterBinding { context, identity }
}

/// A service by its node.
pub(super) fn service(name: &ServiceName, node: &Node, errors: &Errors<'_>) -> Option<Service> {
    let mut fields = Fields::of(node, "a service", errors)?;
    let aliases = fields.words("aliases").into_iter().map(|(text, _)| text).collect();
    let critical = fields.flag("critical").unwrap_or(false);
    let needs = fields
        .words("needs")
        .into_iter()
        .filter_map(|(text, place)| name_at::<ServiceName>(&text, place, errors))
        .collect();
    let image = fields.text("image").map(|(text, _)| text);
    let timeout = fields.value::<Seconds>("timeout");
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
    if (service.before.is_some() || service.after.is_some()) && !matches!(service.source, Source::Job(_)) {
        errors.add(node.place, "only a `job` runs before or after another service", None);
    }
    Some(service)
}

const SOURCES: &[&str] = &["workload", "job", "manifests", "kustomize", "helm", "vercel", "from"];

fn source(fields: &mut Fields<'_, '_>) -> Option<Source> {
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

fn bundle_of(node: &Node, errors: &Errors<'_>) -> Option<Bundle> {
    let mut fields = Fields::of(node, "a source", errors)?;
    let bundle = bundle(&mut fields);
    if bundle.is_none() {
        errors.add(node.place, "a source is one of `manifests`, `kustomize`, `helm`", None);
    }
    fields.finish();
    bundle
}

fn bundle(fields: &mut Fields<'_, '_>) -> Option<Bundle> {
    let errors = fields.errors();
    let manifests = fields.text("manifests").map(|(path, _)| Bundle::Manifests(path));
    let kustomize = fields.text("kustomize").map(|(path, _)| Bundle::Kustomize(path));
    let helm = fields.take("helm").and_then(|node| {
        let mut fields = Fields::of(node, "a chart", errors)?;
        let chart = fields.text("chart").map(|(text, _)| text);
        let release = fields.text("release").map(|(text, _)| text);
        let values = fields.words("values").into_iter().map(|(text, _)| text).collect();
        if chart.is_none() {
            errors.add(node.place, "the chart is missing", Some("write `chart: FOLDER`".into()));
        }
        fields.finish();
        Some(Bundle::Helm(HelmChart { chart: chart?, release, values }))
    });
    manifests.or(kustomize).or(helm)
}

fn name_at<N: std::str::FromStr<Err = super::NameError>>(
    text: &str,
    place: Place,
    errors: &Errors<'_>,
) -> Option<N> {
    text.parse().map_err(|error: super::NameError| errors.add(place, error.to_string(), None)).ok()
}

fn checks(fields: &mut Fields<'_, '_>) -> Vec<Check> {
    let errors = fields.errors();
    let Some(node) = fields.take("checks") else { return Vec::new() };
    let Content::List(items) = &node.content else {
        errors.add(node.place, "`checks` is a list", Some("write `checks: [{http: /health}]`".into()));
        return Vec::new();
    };
    items.iter().filter_map(|item| check(item, errors)).collect()
}

fn check(node: &Node, errors: &Errors<'_>) -> Option<Check> {
    let mut fields = Fields::of(node, "a check", errors)?;
    let url = fields.text("http").map(|(text, _)| text);
    let expect = fields.value::<u16>("expect").unwrap_or(200);
    let command: Vec<String> = fields.words("command").into_iter().map(|(text, _)| text).collect();
    fields.finish();
    match (url, command.is_empty()) {
        (Some(url), true) => Some(Check::Http { url, expect }),
        (None, false) => Some(Check::Command(command)),
        _ => {
            errors.add(node.place, "a check is either `http` or `command`", None);
            None
        }
    }
}

fn job(node: &Node, errors: &Errors<'_>) -> Option<JobSource> {
    let mut fields = Fields::of(node, "a job", errors)?;
    let image = fields.text("image").map(|(text, _)| text);
    let words = |list: Vec<(String, Place)>| list.into_iter().map(|(text, _)| text).collect::<Vec<_>>();
    let command = words(fields.words("command"));
    let args = words(fields.words("args"));
    let undo = words(fields.words("undo"));
    let env = pairs(&mut fields, "env");
    let timeout = fields.value("timeout");
    fields.finish();
    Some(JobSource { image, command, args, undo: (!undo.is_empty()).then_some(undo), env, timeout })
}

fn pairs(fields: &mut Fields<'_, '_>, name: &'static str) -> Vec<(String, String)> {
    let errors = fields.errors();
    fields
        .map(name)
        .iter()
        .filter_map(|(key, node)| Some((key.name.clone(), text(node, &key.name, errors)?)))
        .collect()
}

fn workload_of(node: &Node, errors: &Errors<'_>) -> Option<workload::Workload> {
    let mut fields = Fields::of(node, "a workload", errors)?;
    let words = |list: Vec<(String, Place)>| list.into_iter().map(|(text, _)| text).collect::<Vec<_>>();
    let workload = workload::Workload {
        name: fields.text("name").map(|(text, _)| text),
        image: fields.text("image").map(|(text, _)| text),
        port: fields.value("port"),
        command: words(fields.words("command")),
        args: words(fields.words("args")),
        cpu: range(&mut fields, "cpu", "100m..500m"),
        memory: range(&mut fields, "memory", "128Mi..256Mi"),
        scale: fields.take("scale").and_then(|node| scale(node, errors)).unwrap_or(workload::Scale::Fixed(2)),
        health: fields.take("health").map(|node| health(node, errors)).unwrap_or_default(),
        env: pairs(&mut fields, "env"),
        secrets: secrets(&mut fields),
        config: pairs(&mut fields, "config"),
        volumes: volumes(&mut fields),
        ingress: fields.take("ingress").and_then(|node| ingress(node, errors)),
        permissions: permissions(&mut fields),
        talks_to: fields.key_place("talks-to").map(|_| words(fields.words("talks-to"))),
    };
    fields.finish();
    Some(workload)
}

fn range(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    default: &str,
) -> (super::Quantity, super::Quantity) {
    let split = |text: &str| -> Result<(super::Quantity, super::Quantity), String> {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let low: super::Quantity =
            low.parse().map_err(|error: super::quantity::QuantityError| error.to_string())?;
        let high: super::Quantity =
            high.parse().map_err(|error: super::quantity::QuantityError| error.to_string())?;
        if low.value() > high.value() {
            Err(format!("`{text}`: the request is above the limit"))
        } else {
            Ok((low, high))
        }
    };
    let fallback = || split(default).expect("the default is a range");
    let Some((text, place)) = fields.text(name) else { return fallback() };
    if name == "memory" && text.bytes().all(|b| b.is_ascii_digit()) {
        fields.errors().add(
            place,
            "`memory` has no unit",
            Some(format!("write `{text}Mi`, if that is meant")),
        );
        return fallback();
    }
    split(&text).unwrap_or_else(|message| {
        fields.errors().add(
            place,
            format!("`{name}`: {message}"),
            Some("write request..limit, like `250m..1`".into()),
        );
        fallback()
    })
}

fn scale(node: &Node, errors: &Errors<'_>) -> Option<workload::Scale> {
    let (range, cpu) = match &node.content {
        Content::Map(_) => {
            let mut fields = Fields::of(node, "a scale", errors)?;
            let range = fields.text("range");
            let cpu = fields.value("cpu").unwrap_or(super::Percent(70));
            fields.finish();
            (range, cpu)
        }
        _ => (Some((text(node, "scale", errors)?, node.place)), super::Percent(70)),
    };
    let Some((range, place)) = range else {
        errors.add(node.place, "the range is missing", Some("write `range: 2..20`".into()));
        return None;
    };
    let parsed = match range.split_once("..") {
        None => range.parse().ok().map(workload::Scale::Fixed),
        Some((min, max)) => match (min.parse::<u32>(), max.parse::<u32>()) {
            (Ok(min), Ok(max)) if min >= 1 && min <= max => Some(workload::Scale::Range { min, max, cpu }),
            _ => None,
        },
    };
    if parsed.is_none() {
        errors.add(
            place,
            format!("`{range}` is no number of replicas"),
            Some("write `3`, or `2..20` for an autoscaler".into()),
        );
    }
    parsed
}

fn health(node: &Node, errors: &Errors<'_>) -> workload::Health {
    let Some(mut fields) = Fields::of(node, "health", errors) else { return workload::Health::default() };
    let health = workload::Health {
        ready: fields.text("ready").map(|(text, _)| text),
        live: fields.text("live").map(|(text, _)| text),
    };
    fields.finish();
    health
}

fn secrets(fields: &mut Fields<'_, '_>) -> Vec<(String, workload::SecretRef)> {
    let errors = fields.errors();
    let mut found = Vec::new();
    for (key, node) in fields.map("secrets") {
        let Some(text) = text(node, &key.name, errors) else { continue };
        if text.starts_with("vault:") {
            let help = "refer to a Secret of the cluster: `secret:NAME#KEY`";
            errors.add(node.place, "`vault:` references are not there yet", Some(help.into()));
            continue;
        }
        match text.strip_prefix("secret:").and_then(|rest| rest.split_once('#')) {
            Some((name, part)) if !name.is_empty() && !part.is_empty() => {
                let (name, part) = (name.to_owned(), part.to_owned());
                found.push((key.name.clone(), workload::SecretRef { name, key: part }));
            }
            _ => errors.add(
                node.place,
                format!("`{text}` refers to no Secret"),
                Some("write `secret:NAME#KEY`".into()),
            ),
        }
    }
    found
}

fn volumes(fields: &mut Fields<'_, '_>) -> Vec<workload::Volume> {
    let errors = fields.errors();
    let mut found = Vec::new();
    for (key, node) in fields.map("volumes") {
        let Some(mut fields) = Fields::of(node, "a volume", errors) else { continue };
        let mount = fields.text("mount").map(|(text, _)| text);
        let size = fields.value("size");
        if mount.is_none() {
            errors.add(node.place, "the volume is mounted nowhere", Some("write `mount: /PATH`".into()));
        }
        fields.finish();
        if let Some(mount) = mount {
            found.push(workload::Volume { name: key.name.clone(), mount, size });
        }
    }
    found
}

fn ingress(node: &Node, errors: &Errors<'_>) -> Option<workload::Ingress> {
    let mut fields = Fields::of(node, "an ingress", errors)?;
    let host = fields.text("host").map(|(text, _)| text);
    let path = fields.text("path").map_or_else(|| "/".to_owned(), |(text, _)| text);
    let tls = fields.text("tls").map(|(text, _)| text);
    let class = fields.text("class").map(|(text, _)| text);
    let gateway = fields.text("gateway").map(|(text, _)| text);
    if host.is_none() {
        errors.add(node.place, "the host is missing", Some("write `host: api.example.com`".into()));
    }
    fields.finish();
    Some(workload::Ingress { host: host?, path, tls, class, gateway })
}

fn permissions(fields: &mut Fields<'_, '_>) -> Vec<workload::Permission> {
    let errors = fields.errors();
    let Some(node) = fields.take("permissions") else { return Vec::new() };
    let Content::List(items) = &node.content else {
        errors.add(
            node.place,
            "`permissions` is a list",
            Some("write `[{resources: [pods], verbs: [get]}]`".into()),
        );
        return Vec::new();
    };
    let words = |list: Vec<(String, Place)>| list.into_iter().map(|(text, _)| text).collect::<Vec<_>>();
    items
        .iter()
        .filter_map(|item| {
            let mut fields = Fields::of(item, "a permission", errors)?;
            let group = fields.text("group").map(|(text, _)| text).unwrap_or_default();
            let (resources, verbs) = (words(fields.words("resources")), words(fields.words("verbs")));
            fields.finish();
            Some(workload::Permission { group, resources, verbs })
        })
        .collect()
}

fn gates(fields: &mut Fields<'_, '_>) -> IndexMap<GateName, Gate> {
    let errors = fields.errors();
    let mut gates = IndexMap::new();
    for (name, node) in named::<GateName>(fields.map("gates"), errors) {
        let Some(mut fields) = Fields::of(&node, "a gate", errors) else { continue };
        let timeout = fields.value("timeout");
        let job = fields.take("job").and_then(|node| job(node, errors));
        let url = fields.text("http").map(|(text, _)| text);
        let expect = fields.value::<u16>("expect").unwrap_or(200);
        let command: Vec<String> = fields.words("command").into_iter().map(|(text, _)| text).collect();
        fields.finish();
        let timeout = timeout.or(job.as_ref().and_then(|job| job.timeout));
        let look = match (job, url, command.is_empty()) {
            (Some(job), None, true) => GateLook::Job(job),
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

fn phases(node: &Node, project: &Project, errors: &Errors<'_>) -> Vec<Phase> {
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

fn selection(node: &Node, project: &Project, errors: &Errors<'_>) -> Selection {
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
fn default_phases(project: &Project) -> Vec<Phase> {
    let phase = |name: &str, environment: &str, services: Selection| Phase {
        name: name.parse().expect("is a name"),
        environment: environment.parse().expect("is a name"),
        services,
        gates: Vec::new(),
    };
    let _ = project;
    vec![
        phase("staging", "staging", Selection::All),
        phase("non-critical", "production", Selection::NonCritical),
        phase("critical", "production", Selection::Critical),
    ]
}

/// What refers to something must find it.
fn references(project: &Project, errors: &Errors<'_>) {
    let known = || project.raw.keys().map(|k| &**k);
    for (name, service) in &project.services {
        let node = &project.raw[name];
        let place_of = |key: &str, word: &str| {
            node.get(key).map_or(node.place, |found| match &found.content {
                Content::List(items) => items
                    .iter()
                    .find(|item| matches!(&item.content, Content::Scalar { text, .. } if text == word))
                    .map_or(found.place, |item| item.place),
                _ => found.place,
            })
        };
        for need in &service.needs {
            let is_data = project.data.iter().any(|data| **data == **need);
            if !is_data && !project.raw.contains_key(need) {
                let candidates = known().chain(project.data.iter().map(String::as_str));
                unknown(
                    errors,
                    place_of("needs", need),
                    "service",
                    need,
                    candidates.collect::<Vec<_>>().into_iter(),
                );
            }
        }
        for (key, other) in [("before", &service.before), ("after", &service.after)] {
            if let Some(other) = other.as_ref().filter(|other| !project.raw.contains_key(*other)) {
                unknown(errors, place_of(key, other), "service", other, known());
            }
        }
        if let Source::From(source) = &service.source
            && !project.sources.contains_key(source)
        {
            unknown(errors, place_of("from", source), "source", source, project.sources.keys().map(|k| &**k));
        }
        if let Some(path) = circle(project, name) {
            let place = place_of("needs", &path[1]);
            errors.add(
                place,
                format!("needs form a cycle: {}", path.join(" -> ")),
                Some("drop one of the needs".into()),
            );
        }
    }
}

/// A way from a service back to itself, told once: at its first name.
fn circle(project: &Project, start: &ServiceName) -> Option<Vec<String>> {
    fn walk(project: &Project, at: &ServiceName, start: &ServiceName, path: &mut Vec<String>) -> bool {
        let Some(service) = project.services.get(at) else { return false };
        for need in &service.needs {
            if need == start {
                path.push(need.to_string());
                return true;
            }
            if path.iter().any(|seen| **seen == **need) {
                continue;
            }
            path.push(need.to_string());
            if walk(project, need, start, path) {
                return true;
            }
            path.pop();
        }
        false
    }
    let mut path = vec![start.to_string()];
    let found = walk(project, start, start, &mut path);
    let first = path.iter().min().is_some_and(|first| **first == **start);
    (found && first).then_some(path)
}

/// One map over another: maps are merged, everything else is replaced.
pub(super) fn merge(base: &Node, change: &Node) -> Node {
    match (&base.content, &change.content) {
        (Content::Map(base_entries), Content::Map(changes)) => {
            let mut entries = base_entries.clone();
            for (key, node) in changes {
                match entries.iter_mut().find(|(known, _)| known.name == key.name) {
                    Some((_, known)) => *known = merge(known, node),
                    None => entries.push((key.clone(), node.clone())),
                }
            }
            Node { place: change.place, content: Content::Map(entries) }
        }
        _ => change.clone(),
    }
}
