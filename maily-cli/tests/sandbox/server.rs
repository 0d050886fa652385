//! An API server on loopback that knows enough for commands that look.

use maily_testkit::harness::{HttpRequest, Loopback, Reply};
use serde_json::{Value, json};

use crate::desk::Desk;

/// What is bound to the server whose namespaces have the uid `u`.
pub(crate) const BOUND: &str = "maily: 1\nproject: shop\nenvironments: {production: {namespace: shop, cluster: {context: c, identity: {uid: u}}}}\n\
     services: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n";

pub(crate) fn answer(status: u16, body: &Value) -> Reply {
    Reply::new(status, body.to_string()).header("content-type", "application/json")
}

pub(crate) fn refuse(status: u16, reason: &str, message: &str) -> Reply {
    answer(
        status,
        &json!({"kind": "Status", "status": "Failure", "reason": reason, "code": status, "message": message}),
    )
}

/// A server whose namespaces have this uid; what is special about it is answered first.
pub(crate) async fn serve(
    uid: &'static str,
    special: impl Fn(&HttpRequest) -> Option<Reply> + Send + Sync + 'static,
) -> Loopback {
    let server = Loopback::serve(move |request| special(&request).unwrap_or_else(|| ordinary(uid, &request)));
    server.await.expect("has a port")
}

fn ordinary(uid: &str, request: &HttpRequest) -> Reply {
    let kinds = |group: &str, kinds: &[(&str, &str, bool)]| {
        let kinds: Vec<Value> = kinds
            .iter()
            .map(|(kind, plural, namespaced)| {
                json!({"name": plural, "kind": kind, "namespaced": namespaced, "singularName": "", "verbs": ["get"]})
            })
            .collect();
        answer(200, &json!({"kind": "APIResourceList", "groupVersion": group, "resources": kinds}))
    };
    let list =
        |kind: &str| answer(200, &json!({"kind": kind, "metadata": {"resourceVersion": "1"}, "items": []}));
    match request.path.as_str() {
        "/version" => answer(200, &json!({"gitVersion": "v1.36.0"})),
        "/api/v1" => kinds(
            "v1",
            &[
                ("Namespace", "namespaces", false),
                ("Secret", "secrets", true),
                ("Service", "services", true),
                ("ServiceAccount", "serviceaccounts", true),
                ("Pod", "pods", true),
                ("ConfigMap", "configmaps", true),
            ],
        ),
        "/apis/apps/v1" => kinds("apps/v1", &[("Deployment", "deployments", true)]),
        "/apis/policy/v1" => kinds("policy/v1", &[("PodDisruptionBudget", "poddisruptionbudgets", true)]),
        "/apis/coordination.k8s.io/v1" => kinds("coordination.k8s.io/v1", &[("Lease", "leases", true)]),
        "/apis/admissionregistration.k8s.io/v1" => kinds(
            "admissionregistration.k8s.io/v1",
            &[
                ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", false),
                ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false),
            ],
        ),
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => {
            answer(201, &json!({"kind": "SelfSubjectAccessReview", "status": {"allowed": true}}))
        }
        "/api/v1/namespaces/shop/secrets" => list("SecretList"),
        "/api/v1/namespaces/shop/pods" => list("PodList"),
        path => match path.strip_prefix("/api/v1/namespaces/") {
            Some(name) if !name.contains('/') => answer(
                200,
                &json!({"apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"name": name, "uid": uid, "resourceVersion": "1"}}),
            ),
            _ => refuse(404, "NotFound", &format!("{path} not found")),
        },
    }
}

/// What a review asks for.
pub(crate) fn reviewed(request: &HttpRequest) -> Option<Value> {
    if request.path != "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" {
        return None;
    }
    let review: Value = serde_json::from_slice(&request.body).expect("is JSON");
    Some(review["spec"]["resourceAttributes"].clone())
}

/// A kubeconfig whose context `c` leads to this server.
pub(crate) fn kubeconfig(url: &str) -> String {
    context("c", url)
}

/// One with a context of another name.
pub(crate) fn context(name: &str, url: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {name}\ncontexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]\n\
         clusters: [{{name: {name}, cluster: {{server: '{url}'}}}}]\nusers: [{{name: {name}, user: {{token: t}}}}]\n"
    )
}

/// A desk that is bound to a server.
pub(crate) fn bound(server: &Loopback) -> Desk {
    let desk = Desk::with(BOUND);
    desk.write("kubeconfig", &kubeconfig(&server.url()));
    desk
}
