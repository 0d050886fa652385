//! What the credentials of a release have to be allowed: what its objects and its records really ask of the API server.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    engine::{
        Environment, patiently,
        planner::{Look, WantedService, referred, resource},
    },
    model::{Fencing, Resolved, ServiceName, Source, Version},
    object::{Object, ObjectKind},
    provider::{ApiResource, Permission, ProbeRequest, ProviderError},
    rollout::Target,
    source::{RenderRequest, Rendered, Tools, follows_version, render, some_version},
};

/// What is done with an object of the project: read, alone or with its like, written, and taken back.
const WRITTEN: &[&str] = &["get", "list", "create", "patch", "delete"];

/// What every release asks for in its namespace: group, resource, verbs.
const ALWAYS: &[(&str, &str, &[&str])] = &[
    // The records, and the values of Secrets of former releases.
    ("", "secrets", WRITTEN),
    ("coordination.k8s.io", "leases", &["get", "create", "patch"]),
    // Why something does not serve.
    ("", "pods", &["list", "watch"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["list"]),
    ("apps", "replicasets", &["get"]),
    // Whose numbers of replicas are not ours to set.
    ("autoscaling", "horizontalpodautoscalers", &["list"]),
];

/// At which what does not depend on the version is rendered.
const ANY_VERSION: &str = "v0";

const RBAC: &str = "rbac.authorization.k8s.io";

/// Whose UID tells one cluster from another.
const SYSTEM: &str = "kube-system";

/// Permissions that the releases of an environment need, and what they were derived from.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// Each once, in a fixed order. To read the namespaces `kube-system` and the environment's own comes on top.
    pub permissions: Vec<Permission>,
    /// What they were derived from, for people.
    pub from: Vec<String>,
    /// Services of which nothing could be rendered.
    pub unknown: Vec<Unknown>,
    /// Kinds of the release that the cluster does not serve.
    pub unserved: Vec<ObjectKind>,
}

/// A service of which nothing could be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its name.
    pub service: String,
    /// Why.
    pub why: String,
    /// What a person can do.
    pub help: Option<String>,
}

/// What the releases of an environment need: by the objects of the release in force, and by those of the project's
/// files at this version; without one at the version in force, or at any that the files have.
///
/// # Errors
/// When the cluster cannot be asked how it serves the kinds.
pub async fn rights(
    environment: &Environment,
    resolved: &Resolved,
    version: Option<&Version>,
    tools: &dyn Tools,
) -> Result<Rights, ProviderError> {
    let mut found = Found::default();
    // Records that cannot be read are a finding of their own.
    if let Ok(head) = environment.head().await
        && let Ok(Some(release)) = environment.released(&head).await
    {
        found.from.push(format!("release {}", release.head.id));
        found.versions = release.head.versions.clone();
        found.objects.extend(release.objects.into_values().map(|object| object.desired));
    }
    found.render_all(resolved, version, tools).await;
    found.rights(environment).await
}

#[derive(Default)]
struct Found {
    objects: Vec<Object>,
    /// Jobs that a run starts, under names of its own.
    jobs: Vec<Object>,
    asks_paths: bool,
    /// Versions in force.
    versions: BTreeMap<String, String>,
    from: Vec<String>,
    unknown: Vec<Unknown>,
}

