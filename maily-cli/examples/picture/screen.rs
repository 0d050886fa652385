//! From what a program wrote to a terminal to what stands on the screen, as SVG.

use std::{fmt::Write as _, num::NonZeroU16};

use anstyle::{Ansi256Color, AnsiColor, Color, RgbColor, Style};

use crate::terminal::ROWS;

/// The screen after the program has ended, below the command line that started it.
pub(crate) fn svg(command: &str, written: &[u8], columns: u16) -> String {
    let size = |n| NonZeroU16::new(n).unwrap_or(NonZeroU16::MIN);
    let mut terminal = vt100::Parser::new(size(ROWS), size(columns), 0);
    terminal.process(written);
    let screen = terminal.screen();
    let prompt = Style::new().fg_color(Some(AnsiColor::BrightBlack.into()));
    let mut text = format!("{prompt}${prompt:#} {command}\n");
    for row in 0..ROWS {
        let mut line = String::new();
        for column in 0..columns {
            let Some(cell) = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation()) else {
                continue;
            };
            let style = style(cell);
            let shown = if cell.has_contents() { cell.contents() } else { " " };
            let _ = write!(line, "{style}{shown}{style:#}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    anstyle_svg::Term::new().palette(anstyle_svg::WIN10_CONSOLE).render_svg(text.trim_end())
}

fn style(cell: &vt100::Cell) -> Style {
    let mut style = Style::new().fg_color(colour(cell.fgcolor())).bg_color(colour(cell.bgcolor()));
    if cell.bold() {
        style = style.bold();
    }
    if cell.dim() {
        style = style.dimmed();
    }
    style
}

fn colour(colour: vt100::Color) -> Option<Color> {
    match colour {
        vt100::Color::Default => None,
        vt100::Color::Idx(index @ 0..16) => Ansi256Color(index).into_ansi().map(Color::Ansi),
        vt100::Color::Idx(index) => Some(Ansi256Color(index).into()),
        vt100::Color::Rgb(r, g, b) => Some(RgbColor(r, g, b).into()),
    }
}
