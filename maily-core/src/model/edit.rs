//! Changes of the project file's text that leave every other byte as it is.

use super::{EnvironmentName, Fencing, Project, ProjectErrors, ServiceName};
use crate::{
    provider::ClusterIdentity,
    yaml::{Content, Limits, Node, parse},
};

/// Why a text could not be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text has errors.
    #[error(transparent)]
    Errors(#[from] ProjectErrors),
    /// The text is laid out in a way that cannot be edited safely.
    #[error(
        "`{0}` stands on one line, or in another form that cannot be edited safely: write it as a block, one entry a line"
    )]
    Layout(String),
}

pub(super) const LIMITS: Limits =
    Limits { bytes: 4 * 1024 * 1024, nodes: 200_000, depth: 32, documents: 1, aliases: false };

/// Binds an environment to a cluster; makes the environment if it is absent.
///
/// # Errors
/// When the text is no project file, or its layout cannot be edited.
pub fn bind_environment(
    text: &str,
    origin: &str,
    name: &EnvironmentName,
    context: Option<&str>,
    identity: &ClusterIdentity,
    namespace: Option<&str>,
) -> Result<String, EditError> {
    let root = root(text, origin)?;
    let mut identity_text = format!("uid: {}", identity.uid);
    if !identity.ca.is_empty() {
        identity_text.push_str(&format!(", ca: sha256:{}", identity.ca));
    }
    let context_text = context.map(|context| format!("context: {}, ", quoted(context))).unwrap_or_default();
    let cluster = format!("cluster: {{{context_text}identity: {{{identity_text}}}}}");
    let known = root.get("environments").and_then(|environments| environments.get(name));
    let edited = match known {
        Some(node) => {
            let mut lines = vec![cluster];
            lines.extend(namespace.map(|namespace| format!("namespace: {namespace}")));
            rewrite(text, &root, name, node, &lines)?
        }
        None => {
            let mut lines = vec![format!("{name}:"), format!("  {cluster}")];
            lines.extend(namespace.map(|namespace| format!("  namespace: {namespace}")));
            if name.is_production() {
                lines.push("  approval: required".to_owned());
            }
            append(text, &root, "environments", &lines)?
        }
    };
    Project::parse(&edited, origin)?;
    Ok(edited)
}

/// Records whether an environment has a fence.
///
/// # Errors
/// When the text is no project file or has no such environment, or its layout cannot be edited.
pub fn record_fence(
    text: &str,
    origin: &str,
    name: &EnvironmentName,
    fence: Fencing,
) -> Result<String, EditError> {
    let root = root(text, origin)?;
    let known = root.get("environments").and_then(|environments| environments.get(name));
    let node = known.ok_or_else(|| EditError::Layout(name.to_string()))?;
    let edited = rewrite(text, &root, name, node, &[format!("fence: {}", fence.as_str())])?;
    Project::parse(&edited, origin)?;
    Ok(edited)
}

/// Adds a service as its own entry at the end of `services`.
///
/// # Errors
/// When the text is no project file, or its layout cannot be edited.
pub fn add_service(text: &str, origin: &str, name: &ServiceName, body: &str) -> Result<String, EditError> {
    let root = root(text, origin)?;
    let edited = append(text, &root, "services", &[format!("{name}: {body}")])?;
    Project::parse(&edited, origin)?;
    Ok(edited)
}

fn root(text: &str, origin: &str) -> Result<Node, EditError> {
    let mut documents = parse(origin, text, LIMITS).map_err(|error| ProjectErrors(vec![*error]))?;
    if documents.is_empty() {
        Err(EditError::Layout("an empty file".into()))
    } else {
        Ok(documents.remove(0))
    }
}

fn quoted(word: &str) -> String {
    let plain = !word.is_empty()
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "''")) }
}

