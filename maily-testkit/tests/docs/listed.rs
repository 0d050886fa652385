//! The list of tests is held against the sources: what it names is a test, and every backend runs all of its contracts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{files, plain, read, root};

/// A source without what stands behind `//`.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split("//").next().unwrap_or_default().trim())
}

/// The name of a function that a line declares.
fn declared(line: &str) -> Option<&str> {
    let line = ["pub ", "pub(crate) "].iter().find_map(|public| line.strip_prefix(public)).unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')).map(|(name, _)| name)
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Tests of a source: functions that carry the attribute of one, and sentences that a macro makes into tests.
fn tests(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut is_test, mut sentences) = (false, false);
    for line in code(text) {
        if let Some(name) = declared(line) {
            if std::mem::take(&mut is_test) {
                found.insert(name.to_owned());
            }
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if !line.is_empty() && !line.starts_with("#[") {
            // An attribute may have several lines; whatever else ends here takes it along.
            is_test &= !line.ends_with([';', '{', '}']);
        }
        if line.contains("sentences!(") && !line.ends_with(");") {
            sentences = true;
        } else if sentences {
            let words = line.split(',').map(|word| word.trim_matches(['[', ']', ' ']));
            found.extend(words.filter(|word| is_name(word)).map(str::to_owned));
            sentences = !line.ends_with(");") && line != ")";
        }
    }
    found
}

fn sources() -> Vec<PathBuf> {
    let mut sources = Vec::new();
    files(&root(), "rs", &mut sources);
    sources
}

/// Cases of a suite, or what else is public and asynchronous in it.
fn cases(suite: &str) -> BTreeSet<String> {
    let text = read(&root().join(format!("maily-testkit/src/contract/{suite}.rs")));
    let public = code(&text).filter(|line| line.starts_with("pub async fn "));
    public.filter_map(declared).map(str::to_owned).collect()
}

#[test]
fn every_test_that_the_list_names_exists() {
    let page = read(&root().join("docs/tests.md"));
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        let path = plain(&source).strip_prefix(root()).expect("is ours").display().to_string();
        for name in tests(&read(&source)) {
            known.entry(name).or_default().push(path.clone());
        }
    }
    assert!(known.len() > 500, "{} tests", known.len());
    let mut named = 0;
    let mut wrong = Vec::new();
    for row in page.lines().filter(|line| line.starts_with('|')) {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        for name in last.split('`').skip(1).step_by(2) {
            named += 1;
            if !known.contains_key(name) {
                wrong.push(format!("there is no test `{name}`: {row}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 40, "the list names {named} tests");
    // Where they are, as the page says.
    let paths = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|part| part.starts_with("maily-") && part.contains('/') && !part.contains(' '));
    let paths: Vec<&str> = paths.collect();
    assert!(paths.len() > 5, "{paths:?}");
    let lost: Vec<&&str> = paths.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(lost.is_empty(), "there is no such file or folder: {lost:?}");
    // A name outside the tables is one, too: of a test, or of what else there is in the sources.
    let section =
        |title: &str| page.split("\n## ").find(|section| section.starts_with(title)).expect("is there");
    for row in section("Traps").lines().filter(|line| line.starts_with("| T")) {
        assert!(row.contains("| `"), "no test: {row}");
    }
}

/// What is no test function does not count as one.
#[test]
fn helpers_and_sentences_that_no_backend_runs_are_no_tests() {
    // Written so that it is none of this file.
    let text = "
        @cfg(test)]
        mod tests {
            fn helper() {}
            // @test]
            fn was_one() {}
            @test]
            fn one() { let x = 1; }
            @tokio::test(start_paused = true)]
            @ignore = \"needs the test stack\"]
            async fn two() {}
            fn after() {}
            @test]
            @cfg_attr(
                miri,
                ignore
            )]
            fn three() {}
        }
        macro_rules! sentences { ($($sentence:ident),+) => { $(@test] fn $sentence() {})+ } }
        sentences!(
            suite,
            [four, // five
            six]
        );
        fn last() {}
    "
    .replace('@', "#[");
    let found = tests(&text);
    for (name, is) in [
        ("one", true),
        ("two", true),
        ("three", true),
        ("four", true),
        ("six", true),
        ("helper", false),
        ("was_one", false),
        ("after", false),
        ("five", false),
        ("last", false),
    ] {
        assert_eq!(found.contains(name), is, "{name} in {found:?}");
    }
}

