//! An error in a text, with its place and what to do about it.

use std::fmt;

/// A place in a text: lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
    /// Number of characters that are meant, at least 1.
    pub width: usize,
}

/// One error in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file, as the user named it.
    pub origin: String,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// The line of the text.
    pub excerpt: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place of a text.
    pub fn new(origin: &str, text: &str, place: Place, message: impl Into<String>) -> Self {
        let excerpt = text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
        Self {
            origin: origin.to_owned(),
            place,
            message: message.into(),
            excerpt: excerpt.chars().take(200).collect(),
            help: None,
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column, width } = self.place;
        writeln!(f, "{}:{line}:{column}: {}", self.origin, self.message)?;
        if !self.excerpt.is_empty() {
            let number = line.to_string();
            let gap = " ".repeat(number.len());
            // A tab keeps its width in the line of the caret, so that both lines stay aligned.
            let before: String = self
                .excerpt
                .chars()
                .take(column.saturating_sub(1))
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let left = self.excerpt.chars().count().saturating_sub(column.saturating_sub(1)).max(1);
            writeln!(
                f,
                "{gap} |\n{number} | {}\n{gap} | {before}{}",
                self.excerpt,
                "^".repeat(width.clamp(1, left))
            )?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "  help: {help}")?;
        }
        Ok(())
    }
}
