//! The objects of a world, found by kind, by key and by owner.

use std::collections::{BTreeMap, BTreeSet};

use maily_core::object::{Object, ObjectKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Objects by kind and key.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    kinds: BTreeMap<String, BTreeMap<ObjectKey, Object>>,
    /// Keys by the uid of the object that owns them.
    owned: BTreeMap<String, BTreeSet<ObjectKey>>,
}

/// uids of the owners of an object.
fn owners(object: &Object) -> impl Iterator<Item = &str> {
    object.items("/metadata/ownerReferences").iter().filter_map(|owner| owner.get("uid")?.as_str())
}

impl Store {
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.kinds.get(&key.kind.kind)?.get(key)
    }

    pub(super) fn insert(&mut self, object: Object) {
        if let Some(slot) = self.kinds.get_mut(object.kind()).and_then(|known| known.get_mut(object.key())) {
            // Owners of an object change on rare occasions.
            if owners(slot).ne(owners(&object)) {
                self.forget_owners(&object.key().clone());
                self.index(&object);
                self.kinds
                    .get_mut(object.kind())
                    .and_then(|known| known.insert(object.key().clone(), object));
                return;
            }
            *slot = object;
            return;
        }
        self.index(&object);
        self.kinds.entry(object.kind().to_owned()).or_default().insert(object.key().clone(), object);
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<Object> {
        self.forget_owners(key);
        self.kinds.get_mut(&key.kind.kind)?.remove(key)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Object> {
        self.kinds.values().flat_map(BTreeMap::values)
    }

    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Object> {
        self.kinds.get(kind).into_iter().flat_map(BTreeMap::values)
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
