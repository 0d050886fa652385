//! What the server refuses of pods and of those that make them, as far as it is played.

use maily_core::{model::Quantity, object::Object};
use serde_json::{Map, Value};

/// Fields of a container, also of one that starts first.
const CONTAINER: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
];

/// Fields of the specification of a kind that makes pods.
fn fields(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "Deployment" => &[
            "minReadySeconds",
            "paused",
            "progressDeadlineSeconds",
            "replicas",
            "revisionHistoryLimit",
            "selector",
            "strategy",
            "template",
        ],
        "StatefulSet" => &[
            "minReadySeconds",
            "ordinals",
            "persistentVolumeClaimRetentionPolicy",
            "podManagementPolicy",
            "replicas",
            "revisionHistoryLimit",
            "selector",
            "serviceName",
            "template",
            "updateStrategy",
            "volumeClaimTemplates",
        ],
        "DaemonSet" => &["minReadySeconds", "revisionHistoryLimit", "selector", "template", "updateStrategy"],
        _ => return None,
    })
}

/// Why an applied object does not fit the schema of its kind, if it does not.
pub(super) fn unknown(object: &Object) -> Option<String> {
    let known = fields(object.kind())?;
    let spec = object.at("/spec")?.as_object()?;
    if let Some(field) = spec.keys().find(|field| !known.contains(&&***field)) {
        return Some(format!(".spec.{field}: field not declared in schema"));
    }
    if let Some(replicas) = spec.get("replicas").filter(|value| !value.is_null() && !value.is_i64()) {
        let found = match replicas {
            Value::String(_) => "string",
            Value::Object(_) => "map",
            Value::Array(_) => "list",
            Value::Bool(_) => "boolean",
            _ => "float",
        };
        return Some(format!(".spec.replicas: expected numeric (int or float), got {found}"));
    }
    containers(object).find_map(|(list, container)| {
        let field = container.keys().find(|field| !CONTAINER.contains(&&***field))?;
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        let path = format!(".spec.template.spec.{list}[name=\"{name}\"].{field}");
        Some(format!("{path}: field not declared in schema"))
    })
}

/// Why an object that fits its schema is refused, if it is.
pub(super) fn invalid(object: &Object) -> Option<String> {
    fields(object.kind())?;
    if let Some(replicas) = object.at("/spec/replicas").and_then(Value::as_i64).filter(|number| *number < 0) {
        let rule = "must be greater than or equal to 0";
        return Some(format!("spec.replicas: Invalid value: {replicas}: {rule}"));
    }
    let volumes = object.items("/spec/template/spec/volumes");
    let claims = object.items("/spec/volumeClaimTemplates");
    let is_volume = |name: &str| {
        volumes.iter().any(|volume| name_of(volume) == Some(name))
            || claims.iter().any(|claim| claim["metadata"]["name"] == *name)
    };
    containers(object).find_map(|(list, container)| {
        let at = format!("spec.template.spec.{list}");
        if container.get("image").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Some(format!("{at}.image: Required value"));
        }
        ports(container)
            .map(|why| format!("{at}.ports{why}"))
            .or_else(|| resources(container).map(|why| format!("{at}.resources{why}")))
            .or_else(|| {
                let mounts = container.get("volumeMounts").and_then(Value::as_array)?;
                let lost = mounts.iter().filter_map(name_of).find(|name| !is_volume(name))?;
                Some(format!("{at}.volumeMounts.name: Not found: \"{lost}\""))
            })
    })
}

/// The name of an entry of a list.
fn name_of(entry: &Value) -> Option<&str> {
    entry.get("name").and_then(Value::as_str)
}

/// Containers with the list in which each stands.
fn containers(object: &Object) -> impl Iterator<Item = (&'static str, &Map<String, Value>)> {
    ["containers", "initContainers"].into_iter().flat_map(|list| {
        let items = object.items(&format!("/spec/template/spec/{list}"));
        items.iter().filter_map(move |container| Some((list, container.as_object()?)))
    })
}

fn ports(container: &Map<String, Value>) -> Option<String> {
    let ports = container.get("ports").and_then(Value::as_array)?;
    let numbers = ports.iter().filter_map(|port| port.get("containerPort").and_then(Value::as_i64));
    let wrong = numbers.into_iter().find(|number| !(1..=65535).contains(number))?;
    let rule = "must be between 1 and 65535, inclusive";
    Some(format!(".containerPort: Invalid value: {wrong}: {rule}"))
}

/// A request is at most its limit.
fn resources(container: &Map<String, Value>) -> Option<String> {
    let resources = container.get("resources")?;
    let amount = |value: &Value| match value {
        Value::String(text) => text.parse::<Quantity>().ok().map(|amount| amount.value()),
        number => number.as_f64(),
    };
    let requests = resources.get("requests").and_then(Value::as_object)?;
    requests.iter().find_map(|(name, request)| {
        let limit = resources.get("limits")?.get(name)?;
        let above = amount(request)? > amount(limit)?;
        let told = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rule = format!("must be less than or equal to {name} limit of {}", told(limit));
        above.then(|| format!(".requests: Invalid value: \"{}\": {rule}", told(request)))
    })
}
