//! `init`, `env`, `show project`.

use std::path::{Path, PathBuf};

use maily_core::{
    model::{
        EnvironmentName, Fencing, LoadError, Project, ProjectName, Version, bind_environment, record_fence,
    },
    object::{ObjectKey, ObjectKind},
    provider::{Cluster as _, Precondition, WriteOptions},
    source::{DeriveRequest, derive},
};
use serde_json::json;

use super::fence::{self, Bound};
use crate::{
    args::{BindArgs, EnvArg, Globals, InitArgs},
    exit::{CliError, Code},
    file,
    render::{self, Ui},
    wire::{connect, project_path, sandbox_path},
};

const TEMPLATE: &str = include_str!("template.yaml");

pub(super) fn init(ui: &Ui, globals: &Globals, args: &InitArgs) -> Result<Code, CliError> {
    let path = project_path(globals);
    if path.exists() && !args.force {
        return Err(CliError::usage(format!("`{}` is there already", path.display()))
            .help(
                "choose another name with `--file NAME.yaml`, or replace it with `--force`: bindings, phases and all else \
                 that it says go with it",
            ));
    }
    let root = path.parent().map(Path::to_owned).unwrap_or_default();
    let name = name(args, &root)?;
    let mut remarks = Vec::new();
    let text = match &args.from {
        None => {
            if !args.critical.is_empty() || args.version.is_some() {
                return Err(CliError::usage("`--critical` and `--version` belong to `--from`"));
            }
            TEMPLATE.replace("PROJECT", &name)
        }
        Some(from) => {
            if args.version.is_none() && from.contains("{version}") {
                return Err(CliError::usage("`--from` has a `{version}`, so that `--version` is needed"));
            }
            let version: Option<Version> = args.version.as_deref().map(super::deploy::version).transpose()?;
            let version = version.as_ref();
            let request = DeriveRequest { root: &root, from, version, name: &name, critical: &args.critical };
            let derived = derive(&request)?;
            if let (None, Some(carried)) = (version, &derived.version) {
                ui.tell(&format!("the project's own images carry `{carried}`"));
            }
            if !derived.unknown_critical.is_empty() {
                return Err(CliError::usage(format!(
                    "no such service: {}",
                    derived.unknown_critical.join(", ")
                ))
                .help(render::there_are(&derived.services)));
            }
            for remark in &derived.remarks {
                ui.tell(&format!("{} {remark}", ui.beside.warn("!")));
            }
            remarks = derived.remarks;
            derived.text
        }
    };
    // Before it takes the place of another one.
    let project = Project::parse(&text, &path.display().to_string()).map_err(LoadError::from)?;
    file::write(&path, &text)?;
    if ui.is_json() {
        let services: Vec<String> = project.services.keys().map(ToString::to_string).collect();
        ui.document(
            "init",
            &json!({"file": path.display().to_string(), "project": project.name.to_string(), "services": services, "remarks": remarks}),
        )?;
    } else {
        let services = render::several(project.services.len(), "service");
        ui.tell(&format!("wrote `{}`: {services}", path.display()));
        // What is not real needs no cluster.
        let next = match globals.sandbox {
            true => "deploy --version VERSION",
            false => "env bind production --context CONTEXT --namespace NAMESPACE --create-namespace",
        };
        ui.tell(&format!("next: {}", ui.tool.call(next)));
    }
    Ok(Code::Done)
}

fn name(args: &InitArgs, root: &Path) -> Result<ProjectName, CliError> {
    let text = match &args.name {
        Some(name) => name.clone(),
        None => {
            let root = if root.as_os_str().is_empty() { PathBuf::from(".") } else { root.to_owned() };
            let folder = root.canonicalize().ok();
            folder.and_then(|path| Some(path.file_name()?.to_str()?.to_lowercase())).unwrap_or_default()
        }
    };
    text.parse().map_err(|error: maily_core::model::NameError| {
        CliError::usage(format!("`{text}` cannot be the project's name: {error}"))
            .help("choose one with `--name`")
    })
}

