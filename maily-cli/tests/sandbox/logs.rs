//! `logs` in the sandbox.

use crate::{bad_input::services, desk::Desk};

fn lines(desk: &Desk, args: &[&str]) -> Vec<String> {
    let told = desk.sandbox(&[&["logs"], args].concat()).expect(0);
    told.out.lines().map(str::to_owned).collect()
}

#[test]
fn tail_and_since_leave_out_what_is_not_asked_for() {
    let desk = Desk::with(&services("  api: {workload: {port: 80, scale: 2}}"));
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let all = lines(&desk, &["api"]);
    assert_eq!(all.len(), 4, "two of each pod: {all:?}");
    let last = lines(&desk, &["api", "--tail", "1"]);
    assert!(last.len() == 2 && last.iter().all(|line| line.ends_with("listening on :80")), "{last:?}");
    assert!(lines(&desk, &["api", "--tail", "0"]).is_empty());
    for long in ["1h", "1000000000d"] {
        assert_eq!(lines(&desk, &["api", "--since", long]), all);
    }
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let none = desk.sandbox(&["logs", "api", "--since", "1s"]).expect(0);
    assert!(none.out.is_empty() && none.err.contains("has said anything in that time"), "{none:?}");
    for (option, value) in [("--since", "5"), ("--since", "soon"), ("--tail", "-1"), ("--tail", "many")] {
        let refused = desk.sandbox(&["logs", "api", &format!("{option}={value}")]).expect(2).err;
        assert!(refused.contains(option), "{refused}");
    }
}

#[test]
fn the_instance_before_the_last_restart_says_why_it_ended() {
    let desk = Desk::with(&services("  api: {workload: {port: 80, scale: 1}}"));
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api"]).expect(0);
    let crash = |line: &String| line.contains("simulated crash");
    let told = lines(&desk, &["api", "--previous"]);
    assert!(told.iter().any(crash), "{told:?}");
    let now = lines(&desk, &["api"]);
    assert!(!now.is_empty() && !now.iter().any(crash), "{now:?}");
}

#[test]
fn jobs_are_read_by_their_names() {
    let jobs = "  api: {workload: {port: 80}}\n  migrate: {before: api, job: {command: [up]}}";
    let desk = Desk::with(&services(jobs));
    desk.sandbox(&["logs", "migrate"]).expect(1);
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let told = lines(&desk, &["migrate"]);
    assert!(
        told.len() == 1 && told[0].contains(" migrate starting ") && told[0].contains("migrate-"),
        "{told:?}"
    );
    let gate = desk.sandbox(&["logs", "gate-smoke"]).expect(2).err;
    assert!(gate.contains("unknown component `gate-smoke`"), "{gate}");
    let config = Desk::with(&services("  settings: {manifests: m.yaml}"));
    config.write("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n");
    config.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let none = config.sandbox(&["logs", "settings"]).expect(1).err;
    assert!(none.contains("has nothing in the release in force that runs in pods"), "{none}");
}
