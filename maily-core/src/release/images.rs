//! Whether what came back is what it was: a tag that somebody has moved brings another image under the old name.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    engine::{
        ReleaseId,
        history::{self, Release},
        journal::JournalError,
    },
    object::ObjectKey,
    provider::RecordStore,
    run::Digests,
};

/// An image that is another one than in the release from which the state of its service comes.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct MovedImage {
    /// The service.
    pub service: String,
    /// The workload, such as `apps/v1 Deployment shop/api`.
    pub object: String,
    /// The image as it is written.
    pub image: String,
    /// The release from which the state comes.
    pub release: ReleaseId,
    /// Its digests then.
    pub was: BTreeSet<String>,
    /// Its digests now.
    pub is: BTreeSet<String>,
}

impl MovedImage {
    /// A sentence.
    pub fn told(&self) -> String {
        format!(
            "{} runs {} as {}; in release {} it was {}: the tag was moved",
            self.service,
            self.image,
            in_words(&self.is),
            self.release,
            in_words(&self.was)
        )
    }
}

/// Digests for people.
pub(super) fn in_words(digests: &BTreeSet<String>) -> String {
    digests.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
}

/// The images of a release that are known to be others than in the release from which the state of their service comes:
/// those of what was rolled back, and since then was left as it is. What nobody reported then or now is not among them.
///
/// # Errors
/// When the records cannot be read.
pub async fn moved_images(
    records: &dyn RecordStore,
    release: &Release,
) -> Result<Vec<MovedImage>, JournalError> {
    let head = &release.head;
    let mut origins = BTreeMap::new();
    let mut moved = Vec::new();
    let of = |key: &ObjectKey| Some((key.to_string(), release.objects.get(key)?.service.clone()?));
    for (key, service) in release.objects.keys().filter_map(of) {
        let Some(now) = head.images.get(&key) else { continue };
        let Some(origin) = head.origins.get(&service).copied().filter(|origin| *origin != head.id) else {
            continue;
        };
        if let std::collections::btree_map::Entry::Vacant(vacant) = origins.entry(origin) {
            vacant.insert(history::release_head(records, origin).await?);
        }
        let then = origins.get(&origin).and_then(Option::as_ref).and_then(|(_, head)| head.images.get(&key));
        for (image, was, is) in then.into_iter().flat_map(|then| others(then, now)) {
            moved.push(MovedImage {
                service: service.clone(),
                object: key.clone(),
                image: image.clone(),
                release: origin,
                was: was.clone(),
                is: is.clone(),
            });
        }
    }
    Ok(moved)
}

/// The same of a release that has only just come to be. All of it is read only where the heads differ, which is seldom:
/// a rollback of many objects has no time for it.
///
/// # Errors
/// When the records cannot be read.
pub async fn moved_images_of(
    records: &dyn RecordStore,
    id: ReleaseId,
) -> Result<Vec<MovedImage>, JournalError> {
    let Some((_, head)) = history::release_head(records, id).await? else { return Ok(Vec::new()) };
    let origins: BTreeSet<_> = head.origins.values().copied().filter(|origin| *origin != id).collect();
    for origin in origins {
        let Some((_, then)) = history::release_head(records, origin).await? else { continue };
        let moved = |(key, now)| then.images.get(key).is_some_and(|then| others(then, now).next().is_some());
        if head.images.iter().any(moved) {
            let Some(release) = history::release(records, id).await? else { break };
            return moved_images(records, &release).await;
        }
    }
    Ok(Vec::new())
}

/// The images that are known to be others now, with their digests then and now.
fn others<'a>(
    then: &'a Digests,
    now: &'a Digests,
) -> impl Iterator<Item = (&'a String, &'a BTreeSet<String>, &'a BTreeSet<String>)> {
    then.iter().filter_map(|(image, was)| {
        let is = now.get(image).filter(|is| !is.is_subset(was))?;
        Some((image, was, is))
    })
}
