//! Objects that come from files: plain, through `kustomize`, or through `helm`.

use std::{fmt, path::Path, process::Stdio, time::Duration};

use async_trait::async_trait;

use super::{
    hooks::{Sorted, sort_out},
    manifests::{SourceError, SourceErrors, read_files, read_manifests},
};
use crate::model::{Bundle, Placeholders, expand, expand_words};

/// Time for one program.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs the user's programs.
#[async_trait]
pub trait Tools: fmt::Debug + Send + Sync {
    /// Runs a program in a folder and returns what it printed.
    ///
    /// # Errors
    /// When it is missing, fails, or does not end in time.
    async fn run(&self, program: &str, args: &[String], folder: &Path) -> Result<String, SourceError>;
}

/// Runs programs of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramTools;

#[async_trait]
impl Tools for ProgramTools {
    #[expect(clippy::disallowed_methods, reason = "a program of the machine lives by the machine's clock")]
    async fn run(&self, program: &str, args: &[String], folder: &Path) -> Result<String, SourceError> {
        let refuse = |message: String, help: &str| SourceError::Program {
            program: program.to_owned(),
            message,
            help: help.to_owned(),
        };
        let mut command = tokio::process::Command::new(program);
        command.args(args).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
        let output = match tokio::time::timeout(LIMIT, command.output()).await {
            Err(_) => {
                return Err(refuse(format!("did not end within {} s", LIMIT.as_secs()), "run it by hand"));
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(refuse(
                    "is not installed".to_owned(),
                    "install it, or render to plain manifests",
                ));
            }
            Ok(Err(error)) => return Err(refuse(format!("cannot be run: {error}"), "check its permissions")),
            Ok(Ok(output)) => output,
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim();
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            return Err(refuse(
                format!("failed ({}): {}", output.status, last.join("\n")),
                "run it by hand to see all",
            ));
        }
        String::from_utf8(output.stdout).map_err(|_| refuse("printed no UTF-8".to_owned(), "run it by hand"))
    }
}

/// Reads a bundle. `name` stands for the release where a chart names none.
pub(super) async fn read(
    bundle: &Bundle,
    name: &str,
    namespace: &str,
    root: &Path,
    values: &Placeholders<'_>,
    tools: &dyn Tools,
) -> Result<Sorted, SourceErrors> {
    let expand = |text: &str| {
        expand(text, values).map_err(|message| SourceError::File {
            path: text.to_owned(),
            message,
            help: "correct the placeholder".to_owned(),
        })
    };
    let folder = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    let found = match bundle {
        Bundle::Manifests(pattern) => read_files(folder, &expand(pattern)?)?,
        Bundle::Kustomize(path) => {
            let args = ["build".to_owned(), expand(path)?];
            let text = match tools.run("kustomize", &args, folder).await {
                Ok(text) => text,
                // kubectl carries a kustomize of its own.
                Err(SourceError::Program { message, .. }) if message == "is not installed" => {
                    tools.run("kubectl", &["kustomize".to_owned(), args[1].clone()], folder).await?
                }
                Err(error) => return Err(error.into()),
            };
            read_manifests(&format!("kustomize {}", args[1]), &text)?
        }
        Bundle::Helm(chart) => {
            let release = chart.release.as_deref().unwrap_or(name);
            let mut args = vec!["template".to_owned(), release.to_owned(), expand(&chart.chart)?];
            args.extend(["--namespace".to_owned(), namespace.to_owned(), "--include-crds".to_owned()]);
            // A chart's tests are for `helm test`: nothing of a release.
            args.push("--skip-tests".to_owned());
            for file in &chart.values {
                args.extend(["--values".to_owned(), expand(file)?]);
            }
            for (path, value) in &chart.set {
                let value = expand_words(value, values).map_err(|message| SourceError::File {
                    path: format!("{}: {path}", chart.chart),
                    message,
                    help: "correct the placeholder".to_owned(),
                })?;
                // A comma would begin the next value.
                args.extend(["--set".to_owned(), format!("{path}={}", value.replace(',', "\\,"))]);
            }
            let text = tools.run("helm", &args, folder).await?;
            read_manifests(&format!("helm template {}", chart.chart), &text)?
        }
    };
    sort_out(found)
}
