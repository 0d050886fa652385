//! The set itself: what an object sets, and what two sets make together.

use litemap::LiteMap;
use serde_json::{Map, Value};

use crate::object::{ListKind, Object, is_atomic_map, list_kind, schema::root};

/// Prefix of every annotation and label that is our bookkeeping.
const BOOKKEEPING: &str = "maily.dev/";

/// One step of a path into an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    Field(String),
    /// Key fields of an associative list item, as canonical JSON.
    Key(String),
    /// A member of a set, as JSON.
    Member(String),
}

/// How much of a thing is in a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// What is named of it.
    #[default]
    Parts,
    /// That it is there, beside what is named of it: an empty map says nothing of what others put into it.
    Itself,
    /// All that is in it.
    Whole,
}

/// A set of fields of one object. Bookkeeping under `maily.dev/`, identity, status and what the server sets
/// are never members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) extent: Extent,
    /// Sorted: most have few fields, and nodes of trees have room for many.
    pub(super) children: LiteMap<Element, FieldSet>,
}

impl FieldSet {
    /// The fields that a desired object sets. Nulls set nothing.
    pub fn of(object: &Object) -> Self {
        let mut set = Self::default();
        for (name, value) in object.body() {
            if matches!(name.as_str(), "apiVersion" | "kind" | "status") || value.is_null() {
                continue;
            }
            let mut path = root(&object.key().kind);
            path.push(name);
            set.children.insert(Element::Field(name.clone()), of_value(value, &mut path));
        }
        set.without_bookkeeping()
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.extent == Extent::Parts && self.children.is_empty()
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut set = self.clone();
        set.absorb(other.clone());
        set
    }

    /// Takes in what is in another set.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.extent = self.extent.max(other.extent);
        if self.children.is_empty() {
            self.children = other.children;
            return;
        }
        for (element, theirs) in other.children {
            match self.children.get_mut(&element) {
                Some(ours) => ours.absorb(theirs),
                None => {
                    self.children.insert(element, theirs);
                }
            }
        }
    }

    /// What is in `self` and not in `other`. A field that `other` owns as a whole is owned with all below it.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        if other.extent == Extent::Whole {
            return Self::default();
        }
        let mut children = LiteMap::new_vec();
        for (element, ours) in &self.children {
            let left =
                other.children.get(element).map_or_else(|| ours.clone(), |theirs| ours.difference(theirs));
            if !left.is_empty() {
                children.insert(element.clone(), left);
            }
        }
        // Of a whole field of ours under which the other owns parts nothing is left.
        let stands = other.extent == Extent::Parts && other.children.is_empty();
        Self { extent: if stands { self.extent } else { Extent::Parts }, children }
    }

    /// What is in both, as the finer of the two descriptions.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        match (self.extent, other.extent) {
            (Extent::Whole, Extent::Whole) => {
                return Self { extent: Extent::Whole, children: LiteMap::new_vec() };
            }
            (Extent::Whole, _) => return other.clone(),
            (_, Extent::Whole) => return self.clone(),
            _ => {}
        }
        let mut children = LiteMap::new_vec();
        for (element, ours) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                let both = ours.intersection(theirs);
                if !both.is_empty() {
                    children.insert(element.clone(), both);
                }
            }
        }
        Self { extent: self.extent.min(other.extent), children }
    }

    /// The set without one field, such as `["spec", "replicas"]`.
    #[must_use]
    pub fn without(mut self, path: &[&str]) -> Self {
        self.remove(path);
        self
    }

    /// Whether the field at a path of names is in the set, itself or under a whole.
    pub fn contains(&self, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else { return !self.is_empty() };
        self.extent == Extent::Whole
            || self
                .children
                .get(&Element::Field((*first).to_owned()))
                .is_some_and(|child| child.contains(rest))
    }

    /// Whether the field at a path of names is in the set with all that it has.
    pub fn contains_whole(&self, path: &[&str]) -> bool {
        self.extent == Extent::Whole
            || path.split_first().is_some_and(|(first, rest)| {
                let child = self.children.get(&Element::Field((*first).to_owned()));
                child.is_some_and(|child| child.contains_whole(rest))
            })
    }

    /// Dotted paths of the leaves, for messages: `.spec.template.spec.containers[name=app].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect(String::new(), &mut out);
        out
    }

    fn remove(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let element = Element::Field((*first).to_owned());
        if rest.is_empty() {
            self.children.remove(&element);
        } else if let Some(child) = self.children.get_mut(&element) {
            child.remove(rest);
            if child.is_empty() {
                self.children.remove(&element);
            }
        }
    }

    pub(super) fn without_bookkeeping(mut self) -> Self {
        let metadata = Element::Field("metadata".into());
        if let Some(meta) = self.children.get_mut(&metadata) {
            for name in ["labels", "annotations"] {
                if let Some(child) = meta.children.get_mut(&Element::Field(name.into())) {
                    let ours = |e: &Element| matches!(e, Element::Field(n) if n.starts_with(BOOKKEEPING));
                    child.children.retain(|element, _| !ours(element));
                }
            }
            meta.children.retain(|element, child| match element {
                Element::Field(name) => match name.as_str() {
                    "labels" | "annotations" => !child.is_empty(),
                    "finalizers" | "ownerReferences" => true,
                    _ => false,
                },
                _ => false,
            });
            if meta.is_empty() {
                self.children.remove(&metadata);
            }
        }
        self
    }

    fn collect(&self, prefix: String, out: &mut Vec<String>) {
        if self.extent > Extent::Parts || self.children.is_empty() {
            out.push(prefix.clone());
        }
        for (element, child) in &self.children {
            let next = match element {
                Element::Field(name) => format!("{prefix}.{name}"),
                Element::Key(key) => match serde_json::from_str::<Map<String, Value>>(key) {
                    Ok(map) => {
                        let parts: Vec<String> = map
                            .iter()
                            .map(|(k, v)| {
                                format!("{k}={}", v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                            })
                            .collect();
                        format!("{prefix}[{}]", parts.join(","))
                    }
                    Err(_) => format!("{prefix}[{key}]"),
                },
                Element::Member(value) => format!("{prefix}[{value}]"),
            };
            child.collect(next, out);
        }
    }
}

