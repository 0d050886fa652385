//! Completions that know the project: its environments and services, from the project file alone.

use std::{ffi::OsString, io::Write as _, path::PathBuf};

use clap::CommandFactory as _;
use clap_complete::{Shell, engine::CompletionCandidate, env::Shells};
use maily_core::model::Project;

use crate::{
    args::{Args, Globals},
    wire::project_path,
};

/// By which a shell asks; its value is the shell's name.
const VARIABLE: &str = "MAILYCTL_COMPLETE";
const PROGRAM: &str = "mailyctl";

/// The script that makes a shell ask.
pub(crate) fn script(shell: Shell) -> std::io::Result<Vec<u8>> {
    let (shells, name, mut script) = (Shells::builtins(), shell.to_string(), Vec::new());
    let unknown = || std::io::Error::other(format!("there are no completions for {name}"));
    let completer = shells.completer(&name).ok_or_else(unknown)?;
    completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    Ok(script)
}

/// Answers a shell that asks what may stand at the cursor; whether one did.
#[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
pub(crate) fn answered() -> bool {
    let shells = Shells::builtins();
    let asks = std::env::var(VARIABLE).ok();
    let Some(shell) = asks.as_deref().and_then(|name| shells.completer(name)) else { return false };
    let (folder, mut answer) = (std::env::current_dir().ok(), Vec::new());
    // Where nothing can be said the shell shows nothing: an error would stand in the line that is being written.
    if shell.write_complete(&mut Args::command(), words().collect(), folder.as_deref(), &mut answer).is_ok() {
        let _ = std::io::stdout().lock().write_all(&answer);
    }
    true
}

/// The words of the line that is being written.
fn words() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip_while(|word| word != "--").skip(1)
}

/// The project that the line is about, unless its file is not there or is being written, too.
fn project() -> Option<Project> {
    let matches = Args::command().ignore_errors(true).try_get_matches_from(words()).ok()?;
    let path = |option| matches.get_one::<PathBuf>(option).cloned();
    let globals = Globals {
        directory: path("directory"),
        file: path("file").unwrap_or_else(|| "maily.yaml".into()),
        ..Globals::default()
    };
    Project::load(&project_path(&globals)).ok()
}

/// Names of environments.
pub(crate) fn environments() -> Vec<CompletionCandidate> {
    let project = project();
    let all = project.iter().flat_map(|project| project.environments.values());
    all.map(|environment| {
        let help = format!("namespace {}", environment.namespace);
        CompletionCandidate::new(environment.name.to_string()).help(Some(help.into()))
    })
    .collect()
}

/// Names of services.
pub(crate) fn services() -> Vec<CompletionCandidate> {
    let project = project();
    let all = project.iter().flat_map(|project| project.services.keys());
    all.map(|name| CompletionCandidate::new(name.to_string())).collect()
}

/// Names of services, and the word for all of them.
pub(crate) fn services_or_all() -> Vec<CompletionCandidate> {
    let mut names = services();
    names.push(CompletionCandidate::new("all"));
    names
}
