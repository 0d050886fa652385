use maily_core::engine::{EVENT_FORMAT, Epoch, Failure, RunId};

use super::*;

fn rollout(service: &str) -> StepInfo {
    StepInfo {
        id: StepId::new("production", service, "rollout"),
        kind: "rollout".to_owned(),
        service: Some(service.to_owned()),
        phase: None,
        needs: Vec::new(),
    }
}

#[test]
fn a_row_that_failed_says_why_to_the_end() {
    let id = StepId::new("production", "api", "rollout");
    let info = rollout("api");
    let version = |version: &str| BTreeMap::from([("api".to_owned(), version.to_owned())]);
    let began = What::RunStarted {
        title: "deploy v2".to_owned(),
        epoch: Epoch(1),
        versions: version("v2"),
        steps: vec![info],
    };
    let progress = |why: &str| What::StepProgress {
        step: id.clone(),
        ready: Some(0),
        desired: Some(2),
        why: why.to_owned(),
    };
    let mut tree = Tree::new("deploy v2", "production", Some(version("v1")));
    let at = Timestamp::UNIX_EPOCH;
    for what in [
        began,
        What::StepStarted { step: id.clone() },
        progress("0 of 2 ready"),
        What::StepFailed { step: id.clone(), failure: Failure::new("crash-loop", "crashes again and again") },
        What::UndoStarted { step: id.clone() },
        progress("the controller has not seen the change yet"),
        What::StepRetried { step: id.clone(), error: "no answer".to_owned(), after_ms: 1 },
        What::Undone { step: id.clone() },
    ] {
        let (run, environment) = (RunId::from("r"), "production".to_owned());
        tree.fold(&Event {
            format: EVENT_FORMAT,
            at,
            run,
            environment,
            replayed: false,
            untimed: false,
            what,
        });
    }
    let text = tree.lines(at, 100, 24, Paint::default()).join("\n");
    assert!(text.contains("↩  api  v1  taken back"), "{text}");
    assert!(!text.contains("/2"), "what was counted was on the way: {text}");
    assert!(text.contains("crashes again and again"), "{text}");
}

#[test]
fn what_was_taken_back_at_the_second_attempt_says_no_more_that_it_cannot_be() {
    let id = StepId::new("production", "api", "rollout");
    let step = rollout("api");
    let failed = |cause: &str, message: &str| Failure::new(cause, message);
    let crashed = What::StepFailed { step: id.clone(), failure: failed("crash-loop", "crashes again") };
    let applied = What::StepApplied { step: id.clone(), took_ms: 1 };
    for (forward, why) in [(crashed, "crashes again"), (applied, "as it was")] {
        let mut tree = Tree::new("resume", "production", None);
        let (title, versions) = (String::new(), BTreeMap::new());
        let began = What::RunStarted { title, epoch: Epoch(1), versions, steps: vec![step.clone()] };
        for what in [
            began,
            What::StepStarted { step: id.clone() },
            forward,
            What::UndoStarted { step: id.clone() },
            What::UndoFailed {
                step: id.clone(),
                failure: failed("finalizer", "somebody holds it"),
                remedy: String::new(),
            },
        ] {
            told(&mut tree, 100, true, what);
        }
        let row = |tree: &Tree| tree.lines(Timestamp::UNIX_EPOCH, 100, 24, Paint::default()).remove(1);
        assert!(row(&tree).contains("cannot be undone: somebody holds it"), "{}", row(&tree));
        told(&mut tree, 110, false, What::UndoStarted { step: id.clone() });
        told(&mut tree, 111, false, What::Undone { step: id.clone() });
        let row = row(&tree);
        assert!(row.contains("taken back") && row.contains(why), "{row}");
        assert!(!row.contains("cannot be undone"), "{row}");
    }
}

