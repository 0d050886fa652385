//! What a person or a machine gets to see.

mod canvas;
mod github;
mod history;
mod live;
mod log;
mod outcome;
mod paint;
mod plan;
mod stream;
mod tables;
mod text;
mod tool;
mod tree;
mod wrap;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use maily_core::engine::{Listener, Outcome, Planned, RunEnd};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    args::{Globals, Output},
    exit::CliError,
};

pub(crate) use history::history;
pub(crate) use live::beside;
pub(crate) use paint::Paint;
pub(crate) use stream::unread;
pub(crate) use tables::{environments, fence, looked, release, run, see_run, status, values, ways_on};
pub(crate) use text::{by_the_clock, clean, plain, several, there_are};
pub(crate) use tool::{Tool, of_environment, quoted};

/// Version of the documents of `--output json`.
pub(crate) const FORMAT: u32 = 1;

/// The variable that chooses diagnostics.
const DIAGNOSTICS: &str = "MAILY_LOG";

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A tree that is drawn anew.
    Live,
    /// Lines that stay.
    Log,
    /// JSON.
    Json,
}

/// The screen.
#[derive(Debug)]
pub(crate) struct Ui {
    pub(crate) form: Form,
    pub(crate) paint: Paint,
    /// The same for standard error.
    pub(crate) beside: Paint,
    quiet: bool,
    verbose: bool,
    /// How this program is called here.
    pub(crate) tool: Tool,
    github: Option<github::Github>,
    /// Whether events of a run could not be printed.
    lost: Arc<AtomicBool>,
}

/// A run that is being shown.
pub(crate) enum Show {
    Live(live::Live),
    Plain(Arc<dyn Listener>),
}

impl Show {
    pub(crate) fn listener(&self) -> Arc<dyn Listener> {
        match self {
            Self::Live(live) => live.listener(),
            Self::Plain(listener) => Arc::clone(listener),
        }
    }
}

/// Columns of the terminal, where there is one.
pub(crate) fn columns_of_terminal() -> Option<usize> {
    columns(&console::Term::stdout())
}

fn columns(stream: &console::Term) -> Option<usize> {
    stream.size_checked().map(|(_, columns)| columns.into())
}

