//! What a set holds, and how it is read, written and cut along.

use serde_json::{Value, json};

use super::{FieldSet, managers::from_fields_v1};
use crate::object::Object;

fn deployment() -> Object {
    Object::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "a", "namespace": "n", "labels": {"app": "a", "maily.dev/environment": "x"},
            "resourceVersion": "5", "annotations": {"maily.dev/epoch": "3"}},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "app", "image": "i:1", "ports": [{"containerPort": 80}], "args": ["x"]}]}}},
        "status": {"readyReplicas": 1}
    }))
    .unwrap()
}

#[test]
fn bookkeeping_status_and_server_fields_are_never_members() {
    let paths = FieldSet::of(&deployment()).paths();
    assert_eq!(
        paths,
        [
            ".metadata.labels.app",
            ".spec.replicas",
            ".spec.template.spec.containers[name=app].args",
            ".spec.template.spec.containers[name=app].image",
            ".spec.template.spec.containers[name=app].name",
            ".spec.template.spec.containers[name=app].ports[containerPort=80,protocol=TCP].containerPort",
        ]
    );
}

#[test]
fn a_projection_keeps_what_is_in_the_set_and_nothing_else() {
    let desired = deployment();
    let mut live = deployment();
    live.edit(|body| {
        body["spec"]["progressDeadlineSeconds"] = json!(600);
        body["spec"]["template"]["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "injected", "image": "mesh"}));
        body["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    });
    let projected = FieldSet::of(&desired).project(&live);
    assert_eq!(projected.at("/spec"), desired.at("/spec"));
    assert_eq!(projected.at("/metadata/labels"), Some(&json!({"app": "a"})));
}

#[test]
fn fields_v1_round_trips() {
    let set = FieldSet::of(&deployment());
    let Value::Object(fields) = set.to_fields_v1() else { panic!("an object") };
    assert_eq!(from_fields_v1(&fields), set);
}

#[test]
fn ownership_is_read_per_manager() {
    let mut live = deployment();
    live.edit(|body| {
        body["metadata"]["managedFields"] = json!([
            {"manager": "maily", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}}}},
            {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {
                "f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:image": {}}}}}}}}
        ]);
    });
    let ours = FieldSet::owned_by(&live, |m| m == "maily");
    assert_eq!(ours.paths(), [".spec.paused", ".spec.replicas"]);
    let theirs = FieldSet::owned_by(&live, |m| m == "kubectl");
    assert_eq!(
        theirs.intersection(&FieldSet::of(&live)).paths(),
        [".spec.template.spec.containers[name=app].image"]
    );
    assert!(FieldSet::owned_by(&live, |m| m == "hpa").is_empty());
}

#[test]
fn pruning_removes_members_and_empty_containers() {
    let live = deployment();
    let mut body = live.to_value();
    let mut kept = live.clone();
    kept.edit(|b| {
        b["spec"].as_object_mut().unwrap().remove("template");
    });
    let kept = FieldSet::of(&kept);
    let set = FieldSet::of(&live).difference(&FieldSet::default().union(&kept));
    set.prune(&kept, &mut body);
    assert_eq!(body["spec"], json!({"replicas": 2}));
}

#[test]
fn pruning_takes_a_thing_as_a_whole_where_nothing_of_it_is_kept() {
    let service = |ports: Value| {
        Object::from_value(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": ports}}))
            .expect("an object")
    };
    let all = service(json!([{"port": 80, "name": "web"}, {"port": 90, "name": "more"}]));
    let kept = FieldSet::of(&service(json!([{"port": 80}])));
    // As the server keeps it, with what it has filled in.
    let filled = |port: u32| json!({"port": port, "protocol": "TCP", "targetPort": port});
    let mut body = service(json!([filled(80), filled(90)])).to_value();
    FieldSet::of(&all).difference(&kept).prune(&kept, &mut body);
    assert_eq!(body["spec"]["ports"], json!([filled(80)]));
}
