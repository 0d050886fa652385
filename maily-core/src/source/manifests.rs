//! Reading manifests: files, folders and patterns of YAML.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    images::{LISTS, pod_specs},
    secrets,
    versions::PLACEHOLDER,
};
use crate::{
    object::{Object, ObjectKey},
    yaml::{Content, Diagnostic, Limits, Node, Place, parse, to_json},
};

/// Bytes that a file of manifests may have, and what a program prints.
pub(super) const MOST: usize = 16 * 1024 * 1024;

const LIMITS: Limits = Limits { bytes: MOST, nodes: 1_000_000, depth: 64, documents: 20_000, aliases: true };

/// Why objects could not be read or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A text with a place.
    #[error("{0}")]
    Text(Diagnostic),
    /// A file or folder.
    #[error("`{path}`: {message}\n  help: {help}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// A program.
    #[error("{program}: {message}\n  help: {help}")]
    Program {
        /// Which.
        program: String,
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
}

/// All errors of a rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceErrors(pub Vec<SourceError>);

/// Errors that a person reads before mending one cause of them all.
const SHOWN: usize = 25;

impl fmt::Display for SourceErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().take(SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for SourceErrors {}

impl From<SourceError> for SourceErrors {
    fn from(error: SourceError) -> Self {
        Self(vec![error])
    }
}

/// An object and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The object.
    pub object: Object,
    /// `file:line`.
    pub place: String,
    /// Where the image of each container stands, by the container's name.
    pub images: Vec<(String, Diagnostic)>,
}

/// Reads the objects of a text. Lists are unfolded; empty documents are skipped.
///
/// # Errors
/// All errors at once.
pub fn read_manifests(origin: &str, text: &str) -> Result<Vec<Found>, SourceErrors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = parse(origin, text, LIMITS).map_err(|mut error| {
        // What cannot be read cannot be told apart either: the line may hold a value.
        if text.to_lowercase().contains("secret") {
            error.excerpt.clear();
        }
        SourceError::Text(*error)
    })?;
    let shown = if documents.iter().any(secrets::may_hold_values) { "" } else { text };
    let (found, errors, seen) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut reader = Reader { origin, shown, found, errors, seen };
    for document in documents.iter().filter(|document| !document.is_null()) {
        reader.document(document);
    }
    if reader.errors.is_empty() { Ok(reader.found) } else { Err(SourceErrors(reader.errors)) }
}

/// What is wrong at a place, and what to do.
pub(super) struct Refusal {
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) help: String,
}

struct Reader<'a> {
    origin: &'a str,
    /// The text from which errors quote; empty where it may hold values of Secrets.
    shown: &'a str,
    found: Vec<Found>,
    errors: Vec<SourceError>,
    seen: BTreeMap<ObjectKey, usize>,
}

impl Reader<'_> {
    fn refuse(&mut self, node: &Node, message: impl Into<String>, help: &str) {
        self.refuse_at(Refusal { place: node.place, message: message.into(), help: help.to_owned() });
    }

    fn refuse_at(&mut self, refusal: Refusal) {
        let Refusal { place, message, help } = refusal;
        let diagnostic = Diagnostic::new(self.origin, self.shown, place, message).with_help(help);
        self.errors.push(SourceError::Text(diagnostic));
    }

    fn document(&mut self, node: &Node) {
        let value = to_json(node);
        let kind = value.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default();
        if kind == "List" || (kind.ends_with("List") && value.get("items").is_some()) {
            match node.get("items").map(|items| &items.content) {
                Some(Content::List(items)) => items.iter().for_each(|item| self.document(item)),
                _ => {
                    self.refuse(node, "a List without `items`", "write the objects as documents of their own")
                }
            }
            return;
        }
        if kind.is_empty() {
            return self.refuse(
                node,
                "an object without `kind`",
                "write `kind: …`, or remove what is no object",
            );
        }
        let api_version = value.get("apiVersion").and_then(|version| version.as_str()).unwrap_or_default();
        let well_formed = match api_version.split_once('/') {
            Some((group, version)) => !group.is_empty() && version.starts_with('v') && !version.contains('/'),
            None => api_version.starts_with('v'),
        };
        if !well_formed {
            let place = node.get("apiVersion").unwrap_or(node);
            let message = format!("`{api_version}` is no apiVersion");
            return self.refuse(place, message, "write it like `v1` or `apps/v1`");
        }
        if value.pointer("/metadata/generateName").is_some() && value.pointer("/metadata/name").is_none() {
            let help = "give it a `name`: a name that the server makes up cannot be found again";
            return self.refuse(node, "an object with `generateName`", help);
        }
        if secrets::is_meant(node) {
            let refusals = secrets::refusals(node);
            if !refusals.is_empty() {
                return refusals.into_iter().for_each(|refusal| self.refuse_at(refusal));
            }
        }
        match Object::from_value(value) {
            // Written once more, it would be called a success that none of its pods shows.
            Ok(object) if replaces_no_pod(&object) => {
                let place = node.get("kind").unwrap_or(node);
                let message = format!(
                    "{} `{}` replaces no pod when its template changes",
                    object.kind(),
                    object.name()
                );
                self.refuse(place, message, "make it a Deployment, which rolls out and can be waited for");
            }
            Ok(object) if !is_name(&object) => {
                let place = node.get("metadata").and_then(|metadata| metadata.get("name")).unwrap_or(node);
                let message = format!("`{}` is no name of a {}", object.name(), object.kind());
                self.refuse(place, message, "write lower-case letters, digits, `-` and `.`, not at the ends");
            }
            Ok(object) => {
                let line = node.place.line;
                if let Some(first) = self.seen.insert(object.key().clone(), line) {
                    let message = format!("{} stands twice (first in line {first})", object.key());
                    return self.refuse(node, message, "remove one of them");
                }
                let images = self.images(node, object.kind());
                self.found.push(Found { object, place: format!("{}:{line}", self.origin), images });
            }
            Err(error) => self.refuse(node, error.to_string(), "correct the object"),
        }
    }
}

