//! Objects that come from files: plain, through `kustomize`, or through `helm`.

use std::{fmt, io::ErrorKind, path::Path, time::Duration};

use async_trait::async_trait;

use super::{
    hooks::{Sorted, sort_out},
    manifests::{MOST, SourceError, SourceErrors, read_files, read_manifests, refuse_special},
};
use crate::{
    model::{Bundle, ChartValue, Placeholders, expand, expand_words},
    program::{self, Limits, ProgramError, Said},
    run::Note,
};

/// Lines of a program's last words in an error.
const WORDS: usize = 5;
/// Lines that a program may say beside its output.
const REMARKS: usize = 20;

/// What a program printed.
#[derive(Clone, Default)]
pub struct Printed {
    /// On standard output.
    pub text: String,
    /// On standard error, although it succeeded: the last lines.
    pub remarks: Vec<String>,
}

impl fmt::Debug for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both may hold values of Secrets.
        f.debug_struct("Printed").finish_non_exhaustive()
    }
}

/// Runs the user's programs.
#[async_trait]
pub trait Tools: fmt::Debug + Send + Sync {
    /// Runs a program in a folder and returns what it printed.
    ///
    /// # Errors
    /// When it is missing, fails, or does not end in time.
    async fn run(&self, program: &str, args: &[String], folder: &Path) -> Result<Printed, SourceError>;
}

/// Runs programs of the machine. Dropping the future of a run ends the program with all that it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramTools;

impl ProgramTools {
    /// Time for one program.
    pub const LIMIT: Duration = Duration::from_secs(120);
}

#[async_trait]
impl Tools for ProgramTools {
    async fn run(&self, program: &str, args: &[String], folder: &Path) -> Result<Printed, SourceError> {
        let refuse = |message: String, help: &str| SourceError::Program {
            program: program.to_owned(),
            message,
            help: help.to_owned(),
        };
        let with_words = |message: String, said: &Said| match said.last(WORDS) {
            words if words.is_empty() => message,
            words => format!("{message}: {}", words.join("\n")),
        };
        let mut command = std::process::Command::new(program);
        command.args(args).current_dir(folder);
        let limits = Limits { time: Self::LIMIT, output: MOST };
        let ended = match program::run(command, limits).await {
            Ok(ended) => ended,
            Err(ProgramError::Io(error)) if error.kind() == ErrorKind::NotFound => {
                return Err(refuse(ABSENT.to_owned(), "install it, or render to plain manifests"));
            }
            Err(ProgramError::Io(error)) => {
                return Err(refuse(format!("cannot be run: {error}"), "check its permissions"));
            }
            Err(ProgramError::Late { limit, stderr }) => {
                let message = format!("did not end within {} s", limit.as_secs());
                return Err(refuse(with_words(message, &stderr), "run it by hand"));
            }
            Err(error @ ProgramError::TooMuch(_)) => {
                return Err(refuse(error.to_string(), "split what it renders"));
            }
        };
        if !ended.status.success() {
            let message = with_words(format!("failed ({})", ended.status), &ended.stderr);
            return Err(refuse(message, "run it by hand to see all"));
        }
        if !ended.whole {
            let message = "left its output open, so that it may not be whole".to_owned();
            return Err(refuse(message, "run it by hand"));
        }
        let text = String::from_utf8(ended.stdout)
            .map_err(|_| refuse("printed no UTF-8".to_owned(), "run it by hand"))?;
        Ok(Printed { text, remarks: ended.stderr.last(REMARKS) })
    }
}

/// Why a program that is not there cannot be run.
const ABSENT: &str = "is not installed";

impl SourceError {
    fn is_absence(&self) -> bool {
        matches!(self, Self::Program { message, .. } if message == ABSENT)
    }
}

fn no_kustomize() -> SourceError {
    SourceError::Program {
        program: "kustomize".to_owned(),
        message: format!("{ABSENT}, nor is kubectl, which has one of its own"),
        help: "install it, or render to plain manifests".to_owned(),
    }
}

