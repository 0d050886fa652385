//! Where the values of a text stand, byte by byte.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// A value and its bytes.
#[derive(Debug)]
pub(super) struct Spot {
    /// From the first byte to behind the last; empty where nothing is written.
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Scalar(String),
    List,
    /// A map, in braces or as a block.
    Map {
        braces: bool,
        entries: Vec<Entry>,
    },
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) key: Range<usize>,
    pub(super) value: Spot,
}

impl Spot {
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map { entries, .. } => entries,
            _ => &[],
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// Whether nothing, or `~`, is written.
    pub(super) fn is_null(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Scalar(_))
            && matches!(&text[self.range.clone()], "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Entry {
    /// The end of what is written of it; the place of a value that is left out means nothing.
    fn end(&self) -> usize {
        if self.value.range.is_empty() { self.key.end } else { self.value.range.end }
    }
}

enum Open {
    List { start: usize, last: usize },
    Map { start: usize, braces: bool, entries: Vec<Entry>, key: Option<(String, Range<usize>)> },
}

/// Finds the values of the first document; `None` where the text is not YAML of plain maps and lists.
pub(super) fn layout(text: &str) -> Option<Spot> {
    let mut offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    offsets.push(text.len());
    let at = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
    let range = |span: Span| at(span.start.index())..at(span.end.index());
    let mut stack: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        let range = range(span);
        let spot = match event {
            Event::Scalar(value, style, ..) => {
                let end = if range.is_empty() { range.end } else { end_of(text, &range, &value, style) };
                Spot { range: range.start..end, kind: Kind::Scalar(value.into_owned()) }
            }
            Event::SequenceStart(..) => {
                stack.push(Open::List { start: range.start, last: range.start });
                continue;
            }
            Event::MappingStart(..) => {
                let braces = text[range.start..].starts_with('{');
                stack.push(Open::Map { start: range.start, braces, entries: Vec::new(), key: None });
                continue;
            }
            Event::SequenceEnd => {
                let Some(Open::List { start, last }) = stack.pop() else { return None };
                let end = if text[start..].starts_with('[') { range.start + 1 } else { last };
                Spot { range: start..end, kind: Kind::List }
            }
            Event::MappingEnd => {
                let Some(Open::Map { start, braces, entries, .. }) = stack.pop() else { return None };
                let last = entries.last().map_or(start, Entry::end);
                let end = if braces { range.start + 1 } else { last };
                Spot { range: start..end, kind: Kind::Map { braces, entries } }
            }
            Event::Alias(_) => return None,
            _ => continue,
        };
        match stack.last_mut() {
            None => return Some(spot),
            Some(Open::List { last, .. }) => *last = spot.range.end.max(*last),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => match spot.kind {
                    Kind::Scalar(name) => *key = Some((name, spot.range)),
                    _ => return None,
                },
                Some((name, key)) => entries.push(Entry { name, key, value: spot }),
            },
        }
    }
    None
}

/// The end of what is written of a scalar: the parser's own may lie behind the comment that follows.
fn end_of(text: &str, range: &Range<usize>, value: &str, style: ScalarStyle) -> usize {
    let written = &text[range.start..];
    let quote = match style {
        ScalarStyle::SingleQuoted => '\'',
        ScalarStyle::DoubleQuoted => '"',
        _ if written.starts_with(value) => return range.start + value.len(),
        // What is left out counts as this, too.
        _ if value == "~" => return range.start,
        _ => return text[..range.end].trim_end().len(),
    };
    let mut chars = written.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            // Two are one that is meant.
            if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return range.start + at + 1;
            }
        }
    }
    range.end
}