pub(super) async fn bind(ui: &Ui, globals: &Globals, args: &BindArgs) -> Result<Code, CliError> {
    if globals.sandbox {
        return Err(CliError::usage("environments of the sandbox need no binding"));
    }
    let path = project_path(globals);
    let project = Project::load(&path)?;
    let name: EnvironmentName = args.name.parse().map_err(|error: maily_core::model::NameError| {
        CliError::usage(format!("`{}` cannot be an environment's name: {error}", args.name))
    })?;
    let known = project.environments.get(&name);
    let before = known.map(|environment| &environment.cluster);
    let wanted = args.context.clone().or_else(|| before.and_then(|cluster| cluster.context.clone()));
    let cluster = connect(globals, wanted.as_deref()).await?;
    let info = cluster.describe().await?;
    let former = before.and_then(|cluster| cluster.identity.as_ref());
    if let Some((bound, found)) = former.and_then(|former| former.mismatch(&info.identity))
        && !args.rebind
    {
        let message = format!("`{name}` is bound to {bound}; {} {found}", info.server);
        return Err(CliError::new(Code::Failed, message).help("bind it anew with `--rebind`"));
    }
    let context = Some(cluster.context().to_owned()).filter(|name| !name.is_empty()).or(wanted);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| CliError::usage(format!("failed to read `{}`: {error}", path.display())))?;
    let origin = path.display().to_string();
    let edited = bind_environment(
        &text,
        &origin,
        &name,
        context.as_deref(),
        &info.identity,
        args.namespace.as_deref(),
    )
    .map_err(|error| CliError::usage(error.to_string()))?;
    let becomes = Project::parse(&edited, &origin).map_err(LoadError::from)?;
    let becomes = becomes.environments.get(&name).ok_or_else(|| {
        CliError::usage(format!("`{origin}` has no environment `{name}`"))
            .help("write it into the file by hand")
    })?;
    let namespace = becomes.namespace.clone();
    let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, &namespace);
    let there = cluster.get(&key).await?;
    if there.is_none() && !args.create_namespace && args.install_fence {
        let message = format!("namespace `{namespace}` does not exist: the fence cannot be installed");
        return Err(CliError::new(Code::Failed, message).help("make it with `--create-namespace`"));
    }
    // With another authority it is the same cluster, and what stands in it stays.
    let moved = known.is_some_and(|known| {
        known.namespace != namespace || former.is_none_or(|former| former.uid != info.identity.uid)
    });
    let recorded = known.map(|known| known.fence).unwrap_or_default();
    // A fence is its binding's: until there is one here, whatever comes between, the file says so.
    let edited = match moved && recorded == Fencing::Installed {
        true => record_fence(&edited, &origin, &name, Fencing::None)
            .map_err(|error| CliError::usage(error.to_string()))?,
        false => edited,
    };
    if there.is_none() && args.create_namespace {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let object = maily_core::object::Object::from_value(body)
            .map_err(|error| CliError::usage(format!("namespace `{namespace}`: {error}")))?;
        cluster
            .write(&object, &WriteOptions::apply(maily_core::engine::MANAGER, Precondition::Absent))
            .await?;
    }
    file::write(&path, &edited)?;
    let bound = Bound {
        path: &path,
        text: &edited,
        name: &name,
        namespace: &namespace,
        exists: there.is_some() || args.create_namespace,
        recorded,
        moved,
    };
    let fence = fence::settle(cluster, &bound, args).await.map_err(|error| match edited != text {
        true => half_bound(&error, &name, &info.server, args),
        false => error,
    })?;
    if ui.is_json() {
        ui.document("binding", &json!({"environment": name.to_string(), "context": context, "namespace": namespace, "cluster": info.identity, "server": info.server, "fence": fence}))?;
    } else {
        ui.tell(&format!("`{name}` is bound to {} ({}), namespace `{namespace}`", info.server, info.version));
        // Where nothing was ever released there is nothing to leave behind.
        let used = former.is_some() || sandbox_path(globals).exists();
        let moved = known.filter(|known| used && known.namespace != namespace);
        if let Some(former) = moved.map(|known| &known.namespace) {
            ui.tell(&format!(
                "{} it was in namespace `{former}` until now: what is released and on record there stays there",
                ui.beside.warn("!")
            ));
        }
        if !bound.exists {
            ui.tell(&format!(
                "{} namespace `{namespace}` does not exist yet: {} makes it",
                ui.beside.warn("!"),
                ui.tool.in_text(&format!("`mailyctl env bind {name} --create-namespace`"))
            ));
        }
        fence.tell(ui, &name)?;
    }
    Ok(Code::Done)
}

/// The file was written before: what failed was its fence alone.
fn half_bound(error: &CliError, name: &EnvironmentName, server: &str, args: &BindArgs) -> CliError {
    let (what, option) = match args.remove_fence {
        true => ("removed", " --remove-fence"),
        false => ("installed", " --install-fence"),
    };
    let message =
        format!("`{name}` is bound to {server} now; its fence is not {what}: {}", error.message.trim_end());
    let help = error.help.as_ref().map(|help| format!("{help}; then ")).unwrap_or_default();
    CliError::new(Code::Stuck, message).help(format!("{help}`mailyctl env bind {name}{option}` once more"))
}

pub(super) fn list(ui: &Ui, globals: &Globals) -> Result<Code, CliError> {
    let project = Project::load(&project_path(globals))?;
    if ui.is_json() {
        let environments: Vec<_> = project
            .environments
            .values()
            .map(|environment| {
                json!({
                    "name": environment.name.to_string(),
                    "namespace": environment.namespace,
                    "context": environment.cluster.context,
                    "identity": environment.cluster.identity,
                    "approval": environment.approval == maily_core::model::Approval::Required,
                    "fence": environment.fence.as_str(),
                })
            })
            .collect();
        ui.document("environments", &json!({"environments": environments}))?;
    } else {
        ui.print(&render::environments(&project, ui.paint))?;
    }
    Ok(Code::Done)
}

pub(super) fn show(ui: &Ui, globals: &Globals, env: &EnvArg) -> Result<Code, CliError> {
    let project = Project::load(&project_path(globals))?;
    let names: Vec<String> = match &env.env {
        Some(name) => vec![name.clone()],
        None => project.environments.keys().map(ToString::to_string).collect(),
    };
    let mut shown = Vec::new();
    for name in names {
        let resolved =
            project.resolve(&name).map_err(|error| CliError::usage(error.to_string()).help(error.help))?;
        shown.push((name, resolved.explain()));
    }
    if ui.is_json() {
        let environments: serde_json::Map<String, serde_json::Value> = shown
            .into_iter()
            .map(|(name, values)| {
                let values = values
                    .into_iter()
                    .map(|value| json!({"path": value.path, "value": value.value, "from": value.origin}));
                (name, values.collect())
            })
            .collect();
        ui.document("project", &json!({"project": project.name.to_string(), "environments": environments}))?;
        return Ok(Code::Done);
    }
    for (name, values) in shown {
        let mut text = format!("{}\n", ui.paint.strong(&format!("{} in {name}", project.name)));
        let values: Vec<(String, String)> = values
            .into_iter()
            .map(|value| (format!("{}: {}", value.path, value.value), value.origin))
            .collect();
        text.push_str(&render::values(&values, render::columns_of_terminal(), ui.paint));
        ui.print_text(&text)?;
    }
    Ok(Code::Done)
}
