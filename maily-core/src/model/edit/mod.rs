//! Changes of the project file's text that leave every other byte as it is.

mod layout;
mod patch;

use serde_json::Value;

use self::{
    layout::layout,
    patch::{Patch, Want},
};
use super::{EnvironmentName, Fencing, Project, ProjectErrors, ServiceName, project::LIMITS};
use crate::{
    provider::ClusterIdentity,
    yaml::{Node, parse, to_json},
};

/// Why a text could not be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text has errors.
    #[error(transparent)]
    Errors(#[from] ProjectErrors),
    /// The text is laid out in a way that cannot be edited safely.
    #[error("`{0}` is written in a form that cannot be edited safely: write it as a block, one entry a line")]
    Layout(String),
}

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
    let known = root.get("environments").and_then(|environments| environments.get(name));
    let old = known.and_then(|known| known.get("cluster")).and_then(|cluster| cluster.get("identity"));
    let ca = (!identity.ca.is_empty()).then(|| format!("sha256:{}", identity.ca));
    let mut keys = vec![("uid".to_owned(), word(&identity.uid))];
    keys.extend(ca.as_ref().map(|ca| ("ca".to_owned(), plain(ca))));
    let mut bound = Want::Map(keys);
    if ca.is_none() && old.is_some_and(|old| old.get("ca").is_some()) {
        // The old authority must not stay: the identity is written anew.
        bound = Want::Text { written: format!("{{uid: {}}}", quoted(&identity.uid)), means: None };
    }
    let mut cluster = Vec::new();
    cluster.extend(context.map(|context| ("context".to_owned(), word(context))));
    cluster.push(("identity".to_owned(), bound));
    let mut environment = vec![("cluster".to_owned(), Want::Map(cluster))];
    environment.extend(namespace.map(|namespace| ("namespace".to_owned(), word(namespace))));
    if known.is_none() && name.is_production() {
        environment.push(("approval".to_owned(), plain("required")));
    }
    edit(text, origin, &root, "environments", name, Want::Map(environment))
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
    if root.get("environments").and_then(|environments| environments.get(name)).is_none() {
        return Err(EditError::Layout(name.to_string()));
    }
    let fence = Want::Map(vec![("fence".to_owned(), plain(fence.as_str()))]);
    edit(text, origin, &root, "environments", name, fence)
}

/// Adds a service as its own entry at the end of `services`.
///
/// # Errors
/// When the text is no project file, or its layout cannot be edited.
pub fn add_service(text: &str, origin: &str, name: &ServiceName, body: &str) -> Result<String, EditError> {
    let root = root(text, origin)?;
    edit(text, origin, &root, "services", name, Want::Text { written: body.to_owned(), means: None })
}

fn root(text: &str, origin: &str) -> Result<Node, EditError> {
    let mut documents = parse(origin, text, LIMITS).map_err(|error| ProjectErrors(vec![*error]))?;
    if documents.is_empty() {
        Err(EditError::Layout("an empty file".into()))
    } else {
        Ok(documents.remove(0))
    }
}

/// Sets what is wanted at an entry of a section. Whatever else the text means, it means afterwards, too.
fn edit(
    text: &str,
    origin: &str,
    root: &Node,
    section: &str,
    name: &str,
    want: Want,
) -> Result<String, EditError> {
    let refuse = || EditError::Layout(format!("{section}.{name}"));
    let wanted = vec![(section.to_owned(), Want::Map(vec![(name.to_owned(), want)]))];
    let mut patch = Patch::new(text);
    patch.set(&layout(text).ok_or_else(refuse)?, 0, 0, &wanted).ok_or_else(refuse)?;
    let edited = patch.apply();
    let documents = parse(origin, &edited, LIMITS).map_err(|_| refuse())?;
    let (mut before, mut after) = (to_json(root), documents.first().map(to_json).unwrap_or_default());
    without(&mut before, &wanted);
    without(&mut after, &wanted);
    if before != after {
        return Err(refuse());
    }
    Project::parse(&edited, origin)?;
    Ok(edited)
}

/// Takes out what an edit may change.
fn without(value: &mut Value, wanted: &[(String, Want)]) {
    let Value::Object(keys) = value else { return };
    for (key, want) in wanted {
        let rest = match (want, keys.get_mut(key)) {
            (Want::Map(inner), Some(found)) => {
                without(found, inner);
                !found.is_null() && found.as_object().is_none_or(|found| !found.is_empty())
            }
            _ => false,
        };
        if !rest {
            keys.remove(key);
        }
    }
}

fn word(text: &str) -> Want {
    Want::Text { written: quoted(text), means: Some(text.to_owned()) }
}

fn plain(text: &str) -> Want {
    Want::Text { written: text.to_owned(), means: Some(text.to_owned()) }
}

