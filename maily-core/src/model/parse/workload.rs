//! A workload that the file describes itself.

use super::{
    super::{
        Percent, Port, ServiceName,
        fields::{Errors, Fields, text, value},
        workload::{self, VolumeSource},
    },
    amount::range,
    data::{DATA_KEY, config_is_free, data_key, files},
    ingress::ingress,
    service::{phrase_pairs, phrases},
    volume::volumes,
};
use crate::yaml::{Content, Node, Place, to_json};

pub(super) fn workload_of(node: &Node, errors: &Errors<'_>) -> Option<workload::Workload> {
    let mut fields = Fields::of(node, "a workload", errors)?;
    let port = fields.value::<Port>("port").map(|port| port.0);
    let ports = ports(&mut fields, port);
    let volumes = volumes(&mut fields);
    let scale = of_volumes(&volumes, fields.take("scale"), errors);
    let workload = workload::Workload {
        name: label(&mut fields, "name"),
        image: fields.text("image").map(|(text, _)| text),
        port,
        ports,
        command: phrases(&mut fields, "command"),
        args: phrases(&mut fields, "args"),
        cpu: range(&mut fields, "cpu", "100m..500m"),
        memory: range(&mut fields, "memory", "128Mi..256Mi"),
        scale,
        health: fields.take("health").map(|node| health(node, errors)).unwrap_or_default(),
        env: phrase_pairs(&mut fields, "env"),
        secrets: secrets(&mut fields),
        config: files(&mut fields),
        volumes,
        ingress: fields.take("ingress").and_then(|node| ingress(node, errors)),
        permissions: permissions(&mut fields),
        talks_to: fields
            .key_place("talks-to")
            .map(|_| fields.words("talks-to").into_iter().map(|(text, _)| text).collect()),
        patch: patch(&mut fields),
    };
    // A misspelt port explains a missing one already.
    if node.get("port").is_none() {
        without_port(&workload, node, errors);
    }
    environment_names(&workload.env, &workload.secrets, node, errors);
    if !workload.config.is_empty() && workload.volumes.iter().any(|volume| volume.name == "config") {
        let help = "give the volume another name: `config` holds the files of `config`";
        errors.add(node.place, "volume `config` stands twice", Some(help.into()));
    }
    config_is_free(&workload, node, errors);
    fields.finish_with(SYNONYMS);
    Some(workload)
}

/// What others call it.
const SYNONYMS: &[(&str, &str)] = &[
    ("replicas", "`scale: 3`"),
    ("autoscaling", "`scale: {range: 2..20, cpu: 70%}`"),
    ("hpa", "`scale: {range: 2..20, cpu: 70%}`"),
    ("resources", "`cpu: 250m..1` and `memory: 512Mi..1Gi`"),
    ("limits", "`cpu: 250m..1` and `memory: 512Mi..1Gi`"),
    ("requests", "`cpu: 250m..1` and `memory: 512Mi..1Gi`"),
    ("probes", "`health: {ready: /PATH, live: /PATH}`"),
    ("readinessProbe", "`health: {ready: /PATH}`"),
    ("livenessProbe", "`health: {live: /PATH}`"),
    ("environment", "`env: {NAME: VALUE}`"),
    ("containerPort", "`port: 8080`"),
    ("networkPolicy", "`talks-to: [SERVICE]`"),
    ("pdb", "`patch: {PodDisruptionBudget: {…}}`"),
    ("serviceAccount", "`permissions`, and `patch: {ServiceAccount: {…}}`"),
    ("host", "`ingress: {host: NAME}`"),
];

/// What a worker without a port cannot have.
fn without_port(workload: &workload::Workload, node: &Node, errors: &Errors<'_>) {
    let given =
        [("ingress", workload.ingress.is_some()), ("health", workload.health != workload::Health::default())];
    for (key, _) in given.iter().filter(|(_, given)| *given) {
        let place = node.get(key).map_or(node.place, |node| node.place);
        errors.add(place, format!("`{key}` needs a port"), Some("write `port: 8080`".into()));
    }
}

