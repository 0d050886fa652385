//! ConfigMaps and Secrets that pods refer to, and that neither the plan brings nor the cluster has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::wanted::{Look, Wanted};
use crate::{
    engine::Note,
    object::{Object, ObjectKey, ObjectKind},
    source::{Need, Reference, pod_references},
};

/// Every namespace has it, as soon as its controller has seen the namespace.
const OF_THE_CLUSTER: &str = "kube-root-ca.crt";

/// What pods of this plan cannot be without and the plan does not bring, each with who refers to it.
fn foreign(wanted: &Wanted) -> BTreeMap<ObjectKey, Vec<(&Object, Reference<'_>)>> {
    let services = wanted.services.values().flat_map(|service| &service.objects);
    let objects: Vec<&Object> = services.chain(&wanted.shared).collect();
    unbrought(&objects, workloads(wanted))
}

/// What pods of these workloads cannot be without and none of the objects is.
fn unbrought<'a>(
    objects: &[&'a Object],
    workloads: impl Iterator<Item = &'a Object>,
) -> BTreeMap<ObjectKey, Vec<(&'a Object, Reference<'a>)>> {
    let brought: BTreeSet<&ObjectKey> = objects.iter().map(|object| object.key()).collect();
    let mut found: BTreeMap<ObjectKey, Vec<(&Object, Reference<'_>)>> = BTreeMap::new();
    for workload in workloads {
        for reference in pod_references(workload) {
            let is_content = matches!(reference.kind, "ConfigMap" | "Secret");
            if !is_content || reference.need == Need::Optional || reference.name == OF_THE_CLUSTER {
                continue;
            }
            let kind = ObjectKind::new("v1", reference.kind);
            let key = ObjectKey::new(kind, workload.namespace(), reference.name);
            if !brought.contains(&key) {
                found.entry(key).or_default().push((workload, reference));
            }
        }
    }
    // An operator may make it from one of these.
    let custom: Vec<&&Object> = objects.iter().filter(|object| is_custom(&object.key().kind)).collect();
    found.retain(|key, _| !custom.iter().any(|object| tells_of(object, &key.name)));
    found
}

/// What may start pods: services of the plan's phases with their jobs, gates, and what is shared.
fn workloads(wanted: &Wanted) -> impl Iterator<Item = &Object> {
    let services = wanted
        .phases
        .iter()
        .flat_map(|phase| &phase.services)
        .filter_map(move |name| wanted.services.get(name))
        .flat_map(|service| {
            let jobs = service.before.iter().chain(&service.after).map(|job| &job.job);
            service.objects.iter().chain(jobs)
        });
    let gates =
        wanted.phases.iter().flat_map(|phase| &phase.gates).filter_map(|(_, gate)| match &gate.look {
            Look::Job(job) => Some(job),
            Look::Probe(_) => None,
        });
    services.chain(gates).chain(&wanted.shared)
}

fn is_custom(kind: &ObjectKind) -> bool {
    kind.group().contains('.') && !kind.group().ends_with(".k8s.io")
}

/// Whether an object has this name, or names it.
fn tells_of(object: &Object, name: &str) -> bool {
    fn within(value: &Value, name: &str) -> bool {
        match value {
            Value::String(text) => text == name,
            Value::Array(items) => items.iter().any(|item| within(item, name)),
            Value::Object(map) => map.values().any(|value| within(value, name)),
            _ => false,
        }
    }
    object.body().values().any(|value| within(value, name))
}

/// What the cluster has to be asked for.
pub(crate) fn to_look_for(wanted: &Wanted) -> BTreeSet<ObjectKey> {
    foreign(wanted).into_keys().collect()
}

/// The same of objects and Jobs that are of no plan yet.
pub(crate) fn referred(objects: &[Object], jobs: &[Object]) -> BTreeSet<ObjectKey> {
    let all: Vec<&Object> = objects.iter().collect();
    unbrought(&all, objects.iter().chain(jobs)).into_keys().collect()
}

/// The resource of what is looked for, as roles name it.
pub(crate) fn resource(kind: &ObjectKind) -> String {
    format!("{}s", kind.kind.to_lowercase())
}

/// Notes on what the cluster may not be asked for.
pub(super) fn unseen(unseen: &BTreeSet<ObjectKey>) -> Vec<Note> {
    let mut by_kind: BTreeMap<(&ObjectKind, Option<&str>), Vec<String>> = BTreeMap::new();
    for key in unseen {
        by_kind.entry((&key.kind, key.namespace.as_deref())).or_default().push(format!("`{}`", key.name));
    }
    let of = |((kind, namespace), names): ((&ObjectKind, Option<&str>), Vec<String>)| {
        let place = namespace.map(|namespace| format!(" in namespace `{namespace}`")).unwrap_or_default();
        let text = format!(
            "these credentials may not look for {} {}, which pods need and this plan does not bring: whether it is there is \
             not known; allow `get` and `list` on `{}`{place}",
            kind.kind,
            names.join(", "),
            resource(kind)
        );
        Note { topic: "missing".to_owned(), text }
    };
    by_kind.into_iter().map(of).collect()
}

/// Notes on what the cluster was asked for and has not.
pub(super) fn notes(wanted: &Wanted, missing: &BTreeSet<ObjectKey>) -> Vec<Note> {
    if missing.is_empty() {
        return Vec::new();
    }
    let foreign = foreign(wanted);
    let of = |key: &ObjectKey| foreign.get(key).map(|readers| text(key, readers));
    missing.iter().filter_map(of).map(|text| Note { topic: "missing".to_owned(), text }).collect()
}

fn text(key: &ObjectKey, readers: &[(&Object, Reference<'_>)]) -> String {
    let names: BTreeSet<String> = readers.iter().map(|(workload, _)| workload.key().short()).collect();
    let (first, place) = readers
        .first()
        .map(|(workload, reference)| (workload.key().short(), reference.place.as_str()))
        .unwrap_or_default();
    let who = match names.len() {
        0 | 1 => format!("{first} reads"),
        more => format!("{first} and {} more read", more - 1),
    };
    let then = if readers.iter().all(|(_, reference)| reference.need == Need::Pull) {
        "images that ask for credentials cannot be pulled until it is there"
    } else {
        "pods do not start until it is there"
    };
    let (kind, name) = (&key.kind.kind, &key.name);
    format!("{who} {kind} `{name}` ({place}), which neither the cluster nor this plan has: {then}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::{
        Goal,
        planner::{WantedPhase, WantedService},
    };

    fn object(api_version: &str, kind: &str, name: &str, rest: Value) -> Object {
        let mut body = rest;
        body["apiVersion"] = json!(api_version);
        body["kind"] = json!(kind);
        body["metadata"] = json!({"name": name, "namespace": "shop"});
        Object::from_value(body).expect("an object")
    }

    fn deployment(name: &str, pod: Value) -> Object {
        object("apps/v1", "Deployment", name, json!({"spec": {"template": {"spec": pod}}}))
    }

    fn wanted(objects: Vec<Object>) -> Wanted {
        let service = WantedService { objects, ..WantedService::default() };
        Wanted {
            project: "shop".to_owned(),
            environment: "production".to_owned(),
            namespace: "shop".to_owned(),
            goal: Goal::Deploy { version: "v1".to_owned(), only: None },
            services: [("api".to_owned(), service)].into_iter().collect(),
            shared: Vec::new(),
            phases: vec![WantedPhase { services: vec!["api".to_owned()], ..WantedPhase::default() }],
            notes: Vec::new(),
            prune: BTreeSet::new(),
            prune_shared: false,
            left_out: Vec::new(),
        }
    }

    fn asked(wanted: &Wanted) -> Vec<String> {
        to_look_for(wanted).iter().map(ObjectKey::short).collect()
    }

    #[test]
    fn only_what_is_needed_and_comes_from_nowhere_is_looked_for() {
        let pod = json!({
            "containers": [{"name": "api", "envFrom": [
                {"configMapRef": {"name": "brought"}}, {"secretRef": {"name": "absent"}},
                {"secretRef": {"name": "may-be", "optional": true}}, {"secretRef": {"name": "operated"}},
            ]}],
            "volumes": [{"name": "ca", "configMap": {"name": "kube-root-ca.crt"}}],
            "imagePullSecrets": [{"name": "pull"}],
        });
        let operated = json!({"spec": {"target": {"name": "operated"}}});
        let wanted = wanted(vec![
            deployment("api", pod),
            object("v1", "ConfigMap", "brought", json!({})),
            object("external-secrets.io/v1", "ExternalSecret", "from-afar", operated),
        ]);
        assert_eq!(asked(&wanted), ["Secret/absent", "Secret/pull"]);
        let texts: Vec<String> =
            notes(&wanted, &to_look_for(&wanted)).into_iter().map(|note| note.text).collect();
        assert_eq!(
            texts,
            [
                "Deployment/api reads Secret `absent` (containers[api].envFrom[1].secretRef), which neither the \
                 cluster nor this plan has: pods do not start until it is there",
                "Deployment/api reads Secret `pull` (imagePullSecrets), which neither the cluster nor this plan has: \
                 images that ask for credentials cannot be pulled until it is there",
            ]
        );
        assert_eq!(notes(&wanted, &BTreeSet::new()), []);
    }

    #[test]
    fn several_readers_are_one_warning() {
        let pod =
            |name: &str| deployment(name, json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}));
        let mut wanted = wanted(vec![pod("api"), pod("web")]);
        let texts = notes(&wanted, &to_look_for(&wanted));
        assert_eq!(texts.len(), 1);
        assert!(texts[0].text.starts_with("Deployment/api and 1 more read Secret `s` (volumes[v].secret)"));
        // What the plan leaves as it is starts no pods.
        wanted.phases.clear();
        assert_eq!(asked(&wanted), [""; 0]);
    }
}
