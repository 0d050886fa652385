//! The objects of a world, found by kind, by key and by owner.

use std::collections::{BTreeMap, BTreeSet};

use maily_core::object::{Object, ObjectKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Objects of a kind by namespace, which is empty where they live in none, and name.
type Homes = BTreeMap<String, BTreeMap<String, Object>>;

/// Objects by kind, group, namespace and name: a step for each, because most comparisons of whole keys are of parts that
/// are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    kinds: BTreeMap<String, BTreeMap<String, Homes>>,
    /// Keys by the uid of the object that owns them.
    owned: BTreeMap<String, BTreeSet<ObjectKey>>,
}

/// uids of the owners of an object.
fn owners(object: &Object) -> impl Iterator<Item = &str> {
    object.items("/metadata/ownerReferences").iter().filter_map(|owner| owner.get("uid")?.as_str())
}

/// Where an object lives.
fn home(key: &ObjectKey) -> &str {
    key.namespace.as_deref().unwrap_or_default()
}

impl Store {
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.kinds.get(&key.kind.kind)?.get(key.kind.group())?.get(home(key))?.get(&key.name)
    }

    pub(super) fn insert(&mut self, object: Object) {
        let known = self.get(object.key());
        // Owners of an object change on rare occasions.
        if known.is_none_or(|known| owners(known).ne(owners(&object))) {
            self.forget_owners(object.key());
            self.index(&object);
        }
        let key = object.key();
        if let Some(slot) = self.slot(key) {
            *slot = object;
            return;
        }
        let kinds = self.kinds.entry(key.kind.kind.clone()).or_default();
        let homes = kinds.entry(key.kind.group().to_owned()).or_default();
        homes.entry(home(key).to_owned()).or_default().insert(key.name.clone(), object);
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<Object> {
        self.forget_owners(key);
        let homes = self.kinds.get_mut(&key.kind.kind)?.get_mut(key.kind.group())?;
        homes.get_mut(home(key))?.remove(&key.name)
    }

    fn slot(&mut self, key: &ObjectKey) -> Option<&mut Object> {
        let homes = self.kinds.get_mut(&key.kind.kind)?.get_mut(key.kind.group())?;
        homes.get_mut(home(key))?.get_mut(&key.name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Object> {
        self.kinds.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }

    /// Objects of a kind, of whichever group.
    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Object> {
        let groups = self.kinds.get(kind).into_iter().flat_map(BTreeMap::values);
        groups.flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }

    /// The same in one namespace, or in none.
    pub(super) fn beside(&self, kind: &str, namespace: Option<&str>) -> impl Iterator<Item = &Object> {
        let groups = self.kinds.get(kind).into_iter().flat_map(BTreeMap::values);
        groups.filter_map(move |homes| homes.get(namespace.unwrap_or_default())).flat_map(BTreeMap::values)
    }

    /// What an object of this uid owns.
    pub(super) fn owned_by(&self, uid: &str) -> impl Iterator<Item = &Object> {
        self.owned.get(uid).into_iter().flatten().filter_map(|key| self.get(key))
    }

    fn index(&mut self, object: &Object) {
        for owner in owners(object) {
            self.owned.entry(owner.to_owned()).or_default().insert(object.key().clone());
        }
    }

    fn forget_owners(&mut self, key: &ObjectKey) {
        let Some(object) = self.get(key) else { return };
        let uids: Vec<String> = owners(object).map(str::to_owned).collect();
        for uid in uids {
            if let Some(keys) = self.owned.get_mut(&uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.owned.remove(&uid);
                }
            }
        }
    }
}

fn path(key: &ObjectKey) -> String {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    format!("{}|{}|{}|{}", key.kind.group(), key.kind.kind, namespace, key.name)
}

impl Serialize for Store {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.all().map(|object| (path(object.key()), object)))
    }
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let objects = BTreeMap::<String, Object>::deserialize(deserializer)?;
        let mut store = Self::default();
        for object in objects.into_values() {
            store.insert(object);
        }
        Ok(store)
    }
}
