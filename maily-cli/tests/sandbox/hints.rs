//! What a person is told to do next works as it is written.

use crate::desk::Desk;

const TWO: &str = "maily: 1\nproject: shop\nimages: 'registry.example/{service}:{version}'\n\
    environments:\n  staging: {namespace: shop-staging}\n  production: {namespace: shop}\n\
    services:\n  web: {workload: {port: 80}}\n  worker: {workload: {command: [worker]}}\n";

/// The command between backquotes that begins with these words.
fn command<'t>(text: &'t str, begins: &str) -> Vec<&'t str> {
    let commands = text.split('`').skip(1).step_by(2);
    let found =
        commands.filter_map(|command| command.strip_prefix("mailyctl ")).find(|rest| rest.contains(begins));
    found.unwrap_or_else(|| panic!("no `{begins}` in {text}")).split(' ').collect()
}

#[test]
fn a_deploy_that_nobody_can_approve_names_a_plan_that_can_be_made() {
    let desk = Desk::with(TWO);
    for deploy in
        [&["phased-deploy", "--version", "v1"][..], &["deploy", "--env", "production", "--version", "v1"]]
    {
        let told = desk.sandbox(deploy);
        assert!(told.code == 2 || told.code == 7, "{told:?}");
        let plan = command(&told.err, " plan ");
        desk.run(&plan).expect(0);
        assert!(desk.path().join("FILE").exists(), "{plan:?}");
        std::fs::remove_file(desk.path().join("FILE")).expect("is there");
    }
}

#[test]
fn a_plan_that_is_recommended_in_place_of_a_deploy_is_of_the_same_deploy() {
    let desk = Desk::with(TWO);
    let deploy = ["deploy", "--env", "production", "--version", "v1"];
    let options = ["--accept-new", "--allow-replace", "Deployment/web", "--force-conflicts=helm,kubectl"];
    let part = ["--components", "web", "--timeout", "90s"];
    let told = desk.sandbox(&[&deploy[..], &options, &part].concat()).expect(2);
    let plan = command(&told.err, " plan ");
    for option in options.into_iter().chain(part) {
        assert!(plan.contains(&option), "{option}: {plan:?}");
    }
    desk.run(&plan).expect(0);
    let saved = std::fs::read_to_string(desk.path().join("FILE")).expect("is written");
    let saved: serde_json::Value = serde_json::from_str(&saved).expect("is JSON");
    let steps = saved["steps"].as_array().expect("has steps");
    assert!(!steps.is_empty() && steps.iter().all(|step| step["service"] != "worker"), "{steps:#?}");
    assert!(steps.iter().any(|step| step["timeout_s"] == 90), "{steps:#?}");
}

#[test]
fn what_no_plan_can_be_saved_of_is_looked_at_instead() {
    let desk = Desk::with(TWO);
    desk.sandbox(&["phased-deploy", "--version", "v1", "--end-phase", "1", "--yes"]).expect(0);
    let told = desk.sandbox(&["phased-deploy", "--version", "v1", "--end-phase", "2"]);
    assert!(told.code == 2 || told.code == 7, "{told:?}");
    assert!(told.err.contains("`--dry-run`") && !told.err.contains(" plan "), "{}", told.err);
}

#[test]
fn what_init_recommends_works_also_in_the_sandbox() {
    let desk = Desk::empty();
    let told = desk.sandbox(&["init", "--name", "shop"]).expect(0).err;
    let next = told.lines().find_map(|line| line.strip_prefix("next: mailyctl ")).expect("is told");
    let next: Vec<&str> = next.split(' ').map(|word| if word == "VERSION" { "v1" } else { word }).collect();
    assert_eq!(next[..2], ["--sandbox", "deploy"], "{told}");
    desk.run(&[&next[..], &["--yes"]].concat()).expect(0);
    assert!(
        Desk::empty()
            .run(&["init", "--name", "shop"])
            .expect(0)
            .err
            .contains("--namespace NAMESPACE --create-namespace\n")
    );
}