#[test]
fn a_row_in_progress_shows_how_many_serve_what_it_waits_for_and_for_how_long() {
    let mut tree = Tree::new("deploy v2", "production", None);
    let id = StepId::new("production", "api", "rollout");
    let step = rollout("api");
    let (title, versions) = ("deploy v2".to_owned(), BTreeMap::from([("api".to_owned(), "v2".to_owned())]));
    let began = What::RunStarted { title, epoch: Epoch(1), versions, steps: vec![step] };
    told(&mut tree, 100, false, began);
    let row = |tree: &Tree, second| {
        let at = Timestamp::from_second(second).expect("is a time");
        tree.lines(at, 100, 24, Paint::default()).remove(1)
    };
    assert_eq!(row(&tree, 105), "  ·  api  v2", "it has not begun");
    told(&mut tree, 102, false, What::StepStarted { step: id.clone() });
    let progress = |ready, why: &str| What::StepProgress {
        step: id.clone(),
        ready: Some(ready),
        desired: Some(3),
        why: why.to_owned(),
    };
    told(&mut tree, 103, false, progress(0, "pulls its image"));
    assert_eq!(row(&tree, 105), "  ◐  api  v2  rollout      0/3    3.0s  pulls its image");
    told(&mut tree, 110, false, progress(1, "1 of 3 ready"));
    assert_eq!(row(&tree, 175), "  ◐  api  v2  rollout      1/3   1m13s  1 of 3 ready");
    let error = "timed out".to_owned();
    told(&mut tree, 176, false, What::StepRetried { step: id.clone(), error, after_ms: 1000 });
    assert_eq!(row(&tree, 176), "  ◐  api  v2  rollout      1/3   1m14s  tries again: timed out");
    told(&mut tree, 180, false, What::StepApplied { step: id, took_ms: 78_000 });
    assert_eq!(row(&tree, 999), "  ✓  api  v2  serves       3/3   1m18s", "its clock stands still");
}

/// Two services, of which the first one is begun and taken back.
fn taken_back() -> (Tree, StepId) {
    let id = |service: &str| StepId::new("production", service, "rollout");
    let of = |version: &str| -> BTreeMap<String, String> {
        ["api", "web"].map(|name| (name.to_owned(), version.to_owned())).into()
    };
    let mut tree = Tree::new("deploy v2", "production", Some(of("v1")));
    let (title, steps) = ("deploy v2".to_owned(), ["api", "web"].map(rollout).into());
    told(&mut tree, 100, false, What::RunStarted { title, epoch: Epoch(1), versions: of("v2"), steps });
    told(&mut tree, 100, false, What::StepStarted { step: id("api") });
    told(&mut tree, 102, false, What::StepApplied { step: id("api"), took_ms: 2_000 });
    (tree, id("api"))
}

fn rows(tree: &Tree, second: i64) -> Vec<String> {
    let at = Timestamp::from_second(second).expect("is a time");
    let lines = tree.lines(at, 100, 24, Paint::default());
    lines.into_iter().filter(|line| line.contains("  api  ") || line.contains("  web  ")).collect()
}

#[test]
fn what_never_began_is_at_the_version_of_before_once_the_run_goes_back() {
    let (mut tree, api) = taken_back();
    assert_eq!(rows(&tree, 103)[1], "  ·  web  v2", "its turn comes");
    let why = Failure::new("abort", "somebody asked for it");
    told(&mut tree, 110, false, What::Turned { why, step: None });
    assert_eq!(rows(&tree, 111)[1], "  ·  web  v1  not begun");
    told(&mut tree, 112, false, What::UndoStarted { step: api.clone() });
    told(&mut tree, 113, false, What::Undone { step: api });
    assert_eq!(rows(&tree, 114)[1], "  ·  web  v1  not begun");
}

#[test]
fn a_way_back_is_timed_from_its_own_beginning() {
    let (mut tree, api) = taken_back();
    // Somebody thought about it for a while.
    told(&mut tree, 160, false, What::UndoStarted { step: api.clone() });
    assert!(rows(&tree, 161)[0].contains("going back") && rows(&tree, 161)[0].contains(" 1.0s"));
    told(&mut tree, 163, false, What::Undone { step: api });
    assert!(rows(&tree, 200)[0].contains("3.0s  as it was"), "{:?}", rows(&tree, 200));
}

