//! Colours, where there are any.

use anstyle::{AnsiColor, Style};

/// Colours text, or leaves it as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paint {
    pub(crate) on: bool,
}

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn colour(self, colour: AnsiColor, text: &str) -> String {
        self.with(Style::new().fg_color(Some(colour.into())), text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.colour(AnsiColor::Green, text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.colour(AnsiColor::Red, text)
    }

    pub(crate) fn warn(self, text: &str) -> String {
        self.colour(AnsiColor::Yellow, text)
    }

    pub(crate) fn busy(self, text: &str) -> String {
        self.colour(AnsiColor::Cyan, text)
    }

    pub(crate) fn strong(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    /// The colour of this number: a few that follow on each other, so that the first of several are told apart.
    pub(crate) fn nth(self, number: usize, text: &str) -> String {
        const COLOURS: [AnsiColor; 6] = [
            AnsiColor::Cyan,
            AnsiColor::Green,
            AnsiColor::Yellow,
            AnsiColor::Blue,
            AnsiColor::Magenta,
            AnsiColor::BrightCyan,
        ];
        self.colour(COLOURS[number % COLOURS.len()], text)
    }
}
