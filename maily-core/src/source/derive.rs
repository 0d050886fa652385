//! A project file for manifests that somebody else wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use super::{
    group::{Groups, group},
    hooks::is_hook,
    images::images,
    manifests::{Found, SourceError, SourceErrors, read_files},
    pattern::{Used, carried, patterns, remedy},
};
use crate::{
    model::{Placeholders, ProjectName, ServiceName, Version, expand},
    object::{Object, Scopes},
};

/// What to derive from.
#[derive(Clone, Debug)]
pub struct DeriveRequest<'a> {
    /// Folder that paths are relative to.
    pub root: &'a Path,
    /// File, folder or pattern, perhaps with `{version}`.
    pub from: &'a str,
    /// The version to look at; else what the project's own images carry.
    pub version: Option<&'a Version>,
    /// Name of the project.
    pub name: &'a ProjectName,
    /// Services of the last phase.
    pub critical: &'a [String],
}

/// A derived project file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// Its text.
    pub text: String,
    /// The services that were found.
    pub services: Vec<String>,
    /// The version that was looked at, where there is one.
    pub version: Option<Version>,
    /// What was not understood.
    pub remarks: Vec<String>,
    /// Names given as critical that are no services.
    pub unknown_critical: Vec<String>,
}

/// Derives a project file.
///
/// # Errors
/// When the manifests cannot be read.
pub fn derive(request: &DeriveRequest<'_>) -> Result<Derived, SourceErrors> {
    let values =
        Placeholders { version: request.version.map(|version| &**version), ..Placeholders::default() };
    let path = expand(request.from, &values).map_err(|message| super::SourceError::File {
        path: request.from.to_owned(),
        message,
        help: "only {version} means something here".to_owned(),
    })?;
    let (found, empty) = read_files(request.root, &path, request.from)?;
    if found.is_empty() {
        let message = "there is no object in it".to_owned();
        return Err(SourceError::File {
            path,
            message,
            help: "name the files that have manifests".to_owned(),
        }
        .into());
    }
    let (hooks, found): (Vec<Found>, Vec<Found>) = found.into_iter().partition(is_hook);
    let objects: Vec<Object> = found.into_iter().map(|found| found.object).collect();
    let namespaces = namespaces(&objects);
    let groups = group(objects);
    let (usable, refused): (Vec<&String>, Vec<&String>) =
        groups.services.keys().partition(|name| name.parse::<ServiceName>().is_ok());
    let mut remarks: Vec<String> = refused
        .iter()
        .map(|name| format!("workload `{name}` has a name that cannot be a service's"))
        .collect();
    remarks.extend(empty.iter().map(|file| format!("{file} holds no object")));
    for Found { object, place, .. } in &hooks {
        let what = object.key().short();
        remarks.push(format!("{place}: {what} is a Helm hook: describe it as a `job` with `before` or `after`, and take it out of the manifests"));
    }
    for (object, claims) in &groups.shared {
        let whose = if claims.is_empty() {
            "belongs to no workload".to_owned()
        } else {
            format!("is used by {}", claims.iter().cloned().collect::<Vec<_>>().join(", "))
        };
        remarks.push(format!("{} {whose}: it is applied before the services", object.key().short()));
    }
    let critical: BTreeSet<&str> = request.critical.iter().map(String::as_str).collect();
    let unknown_critical: Vec<String> =
        request.critical.iter().filter(|name| !usable.iter().any(|known| known == name)).cloned().collect();
    let used: Used = groups
        .services
        .iter()
        .flat_map(|(name, objects)| objects.iter().flat_map(images).map(|(_, image)| (name.clone(), image)))
        .collect();
    let version = request.version.cloned().or_else(|| carried(&used));
    let patterns = version.as_ref().map(|version| patterns(&used, version)).unwrap_or_default();
    if let (true, Some((_, image)), false) =
        (patterns.is_empty(), used.first(), request.from.contains("{version}"))
    {
        let said = version.as_ref().map_or_else(
            || "which images are the project's own was not to be told".to_owned(),
            |version| format!("no image carries the version `{version}`"),
        );
        remarks.push(format!(
            "{said}: images stay as they are written, such as `{image}`, whatever version is deployed; give the tag that the \
             project's own carry as `--version`, or write {} into the file",
            remedy(&used)
        ));
    }
    let namespace = match &namespaces.iter().collect::<Vec<_>>()[..] {
        [] => None,
        [only] => Some(only.as_str()),
        several => {
            let names = several.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            remarks.push(format!(
                "the objects stand in {} namespaces ({names}), and an environment is one: take it out of the manifests, or make a \
                 project of each",
                several.len()
            ));
            None
        }
    };
    let parts = Parts {
        services: &usable,
        critical: &critical,
        images: &patterns,
        namespace: namespace.unwrap_or(request.name),
        talks: &talks(&groups),
    };
    let text = write(request, &parts);
    let services = usable.into_iter().cloned().collect();
    Ok(Derived { text, services, version, remarks, unknown_critical })
}

/// Namespaces that objects name in which they can stand, or that the manifests bring where none does.
fn namespaces(objects: &[Object]) -> BTreeSet<String> {
    let scopes = Scopes::of_definitions(objects);
    let named: BTreeSet<String> = objects
        .iter()
        .filter(|object| !scopes.is_misplaced(object))
        .filter_map(|object| object.namespace().map(str::to_owned))
        .collect();
    if named.is_empty() {
        let brought = objects.iter().filter(|object| object.kind() == "Namespace");
        return brought.map(|object| object.name().to_owned()).collect();
    }
    named
}

