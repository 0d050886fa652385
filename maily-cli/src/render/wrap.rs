//! Lines for a terminal: broken at spaces, continued under their text, with commands in one piece.

use console::{measure_text_width, strip_ansi_codes};
use jiff::Timestamp;

/// What begins a command that stands in a text without backticks: it goes to the end of the line.
const CALL: &str = "mailyctl ";
/// Columns of the longest label, such as `warning:`, under whose text a line is continued.
const LABEL: usize = 9;
/// A terminal that is narrower breaks lines itself: there is no room for an indent.
const NARROW: usize = 24;

/// A text laid out for a terminal of so many columns; as it is where there is none.
pub(super) fn wrapped(text: &str, wide: Option<usize>) -> String {
    let Some(wide) = wide.filter(|wide| *wide >= NARROW) else { return text.to_owned() };
    let lines: Vec<String> = text.split('\n').map(|line| broken(line, wide)).collect();
    lines.join("\n")
}

fn broken(line: &str, wide: usize) -> String {
    if measure_text_width(line) <= wide || is_excerpt(line) {
        return line.to_owned();
    }
    let hang = hang(&strip_ansi_codes(line), wide);
    let (mut text, mut column) = (String::new(), 0);
    for (gap, piece) in pieces(line) {
        let width = measure_text_width(piece);
        let mut indent = gap;
        if column > 0 && column + gap + width > wide {
            text.push('\n');
            // A command that fits into the line without its indent is worth more than the indent.
            (indent, column) = (hang.min(wide.saturating_sub(width)), 0);
        }
        text.push_str(&" ".repeat(indent));
        text.push_str(piece);
        column += indent + width;
    }
    text
}

/// Whether a line shows a file, or points into the line above it: broken it would show something else.
pub(super) fn is_excerpt(line: &str) -> bool {
    let text = line.trim_start();
    text.starts_with('|') || text.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(" |")
}

/// Where the text of a line begins, behind a time, a sign, a label or other columns.
fn hang(line: &str, wide: usize) -> usize {
    let text = line.trim_start_matches(' ');
    let indent = line.len() - text.len();
    let word = text.split(' ').next().unwrap_or_default();
    let is_sign = word.chars().count() == 1 && !word.chars().all(char::is_alphanumeric);
    let label = text.find(": ").map(|at| measure_text_width(&text[..=at])).filter(|width| *width <= LABEL);
    let begin = match label {
        _ if is_sign => indent + 2,
        _ if word.parse::<Timestamp>().is_ok() => indent + word.len() + 1,
        Some(label) => indent + label + 1,
        None => indent,
    };
    let after_gap = line.match_indices("  ").map(|(at, _)| {
        let rest = &line[at..];
        at + rest.len() - rest.trim_start_matches(' ').len()
    });
    let columns = after_gap.map(|at| measure_text_width(&line[..at]));
    // Behind a gap far to the right there is no room for a text.
    let near = columns.filter(|column| *column > begin && *column <= wide * 2 / 3).last();
    near.unwrap_or(begin.min(wide / 2))
}

/// What may stand in a line of its own, each with the number of spaces before it.
fn pieces(line: &str) -> Vec<(usize, &str)> {
    let (mut found, mut rest) = (Vec::new(), line);
    loop {
        let text = rest.trim_start_matches(' ');
        if text.is_empty() {
            return found;
        }
        let end = end_of_piece(text);
        found.push((rest.len() - text.len(), &text[..end]));
        rest = &text[end..];
    }
}

fn end_of_piece(text: &str) -> usize {
    if text.starts_with(CALL) {
        return text.trim_end().len();
    }
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '`' => quoted = !quoted && text[at + 1..].contains('`'),
            ' ' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_go_on_under_their_text() {
        for (line, wanted) in [
            ("error: one two three four five six", "error: one two three four\n       five six"),
            ("  next: one two three four five", "  next: one two three four\n        five"),
            ("  ! topic: one two three four five", "  ! topic: one two three\n    four five"),
            ("    one two three four five six", "    one two three four\n    five six"),
            ("form         one two three four", "form         one two three\n             four"),
            ("2026-11-25T13:48:24Z wait api 1/2", "2026-11-25T13:48:24Z wait\n             api 1/2"),
        ] {
            assert_eq!(wrapped(line, Some(26)), wanted);
            assert_eq!(wrapped(line, None), line);
            assert_eq!(wrapped(line, Some(80)), line);
        }
        assert_eq!(wrapped("a\n\n  b\n", Some(26)), "a\n\n  b\n");
    }

    #[test]
    fn colours_take_no_room() {
        let line = "  \u{1b}[1mhelp\u{1b}[0m: one two three four five";
        assert_eq!(wrapped(line, Some(26)), "  \u{1b}[1mhelp\u{1b}[0m: one two three four\n        five");
    }

    #[test]
    fn a_command_is_never_broken() {
        let help = "  help: mend it, then `mailyctl -C shop resume`, or go back: mailyctl -C shop abort --env production";
        let wanted = "  help: mend it, then\n        `mailyctl -C shop resume`,\n        or go back:\n\
                      mailyctl -C shop abort --env production";
        assert_eq!(wrapped(help, Some(34)), wanted);
        // Wider than the terminal it stands alone, and what follows it does, too.
        assert_eq!(
            wrapped("say `mailyctl deploy --env production` again", Some(24)),
            "say\n`mailyctl deploy --env production`\nagain"
        );
        assert_eq!(wrapped("a ` that is never closed at all", Some(24)), "a ` that is never closed\nat all");
    }

    #[test]
    fn a_place_in_a_file_is_shown_as_it_is() {
        let excerpt = "12 | services: {api: {image: x}}\n   |            ^^^^^^^^^^^^^^^^^^";
        assert_eq!(wrapped(excerpt, Some(24)), excerpt);
    }
}