fn quoted(word: &str) -> String {
    let plain = !matches!(word, "" | "null" | "Null" | "NULL")
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
        && !word.starts_with('-');
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "''")) }
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

    /// What differs between a text and its edit: lines that went, lines that came.
    fn changed<'t>(before: &'t str, after: &'t str) -> (Vec<&'t str>, Vec<&'t str>) {
        let without = |of: &'t str, other: &str| {
            let other: Vec<&str> = other.split('\n').collect();
            of.split('\n').filter(|line| !other.contains(line)).collect()
        };
        (without(before, after), without(after, before))
    }

    const BOUND: &str = "cluster: {context: ctx, identity: {uid: u-1, ca: sha256:ab}}";

    #[test]
    fn braces_are_edited_in_place() {
        for (written, edited) in [
            ("{production: {namespace: old}}", format!("{{production: {{{BOUND}, namespace: shop}}}}")),
            ("{production: {}} # ours", format!("{{production: {{{BOUND}, namespace: shop}}}} # ours")),
            (
                "{ staging: { namespace: 's' } }",
                format!(
                    "{{ production: {{{BOUND}, namespace: shop, approval: required}}, staging: {{ namespace: 's' }} }}"
                ),
            ),
            (
                "{\n  # all\n  production: {approval: none, # why\n    namespace: 'old'}  # here\n}",
                format!(
                    "{{\n  # all\n  production: {{{BOUND}, approval: none, # why\n    namespace: shop}}  # here\n}}"
                ),
            ),
            ("{production: }", format!("{{production: {{{BOUND}, namespace: shop}} }}")),
            ("{production}", format!("{{production: {{{BOUND}, namespace: shop}}}}")),
        ] {
            let text = format!("{BASE}environments: {written}\n# end\n");
            assert_eq!(bind(&text, "production"), format!("{BASE}environments: {edited}\n# end\n"));
        }
        let json = r#"{"maily": 1, "project": "shop", "services": {"a": {"from": "m"}}, "sources": {"m": {"manifests": "x.yaml"}}}"#;
        let project = Project::parse(&bind(json, "staging"), "f").expect("is a project");
        assert_eq!(project.environments["staging"].namespace, "shop");
    }

    #[test]
    fn only_values_that_change_lose_their_bytes() {
        let text = format!(
            "{BASE}environments:\n  production:   # prod\n    cluster:   # where\n      # which\n      context: \"ctx\"   # c\n      identity: {{uid: 'u-1',  ca: \"sha256:cd\"}}   # i\n    namespace: \"a\"   # hi\n"
        );
        let edited = bind(&text, "production");
        let (gone, new) = changed(&text, &edited);
        assert_eq!(
            gone,
            ["      identity: {uid: 'u-1',  ca: \"sha256:cd\"}   # i", "    namespace: \"a\"   # hi"]
        );
        assert_eq!(new, ["      identity: {uid: 'u-1',  ca: sha256:ab}   # i", "    namespace: shop   # hi"]);
        assert_eq!(bind(&edited, "production"), edited, "what is bound already stays as it is");
        let dos = text.replace('\n', "\r\n");
        assert_eq!(bind(&dos, "production"), edited.replace('\n', "\r\n"));
        for (base, name) in [(BASE, "production"), (&*text, "staging"), (&*text, "production")] {
            let edited = bind(&base.replace('\n', "\r\n"), name);
            assert_eq!(edited.matches('\n').count(), edited.matches("\r\n").count(), "{edited:?}");
        }
    }

    #[test]
    fn an_authority_that_is_gone_does_not_stay() {
        let text = format!(
            "{BASE}environments:\n  staging:\n    cluster:\n      identity:\n        uid: old\n        ca: sha256:cd\n    # next\n    namespace: s\n"
        );
        let identity = ClusterIdentity { uid: "u-2".into(), ca: String::new() };
        let name: EnvironmentName = "staging".parse().expect("a name");
        let edited = bind_environment(&text, "f", &name, None, &identity, None).expect("can be edited");
        let project = Project::parse(&edited, "f").expect("is a project");
        assert_eq!(project.environments["staging"].cluster.identity, Some(identity), "{edited}");
        assert!(edited.ends_with("      identity: {uid: u-2}\n    # next\n    namespace: s\n"), "{edited}");
    }

    #[test]
    fn an_environment_without_a_word_is_filled() {
        for written in ["environments:", "environments: {}", "environments: ~"] {
            for comment in ["", " # ours"] {
                let text = format!("{BASE}{written}{comment}\n");
                let edited = bind(&text, "staging");
                let expected =
                    format!("{BASE}environments:{comment}\n  staging:\n    {BOUND}\n    namespace: shop\n");
                assert_eq!(edited, expected);
            }
        }
        let text = format!("{BASE}environments:\n  staging: # s\n  # between\n  production:");
        let edited = bind(&text, "staging");
        assert_eq!(
            edited,
            format!(
                "{BASE}environments:\n  staging: # s\n    {BOUND}\n    namespace: shop\n  # between\n  production:"
            )
        );
        let edited = bind(&text, "production");
        assert_eq!(edited, format!("{text}\n    {BOUND}\n    namespace: shop"));
        let edited = bind(&text, "third");
        assert_eq!(edited, format!("{text}\n  third:\n    {BOUND}\n    namespace: shop"));
    }
}
