//! `sandbox`: faults, its clock, and a new beginning.

use std::collections::BTreeSet;

use maily_core::{
    engine::SERVICE,
    model::{Project, Service, Source},
    object::Object,
};
use maily_testkit::{
    sim::{Mode, Sandbox},
    world::Fault,
};
use serde_json::json;

use crate::{
    args::{FaultCommand, Globals, SandboxCommand},
    exit::{CliError, Code},
    render::{Ui, there_are},
    wire::{open_sandbox, project_path, runtime, sandbox_path},
};

pub(super) async fn sandbox(ui: &Ui, globals: &Globals, command: &SandboxCommand) -> Result<Code, CliError> {
    let project = Project::load(&project_path(globals))?;
    match command {
        SandboxCommand::Reset => {
            Sandbox::reset(&sandbox_path(globals))?;
            ui.tell("the next command begins with a new world");
        }
        SandboxCommand::Clock { factor } => {
            let mode = if factor.is_some() { Mode::Write } else { Mode::Read };
            let sandbox = open_sandbox(globals, &project, mode)?;
            if let Some(factor) = factor {
                sandbox.shared.set_factor(*factor);
                save(&sandbox)?;
            }
            clock(ui, &sandbox)?;
        }
        SandboxCommand::Fault(FaultCommand::Add { fault }) => {
            let text = fault.join(" ");
            let fault: Fault =
                text.parse().map_err(|error| CliError::usage(format!("{error}")).help(help()))?;
            let sandbox = open_sandbox(globals, &project, Mode::Write)?;
            known(&project, &sandbox, &fault)?;
            let told = format!("from now on: {fault}");
            let remark = in_vain(&project, &sandbox, &fault).await;
            sandbox.shared.world().faults.push(fault);
            save(&sandbox)?;
            ui.tell(&told);
            if let Some(remark) = remark {
                ui.tell(&format!("{} {remark}", ui.beside.warn("!")));
            }
        }
        SandboxCommand::Fault(FaultCommand::Clear) => {
            let sandbox = open_sandbox(globals, &project, Mode::Write)?;
            sandbox.shared.world().faults.clear();
            save(&sandbox)?;
            ui.tell("no fault is in force");
        }
        SandboxCommand::Fault(FaultCommand::List) => {
            let sandbox = open_sandbox(globals, &project, Mode::Read)?;
            let faults: Vec<String> = sandbox.shared.world().faults.iter().map(ToString::to_string).collect();
            if ui.is_json() {
                let kinds: Vec<&str> = Fault::help().iter().map(|(form, _)| *form).collect();
                ui.document("faults", &json!({"faults": faults, "kinds": kinds}))?;
            } else {
                let none =
                    if faults.is_empty() { "no fault is in force".to_owned() } else { faults.join("\n") };
                ui.print_text(&format!("{none}\n\n{}", help()))?;
            }
        }
    }
    Ok(Code::Done)
}

fn clock(ui: &Ui, sandbox: &Sandbox) -> Result<(), CliError> {
    let (factor, now) = {
        let world = sandbox.shared.world();
        (world.factor(), world.now)
    };
    if ui.is_json() {
        return ui.document("clock", &json!({"factor": f64::from(factor), "now": now}));
    }
    ui.print_text(&format!(
        "factor {factor}: in a second here {factor} s pass in the sandbox\nit is {} there",
        now.strftime("%Y-%m-%d %H:%M:%SZ")
    ))
}

/// A fault of something that is not there would wait for ever.
fn known(project: &Project, sandbox: &Sandbox, fault: &Fault) -> Result<(), CliError> {
    let (what, name, names): (&str, &str, Vec<&str>) = match fault {
        Fault::Pods { service, version, .. } => {
            if let Some(version) = version {
                super::deploy::version_of("fault", version)?;
            }
            let known: Vec<&str> = project.services.values().flat_map(names).collect();
            // Files of others may have workloads of any name, which is not there before they are released; one that
            // looks like a service's is a slip.
            let is_open = |service: &Service| matches!(service.source, Source::Bundle(_) | Source::From(_));
            let is_there = || sandbox.shared.world().objects().any(|object| object.name() == service);
            if project.services.values().any(is_open) && !known.contains(&service.as_str()) && !is_there() {
                let slip = project.find_services(std::slice::from_ref(service)).err();
                return match slip.filter(|error| error.help.starts_with("did you mean")) {
                    Some(error) => {
                        Err(CliError::usage(format!("unknown service `{service}`")).help(error.help))
                    }
                    None => Ok(()),
                };
            }
            if is_there() {
                return Ok(());
            }
            ("service", service, known)
        }
        Fault::BuildFails { project: name } => ("frontend project", name, frontends(project)),
        _ => return Ok(()),
    };
    if names.contains(&name) {
        return Ok(());
    }
    Err(CliError::usage(format!("unknown {what} `{name}`")).help(there_are(&names)))
}

/// Why a fault of pods will not show, as far as what is there tells: there are none, or their images have other tags than
/// the versions of the service.
async fn in_vain(project: &Project, sandbox: &Sandbox, fault: &Fault) -> Option<String> {
    let Fault::Pods { service, version, .. } = fault else { return None };
    let of_service: Vec<Object> = {
        let world = sandbox.shared.world();
        let named = |object: &&Object| object.label(SERVICE) == Some(service);
        world.objects().filter(named).cloned().collect()
    };
    if of_service.is_empty() {
        return None;
    }
    let pods = ["/spec/template/spec/containers", "/spec/containers"];
    let containers = of_service.iter().flat_map(|object| pods.map(|path| object.items(path))).flatten();
    let images: BTreeSet<&str> =
        containers.filter_map(|container| container.get("image")?.as_str()).collect();
    if images.is_empty() {
        return Some(format!("nothing of `{service}` has pods in the sandbox: nothing of this will show"));
    }
    let has = |version: &str| {
        images.iter().any(|image| image.rsplit_once(':').is_some_and(|(_, tag)| tag == version))
    };
    let version = version.as_ref().filter(|version| !has(version))?;
    for name in project.environments.keys() {
        let Ok(resolved) = project.resolve(name) else { continue };
        let environment = maily_testkit::sim::environment(&sandbox.shared, &resolved, runtime());
        let Ok(Some((_, release))) = environment.head().await.map(|head| head.release) else { continue };
        if let Some(in_force) = release.versions.get(service)
            && !has(in_force)
        {
            let images: Vec<&str> = images.into_iter().collect();
            return Some(format!(
                "`@{version}` is the tag of an image, and the images of `{service}` do not follow its versions: at \
                 {in_force} it is {}",
                images.join(", ")
            ));
        }
    }
    None
}

/// Names under which a service's pods are known.
fn names(service: &Service) -> Vec<&str> {
    let mut names = vec![&*service.name];
    names.extend(service.aliases.iter().map(String::as_str));
    if let Source::Workload(workload) = &service.source {
        names.extend(workload.name.as_deref());
    }
    names
}

fn frontends(project: &Project) -> Vec<&str> {
    let sources = project.services.values().map(|service| &service.source);
    sources
        .filter_map(|source| match source {
            Source::Frontend { project, .. } => Some(project.as_str()),
            _ => None,
        })
        .collect()
}

fn save(sandbox: &Sandbox) -> Result<(), CliError> {
    sandbox.shared.save().map_err(|message| CliError::new(Code::Failed, message))
}

fn help() -> String {
    let mut text = "there are:".to_owned();
    for (form, effect) in Fault::help() {
        text.push_str(&format!("\n  {form:34} {effect}"));
    }
    text
}