/// Who runs which suite.
const BACKENDS: &[(&str, &[&str])] = &[
    ("maily-testkit/tests/contracts/main.rs", &["cluster", "controllers", "fence", "frontend", "records"]),
    ("maily-testkit/tests/contracts/cloud.rs", &["databases", "identities", "storage"]),
    ("maily-testkit/tests/contracts/monitoring.rs", &["monitoring"]),
    ("maily-testkit/tests/contracts/secrets.rs", &["secrets"]),
    ("maily-k8s/tests/contracts.rs", &["cluster", "controllers", "fence", "records"]),
    ("maily-aws/tests/wire/storage.rs", &["storage"]),
    ("maily-aws/tests/wire/moto.rs", &["storage"]),
    ("maily-vault/tests/wire/main.rs", &["secrets"]),
];

/// What a backend is no judge of: of writes that cross, an emulator.
const LEFT_OUT: &[(&str, &str)] = &[("maily-aws/tests/wire/moto.rs", "one_of_many_puts_wins")];

/// Sentences of a suite that a backend does not run, by the text of its tests.
fn not_run(text: &str, suite: &str) -> Vec<String> {
    let run = tests(text);
    let calls: BTreeSet<&str> = code(text)
        .flat_map(|line| line.split(&format!("{suite}::")[..]).skip(1).collect::<Vec<_>>())
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name))
        .collect();
    cases(suite).into_iter().filter(|case| !run.contains(case) && !calls.contains(case.as_str())).collect()
}

#[test]
fn every_backend_runs_every_sentence_of_its_contracts() {
    let mut missing = Vec::new();
    for (path, suites) in BACKENDS {
        let text = read(&root().join(path));
        for suite in *suites {
            let of = |case: &String| !LEFT_OUT.contains(&(path, case.as_str()));
            missing.extend(
                not_run(&text, suite).into_iter().filter(of).map(|case| format!("{path}: {suite}::{case}")),
            );
        }
    }
    assert!(missing.is_empty(), "sentences that a backend does not run:\n{}", missing.join("\n"));
    // Whoever imports a suite is one of them, and every suite is run by somebody.
    for source in sources() {
        let path = plain(&source).strip_prefix(root()).expect("is ours").display().to_string();
        let text = read(&source);
        let imports = code(&text).any(|line| line.contains("contract::") && line.ends_with([',', ';']));
        let listed = BACKENDS.iter().any(|(known, _)| *known == path);
        let is_test = path.contains("/tests/") && path != "maily-testkit/tests/docs/listed.rs";
        assert!(!(is_test && imports) || listed, "{path} runs a suite, and is not in the list here");
    }
    let mut suites = Vec::new();
    files(&root().join("maily-testkit/src/contract"), "rs", &mut suites);
    for suite in suites.iter().filter_map(|path| path.file_stem()?.to_str()).filter(|name| *name != "mod") {
        assert!(BACKENDS.iter().any(|(_, suites)| suites.contains(&suite)), "nobody runs `{suite}`");
        assert!(!cases(suite).is_empty(), "`{suite}` has no sentences");
    }
}

#[test]
fn a_sentence_that_a_backend_leaves_out_is_noticed() {
    let path = root().join("maily-k8s/tests/contracts.rs");
    let text = read(&path);
    for case in cases("cluster") {
        let without = text.replace(&format!("            {case},\n"), "");
        assert_ne!(without, text, "{case} is in the list");
        assert_eq!(not_run(&without, "cluster"), std::slice::from_ref(&case));
        let off = text.replace(&format!("            {case},\n"), &format!("            // {case},\n"));
        assert_eq!(not_run(&off, "cluster"), [case]);
    }
}

#[test]
fn every_sentence_of_every_contract_and_every_trap_is_in_the_list() {
    let page = read(&root().join("docs/tests.md"));
    let mut sources = Vec::new();
    files(&root().join("maily-core/src/provider"), "rs", &mut sources);
    let mut traits = 0;
    for source in sources {
        let text = read(&source);
        for part in text.split("/// # Contract\n").skip(1) {
            traits += 1;
            let (contract, rest) = part.split_once("pub trait ").expect("belongs to a trait");
            let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            let is_sentence = |line: &&str| {
                let number = line.strip_prefix("/// ").and_then(|rest| rest.split_once(". "));
                number.is_some_and(|(number, _)| number.parse::<u32>().is_ok())
            };
            let sentences = contract.lines().filter(is_sentence).count();
            let section = page.split("\n### ").find(|section| section.starts_with(&format!("`{name}`\n")));
            let section = section.unwrap_or_else(|| panic!("`{name}` has no section")).split("\n## ").next();
            let rows = section.unwrap_or_default().lines().filter(|line| {
                line.strip_prefix("| ").is_some_and(|row| row.starts_with(|c: char| c.is_ascii_digit()))
            });
            assert_eq!(rows.count(), sentences, "rows and sentences of `{name}`");
        }
    }
    assert!(traits >= 4, "{traits} traits have a contract");
    for trap in 1..=18 {
        assert!(page.contains(&format!("\n| T{trap} |")), "T{trap} is not in the list");
    }
}
