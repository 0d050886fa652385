//! Which versions the files of a project have, where nobody names one.

use std::{fs, path::Path};

use crate::model::{Bundle, Project, Service, Source, Version};

pub(super) const PLACEHOLDER: &str = "{version}";

/// A version that the files of a service have, the last by name; none where they are the same at any.
pub(crate) fn some_version(project: &Project, service: &Service) -> Option<Version> {
    let paths = bundle(project, service).map(paths).unwrap_or_default();
    paths.into_iter().find_map(|path| found(&project.root, path))
}

fn paths(bundle: &Bundle) -> Vec<&str> {
    match bundle {
        Bundle::Manifests(path) | Bundle::Kustomize(path) => vec![path],
        Bundle::Helm(chart) => {
            std::iter::once(&chart.chart).chain(&chart.values).map(String::as_str).collect()
        }
    }
}

/// Whether a service has other files at another version.
pub(crate) fn follows_version(project: &Project, service: &Service) -> bool {
    bundle(project, service).map(paths).unwrap_or_default().iter().any(|path| path.contains(PLACEHOLDER))
}

fn bundle<'a>(project: &'a Project, service: &'a Service) -> Option<&'a Bundle> {
    match &service.source {
        Source::Bundle(bundle) => Some(bundle),
        Source::From(source) => project.sources.get(source),
        Source::Workload(_) | Source::Frontend { .. } | Source::Job(_) => None,
    }
}

/// The last version for which a path is there.
fn found(root: &Path, path: &str) -> Option<Version> {
    let (before, after) = path.split_once(PLACEHOLDER)?;
    let (folder, start) = before.rsplit_once('/').map_or(("", before), |(folder, start)| (folder, start));
    let end = after.split('/').next().unwrap_or_default();
    let folder = root.join(folder);
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
    let entries = fs::read_dir(folder).ok()?;
    let mut versions: Vec<Version> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let version: Version = name.strip_prefix(start)?.strip_suffix(end)?.parse().ok()?;
            root.join(path.replace(PLACEHOLDER, &version)).exists().then_some(version)
        })
        .collect();
    versions.sort_by_key(ToString::to_string);
    versions.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_files_and_folders() {
        let root = std::env::temp_dir().join(format!("maily-versions-{}", std::process::id()));
        for path in ["m/a-v1.yaml", "m/a-v2.yaml", "m/b-v3.yaml", "k/v4/x/k.yaml", "k/v5/y.yaml"] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let version = |path: &str| found(&root, path).map(|version| version.to_string());
        let seen = [
            version("m/a-{version}.yaml"),
            version("k/{version}/x"),
            version("m/c-{version}.yaml"),
            version("m/a-v1.yaml"),
        ];
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(seen, [Some("v2".to_owned()), Some("v4".to_owned()), None, None]);
    }
}
