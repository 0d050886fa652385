//! The Kubernetes cluster, spoken to in plain objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ProviderError;
use crate::object::{Object, ObjectKey, ObjectKind};

/// What tells one cluster from another, whatever its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ClusterIdentity {
    /// UID of the namespace `kube-system`, which lives as long as the cluster.
    pub uid: String,
    /// SHA-256 of the certificate authority that the client trusts, in hex; empty where the system's is used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ca: String,
}

impl ClusterIdentity {
    /// How the cluster that was met differs from this one, to which something is bound; `None` where it is the same. Both
    /// sides are told so that they go on after "is bound to" and after the server's address.
    pub fn mismatch(&self, met: &Self) -> Option<(String, String)> {
        if self.uid != met.uid {
            let bound = format!("another cluster (uid {})", self.uid);
            return Some((bound, format!("is the cluster with uid {}", met.uid)));
        }
        // A binding without an authority takes any.
        if self.ca.is_empty() || self.ca == met.ca {
            return None;
        }
        let bound = format!("this cluster by another certificate authority (SHA-256 {})", self.ca);
        Some(match met.ca.as_str() {
            "" => (bound, "is trusted by those of this machine".to_owned()),
            ca => (bound, format!("is trusted by the one of SHA-256 {ca}")),
        })
    }
}

/// A resource type that the cluster serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiResource {
    /// Group, version and kind.
    pub kind: ObjectKind,
    /// Plural name in the API path, such as `deployments`.
    pub plural: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

/// What the cluster says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Who it is.
    pub identity: ClusterIdentity,
    /// Address of the API server, for people.
    pub server: String,
    /// Version of the API server, such as `1.36.3`.
    pub version: String,
    /// The server's clock minus ours at the time of the answer, in milliseconds, where it told its time.
    pub clock_skew_ms: Option<i64>,
}

/// Which objects to list or watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// The kind.
    pub kind: ObjectKind,
    /// One namespace, or all for `None` (and for cluster-scoped kinds).
    pub namespace: Option<String>,
    /// Labels that must be equal.
    pub labels: BTreeMap<String, String>,
    /// Only the state is of interest: a provider that can leaves out the `spec`, and who set which field.
    pub state_only: bool,
}

/// From this many objects of a kind on, a list is cheaper than single reads.
pub(crate) const LIST_FROM: usize = 3;

impl ListQuery {
    /// All objects of a kind in a namespace.
    pub fn new(kind: ObjectKind, namespace: Option<&str>) -> Self {
        Self { kind, namespace: namespace.map(str::to_owned), labels: BTreeMap::new(), state_only: false }
    }

    /// Asks for the state of the objects alone.
    #[must_use]
    pub fn state_only(self) -> Self {
        Self { state_only: true, ..self }
    }

    /// Narrows to objects with this label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }
}

/// What must hold of the object on the server for a write to take effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    Any,
    /// No object of that key exists, terminating ones included.
    Absent,
    /// The object with this uid at this resource version.
    Exactly {
        /// metadata.uid.
        uid: String,
        /// metadata.resourceVersion.
        resource_version: String,
    },
}

/// How a write is merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Server-side apply: afterwards the manager owns exactly the given fields. `force` takes fields from others.
    Apply {
        /// Take fields from other managers instead of failing with [`super::ErrorKind::FieldConflict`].
        force: bool,
    },
    /// JSON merge patch: changes the given fields alone; the object must exist.
    Merge,
    /// Moves all fields that other managers own, by update or by apply, to the apply of ours, so that it can remove
    /// them. Metadata alone changes; annotations of the given object are written, too.
    Migrate {
        /// The other managers: clients that deployed before, such as `kubectl-client-side-apply` and `helm`.
        from: BTreeSet<String>,
    },
}

/// Options of a write.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// How to merge.
    pub mode: WriteMode,
    /// Field manager.
    pub manager: &'static str,
    /// What must hold.
    pub precondition: Precondition,
    /// Ask the server what would happen, and change nothing.
    pub dry_run: bool,
}

impl WriteOptions {
    /// A forced server-side apply under a manager.
    pub fn apply(manager: &'static str, precondition: Precondition) -> Self {
        Self { mode: WriteMode::Apply { force: true }, manager, precondition, dry_run: false }
    }

