//! What the API server would fill in, and what would then be nobody's.
//!
//! It does so only where nothing stands yet. As no apply owns what was filled in, none takes it away again with the field
//! that it followed from: an object that was once made with `latest` keeps `Always`, pods keep the account whose name is
//! gone, a policy that had rules for what leaves goes on to stop all of that, and an update that begins with `Recreate` is
//! refused. So it is written out, with the values of the server, where such a field stands beside it or may come later.

use serde_json::{Map, Value, json};

use super::images::{below, containers, pod_specs, reference};
use crate::object::Object;

/// Writes out what the server would fill in and not take away again.
pub(super) fn write_defaults(object: &mut Object) {
    let pods = pod_specs(object.kind());
    let kind = object.key().kind.clone();
    object.edit(|body| {
        if let Some(pointer) = pods {
            containers(body, &pointer).into_iter().for_each(pull_policy);
            below(body, &pointer).into_iter().for_each(of_pods);
        }
        let Some(spec) = below(body, "/spec") else { return };
        match (kind.group(), kind.kind.as_str()) {
            ("apps", "Deployment") => {
                update(spec, "strategy", &json!({"maxSurge": "25%", "maxUnavailable": "25%"}));
            }
            // With a type and nothing else the server leaves this one as it is.
            ("apps", "StatefulSet")
                if below(spec, "updateStrategy").is_none_or(|update| !update.contains_key("type")) =>
            {
                update(spec, "updateStrategy", &json!({"partition": 0}));
            }
            ("apps", "DaemonSet") => {
                update(spec, "updateStrategy", &json!({"maxSurge": 0, "maxUnavailable": 1}));
            }
            ("networking.k8s.io", "NetworkPolicy") => directions(spec),
            _ => {}
        }
    });
}

/// By the image of a container.
fn pull_policy(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).and_then(reference);
    let Some(policy) = image.map(|image| {
        let latest = image.tag == Some("latest") || (image.tag.is_none() && image.digest.is_none());
        if latest { "Always" } else { "IfNotPresent" }
    }) else {
        return;
    };
    container.entry("imagePullPolicy").or_insert_with(|| policy.into());
}

/// The other name of the account, and the kind of a volume that has none.
fn of_pods(spec: &mut Map<String, Value>) {
    const NAMES: [&str; 2] = ["serviceAccountName", "serviceAccount"];
    // The server takes the first for the second where both stand.
    let named = |name: &&str| spec.get(*name).and_then(Value::as_str).filter(|account| !account.is_empty());
    if let Some(account) = NAMES.iter().find_map(named).map(str::to_owned) {
        for name in NAMES {
            spec.insert(name.to_owned(), account.as_str().into());
        }
    }
    let volumes = spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten();
    for volume in volumes.filter_map(Value::as_object_mut) {
        if volume.keys().eq(["name"]) {
            volume.insert("emptyDir".to_owned(), json!({}));
        }
    }
}

/// How pods are replaced step by step, where nothing of it is written.
fn update(spec: &mut Map<String, Value>, field: &str, defaults: &Value) {
    if spec.get(field).is_some_and(Value::is_null) {
        spec.remove(field);
    }
    let strategy = spec.entry(field).or_insert_with(|| json!({}));
    let Some(strategy) = strategy.as_object_mut() else { return };
    let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    if strategy.get("type").is_none_or(|kind| kind == "RollingUpdate")
        && strategy.get("rollingUpdate").is_none_or(is_empty)
    {
        strategy.insert("type".to_owned(), "RollingUpdate".into());
        strategy.insert("rollingUpdate".to_owned(), defaults.clone());
    }
}

/// What a network policy is about: what comes in, and what goes out where it has rules for that.
fn directions(spec: &mut Map<String, Value>) {
    let is_open = |types: &Value| types.is_null() || types.as_array().is_some_and(Vec::is_empty);
    if !spec.get("policyTypes").is_none_or(is_open) {
        return;
    }
    let leaves = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    let types = if leaves { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    spec.insert("policyTypes".to_owned(), types);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(api_version: &str, kind: &str, spec: Value) -> Value {
        let object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, "spec": spec});
        let mut object = Object::from_value(object).expect("is an object");
        write_defaults(&mut object);
        object.body()["spec"].clone()
    }

    fn pods(spec: Value) -> Value {
        written("batch/v1", "Job", json!({"template": {"spec": spec}}))["template"]["spec"].clone()
    }

    #[test]
    fn the_pull_policy_follows_the_image_and_not_the_past() {
        for (image, policy) in
            [("a:latest", "Always"), ("a", "Always"), ("r.example:5000/a:v1", "IfNotPresent")]
        {
            let spec = pods(json!({"containers": [{"name": "a", "image": image}]}));
            assert_eq!(spec["containers"][0]["imagePullPolicy"], policy, "{image}");
        }
    }

    #[test]
    fn an_account_has_both_of_its_names_and_a_volume_its_kind() {
        for name in ["serviceAccountName", "serviceAccount"] {
            assert_eq!(
                pods(json!({name: "a"})),
                json!({"serviceAccountName": "a", "serviceAccount": "a"}),
                "{name}"
            );
        }
        assert_eq!(
            pods(json!({"serviceAccountName": "a", "serviceAccount": "b"})),
            json!({"serviceAccountName": "a", "serviceAccount": "a"})
        );
        assert_eq!(pods(json!({"serviceAccountName": ""})), json!({"serviceAccountName": ""}));
        let volumes = pods(json!({"volumes": [{"name": "v"}, {"name": "w", "secret": {"secretName": "s"}}]}));
        let wanted = json!([{"name": "v", "emptyDir": {}}, {"name": "w", "secret": {"secretName": "s"}}]);
        assert_eq!(volumes["volumes"], wanted);
    }

    #[test]
    fn what_can_be_followed_by_recreate_is_written_out_and_what_is_written_stays() {
        let all =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
        let strategy = |strategy: Value| written("apps/v1", "Deployment", strategy)["strategy"].clone();
        for short in [
            json!({}),
            json!({"strategy": null}),
            json!({"strategy": {"type": "RollingUpdate"}}),
            json!({"strategy": {"rollingUpdate": {}}}),
        ] {
            assert_eq!(strategy(short.clone()), all, "{short}");
        }
        for stays in [
            json!({"type": "Recreate"}),
            json!({"rollingUpdate": {"maxSurge": 1}}),
            json!({"type": "of somebody else"}),
            json!("no map"),
        ] {
            assert_eq!(strategy(json!({"strategy": stays})), stays);
        }
        let typed = json!({"type": "RollingUpdate"});
        assert_eq!(
            written("apps/v1", "StatefulSet", json!({"updateStrategy": typed}))["updateStrategy"],
            typed
        );
        let set = |kind: &str| written("apps/v1", kind, json!({}))["updateStrategy"]["rollingUpdate"].clone();
        assert_eq!(set("StatefulSet"), json!({"partition": 0}));
        assert_eq!(set("DaemonSet"), json!({"maxSurge": 0, "maxUnavailable": 1}));
    }

    #[test]
    fn a_network_policy_says_what_it_is_about() {
        let types =
            |spec: Value| written("networking.k8s.io/v1", "NetworkPolicy", spec)["policyTypes"].clone();
        assert_eq!(types(json!({})), json!(["Ingress"]));
        assert_eq!(types(json!({"egress": []})), json!(["Ingress"]));
        assert_eq!(types(json!({"policyTypes": [], "egress": [{}]})), json!(["Ingress", "Egress"]));
        assert_eq!(types(json!({"policyTypes": ["Egress"], "ingress": [{}]})), json!(["Egress"]));
    }
}
