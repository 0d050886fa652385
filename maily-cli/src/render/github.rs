//! GitHub Actions: groups, annotations and the summary of the job.

use std::{fs::OpenOptions, io::Write as _, path::PathBuf};

use maily_core::engine::{Outcome, RunEnd};

use super::{outcome, paint::Paint};

/// A job of GitHub Actions.
#[derive(Debug)]
pub(super) struct Github {
    summary: Option<PathBuf>,
}

/// A message that the page of the job shows.
pub(super) fn annotation(level: &str, title: &str, message: &str) -> String {
    // The format's own escapes: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={}::{}", property(title), data(message.trim_end()))
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

impl Github {
    pub(super) fn detect(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        variable("GITHUB_ACTIONS").filter(|value| value == "true")?;
        Some(Self { summary: variable("GITHUB_STEP_SUMMARY").map(PathBuf::from) })
    }

    pub(super) fn begin(&self, title: &str) {
        say(&format!("::group::{}", title.replace(['\r', '\n'], " ")));
    }

    pub(super) fn end(&self, environment: &str, end: &RunEnd) {
        say("::endgroup::");
        let report = outcome::report(environment, end, Paint::default());
        let title = format!("release to {environment}");
        match end {
            RunEnd::Over { outcome: Outcome::Succeeded { .. } | Outcome::Unchanged, .. } => {}
            RunEnd::Over { outcome: Outcome::Cancelled { .. }, .. } | RunEnd::Paused { .. } => {
                say(&annotation("warning", &title, &report));
            }
            RunEnd::Over { .. } | RunEnd::Stuck { .. } => say(&annotation("error", &title, &report)),
        }
        if let Some(path) = &self.summary {
            let written = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut file| writeln!(file, "### {title}\n\n```\n{report}\n```\n"));
            if let Err(error) = written {
                say(&annotation("warning", "mailyctl", &format!("failed to write the summary: {error}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::annotation;

    #[test]
    fn messages_cannot_break_out_of_their_line() {
        assert_eq!(
            annotation("error", "a:b,c", "50%\n::set-env"),
            "::error title=a%3Ab%2Cc::50%25%0A::set-env"
        );
    }
}