impl Found {
    async fn render_all(&mut self, resolved: &Resolved, version: Option<&Version>, tools: &dyn Tools) {
        let mut by_version: BTreeMap<Option<Version>, Vec<ServiceName>> = BTreeMap::new();
        for service in resolved.services.values() {
            // A job is rendered with the service that it runs beside, a frontend has no objects.
            if matches!(service.source, Source::Job(_) | Source::Frontend { .. }) {
                continue;
            }
            let known = || self.versions.get(&*service.name).and_then(|version| version.parse().ok());
            let at = version.cloned().or_else(known).or_else(|| some_version(&resolved.project, service));
            by_version.entry(at).or_default().push(service.name.clone());
        }
        let varies = |name: &ServiceName| {
            resolved.services.get(name).is_some_and(|service| follows_version(&resolved.project, service))
        };
        for (at, services) in by_version {
            let from = match &at {
                Some(at) => format!("the files at {at}"),
                None => "the project file".to_owned(),
            };
            let Some(at) = at.or_else(|| ANY_VERSION.parse().ok()) else { continue };
            let mut rendered = Vec::new();
            match render_some(resolved, &at, &services, tools).await {
                Ok(all) => rendered.push(all),
                // What is wrong with one of them says nothing about the others.
                Err(_) => {
                    for service in services {
                        match render_some(resolved, &at, std::slice::from_ref(&service), tools).await {
                            Ok(one) => rendered.push(one),
                            Err((why, mut help)) => {
                                // Nobody has said which, and at another one there may be something.
                                if version.is_none() && varies(&service) {
                                    let name = &resolved.environment.name;
                                    help = Some(format!("`mailyctl doctor --env {name} --version VERSION`"));
                                }
                                let service = service.to_string();
                                self.unknown.push(Unknown { service, why, help });
                            }
                        }
                    }
                }
            }
            if !rendered.is_empty() {
                self.from.push(from);
            }
            rendered.into_iter().for_each(|one| self.take(one));
        }
    }

    fn take(&mut self, rendered: Rendered) {
        let Rendered { services, shared, hooks, gates, .. } = rendered;
        self.objects.extend(shared);
        for (_, service) in services {
            let WantedService { objects, before, after, checks, .. } = service;
            self.objects.extend(objects);
            self.asks_paths |= checks.iter().any(by_path);
            for job in before.into_iter().chain(after) {
                self.jobs.extend(std::iter::once(job.job).chain(job.undo));
            }
        }
        self.jobs.extend(hooks.into_values().flatten().map(|hook| hook.spec.job));
        for gate in gates.into_values() {
            match gate.look {
                Look::Job(job) => self.jobs.push(job),
                Look::Probe(probe) => self.asks_paths |= by_path(&probe),
            }
        }
    }

    async fn rights(self, environment: &Environment) -> Result<Rights, ProviderError> {
        let everything = || self.objects.iter().chain(&self.jobs);
        let kinds: BTreeSet<ObjectKind> = everything().map(|object| object.key().kind.clone()).collect();
        let kinds: Vec<ObjectKind> = kinds.into_iter().collect();
        let cluster = &environment.providers.cluster;
        let served = patiently(&*environment.runtime, || cluster.resources(&kinds)).await?;
        let served: BTreeMap<ObjectKind, ApiResource> =
            served.into_iter().map(|resource| (resource.kind.clone(), resource)).collect();
        let namespace = environment.namespace.as_str();
        let mut wanted = Wanted::default();
        for (group, resource, verbs) in ALWAYS {
            wanted.add(group, resource, Some(namespace), None, verbs);
        }
        if environment.fencing == Fencing::Installed {
            wanted.add("", "configmaps", Some(namespace), None, &["get", "list", "watch", "patch"]);
        }
        if self.asks_paths {
            // The API server passes a check of a path on to the service.
            wanted.add("", "services/proxy", Some(namespace), None, &["get"]);
        }
        let mut unserved = BTreeSet::new();
        for object in everything() {
            let kind = &object.key().kind;
            let Some(resource) = served.get(kind).cloned().or_else(|| defined(&self.objects, kind)) else {
                unserved.insert(kind.clone());
                continue;
            };
            let place = resource.namespaced.then(|| object.namespace().unwrap_or(namespace));
            wanted.add(kind.group(), &resource.plural, place, None, WRITTEN);
            if Target::waits_for(object) {
                wanted.add(kind.group(), &resource.plural, place, None, &["watch"]);
            }
            if object.kind() == "StatefulSet" {
                // One that is in the way of its own controller; and marked, that nobody else deletes it late.
                wanted.add("", "pods", place, None, &["get", "patch", "delete"]);
                if !object.items("/spec/volumeClaimTemplates").is_empty() {
                    // Which of them go with pods, and which are there still.
                    wanted.add("", "persistentvolumeclaims", place, None, &["get", "list"]);
                }
            }
            if object.kind() == "CronJob" {
                // Whose pods are whose.
                wanted.add("batch", "jobs", place, None, &["get", "list"]);
            }
            self.grants(object, place, &mut wanted);
        }
        // Whether it is there is looked for before a plan, whoever brings it.
        for key in referred(&self.objects, &self.jobs) {
            let place = key.namespace.as_deref().unwrap_or(namespace);
            wanted.add(key.kind.group(), &resource(&key.kind), Some(place), None, &["get", "list"]);
        }
        let Self { from, unknown, .. } = self;
        let permissions = wanted.0.into_iter().collect();
        Ok(Rights { permissions, from, unknown, unserved: unserved.into_iter().collect() })
    }

