//! Claims of volumes never shrink: one that a version has enlarged stays as large, also where another version asks for
//! less.

use super::{change::Observed, wanted::Wanted};
use crate::{engine::Note, model::Quantity, object::Object};

const SIZE: &str = "/spec/resources/requests/storage";

/// What is wanted with the sizes that stay, each with a word; none where nothing is to shrink.
pub(crate) fn that_stay(wanted: &Wanted, observed: &Observed) -> Option<Wanted> {
    let larger = |object: &Object| {
        if object.kind() != "PersistentVolumeClaim" {
            return None;
        }
        let live = observed.objects.get(object.key())?.text(SIZE)?;
        let size = |text: &str| text.parse::<Quantity>().ok().map(|size| size.value());
        let (now, asked) = (size(live)?, size(object.text(SIZE)?)?);
        (asked < now).then(|| live.to_owned())
    };
    let mut objects = wanted.services.values().flat_map(|service| &service.objects).chain(&wanted.shared);
    objects.find(|object| larger(object).is_some())?;
    let mut wanted = wanted.clone();
    let mut notes = Vec::new();
    let objects = wanted.services.values_mut().flat_map(|service| &mut service.objects);
    for object in objects.chain(&mut wanted.shared) {
        let Some(size) = larger(object) else { continue };
        let asked = object.text(SIZE).unwrap_or_default();
        let text = format!("{} has {size} and keeps it: a claim never shrinks to {asked}", object.key());
        notes.push(Note { topic: "kept".to_owned(), text });
        object.edit(|body| body["spec"]["resources"]["requests"]["storage"] = size.into());
    }
    wanted.notes.extend(notes);
    Some(wanted)
}