fn of_value<'a>(value: &'a Value, path: &mut Vec<&'a str>) -> FieldSet {
    let mut set = FieldSet::default();
    let empty = match value {
        Value::Object(map) if !is_atomic_map(path) => {
            set.children = LiteMap::with_capacity(map.len());
            for (name, inner) in map.iter().filter(|(_, inner)| !inner.is_null()) {
                path.push(name);
                // They come sorted: each goes to the end.
                if let Some((field, inner)) =
                    set.children.try_append(Element::Field(name.clone()), of_value(inner, path))
                {
                    set.children.insert(field, inner);
                }
                path.pop();
            }
            Extent::Itself
        }
        Value::Array(items) => match list_kind(path) {
            ListKind::Map(keys) => {
                for item in items {
                    set.children.insert(Element::Key(item_key(item, keys)), of_value(item, path));
                }
                Extent::Itself
            }
            ListKind::Set => {
                for item in items {
                    let whole = FieldSet { extent: Extent::Whole, children: LiteMap::new_vec() };
                    set.children.insert(Element::Member(item.to_string()), whole);
                }
                Extent::Itself
            }
            ListKind::Atomic => Extent::Whole,
        },
        _ => Extent::Whole,
    };
    if set.children.is_empty() {
        set.extent = empty;
    }
    set
}

/// The key of an item as JSON with sorted names; `protocol` defaults to TCP as the API does.
pub(super) fn item_key(item: &Value, keys: &[&str]) -> String {
    let mut names = keys.to_vec();
    names.sort_unstable();
    let mut text = String::from("{");
    for name in names {
        let value = match item.get(name) {
            Some(value) => value.to_string(),
            None if name == "protocol" => "\"TCP\"".to_owned(),
            None => continue,
        };
        if text.len() > 1 {
            text.push(',');
        }
        text.extend(["\"", name, "\":", &value]);
    }
    text.push('}');
    text
}