impl Reader<'_> {
    /// Where the images of an object stand: what is wrong with one is told there.
    fn images(&self, node: &Node, kind: &str) -> Vec<(String, Diagnostic)> {
        let Some(spec) = pod_specs(kind) else { return Vec::new() };
        let mut parts = spec.trim_start_matches('/').split('/');
        let Some(spec) = parts.try_fold(node, |node, part| node.get(part)) else { return Vec::new() };
        let containers = LISTS.iter().filter_map(|list| match &spec.get(list)?.content {
            Content::List(items) => Some(items),
            _ => None,
        });
        let image = |container: &Node| {
            let (name, image) = (container.get("name")?, container.get("image")?);
            let Content::Scalar { text, .. } = &name.content else { return None };
            Some((text.clone(), Diagnostic::new(self.origin, self.shown, image.place, "")))
        };
        containers.flatten().filter_map(image).collect()
    }
}

fn replaces_no_pod(object: &Object) -> bool {
    matches!(
        (object.key().kind.group(), object.kind()),
        ("apps", "ReplicaSet") | ("", "ReplicationController")
    )
}

/// Rule of the API server: most names are DNS subdomains, those of roles and their bindings only fit into a path.
fn is_name(object: &Object) -> bool {
    let name = object.name();
    if object.key().kind.api_version.starts_with("rbac.authorization.k8s.io/") {
        return !name.contains(['/', '%']) && name != "." && name != "..";
    }
    let label = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// The files that a path means: a file, all YAML of a folder, or a pattern with `*` in its last part. `written` is the path
/// as somebody wrote it.
///
/// # Errors
/// When nothing is there.
pub(super) fn files(root: &Path, pattern: &str, written: &str) -> Result<Vec<PathBuf>, SourceError> {
    let refuse = |message: String, help: &str| SourceError::File {
        path: pattern.to_owned(),
        message,
        help: help.to_owned(),
    };
    let path = root.join(pattern);
    let yaml =
        |path: &Path| path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
    let list = |folder: &Path, fits: &dyn Fn(&str) -> bool| -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // A link to nowhere and a pipe are told when they are read: a manifest that is passed over would be
            // taken for one that is gone. Only the locks of an editor are such links by nature.
            if !path.is_dir() && !name.starts_with(".#") && yaml(&path) && fits(name) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    };
    let found = if pattern.contains('*') {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let (start, end) = name.split_once('*').unwrap_or((&name, ""));
        let folder = path.parent().unwrap_or(root);
        list(folder, &|name| {
            name.starts_with(start) && name.ends_with(end) && name.len() >= start.len() + end.len()
        })
    } else if path.is_dir() {
        list(&path, &|_| true)
    } else if path.exists() {
        Ok(vec![path.clone()])
    } else {
        let help = match written.contains(PLACEHOLDER) {
            true => "correct the path, or choose another version",
            false => "correct the path",
        };
        return Err(refuse("there is no such file or folder".to_owned(), help));
    };
    match found {
        Ok(files) if files.is_empty() => Err(refuse("there is no YAML file".to_owned(), "correct the path")),
        Ok(files) => Ok(files),
        Err(error) => Err(refuse(format!("it cannot be read: {error}"), "correct the path")),
    }
}