#[test]
fn what_is_waited_for_when_everything_is_taken_back_stands_above() {
    let (mut tree, step) = taken_back();
    told(&mut tree, 112, false, What::UndoStarted { step: step.clone() });
    told(&mut tree, 113, false, What::Undone { step: step.clone() });
    let why = "api-1 is of another revision and in the way".to_owned();
    told(&mut tree, 114, false, What::StepProgress { step, ready: Some(1), desired: Some(2), why });
    let at = Timestamp::from_second(115).expect("is a time");
    let text = tree.lines(at, 100, 24, Paint::default()).join("\n");
    assert!(
        text.contains("waits until `api` serves again: api-1 is of another revision and in the way"),
        "{text}"
    );
    assert!(text.contains("1/2") && text.contains("as it was"), "{text}");
}

fn told(tree: &mut Tree, second: i64, replayed: bool, what: What) {
    let (run, environment) = (RunId::from("r"), "production".to_owned());
    let at = Timestamp::from_second(second).expect("is a time");
    tree.fold(&Event { format: EVENT_FORMAT, at, run, environment, replayed, untimed: false, what });
}

#[test]
fn what_is_done_is_said_in_the_words_of_its_kind() {
    let mut tree = Tree::new("deploy v2", "production", None);
    let kinds = [("rollout", "done"), ("prune", "removed"), ("job", "completed")];
    let id = |kind: &str| StepId::new("production", kind, kind);
    let step = |(kind, _): &(&str, &str)| StepInfo {
        id: id(kind),
        service: Some((*kind).to_owned()),
        phase: None,
        kind: (*kind).to_owned(),
        needs: Vec::new(),
    };
    let steps = kinds.iter().map(step).collect();
    let (title, versions) = (String::new(), BTreeMap::new());
    told(&mut tree, 100, false, What::RunStarted { title, epoch: Epoch(1), versions, steps });
    for (kind, word) in kinds {
        let ready = (kind == "job").then_some(1);
        let (step, why) = (id(kind), String::new());
        told(&mut tree, 100, false, What::StepProgress { step, ready, desired: ready, why });
        told(&mut tree, 101, false, What::StepApplied { step: id(kind), took_ms: 1 });
        let lines = tree.lines(Timestamp::UNIX_EPOCH, 100, 24, Paint::default());
        assert!(lines.iter().any(|line| line.contains(kind) && line.contains(word)), "{lines:?}");
    }
}

fn first_line(tree: &Tree, second: i64) -> String {
    let at = Timestamp::from_second(second).expect("is a time");
    tree.lines(at, 120, 24, Paint::default()).remove(0)
}

#[test]
fn a_run_that_is_gone_on_with_has_a_clock_that_moves() {
    let mut tree = Tree::new("resume", "production", None);
    let began = What::RunStarted {
        title: "deploy v2".to_owned(),
        epoch: Epoch(1),
        versions: BTreeMap::new(),
        steps: Vec::new(),
    };
    told(&mut tree, 100, true, began);
    told(&mut tree, 100, true, What::Paused { why: "interrupted".to_owned(), items: Vec::new() });
    assert!(first_line(&tree, 120).ends_with("20s"), "{}", first_line(&tree, 120));
    told(&mut tree, 100, false, What::Resumed { epoch: Epoch(2), by: "ops".to_owned() });
    assert!(first_line(&tree, 130).ends_with("30s"));
    told(&mut tree, 131, false, What::Paused { why: "interrupted".to_owned(), items: Vec::new() });
    assert!(first_line(&tree, 180).ends_with("31s"), "stands still while nobody goes on");
}

#[test]
fn who_waits_sees_for_how_long_a_dead_holder_is_in_the_way() {
    let mut tree = Tree::new("resume", "production", None);
    let holder = "ops@vm/1 since 2026-11-25T21:04:38.791216Z (run r)".to_owned();
    told(&mut tree, 100, false, What::Queued { holder: holder.clone() });
    told(&mut tree, 103, false, What::Queued { holder });
    let line = |second| {
        let at = Timestamp::from_second(second).expect("is a time");
        tree.lines(at, 120, 24, Paint::default()).remove(1)
    };
    assert_eq!(
        line(104),
        "  waits for ops@vm/1 since 21:04:38Z (run r): its lease runs out in 11 s if it is dead"
    );
    assert!(line(120).ends_with("(run r): it shows life"), "{}", line(120));
}