#[test]
fn the_doctor_of_the_sandbox_speaks_of_no_bound_cluster() {
    let told = Desk::with(TWO).sandbox(&["doctor", "--env", "staging"]).expect(0).out;
    assert!(
        told.contains("the sandbox, namespace `shop-staging`") && !told.contains("bound cluster"),
        "{told}"
    );
}

#[test]
fn a_phase_that_is_not_there_is_said_to_be_none() {
    let desk = Desk::with(TWO);
    let told =
        desk.sandbox(&["phased-deploy", "--version", "v1", "--start-phase", "4", "--yes"]).expect(2).err;
    assert!(
        told.contains("no phase 4") && told.contains("3 phases") && !told.contains("end-phase"),
        "{told}"
    );
    let help = desk.run(&["phased-deploy", "--help"]).expect(0).out;
    assert!(help.contains("--start-phase <N>") && help.contains("--end-phase <N>"), "{help}");
}

#[test]
fn the_sandbox_keeps_itself_out_of_a_repository() {
    let desk = Desk::with(TWO);
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v1", "--yes"]).expect(0);
    let ignored = desk.path().join(".maily/.gitignore");
    assert_eq!(std::fs::read_to_string(&ignored).expect("is written"), "*\n");
    // Whoever wants it on record takes it out.
    std::fs::remove_file(&ignored).expect("is there");
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v2", "--yes"]).expect(0);
    assert!(!ignored.exists());
}

#[test]
fn every_short_help_says_where_the_other_options_are() {
    let desk = Desk::empty();
    let bare = desk.run(&[]);
    let line = "`--help` tells more, also of the options of every command: --sandbox, -C, -o, …";
    assert!(format!("{}{}", bare.out, bare.err).contains(line), "{bare:?}");
    for args in [&["-h"][..], &["deploy", "-h"], &["env", "bind", "-h"]] {
        let short = desk.run(args).expect(0).out;
        assert!(short.contains(line), "{short}");
        let mut long = args.to_vec();
        long.pop();
        long.push("--help");
        assert!(!desk.run(&long).expect(0).out.contains(line));
    }
    let first = "Deploys applications to Kubernetes as one journaled transaction";
    assert!(desk.run(&["-h"]).expect(0).out.starts_with(first));
}

#[test]
fn man_says_what_it_wrote() {
    let told = Desk::empty().run(&["man", "pages"]).expect(0).err;
    assert!(
        told.starts_with("wrote ") && told.contains(" man pages to `pages`: `man -l pages/mailyctl.1`"),
        "{told}"
    );
}

#[test]
fn who_removes_a_service_hears_that_the_file_still_has_it() {
    let desk = Desk::with(TWO);
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v1", "--yes"]).expect(0);
    let remove = ["remove", "--env", "staging", "--components", "worker", "--yes"];
    let told = desk.sandbox(&remove).expect(0);
    assert!(
        told.out.contains("the project file still has worker: the next deploy brings it back"),
        "{told:?}"
    );
    desk.write("maily.yaml", TWO.split("  worker:").next().expect("has one"));
    let told = desk.sandbox(&["remove", "--env", "staging", "--components", "web", "--dry-run"]).expect(0);
    assert!(told.out.contains("still has web"), "{told:?}");
}

#[test]
fn status_tells_that_nothing_is_left_and_that_the_last_run_went_back() {
    let desk = Desk::with(TWO);
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v1", "--yes"]).expect(0);
    let status = || desk.sandbox(&["status", "--env", "staging"]);
    assert!(!status().out.contains("last run"));
    desk.sandbox(&["sandbox", "fault", "add", "crash", "web@v2"]).expect(0);
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v2", "--yes"]).expect(3);
    let told = status().out;
    let line = told.lines().find(|line| line.contains("last run")).unwrap_or_else(|| panic!("{told}"));
    assert!(
        line.contains("deploy v2 was rolled back") && line.ends_with(" ago: release 1 stays in force"),
        "{line}"
    );
    desk.sandbox(&["remove", "--env", "staging", "--components", "all", "--yes"]).expect(0);
    let told = status().out;
    assert!(told.contains("no services") && !told.contains("last run"), "{told}");
}