/// Reads files of manifests, and says which of them hold no object.
pub(super) fn read_files(
    root: &Path,
    pattern: &str,
    written: &str,
) -> Result<(Vec<Found>, Vec<String>), SourceErrors> {
    let (mut found, mut empty) = (Vec::new(), Vec::new());
    let mut errors = Vec::new();
    for path in files(root, pattern, written)? {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        match contents(&path, &shown) {
            Err(error) => errors.push(error),
            Ok(text) => match read_manifests(&shown, &text) {
                Ok(objects) if objects.is_empty() => empty.push(shown),
                Ok(objects) => found.extend(objects),
                Err(more) => errors.extend(more.0),
            },
        }
    }
    if errors.is_empty() { Ok((found, empty)) } else { Err(SourceErrors(errors)) }
}

/// Refuses what has no end, or nobody who writes to it: devices and pipes, also behind links; and what is too large.
/// What is not there is for others to tell.
pub(super) fn refuse_special(path: &Path, shown: &str) -> Result<(), SourceError> {
    let Ok(there) = fs::metadata(path) else { return Ok(()) };
    let refuse = |message: String, help: &str| {
        Err(SourceError::File { path: shown.to_owned(), message, help: help.to_owned() })
    };
    if !there.is_file() {
        return refuse("it is no regular file".to_owned(), "write the path of a file");
    }
    if there.len() > MOST as u64 {
        return refuse(too_large(there.len()), "split it");
    }
    Ok(())
}

fn too_large(bytes: u64) -> String {
    format!("it has {bytes} bytes; at most {MOST} are read")
}

/// The text of a file.
fn contents(path: &Path, shown: &str) -> Result<String, SourceError> {
    refuse_special(path, shown)?;
    let refuse = |message: String, help: &str| SourceError::File {
        path: shown.to_owned(),
        message,
        help: help.to_owned(),
    };
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // It may grow meanwhile, and some files do not know how long they are.
        File::open(path)?.take(MOST as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes =
        read().map_err(|error| refuse(format!("it cannot be read: {error}"), "correct its permissions"))?;
    if bytes.len() > MOST {
        return Err(refuse(too_large(bytes.len() as u64), "split it"));
    }
    String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8 text".to_owned(), "save it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        read_manifests("m.yaml", text).expect_err("is refused").to_string()
    }

    #[test]
    fn workloads_that_replace_no_pod_are_refused_by_their_name() {
        for (version, kind) in [("apps/v1", "ReplicaSet"), ("v1", "ReplicationController")] {
            let said =
                refusal(&format!("# old\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: api}}\n"));
            let place = format!("m.yaml:3:7: {kind} `api` replaces no pod when its template changes");
            assert!(said.starts_with(&place) && said.contains("help: make it a Deployment"), "{said}");
        }
        // Kinds of that name of other groups are their own operator's.
        read_manifests("m.yaml", "apiVersion: sets.example/v1\nkind: ReplicaSet\nmetadata: {name: api}\n")
            .expect("is read");
    }

    const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";

    #[test]
    fn documents_lists_and_empty_documents_are_read() {
        let text = format!(
            "---\n{SERVICE}---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: b}}}}\n"
        );
        let names: Vec<String> = read_manifests("m", &text)
            .expect("is read")
            .iter()
            .map(|found| found.object.key().short())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_place() {
        assert!(refusal("metadata: {name: a}\n").starts_with("m.yaml:1:1: an object without `kind`"));
        assert!(
            refusal("kind: Service\napiVersion: apps\nmetadata: {name: a}\n")
                .contains("m.yaml:2:13: `apps` is no apiVersion")
        );
        assert!(
            refusal("kind: Pod\napiVersion: v1\nmetadata: {generateName: a-}\n").contains("generateName")
        );
        let named = |kind: &str, name: &str| format!("apiVersion: {kind}\nmetadata: {{name: '{name}'}}\n");
        assert!(
            refusal(&named("v1\nkind: ConfigMap", "UP_CASE"))
                .starts_with("m.yaml:3:18: `UP_CASE` is no name of a ConfigMap")
        );
        let role = named("rbac.authorization.k8s.io/v1\nkind: Role", "system:Reader");
        assert!(read_manifests("m", &role).is_ok());
        assert!(refusal(&"---\nmetadata: {}\n".repeat(40)).ends_with("and 15 more"));
        assert!(refusal(&format!("{SERVICE}---\n{SERVICE}")).contains("stands twice (first in line 1)"));
    }
}
