//! Reading maps of a YAML tree: every unknown key, wrong type and wrong word becomes an error with its place; nothing
//! stops at the first.

use std::{cell::RefCell, fmt, str::FromStr};

use super::Seconds;
use crate::yaml::{Content, Diagnostic, Key, Node, Place};

/// All errors of a project file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectErrors(pub Vec<Diagnostic>);

impl fmt::Display for ProjectErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ProjectErrors {}

/// Collects errors.
pub(super) struct Errors<'a> {
    origin: &'a str,
    text: &'a str,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'a> Errors<'a> {
    pub(super) fn new(origin: &'a str, text: &'a str) -> Self {
        Self { origin, text, found: RefCell::default() }
    }

    pub(super) fn add(&self, place: Place, message: impl Into<String>, help: Option<String>) {
        let mut diagnostic = Diagnostic::new(self.origin, self.text, place, message);
        diagnostic.help = help;
        let mut found = self.found.borrow_mut();
        // A service is read once by itself and once for each environment that changes it.
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }

    pub(super) fn into_result<T>(self, value: Option<T>) -> Result<T, ProjectErrors> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|diagnostic| diagnostic.place);
        match value {
            Some(value) if found.is_empty() => Ok(value),
            _ => Err(ProjectErrors(found)),
        }
    }
}

/// The nearest of some known words.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// A map that is read key by key.
pub(super) struct Fields<'n, 'e> {
    place: Place,
    what: &'static str,
    entries: Vec<Option<&'n (Key, Node)>>,
    known: RefCell<Vec<&'static str>>,
    errors: &'e Errors<'e>,
}

impl<'n, 'e> Fields<'n, 'e> {
    /// Reads a map; `None`, with an error, where it is something else.
    pub(super) fn of(node: &'n Node, what: &'static str, errors: &'e Errors<'e>) -> Option<Self> {
        let entries = match &node.content {
            Content::Map(entries) => entries.iter().map(Some).collect(),
            _ if node.is_null() => Vec::new(),
            _ => {
                errors.add(node.place, format!("{what} is a map, like `key: value`"), None);
                return None;
            }
        };
        Some(Self { place: node.place, what, entries, known: RefCell::default(), errors })
    }

    pub(super) fn errors(&self) -> &'e Errors<'e> {
        self.errors
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The value of a key.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'n Node> {
        self.known.borrow_mut().push(name);
        let slot = self.entries.iter_mut().find(|entry| entry.is_some_and(|(key, _)| key.name == name))?;
        slot.take().map(|(_, node)| node)
    }

    /// The place of a key that was not taken yet.
    pub(super) fn key_place(&self, name: &str) -> Option<Place> {
        self.entries.iter().flatten().find(|(key, _)| key.name == name).map(|(key, _)| key.place)
    }

    /// A word.
    pub(super) fn text(&mut self, name: &'static str) -> Option<(String, Place)> {
        let node = self.take(name)?;
        text(node, name, self.errors).map(|text| (text, node.place))
    }

    /// A word that means something.
    pub(super) fn value<T>(&mut self, name: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let node = self.take(name)?;
        value(node, name, self.errors)
    }

    /// Time for something: no time at all is a mistake.
    pub(super) fn timeout(&mut self) -> Option<Seconds> {
        let node = self.take("timeout")?;
        let timeout: Seconds = value(node, "timeout", self.errors)?;
        timeout
            .at_least_one()
            .map_err(|error| self.errors.add(node.place, format!("`timeout`: {error}"), None))
            .ok()
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let node = self.take(name)?;
        match &node.content {
            Content::Scalar { text, quoted: false } if text == "true" => Some(true),
            Content::Scalar { text, quoted: false } if text == "false" => Some(false),
            _ => {
                self.errors.add(node.place, format!("`{name}` is `true` or `false`"), None);
                None
            }
        }
    }

    /// A list of words; one word alone counts as a list of one.
    pub(super) fn words(&mut self, name: &'static str) -> Vec<(String, Place)> {
        let Some(node) = self.take(name) else { return Vec::new() };
        let items = match &node.content {
            Content::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let word = |item: &'n Node| match &item.content {
            Content::Scalar { text, .. } if !item.is_null() => Some((text.clone(), item.place)),
            _ => {
                let help = format!("write `{name}: …`, or several as `{name}: [… , …]`");
                self.errors.add(item.place, format!("`{name}` is a text or a list of texts"), Some(help));
                None
            }
        };
        items.iter().filter_map(word).collect()
    }

    /// The entries of a map below a key.
    pub(super) fn map(&mut self, name: &'static str) -> &'n [(Key, Node)] {
        let Some(node) = self.take(name) else { return &[] };
        match &node.content {
            Content::Map(entries) => entries,
            _ if node.is_null() => &[],
            _ => {
                self.errors.add(node.place, format!("`{name}` is a map of names"), None);
                &[]
            }
        }
    }

    /// Refuses keys that have a meaning which is not there yet.
    pub(super) fn not_yet(&mut self, names: &[&'static str]) {
        for name in names {
            let place = self.key_place(name);
            if self.take(name).is_some() {
                self.errors.add(
                    place.unwrap_or(self.place),
                    format!("`{name}` is not there yet"),
                    Some("take it out".into()),
                );
            }
        }
        // Nobody is sent to a key that is refused.
        self.known.borrow_mut().retain(|known| !names.contains(known));
    }

    /// Refuses what was not taken.
    pub(super) fn finish(self) {
        self.finish_with(&[]);
    }

    /// Refuses what was not taken; for words that people know from elsewhere it says how that is written here.
    pub(super) fn finish_with(self, synonyms: &[(&str, &str)]) {
        let known = self.known.into_inner();
        for (key, _) in self.entries.into_iter().flatten() {
            let written = synonyms
                .iter()
                .find(|(word, _)| strsim::damerau_levenshtein(word, &key.name) <= word.len() / 6)
                .map(|(_, written)| format!("write {written}"));
            let help = nearest(&key.name, known.iter().copied())
                .or(written)
                .unwrap_or_else(|| format!("{} knows {}", self.what, known.join(", ")));
            self.errors.add(key.place, format!("unknown key `{}`", key.name), Some(help));
        }
    }
}

/// A scalar as text.
pub(super) fn text(node: &Node, name: &str, errors: &Errors<'_>) -> Option<String> {
    match &node.content {
        Content::Scalar { text, .. } if !node.is_null() => Some(text.clone()),
        _ => {
            errors.add(node.place, format!("`{name}` is a word"), None);
            None
        }
    }
}

/// A scalar that means something.
pub(super) fn value<T>(node: &Node, name: &str, errors: &Errors<'_>) -> Option<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    let text = text(node, name, errors)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let error: T::Err = error;
            errors.add(node.place, format!("`{name}`: {error}"), None);
            None
        }
    }
}
