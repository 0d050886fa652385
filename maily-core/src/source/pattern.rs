//! Which patterns the project's own images follow, where nobody has written it yet.

use std::collections::{BTreeMap, BTreeSet};

use super::images::{Reference, reference};
use crate::model::{Placeholders, Version, expand};

/// Images with the services that use them.
pub(super) type Used = Vec<(String, String)>;

/// What stands before the last part of an image's name.
fn path(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(path, _)| path)
}

/// Registry and path of an image that is called like its service.
fn stem<'i>(service: &str, parts: &Reference<'i>) -> Option<&'i str> {
    parts.name.strip_suffix(service).and_then(|stem| stem.strip_suffix('/'))
}

/// What stands most often.
fn most<T: Ord + Copy>(all: impl Iterator<Item = T>) -> Option<(T, usize)> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    all.for_each(|one| *counts.entry(one).or_default() += 1);
    counts.into_iter().max_by_key(|(_, count)| *count)
}

/// Patterns of the images that carry the version; none where no image does.
pub(super) fn patterns(used: &Used, version: &Version) -> Vec<String> {
    let carries = |(service, image)| {
        let parts: Reference<'_> = reference(image)?;
        (parts.tag == Some(version) && parts.digest.is_none()).then_some((service, parts))
    };
    let own: Vec<(&String, Reference<'_>)> =
        used.iter().map(|(s, i)| (s, i.as_str())).filter_map(carries).collect();
    let repositories: BTreeSet<&str> = own.iter().map(|(_, parts)| parts.name).collect();
    let literal = |name: &str| format!("{name}:{{version}}");
    if let [only] = repositories.iter().collect::<Vec<_>>()[..]
        && own.iter().any(|(service, parts)| stem(service, parts).is_none())
    {
        return vec![literal(only)];
    }
    let Some((stem, _)) = most(own.iter().filter_map(|(service, parts)| stem(service, parts))) else {
        let Some((common, _)) = most(own.iter().map(|(_, parts)| path(parts.name))) else {
            return Vec::new();
        };
        return repositories.into_iter().filter(|name| path(name) == common).map(literal).collect();
    };
    let services: BTreeSet<&str> = used.iter().map(|(service, _)| service.as_str()).collect();
    let covered = |name: &str| name.rsplit('/').next().is_some_and(|last| services.contains(last));
    let others = repositories.into_iter().filter(|name| path(name) == stem && !covered(name)).map(literal);
    [format!("{stem}/{{service}}:{{version}}")].into_iter().chain(others).collect()
}

/// The version that images of a project carry, so far as they can be told from others: they are called like their
/// services, or several services use one.
pub(super) fn carried(used: &Used) -> Option<Version> {
    let parts = |image| reference(image).filter(|parts: &Reference<'_>| parts.digest.is_none());
    let tags = used.iter().filter_map(|(service, image)| {
        let parts = parts(image)?;
        stem(service, &parts).and(parts.tag)
    });
    let tag = most(tags).map(|(tag, _)| tag).or_else(|| repeated(used).and_then(|image| parts(image)?.tag));
    tag.and_then(|tag| tag.parse().ok())
}

/// The image that most services use, where it is more than one.
pub(super) fn repeated(used: &Used) -> Option<&str> {
    let pairs: BTreeSet<(&str, &str)> = used.iter().map(|(s, i)| (i.as_str(), s.as_str())).collect();
    most(pairs.into_iter().map(|(image, _)| image)).filter(|(_, count)| *count > 1).map(|(image, _)| image)
}

/// How the file says that an image such as this follows the version.
pub(super) fn remedy(used: &Used) -> String {
    match repeated(used).and_then(reference) {
        Some(parts) => format!("`images: '{}:{{version}}'`", parts.name),
        None => "`images: REGISTRY/{service}:{version}`, or for one image of all services `images: REGISTRY/NAME:{version}`,"
            .to_owned(),
    }
}

/// Whether an image's name is the pattern's with any other word in the place of the service.
pub(super) fn alike(pattern: &str, values: &Placeholders<'_>, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once("{service}") else { return false };
    let after = after.split_once(':').map_or(after, |(after, _)| after);
    let (Ok(before), Ok(after)) = (expand(before, values), expand(after, values)) else { return false };
    // Without a registry or a path every image would be alike.
    let word = name.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after));
    before.contains('/') && word.is_some_and(|word| !word.is_empty() && !word.contains('/'))
}

