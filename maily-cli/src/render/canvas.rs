//! Frames on a terminal, each drawn over the last one.

/// Takes back what the last frame left on the terminal, however high it was and however wide the terminal is by now.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    /// Columns of each line that stands on the terminal.
    drawn: Vec<usize>,
    last: Vec<String>,
    columns: usize,
}

impl Canvas {
    /// What to write, in one go, to show these lines; none where they stand there already. The cursor is left in the
    /// row below them, so that the echo of a key stands there, too, and is taken away.
    pub(super) fn frame(&mut self, lines: &[String], (rows, columns): (usize, usize)) -> Option<String> {
        // A line that fills the last column leaves the cursor in a place on which terminals do not agree.
        let room = columns.saturating_sub(1).max(1);
        let lines: Vec<String> = lines
            .iter()
            .take(rows.saturating_sub(1).max(1))
            .map(|line| console::truncate_str(line, room, "…").into_owned())
            .collect();
        if lines == self.last && columns == self.columns {
            return None;
        }
        let mut text = self.clear(columns);
        for line in &lines {
            text.push_str(line);
            text.push_str("\r\n");
        }
        self.drawn = lines.iter().map(|line| console::measure_text_width(line)).collect();
        self.last = lines;
        self.columns = columns;
        Some(text)
    }

    /// What to write to take the last frame away.
    pub(super) fn clear(&mut self, columns: usize) -> String {
        // A terminal that became narrower has broken the lines that it showed.
        let up: usize = self.drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
        self.drawn.clear();
        self.last.clear();
        match up {
            0 => "\r\u{1b}[J".to_owned(),
            up => format!("\r\u{1b}[{up}A\u{1b}[J"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn terminal(rows: u16, columns: u16) -> vt100::Parser {
        let size = |number| std::num::NonZero::new(number).expect("is not none");
        vt100::Parser::new(size(rows), size(columns), 100)
    }

    fn shown(terminal: &vt100::Parser) -> String {
        terminal.screen().contents().trim_end().to_owned()
    }

    #[test]
    fn a_frame_of_another_height_leaves_nothing_of_the_one_before() {
        let mut terminal = terminal(10, 20);
        terminal.process(b"$ deploy\r\n");
        let mut canvas = Canvas::default();
        let frames: [&[&str]; 4] =
            [&["head", "web 0/2"], &["head", "stops", "web 1/2", "db"], &["head"], &["end", "x"]];
        for frame in frames {
            // A key that is echoed stands below the frame.
            let text = canvas.frame(&lines(frame), (10, 20)).expect("is new");
            terminal.process(text.as_bytes());
            assert_eq!(shown(&terminal), format!("$ deploy\n{}", frame.join("\n")));
            terminal.process(b"^C");
        }
        terminal.process(canvas.clear(20).as_bytes());
        assert_eq!(shown(&terminal), "$ deploy");
    }

    #[test]
    fn no_line_is_broken_and_no_frame_is_higher_than_the_terminal() {
        let mut terminal = terminal(4, 10);
        let mut canvas = Canvas::default();
        for turn in 0..5 {
            let frame = lines(&["\u{1b}[1mmuch too long a line\u{1b}[0m", "日本語日本語", "c", "d", "e"]);
            let frame: Vec<String> = frame.iter().map(|line| format!("{turn}{line}")).collect();
            terminal.process(canvas.frame(&frame, (4, 10)).expect("is new").as_bytes());
        }
        assert_eq!(shown(&terminal), "4much to…\n4日本語…\n4c");
        terminal.screen_mut().set_scrollback(100);
        assert_eq!(terminal.screen().scrollback(), 0, "nothing went into the scrollback");
    }

    #[test]
    fn lines_that_a_narrower_terminal_broke_are_taken_away_whole() {
        let mut canvas = Canvas::default();
        let frame = lines(&["123456789012345", "1234", ""]);
        canvas.frame(&frame, (10, 20));
        assert_eq!(canvas.frame(&frame, (10, 20)), None);
        // Fifteen columns are two rows of ten.
        let text = canvas.frame(&frame, (10, 10)).expect("has to be drawn anew");
        assert!(text.starts_with("\r\u{1b}[4A\u{1b}[J"), "{text:?}");
    }
}
