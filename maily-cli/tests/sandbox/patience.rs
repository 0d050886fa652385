//! What only looks waits for an API server that is away for a moment, and says so.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;

use crate::server::{answer, bound, refuse, serve};

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_a_moment_ends_no_look() {
    for (args, code) in [(&["history"][..], 0), (&["show", "run"], 2), (&["show", "run", "r"], 2)] {
        let left = Arc::new(AtomicUsize::new(2));
        let refusals = Arc::clone(&left);
        let server = serve("u", move |request| {
            let records = request.path == "/api/v1/namespaces/shop/secrets";
            let again = |left: usize| left.checked_sub(1);
            let refused = records && refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, again).is_ok();
            refused.then(|| refuse(503, "ServiceUnavailable", "restarts"))
        })
        .await;
        let done = bound(&server).run(&[&["--kubeconfig", "kubeconfig"], args].concat()).expect(code);
        assert_eq!(left.load(Ordering::SeqCst), 0, "{args:?}: {done:?}");
        assert!(done.err.contains("waits: ") && done.err.contains("503"), "{args:?}: {done:?}");
        assert!(code == 0 || done.err.contains("on record"), "{args:?}: {done:?}");
    }
}

/// A role that gives a path away needs the path.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_a_role_is_asked_about_as_a_path() {
    let server = serve("u", |request| {
        if request.path == "/apis/rbac.authorization.k8s.io/v1" {
            let kind = json!({"name": "clusterroles", "kind": "ClusterRole", "namespaced": false, "singularName": "", "verbs": ["get"]});
            let list = json!({"kind": "APIResourceList", "groupVersion": "rbac.authorization.k8s.io/v1", "resources": [kind]});
            return Some(answer(200, &list));
        }
        let body: serde_json::Value = serde_json::from_slice(&request.body).ok()?;
        let path = body.pointer("/spec/nonResourceAttributes/path")?;
        assert!(body.pointer("/spec/resourceAttributes").is_none(), "one of the two: {body}");
        let allowed = path == "/healthz";
        Some(answer(201, &json!({"kind": "SelfSubjectAccessReview", "status": {"allowed": allowed}})))
    })
    .await;
    let desk = bound(&server);
    let project = crate::server::BOUND
        .replace("{image: 'r.example/web:{version}', workload: {port: 80}}", "{manifests: role.yaml}");
    desk.write("maily.yaml", &project);
    desk.write(
        "role.yaml",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: scrapes}\n\
         rules: [{nonResourceURLs: [/metrics, /healthz], verbs: [get]}]\n",
    );
    let told = desk.run(&["--kubeconfig", "kubeconfig", "doctor"]).expect(1).out;
    assert!(told.contains("not allowed: get /metrics (needed"), "{told}");
    let role = desk.run(&["--kubeconfig", "kubeconfig", "doctor", "--role"]).out;
    assert!(role.contains("  - {nonResourceURLs: [/healthz, /metrics], verbs: [get]}\n"), "{role}");
}
