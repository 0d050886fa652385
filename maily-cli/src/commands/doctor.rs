//! `doctor`: everything that a release needs, looked at before one does.

use std::collections::BTreeSet;

use maily_core::{
    engine::FenceState,
    model::{Bundle, Fencing, Source},
    provider::{Access, ClusterInfo, Permission},
};
use maily_testkit::sim::Mode;
use serde::Serialize;

use crate::{
    args::{EnvArg, Globals},
    exit::{CliError, Code},
    render::Ui,
    wire::{Wired, Workshop},
};

/// Milliseconds by which clocks may differ before the times in records mislead.
const SKEW: i64 = 5_000;

#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    state: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, state: &'static str, what: &str, detail: impl Into<String>, help: Option<&str>) {
        self.0.push(Finding {
            what: what.to_owned(),
            state,
            detail: detail.into(),
            help: help.map(str::to_owned),
        });
    }
}

pub(super) async fn doctor(ui: &Ui, globals: &Globals, env: &EnvArg) -> Result<Code, CliError> {
    let workshop = Workshop::open(globals, Mode::Read)?;
    let wired = workshop.wire(env.env.as_deref()).await?;
    let mut findings = Findings::default();
    programs(&wired, &mut findings);
    let cluster = &wired.environment.providers.cluster;
    match cluster.describe().await {
        Ok(info) => {
            server(&info, &mut findings);
            match wired.environment.check().await {
                Ok(_) => findings.add(
                    "ok",
                    "identity",
                    format!("the bound cluster, namespace `{}`", wired.environment.namespace),
                    None,
                ),
                Err(error) => findings.add("bad", "identity", error.to_string(), error.hint().as_deref()),
            }
            access(&wired, &mut findings).await?;
            if !globals.sandbox {
                fence(&wired, &mut findings).await;
            }
            records(&wired, &mut findings).await;
        }
        Err(error) => {
            let error = CliError::from(error);
            findings.add("bad", "server", error.message, error.help.as_deref());
        }
    }
    let bad = findings.0.iter().any(|finding| finding.state == "bad");
    if ui.is_json() {
        ui.document("doctor", &serde_json::json!({"environment": wired.environment.name, "healthy": !bad, "findings": findings.0}))?;
    } else {
        let mut text = format!("{}\n", ui.paint.strong(&wired.environment.name));
        for finding in &findings.0 {
            let mark = match finding.state {
                "ok" => ui.paint.good("✓"),
                "warn" => ui.paint.warn("!"),
                _ => ui.paint.bad("✗"),
            };
            text.push_str(&format!("  {mark} {:12} {}\n", finding.what, finding.detail));
            if let Some(help) = &finding.help {
                text.push_str(&format!("    {}: {help}\n", ui.paint.strong("help")));
            }
        }
        ui.print(&text)?;
    }
    Ok(if bad { Code::Failed } else { Code::Done })
}

fn programs(wired: &Wired, findings: &mut Findings) {
    let bundles = wired.resolved.project.sources.values();
    let own = wired.resolved.services.values().filter_map(|service| match &service.source {
        Source::Bundle(bundle) => Some(bundle),
        _ => None,
    });
    let needed: BTreeSet<&str> = bundles
        .chain(own)
        .filter_map(|bundle| match bundle {
            Bundle::Kustomize(_) => Some("kustomize"),
            Bundle::Helm(_) => Some("helm"),
            Bundle::Manifests(_) => None,
        })
        .collect();
    for program in needed {
        match std::process::Command::new(program).arg("version").output() {
            Ok(_) => findings.add("ok", program, "is installed", None),
            Err(error) => findings.add("bad", program, format!("cannot be run: {error}"), Some("install it")),
        }
    }
}

fn server(info: &ClusterInfo, findings: &mut Findings) {
    findings.add("ok", "server", format!("{} at {}", info.version, info.server), None);
    match info.clock_skew_ms {
        Some(skew) if skew.abs() > SKEW => findings.add(
            "warn",
            "clock",
            format!("the server's clock differs by {:.1} s", skew as f64 / 1000.0),
            Some("set this machine's clock: times on record mislead"),
        ),
        Some(skew) => findings.add("ok", "clock", format!("differs by {skew} ms"), None),
        None => findings.add("warn", "clock", "the server did not tell its time", None),
    }
}