/// Whether a map is written as a block, one key a line.
fn is_block(text: &str, node: &Node) -> bool {
    let line = text.lines().nth(node.place.line - 1).unwrap_or_default();
    line.chars().nth(node.place.column - 1) != Some('{')
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The line after a block that begins after line `first` and is indented more than `indent`; trailing comments and
/// blank lines belong to what follows.
fn end_of_block(lines: &[&str], first: usize, indent: usize) -> usize {
    let mut end = first;
    for (number, line) in lines.iter().enumerate().skip(first) {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if indentation(line) <= indent {
            break;
        }
        end = number + 1;
    }
    end
}

fn join(lines: &[String], text: &str) -> String {
    let mut joined = lines.join("\n");
    if text.ends_with('\n') || text.is_empty() {
        joined.push('\n');
    }
    joined
}

/// Appends lines to the block of a top-level key, which is made if it is absent.
fn append(text: &str, root: &Node, section: &str, added: &[String]) -> Result<String, EditError> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let key = match &root.content {
        Content::Map(entries) => entries.iter().find(|(key, _)| key.name == section),
        _ => None,
    };
    let Some((key, node)) = key else {
        out.push(String::new());
        out.push(format!("{section}:"));
        out.extend(added.iter().map(|line| format!("  {line}")));
        return Ok(join(&out, text));
    };
    let header = key.place.line - 1;
    if node.is_null() || matches!(&node.content, Content::Map(entries) if entries.is_empty()) {
        let line = lines[header];
        let comment = line.find(" #").map(|at| line[at..].to_owned()).unwrap_or_default();
        out[header] = format!("{section}:{comment}");
        for (offset, line) in added.iter().enumerate() {
            out.insert(header + 1 + offset, format!("  {line}"));
        }
        return Ok(join(&out, text));
    }
    if node.place.line == key.place.line || !is_block(text, node) {
        return Err(EditError::Layout(section.to_owned()));
    }
    let indent = node.place.column - 1;
    let end = end_of_block(&lines, key.place.line, indentation(lines[header]));
    for (offset, line) in added.iter().enumerate() {
        out.insert(end + offset, format!("{}{line}", " ".repeat(indent)));
    }
    Ok(join(&out, text))
}

