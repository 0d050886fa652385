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
        .map(|word| word.trim_end_matches("...").to_owned())
        .collect();
    names.retain(|name| name.len() > 2);
    names
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
