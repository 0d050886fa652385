//! Changes of a text where its values stand.

use std::ops::Range;

use super::layout::{Entry, Kind, Spot};

/// What is to stand at a key.
#[derive(Debug)]
pub(super) enum Want {
    /// This text; where the value means the same already, it stays as it is written.
    Text { written: String, means: Option<String> },
    /// These keys; others stay.
    Map(Vec<(String, Want)>),
}

impl Want {
    fn inline(&self) -> String {
        match self {
            Self::Text { written, .. } => written.clone(),
            Self::Map(keys) => {
                let keys: Vec<String> =
                    keys.iter().map(|(key, want)| format!("{key}: {}", want.inline())).collect();
                format!("{{{}}}", keys.join(", "))
            }
        }
    }
}

/// Collects changes of a text.
pub(super) struct Patch<'t> {
    text: &'t str,
    newline: &'static str,
    edits: Vec<(Range<usize>, String)>,
}

/// Down to here, to the entries of a section, what is new gets lines of its own at the end; below, it stands on top.
const SECTIONS: usize = 2;

impl<'t> Patch<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, newline: if text.contains("\r\n") { "\r\n" } else { "\n" }, edits: Vec::new() }
    }

    /// The text with all changes.
    pub(super) fn apply(mut self) -> String {
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = String::with_capacity(self.text.len() + 256);
        let mut done = 0;
        for (range, with) in self.edits {
            out.push_str(&self.text[done..range.start.max(done)]);
            out.push_str(&with);
            done = range.end.max(done);
        }
        out.push_str(&self.text[done..]);
        out
    }

    /// Sets keys of a map, whose own key ends at `header`. `None` where its form cannot be edited.
    pub(super) fn set(
        &mut self,
        map: &Spot,
        header: usize,
        depth: usize,
        wanted: &[(String, Want)],
    ) -> Option<()> {
        let Kind::Map { braces, entries } = &map.kind else { return None };
        let mut new = Vec::new();
        for (key, want) in wanted {
            match map.get(key) {
                Some(entry) => self.change(entry, *braces, depth, want)?,
                None => new.push((key, want)),
            }
        }
        if new.is_empty() {
            return Some(());
        }
        if *braces {
            let mut added: Vec<String> =
                new.iter().map(|(key, want)| format!("{key}: {}", want.inline())).collect();
            let inside = map.range.start + 1;
            if !entries.is_empty() {
                added.push(String::new());
            }
            let mut added = added.join(", ");
            // `{ a: 1 }` has its blank already.
            if self.text[inside..].starts_with(char::is_whitespace) {
                added.truncate(added.trim_end().len());
                added = format!(" {}", added);
            }
            self.edits.push((inside..inside, added));
            return Some(());
        }
        let indent = self.indent(entries.first()?)?;
        let mut lines = Vec::new();
        for (key, want) in &new {
            self.lines(&mut lines, indent, key, want, depth);
        }
        let lines: String = lines.iter().map(|line| format!("{}{line}", self.newline)).collect();
        if depth == 0 {
            // A section of its own, behind everything.
            let ended = self.text.ends_with('\n');
            let end = self.text.len();
            let first = if ended { "" } else { self.newline };
            let last = if ended { self.newline } else { "" };
            self.edits.push((end..end, format!("{first}{lines}{last}")));
        } else {
            let place = self.line_end(if depth < SECTIONS { map.range.end } else { header });
            self.edits.push((place..place, lines));
        }
        Some(())
    }

    fn change(&mut self, entry: &Entry, inline: bool, depth: usize, want: &Want) -> Option<()> {
        let value = &entry.value;
        match (want, &value.kind) {
            (Want::Text { means: Some(means), .. }, Kind::Scalar(there)) if there == means => return Some(()),
            (Want::Map(keys), Kind::Map { entries, .. }) if !entries.is_empty() => {
                return self.set(value, entry.key.end, depth + 1, keys);
            }
            _ => {}
        }
        let behind = &self.text[entry.key.end..];
        let blanks = behind.len() - behind.trim_start().len();
        let colon = behind[blanks..].starts_with(':').then_some(entry.key.end + blanks + 1);
        let empty = value.is_null(self.text)
            || matches!(&value.kind, Kind::Map { entries, .. } if entries.is_empty());
        if let (Want::Map(keys), true, false, Some(colon)) = (want, empty, inline, colon) {
            if !value.range.is_empty() {
                self.edits.push((colon..value.range.end, String::new()));
            }
            let start = self.text[..entry.key.start].rfind('\n').map_or(0, |at| at + 1);
            let indent = format!("{}  ", &self.text[start..entry.key.start]);
            if !indent.trim().is_empty() {
                return None;
            }
            let mut lines = Vec::new();
            for (key, want) in keys {
                self.lines(&mut lines, &indent, key, want, depth + 1);
            }
            let lines: String = lines.iter().map(|line| format!("{}{line}", self.newline)).collect();
            let place = self.line_end(value.range.end.max(colon).min(self.line_end(colon)));
            self.edits.push((place..place, lines));
            return Some(());
        }
        let written = want.inline();
        match (colon, &value.kind) {
            (None, _) => self.edits.push((entry.key.end..entry.key.end, format!(": {written}"))),
            (Some(colon), _) if value.range.is_empty() => {
                self.edits.push((colon..colon, format!(" {written}")))
            }
            (Some(colon), Kind::Map { braces: false, .. } | Kind::List)
                if !self.text[value.range.clone()].starts_with('[') =>
            {
                self.edits.push((colon..value.range.end, format!(" {written}")));
            }
            _ => self.edits.push((value.range.clone(), written)),
        }
        Some(())
    }

    /// A key with its value in lines of their own: an entry of a section as a block, what is in it in braces.
    fn lines(&self, lines: &mut Vec<String>, indent: &str, key: &str, want: &Want, depth: usize) {
        match want {
            Want::Map(keys) if depth < SECTIONS => {
                lines.push(format!("{indent}{key}:"));
                for (key, want) in keys {
                    self.lines(lines, &format!("{indent}  "), key, want, depth + 1);
                }
            }
            _ => lines.push(format!("{indent}{key}: {}", want.inline())),
        }
    }

    /// The blanks in front of a key that begins its line.
    fn indent(&self, entry: &Entry) -> Option<&'t str> {
        let start = self.text[..entry.key.start].rfind('\n').map_or(0, |at| at + 1);
        let indent = &self.text[start..entry.key.start];
        indent.trim().is_empty().then_some(indent)
    }

    /// The end of the line of a place, in front of its line break.
    fn line_end(&self, place: usize) -> usize {
        let end = self.text[place..].find('\n').map_or(self.text.len(), |at| place + at);
        if self.text[..end].ends_with('\r') && end > place { end - 1 } else { end }
    }
}
