//! What the credentials may do, and what to ask for.

use maily_core::{
    model::Version,
    object::{ObjectKey, ObjectKind},
    provider::{Access, ErrorKind, Permission, ProviderError},
    release::{self, Rights},
    source::Tools,
};

use super::Findings;
use crate::wire::Wired;

/// Whose UID tells one cluster from another.
const SYSTEM: &str = "kube-system";

/// What the releases of the environment need, and what of this is missing.
pub(super) async fn permissions(
    wired: &Wired,
    version: Option<&Version>,
    tools: &dyn Tools,
    findings: &mut Findings,
) -> Option<Rights> {
    let environment = &wired.environment;
    let rights = match release::rights(environment, &wired.resolved, version, tools).await {
        Ok(rights) => rights,
        Err(error) => {
            findings.unseen("permissions", error);
            return None;
        }
    };
    // What is wrong with the files of several is told once.
    for same in rights.unknown.chunk_by(|one, next| (&one.why, &one.help) == (&next.why, &next.help)) {
        let names: Vec<String> = same.iter().map(|one| format!("`{}`", one.service)).collect();
        let (services, need) = if same.len() == 1 { ("service", "needs") } else { ("services", "need") };
        let detail = format!("what {services} {} {need} is not known: {}", names.join(", "), same[0].why);
        findings.add("warn", "permissions", detail, same[0].help.as_deref());
    }
    if !rights.unserved.is_empty() {
        let kinds: Vec<String> = rights.unserved.iter().map(ToString::to_string).collect();
        let detail = format!("the cluster does not serve {}", kinds.join(", "));
        findings.add("bad", "kinds", detail, Some("install what brings them, such as an operator"));
    }
    let answers = match environment.allowed(&rights.permissions).await {
        Ok(answers) => answers,
        Err(error) => {
            findings.unseen("permissions", error);
            return Some(rights);
        }
    };
    let missing = |wanted: Access| -> Vec<String> {
        let of = rights.permissions.iter().zip(&answers).filter(|(_, access)| **access == wanted);
        of.map(|(permission, _)| told(permission, &environment.namespace)).collect()
    };
    let (denied, unknown) = (missing(Access::Denied), missing(Access::Unknown));
    let from = match rights.from.join(" and ") {
        none if none.is_empty() => String::new(),
        from => format!(", by {from}"),
    };
    if !denied.is_empty() {
        let help = format!(
            "ask for a Role in namespace `{}` that allows these: `mailyctl doctor --env {} --role` prints it",
            environment.namespace, environment.name
        );
        let detail = format!("not allowed: {} (needed{from})", denied.join(", "));
        findings.add("bad", "permissions", detail, Some(&help));
    }
    if !unknown.is_empty() {
        findings.add("warn", "permissions", format!("could not be found out: {}", unknown.join(", ")), None);
    }
    if denied.is_empty() && unknown.is_empty() {
        let detail = format!("all {} that a release needs{from}", rights.permissions.len());
        findings.add("ok", "permissions", detail, None);
    }
    Some(rights)
}

/// A permission as a Role says it, with its place where it is not the environment's namespace.
fn told(permission: &Permission, own: &str) -> String {
    let Permission { verb, group, resource, name, namespace, path } = permission;
    if let Some(path) = path {
        return format!("{verb} {path}");
    }
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let name = name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
    let place = match namespace.as_deref() {
        Some(place) if place == own => String::new(),
        Some(place) => format!(" in namespace `{place}`"),
        None => " in the cluster".to_owned(),
    };
    format!("{verb} {resource}{group}{name}{place}")
}

/// Which of the two namespaces may not be read without which no command works: one tells the cluster from another, the
/// other has to be there. Where it is neither, what was refused instead.
pub(super) async fn namespaces(wired: &Wired, refused: ProviderError, findings: &mut Findings) {
    let own = wired.environment.namespace.as_str();
    let mut denied = Vec::new();
    for name in [SYSTEM, own] {
        let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, name);
        match wired.environment.object(&key).await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                denied.push(format!("get namespaces `{name}`"));
            }
            Err(error) => findings.unseen("identity", error),
            Ok(_) => {}
        }
    }
    if denied.is_empty() {
        return findings.unseen("identity", refused);
    }
    let detail = format!("not allowed: {}", denied.join(", "));
    let help = format!(
        "ask for a ClusterRole that allows `get` on `namespaces` with `resourceNames: [{SYSTEM}, {own}]`, without which no \
         command can tell whether this is the bound cluster: `mailyctl doctor --env {} --role` prints it",
        wired.environment.name
    );
    findings.add("bad", "identity", detail, Some(&help));
}