/// Sets keys of one environment.
fn rewrite(text: &str, root: &Node, name: &str, node: &Node, set: &[String]) -> Result<String, EditError> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let Some(Content::Map(environments)) = root.get("environments").map(|node| &node.content) else {
        return Err(EditError::Layout("environments".into()));
    };
    let Some((key, _)) = environments.iter().find(|(key, _)| key.name == name) else {
        return Err(EditError::Layout(name.to_owned()));
    };
    let header = key.place.line - 1;
    let indent = key.place.column - 1;
    let entries = match &node.content {
        Content::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    let block = !entries.is_empty() && is_block(text, node) && node.place.line > key.place.line;
    let inner = " ".repeat(if block { node.place.column - 1 } else { indent + 2 });
    if !block {
        // One line, or nothing: written out anew, the other keys as they stand.
        let mut kept = Vec::new();
        for (index, (entry, value)) in entries.iter().enumerate() {
            if set.iter().any(|line| line.starts_with(&format!("{}:", entry.name))) {
                continue;
            }
            if value.place.line != key.place.line || entry.place.line != key.place.line {
                return Err(EditError::Layout(name.to_owned()));
            }
            let until = entries.get(index + 1).map(|(next, _)| next.place.column - 1);
            let line: Vec<char> = lines[header].chars().collect();
            let until = until.unwrap_or_else(|| line.iter().rposition(|c| *c == '}').unwrap_or(line.len()));
            let piece: String = line[entry.place.column - 1..until].iter().collect();
            kept.push(piece.trim().trim_end_matches(',').trim().to_owned());
        }
        out[header] = format!("{}{name}:", " ".repeat(indent));
        for (offset, line) in set.iter().chain(&kept).enumerate() {
            out.insert(header + 1 + offset, format!("{inner}{line}"));
        }
        return Ok(join(&out, text));
    }
    // From the bottom up, so that line numbers above stay true.
    let mut missing = Vec::new();
    let mut replace: Vec<(usize, usize, String)> = Vec::new();
    for line in set {
        let wanted = line.split(':').next().unwrap_or_default();
        match entries.iter().find(|(entry, _)| entry.name == wanted) {
            Some((entry, _)) => {
                let first = entry.place.line - 1;
                let end = end_of_block(&lines, entry.place.line, entry.place.column - 1);
                replace.push((first, end.max(first + 1), format!("{inner}{line}")));
            }
            None => missing.push(format!("{inner}{line}")),
        }
    }
    replace.sort_by_key(|(first, ..)| std::cmp::Reverse(*first));
    for (first, end, line) in replace {
        let comment = lines[first].find(" #").map(|at| lines[first][at..].to_owned()).unwrap_or_default();
        out.splice(first..end, [format!("{line}{comment}")]);
    }
    for (offset, line) in missing.into_iter().enumerate() {
        out.insert(header + 1 + offset, line);
    }
    Ok(join(&out, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> ClusterIdentity {
        ClusterIdentity { uid: "u-1".into(), ca: "ab".into() }
    }

    fn bind(text: &str, name: &str) -> String {
        let name = name.parse().expect("a name");
        bind_environment(text, "f", &name, Some("ctx"), &identity(), Some("shop")).expect("can be edited")
    }

    const BASE: &str =
        "maily: 1\nproject: shop # ours\nservices:\n  a: {from: m}\nsources:\n  m: {manifests: x.yaml}\n";

    #[test]
    fn an_absent_environment_is_made() {
        let edited = bind(BASE, "production");
        assert!(edited.starts_with(BASE), "{edited}");
        let project = Project::parse(&edited, "f").expect("is a project");
        let environment = &project.environments["production"];
        assert_eq!(environment.cluster.identity, Some(identity()));
        assert_eq!(environment.cluster.context.as_deref(), Some("ctx"));
        assert_eq!(environment.namespace, "shop");
    }

    #[test]
    fn comments_and_other_keys_stay() {
        let text = format!(
            "{BASE}# above\nenvironments:\n  staging: {{namespace: old, approval: none}} # inline\n  # between\n  production: # prod\n    # why\n    approval: required # keep\n    cluster:\n      context: old\n    services: {{}}\n# end\n"
        );
        let edited = bind(&text, "production");
        for kept in [
            "# above",
            "# between",
            "    # why",
            "    approval: required # keep",
            "    services: {}",
            "# end",
        ] {
            assert!(edited.contains(kept), "{kept} in {edited}");
        }
        assert!(!edited.contains("context: old"), "{edited}");
        let edited = bind(&text, "staging");
        let project = Project::parse(&edited, "f").expect("is a project");
        assert_eq!(project.environments["staging"].namespace, "shop");
    }

    #[test]
    fn a_fence_is_recorded_and_the_record_is_changed() {
        let text = format!(
            "{BASE}environments:\n  staging: {{namespace: old}} # inline\n  production: # prod\n    namespace: shop # kept\n"
        );
        for name in ["staging", "production"] {
            let name: EnvironmentName = name.parse().expect("a name");
            let fence =
                |text: &str| Project::parse(text, "f").expect("is a project").environments[&*name].fence;
            assert_eq!(fence(&text), Fencing::None);
            let on = record_fence(&text, "f", &name, Fencing::Installed).expect("can be edited");
            assert_eq!(fence(&on), Fencing::Installed, "{on}");
            assert!(on.contains("namespace: shop # kept"), "{on}");
            let off = record_fence(&on, "f", &name, Fencing::None).expect("can be edited");
            assert_eq!(fence(&off), Fencing::None, "{off}");
            assert_eq!(off.matches("fence:").count(), 1, "{off}");
        }
    }

    #[test]
    fn a_service_is_added_at_the_end_of_its_block() {
        let edited =
            add_service(BASE, "f", &"b".parse().expect("a name"), "{from: m}").expect("can be edited");
        assert!(edited.contains("  a: {from: m}\n  b: {from: m}\nsources:"), "{edited}");
    }
}
