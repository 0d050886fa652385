//! Where the file says something: for what only a rendering finds out.

use super::{Resolved, project::LIMITS};
use crate::yaml::{Content, Diagnostic, Node, Place, parse};

/// A part of the file that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Service(&'a str),
    Source(&'a str),
    Gate(&'a str),
}

impl Part<'_> {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Service(name) | Self::Source(name) | Self::Gate(name) => name,
        }
    }

    /// The key under which all of its kind stand.
    fn home(self) -> &'static str {
        match self {
            Self::Service(_) => "services",
            Self::Source(_) => "sources",
            Self::Gate(_) => "gates",
        }
    }
}

impl std::fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::Service(_) => "service",
            Self::Source(_) => "source",
            Self::Gate(_) => "gate",
        };
        write!(f, "{kind} `{}`", self.name())
    }
}

fn at<'n>(node: &'n Node, path: impl IntoIterator<Item = &'n str>) -> Option<&'n Node> {
    path.into_iter().try_fold(node, |node, key| node.get(key))
}

impl Resolved {
    /// The first of these keys that stands in a part of the file, as this environment has it, or the part itself. A key
    /// that begins with a slash stands at the top.
    pub(crate) fn place(&self, part: Part<'_>, keys: &[&str]) -> Option<Place> {
        let parsed = parse(&self.project.origin, &self.project.text, LIMITS).ok()?;
        let top = parsed.first()?;
        let (home, name) = (part.home(), part.name());
        let own = at(top, ["environments", &*self.environment.name, home, name]);
        let known: Vec<&Node> = own.into_iter().chain(at(top, [home, name])).collect();
        let stands = |key: &&str| match key.strip_prefix('/') {
            Some(key) => top.get(key),
            None => known.iter().find_map(|node| key.split('.').try_fold(*node, |node, key| node.get(key))),
        };
        let itself = || top.get(home)?.entries()?.iter().find(|(key, _)| key.name == name);
        keys.iter().find_map(stands).map(|node| node.place).or_else(|| itself().map(|(key, _)| key.place))
    }

    /// Where a pattern of the project's images stands.
    pub(crate) fn pattern_place(&self, index: usize) -> Option<Place> {
        let parsed = parse(&self.project.origin, &self.project.text, LIMITS).ok()?;
        let images = parsed.first()?.get("images")?;
        match &images.content {
            Content::List(items) => items.get(index).map(|item| item.place),
            _ => Some(images.place),
        }
    }

    /// An error at a place of the file.
    pub(crate) fn diagnostic(&self, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(&self.project.origin, &self.project.text, place, message)
    }

    /// The file, and the line where it is known.
    pub(crate) fn spoken(&self, place: Option<Place>) -> String {
        let origin = &self.project.origin;
        place.map_or_else(|| origin.clone(), |place| format!("{origin}:{}", place.line))
    }
}
