//! `doctor`: everything that a release needs, looked at before one does.

mod records;
mod rights;

use std::{collections::BTreeSet, process::Command, time::Duration};

use maily_core::{
    engine::{EnvironmentError, FenceError, FenceState},
    model::{Bundle, Fencing, Resolved, Source, Version},
    program::{self, Limits, ProgramError},
    provider::{ClusterInfo, ErrorKind},
};
use maily_testkit::sim::Mode;
use serde::Serialize;

use crate::{
    args::{DoctorCommand, Globals},
    exit::{CliError, Code},
    programs::ToldTools,
    render::{Paint, Ui, clean},
    signals,
    wire::{Wired, Workshop},
};

/// Milliseconds by which clocks may differ before the times in records mislead.
const SKEW: i64 = 5_000;
/// A program tells its version at once.
const VERSION: Limits = Limits { time: Duration::from_secs(10), output: 0 };

/// How kubectl tells whether it has a kustomize of its own.
const BUILT_IN: &[&str] = &["kustomize", "--help"];

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

    /// What could not be looked at, and why.
    fn unseen(&mut self, what: &str, error: impl Into<CliError>) {
        let error = error.into();
        self.add("bad", what, error.message, error.help.as_deref());
    }
}

/// What was found in one environment.
struct Report {
    environment: String,
    findings: Findings,
    role: Option<String>,
}

impl Report {
    fn is_bad(&self) -> bool {
        self.findings.0.iter().any(|finding| finding.state == "bad")
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = format!("{}\n", paint.strong(&self.environment));
        for finding in &self.findings.0 {
            let mark = match finding.state {
                "ok" => paint.good("✓"),
                "warn" => paint.warn("!"),
                _ => paint.bad("✗"),
            };
            // Servers and programs have their words in it.
            text.push_str(&format!("  {mark} {:12} {}\n", finding.what, clean(&finding.detail)));
            if let Some(help) = &finding.help {
                text.push_str(&format!("    {}: {}\n", paint.strong("help"), clean(help)));
            }
        }
        text
    }

    fn document(&self) -> serde_json::Value {
        let mut document = serde_json::json!({"environment": self.environment, "healthy": !self.is_bad(), "findings": self.findings.0});
        if let Some(role) = &self.role {
            document["role"] = role.clone().into();
        }
        document
    }
}

pub(super) async fn doctor(ui: &Ui, globals: &Globals, args: &DoctorCommand) -> Result<Code, CliError> {
    let version = args.version.as_deref().map(super::deploy::version).transpose()?;
    let workshop = Workshop::open(globals, Mode::Read)?;
    let names = workshop.names(args.env.env.as_deref())?;
    let (mut code, several) = (Code::Done, names.len() > 1);
    let mut between = "";
    for name in &names {
        let report = examined(ui, globals, &workshop, name, version.as_ref(), args.role).await?;
        if report.is_bad() {
            code = Code::Failed;
        }
        match (ui.is_json(), &report.role) {
            (true, _) => ui.one_document("doctor", &report.document(), several)?,
            // The manifest is the result; what was found stands beside it.
            (false, Some(role)) => {
                match report.is_bad() {
                    true => ui.insist(report.text(ui.beside).trim_end()),
                    false => ui.tell(report.text(ui.beside).trim_end()),
                }
                ui.print(&format!("{between}{role}"))?;
                between = "---\n";
            }
            // None could be derived, and what was found is no manifest.
            (false, None) if args.role => ui.insist(report.text(ui.beside).trim_end()),
            (false, None) => ui.print_text(&report.text(ui.paint))?,
        }
    }
    if !ui.is_json() && !args.role {
        let status = ui.tool.call("status");
        ui.tell(&format!(
            "doctor looks at what a release needs, not at whether services serve: `{status}` shows that"
        ));
    }
    Ok(code)
}

/// Looks at one environment. What keeps from its cluster keeps from nothing else.
async fn examined(
    ui: &Ui,
    globals: &Globals,
    workshop: &Workshop,
    name: &str,
    version: Option<&Version>,
    wants_role: bool,
) -> Result<Report, CliError> {
    let (resolved, tools) = (workshop.resolve(name)?, ToldTools::new(ui));
    let (mut findings, mut role) = (Findings::default(), None);
    signals::unless_stopped(programs(&resolved, &mut findings)).await?;
    match workshop.wire(Some(name)).await {
        Err(error) => {
            let unbound = !globals.sandbox && resolved.environment.cluster.identity.is_none();
            findings.unseen(if unbound { "binding" } else { "server" }, error);
        }
        Ok(wired) => {
            if server(&wired, &mut findings).await && identity(&wired, globals.sandbox, &mut findings).await {
                let rights = rights::permissions(&wired, version, &tools, &mut findings);
                if let Some(rights) = signals::unless_stopped(rights).await? {
                    role = wants_role.then(|| rights.manifest(name, &wired.environment.namespace));
                }
                if !globals.sandbox {
                    fence(&wired, &mut findings).await;
                }
                records::records(&wired, &mut findings).await;
            }
        }
    }
    for help in findings.0.iter_mut().filter_map(|finding| finding.help.as_mut()) {
        *help = ui.tool.in_text(help);
    }
    Ok(Report { environment: name.to_owned(), findings, role })
}