/// A text for standard error, laid out for the terminal that it goes to.
pub(crate) fn beside_results(text: &str) -> String {
    wrap::wrapped(text, columns(&console::Term::stderr()))
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether a stream is a terminal that can do more than lines.
fn can_draw(terminal: bool) -> bool {
    terminal && variable("TERM").is_none_or(|term| term != "dumb")
}

/// What a stream is painted with: colours are for terminals that have them, and for who asks for them.
fn colours(terminal: bool) -> Paint {
    let forced = variable("CLICOLOR_FORCE").is_some_and(|force| force != "0");
    Paint { on: variable("NO_COLOR").is_none() && (can_draw(terminal) || forced) }
}

impl Ui {
    pub(crate) fn new(globals: &Globals) -> Self {
        let terminal = can_draw(io::stdout().is_terminal());
        let github = github::Github::detect(variable, globals.output == Output::Json);
        let form = match globals.output {
            Output::Json => Form::Json,
            Output::Text => Form::Log,
            // Diagnostics would be written across a tree.
            Output::Auto if globals.verbose > 0 || variable(DIAGNOSTICS).is_some() => Form::Log,
            Output::Auto if terminal && io::stderr().is_terminal() && github.is_none() => Form::Live,
            Output::Auto => Form::Log,
        };
        Self {
            form,
            paint: if form == Form::Json { Paint::default() } else { colours(io::stdout().is_terminal()) },
            beside: colours(io::stderr().is_terminal()),
            quiet: globals.quiet,
            verbose: globals.verbose > 0,
            tool: Tool::of(globals),
            github,
            lost: Arc::default(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// Whether somebody can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.form != Form::Json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Prints a result.
    pub(crate) fn print(&self, text: &str) -> Result<(), CliError> {
        match written(text, self.is_json()) {
            // Who reads no more, as `head` does, has what he wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(CliError::new(crate::exit::Code::Failed, format!("failed to print: {error}"))
                .help("make room where standard output goes, or send it elsewhere")),
            Ok(()) => Ok(()),
        }
    }

    /// Prints a result for people, laid out for the terminal that it goes to.
    pub(crate) fn print_text(&self, text: &str) -> Result<(), CliError> {
        self.print(&wrap::wrapped(text, columns_of_terminal()))
    }

    /// Prints something that is good to know and no result.
    pub(crate) fn tell(&self, text: &str) {
        self.teller()(text);
    }

    /// The same for somebody who outlives this.
    pub(crate) fn teller(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let silent = self.quiet || self.form == Form::Json;
        move |text| {
            if !silent {
                said(text);
            }
        }
    }

    /// Prints beside a result why the command fails, however quiet it has to be.
    pub(crate) fn insist(&self, text: &str) {
        said(text);
    }

    /// Prints what somebody has to know, and what changes nothing about how the command ends, however quiet it has to be.
    pub(crate) fn caution(&self, text: &str) {
        let text = &clean(text);
        match self.is_json() {
            true => warning(text),
            false => self.insist(&format!("{} {text}", self.beside.warn("!"))),
        }
    }

    /// Prints a document for machines.
    pub(crate) fn document(&self, kind: &str, value: &impl Serialize) -> Result<(), CliError> {
        self.one_document(kind, value, false)
    }

    /// Prints a document for machines; one of several in one line, so that each line is one.
    pub(crate) fn one_document(
        &self,
        kind: &str,
        value: &impl Serialize,
        several: bool,
    ) -> Result<(), CliError> {
        let mut document = json!({"format": FORMAT, "kind": kind});
        let failed = |error: serde_json::Error| CliError::new(crate::exit::Code::Failed, error.to_string());
        match (serde_json::to_value(value).map_err(failed)?, &mut document) {
            (Value::Object(fields), Value::Object(document)) => document.extend(fields),
            (other, document) => document[kind] = other,
        }
        let text = if several { Ok(document.to_string()) } else { serde_json::to_string_pretty(&document) };
        self.print(&text.map_err(failed)?)
    }

    /// Shows one of several plans: as JSON one a line, so that each line is a document.
    pub(crate) fn one_plan(&self, planned: &Planned) -> Result<(), CliError> {
        if self.is_json() {
            return self.one_document("plan", &json!({"plan": planned.plan}), true);
        }
        self.plan(planned)
    }

    /// Shows a plan.
    pub(crate) fn plan(&self, planned: &Planned) -> Result<(), CliError> {
        if self.is_json() {
            return self.document("plan", &json!({"plan": planned.plan}));
        }
        self.plan_with(planned, if self.verbose { plan::Fields::All } else { plan::Fields::Few }, usize::MAX)
    }

    /// Shows what a run is going to do, object by object, without asking. A run goes on, whoever reads.
    pub(crate) fn brief_plan(&self, planned: &Planned) {
        if self.is_json() || self.quiet {
            return;
        }
        let (fields, most) = match self.verbose {
            true => (plan::Fields::All, usize::MAX),
            false => (plan::Fields::None, plan::GLANCE),
        };
        if self.plan_with(planned, fields, most).is_err() {
            self.lost.store(true, Ordering::Relaxed);
        }
    }

    fn plan_with(&self, planned: &Planned, fields: plan::Fields, most: usize) -> Result<(), CliError> {
        let before = planned.head.release.as_ref().map(|(_, release)| release);
        let screen = plan::Screen { fields, most, wide: columns_of_terminal(), paint: self.paint };
        self.print_text(&self.tool.in_text(&plan::plan(&planned.plan, before, screen)))
    }

    /// Begins to show a run, from these versions on where they are known.
    pub(crate) fn show(
        &self,
        title: &str,
        environment: &str,
        before: Option<BTreeMap<String, String>>,
    ) -> Show {
        if let Some(github) = &self.github {
            github.begin(&format!("{title} to {environment}"));
        }
        match self.form {
            // Events are what whoever wants JSON has asked for.
            form if self.quiet && form != Form::Json => {
                Show::Plain(Arc::new(|_: &maily_core::engine::Event| {}))
            }
            Form::Live => {
                Show::Live(live::Live::start(tree::Tree::new(title, environment, before), self.paint))
            }
            Form::Log => Show::Plain(Arc::new(log::Log::new(self.paint, Arc::clone(&self.lost)))),
            Form::Json => Show::Plain(Arc::new(log::JsonLines(Arc::clone(&self.lost)))),
        }
    }

    /// Says that a command found nothing to do.
    pub(crate) fn unchanged(&self, environment: &str, why: &str) -> Result<(), CliError> {
        if self.is_json() {
            let line = json!({"format": FORMAT, "event": "unchanged", "environment": environment});
            return self.print(&line.to_string());
        }
        self.tell(&format!("{environment}: {why}"));
        Ok(())
    }

    /// Ends the showing of a run with what came of it. What cannot be printed changes nothing about that.
    pub(crate) fn finished(&self, show: Show, environment: &str, end: &RunEnd) {
        let good = outcome::is_good(end);
        let paint = if good { self.paint } else { self.beside };
        let report = outcome::report(environment, end, paint, &self.tool);
        if let Some(github) = &self.github {
            github.end(environment, end, &outcome::report(environment, end, Paint::default(), &self.tool));
        }
        let tree = match show {
            Show::Live(live) => written(&live.finish(), false),
            Show::Plain(_) => Ok(()),
        };
        let last = match end {
            RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving } } if self.is_json() => {
                let mut line = json!({"format": FORMAT, "event": "unchanged", "environment": environment});
                if !not_serving.is_empty() {
                    line["not_serving"] = json!(not_serving);
                }
                written(&line.to_string(), true)
            }
            _ if self.is_json() || (good && self.quiet) => Ok(()),
            _ if good => written(&wrap::wrapped(&report, columns_of_terminal()), false),
            _ => {
                said(&report);
                Ok(())
            }
        };
        match tree.and(last) {
            Err(error) => warning(&format!("failed to print what came of it: {error}")),
            Ok(()) if self.lost.load(Ordering::Relaxed) => warning("failed to print all that happened"),
            Ok(()) => {}
        }
    }
}

/// What is printed, as the runner of a job may read it.
fn heard(text: &str, json: bool) -> Cow<'_, str> {
    if !github::is_job(variable) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(if json { github::tamed_json(text) } else { github::tamed(text) })
}

