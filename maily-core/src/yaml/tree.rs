//! The tree.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{Diagnostic, Place, json::joined_pairs};

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// A key of a map and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Where it stands.
    pub place: Place,
    /// Its text.
    pub name: String,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A scalar; `quoted` ones are always strings.
    Scalar {
        /// The text.
        text: String,
        /// Whether it was quoted or a block.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the text.
    Map(Vec<(Key, Node)>),
}

/// What is refused.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Nodes after aliases were resolved: an "anchor bomb" is refused, not unfolded.
    pub nodes: usize,
    /// Depth.
    pub depth: usize,
    /// Documents.
    pub documents: usize,
    /// Whether anchors and aliases may be used at all.
    pub aliases: bool,
}

impl Node {
    /// The value of a key of a map.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The entries of a map.
    pub fn entries(&self) -> Option<&[(Key, Node)]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Whether it is an unquoted empty value or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Reads all documents of a text.
///
/// # Errors
/// One error, as a text that cannot be read has no second place to trust.
pub fn parse(origin: &str, text: &str, limits: Limits) -> Result<Vec<Node>, Box<Diagnostic>> {
    let (documents, repeated) = parse_repeated(origin, text, limits)?;
    match repeated.into_iter().next() {
        Some(first) => Err(Box::new(first)),
        None => Ok(documents),
    }
}

/// The same for who has more to say about a text in which keys stand twice: with an error for each of them. Of such
/// a key the first value counts, and of maps what only a later one has.
///
/// # Errors
/// One error, where the text cannot be read at all.
pub fn parse_repeated(
    origin: &str,
    text: &str,
    limits: Limits,
) -> Result<(Vec<Node>, Vec<Diagnostic>), Box<Diagnostic>> {
    let error = |place: Place, message: String| Box::new(Diagnostic::new(origin, text, place, message));
    let refused = |(place, message, help): Refusal| Box::new(error(place, message).with_help(help));
    if text.len() > limits.bytes {
        let message = format!("the file has {} bytes; at most {} are read", text.len(), limits.bytes);
        return Err(Box::new(Diagnostic {
            excerpt: String::new(),
            ..*refused((Place { line: 1, column: 1, width: 1 }, message, TOO_MUCH))
        }));
    }
    if text.starts_with('\u{feff}') {
        let place = Place { line: 1, column: 1, width: 1 };
        return Err(Box::new(
            error(place, "the file begins with a byte order mark".into())
                .with_help("save it as UTF-8 without BOM"),
        ));
    }
    // In JSON nothing depends on the indentation.
    let is_json = text.trim_start().starts_with(['{', '[']);
    if let Some((number, line)) = text.lines().enumerate().filter(|_| !is_json).find(|(_, line)| {
        let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
        indent.contains('\t') && line.trim_start().chars().next().is_some_and(|c| c != '#')
    }) {
        // Inside a block scalar a tab may follow the spaces of the indentation.
        let column = line.chars().position(|c| c == '\t').unwrap_or_default() + 1;
        if column == 1 {
            let place = Place { line: number + 1, column, width: 1 };
            return Err(Box::new(
                error(place, "a tab cannot indent YAML".into()).with_help("indent with spaces"),
            ));
        }
    }
    let mut builder = Builder {
        limits,
        stack: Vec::new(),
        documents: Vec::new(),
        anchors: Vec::new(),
        nodes: 0,
        repeated: Vec::new(),
    };
    let joined = if is_json { joined_pairs(text) } else { Cow::Borrowed(text) };
    for event in Parser::new_from_str(&joined) {
        match event {
            Ok((event, span)) => {
                builder.take(event, span).map_err(refused)?;
            }
            Err(scan) => {
                let found =
                    Place { line: scan.marker().line().max(1), column: scan.marker().col() + 1, width: 1 };
                return Err(refused((within(text, found), format!("not YAML: {}", scan.info()), UNREADABLE)));
            }
        }
    }
    if builder.documents.len() > limits.documents {
        let place = builder.documents[limits.documents].place;
        let (many, help) = match limits.documents {
            1 => ("more than 1 document".to_owned(), "keep one: what stands between `---` are several"),
            most => (format!("more than {most} documents"), TOO_MUCH),
        };
        return Err(refused((place, format!("the file has {many}"), help)));
    }
    let repeated = builder.repeated.into_iter().map(|refusal| *refused(refusal)).collect();
    Ok((builder.documents, repeated))
}

enum Open {
    List(Place, usize, Vec<Node>),
    Map(Place, usize, Box<OpenMap>),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<(Key, Node)>,
    /// Indices of the keys so far: a map of a hundred thousand keys is not searched for each of them.
    known: BTreeMap<String, usize>,
    /// A key whose value comes next.
    key: Option<Key>,
}

struct Builder {
    limits: Limits,
    stack: Vec<Open>,
    documents: Vec<Node>,
    anchors: Vec<(usize, Node, usize)>,
    nodes: usize,
    /// Keys that stand twice.
    repeated: Vec<Refusal>,
}

/// Where, what is wrong, and what to do.
type Refusal = (Place, String, &'static str);

const NO_ALIASES: &str = "anchors and aliases cannot be used here";
const WRITTEN_OUT: &str = "write it out wherever it is used";
const WITHOUT_TAG: &str = "write the value without it; of tags `!!str` alone is read";
const UNREADABLE: &str =
    "check the indentation, and that quotes and brackets are closed, here and in the lines before";
const TOO_MUCH: &str = "split it into several files";

/// A place with something to show: where a text ends too early, that is the end of what was written last.
fn within(text: &str, place: Place) -> Place {
    let lines: Vec<&str> = text.lines().take(place.line).collect();
    if lines.get(place.line - 1).is_some_and(|line| !line.trim().is_empty()) {
        return place;
    }
    let last = lines.iter().enumerate().rfind(|(_, line)| !line.trim().is_empty());
    last.map_or(place, |(above, line)| Place {
        line: above + 1,
        column: line.chars().count().max(1),
        width: 1,
    })
}

fn place_of(span: Span) -> Place {
    let one_line = span.start.line() == span.end.line();
    let width = if one_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
    Place { line: span.start.line().max(1), column: span.start.col() + 1, width: width.max(1) }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Refusal> {
        let place = place_of(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = match &tag {
                    None => false,
                    Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
                    Some(tag) => {
                        let own = if tag.is_yaml_core_schema() { "!" } else { "" };
                        return Err((
                            place,
                            format!("the tag `!{own}{}` is not read", tag.suffix),
                            WITHOUT_TAG,
                        ));
                    }
                };
                let quoted = is_text || style != ScalarStyle::Plain;
                let node = Node { place, content: Content::Scalar { text: text.into_owned(), quoted } };
                self.add(node, anchor, 1)
            }
            Event::SequenceStart(anchor, _) => self.open(Open::List(place, anchor, Vec::new()), place),
            Event::MappingStart(anchor, _) => self.open(Open::Map(place, anchor, Box::default()), place),
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::List(place, anchor, items)) => {
                    let count = 1 + items.iter().map(size).sum::<usize>();
                    self.add(Node { place, content: Content::List(items) }, anchor, count)
                }
                Some(Open::Map(place, anchor, map)) => {
                    let entries = map.entries;
                    let count = 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>();
                    self.add(Node { place, content: Content::Map(entries) }, anchor, count)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                if !self.limits.aliases {
                    return Err((place, NO_ALIASES.to_owned(), WRITTEN_OUT));
                }
                let Some((_, node, count)) =
                    self.anchors.iter().rev().find(|(id, ..)| *id == anchor).cloned()
                else {
                    return Err((place, "unknown alias".to_owned(), "its anchor comes before it"));
                };
                self.nodes += count;
                self.check(place)?;
                self.add(node, 0, count)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn check(&self, place: Place) -> Result<(), Refusal> {
        if self.nodes > self.limits.nodes {
            return Err((place, format!("more than {} values", self.limits.nodes), TOO_MUCH));
        }
        if self.stack.len() > self.limits.depth {
            let message = format!("nested more than {} levels deep", self.limits.depth);
            return Err((place, message, "nest it less deep"));
        }
        Ok(())
    }

    fn open(&mut self, open: Open, place: Place) -> Result<(), Refusal> {
        self.nodes += 1;
        self.stack.push(open);
        self.check(place)
    }

    fn add(&mut self, node: Node, anchor: usize, count: usize) -> Result<(), Refusal> {
        self.nodes += 1;
        self.check(node.place)?;
        if anchor > 0 {
            if !self.limits.aliases {
                return Err((node.place, NO_ALIASES.to_owned(), WRITTEN_OUT));
            }
            self.anchors.push((anchor, node.clone(), count));
        }
        match self.stack.last_mut() {
            None => self.documents.push(node),
            Some(Open::List(_, _, items)) => items.push(node),
            Some(Open::Map(_, _, map)) => match map.key.take() {
                Some(key) => match map.known.get(&key.name) {
                    Some(index) => add_missing(&mut map.entries[*index].1, node),
                    None => {
                        map.known.insert(key.name.clone(), map.entries.len());
                        map.entries.push((key, node));
                    }
                },
                None => {
                    let Content::Scalar { text, .. } = node.content else {
                        return Err((node.place, "a key must be a word".to_owned(), "quote it"));
                    };
                    if text == "<<" {
                        let message = "merge keys (`<<`) cannot be used".to_owned();
                        return Err((node.place, message, WRITTEN_OUT));
                    }
                    if let Some(first) = map.known.get(&text) {
                        let first = map.entries[*first].0.place.line;
                        let message = format!("`{text}` stands twice (first in line {first})");
                        self.repeated.push((node.place, message, "keep one of them"));
                    }
                    map.key = Some(Key { place: node.place, name: text });
                }
            },
        }
        Ok(())
    }
}

/// Adds what a map does not have yet.
fn add_missing(first: &mut Node, second: Node) {
    if let (Content::Map(entries), Content::Map(more)) = (&mut first.content, second.content) {
        let known: BTreeSet<String> = entries.iter().map(|(key, _)| key.name.clone()).collect();
        entries.extend(more.into_iter().filter(|(key, _)| !known.contains(&key.name)));
    }
}

fn size(node: &Node) -> usize {
    match &node.content {
        Content::Scalar { .. } => 1,
        Content::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Content::Map(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { bytes: 10_000, nodes: 1000, depth: 20, documents: 2, aliases: true };

    fn refusal(text: &str, limits: Limits) -> String {
        parse("f.yaml", text, limits).expect_err("is refused").to_string()
    }

    #[test]
    fn places_count_from_one() {
        let documents = parse("f", "a:\n  b: hello\n", LIMITS).expect("is YAML");
        let node = documents[0].get("a").and_then(|a| a.get("b")).expect("is there");
        assert_eq!(node.place, Place { line: 2, column: 6, width: 5 });
    }

    #[test]
    fn a_duplicate_key_is_shown_with_both_places() {
        let shown = refusal("a: 1\nb: 2\na: 3\n", LIMITS);
        assert_eq!(
            shown,
            "f.yaml:3:1: `a` stands twice (first in line 1)\n  |\n3 | a: 3\n  | ^\n  help: keep one of them\n"
        );
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a computation takes is told by the machine's clock"
    )]
    fn a_large_map_is_read_in_linear_time() {
        let text: String = (0..100_000).map(|number| format!("key{number}: v\n")).collect();
        let limits = Limits { bytes: text.len(), nodes: 300_000, ..LIMITS };
        let start = std::time::Instant::now();
        let documents = parse("f", &text, limits).expect("is YAML");
        assert_eq!(documents[0].entries().map(<[_]>::len), Some(100_000));
        // Searching the keys before each key takes minutes.
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    #[test]
    fn tabs_marks_aliases_bombs_and_several_documents_are_refused() {
        assert!(refusal("a:\n\tb: 1\n", LIMITS).contains("tab"));
        let json = parse("a.json", "\n{\n\t\"a\": [\n\t\t1\n\t]\n}\n", LIMITS).expect("is read");
        assert!(json[0].get("a").is_some());
        assert!(refusal("\u{feff}a: 1\n", LIMITS).contains("byte order mark"));
        assert!(refusal("a: &x 1\nb: *x\n", Limits { aliases: false, ..LIMITS }).contains("anchors"));
        let bomb = "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c]\n";
        assert!(refusal(bomb, LIMITS).contains("more than 1000 values"));
        assert!(refusal("---\na: 1\n---\na: 1\n---\na: 1\n", LIMITS).contains("more than 2"));
        assert!(refusal(&"[".repeat(40), LIMITS).contains("deep"));
        assert!(refusal(&"a".repeat(20_000), LIMITS).contains("20000 bytes"));
        assert!(refusal("a: !!int '3'\n", LIMITS).contains("the tag `!!int` is not read"));
        assert!(refusal("a: !own 3\n", LIMITS).contains("the tag `!own` is not read"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = parse("f", &text, LIMITS);
        }

        #[test]
        fn no_yaml_like_text_makes_it_panic(text in "[a-c:&*\\[\\]{}\\-,\\n\\t \"'|>#!%@]{0,80}") {
            let _ = parse("f", &text, LIMITS);
        }
    }
}
