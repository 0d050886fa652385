//! GitHub Actions: groups, annotations and the summary of the job.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use maily_core::engine::{Outcome, RunEnd};

use super::outcome::is_good;

/// A job of GitHub Actions.
#[derive(Debug)]
pub(super) struct Github {
    summary: Option<PathBuf>,
    /// Standard output carries JSON and nothing else: commands for the page of the job go to standard error.
    aside: bool,
    /// Whether a group is open.
    open: AtomicBool,
}

/// A message that the page of the job shows.
pub(super) fn annotation(level: &str, title: &str, message: &str) -> String {
    // The format's own escapes: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={}::{}", property(title), data(message.trim_end()))
}

/// Whether what is printed is read by the runner of a job.
pub(super) fn is_job(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// A text for people in which the runner finds no command: it takes a line for one that begins with `::` after blanks, and
/// `##[` wherever it stands, and not all in a text is ours.
pub(super) fn tamed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive(['\n', '\r']) {
        if console::strip_ansi_codes(line).trim_start().starts_with("::") {
            out.push_str("| ");
        }
        out.push_str(line);
    }
    out.replace("##[", "## [")
}

/// The same of JSON, which stays what it is: there it stands in strings alone.
pub(super) fn tamed_json(text: &str) -> String {
    text.replace("##[", "#\\u0023[")
}

impl Github {
    pub(super) fn detect(variable: impl Fn(&str) -> Option<String>, aside: bool) -> Option<Self> {
        is_job(&variable).then_some(())?;
        let summary = variable("GITHUB_STEP_SUMMARY").map(PathBuf::from);
        Some(Self { summary, aside, open: AtomicBool::new(false) })
    }

    fn say(&self, line: &str) {
        let _ = match self.aside {
            true => writeln!(std::io::stderr().lock(), "{line}"),
            false => writeln!(std::io::stdout().lock(), "{line}"),
        };
    }

    pub(super) fn begin(&self, title: &str) {
        self.close();
        self.open.store(true, Ordering::Relaxed);
        self.say(&format!("::group::{}", title.replace(['\r', '\n'], " ")));
    }

    fn close(&self) {
        if self.open.swap(false, Ordering::Relaxed) {
            self.say("::endgroup::");
        }
    }

    /// The command failed without a run that could tell why. Beside JSON the error is one document, and nothing else.
    pub(super) fn failed(&self, message: &str) {
        if !self.aside {
            self.say(&annotation("error", "mailyctl", message));
        }
        self.summarise("mailyctl failed", message);
    }

    pub(super) fn end(&self, environment: &str, end: &RunEnd, report: &str) {
        self.close();
        let title = format!("release to {environment}");
        match end {
            _ if is_good(end) => {}
            RunEnd::Over { outcome: Outcome::Cancelled { .. }, .. } | RunEnd::Paused { .. } => {
                self.say(&annotation("warning", &title, report));
            }
            RunEnd::Over { .. } | RunEnd::Stuck { .. } => self.say(&annotation("error", &title, report)),
        }
        self.summarise(&title, report);
    }

    fn summarise(&self, title: &str, text: &str) {
        let Some(path) = &self.summary else { return };
        // Backticks of others must not end the block.
        let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
        let fence = "`".repeat(longest.max(2) + 1);
        let written =
            OpenOptions::new().create(true).append(true).open(path).and_then(|mut file| {
                writeln!(file, "### {title}\n\n{fence}\n{}\n{fence}\n", text.trim_end())
            });
        if let Err(error) = written {
            self.say(&annotation("warning", "mailyctl", &format!("failed to write the summary: {error}")));
        }
    }
}

impl Drop for Github {
    fn drop(&mut self) {
        // A run that ended with an error has told nobody.
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::{annotation, tamed, tamed_json};

    #[test]
    fn text_of_others_gives_the_runner_no_command() {
        for (text, told) in [
            ("all is well: a::b", "all is well: a::b"),
            ("    ::add-mask::x\nb\r\n\u{a0}::error::y", "|     ::add-mask::x\nb\r\n| \u{a0}::error::y"),
            ("a\r::stop-commands::x", "a\r| ::stop-commands::x"),
            ("\u{1b}[2m::group::x\u{1b}[0m", "| \u{1b}[2m::group::x\u{1b}[0m"),
            ("a ##[error]b", "a ## [error]b"),
        ] {
            assert_eq!(tamed(text), told);
        }
        let json = serde_json::json!({"line": "a ###[error]b"});
        let told = tamed_json(&json.to_string());
        assert!(!told.contains("##["), "{told}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&told).expect("is JSON"), json);
    }

    #[test]
    fn messages_cannot_break_out_of_their_line() {
        assert_eq!(
            annotation("error", "a:b,c", "50%\n::set-env"),
            "::error title=a%3Ab%2Cc::50%25%0A::set-env"
        );
    }
}
