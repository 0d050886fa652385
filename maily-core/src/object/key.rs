//! Identity of an object: what may exist only once in a cluster.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Deserializer, Serialize};

/// Groups with a dot in their name that the API server serves by itself.
const OWN_GROUPS: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Group, version and kind of an object.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct ObjectKind {
    /// `group/version`, or the version alone for the core group (`v1`).
    pub api_version: String,
    /// Kind in singular camel case, such as `Deployment`.
    pub kind: String,
}

impl ObjectKind {
    /// A kind from its API version (`apps/v1`) and name (`Deployment`).
    pub fn new(api_version: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { api_version: api_version.into(), kind: kind.into() }
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        // Keys are compared by it all the time, and it is too short for a searcher to pay.
        let slash = self.api_version.bytes().position(|byte| byte == b'/');
        slash.map_or("", |at| &self.api_version[..at])
    }

    /// The version inside the group, such as `v1`.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(self.api_version.as_str(), |(_, version)| version)
    }

    /// The kind as people know it: with its group where that is not one of Kubernetes, which may have a kind of that name,
    /// too.
    pub fn named(&self) -> Cow<'_, str> {
        if self.is_of_kubernetes() {
            Cow::Borrowed(&self.kind)
        } else {
            Cow::Owned(format!("{}.{}", self.kind, self.group()))
        }
    }

    /// Whether it is a workload that keeps pods running, as a Job does not.
    pub fn keeps_pods(&self) -> bool {
        self.group() == "apps" && matches!(&*self.kind, "Deployment" | "StatefulSet" | "DaemonSet")
    }

    /// Whether the group is one of Kubernetes itself, whose kinds come with the server and by no
    /// CustomResourceDefinition. Groups under `k8s.io` are also those of its community's projects, such as the
    /// Gateway API.
    pub fn is_of_kubernetes(&self) -> bool {
        let group = self.group();
        !group.contains('.') || OWN_GROUPS.contains(&group)
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.api_version)
    }
}

/// Address of one object. Two keys that differ only in the API version name the same object, so equality
/// and order ignore it.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct ObjectKey {
    /// Group, version and kind.
    #[serde(flatten)]
    pub kind: ObjectKind,
    /// Namespace; absent for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name inside namespace and kind.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(kind: ObjectKind, namespace: Option<&str>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.map(str::to_owned), name: name.into() }
    }

    /// The option by which kubectl finds it, with a space before it; empty outside of namespaces.
    pub(crate) fn namespace_option(&self) -> String {
        self.namespace.as_ref().map(|name| format!(" --namespace {name}")).unwrap_or_default()
    }

    fn identity(&self) -> (&str, &str, Option<&str>, &str) {
        (self.kind.group(), &self.kind.kind, self.namespace.as_deref(), &self.name)
    }

    /// `kind/name`, for options, and messages in which the namespace is known.
    pub fn short(&self) -> String {
        format!("{}/{}", self.kind.named(), self.name)
    }
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        // The name tells most keys apart.
        self.name == other.name
            && self.kind.kind == other.kind.kind
            && self.namespace == other.namespace
            && self.kind.group() == other.kind.group()
    }
}

impl Eq for ObjectKey {}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let group = if self.kind.api_version == other.kind.api_version {
            std::cmp::Ordering::Equal
        } else {
            self.kind.group().cmp(other.kind.group())
        };
        group
            .then_with(|| self.kind.kind.cmp(&other.kind.kind))
            .then_with(|| self.namespace.cmp(&other.namespace))
            .then_with(|| self.name.cmp(&other.name))
    }
}

impl std::hash::Hash for ObjectKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// A key as it is written: what is flattened would be collected first, and a plan has a key for each of its objects.
#[derive(Deserialize)]
struct Written {
    api_version: String,
    kind: String,
    namespace: Option<String>,
    name: String,
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { api_version, kind, namespace, name } = Written::deserialize(deserializer)?;
        Ok(Self { kind: ObjectKind { api_version, kind }, namespace, name })
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.named();
        match &self.namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{}", self.name),
            None => write!(f, "{kind} {}", self.name),
        }
    }
}

/// Keys by kind and namespace: what one list answers.
pub(crate) fn by_kind<'a>(
    keys: impl IntoIterator<Item = &'a ObjectKey>,
) -> BTreeMap<(ObjectKind, Option<String>), BTreeSet<&'a ObjectKey>> {
    let mut groups: BTreeMap<_, BTreeSet<&ObjectKey>> = BTreeMap::new();
    for key in keys {
        groups.entry((key.kind.clone(), key.namespace.clone())).or_default().insert(key);
    }
    groups
}