/// A command without its options, whose values may be secret.
pub fn spoken(program: &str, args: &[String]) -> String {
    let words = args.iter().map(String::as_str).take_while(|word| !word.starts_with("--"));
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

/// Runs a program for its output. That it said something beside it is worth a note; not what, because a plan is kept,
/// and warnings quote values.
async fn output(
    tools: &dyn Tools,
    program: &str,
    args: &[String],
    folder: &Path,
) -> Result<(String, Option<Note>), SourceError> {
    let Printed { text, remarks } = tools.run(program, args, folder).await?;
    let lines = match remarks.len() {
        0 => return Ok((text, None)),
        1 => "a line".to_owned(),
        REMARKS => format!("{REMARKS} lines or more"),
        lines => format!("{lines} lines"),
    };
    let said = format!(
        "`{}` succeeded and printed {lines} on standard error, such as warnings: run it by hand to see them",
        spoken(program, args)
    );
    Ok((text, Some(Note { topic: "warnings".to_owned(), text: said })))
}

/// A value that helm's `--set` leaves as it is: a comma would begin the next value, a brace in front a list, and a
/// backslash goes unless it stands twice.
fn escaped(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace(',', "\\,");
    if escaped.starts_with('{') { format!("\\{escaped}") } else { escaped }
}

/// Reads a bundle, perhaps with something to know about it. `name` stands for the release where a chart names none.
pub(super) async fn read(
    bundle: &Bundle,
    name: &str,
    namespace: &str,
    root: &Path,
    values: &Placeholders<'_>,
    tools: &dyn Tools,
) -> Result<(Sorted, Option<Note>), SourceErrors> {
    let expand = |text: &str| {
        expand(text, values).map_err(|message| SourceError::File {
            path: text.to_owned(),
            message,
            help: "correct the placeholder".to_owned(),
        })
    };
    let folder = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    let (found, note) = match bundle {
        Bundle::Manifests(pattern) => {
            let (found, empty) = read_files(folder, &expand(pattern)?, pattern)?;
            // What it held before goes, and nothing else would say that this is the cause. Where no file holds anything
            // there is no release.
            let holds = if empty.len() == 1 { "holds" } else { "hold" };
            let text =
                format!("{} {holds} no object: what stood there is no part of the release", empty.join(", "));
            let told = !empty.is_empty() && !found.is_empty();
            (found, told.then(|| Note { topic: "empty".to_owned(), text }))
        }
        Bundle::Kustomize(path) => {
            let args = ["build".to_owned(), expand(path)?];
            let (text, note) = match output(tools, "kustomize", &args, folder).await {
                Ok(output) => output,
                // kubectl carries a kustomize of its own.
                Err(absent) if absent.is_absence() => {
                    let args = ["kustomize".to_owned(), args[1].clone()];
                    match output(tools, "kubectl", &args, folder).await {
                        Err(neither) if neither.is_absence() => return Err(no_kustomize().into()),
                        other => other?,
                    }
                }
                Err(error) => return Err(error.into()),
            };
            (read_manifests(&format!("kustomize {}", args[1]), &text)?, note)
        }
        Bundle::Helm(chart) => {
            let release = chart.release.as_deref().unwrap_or(name);
            let mut args = vec!["template".to_owned(), release.to_owned(), expand(&chart.chart)?];
            args.extend(["--namespace".to_owned(), namespace.to_owned(), "--include-crds".to_owned()]);
            // A chart's tests are for `helm test`: nothing of a release.
            args.push("--skip-tests".to_owned());
            for file in &chart.values {
                let file = expand(file)?;
                refuse_special(&folder.join(&file), &file)?;
                args.extend(["--values".to_owned(), file]);
            }
            for ChartValue { path, text, quoted } in &chart.set {
                let value = expand_words(text, values).map_err(|message| SourceError::File {
                    path: format!("{}: {path}", chart.chart),
                    message,
                    help: "correct the placeholder".to_owned(),
                })?;
                // A version of digits is none the less a text.
                let how = if *quoted || value != *text { "--set-string" } else { "--set" };
                args.extend([how.to_owned(), format!("{path}={}", escaped(&value))]);
            }
            let (text, note) = output(tools, "helm", &args, folder).await?;
            (read_manifests(&format!("helm template {}", chart.chart), &text)?, note)
        }
    };
    Ok((sort_out(found)?, note))
}
