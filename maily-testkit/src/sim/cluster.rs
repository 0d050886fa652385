//! The cluster of the world.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterIdentity, ClusterInfo, Deleted, Dependents, ErrorKind, Follow,
        ListQuery, LogLine, LogOptions, LogStream, Permission, Precondition, ProviderError, WatchEvent,
        WatchStream, WriteOptions,
    },
};
use serde_json::Value;

use super::{
    door::{self, Door, client},
    shared::Shared,
};
use crate::world::{Change, World, in_version};

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(50);

const POLICIES: &str = "admissionregistration.k8s.io/v1";

/// Kinds that the simulated cluster serves: plural and whether they live in namespaces.
const SERVED: &[(&str, &str, &str, bool)] = &[
    ("v1", "Namespace", "namespaces", false),
    ("v1", "Node", "nodes", false),
    ("v1", "Pod", "pods", true),
    ("v1", "Service", "services", true),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Event", "events", true),
    ("v1", "Secret", "secrets", true),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims", true),
    ("v1", "ResourceQuota", "resourcequotas", true),
    ("apps/v1", "Deployment", "deployments", true),
    ("apps/v1", "ReplicaSet", "replicasets", true),
    ("apps/v1", "StatefulSet", "statefulsets", true),
    ("apps/v1", "DaemonSet", "daemonsets", true),
    ("batch/v1", "Job", "jobs", true),
    ("batch/v1", "CronJob", "cronjobs", true),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", true),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", true),
    ("networking.k8s.io/v1", "Ingress", "ingresses", true),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", true),
    ("rbac.authorization.k8s.io/v1", "Role", "roles", true),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", true),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", false),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", false),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", false),
    ("coordination.k8s.io/v1", "Lease", "leases", true),
    (POLICIES, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", false),
    (POLICIES, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false),
];

/// A client of the simulated cluster.
#[derive(Clone, Debug)]
pub struct SimCluster {
    door: Door,
}

client!(SimCluster, "cluster");

impl SimCluster {
    fn known(&self, kind: &ObjectKind, operation: &'static str) -> Result<ApiResource, ProviderError> {
        let world = self.door.shared.world();
        served(&world, kind).ok_or_else(|| {
            let message = "the cluster does not serve this kind";
            ProviderError::new(ErrorKind::Unsupported, "sandbox", operation, kind.to_string(), message)
                .with_served_in(versions(&world, kind))
        })
    }

    /// A query as the server has it.
    fn asked(&self, query: &ListQuery, operation: &'static str) -> Result<ListQuery, ProviderError> {
        let mut query = query.clone();
        if !self.known(&query.kind, operation)?.namespaced {
            query.namespace = None;
        }
        Ok(query)
    }

    /// A key as the server has it.
    fn addressed(&self, key: &ObjectKey, operation: &'static str) -> Result<ObjectKey, ProviderError> {
        let mut key = key.clone();
        if !self.known(&key.kind, operation)?.namespaced {
            key.namespace = None;
        }
        Ok(key)
    }
}

pub(crate) fn served(world: &World, kind: &ObjectKind) -> Option<ApiResource> {
    let built_in = SERVED.iter().find(|(api, name, ..)| *api == kind.api_version && *name == kind.kind);
    if let Some((_, _, plural, namespaced)) = built_in {
        return Some(ApiResource {
            kind: kind.clone(),
            plural: (*plural).to_owned(),
            namespaced: *namespaced,
        });
    }
    world
        .of_kind("CustomResourceDefinition")
        .into_iter()
        .find(|definition| {
            definition.defines() == Some((kind.group(), &kind.kind)) && serves(definition, kind.version())
        })
        .map(|definition| ApiResource {
            kind: kind.clone(),
            plural: definition.text("/spec/names/plural").unwrap_or_default().to_owned(),
            namespaced: definition.text("/spec/scope") == Some("Namespaced"),
        })
}

/// In which versions of its group a kind is served.
pub(crate) fn versions(world: &World, kind: &ObjectKind) -> Vec<String> {
    let definitions = world.of_kind("CustomResourceDefinition").into_iter();
    let of_kind = definitions.filter(|definition| definition.defines() == Some((kind.group(), &kind.kind)));
    let names = |definition: &Object| -> Vec<String> {
        let names = definition.items("/spec/versions").iter().filter_map(|one| one["name"].as_str());
        names.filter(|name| serves(definition, name)).map(str::to_owned).collect()
    };
    let of_kubernetes = |(api, name, ..): &&(&str, &str, &str, bool)| {
        *name == kind.kind && ObjectKind::new(*api, *name).group() == kind.group()
    };
    let own = SERVED.iter().filter(of_kubernetes);
    let own = own.map(|(api, name, ..)| ObjectKind::new(*api, *name).version().to_owned());
    own.chain(of_kind.flat_map(names)).collect()
}