async fn access(wired: &Wired, findings: &mut Findings) -> Result<(), CliError> {
    let namespace = Some(wired.environment.namespace.clone());
    let wanted: &[(&str, &str, &[&str])] = &[
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
    let watched: &[(&str, &str, &[&str])] = match wired.environment.fencing {
        Fencing::Installed => &[("", "configmaps", &["watch"])],
        Fencing::None => &[],
    };
    let permissions: Vec<Permission> = wanted
        .iter()
        .chain(watched)
        .flat_map(|(group, resource, verbs)| {
            verbs.iter().map(|verb| Permission {
                verb,
                group: (*group).to_owned(),
                resource: (*resource).to_owned(),
                namespace: namespace.clone(),
            })
        })
        .collect();
    let answers = wired.environment.providers.cluster.allowed(&permissions).await?;
    let missing = |wanted: Access| -> Vec<String> {
        permissions
            .iter()
            .zip(&answers)
            .filter(|(_, access)| **access == wanted)
            .map(|(permission, _)| format!("{} {}", permission.verb, permission.resource))
            .collect()
    };
    let (denied, unknown) = (missing(Access::Denied), missing(Access::Unknown));
    if !denied.is_empty() {
        let help = format!("ask for these in namespace `{}`", wired.environment.namespace);
        findings.add("bad", "permissions", format!("not allowed: {}", denied.join(", ")), Some(&help));
    }
    if !unknown.is_empty() {
        findings.add("warn", "permissions", format!("could not be found out: {}", unknown.join(", ")), None);
    }
    if denied.is_empty() && unknown.is_empty() {
        findings.add("ok", "permissions", format!("all {} that a release needs", permissions.len()), None);
    }
    Ok(())
}

/// The fence as it stands, and whether it refuses: asked by a dry run of an older epoch, which changes nothing.
async fn fence(wired: &Wired, findings: &mut Findings) {
    let environment = &wired.environment;
    let recorded = environment.fencing == Fencing::Installed;
    let fence = environment.fence();
    let sight = match fence.sight(recorded).await {
        Ok(sight) => sight,
        Err(error) => {
            let error = CliError::from(error);
            return findings.add("bad", "fence", error.message, error.help.as_deref());
        }
    };
    let (said, help) = crate::render::fence(sight, &environment.name);
    match (recorded, sight.state, sight.epoch) {
        (true, FenceState::Installed | FenceState::Unseen, Some(epoch)) => match fence.prove(epoch).await {
            Ok(()) => findings.add("ok", "fence", format!("refuses what is older than epoch {epoch}"), None),
            Err(error) => {
                let error = CliError::from(error);
                findings.add("bad", "fence", error.message, error.help.as_deref());
            }
        },
        (true, ..) => findings.add("bad", "fence", said, help.as_deref()),
        (false, ..) => findings.add("warn", "fence", said, help.as_deref()),
    }
}

async fn records(wired: &Wired, findings: &mut Findings) {
    match wired.environment.head().await {
        Err(error) => findings.add("bad", "records", CliError::from(error).message, None),
        Ok(head) => {
            let release =
                head.release.as_ref().map(|(_, release)| format!("release {} is in force", release.id));
            findings.add("ok", "records", release.unwrap_or_else(|| "nothing released yet".to_owned()), None);
            journals(wired, &head, findings).await;
            if let Some(unfinished) = &head.unfinished {
                let help = format!(
                    "`mailyctl resume --env {0}` or `mailyctl abort --env {0}`",
                    wired.environment.name
                );
                findings.add(
                    "warn",
                    "run",
                    format!("{} has not ended", unfinished.recorded.run),
                    Some(&help),
                );
            }
        }
    }
}

/// Journals that cannot be read whole, and one that does not tell of the release that it made.
async fn journals(wired: &Wired, head: &maily_core::engine::Head, findings: &mut Findings) {
    let runs = match maily_core::release::runs(&*wired.environment.records, usize::MAX / 2).await {
        Ok(runs) => runs,
        Err(error) => return findings.add("bad", "journals", error.to_string(), None),
    };
    for run in &runs {
        if let Some(damaged) = &run.damaged {
            findings.add("bad", "journal", damaged.clone(), None);
        }
    }
    let Some((released, release)) = &head.release else { return };
    if runs.iter().any(|run| run.run == *released && run.outcome.is_none() && run.damaged.is_none()) {
        let what = format!("run {released} made release {}, and its journal has lost its end", release.id);
        findings.add("bad", "journal", what, Some("bring its last segment back from a backup"));
    }
}