    /// A merge patch under a manager.
    pub fn merge(manager: &'static str, precondition: Precondition) -> Self {
        Self { mode: WriteMode::Merge, manager, precondition, dry_run: false }
    }

    /// The same as a dry run.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }
}

/// What becomes of the objects that a deleted one has made, such as the pods of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// They go after it, in the background: it may be gone while its pods still run.
    Follow,
    /// They go before it, in the foreground: once it is gone, the last of its pods is.
    GoFirst,
}

/// Result of a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// Nothing was there.
    AlreadyAbsent,
    /// It is gone.
    Gone,
    /// Accepted; the object of this uid remains until its finalizers or dependents are through.
    Pending {
        /// uid of what is going.
        uid: String,
    },
}

/// One message of a watch.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// The complete present state: at the start, and again whenever history was lost. Replaces all that was known.
    Listed {
        /// All there is.
        objects: Vec<Object>,
        /// The resource version of the list itself: what is known by a later one is younger than the list.
        version: String,
    },
    /// An object was added or changed.
    Applied(Object),
    /// An object is gone; its last state.
    Deleted(Object),
    /// The stream could not be continued for now and is being taken up again; for people.
    Interrupted(String),
}

/// Messages of a watch; ends only when dropped, or with an error that cannot be mended by trying again.
pub type WatchStream = BoxStream<'static, Result<WatchEvent, ProviderError>>;

/// Whether a log is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    /// Until what is there has been read.
    #[default]
    No,
    /// Until the container ends.
    Yes,
}

/// Which part of a log to read.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// The container; the only or first one where absent.
    pub container: Option<String>,
    /// Read on while it grows.
    pub follow: Follow,
    /// Only what is younger than this.
    pub since: Option<Duration>,
    /// Only what was written at this time of the provider's clock or later, instead of an age.
    pub since_time: Option<jiff::Timestamp>,
    /// Only this many last lines.
    pub tail: Option<u32>,
    /// The log of the container's previous instance.
    pub previous: bool,
    /// Only about so many bytes from where it begins: it may end within a line.
    pub bytes: Option<u32>,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, where the provider says.
    pub time: Option<jiff::Timestamp>,
    /// The line without its end; a provider may cut one that is longer than 64 KiB.
    pub text: String,
}

/// Lines of a log in order.
pub type LogStream = BoxStream<'static, Result<LogLine, ProviderError>>;

/// Something that a command needs to be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// Namespace; `None` for cluster scope.
    pub namespace: Option<String>,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name, such as `deployments`; `pods/log` for a subresource.
    pub resource: String,
    /// The one object that it is about; all of them for `None`.
    pub name: Option<String>,
    /// `get`, `list`, `watch`, `create`, `patch`, `delete`.
    pub verb: String,
    /// A path of the API server that is no resource, such as `/metrics`, instead of one.
    pub path: Option<String>,
}

/// Whether something is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is.
    Allowed,
    /// It is not.
    Denied,
    /// It could not be found out: never to be read as allowed.
    Unknown,
}

