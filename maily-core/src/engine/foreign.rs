//! What others set on an object beside what a release sets: seen and told, never taken away in silence.

use super::{
    Epoch, Failure, LAST_APPLIED, MANAGER, RunId, Sealer, compared, difference, is_deployer, is_left_since,
    object_digest, strip_bookkeeping, told, without_bookkeeping,
};
use crate::{
    object::{FieldSet, Object, ObjectKey, managers},
    rollout::RESTARTED,
};

/// Annotations by which the cluster's own controllers keep their books.
const CONTROLLERS: [&str; 5] = [
    "autoscaling.alpha.kubernetes.io/",
    "deployment.kubernetes.io/",
    "pv.kubernetes.io/",
    "volume.beta.kubernetes.io/",
    "volume.kubernetes.io/",
];

/// Digest of everything that people and tools set on an object, whoever it was: a plan that somebody has read holds for
/// exactly this. What controllers keep by themselves is left out: status, their annotations, the number of replicas
/// where it is not ours, the volume of a claim, and whether a Job is suspended, which those do who let Jobs run.
pub(crate) fn digest_of_all(sealer: &Sealer, live: &Object) -> String {
    let scales = FieldSet::owned_by(live, |manager| manager == MANAGER).contains(&["spec", "replicas"]);
    let suspended = live.is_suspended();
    let mut object = live.clone().without_server_fields();
    object.edit(|body| {
        if let Some(spec) = body.get_mut("spec").and_then(|spec| spec.as_object_mut()) {
            if suspended {
                spec["suspend"] = false.into();
            }
            if !scales {
                spec.remove("replicas");
            }
            spec.remove("volumeName");
        }
        let annotations = body.get_mut("metadata").and_then(|m| m.get_mut("annotations"));
        if let Some(annotations) = annotations.and_then(|a| a.as_object_mut()) {
            annotations.retain(|name, _| !CONTROLLERS.iter().any(|prefix| name.starts_with(prefix)));
        }
    });
    strip_bookkeeping(&mut object);
    object_digest(&sealer.seal(&object))
}

/// The client that writes down what it was given, and owns besides what the server has added by itself.
const CLIENT_SIDE: &str = "kubectl-client-side-apply";

/// What was given to `kubectl apply` last.
fn last_applied(live: &Object) -> Option<FieldSet> {
    let object = Object::from_value(serde_json::from_str(live.annotation(LAST_APPLIED)?).ok()?).ok()?;
    Some(FieldSet::of(&object))
}

/// Fields that people's clients own on an object and that its release does not set, by client.
pub(crate) fn added(live: &Object, desired: &Object) -> Vec<(String, Vec<String>)> {
    managers(live)
        .into_iter()
        .filter(|manager| is_deployer(manager))
        .filter_map(|manager| {
            let theirs = FieldSet::owned_by(live, |name| name == manager).difference(&FieldSet::of(desired));
            let theirs = without_bookkeeping(theirs).without(&["spec", "replicas"]);
            let given = last_applied(live).filter(|_| manager == CLIENT_SIDE);
            let theirs = given.map_or_else(|| theirs.clone(), |given| theirs.intersection(&given));
            let theirs = if live.kind() == "Namespace" { without_servers_own(theirs) } else { theirs };
            // An empty set has one path, which is empty.
            let told = |path: &String| !path.is_empty() && !path.ends_with(RESTARTED);
            let paths: Vec<String> = theirs.paths().into_iter().filter(told).collect();
            (!paths.is_empty()).then_some((manager.to_owned(), paths))
        })
        .collect()
}

/// What the server itself sets in every namespace: the first apply puts it down to whoever wrote before.
fn without_servers_own(fields: FieldSet) -> FieldSet {
    fields.without(&["metadata", "labels", "kubernetes.io/metadata.name"]).without(&["spec", "finalizers"])
}

/// Fields that are maily's on an object, that a run had added which was ended as it was, and that no release sets: the next
/// plan takes them away.
pub(crate) fn left_over(live: &Object, desired: &Object, added: Option<&FieldSet>) -> FieldSet {
    let Some(added) = added else { return FieldSet::default() };
    let others = FieldSet::owned_or_scaled_by(live, |manager| manager != MANAGER);
    let ours = FieldSet::owned_by(live, |manager| manager == MANAGER).difference(&others);
    // The number of a workload is an autoscaler's where no release says it; and what carries the load is not made one pod.
    ours.difference(&compared(desired)).intersection(added).without(&["spec", "replicas"])
}

/// The same in a line.
pub(crate) fn told_left_over(live: &Object, desired: &Object, added: Option<&FieldSet>) -> Option<String> {
    let paths = left_over(live, desired, added).paths();
    let paths: Vec<String> = paths.into_iter().filter(|path| !path.is_empty()).collect();
    (!paths.is_empty())
        .then(|| format!("{} of a run that no release has: the next deploy takes it away", first(&paths)))
}

