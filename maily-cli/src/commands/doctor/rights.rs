//! What the credentials may do, and what to ask for.

use maily_core::{
    model::{Check, Fencing},
    object::{ObjectKey, ObjectKind},
    provider::{Access, ErrorKind, Permission, ProviderError},
};

use super::Findings;
use crate::wire::Wired;

/// Whose UID tells one cluster from another.
const SYSTEM: &str = "kube-system";

/// What a release does in its namespace: group, resource, verbs.
type Wanted = (&'static str, &'static str, &'static [&'static str]);

const WANTED: &[Wanted] = &[
    ("", "secrets", &["get", "list", "create", "patch", "delete"]),
    ("", "configmaps", &["get", "list", "create", "patch", "delete"]),
    ("", "services", &["get", "list", "create", "patch", "delete"]),
    ("", "serviceaccounts", &["get", "create", "patch", "delete"]),
    ("", "pods", &["get", "list", "watch"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["list"]),
    ("apps", "deployments", &["get", "list", "watch", "create", "patch", "delete"]),
    ("apps", "statefulsets", &["get", "list", "watch", "create", "patch", "delete"]),
    ("apps", "replicasets", &["list", "watch"]),
    ("autoscaling", "horizontalpodautoscalers", &["list"]),
    ("batch", "jobs", &["get", "create", "delete"]),
    ("coordination.k8s.io", "leases", &["get", "create", "patch"]),
];

/// What of this is missing in the environment's namespace.
pub(super) async fn permissions(wired: &Wired, findings: &mut Findings) {
    let environment = &wired.environment;
    let watched: &[Wanted] = match environment.fencing {
        Fencing::Installed => &[("", "configmaps", &["watch"])],
        Fencing::None => &[],
    };
    // The API server passes a check of a path on to the service.
    let by_path = |check: &Check| matches!(check, Check::Http { url, .. } if url.starts_with('/'));
    let checked: &[Wanted] = if wired.resolved.services.values().any(|one| one.checks.iter().any(by_path)) {
        &[("", "services/proxy", &["get"])]
    } else {
        &[]
    };
    let permissions: Vec<Permission> = WANTED
        .iter()
        .chain(watched)
        .chain(checked)
        .flat_map(|(group, resource, verbs)| {
            verbs.iter().map(|verb| Permission {
                verb,
                group: (*group).to_owned(),
                resource: (*resource).to_owned(),
                namespace: Some(environment.namespace.clone()),
            })
        })
        .collect();
    let answers = match environment.providers.cluster.allowed(&permissions).await {
        Ok(answers) => answers,
        Err(error) => return findings.unseen("permissions", error),
    };
    let missing = |wanted: Access| -> Vec<String> {
        let of = permissions.iter().zip(&answers).filter(|(_, access)| **access == wanted);
        of.map(|(permission, _)| told(permission)).collect()
    };
    let (denied, unknown) = (missing(Access::Denied), missing(Access::Unknown));
    if !denied.is_empty() {
        let help = format!("ask for a Role in namespace `{}` that allows these", environment.namespace);
        findings.add("bad", "permissions", format!("not allowed: {}", denied.join(", ")), Some(&help));
    }
    if !unknown.is_empty() {
        findings.add("warn", "permissions", format!("could not be found out: {}", unknown.join(", ")), None);
    }
    if denied.is_empty() && unknown.is_empty() {
        findings.add("ok", "permissions", format!("all {} that a release needs", permissions.len()), None);
    }
}

/// A permission as a Role says it.
fn told(permission: &Permission) -> String {
    let Permission { verb, group, resource, .. } = permission;
    if group.is_empty() { format!("{verb} {resource}") } else { format!("{verb} {resource}.{group}") }
}

/// Which of the two namespaces may not be read without which no command works: one tells the cluster from another, the
/// other has to be there. Where it is neither, what was refused instead.
pub(super) async fn namespaces(wired: &Wired, refused: ProviderError, findings: &mut Findings) {
    let own = wired.environment.namespace.as_str();
    let mut denied = Vec::new();
    for name in [SYSTEM, own] {
        let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, name);
        match wired.environment.providers.cluster.get(&key).await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                denied.push(format!("get namespaces `{name}`"));
            }
            _ => {}
        }
    }
    if denied.is_empty() {
        return findings.unseen("identity", refused);
    }
    let detail = format!("not allowed: {}", denied.join(", "));
    let help = format!(
        "ask for a ClusterRole that allows `get` on `namespaces` with `resourceNames: [{SYSTEM}, {own}]`: without it no \
         command can tell whether this is the bound cluster"
    );
    findings.add("bad", "identity", detail, Some(&help));
}