/// A Kubernetes cluster.
///
/// Every call has a deadline of its own; no call retries by itself, the engine does.
///
/// # Contract
/// 1. `get` and `list` read from a quorum: they see every write that was answered before they were sent.
/// 2. `get` of an absent object is `None`; of a kind that the server does not serve, `Unsupported`, with the other versions
///    of its group in which it serves the kind.
/// 3. `list` returns all pages; `list_metadata` the same objects, each with at least its metadata.
/// 4. An apply with [`Precondition::Absent`] creates the object, or fails with `Conflict` if anything of that key
///    exists, a terminating object included.
/// 5. A write with [`Precondition::Exactly`] fails with `Conflict` if the uid or the resource version differs, or
///    the object is absent; nothing is changed then.
/// 6. The same apply twice equals once; the second does not change the resource version.
/// 7. An apply removes the fields that the manager applied before and now leaves out, unless others own them too.
/// 8. An unforced apply that would change a field of another manager fails with `FieldConflict` and names him.
/// 9. A dry run answers what the write would have answered and changes nothing.
/// 10. A merge patch of an absent object fails with `NotFound`.
/// 11. `delete` with a precondition that does not hold fails with `Conflict`; of an absent object it is
///     `AlreadyAbsent`; while finalizers hold the object it is `Pending`.
/// 12. A watch begins with `Listed`, then tells every later change of what it selects at least by its last state, and
///     outlives closed connections and lost history. No write that was answered before it was listed has a resource
///     version higher than that of the list.
/// 13. An apply after [`WriteMode::Migrate`] removes fields that the managers which were named had set, by update or by
///     apply, and the apply leaves out; those of a manager who was not named stay his.
/// 14. `logs` yields the lines in order; of a pod that does not exist it fails with `NotFound`.
///
/// Where a fence stands (the objects of [`crate::engine::Fence::install`], which are objects like others):
///
/// 15. A write by `maily` or `maily-scale` to an object that has the environment's labels, before or after, fails
///     with `StaleEpoch` if its epoch is lower than that of the fence; a dry run too; the message names the binding.
/// 16. It also fails if its epoch is lower than the one that the object carries. What does not look like a number
///     counts as none, on the object and in the write.
/// 17. Nobody else is judged: not other managers, `maily-records` included, not deletes, not objects without these
///     labels, whatever their epochs.
/// 18. Where the fence's parameter is missing, nothing is judged.
/// 19. A fence is raised only upwards, and only from what was read.
///
/// Of every apply:
///
/// 20. One that does not fit the schema of its kind fails with `Invalid` and changes nothing, a dry run too; no error
///     about a Secret tells one of its values.
///
/// Of the options of `logs`:
///
/// 21. `tail` and `since` leave out all but the last lines and all but the younger ones; of a `container` that the pod
///     does not have, and of a `previous` instance where there was none, it fails with `Invalid` or `NotFound`.
/// 22. What is followed does not end while its container runs.
/// 23. `bytes` ends a log after so many, in the middle of a line too.
///
/// Of a namespace:
///
/// 24. While it is being deleted, nothing can be made in it: that fails with `Invalid`, as no permission helps.
///
/// Of `delete` with [`Dependents::GoFirst`]:
///
/// 25. It is `Pending`, and the object stays, terminating, until the last pod that it has made is gone, also one that
///     takes its time to stop; none is made for it meanwhile. With [`Dependents::Follow`] it does not wait for them.
#[async_trait]
pub trait Cluster: fmt::Debug + Send + Sync + 'static {
    /// Who the cluster is.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the credentials.
    async fn describe(&self) -> Result<ClusterInfo, ProviderError>;

    /// Which of these kinds the cluster serves, and how; kinds that it does not serve are left out.
    ///
    /// # Errors
    /// When discovery fails.
    async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError>;

    /// Whether the present credentials may do these things, one answer each.
    ///
    /// # Errors
    /// When the server cannot be reached.
    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError>;

    /// Reads one object.
    ///
    /// # Errors
    /// See the contract; `NotFound` is never one.
    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError>;

    /// Reads all objects of a kind.
    ///
    /// # Errors
    /// See the contract.
    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError>;

    /// Lists objects for their names, labels and annotations: a provider that can leaves the rest out.
    ///
    /// # Errors
    /// As those of [`Self::list`].
    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError>;

    /// Writes an object and answers what the server made of it. For [`WriteMode::Merge`] the body is the patch.
    ///
    /// # Errors
    /// See the contract.
    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError>;

    /// Deletes an object, and what it has made after it or before it.
    ///
    /// # Errors
    /// See the contract.
    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError>;

    /// Follows all objects of a kind.
    ///
    /// # Errors
    /// When the kind is unknown or reading it is forbidden.
    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError>;

    /// Reads the log of a pod.
    ///
    /// # Errors
    /// See the contract.
    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError>;
}

/// A merge patch for an object: its identity and the given fields.
pub fn patch_of(key: &ObjectKey, fields: Value) -> Result<Object, crate::object::ObjectError> {
    let mut body = fields;
    if let Value::Object(map) = &mut body {
        map.insert("apiVersion".into(), key.kind.api_version.clone().into());
        map.insert("kind".into(), key.kind.kind.clone().into());
        let metadata = map.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
        metadata["name"] = key.name.clone().into();
        if let Some(namespace) = &key.namespace {
            metadata["namespace"] = namespace.clone().into();
        }
    }
    Object::from_value(body)
}

/// The precondition that nobody has changed an object since it was read.
pub(crate) fn exactly(object: &Object) -> Precondition {
    Precondition::Exactly {
        uid: object.uid().unwrap_or_default().to_owned(),
        resource_version: object.resource_version().unwrap_or_default().to_owned(),
    }
}