    /// Who gives rights away has to have them: the API server lets nobody grow by a role of his own making.
    fn grants(&self, object: &Object, place: Option<&str>, wanted: &mut Wanted) {
        if object.key().kind.group() != RBAC {
            return;
        }
        for rule in object.items("/rules") {
            let words = |field: &str| -> Vec<String> {
                let words = rule.get(field).and_then(serde_json::Value::as_array).into_iter().flatten();
                words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
            };
            let names: Vec<Option<String>> = match words("resourceNames") {
                names if names.is_empty() => vec![None],
                names => names.into_iter().map(Some).collect(),
            };
            let verbs = words("verbs");
            let verbs: Vec<&str> = verbs.iter().map(String::as_str).collect();
            for path in words("nonResourceURLs") {
                wanted.add_path(&path, &verbs);
            }
            for group in words("apiGroups") {
                for resource in words("resources") {
                    for name in &names {
                        wanted.add(&group, &resource, place, name.as_deref(), &verbs);
                    }
                }
            }
        }
        // What a controller will put into it nobody can have before.
        if object.at("/aggregationRule").is_some_and(serde_json::Value::is_object) {
            wanted.add(RBAC, "clusterroles", None, Some(object.name()), &["escalate"]);
        }
        let (Some(kind), Some(name)) = (object.text("/roleRef/kind"), object.text("/roleRef/name")) else {
            return;
        };
        let own = self.objects.iter().any(|role| role.kind() == kind && role.name() == name);
        if !own {
            let (resource, place) = if kind == "Role" { ("roles", place) } else { ("clusterroles", None) };
            wanted.add(RBAC, resource, place, Some(name), &["bind"]);
        }
    }
}

/// Renders some services; with the first thing that is wrong where that fails, and its remedy.
async fn render_some(
    resolved: &Resolved,
    version: &Version,
    only: &[ServiceName],
    tools: &dyn Tools,
) -> Result<Rendered, (String, Option<String>)> {
    let request = RenderRequest { resolved, version, only: Some(only), accept_new: true };
    render(&request, tools).await.map_err(|errors| {
        let text = errors.to_string();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        (first, lines.next().and_then(|line| line.trim().strip_prefix("help: ")).map(str::to_owned))
    })
}

fn by_path(probe: &ProbeRequest) -> bool {
    matches!(probe, ProbeRequest::Http { service: Some(_), .. })
}

/// How a kind will be served that comes with the release.
fn defined(objects: &[Object], kind: &ObjectKind) -> Option<ApiResource> {
    let definition = objects.iter().find(|object| object.defines() == Some((kind.group(), &kind.kind)))?;
    Some(ApiResource {
        kind: kind.clone(),
        plural: definition.text("/spec/names/plural")?.to_owned(),
        namespaced: definition.text("/spec/scope") != Some("Cluster"),
    })
}

#[derive(Default)]
struct Wanted(BTreeSet<Permission>);

impl Wanted {
    fn add(&mut self, group: &str, resource: &str, place: Option<&str>, name: Option<&str>, verbs: &[&str]) {
        for verb in verbs {
            self.0.insert(Permission {
                namespace: place.map(str::to_owned),
                group: group.to_owned(),
                resource: resource.to_owned(),
                name: name.map(str::to_owned),
                verb: (*verb).to_owned(),
                path: None,
            });
        }
    }