/// What is written.
struct Parts<'a> {
    services: &'a [&'a String],
    critical: &'a BTreeSet<&'a str>,
    images: &'a [String],
    namespace: &'a str,
    talks: &'a BTreeMap<&'a str, BTreeSet<&'a str>>,
}

/// Which services a service names in its variables.
fn talks(groups: &Groups) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, objects) in &groups.services {
        for object in objects {
            for container in object.items("/spec/template/spec/containers") {
                let env = container.get("env").and_then(|env| env.as_array());
                for value in env.into_iter().flatten().filter_map(|entry| entry.get("value")?.as_str()) {
                    let host = value.split_once("://").map_or(value, |(_, rest)| rest);
                    let host = host.split([':', '/', '.']).next().unwrap_or_default();
                    if let Some((peer, _)) =
                        groups.services.get_key_value(host).filter(|(peer, _)| *peer != name)
                    {
                        found.entry(name).or_default().insert(peer);
                    }
                }
            }
        }
    }
    found
}

fn write(request: &DeriveRequest<'_>, parts: &Parts<'_>) -> String {
    let Parts { services, critical, images, namespace, talks } = *parts;
    let mut text = String::new();
    let source = request.name;
    let _ = writeln!(text, "# The project of {source}: what is released, where, and in which order.");
    let _ = writeln!(text, "maily: 1\nproject: {source}");
    let quoted: Vec<String> = images.iter().map(|pattern| format!("'{pattern}'")).collect();
    if let [first, more @ ..] = &quoted[..] {
        let _ = writeln!(text, "# The project's own images; any other image stays as the manifests have it.");
        let images = if more.is_empty() { first.clone() } else { format!("[{}]", quoted.join(", ")) };
        let _ = writeln!(text, "images: {images}");
    }
    let _ = writeln!(
        text,
        "\n# Where it runs. `mailyctl env bind production --context CONTEXT --namespace NAMESPACE` fills in the cluster."
    );
    let _ = writeln!(text, "environments:\n  production:\n    namespace: {namespace}");
    let _ = writeln!(text, "    approval: required        # a person has to say yes");
    let _ = writeln!(text, "\n# Objects are grouped by workload, selector and reference at every plan.");
    let _ = writeln!(text, "sources:\n  {source}: {{manifests: '{}'}}", request.from);
    let _ = writeln!(
        text,
        "\n# `critical: true` puts a service into the last phase; `needs: [NAME]` lets it wait for another one."
    );
    let _ = writeln!(text, "services:");
    for name in services {
        let flag = if critical.contains(name.as_str()) { "critical: true, " } else { "" };
        let peers: Vec<&str> = talks.get(name.as_str()).into_iter().flatten().copied().collect();
        let remark =
            if peers.is_empty() { String::new() } else { format!("   # talks to {}", peers.join(", ")) };
        let _ = writeln!(text, "  {name}: {{{flag}from: {source}}}{remark}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Project, bind_environment},
        provider::ClusterIdentity,
    };

    const MANIFESTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: 'r.example/shop/web:v1', env: [{name: CART, value: 'cart:80'}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: 'r.example/shop/cart:v1'}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: lonely}
";

    #[test]
    fn a_namespace_on_what_lives_outside_of_them_is_none_of_the_project() {
        let object = |version: &str, kind: &str, namespace: &str| {
            let metadata = serde_json::json!({"name": "a", "namespace": namespace});
            let body = serde_json::json!({"apiVersion": version, "kind": kind, "metadata": metadata});
            Object::from_value(body).expect("is an object")
        };
        let role = object("rbac.authorization.k8s.io/v1", "ClusterRole", "elsewhere");
        let map = object("v1", "ConfigMap", "shop");
        assert_eq!(namespaces(&[role, map]), BTreeSet::from(["shop".to_owned()]));
    }

    #[test]
    fn the_derived_file_is_a_project() {
        let folder = std::env::temp_dir().join(format!("maily-derive-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("v1.yaml"), MANIFESTS).expect("a file");
        let derived = derive(&DeriveRequest {
            root: &folder,
            from: "{version}.yaml",
            version: Some(&"v1".parse().expect("a version")),
            name: &"shop".parse().expect("a name"),
            critical: &["web".to_owned(), "wbe".to_owned()],
        });
        std::fs::remove_dir_all(&folder).expect("ours");
        let derived = derived.expect("can be derived");
        assert_eq!(derived.unknown_critical, ["wbe"]);
        assert!(derived.remarks[0].contains("lonely"), "{:?}", derived.remarks);
        assert!(
            derived.text.contains("  web: {critical: true, from: shop}   # talks to cart"),
            "{}",
            derived.text
        );
        let project = Project::parse(&derived.text, "maily.yaml").expect("is a project");
        assert_eq!(project.images, ["r.example/shop/{service}:{version}"]);
        assert_eq!(project.environments["production"].namespace, "shop");
        let name = "production".parse().expect("a name");
        let identity = ClusterIdentity { uid: "u-1".into(), ca: String::new() };
        let bound = bind_environment(&derived.text, "maily.yaml", &name, Some("c"), &identity, Some("store"));
        let bound = bound.expect("can be bound");
        assert!(bound.contains("namespace: store") && bound.contains("# a person has to say yes"), "{bound}");
        assert!(project.services["web"].critical && !project.services["cart"].critical);
    }
}