/// Writes lines for people to standard error. A closed stream takes no news.
fn said(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", heard(&beside_results(text), false));
}

/// Writes lines to standard output.
fn written(text: &str, json: bool) -> io::Result<()> {
    let text = heard(text, json);
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Says what went wrong beside what was asked for.
pub(crate) fn warning(message: &str) {
    let paint = colours(io::stderr().is_terminal());
    said(&format!("{}: {message}", paint.warn("warning")));
}

/// Where diagnostics go: each comes whole.
struct Diagnostics;

impl io::Write for Diagnostics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(heard(&String::from_utf8_lossy(bytes), false).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Diagnostics for who asks for them: our own requests, then those of the libraries below, too. Without a wish there are
/// none: what the libraries call an error stands in ours, with what to do about it.
pub(crate) fn logging(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "maily=debug",
        _ => "maily=debug,info",
    };
    let usual = || tracing_subscriber::EnvFilter::new(level);
    let filter = match variable(DIAGNOSTICS) {
        None => usual(),
        Some(wish) => tracing_subscriber::EnvFilter::try_new(&wish).unwrap_or_else(|error| {
            warning(&format!("`{DIAGNOSTICS}` says `{}`, which is no filter: {error}", plain(&wish)));
            usual()
        }),
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Diagnostics).with_ansi(false).init();
}

/// A message with a mark before each of its errors: behind the first one, what begins a line after a help, an excerpt of a
/// file or an empty line.
fn marked(message: &str, mark: &str) -> String {
    let (mut text, mut ends) = (String::new(), true);
    for line in text::clean(message).lines() {
        if !text.is_empty() {
            text.push('\n');
        }
        if ends && !line.is_empty() && !line.starts_with(' ') && !wrap::is_excerpt(line) {
            text.push_str(mark);
        }
        text.push_str(line);
        ends = line.is_empty() || line.starts_with("  help: ") || wrap::is_excerpt(line);
    }
    text
}

/// Shows why the program ends.
pub(crate) fn error(error: &CliError, globals: &Globals) {
    let tool = Tool::of(globals);
    let help = error.help.as_deref().map(|help| tool.in_text(help));
    if let Some(github) = github::Github::detect(variable, globals.output == Output::Json) {
        github.failed(&clean(&error.message));
    }
    if globals.output == Output::Json {
        let document = json!({"format": FORMAT, "kind": "error", "code": error.code as u8, "message": error.message, "help": help});
        let _ = writeln!(io::stderr().lock(), "{}", heard(&document.to_string(), true));
        return;
    }
    let paint = colours(io::stderr().is_terminal());
    let message = tool.in_text(error.message.trim_end());
    let mut text = marked(&message, &format!("{}: ", paint.bad("error")));
    if let Some(help) = help {
        text.push_str(&format!("\n  {}: {}", paint.strong("help"), clean(&help)));
    }
    said(&text);
}

#[cfg(test)]
mod tests {
    use super::marked;

    #[test]
    fn errors_of_others_do_not_steer_a_terminal() {
        let message =
            "production is held by \u{1b}]0;x\u{7}ops\n  \u{1b}[31mmaily.dev/sealed:a41c\u{1b}[0m\n\nnext";
        assert_eq!(
            marked(message, "error: "),
            "error: production is held by ]0;xops\n  (value hidden)\n\nerror: next"
        );
    }
}
