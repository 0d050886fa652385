//! The data.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use maily_core::object::{Object, ObjectKey, ObjectKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Account, CallLog, DatabaseService, Fault, Frontend, SecretStore, Telemetry, agenda::Agenda, clock::Clock,
    store::Store,
};

/// Changes that are kept for watches.
const HISTORY: usize = 4096;

/// A simulated cluster and what stands around it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct World {
    /// The world's time.
    pub now: Timestamp,
    /// How its time goes, where somebody has set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) clock: Option<Clock>,
    /// Last resource version given.
    pub version: u64,
    /// Chance: every world of one seed goes the same way.
    pub seed: u64,
    /// Faults in force.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// How often each image's tag was moved in its registry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) moved_tags: BTreeMap<String, u64>,
    /// Projects of the frontend host.
    #[serde(default)]
    pub frontends: BTreeMap<String, Frontend>,
    pub(super) objects: Store,
    /// Number of requests so far.
    #[serde(default)]
    pub calls: u64,
    /// The last calls.
    #[serde(default)]
    pub log: CallLog,
    /// The cloud's account: roles and buckets.
    #[serde(default)]
    pub account: Account,
    #[serde(default)]
    pub(super) database_service: DatabaseService,
    #[serde(default)]
    pub(crate) secrets: SecretStore,
    #[serde(default)]
    pub(super) telemetry: Telemetry,
    #[serde(skip)]
    pub(super) history: VecDeque<Change>,
    #[serde(skip)]
    pub(super) agenda: Agenda,
    /// What pods said beside the lines that all say.
    #[serde(skip)]
    pub(super) said: Vec<(ObjectKey, Timestamp, String)>,
}

/// A change of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Resource version of the change.
    pub version: u64,
    /// The object afterwards, or its last state.
    pub object: Object,
    /// Whether it is gone.
    pub deleted: bool,
}

impl World {
    /// An empty cluster with these namespaces and some nodes.
    pub fn new(now: Timestamp, seed: u64, namespaces: &[&str]) -> Self {
        let mut world = Self {
            now,
            clock: None,
            version: 1,
            seed,
            faults: Vec::new(),
            moved_tags: BTreeMap::new(),
            frontends: BTreeMap::new(),
            objects: Store::default(),
            calls: 0,
            log: CallLog::default(),
            account: Account::default(),
            database_service: DatabaseService::default(),
            secrets: SecretStore::default(),
            telemetry: Telemetry::default(),
            history: VecDeque::new(),
            agenda: Agenda::default(),
            said: Vec::new(),
        };
        for name in ["kube-system", "default"].iter().chain(namespaces) {
            world.add_namespace(name);
        }
        for index in 0..3 {
            world.put(
                Object::from_value(json!({"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": format!("node-{index}"), "uid": format!("node-{index}")}}))
                .expect("a node"),
            );
        }
        world
    }

    /// Makes a namespace, unless it is there.
    pub fn add_namespace(&mut self, name: &str) {
        let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, name);
        if self.get(&key).is_none() {
            let uid = self.uid();
            self.put(
                Object::from_value(json!({"apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"name": name, "uid": uid}, "status": {"phase": "Active"}}))
                .expect("a namespace"),
            );
        }
    }

    /// What tells this cluster from another: the uid of its namespace `kube-system`.
    pub fn identity(&self) -> String {
        let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, "kube-system");
        self.get(&key).and_then(Object::uid).unwrap_or_default().to_owned()
    }

    /// An object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key)
    }

    /// All objects.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.all()
    }

    /// Objects of a kind: of one namespace, or of all.
    pub(crate) fn listed<'a>(
        &'a self,
        kind: &'a str,
        namespace: Option<&'a str>,
    ) -> Box<dyn Iterator<Item = &'a Object> + 'a> {
        match namespace {
            Some(_) => Box::new(self.objects.beside(kind, namespace)),
            None => Box::new(self.objects.of_kind(kind)),
        }
    }

    /// All objects of a kind.
    pub fn of_kind(&self, kind: &str) -> Vec<&Object> {
        self.objects.of_kind(kind).collect()
    }

    /// Changes after a resource version; `None` where the history does not reach back so far.
    pub(crate) fn since(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        let first = self.history.front().map_or(self.version + 1, |change| change.version);
        (version == self.version || first <= version + 1).then(|| self.changes(version))
    }

    /// Changes after a resource version that are remembered.
    pub(crate) fn changes(&self, version: u64) -> impl Iterator<Item = &Change> {
        let seen = self.history.partition_point(|change| change.version <= version);
        self.history.range(seen..)
    }

    /// A new uid.
    pub(super) fn uid(&mut self) -> String {
        self.version += 1;
        format!("{:08x}-0000-4000-8000-{:012x}", self.seed & 0xffff_ffff, self.version)
    }

    /// Stores an object under a new resource version, and tells the controllers.
    pub(super) fn put(&mut self, object: Object) -> Object {
        let object = self.store(object);
        self.notice(&object);
        object
    }

    fn store(&mut self, object: Object) -> Object {
        self.version += 1;
        let version = self.version;
        let mut object = object;
        object.edit(|body| body["metadata"]["resourceVersion"] = Value::String(version.to_string()));
        self.objects.insert(object.clone());
        self.remember(Change { version, object: object.clone(), deleted: false });
        object
    }

    /// Removes an object.
    pub(super) fn remove(&mut self, key: &ObjectKey) {
        if let Some(object) = self.objects.remove(key) {
            self.version += 1;
            self.agenda.forget(key);
            self.notice(&object);
            self.remember(Change { version: self.version, object, deleted: true });
        }
    }

    fn remember(&mut self, change: Change) {
        self.history.push_back(change);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// Changes an object in place; nothing happens where it is absent or stays the same.
    pub(super) fn edit(&mut self, key: &ObjectKey, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
        if let Some(new) = self.edited(key, change) {
            self.put(new);
        }
    }

    /// A controller writes down what it found: nothing that it would have to look at again itself.
    pub(super) fn report(
        &mut self,
        key: &ObjectKey,
        change: impl FnOnce(&mut serde_json::Map<String, Value>),
    ) {
        if let Some(new) = self.edited(key, change) {
            self.store(new);
        }
    }

    /// A controller writes down a status; nothing happens where it says what stands there.
    pub fn report_status(&mut self, key: &ObjectKey, status: Value) {
        if self.get(key).is_some_and(|object| object.body().get("status") != Some(&status)) {
            self.report(key, |body| {
                body.insert("status".into(), status);
            });
        }
    }

    /// The world without what it remembers for watches that are already open.
    #[cfg(feature = "harness")]
    pub fn forget_history(&mut self) {
        self.history.clear();
    }

    fn edited(
        &self,
        key: &ObjectKey,
        change: impl FnOnce(&mut serde_json::Map<String, Value>),
    ) -> Option<Object> {
        let old = self.get(key)?;
        let mut new = old.clone();
        new.edit(change);
        (new != *old).then_some(new)
    }

    /// The time as the API writes it.
    pub(super) fn time(&self) -> String {
        self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}
