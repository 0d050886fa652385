//! Claims that a StatefulSet has made for its pods. What its policy deletes with it, or with a pod, is data that no way back
//! brings.

use crate::object::Object;

/// Claims that are named one by one.
const NAMED: usize = 8;

fn policy<'a>(set: &'a Object, when: &str) -> Option<&'a str> {
    set.text(&format!("/spec/persistentVolumeClaimRetentionPolicy/{when}"))
}

/// Claims of a StatefulSet for its pods of these indices, in words; none where it makes no claims.
fn claims(set: &Object, of: std::ops::Range<i64>) -> Option<String> {
    let first = set.int("/spec/ordinals/start").unwrap_or(0);
    let templates = set.items("/spec/volumeClaimTemplates");
    let names = of.flat_map(|index| {
        let template = templates.iter().filter_map(|claim| claim.pointer("/metadata/name")?.as_str());
        template.map(move |name| format!("{name}-{}-{}", set.name(), first + index))
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    (!names.is_empty()).then(|| names.join(", "))
}

/// All claims of a StatefulSet: also without pods it may have some.
pub(super) fn claims_of(set: &Object) -> Option<String> {
    if set.kind() != "StatefulSet" || set.items("/spec/volumeClaimTemplates").is_empty() {
        return None;
    }
    claims(set, 0..set.int("/spec/replicas").unwrap_or(1)).or_else(|| Some("of former pods".to_owned()))
}

/// Whether the claims of a StatefulSet are deleted with it.
pub(super) fn go_with_it(set: &Object) -> bool {
    policy(set, "whenDeleted") == Some("Delete")
}

/// Claims that go when a StatefulSet gets fewer pods.
pub(crate) fn gone_when_scaled(before: &Object, after: &Object) -> Option<String> {
    let replicas = |set: &Object| set.int("/spec/replicas");
    let when = policy(after, "whenScaled").or_else(|| policy(before, "whenScaled"));
    if after.kind() != "StatefulSet" || when != Some("Delete") {
        return None;
    }
    claims(before, replicas(after)?..replicas(before)?)
}
