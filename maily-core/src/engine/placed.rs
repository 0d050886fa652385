//! Where the kinds of a plan live: what rendering took for namespaced loses its namespace where it has none.

use std::{borrow::Cow, collections::BTreeSet};

use super::{EnvironmentError, history::Release, planner::Wanted};
use crate::{
    object::{Object, ObjectKind, Scopes},
    provider::Cluster,
};

/// Everything that is wanted.
fn all(wanted: &Wanted) -> impl Iterator<Item = &Object> {
    let of_services = wanted.services.values().flat_map(|service| &service.objects);
    of_services.chain(&wanted.shared).chain(&wanted.left_out)
}

fn all_mut(wanted: &mut Wanted) -> impl Iterator<Item = &mut Object> {
    let of_services = wanted.services.values_mut().flat_map(|service| &mut service.objects);
    of_services.chain(&mut wanted.shared).chain(&mut wanted.left_out)
}

/// The scopes of all kinds. The cluster is asked only about those of which neither Kubernetes nor a definition among the
/// objects tells.
pub(super) async fn scopes(
    cluster: &dyn Cluster,
    wanted: &Wanted,
    base: Option<&Release>,
) -> Result<Scopes, EnvironmentError> {
    let mut scopes = Scopes::of_definitions(all(wanted));
    let released = base.into_iter().flat_map(|base| base.objects.values()).map(|released| &released.desired);
    let kinds: BTreeSet<&ObjectKind> = all(wanted)
        .chain(released)
        .filter(|object| object.namespace().is_some())
        .map(|object| &object.key().kind)
        .filter(|kind| scopes.is_open(kind))
        .collect();
    let kinds: Vec<ObjectKind> = kinds.into_iter().cloned().collect();
    if !kinds.is_empty() {
        for resource in cluster.resources(&kinds).await.map_err(EnvironmentError::Provider)? {
            scopes.add(&resource.kind, resource.namespaced);
        }
    }
    Ok(scopes)
}

/// What is wanted, each object where its kind lives.
pub(super) fn wanted<'a>(wanted: &'a Wanted, scopes: &Scopes) -> Cow<'a, Wanted> {
    let mut wanted = Cow::Borrowed(wanted);
    if all(&wanted).any(|object| scopes.is_misplaced(object)) {
        let misplaced = |object: &&mut Object| scopes.is_misplaced(object);
        all_mut(wanted.to_mut()).filter(misplaced).for_each(Object::leave_namespace);
    }
    wanted
}

/// A release in the same way: one that was made before scopes were asked for has namespaces where none are.
pub(super) fn base<'a>(base: Option<&'a Release>, scopes: &Scopes) -> Option<Cow<'a, Release>> {
    let mut base = Cow::Borrowed(base?);
    if base.objects.values().any(|released| scopes.is_misplaced(&released.desired)) {
        let objects = std::mem::take(&mut base.to_mut().objects);
        base.to_mut().objects = objects
            .into_values()
            .map(|mut released| {
                if scopes.is_misplaced(&released.desired) {
                    released.desired.leave_namespace();
                }
                (released.desired.key().clone(), released)
            })
            .collect();
    }
    Some(base)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::engine::{ReleaseId, RunId, history::Released, journal::ReleaseHead};

    fn store(namespace: Option<&str>) -> Object {
        let mut body = json!({"apiVersion": "stores.example.com/v1", "kind": "ClusterStore", "metadata": {"name": "one"}});
        if let Some(namespace) = namespace {
            body["metadata"]["namespace"] = json!(namespace);
        }
        Object::from_value(body).expect("is an object")
    }

    #[test]
    fn a_release_from_before_scopes_were_asked_for_stands_where_its_kinds_live() {
        let desired = store(Some("shop"));
        let released = Released { service: None, desired: desired.clone(), fingerprint: None };
        let head = ReleaseHead {
            id: ReleaseId(1),
            versions: BTreeMap::new(),
            title: String::new(),
            fingerprints: BTreeMap::new(),
            images: BTreeMap::new(),
            frontends: BTreeMap::new(),
            origins: BTreeMap::new(),
            beside_trouble: false,
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        let objects = BTreeMap::from([(desired.key().clone(), released)]);
        let release =
            Release { project: "shop".into(), run: RunId::from("-"), head, objects, left: Vec::new() };
        let mut scopes = Scopes::default();
        let unknown = base(Some(&release), &scopes).expect("is one");
        assert!(matches!(unknown, Cow::Borrowed(_)), "what nobody knows stays as it is");
        scopes.add(&desired.key().kind, false);
        let placed = base(Some(&release), &scopes).expect("is one");
        let (key, one) = placed.objects.first_key_value().expect("is one");
        assert_eq!((key, &one.desired), (store(None).key(), &store(None)));
    }
}