/// A name as Kubernetes demands it of most objects.
fn label(fields: &mut Fields<'_, '_>, name: &'static str) -> Option<String> {
    let (text, place) = fields.text(name)?;
    match text.parse::<ServiceName>() {
        Ok(_) => Some(text),
        Err(_) => {
            let help = "write 1 to 63 lower-case letters, digits and `-`, not at the ends";
            fields.errors().add(place, format!("`{name}`: `{text}` is no name"), Some(help.into()));
            None
        }
    }
}

/// Names of objects that exist already may have dots.
pub(super) fn object_name(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.split('.').all(|part| part.parse::<ServiceName>().is_ok())
}

pub(super) fn existing(fields: &mut Fields<'_, '_>, name: &'static str) -> Option<String> {
    let (text, place) = fields.text(name)?;
    if object_name(&text) {
        return Some(text);
    }
    fields.errors().add(place, format!("`{name}`: `{text}` is no name of an object"), None);
    None
}

fn ports(fields: &mut Fields<'_, '_>, first: Option<u16>) -> Vec<(String, u16)> {
    let errors = fields.errors();
    let mut found: Vec<(String, u16)> = Vec::new();
    for (key, node) in fields.map("ports") {
        // Rule of IANA service names, which the API server checks.
        let fits = key.name.len() <= 15
            && key.name.parse::<ServiceName>().is_ok()
            && !key.name.contains("--")
            && key.name.bytes().any(|b| b.is_ascii_lowercase());
        if !fits || key.name == "http" {
            let help = "up to 15 lower-case letters, digits and `-`; `http` is the one of `port`";
            errors.add(key.place, format!("`{}` is no name of a further port", key.name), Some(help.into()));
        }
        if let Some(port) = value::<Port>(node, &key.name, errors) {
            // A Service has each number once.
            if first == Some(port.0) || found.iter().any(|(_, other)| *other == port.0) {
                let help = "give each port a number of its own, or take one of them out";
                errors.add(node.place, format!("port {} stands twice", port.0), Some(help.into()));
            }
            found.push((key.name.clone(), port.0));
        }
    }
    found
}

/// Names of variables, each once.
pub(super) fn environment_names(
    env: &[(String, String)],
    secrets: &[(String, workload::SecretRef)],
    node: &Node,
    errors: &Errors<'_>,
) {
    let names = env.iter().map(|(name, _)| ("env", name));
    let names = names.chain(secrets.iter().map(|(name, _)| ("secrets", name)));
    for (under, name) in names {
        let place = node.get(under).and_then(|map| map.get(name)).map_or(node.place, |node| node.place);
        let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !fits || name.is_empty() || *name == "." || name.starts_with("..") {
            let help = "letters, digits, `_`, `-` and `.`, not beginning with a digit or `..`";
            errors.add(place, format!("`{name}` is no name of a variable"), Some(help.into()));
        }
        if under == "secrets" && env.iter().any(|(other, _)| other == name) {
            errors.add(place, format!("`{name}` stands under `env` and under `secrets`"), None);
        }
    }
}

/// Changes of the rendered objects, by kind.
fn patch(fields: &mut Fields<'_, '_>) -> Vec<(String, serde_json::Value)> {
    let errors = fields.errors();
    let mut found = Vec::new();
    for (key, node) in fields.map("patch") {
        match &node.content {
            Content::Map(_) => {}
            _ if node.is_null() && key.name == "Deployment" => errors.add(
                node.place,
                "a workload without its Deployment would be nothing that serves",
                Some("take this line out, or the whole service".into()),
            ),
            _ if node.is_null() => {}
            _ => errors.add(
                node.place,
                format!("the patch of `{}` is a map, or `null` to take the object out", key.name),
                None,
            ),
        }
        for identity in ["apiVersion", "kind"] {
            if let Some(node) = node.get(identity) {
                errors.add(node.place, format!("a patch cannot change `{identity}`"), None);
            }
        }
        for identity in ["name", "namespace"] {
            if let Some(node) = node.get("metadata").and_then(|metadata| metadata.get(identity)) {
                errors.add(node.place, format!("a patch cannot change `metadata.{identity}`"), None);
            }
        }
        found.push((key.name.clone(), to_json(node)));
    }
    found
}

