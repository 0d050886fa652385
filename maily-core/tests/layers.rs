//! Arrows are imports, and nothing imports upward.

use std::{collections::BTreeSet, fs, path::Path};

/// What each of the lower folders may import of this crate, besides itself.
const MAY: &[(&str, &[&str])] = &[
    ("yaml", &[]),
    ("object", &["planted"]),
    ("runtime", &[]),
    ("provider", &["object"]),
    ("model", &["object", "provider", "yaml"]),
    ("run", &["object", "planted", "provider", "runtime"]),
    ("rollout", &["object", "planted", "run"]),
    ("steps", &["object", "planted", "provider", "rollout", "run", "runtime"]),
];

/// What sources may take from the engine: the words in which they say what they want, and a name.
const OF_ENGINE: &[&str] = &["planner", "FENCE_POLICY"];

/// The code of a folder without comments and line breaks.
fn code(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).expect("can be read") {
        let path = entry.expect("can be read").path();
        if path.is_dir() {
            all.push_str(&code(&path));
        } else {
            let text = fs::read_to_string(&path).expect("is text");
            let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
            all.extend(lines);
        }
    }
    all
}

/// The first words after a path's beginning, also where several stand in braces.
fn after(code: &str, start: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(start) {
        let rest = &code[at + start.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut from = 0;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' | ',' if depth == 0 => {
                    found.insert(word(&group[from..at]));
                    from = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn lower_folders_know_nothing_of_higher_ones() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (folder, may) in MAY {
        let imports = after(&code(&src.join(folder)), "crate::");
        let wrong: Vec<&String> =
            imports.iter().filter(|name| *name != folder && !may.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{folder} imports {wrong:?}");
    }
    let source = code(&src.join("source"));
    assert!(after(&source, "crate::").contains("run"), "imports are found");
    let mut of_engine = after(&source, "engine::");
    of_engine.retain(|name| !OF_ENGINE.contains(&name.as_str()));
    assert!(of_engine.is_empty(), "source imports {of_engine:?} from the engine");
}
