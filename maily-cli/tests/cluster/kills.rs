//! Online Boutique killed at random moments, and resumed by another process in another folder.
//!
//! `MAILY_KILLS` says how many kills count (10), `MAILY_KILL_SEED` repeats a schedule. A kill counts when it leaves an
//! unfinished run behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    path::Path,
    process::Child,
    time::Duration,
};

use maily_testkit::harness::Chance;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    boutique::{VERSIONS, assert_same, fresh, site},
    site::{Site, done},
};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Another operator: a folder with the project file alone, and no memory of what was before.
fn elsewhere(site: &Site) -> TempDir {
    let folder = TempDir::new().expect("can be made");
    std::fs::copy(site.path().join("maily.yaml"), folder.path().join("maily.yaml")).expect("can be copied");
    folder
}

fn from(site: &Site, folder: &Path, args: &[&str]) -> crate::site::Done {
    let mut command = site.command(args);
    command.current_dir(folder).env("HOME", folder);
    done(command)
}

/// Reads the events up to the begin of the run; `false` where none begins.
fn await_begin(child: &mut Child) -> bool {
    let events = BufReader::new(child.stdout.take().expect("is piped"));
    let begun = events.lines().map_while(Result::ok).any(|line| line.contains("run-started"));
    // What comes next must not fill a pipe that nobody reads: a closed one does no harm to a run.
    begun
}

/// What brings a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bring {
    Phased,
    Rollback,
    Deploy,
}

impl Bring {
    const ALL: [Self; 3] = [Self::Phased, Self::Rollback, Self::Deploy];

    /// What was killed least so far; a rollback where the version was released before.
    fn choose(chance: &mut Chance, killed: &BTreeMap<Self, u64>, had: bool) -> Self {
        let count = |bring: &Self| killed.get(bring).copied().unwrap_or_default();
        let possible = || Self::ALL.into_iter().filter(move |bring| had || *bring != Self::Rollback);
        let least = possible().map(|bring| count(&bring)).min().unwrap_or_default();
        let rarest: Vec<Self> = possible().filter(|bring| count(bring) == least).collect();
        *chance.pick(&rarest).expect("a deploy is always possible")
    }

    fn args(self, version: &str) -> Vec<&str> {
        let mut args = match self {
            Self::Phased => vec!["phased-deploy", "--reason", "kill test", "--version", version],
            Self::Rollback => vec!["rollback", "--to-version", version],
            Self::Deploy => vec!["deploy", "--version", version],
        };
        args.extend(["--env", "production", "--yes", "-o", "json"]);
        args
    }
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn killed_at_random_it_ends_at_the_new_release_or_the_old_one() {
    let kills = setting("MAILY_KILLS").unwrap_or(10);
    let seed = setting("MAILY_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let mut chance = Chance::new(seed);
    let mut wanted: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for version in VERSIONS {
        wanted.insert(version, fresh(version).await);
    }
    let site = site("kills").await;
    site.run(&["deploy", "--version", VERSIONS[0], "--yes"]).expect(0);
    // From the begin of a run to its end, in milliseconds; whatever a run took that was over before it was killed.
    let mut usual = 1_500;
    let (mut now, mut had) = (VERSIONS[0], BTreeSet::from([VERSIONS[0]]));
    let (mut counted, mut tries) = (0, 0);
    let mut killed: BTreeMap<Bring, u64> = BTreeMap::new();
    while counted < kills {
        tries += 1;
        assert!(tries < kills * 6, "seed {seed}: only {counted} of {tries} kills met a run");
        let others: Vec<&str> = VERSIONS.into_iter().filter(|version| *version != now).collect();
        let next = *chance.pick(&others).expect("there are others");
        let bring = Bring::choose(&mut chance, &killed, had.contains(&next));
        let mut child = site.spawn(&bring.args(next));
        let begun = await_begin(&mut child);
        tokio::time::sleep(Duration::from_millis(chance.below(usual))).await;
        if child.try_wait().expect("can be asked").is_some() {
            usual = (usual * 3 / 4).max(200);
        }
        child.kill().expect("is killed or over");
        let over = child.wait().expect("is gone").code();
        assert!(begun || over.is_some(), "seed {seed}: no run begins");
        let folder = elsewhere(&site);
        let status = from(&site, folder.path(), &["status", "--env", "production", "-o", "json"]).expect(0);
        let back = chance.hits(300_000);
        let what = format!("seed {seed}, kill {counted}, {bring:?} from {now} to {next}, back: {back}");
        if status.json()["run"].is_null() {
            // It was over, or had not begun: whatever is in force is complete.
            let version = if over == Some(0) { next } else { in_force(&site, folder.path()) };
            assert_same(&site.content().await, &wanted[version], &what);
            had.insert(version);
            now = version;
            continue;
        }
        counted += 1;
        *killed.entry(bring).or_default() += 1;
        let command: &[&str] = if back { &["abort", "--yes"] } else { &["resume"] };
        let ended = from(&site, folder.path(), &[command, &["--env", "production"]].concat());
        let version = match ended.code {
            0 => next,
            3 => now,
            _ => panic!("{what}: {ended:?}"),
        };
        assert!(back || version == next, "{what}: {ended:?}");
        assert_same(&site.content().await, &wanted[version], &what);
        had.insert(version);
        now = version;
    }
    if kills >= 10 {
        let all = Bring::ALL.iter().all(|bring| killed.contains_key(bring));
        assert!(all, "seed {seed}: not everything was killed: {killed:?}");
    }
}

fn in_force(site: &Site, folder: &Path) -> &'static str {
    let status = from(site, folder, &["status", "--env", "production", "-o", "json"]).expect(0).json();
    let text = status["services"][0]["version"].as_str().expect("has a version").to_owned();
    VERSIONS.into_iter().find(|version| *version == text).expect("is one of ours")
}