/// The API counts replicas in 32 bits with a sign.
const MOST_REPLICAS: u32 = i32::MAX as u32;

pub(super) fn scale(node: &Node, errors: &Errors<'_>) -> Option<workload::Scale> {
    let share = node.get("cpu");
    let (range, cpu) = match &node.content {
        Content::Map(_) => {
            let mut fields = Fields::of(node, "a scale", errors)?;
            let range = fields.text("range");
            let cpu = fields.value("cpu").unwrap_or(Percent(70));
            fields.finish();
            (range, cpu)
        }
        _ => (Some((text(node, "scale", errors)?, node.place)), Percent(70)),
    };
    let Some((range, place)) = range else {
        errors.add(node.place, "the range is missing", Some("write `range: 2..20`".into()));
        return None;
    };
    let parsed = match range.split_once("..") {
        None => range.parse().ok().filter(|number| *number <= MOST_REPLICAS).map(workload::Scale::Fixed),
        Some((min, max)) => match (min.parse::<u32>(), max.parse::<u32>()) {
            (Ok(min), Ok(max)) if min >= 1 && min <= max && max <= MOST_REPLICAS => {
                Some(workload::Scale::Range { min, max, cpu })
            }
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
    if let (Some(workload::Scale::Fixed(_)), Some(share)) = (&parsed, share) {
        let help = "write a range, such as `2..20`, or take it out";
        errors.add(share.place, "`cpu` belongs to a range of replicas", Some(help.into()));
    }
    parsed
}

/// How many pods there are: one where a volume is held by one node, because a second one may be put on another.
fn of_volumes(volumes: &[workload::Volume], node: Option<&Node>, errors: &Errors<'_>) -> workload::Scale {
    let held = volumes.iter().find(|volume| matches!(volume.source, VolumeSource::Own { many: false, .. }));
    let asked = node.and_then(|node| Some((scale(node, errors)?, node.place)));
    let (Some(volume), Some((asked, place))) = (held, &asked) else {
        return asked.map_or(workload::Scale::Fixed(if held.is_some() { 1 } else { 2 }), |(asked, _)| asked);
    };
    if !matches!(asked, workload::Scale::Fixed(0 | 1)) {
        let message =
            format!("volume `{}` is held by one node, and pods on others would wait for it", volume.name);
        let help = "write `scale: 1`, or `access: many-nodes` where the storage class has that";
        errors.add(*place, message, Some(help.into()));
    }
    asked.clone()
}

pub(super) fn health(node: &Node, errors: &Errors<'_>) -> workload::Health {
    let Some(mut fields) = Fields::of(node, "health", errors) else { return workload::Health::default() };
    let health = workload::Health {
        ready: path(&mut fields, "ready"),
        live: path(&mut fields, "live"),
        start: path(&mut fields, "start"),
    };
    fields.finish();
    health
}

/// An absolute path.
pub(super) fn path(fields: &mut Fields<'_, '_>, name: &'static str) -> Option<String> {
    let (text, place) = fields.text(name)?;
    if text.starts_with('/') {
        return Some(text);
    }
    let help = format!("write `{name}: /{text}`");
    fields.errors().add(place, format!("`{name}`: `{text}` is no path"), Some(help));
    None
}

pub(super) fn secrets(fields: &mut Fields<'_, '_>) -> Vec<(String, workload::SecretRef)> {
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
            Some((name, part)) if object_name(name) && !part.is_empty() => {
                if !data_key(part) {
                    errors.add(node.place, format!("`{part}` is no key of a Secret"), Some(DATA_KEY.into()));
                }
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

pub(super) fn permissions(fields: &mut Fields<'_, '_>) -> Vec<workload::Permission> {
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
            if resources.is_empty() || verbs.is_empty() {
                let help = "write `{resources: [pods], verbs: [get]}`";
                errors.add(item.place, "a permission has `resources` and `verbs`", Some(help.into()));
            }
            fields.finish();
            Some(workload::Permission { group, resources, verbs })
        })
        .collect()
}