/// What a run that was ended as it was has set otherwise than it was before, in a line: the release in force does not set
/// it, and nobody takes it away.
pub(crate) fn told_written_over(
    sealer: &Sealer,
    live: &Object,
    before: Option<&Object>,
    since: Option<(&RunId, Epoch)>,
) -> Option<String> {
    // A way back has written it as it was.
    let before = before.filter(|_| is_left_since(live, since))?;
    let others = FieldSet::owned_or_scaled_by(live, |manager| manager != MANAGER);
    let scope = compared(before).difference(&others);
    let fields = difference(&scope.project(before), &sealer.view(live, &scope));
    let told: Vec<String> = fields.iter().map(told).collect();
    (!told.is_empty()).then(|| {
        let told = first(&told);
        format!("{told} of a run that made no release, and the release does not set it: it stays")
    })
}

/// What people's clients have added, in a line.
pub(crate) fn told_added(live: &Object, desired: &Object) -> Option<String> {
    in_words(&added(live, desired))
}

/// Failures of pods name what others have set in their template beside what is wanted, and how it goes: no release takes
/// it away. Of each workload what is there, and what is wanted.
pub(crate) fn name_added<'a>(
    failures: impl IntoIterator<Item = &'a mut Failure>,
    workloads: &[(Object, &Object)],
) {
    for failure in failures {
        let Some((live, desired)) = workload_of(failure, workloads) else { continue };
        let of_pods = |path: &String| path.trim_start_matches('.').starts_with("spec.template.");
        let mut added = added(live, desired);
        added.iter_mut().for_each(|(_, paths)| paths.retain(of_pods));
        added.retain(|(_, paths)| !paths.is_empty());
        let Some(told) = in_words(&added) else { continue };
        let key = live.key();
        let namespace = key.namespace_option();
        let kind = key.kind.kind.to_lowercase();
        let hint = format!(
            "{} has in its pods what no release has set, and none takes away: {told}; if that is why, `kubectl edit {kind} \
             {}{namespace}` takes it out",
            key.short(),
            key.name
        );
        failure.hint = Some(match failure.hint.take() {
            Some(first) => format!("{first}; {hint}"),
            None => hint,
        });
    }
}

/// The workload that a failure is of, or one of whose pods: those have its name and more.
fn workload_of<'a>(
    failure: &Failure,
    workloads: &'a [(Object, &'a Object)],
) -> Option<(&'a Object, &'a Object)> {
    let object = failure.object.as_deref()?;
    let concerns = |key: &ObjectKey| {
        let place = key.namespace.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
        object == key.to_string() || object.starts_with(&format!("Pod {place}{}-", key.name))
    };
    let of_these = workloads.iter().filter(|(live, _)| live.key().kind.keeps_pods() && concerns(live.key()));
    of_these.max_by_key(|(live, _)| live.name().len()).map(|(live, desired)| (live, *desired))
}

fn in_words(added: &[(String, Vec<String>)]) -> Option<String> {
    let told: Vec<String> =
        added.iter().map(|(manager, paths)| format!("{manager} set {}", first(paths))).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// The first of some paths.
fn first(paths: &[String]) -> String {
    let more = if paths.len() > 3 { format!(" and {} more", paths.len() - 3) } else { String::new() };
    format!("{}{more}", paths[..paths.len().min(3)].join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whoever applies again what a release has made sets nothing of his own by it.
    #[test]
    fn what_the_server_adds_to_what_is_applied_is_nobodys() {
        let given = |more: serde_json::Value| {
            let mut spec = json!({"ports": [{"port": 80}], "selector": {"app": "a"}});
            spec.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "shop"}, "spec": spec})
        };
        let live = |applied: serde_json::Value| {
            let mut object = given(json!({"sessionAffinity": "None", "type": "NodePort"}));
            object["metadata"]["annotations"] = json!({LAST_APPLIED: applied.to_string()});
            object["metadata"]["managedFields"] = json!([
                {"manager": CLIENT_SIDE, "operation": "Update", "fieldsType": "FieldsV1", "apiVersion": "v1",
                 "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}},
                    "f:spec": {"f:sessionAffinity": {}, "f:type": {}, "f:selector": {},
                        "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}}}}}}]);
            Object::from_value(object).expect("is an object")
        };
        let desired = Object::from_value(given(json!({}))).expect("is an object");
        assert_eq!(told_added(&live(given(json!({}))), &desired), None);
        let told = told_added(&live(given(json!({"type": "NodePort"}))), &desired);
        assert_eq!(told.as_deref(), Some("kubectl-client-side-apply set .spec.type"));
    }

    #[test]
    fn what_the_server_sets_in_a_namespace_is_nobodys() {
        let namespace = |more: serde_json::Value| {
            let mut labels = json!({".": {}, "f:kubernetes.io/metadata.name": {}});
            labels.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
            Object::from_value(json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop", "a": "b"}, "managedFields": [
                    {"manager": "before-first-apply", "operation": "Update", "fieldsType": "FieldsV1", "apiVersion": "v1",
                     "fieldsV1": {"f:metadata": {"f:labels": labels}, "f:spec": {"f:finalizers": {}}}}]},
                "spec": {"finalizers": ["kubernetes"]},
            }))
            .expect("is an object")
        };
        let desired = Object::from_value(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        );
        let desired = desired.expect("is an object");
        assert_eq!(told_added(&namespace(json!({})), &desired), None);
        let told = told_added(&namespace(json!({"f:a": {}})), &desired).expect("is theirs");
        assert!(told.starts_with("before-first-apply set ") && told.ends_with("metadata.labels.a"), "{told}");
    }
}