/// Whether an image stands beside one that a pattern without a service names: with the same registry and path.
pub(super) fn beside(pattern: &str, values: &Placeholders<'_>, name: &str) -> bool {
    let Some((own, _)) = pattern.split_once(":{version}") else { return false };
    let Ok(own) = expand(own, values) else { return false };
    own != name && !path(&own).is_empty() && path(&own) == path(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(images: &[(&str, &str)]) -> Used {
        images.iter().map(|(service, image)| ((*service).to_owned(), (*image).to_owned())).collect()
    }

    #[test]
    fn patterns_cover_what_carries_the_version_below_one_registry_and_path() {
        for (images, wanted) in [
            (&[("web", "r/a/web:v1"), ("cart", "r/a/cart:v1")][..], &["r/a/{service}:{version}"][..]),
            (&[("web", "r/a/web:v1"), ("nightly", "r/a/web:v1")], &["r/a/web:{version}"]),
            (
                &[
                    ("web", "r/a/web:v1"),
                    ("cart", "r/a/cart:v1"),
                    ("web", "r/a/up:v1"),
                    ("web", "r/b/other:v1"),
                ],
                &["r/a/{service}:{version}", "r/a/up:{version}"],
            ),
            (&[("web", "r/a/app:v1"), ("cart", "r/a/app:v1"), ("db", "pg:16")], &["r/a/app:{version}"]),
            (
                &[("web", "r/a/front:v1"), ("cart", "r/a/back:v1")],
                &["r/a/back:{version}", "r/a/front:{version}"],
            ),
            (&[("db", "pg:16")], &[]),
        ] {
            assert_eq!(patterns(&used(images), &"v1".parse().expect("a version")), wanted, "{images:?}");
        }
    }

    #[test]
    fn the_version_is_that_of_the_own_images() {
        for (images, wanted) in [
            (&[("web", "r/web:v1"), ("db", "pg:16"), ("cache", "pg:16")][..], Some("v1")),
            (&[("web", "r/app:v1"), ("cart", "r/app:v1"), ("db", "pg:16")], Some("v1")),
            (&[("web", "r/app:latest"), ("cart", "r/app:latest")], None),
            (&[("db", "pg:16")], None),
        ] {
            assert_eq!(carried(&used(images)).as_deref(), wanted, "{images:?}");
        }
    }

    #[test]
    fn alike_is_what_differs_in_the_service_alone() {
        let alike = |pattern, name| alike(pattern, &Placeholders::default(), name);
        assert!(alike("r/a/{service}:{version}", "r/a/up") && alike("r/{service}-svc:{version}", "r/up-svc"));
        assert!(!alike("r/a/{service}:{version}", "r/b/up") && !alike("r/a/{service}:{version}", "r/a/b/up"));
        assert!(!alike("{service}:{version}", "redis") && !alike("r/a/app:{version}", "r/a/app2"));
    }

    #[test]
    fn beside_is_what_has_the_same_registry_and_path() {
        let beside = |pattern, name| beside(pattern, &Placeholders::default(), name);
        assert!(beside("r/a/app:{version}", "r/a/web") && !beside("r/a/app:{version}", "r/a/app"));
        assert!(!beside("r/a/app:{version}", "r/b/web") && !beside("app:{version}", "redis"));
        assert!(!beside("r/a/app:v7", "r/a/web") && !beside("r/a/{service}:{version}", "r/a/web"));
    }
}
