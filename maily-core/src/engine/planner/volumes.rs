//! Claims that a StatefulSet has made for its pods. What its policy deletes with it, or with a pod, is data that no way back
//! brings.

use std::{collections::BTreeSet, ops::Range};

use crate::object::{Object, ObjectKey, ObjectKind};

const REPLICAS: &str = "/spec/replicas";
const START: &str = "/spec/ordinals/start";

/// Claims that are named one by one.
const NAMED: usize = 8;

fn policy<'a>(set: &'a Object, when: &str) -> Option<&'a str> {
    set.text(&format!("/spec/persistentVolumeClaimRetentionPolicy/{when}"))
}

/// Claims for the pods of these indices, each with its name; none where the StatefulSet makes no claims.
fn names(set: &Object, of: Range<i64>) -> BTreeSet<String> {
    let templates = set.items("/spec/volumeClaimTemplates");
    let names = of.flat_map(|index| {
        let template = templates.iter().filter_map(|claim| claim.pointer("/metadata/name")?.as_str());
        template.map(move |name| format!("{name}-{}-{index}", set.name()))
    });
    names.collect()
}

/// The claim of a name beside a StatefulSet.
pub(crate) fn claim(set: &ObjectKey, name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::new("v1", "PersistentVolumeClaim"), set.namespace.as_deref(), name)
}

/// Names of claims in words; none where there are none.
pub(crate) fn in_words(names: BTreeSet<String>) -> Option<String> {
    let more = names.len().saturating_sub(NAMED);
    let mut names: Vec<String> = names.into_iter().take(NAMED).collect();
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
    let first = set.int(START).unwrap_or(0);
    let all = names(set, first..first + set.int(REPLICAS).unwrap_or(1));
    in_words(all).or_else(|| Some("of former pods".to_owned()))
}

/// Whether the claims of a StatefulSet are deleted with it.
pub(super) fn go_with_it(set: &Object) -> bool {
    policy(set, "whenDeleted") == Some("Delete")
}

/// Claims that go when a StatefulSet gets fewer pods, or others. `before` has what a release sets or gives up of it, `live`
/// all that there is, then or since: what is given up has the server's default afterwards, and what is nobody's of ours stays.
pub(crate) fn gone_when_scaled(before: &Object, live: &Object, after: &Object) -> BTreeSet<String> {
    let when = policy(after, "whenScaled").or_else(|| {
        let given_up = policy(before, "whenScaled").is_some();
        policy(live, "whenScaled").filter(|_| !given_up)
    });
    if after.kind() != "StatefulSet" || when != Some("Delete") {
        return BTreeSet::new();
    }
    let (now, then) = pods(before, live, after);
    &names(live, now) - &names(live, then)
}

/// Claims of pods that a StatefulSet gets, and that go with them on a way back: by the policy that is there now.
pub(crate) fn coming(before: &Object, live: &Object, after: &Object) -> BTreeSet<String> {
    if after.kind() != "StatefulSet" || policy(live, "whenScaled") != Some("Delete") {
        return BTreeSet::new();
    }
    let (now, then) = pods(before, live, after);
    &names(live, then) - &names(live, now)
}

/// Indices of the pods that a StatefulSet has, and of those that it comes to have.
fn pods(before: &Object, live: &Object, after: &Object) -> (Range<i64>, Range<i64>) {
    // What was there has been put back, and may have become another number since.
    let now = |path: &str, default: i64| before.int(path).or_else(|| live.int(path)).unwrap_or(default);
    let then = |path: &str, default: i64| {
        let given_up = before.int(path).is_some();
        after.int(path).unwrap_or_else(|| if given_up { default } else { now(path, default) })
    };
    let (first, next_first) = (now(START, 0), then(START, 0));
    (first..first + now(REPLICAS, 1), next_first..next_first + then(REPLICAS, 1))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(spec: Value) -> Object {
        let metadata = json!({"name": "db", "namespace": "shop"});
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec});
        Object::from_value(set).unwrap()
    }

    fn live() -> Value {
        json!({"replicas": 3, "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"}})
    }

    fn with(spec: &Value, field: &str, value: Value) -> Value {
        let mut spec = spec.clone();
        spec[field] = value;
        spec
    }

    fn without(spec: &Value, field: &str) -> Value {
        let mut spec = spec.clone();
        spec.as_object_mut().unwrap().remove(field);
        spec
    }

    #[test]
    fn claims_go_with_the_pods_that_go() {
        let live = live();
        let gone = |before: &Value, after: &Value| {
            in_words(gone_when_scaled(&set(before.clone()), &set(live.clone()), &set(after.clone())))
        };
        let first_goes = Some("data-db-0".to_owned());
        let (two, rest) = (Some("data-db-1, data-db-2".to_owned()), Some("data-db-2".to_owned()));
        assert_eq!(gone(&live, &live), None);
        assert_eq!(gone(&live, &with(&live, "replicas", json!(2))), rest);
        assert_eq!(gone(&live, &with(&live, "replicas", json!(5))), None);
        // What the release gives up has the server's default, and what is somebody else's stays.
        let none = without(&live, "replicas");
        assert_eq!(gone(&live, &none), two);
        assert_eq!(gone(&none, &none), None);
        let policy = "persistentVolumeClaimRetentionPolicy";
        let fewer = with(&live, "replicas", json!(1));
        assert_eq!(gone(&live, &without(&fewer, policy)), None);
        assert_eq!(gone(&without(&live, policy), &without(&fewer, policy)), two);
        // As many pods, and others.
        assert_eq!(gone(&live, &with(&live, "ordinals", json!({"start": 1}))), first_goes);
    }

    #[test]
    fn claims_of_pods_that_come_go_on_a_way_back_by_the_policy_of_before() {
        let live = live();
        let comes = |live: &Value, after: &Value| {
            in_words(coming(&set(live.clone()), &set(live.clone()), &set(after.clone())))
        };
        let policy = "persistentVolumeClaimRetentionPolicy";
        let more = with(&live, "replicas", json!(5));
        let added = Some("data-db-3, data-db-4".to_owned());
        assert_eq!(comes(&live, &more), added);
        assert_eq!(comes(&live, &with(&more, policy, json!({"whenScaled": "Retain"}))), added);
        assert_eq!(comes(&without(&live, policy), &more), None);
        assert_eq!(comes(&live, &with(&live, "replicas", json!(2))), None);
    }
}