async fn programs(resolved: &Resolved, findings: &mut Findings) {
    let bundles = resolved.project.sources.values();
    let own = resolved.services.values().filter_map(|service| match &service.source {
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
    for name in needed {
        let by_hand = format!("run `{name} version` by hand");
        match asked(name, &["version"]).await {
            Ok(()) => findings.add("ok", name, "is installed", None),
            Err(Unwell::Missing(_)) if name == "kustomize" && asked("kubectl", BUILT_IN).await.is_ok() => {
                findings.add("ok", name, "is not installed: `kubectl kustomize` renders instead", None);
            }
            Err(Unwell::Missing(why)) => findings.add("bad", name, why, Some("install it")),
            Err(Unwell::Broken(why)) => findings.add("bad", name, why, Some(&by_hand)),
        }
    }
}

/// Why a program cannot do what it is needed for.
enum Unwell {
    Missing(String),
    Broken(String),
}

async fn asked(name: &str, args: &[&str]) -> Result<(), Unwell> {
    let mut command = Command::new(name);
    command.args(args);
    match program::run(command, VERSION).await {
        Ok(ended) if ended.status.success() => Ok(()),
        Ok(ended) => {
            let said: String = ended.stderr.last(1).into_iter().map(|line| format!(": {line}")).collect();
            Err(Unwell::Broken(format!("failed ({}){said}", ended.status)))
        }
        Err(ProgramError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Unwell::Missing(format!("cannot be run: {error}")))
        }
        Err(ProgramError::Io(error)) => Err(Unwell::Broken(format!("cannot be run: {error}"))),
        Err(error) => Err(Unwell::Broken(error.to_string())),
    }
}

/// Whether the server answers: where it does, a missing right does not keep from looking at all else.
async fn server(wired: &Wired, findings: &mut Findings) -> bool {
    match wired.environment.describe().await {
        Ok(info) => version_and_clock(&info, findings),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let detail = "answers, and does not let these credentials see which cluster it is";
            findings.add("warn", "server", detail, None);
        }
        Err(error) => {
            findings.unseen("server", error);
            return false;
        }
    }
    true
}

fn version_and_clock(info: &ClusterInfo, findings: &mut Findings) {
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

/// Whether it is the cluster of the environment, as far as these credentials can tell: what another one has says nothing,
/// and nothing is written there.
async fn identity(wired: &Wired, sandbox: bool, findings: &mut Findings) -> bool {
    match wired.environment.check().await {
        Ok(_) => findings.add(
            "ok",
            "identity",
            format!(
                "{}, namespace `{}`",
                if sandbox { "the sandbox" } else { "the bound cluster" },
                wired.environment.namespace
            ),
            None,
        ),
        Err(EnvironmentError::Provider(error)) if error.kind() == ErrorKind::PermissionDenied => {
            rights::namespaces(wired, error, findings).await;
        }
        Err(error @ (EnvironmentError::WrongCluster { .. } | EnvironmentError::Unbound(_))) => {
            findings.unseen("identity", error);
            return false;
        }
        Err(error) => findings.unseen("identity", error),
    }
    true
}

/// The fence as it stands, and whether it refuses: asked by a dry run of an older epoch, which changes nothing.
async fn fence(wired: &Wired, findings: &mut Findings) {
    let environment = &wired.environment;
    let recorded = environment.fencing == Fencing::Installed;
    let sight = match environment.fence_sight().await {
        Ok(sight) => sight,
        // Nothing is wrong with one that nobody has written down.
        Err(FenceError::Provider { source, .. })
            if !recorded && source.kind() == ErrorKind::PermissionDenied =>
        {
            let detail = "none is recorded, and these credentials may not see whether there is one";
            return findings.add("warn", "fence", detail, source.hint());
        }
        Err(error) => return findings.unseen("fence", error),
    };
    let (said, help) = crate::render::fence(sight, &environment.name);
    match (recorded, sight.state, sight.epoch) {
        (true, FenceState::Installed | FenceState::Unseen, Some(epoch)) => {
            match environment.fence().prove(epoch).await {
                Ok(()) => {
                    findings.add("ok", "fence", format!("refuses what is older than epoch {epoch}"), None)
                }
                Err(error) => findings.unseen("fence", error),
            }
        }
        (true, ..) => findings.add("bad", "fence", said, help.as_deref()),
        (false, ..) => findings.add("warn", "fence", said, help.as_deref()),
    }
}