/// Whether a definition serves a version.
fn serves(definition: &Object, version: &str) -> bool {
    let is_it = |one: &Value| one["name"] == version && one["served"] != false;
    definition.items("/spec/versions").iter().any(is_it)
}

/// By how much the world's clock is ahead of the machine's.
fn skew(world: &World, machine: jiff::Timestamp) -> i64 {
    let ahead = world.ahead(machine).unwrap_or_default();
    i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX)
}

fn fits(query: &ListQuery, object: &Object) -> bool {
    object.kind() == query.kind.kind
        && query.namespace.as_deref().is_none_or(|namespace| object.namespace() == Some(namespace))
        && is_selected(query, object)
}

/// Whether an object of the kind, and of the namespace if one is asked for, is of the group and has the labels.
fn is_selected(query: &ListQuery, object: &Object) -> bool {
    object.key().kind.group() == query.kind.group()
        && object.has_labels(query.labels.iter().map(|(key, value)| (key, value.as_str())))
}

/// What a read answers.
pub(crate) fn found(world: &World, key: &ObjectKey) -> Option<Object> {
    world.get(key).map(|object| in_version(object, &key.kind))
}

/// What a list answers.
pub(crate) fn selected(world: &World, query: &ListQuery) -> Vec<Object> {
    let listed = world.listed(&query.kind.kind, query.namespace.as_deref());
    listed.filter(|object| is_selected(query, object)).map(|object| in_version(object, &query.kind)).collect()
}

/// What a watch, which knows some objects, tells of changes.
pub(crate) fn told<'a>(
    query: &ListQuery,
    known: &mut BTreeSet<ObjectKey>,
    changes: impl Iterator<Item = &'a Change>,
) -> Vec<WatchEvent> {
    let event = |change: &Change| {
        if !change.deleted && fits(query, &change.object) {
            if !known.contains(change.object.key()) {
                known.insert(change.object.key().clone());
            }
            return Some(WatchEvent::Applied(in_version(&change.object, &query.kind)));
        }
        // An object that lost its label is gone for this watch.
        known
            .remove(change.object.key())
            .then(|| WatchEvent::Deleted(in_version(&change.object, &query.kind)))
    };
    changes.filter_map(event).collect()
}

/// Records and leases must survive the process: they are on the disk before they are answered.
fn lasting(object: &Object) -> bool {
    object.text("/type") == Some("maily.dev/record")
}

