//! The documentation is held against what it speaks of: its links, its example code, the tests and keys that it names.

mod listed;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("lies in the workspace").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files with this ending below a folder.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("can be listed") {
        let path = entry.expect("can be read").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|end| end == ending) {
            found.push(path);
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    files(&root().join("docs"), "md", &mut pages);
    pages
}

/// A page without its code, in which brackets mean nothing.
fn prose(text: &str) -> String {
    let blocks = text.split("```").enumerate().filter(|(index, _)| index % 2 == 0);
    let blocks: String = blocks.map(|(_, block)| block).collect();
    blocks.split('`').enumerate().filter(|(index, _)| index % 2 == 0).map(|(_, part)| part).collect()
}

/// What follows `](` up to the closing bracket.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1);
    targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned())).collect()
}

/// The anchors that GitHub gives the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let outside = text.split("```").enumerate().filter(|(index, _)| index % 2 == 0).map(|(_, block)| block);
    let headings = outside.flat_map(str::lines).filter(|line| line.starts_with('#'));
    let slug = |heading: &str| -> String {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(slug).collect()
}

/// A path without `.` and `..`, which need not exist.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
        plain
    })
}

#[test]
fn every_link_leads_somewhere_and_every_page_is_linked() {
    let texts: BTreeMap<PathBuf, String> =
        pages().into_iter().map(|page| (plain(&page), read(&page))).collect();
    let mut dead = Vec::new();
    let mut linked = BTreeSet::from([plain(&root().join("README.md"))]);
    for (page, text) in &texts {
        for link in links(text) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) =
                link.split_once('#').map_or((&*link, None), |(file, anchor)| (file, Some(anchor)));
            let folder = page.parent().expect("is a file");
            let target = if file.is_empty() { page.clone() } else { plain(&folder.join(file)) };
            let there = match (texts.get(&target), anchor) {
                (Some(text), Some(anchor)) => anchors(text).contains(anchor),
                (Some(_), None) => true,
                (None, _) => target.exists(),
            };
            if !there {
                dead.push(format!("{}: {link}", page.display()));
            }
            if target != *page {
                linked.insert(target);
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    let lost: Vec<&PathBuf> = texts.keys().filter(|page| !linked.contains(*page)).collect();
    assert!(lost.is_empty(), "pages that nothing links to: {lost:?}");
}

#[test]
fn the_embedding_page_shows_the_example_that_compiles() {
    let example = read(&root().join("maily-testkit/examples/embed.rs"));
    let code = &example[example.find("use std").expect("has imports")..];
    let page = read(&root().join("docs/embedding.md"));
    assert!(page.contains(&format!("```rust\n{code}```\n")), "copy `examples/embed.rs` into the page");
}

/// Keys of all maps of a JSON Schema.
fn keys(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(|properties| properties.as_object()) {
                found.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| keys(value, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_project_file_is_described() {
    let page = read(&root().join("docs/reference/project-file.md"));
    let mut known = BTreeSet::new();
    keys(&maily_core::model::schema(), &mut known);
    let words: BTreeSet<&str> = page.split(|c: char| !c.is_alphanumeric() && c != '-').collect();
    let missing: Vec<&String> = known.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
}

/// Variants of an enumeration in a source file, as serde writes them in kebab case.
fn variants(source: &str, name: &str) -> Vec<String> {
    let text = read(&root().join(source));
    let start = text.find(&format!("pub enum {name} {{")).expect("is there");
    let body = text[start..].split("\n}\n").next().expect("has an end");
    let declared =
        |line: &&str| line.starts_with("    ") && line[4..].starts_with(|c: char| c.is_ascii_uppercase());
    let names = body.lines().filter(declared).map(|line| {
        let name = line.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let mut kebab = String::new();
        for (index, c) in name.char_indices() {
            if c.is_ascii_uppercase() && index > 0 {
                kebab.push('-');
            }
            kebab.push(c.to_ascii_lowercase());
        }
        kebab
    });
    names.collect()
}

#[test]
fn every_event_is_described() {
    for (source, name, page) in [
        ("maily-core/src/run/event.rs", "What", "docs/reference/json.md"),
        ("maily-core/src/engine/journal/event.rs", "JournalEvent", "docs/reference/records.md"),
    ] {
        let text = read(&root().join(page));
        let events = variants(source, name);
        assert!(events.len() > 10, "{events:?}");
        for event in events {
            assert!(
                text.contains(&format!("| `{event}` |")),
                "`{event}` of `{name}` is not described in {page}"
            );
        }
    }
}

/// Code blocks of a language in all pages, with the page.
fn blocks(language: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for page in pages() {
        let text = read(&page);
        let inside =
            text.split("```").enumerate().filter(|(index, _)| index % 2 == 1).map(|(_, block)| block);
        for block in inside {
            if let Some((first, code)) = block.split_once('\n')
                && first.trim() == language
            {
                found.push((page.clone(), code.to_owned()));
            }
        }
    }
    found
}

#[test]
fn project_files_and_json_in_the_pages_are_valid() {
    let mut files = 0;
    for (page, code) in blocks("yaml") {
        if code.lines().any(|line| line == "maily: 1") {
            files += 1;
            let parsed = maily_core::model::Project::parse(&code, &page.display().to_string());
            assert!(parsed.is_ok(), "{}", parsed.expect_err("was refused"));
        }
    }
    assert!(files >= 2, "{files} project files");
    for (page, code) in blocks("json") {
        let parsed = serde_json::from_str::<serde_json::Value>(&code);
        assert!(parsed.is_ok(), "{}: {code}", page.display());
    }
}
