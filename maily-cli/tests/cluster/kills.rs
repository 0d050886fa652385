//! Online Boutique killed at random moments, from the start of the process on, and resumed by another process in another
//! folder, which may be killed as well. A phased deploy goes over staging and production.
//!
//! `MAILY_KILLS` says how many kills count (10), `MAILY_KILL_SEED` repeats a schedule. A kill counts when it leaves an
//! unfinished run behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use maily_testkit::harness::Chance;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    boutique::{VERSIONS, assert_same, fresh, site},
    site::{Done, Site, done},
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

fn from(site: &Site, folder: &Path, args: &[&str]) -> Done {
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
            Self::Phased => vec!["phased-deploy", "--version", version],
            Self::Rollback => vec!["rollback", "--to-version", version, "--env", PRODUCTION],
            Self::Deploy => vec!["deploy", "--version", version, "--env", PRODUCTION],
        };
        // Who was killed before its run began may have left its lease.
        args.extend(["--yes", "-o", "json", "--wait-lock", "60s"]);
        args
    }
}

const STAGING: &str = "staging";
const PRODUCTION: &str = "production";

/// An environment of a project, the namespace that it is in, and the version that is in force there.
struct Place<'a> {
    name: &'static str,
    project: &'a Site,
    site: &'a Site,
    now: &'static str,
}

/// Gives a project a staging environment, and phases that go over both.
fn over_both(project: &Site, staging: &Site) {
    project.run(&["env", "bind", STAGING, "--namespace", &staging.namespace]).expect(0);
    let phases = "\nphases:
  - {name: staging, environment: staging, services: all}
  - {name: non-critical, environment: production, services: non-critical}
  - {name: critical, environment: production, services: critical}\n";
    let file = std::fs::read_to_string(project.path().join("maily.yaml")).expect("can be read");
    project.write("maily.yaml", &(file + phases));
    project.run(&["phased-deploy", "--version", VERSIONS[0], "--yes"]).expect(0);
}

impl Place<'_> {
    /// Goes on with the run that has not ended here, and answers whether there was one. Who goes on may be killed, too.
    async fn settle(&mut self, next: &'static str, chance: &mut Chance, again: &mut u64, what: &str) -> bool {
        let (mut met, mut back) = (false, false);
        loop {
            let folder = elsewhere(self.project);
            let status = ["status", "--env", self.name, "-o", "json"];
            let status = from(self.project, folder.path(), &status).expect(0).json();
            if status["run"].is_null() {
                // It was over, or had not begun: whatever is in force is complete.
                self.now = in_force(&status);
                assert!(back || !met || self.now == next, "{what}: at {}", self.now);
                return met;
            }
            met = true;
            back |= chance.hits(300_000);
            let command: &[&str] = if back { &["abort", "--yes"] } else { &["resume"] };
            let command = [command, &["--env", self.name]].concat();
            // The first one in any case: ten kills may well draw nobody.
            if *again == 0 || chance.hits(333_333) {
                *again += 1;
                let mut goes_on = self.project.command(&command);
                goes_on.current_dir(folder.path()).env("HOME", folder.path());
                goes_on.stdout(Stdio::null()).stderr(Stdio::null());
                let mut goes_on = goes_on.spawn().expect("starts");
                // It waits until the lease has run out.
                killed_after(&mut goes_on, 13_500 + chance.below(4_000)).await;
                continue;
            }
            let ended = from(self.project, folder.path(), &command);
            self.now = match ended.code {
                0 => next,
                3 => self.now,
                _ => panic!("{what}, back: {back}: {ended:?}"),
            };
            assert!(back || self.now == next, "{what}: {ended:?}");
            return true;
        }
    }
}

fn in_force(status: &Value) -> &'static str {
    let text = status["services"][0]["version"].as_str().expect("has a version");
    VERSIONS.into_iter().find(|version| *version == text).expect("is one of ours")
}

/// Kills a process after a time. Answers the code of one that was over by then.
async fn killed_after(child: &mut Child, time: u64) -> Option<i32> {
    tokio::time::sleep(Duration::from_millis(time)).await;
    child.kill().expect("is killed or over");
    child.wait().expect("is gone").code()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).expect("is small")
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
    let (production, staging) = (site("kills").await, Site::new("kills-staging").await);
    over_both(&production, &staging);
    let mut places = [(STAGING, &staging), (PRODUCTION, &production)].map(|(name, site)| Place {
        name,
        project: &production,
        site,
        now: VERSIONS[0],
    });
    // From the begin of a run to its end, in milliseconds; whatever a run took that was over before it was killed. And
    // from the start of a process to the begin of its run.
    let (mut usual, mut lead) = (1_500, 1_000);
    let mut had = BTreeSet::from([VERSIONS[0]]);
    let (mut counted, mut again, mut tries) = (0, 0, 0);
    let mut killed: BTreeMap<Bring, u64> = BTreeMap::new();
    while counted < kills {
        tries += 1;
        assert!(tries < kills * 8, "seed {seed}: only {counted} of {tries} kills met a run");
        let now = places[1].now;
        let others: Vec<&str> = VERSIONS.into_iter().filter(|version| *version != now).collect();
        let next = *chance.pick(&others).expect("there are others");
        let bring = Bring::choose(&mut chance, &killed, had.contains(&next));
        let from_start = chance.hits(333_333);
        let what = format!("seed {seed}, kill {counted}, {bring:?} to {next}, from the start: {from_start}");
        let start = Instant::now();
        let mut child = production.spawn(&bring.args(next));
        let over = if from_start {
            // The lease, the epoch, the plan: whatever comes before the first event. Nobody reads them.
            drop(child.stdout.take());
            killed_after(&mut child, lead / 2 + chance.below(lead)).await
        } else {
            let begun = await_begin(&mut child);
            lead = if begun { lead.min(millis(start)).max(200) } else { lead };
            let over = killed_after(&mut child, chance.below(usual)).await;
            if over.is_some() {
                usual = (usual * 3 / 4).max(200);
            }
            assert!(begun || over.is_some(), "{what}: no run begins");
            over
        };
        let mut met = false;
        for place in &mut places {
            met |= place.settle(next, &mut chance, &mut again, &what).await;
            let brought = over == Some(0) && (bring == Bring::Phased || place.name == PRODUCTION);
            assert!(!brought || place.now == next, "{what}: {} is at {}", place.name, place.now);
            assert_same(&place.site.content().await, &wanted[place.now], &format!("{what}, {}", place.name));
        }
        had.insert(places[1].now);
        if met {
            counted += 1;
            *killed.entry(bring).or_default() += 1;
        }
    }
    if kills >= 10 {
        let all = Bring::ALL.iter().all(|bring| killed.contains_key(bring));
        assert!(all, "seed {seed}: not everything was killed: {killed:?}");
        assert!(again > 0, "seed {seed}: nobody who went on was killed");
    }
}
