//! Online Boutique released and rolled back over a line that cuts watches, delays, refuses and loses answers.
//!
//! `MAILY_PROXY_SEED` chooses what the line does (1).

use std::collections::BTreeMap;

use maily_core::object::{Object, ObjectKey};
use serde_json::{Value, json};

use super::{door::Door, weather::TROUBLES};
use crate::{
    boutique::{assert_same, fresh, site},
    operators::{Operators, Write, run},
    site::Site,
};

const OLD: &str = "v0.9.0";
const NEW: &str = "v0.10.5";

/// Without the accounts of the operators, and what they may do with the fence.
async fn content(site: &Site) -> Vec<Value> {
    let mut all = site.content().await;
    let theirs = |name: &str| ["first", "second"].contains(&name) || name.starts_with("fence-");
    all.retain(|one| !one["metadata"]["name"].as_str().is_some_and(theirs));
    all
}

fn by_key<'a, T>(objects: &'a [Object], of: impl Fn(&'a Object) -> Option<T>) -> BTreeMap<ObjectKey, T> {
    objects.iter().filter_map(|object| Some((object.key().clone(), of(object)?))).collect()
}

/// How often the Deployments have rolled.
fn revisions(objects: &[Object]) -> BTreeMap<ObjectKey, u64> {
    by_key(objects, |object| object.annotation("deployment.kubernetes.io/revision")?.parse().ok())
}

fn at_most_once(writes: &[Write], what: &str) {
    let mut counts: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for write in writes {
        let effect = match (write.verb.as_str(), write.code) {
            (_, 201) => "made",
            ("delete", 200 | 202) => "deleted",
            _ => continue,
        };
        *counts.entry((effect, &write.resource, &write.name)).or_default() += 1;
    }
    assert!(!counts.is_empty(), "{what}: the audit log tells of the records at least");
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{what}: {twice:?}");
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn over_a_bad_line_everything_happens_once_and_ends_as_planned() {
    let seed = std::env::var("MAILY_PROXY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let wanted = [fresh(NEW).await, fresh(OLD).await];
    let site = site("proxy").await;
    site.run(&["deploy", "--version", OLD, "--yes"]).expect(0);
    let operators = Operators::new(&site);
    let door = Door::open(&operators.stack, seed);
    let kubeconfig = operators.kubeconfig(&site, "first", Some(door.port));
    // A lease whose end was lost runs out by itself.
    let commands = [
        ["deploy", "--version", NEW, "--yes", "--wait-lock", "60s"],
        ["rollback", "--to-version", OLD, "--yes", "--wait-lock", "60s"],
    ];
    for (command, wanted) in commands.iter().zip(&wanted) {
        let what = format!("seed {seed}, {}", command[0]);
        if command[0] == "rollback" {
            door.weather.waits_for_a_run();
        }
        let before = site.objects().await;
        let known = operators.writes("first").len();
        let done = run(&site, &kubeconfig, command);
        assert_eq!(done.code, 0, "{what}: {done:?}");
        assert_same(&content(&site).await, wanted, &what);
        let after = site.objects().await;
        let uids = by_key(&after, Object::uid);
        for (key, uid) in by_key(&before, Object::uid) {
            assert!(uids.get(&key).is_none_or(|now| *now == uid), "{what}: {key} was made anew");
        }
        let rolled = revisions(&after);
        for (key, revision) in revisions(&before) {
            let now = rolled.get(&key).copied().unwrap_or(revision);
            assert!(now <= revision + 1, "{what}: {key} rolled {} times", now - revision);
        }
        at_most_once(&operators.writes("first").split_off(known), &what);
    }
    for trouble in TROUBLES {
        assert!(door.weather.came(trouble) > 0, "seed {seed}: no {trouble:?} came");
    }
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(status["run"], json!(null), "{status}");
}