#[async_trait]
impl Cluster for SimCluster {
    async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        let runtime = Arc::clone(self.door.shared.runtime());
        self.door
            .read("describe", "cluster", |world| {
                let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, "kube-system");
                let uid =
                    world.get(&key).and_then(|namespace| namespace.uid()).unwrap_or_default().to_owned();
                Ok(ClusterInfo {
                    identity: ClusterIdentity { uid, ca: String::new() },
                    server: "sandbox".to_owned(),
                    version: "1.36.0-sandbox".to_owned(),
                    clock_skew_ms: Some(skew(world, runtime.wall())),
                })
            })
            .await
    }

    async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError> {
        self.door
            .read("discover", "resources", |world| {
                Ok(kinds.iter().filter_map(|kind| served(world, kind)).collect())
            })
            .await
    }

    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        Ok(permissions.iter().map(|_| Access::Allowed).collect())
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        let key = self.addressed(key, "get")?;
        self.door.read("get", &key.to_string(), |world| Ok(found(world, &key))).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        let query = self.asked(query, "list")?;
        self.door.read("list", &query.kind.to_string(), |world| Ok(selected(world, &query))).await
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        Ok(self.list(query).await?.into_iter().map(Object::metadata_only).collect())
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        let mut object = object.clone();
        if !self.known(&object.key().kind, "write")?.namespaced {
            object.leave_namespace();
        }
        let object = &object;
        let access = match options.dry_run {
            true => door::Access::Read,
            false if lasting(object) => door::Access::Record,
            false => door::Access::Write,
        };
        let resource = object.key().to_string();
        self.door
            .shared
            .request(&self.door, "write", &resource, access, |world| world.write(object, options))
            .await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        let key = self.addressed(key, "delete")?;
        self.door
            .write("delete", &key.to_string(), |world| world.delete_with(&key, precondition, dependents))
            .await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        let first = Watching {
            query: self.asked(query, "watch")?,
            shared: Arc::clone(&self.door.shared),
            version: None,
            known: BTreeSet::new(),
        };
        Ok(stream::unfold(first, |mut watching| async move {
            let events = watching.next().await;
            Some((stream::iter(events.into_iter().map(Ok)), watching))
        })
        .flatten()
        .boxed())
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        let options = options.clone();
        let read = {
            let options = options.clone();
            move |world: &World, pod: &ObjectKey, from: usize| -> Option<(Vec<LogLine>, usize)> {
                let lines = world.log(pod, options.previous)?;
                let total = lines.len();
                // What is longer than time itself leaves nothing out.
                let since = options.since.and_then(|since| world.now.checked_sub(since).ok());
                let since = options.since_time.or(since);
                let lines =
                    lines.into_iter().skip(from).filter(|(time, _)| since.is_none_or(|since| *time >= since));
                Some((lines.map(|(time, text)| LogLine { time: Some(time), text }).collect(), total))
            }
        };
        let missing = || {
            ProviderError::new(
                ErrorKind::NotFound,
                "sandbox",
                "logs",
                pod.to_string(),
                "there is no such pod",
            )
        };
        let refuse = |message: String| {
            ProviderError::new(ErrorKind::Invalid, "sandbox", "logs", pod.to_string(), message)
        };
        {
            let world = self.door.shared.world();
            let live = world.get(pod).ok_or_else(missing)?;
            if let Some(wanted) = &options.container
                && !containers(live).any(|name| name == wanted)
            {
                return Err(refuse(format!("container {wanted} is not valid for pod {}", pod.name)));
            }
            let statuses = live.items("/status/containerStatuses");
            if options.previous && !statuses.iter().any(|status| status["restartCount"].as_i64() > Some(0)) {
                return Err(refuse(format!("no container of pod {} has ended before", pod.name)));
            }
        }
        let (first, total) = read(&self.door.shared.world(), pod, 0).ok_or_else(missing)?;
        let tail = options
            .tail
            .map_or(0, |tail| first.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)));
        let mut first: Vec<LogLine> = first.into_iter().skip(tail).collect();
        if let Some(bytes) = options.bytes {
            first = within_bytes(first, usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        if options.follow == Follow::No {
            return Ok(stream::iter(first.into_iter().map(Ok)).boxed());
        }
        let (shared, pod) = (Arc::clone(&self.door.shared), pod.clone());
        let more = stream::unfold(total, move |seen| {
            let (shared, pod, read) = (Arc::clone(&shared), pod.clone(), read);
            async move {
                shared.runtime().sleep(LOOK).await;
                let (lines, seen) = read(&shared.world(), &pod, seen)?;
                Some((stream::iter(lines.into_iter().map(Ok)), seen))
            }
        });
        Ok(stream::iter(first.into_iter().map(Ok)).chain(more.flatten()).boxed())
    }
}

/// Names of a pod's containers, those that start first among them.
fn containers(pod: &Object) -> impl Iterator<Item = &str> {
    let all = pod.items("/spec/initContainers").iter().chain(pod.items("/spec/containers"));
    all.filter_map(|container| container.get("name")?.as_str())
}

/// As much of a log as fits into so many bytes; times are not counted.
fn within_bytes(lines: Vec<LogLine>, bytes: usize) -> Vec<LogLine> {
    let mut left = bytes;
    let mut kept = Vec::new();
    for mut line in lines {
        if left == 0 {
            break;
        }
        let mut end = line.text.len().min(left);
        while !line.text.is_char_boundary(end) {
            end -= 1;
        }
        left = left.saturating_sub(line.text.len() + 1);
        line.text.truncate(end);
        kept.push(line);
    }
    kept
}

struct Watching {
    shared: Arc<Shared>,
    query: ListQuery,
    version: Option<u64>,
    known: BTreeSet<ObjectKey>,
}

impl Watching {
    async fn next(&mut self) -> Vec<WatchEvent> {
        loop {
            {
                let world = self.shared.world();
                let Some(version) = self.version else {
                    self.version = Some(world.version);
                    let found = selected(&world, &self.query);
                    self.known = found.iter().map(|object| object.key().clone()).collect();
                    let version = world.version.to_string();
                    return vec![WatchEvent::Listed { objects: found, version }];
                };
                if let Some(changes) = world.since(version) {
                    self.version = Some(world.version);
                    let events = told(&self.query, &mut self.known, changes);
                    if !events.is_empty() {
                        return events;
                    }
                } else {
                    self.version = None;
                    continue;
                }
            }
            self.shared.moved().await;
        }
    }
}
