//! How this program is called: commands that it recommends work where the user stands.

use crate::args::Globals;

/// Commands that ask which environment is meant where a project has several.
const OF_ONE: [&str; 5] = ["abort", "history", "logs", "resume", "status"];

/// The program's name with the options that choose the project.
#[derive(Clone, Debug)]
pub(crate) struct Tool(String);

impl Tool {
    pub(crate) fn of(globals: &Globals) -> Self {
        let mut call = "mailyctl".to_owned();
        let mut option = |name: &str, value: Option<&std::path::Path>| {
            if let Some(value) = value {
                call.push_str(&format!(" {name} {}", quoted(&value.display().to_string())));
            }
        };
        option("-C", globals.directory.as_deref());
        option("--file", Some(globals.file.as_path()).filter(|file| file.as_os_str() != "maily.yaml"));
        option("--kubeconfig", globals.kubeconfig.as_deref());
        if globals.sandbox {
            call.push_str(" --sandbox");
        }
        Self(call)
    }

    /// A command of this program.
    pub(crate) fn call(&self, rest: &str) -> String {
        format!("{} {rest}", self.0)
    }

    /// A text in which commands of this program stand in backticks, complete ones or not.
    pub(crate) fn in_text(&self, text: &str) -> String {
        let complete = format!("`{} ", self.0);
        text.replace(&complete, "`mailyctl ").replace("`mailyctl ", &complete)
    }
}

/// Commands in a text that are about one environment, with its name where they have none.
pub(crate) fn of_environment(text: &str, environment: &str) -> String {
    const BEGIN: &str = "`mailyctl ";
    let mut parts = text.split(BEGIN);
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (command, rest) = part.split_at(part.find('`').unwrap_or(part.len()));
        told.push_str(BEGIN);
        told.push_str(command);
        let word = command.split(' ').next().unwrap_or_default();
        if OF_ONE.contains(&word) && !command.contains("--env") {
            told.push_str(&format!(" --env {environment}"));
        }
        told.push_str(rest);
    }
    told
}

/// A word as a shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let plain =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=@%+,~".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Tool, of_environment};
    use crate::args::Args;

    #[test]
    fn recommended_commands_name_their_environment() {
        let text =
            "see why with `mailyctl logs db`, or `mailyctl status --env staging`, or `mailyctl schema`: `x`";
        assert_eq!(
            of_environment(text, "production"),
            "see why with `mailyctl logs db --env production`, or `mailyctl status --env staging`, or `mailyctl schema`: `x`"
        );
    }

    #[test]
    fn recommended_commands_choose_the_same_project() {
        let tool = |args: &[&str]| Tool::of(&Args::try_parse_from(args).expect("is a command line").globals);
        let plain = tool(&["mailyctl", "status"]);
        assert_eq!(plain.call("status"), "mailyctl status");
        let chosen = tool(&["mailyctl", "-C", "my shop", "--sandbox", "status", "--file", "b.yaml"]);
        assert_eq!(
            chosen.in_text("`mailyctl resume` goes on"),
            "`mailyctl -C 'my shop' --file b.yaml --sandbox resume` goes on"
        );
        let complete = format!("then `{}`", chosen.call("resume"));
        assert_eq!(chosen.in_text(&complete), complete);
    }
}