#[test]
fn a_rollback_that_removes_says_so_once_and_at_the_end() {
    let only_web = TWO.split("  worker:").next().expect("has one");
    let critical = only_web.replace("web: {", "web: {critical: true, ");
    let more = format!(
        "{critical}  worker: {{workload: {{command: [worker]}}}}\n  other: {{workload: {{command: [other]}}}}\n"
    );
    let phases = "phases:\n  - {name: first, environment: staging, services: non-critical}\n  - {name: last, environment: staging, services: critical}\n";
    let desk = Desk::with(&format!("{critical}{phases}"));
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v1", "--yes"]).expect(0);
    desk.write("maily.yaml", &format!("{more}{phases}"));
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v2", "--yes"]).expect(0);
    let back = ["rollback", "--env", "staging", "--to-version", "v1", "--yes"];
    let told = desk.on_terminal(&[&["--sandbox"][..], &back].concat(), None);
    let (plan, run) =
        told.out.split_once("good to know").or_else(|| told.out.split_once("to delete")).expect("has both");
    assert_eq!(plan.matches("removed at the end").count(), 1, "{}", told.out);
    let (_, removed) = plan.split_once("removed at the end").expect("has one");
    assert!(removed.contains("- Deployment worker") && removed.contains("- Deployment other"), "{plan}");
    assert!(run.contains("removed at the end") && !run.contains("everything"), "{run}");
    let row = run.lines().rfind(|line| line.contains("worker")).expect("has one");
    assert!(row.contains("removed") && !row.contains("done"), "{row}");
}

#[test]
fn a_rollout_that_is_never_ready_names_the_pod_and_shows_the_end_of_its_log() {
    let desk = Desk::with(TWO);
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v1", "--yes"]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "never-ready", "web@v2"]).expect(0);
    let failed = desk
        .sandbox(&["deploy", "--env", "staging", "--version", "v2", "--timeout", "3s", "--yes"])
        .expect(3);
    let told = format!("{}{}", failed.out, failed.err);
    assert!(told.contains("seen at: Pod shop-staging/web-"), "{told}");
    assert!(told.contains("last lines of its log:"), "{told}");
    let help =
        "what `web` waits for, or why its readiness probe does not succeed; `--timeout` gives it more time";
    assert!(told.split_whitespace().collect::<Vec<_>>().join(" ").contains(help), "{told}");
    // The pod has gone with the version: its log cannot be asked for any more.
    assert!(!told.contains("logs --env staging web"), "{told}");
}

/// With several environments a command without `--env` asks which one.
#[test]
fn what_is_said_of_a_way_back_that_is_not_there_names_the_environment() {
    let desk = Desk::with(&format!("{TWO}history: {{releases: 1, age: 1s}}\n"));
    let run = |args: &[&str]| desk.sandbox(&[args, &["--env", "production", "--yes"]].concat());
    run(&["deploy", "--version", "v1"]).expect(0);
    let told = run(&["rollback", "--release", "7"]).expect(2).err;
    desk.run(&command(&told, "history")).expect(0);
    let told = run(&["rollback", "--last-good"]).expect(2).err;
    let mut remove = command(&told, "remove");
    remove.push("--dry-run");
    desk.run(&remove).expect(0);
    // Of two services only one can be brought to a version whose release is forgotten for the other.
    run(&["deploy", "--version", "v2", "--components", "web"]).expect(0);
    for version in ["v3", "v4", "v5"] {
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        run(&["deploy", "--version", version, "--components", "worker"]).expect(0);
    }
    let told = run(&["rollback", "--to-version", "v2"]).expect(2).err;
    let mut back = command(&told, "rollback");
    back.push("--dry-run");
    desk.run(&back).expect(0);
}

