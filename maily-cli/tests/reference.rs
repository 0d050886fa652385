//! The reference of the command line names every command and every option that the program has.

use std::{path::Path, process::Command};

fn help(words: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_mailyctl")).args(words).arg("--help").output().expect("starts");
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).expect("is text")
}

/// Commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    listed
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Long options that a help text describes.
fn options(help: &str) -> Vec<String> {
    let described = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let long = described.flat_map(|line| line.split(|c: char| c.is_whitespace() || c == ','));
    let mut names: Vec<String> = long
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split('[').next().unwrap_or_default().trim_end_matches("...").to_owned())
        .collect();
    names.retain(|name| name.len() > 2);
    names
}

/// Values that a help text describes of an option.
fn values(help: &str, option: &str) -> Vec<String> {
    let lines = help.lines().map(str::trim_start).skip_while(|line| !line.starts_with(option)).skip(1);
    let of_it = lines.take_while(|line| !line.starts_with("--") && !line.starts_with("-o"));
    let listed = of_it.filter_map(|line| line.strip_prefix("- "));
    listed.filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect()
}

/// All commands without commands of their own.
fn leaves(words: &[&str], found: &mut Vec<(String, Vec<String>)>) {
    let text = help(words);
    let below = commands(&text);
    if below.is_empty() {
        found.push((words.join(" "), options(&text)));
    }
    for name in below {
        let mut longer = words.to_vec();
        longer.push(&name);
        leaves(&longer, found);
    }
}

#[test]
fn every_command_and_option_is_in_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/cli.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let (general, commands) = page.split_once("\n## Commands\n").expect("has a part for commands");
    let mut leaf = Vec::new();
    leaves(&[], &mut leaf);
    assert!(leaf.len() > 20, "{leaf:?}");
    let mut missing = Vec::new();
    for (name, options) in leaf {
        let Some(section) =
            commands.split("\n### ").find(|section| section.starts_with(&format!("`{name}`\n")))
        else {
            missing.push(name);
            continue;
        };
        let described = |option: &String| {
            [section, general]
                .iter()
                .any(|text| text.contains(&format!("`{option}`")) || text.contains(&format!("`{option} ")))
        };
        missing.extend(
            options.iter().filter(|option| !described(option)).map(|option| format!("{name} {option}")),
        );
    }
    assert!(missing.is_empty(), "not described: {missing:#?}");
}

#[test]
fn every_document_that_has_a_schema_is_in_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/cli.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let section =
        page.split("\n### ").find(|section| section.starts_with("`schema`\n")).expect("is described");
    let documents = values(&help(&["schema"]), "--for <WHAT>");
    assert!(documents.len() > 10, "{documents:?}");
    let missing: Vec<&String> =
        documents.iter().filter(|name| !section.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
}

/// The words of a command line as a shell splits them, up to a comment, a pipe, a redirection or another command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            (' ', None) => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    let end = words.iter().position(|word| {
        matches!(word.as_str(), "&" | "&&" | "|" | ";" | ">") || word.starts_with('#') || word.ends_with(';')
    });
    words.truncate(end.unwrap_or(words.len()));
    words
}

fn pages(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("can be listed") {
        let path = entry.expect("can be read").path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

#[test]
fn every_command_line_in_the_pages_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("README.md")];
    pages(&root.join("docs"), &mut files);
    let mut seen = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("can be read");
        for line in text.lines() {
            let line = line.trim_start_matches("$ ");
            let program =
                ["mailyctl ", "cargo run -p maily-cli -- "].iter().find_map(|start| line.strip_prefix(start));
            let Some(rest) = program else { continue };
            seen += 1;
            // Asked for help after everything else, the program has understood the rest, and does nothing.
            let done = Command::new(env!("CARGO_BIN_EXE_mailyctl")).args(words(rest)).arg("--help").output();
            let done = done.expect("starts");
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{}: {line}\n{said}", file.display());
        }
    }
    assert!(seen > 50, "{seen} command lines");
}
