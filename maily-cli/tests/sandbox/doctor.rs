//! What `doctor` sees before a release or a way back fails.

use maily_testkit::harness::{Loopback, Reply};
use serde_json::{Map, Value, json};

use crate::{
    bad_input::services,
    desk::{Desk, Done},
};

fn secret(password: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: db}}\nstringData: {{password: {password}}}\n")
}

/// A shop that has released a Secret.
fn released() -> Desk {
    let desk = Desk::with(&services("  api: {manifests: m.yaml}"));
    deploy(&desk, "v1", "hunter2");
    desk
}

fn deploy(desk: &Desk, version: &str, password: &str) {
    desk.write("m.yaml", &secret(password));
    desk.sandbox(&["deploy", "--version", version, "--yes"]).expect(0);
}

fn doctor(desk: &Desk) -> Done {
    desk.sandbox(&["doctor"])
}

/// Changes the objects of the sandbox behind everybody's back.
fn edit(desk: &Desk, change: impl FnOnce(&mut Map<String, Value>)) {
    let path = desk.path().join(".maily/sandbox.json");
    let mut saved: Value = serde_json::from_slice(&std::fs::read(&path).expect("is there")).expect("is JSON");
    change(saved["world"]["objects"].as_object_mut().expect("is a map"));
    std::fs::write(&path, saved.to_string()).expect("is ours");
}

fn lose(desk: &Desk, name: &str) {
    edit(desk, |objects| {
        let before = objects.len();
        objects.retain(|key, _| !key.contains(name));
        assert_eq!(objects.len() + 1, before, "{name}");
    });
}

/// The stored values.
fn payloads(desk: &Desk) -> Vec<String> {
    let mut names = Vec::new();
    edit(desk, |objects| {
        let stored = objects.keys().filter(|key| key.contains("maily-payload-"));
        names.extend(stored.filter_map(|key| key.rsplit('|').next().map(str::to_owned)));
    });
    names
}

#[test]
fn a_lost_value_of_the_release_in_force_is_told_and_can_be_stored_again() {
    let desk = released();
    let well = doctor(&desk).expect(0).out;
    assert!(well.contains("1 value of Secrets can be restored"), "{well}");
    let [payload] = payloads(&desk).try_into().expect("is one");
    lose(&desk, &payload);
    let ill = doctor(&desk).expect(1).out;
    for part in ["release 1, which is in force", "`password` of Secret/db", &format!("({payload} is gone)")] {
        assert!(ill.contains(part), "{part} in {ill}");
    }
    let remedy = "plan --env production --version v1 --out FILE";
    assert!(ill.contains(remedy), "{ill}");
    desk.sandbox(&remedy.split(' ').collect::<Vec<_>>()).expect(0);
    doctor(&desk).expect(0);
    // Another content than the one that the name stands for is worth nothing.
    edit(&desk, |objects| {
        let key = objects.keys().find(|key| key.contains(&payload)).expect("is back").clone();
        objects[&key]["data"]["value"] = "b3RoZXI=".into();
    });
    let ill = doctor(&desk).expect(1).out;
    assert!(ill.contains("does not fit its name") && ill.contains("delete what is not"), "{ill}");
    assert!(!ill.contains("hunter2") && !ill.contains("other="), "{ill}");
}

#[test]
fn a_lost_value_of_an_earlier_release_is_told_and_hinders_nobody() {
    let desk = released();
    let [first] = payloads(&desk).try_into().expect("is one");
    deploy(&desk, "v2", "hunter3");
    lose(&desk, &first);
    let told = doctor(&desk).expect(0).out;
    assert!(told.contains("there is no way back to release 1: `password` of Secret/db"), "{told}");
    let back = desk.sandbox(&["rollback", "--release", "1", "--yes"]);
    assert!(back.code != 0 && back.err.contains("a stored value of a Secret is missing"), "{back:?}");
}

#[test]
fn a_lost_key_is_told_before_the_next_run_makes_another_one() {
    let desk = released();
    lose(&desk, "maily-key-production");
    let ill = doctor(&desk).expect(1).out;
    assert!(ill.contains("Secret shop/maily-key-production is gone"), "{ill}");
    // Nothing is called changed that cannot be compared.
    assert!(!ill.contains("does not fit"), "{ill}");
    deploy(&desk, "v2", "hunter3");
    let told = doctor(&desk).expect(0).out;
    assert!(
        told.contains("no way back to release 1") && told.contains("or the key is another one"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_hides_no_other_one() {
    let server = Loopback::serve(|request| {
        let answer = |status: u16, body: Value| {
            Reply::new(status, body.to_string()).header("content-type", "application/json")
        };
        let kind = |name: &str, plural: &str, namespaced: bool| json!({"name": plural, "kind": name, "namespaced": namespaced, "singularName": "", "verbs": ["get"]});
        match request.path.as_str() {
            "/version" => answer(200, json!({"gitVersion": "v1.36.0"})),
            "/api/v1" => {
                let kinds = [kind("Namespace", "namespaces", false), kind("Secret", "secrets", true)];
                answer(200, json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": kinds}))
            }
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => {
                let review: Value = serde_json::from_slice(&request.body).expect("is JSON");
                let asked = &review["spec"]["resourceAttributes"];
                let denied = asked["resource"] == "deployments" && asked["verb"] == "patch";
                answer(201, json!({"kind": "SelfSubjectAccessReview", "status": {"allowed": !denied}}))
            }
            "/api/v1/namespaces/shop/secrets" => {
                answer(200, json!({"kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": []}))
            }
            path => {
                let message = format!("{path} is forbidden: User \"u\" cannot get it");
                answer(
                    403,
                    json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403, "message": message}),
                )
            }
        }
    });
    let server = server.await.expect("has a port");
    let desk = Desk::with(
        "maily: 1\nproject: shop\nenvironments: {production: {namespace: shop, cluster: {context: c, identity: {uid: u}}}}\n\
         services: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n",
    );
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: '{}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n",
        server.url()
    );
    desk.write("kubeconfig", &kubeconfig);
    let told = desk.run(&["--kubeconfig", "kubeconfig", "doctor"]).expect(1).out;
    for part in [
        "not allowed: get namespaces `kube-system`, get namespaces `shop`",
        "a ClusterRole that allows `get` on `namespaces` with `resourceNames: [kube-system, shop]`",
        "not allowed: patch deployments.apps",
        "a Role in namespace `shop`",
        "nothing released yet",
    ] {
        assert!(told.contains(part), "`{part}` in:\n{told}");
    }
}