#[test]
fn a_filter_of_diagnostics_that_cannot_be_read_is_told() {
    let desk = Desk::with(TWO);
    let mut command = desk.command(&["--sandbox", "status", "--env", "staging"]);
    command.env("MAILY_LOG", "maily=loud");
    let told = crate::desk::done(command).expect(0).err;
    assert!(told.contains("warning: `MAILY_LOG`") && told.contains("maily=loud"), "{told}");
    let mut command = desk.command(&["--sandbox", "status", "--env", "staging"]);
    command.env("MAILY_LOG", "maily=warn");
    assert_eq!(crate::desk::done(command).expect(0).err, "");
}

/// `--timeout` gives a step with a time of its own none, nor one whose plan stands already.
#[test]
fn more_time_is_named_where_it_can_be_given() {
    let file = |more: &str| {
        format!(
            "maily: 1\nproject: shop\nimages: 'registry.example/{{service}}:{{version}}'\nenvironments:\n  \
             production: {{namespace: shop}}\nservices:\n  web: {{workload: {{port: 80}}}}\n{more}"
        )
    };
    let deploy = |more: &str, fault: &str, code: i32| {
        let desk = Desk::with(&file(more));
        desk.sandbox(&["sandbox", "fault", "add", "never-ready", fault]).expect(0);
        let deploy = ["deploy", "--env", "production", "--version", "v1", "--timeout", "2s", "--yes"];
        let told = desk.sandbox(&deploy).expect(code);
        format!("{}{}", told.out, told.err)
    };
    let gate = "phases: [{name: all, environment: production, gates: [web]}]\n\
        gates: {web: {job: {image: 'registry.example/web:e2e', timeout: 2s}}}\n";
    let told = deploy(gate, "web@e2e", 3);
    assert!(told.contains("the `timeout` of gate `web` gives it more time"), "{told}");
    assert!(!told.contains("`--timeout`"), "{told}");
    let job = "  schema: {before: web, job: {command: [up], timeout: 2s}}\n";
    for job in [job.to_owned(), job.replace(", timeout: 2s", "")] {
        let told = deploy(&job, "schema", 4);
        assert!(told.contains("resume --env production` waits once more"), "{told}");
        assert!(!told.contains("`--timeout`"), "{told}");
    }
    let told = deploy("", "web", 3);
    assert!(told.contains("`--timeout` gives it more time"), "{told}");
}

/// It runs on under the name that it was released by.
#[test]
fn a_service_of_a_new_name_that_was_not_deployed_since_is_removed_under_its_old_one() {
    let desk = Desk::with(TWO);
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v1", "--yes"]).expect(0);
    desk.write("maily.yaml", &TWO.replace("  worker: {", "  labourer: {aliases: [worker], "));
    let told =
        desk.sandbox(&["remove", "--env", "staging", "--components", "labourer", "--dry-run"]).expect(0).out;
    assert!(told.contains("Deployment worker"), "{told}");
    desk.sandbox(&["remove", "--env", "staging", "--components", "labourer", "--yes"]).expect(0);
    let status = desk.sandbox(&["status", "--env", "staging", "-o", "json"]).expect(0).json();
    let services = status["services"].as_array().expect("is a list");
    assert!(services.iter().all(|service| service["name"] != "worker"), "{status:#}");
}

#[test]
fn the_log_of_a_service_of_a_new_name_that_was_not_deployed_since_is_that_of_its_old_one() {
    let desk = Desk::with(TWO);
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v1", "--yes"]).expect(0);
    let before = desk.sandbox(&["logs", "worker", "--env", "staging"]).expect(0);
    desk.write("maily.yaml", &TWO.replace("  worker: {", "  labourer: {aliases: [worker], "));
    for name in ["labourer", "worker"] {
        let now = desk.sandbox(&["logs", name, "--env", "staging"]).expect(0);
        assert_eq!((&now.out, &now.err), (&before.out, &before.err), "{name}");
    }
    desk.sandbox(&["deploy", "--env", "staging", "--version", "v1", "--yes"]).expect(0);
    for name in ["labourer", "worker"] {
        desk.sandbox(&["logs", name, "--env", "staging"]).expect(0);
    }
}