    fn add_path(&mut self, path: &str, verbs: &[&str]) {
        for verb in verbs {
            self.0.insert(Permission {
                namespace: None,
                group: String::new(),
                resource: String::new(),
                name: None,
                verb: (*verb).to_owned(),
                path: Some(path.to_owned()),
            });
        }
    }
}

impl Rights {
    /// The Role to ask for, and the ClusterRole beside it, as a manifest for somebody who may make them.
    pub fn manifest(&self, environment: &str, namespace: &str) -> String {
        let role = format!("maily-{environment}");
        let wide = format!("maily-{namespace}-{environment}");
        let mut places: BTreeMap<Option<&str>, Vec<&Permission>> = BTreeMap::new();
        for permission in &self.permissions {
            places.entry(permission.namespace.as_deref()).or_default().push(permission);
        }
        // To tell one cluster from another, and whether the namespace is there.
        let seen = [SYSTEM, namespace].map(|name| Permission {
            namespace: None,
            group: String::new(),
            resource: "namespaces".to_owned(),
            name: Some(name.to_owned()),
            verb: "get".to_owned(),
            path: None,
        });
        places.entry(None).or_default().extend(&seen);
        let mut text = format!("# What releases of `{environment}` need, by {}.\n", self.from.join(" and "));
        text.push_str("# To give it to somebody, such as the ServiceAccount `releases`:\n");
        for place in places.keys() {
            let line = match place {
                Some(place) => {
                    format!("kubectl -n {place} create rolebinding {role} --role {role}")
                }
                None => format!("kubectl create clusterrolebinding {wide} --clusterrole {wide}"),
            };
            text.push_str(&format!("#   {line} --serviceaccount {namespace}:releases\n"));
        }
        for (place, permissions) in places {
            let head = match place {
                Some(place) => format!("kind: Role\nmetadata: {{name: {role}, namespace: {place}}}"),
                None => format!("kind: ClusterRole\nmetadata: {{name: {wide}}}"),
            };
            text.push_str(&format!("---\napiVersion: {RBAC}/v1\n{head}\nrules:\n"));
            rules(&permissions).iter().for_each(|rule| text.push_str(&format!("  - {rule}\n")));
        }
        text
    }
}

/// What a rule is about: a group and the name of the one object, or paths.
type About<'a> = Option<(&'a str, Option<&'a str>)>;

/// Rules of a role, one a line: what has the same verbs stands together.
fn rules(permissions: &[&Permission]) -> Vec<String> {
    let mut verbs: BTreeMap<(About<'_>, &str), BTreeSet<&str>> = BTreeMap::new();
    for Permission { group, resource, name, verb, path, .. } in permissions {
        let about = match path {
            Some(path) => (None, path.as_str()),
            None => (Some((group.as_str(), name.as_deref())), resource.as_str()),
        };
        verbs.entry(about).or_default().insert(verb);
    }
    let mut rules: BTreeMap<(About<'_>, BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
    for ((about, of), verbs) in verbs {
        rules.entry((about, verbs)).or_default().push(of);
    }
    let list = |words: &[&str]| {
        // Anything but a plain word, such as `*` and the core group's empty name, is quoted.
        let plain = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase() || c == '/') && !word.ends_with('*')
        };
        let words: Vec<String> = words
            .iter()
            .map(|word| if plain(word) { (*word).to_owned() } else { format!("{word:?}") })
            .collect();
        format!("[{}]", words.join(", "))
    };
    rules
        .into_iter()
        .map(|((about, verbs), of)| {
            let verbs: Vec<&str> = verbs.into_iter().collect();
            let Some((group, name)) = about else {
                return format!("{{nonResourceURLs: {}, verbs: {}}}", list(&of), list(&verbs));
            };
            let names = name.map(|name| format!("resourceNames: {}, ", list(&[name]))).unwrap_or_default();
            format!(
                "{{apiGroups: {}, resources: {}, {names}verbs: {}}}",
                list(&[group]),
                list(&of),
                list(&verbs)
            )
        })
        .collect()
}
