//! Sources that the user's own programs render.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    bad_input::services,
    desk::{Desk, Done, done, hearing_hangups},
    ways_back::scale_by_hand,
};

/// A chart with an application, a Job on each side of it, one for the first release alone, and a test.
fn chart(version: &str) -> String {
    let pods = format!("{{containers: [{{name: x, image: 'registry.example/api:{version}'}}]}}");
    let job = |name: &str, annotations: &str| {
        format!(
            "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec: {{backoffLimit: 0, template: {{spec: {pods}}}}}\n"
        )
    };
    [
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: api}}\nspec: {{selector: {{matchLabels: {{app: api}}}}, template: {{metadata: {{labels: {{app: api}}}}, spec: {pods}}}}}\n"),
        job("warm", "helm.sh/hook: 'post-install,post-upgrade', helm.sh/hook-delete-policy: hook-succeeded"),
        job("migrate", "helm.sh/hook: 'pre-install,pre-upgrade'"),
        job("seed", "helm.sh/hook: pre-install, helm.sh/hook-weight: '-1'"),
        job("probe", "helm.sh/hook: test"),
    ]
    .concat()
}

const MANIFEST: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: rendered}\ndata: {a: b}\n";

/// A program of this name that writes down how it was called and prints a text.
fn program(desk: &Desk, name: &str, prints: &str) {
    script(desk, name, &format!("echo \"$@\" >> {name}.called\ncat <<'END'\n{prints}END\n"));
}

fn script(desk: &Desk, name: &str, lines: &str) {
    desk.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{lines}"));
    let path = desk.path().join("bin").join(name);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("is ours");
}

fn plan(desk: &Desk) -> Done {
    run(desk, &["plan", "--version", "v1"])
}

/// A command with the programs of the desk.
fn run(desk: &Desk, args: &[&str]) -> Done {
    done(with_programs(desk, args))
}

fn with_programs(desk: &Desk, args: &[&str]) -> std::process::Command {
    let mut command = desk.command(&["--sandbox"]);
    command.args(args);
    command.env("PATH", format!("{}:/bin:/usr/bin", desk.path().join("bin").display()));
    command
}

fn called(desk: &Desk, name: &str) -> String {
    std::fs::read_to_string(desk.path().join(format!("{name}.called"))).expect("was called")
}

#[test]
fn a_chart_gets_its_values_and_the_version() {
    let desk = Desk::with(&services(
        "  search: {helm: {chart: charts/search, release: find, values: ['values/{env}.yaml'], set: {image.tag: '{version}', list: 'a,b', replicas: 2, port: '80'}}}",
    ));
    program(&desk, "helm", MANIFEST);
    let shown = plan(&desk).expect(0);
    assert!(shown.out.contains("+ ConfigMap rendered"), "{}", shown.out);
    assert_eq!(
        called(&desk, "helm"),
        "template find charts/search --namespace shop --include-crds --skip-tests --values values/production.yaml --set-string image.tag=v1 --set-string list=a\\,b --set replicas=2 --set-string port=80\n"
    );
}

#[test]
fn a_kustomization_is_built_in_the_project_folder() {
    let desk = Desk::with(&services("  web: {kustomize: 'overlays/{env}'}"));
    program(&desk, "kustomize", MANIFEST);
    plan(&desk).expect(0);
    assert_eq!(called(&desk, "kustomize"), "build overlays/production\n");
}

/// What is shown of a plan that is refused comes from the same look.
#[test]
fn a_plan_that_drift_refuses_is_rendered_once() {
    let desk = Desk::with(&services("  web: {kustomize: 'overlays/{env}'}"));
    let web = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: \
               {app: web}}\n  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: x, image: \
               'registry.example/web:1'}]}}\n";
    program(&desk, "kustomize", web);
    run(&desk, &["deploy", "--version", "v1", "--yes"]).expect(0);
    scale_by_hand(&desk);
    std::fs::remove_file(desk.path().join("kustomize.called")).expect("was called");
    let refused = plan(&desk).expect(1);
    assert!(refused.out.contains("spec.replicas: 3 → 1"), "{}", refused.out);
    assert!(
        refused.err.contains("this is the plan with `--force-conflicts`; without it:"),
        "{}",
        refused.err
    );
    assert_eq!(called(&desk, "kustomize"), "build overlays/production\n");
}

/// The programs of the desk and no other: what this machine has beside them is not found.
fn alone(desk: &Desk) -> Done {
    let mut command = desk.command(&["--sandbox", "plan", "--version", "v1"]);
    command.env("PATH", desk.path().join("bin"));
    done(command)
}

#[test]
fn without_kustomize_kubectl_builds_and_without_both_that_is_said() {
    let desk = Desk::with(&services("  web: {kustomize: 'overlays/{env}'}"));
    let kubectl = format!("PATH=/bin:/usr/bin\necho \"$@\" >> kubectl.called\ncat <<'END'\n{MANIFEST}END\n");
    script(&desk, "kubectl", &kubectl);
    let shown = alone(&desk).expect(0).out;
    assert!(shown.contains("+ ConfigMap rendered"), "{shown}");
    assert_eq!(called(&desk, "kubectl"), "kustomize overlays/production\n");
    // Where it is there it is taken, and its failure is no reason to ask another one.
    script(&desk, "kustomize", "echo 'no such overlay' >&2\nexit 1\n");
    let refused = alone(&desk).expect(2).err;
    assert!(refused.contains("kustomize: failed (exit status: 1): no such overlay"), "{refused}");
    assert_eq!(called(&desk, "kubectl").lines().count(), 1);
    for name in ["kustomize", "kubectl"] {
        std::fs::remove_file(desk.path().join("bin").join(name)).expect("is ours");
    }
    let refused = alone(&desk).expect(2).err;
    let said = "kustomize: is not installed, nor is kubectl, which has one of its own";
    assert!(refused.contains(said) && refused.contains("help: install it"), "{refused}");
    let history = desk.sandbox(&["history", "-o", "json"]).expect(0).json();
    assert_eq!(history["runs"], serde_json::json!([]));
}

#[test]
fn what_a_program_prints_is_checked_like_any_manifest() {
    let desk = Desk::with(&services("  web: {kustomize: overlay}"));
    program(&desk, "kustomize", "metadata: {name: a}\n");
    let refused = plan(&desk).expect(2);
    assert!(refused.err.contains("kustomize overlay:1:1: an object without `kind`"), "{}", refused.err);
    script(&desk, "kustomize", "echo 'no such overlay' >&2\nexit 1\n");
    let refused = plan(&desk).expect(2);
    assert!(refused.err.contains("kustomize: failed (exit status: 1): no such overlay"), "{}", refused.err);
    script(&desk, "kustomize", "printf 'kind: ConfigMap\\nname: \\377\\n'\n");
    let refused = plan(&desk).expect(2);
    assert!(refused.err.contains("kustomize: printed no UTF-8\n  help: run it by hand"), "{}", refused.err);
}

#[test]
fn what_a_program_says_beside_its_output_is_told_and_not_kept() {
    let desk = Desk::with(&services("  search: {helm: {chart: charts/search, set: {key: hunter3}}}"));
    let said = "echo 'warning: password=hunter2 is skipped' >&2";
    script(&desk, "helm", &format!("{said}\ncat <<'END'\n{MANIFEST}END\n"));
    let shown = plan(&desk).expect(0);
    assert!(shown.err.contains("! helm: warning: password=hunter2 is skipped"), "{}", shown.err);
    let note =
        "warnings: `helm template search charts/search` succeeded and printed a line on standard error";
    assert!(shown.out.contains(note), "{}", shown.out);
    let machine = run(&desk, &["plan", "--version", "v1", "-o", "json"]).expect(0);
    assert_eq!(
        (machine.err.as_str(), &machine.json()["plan"]["notes"][0]["topic"]),
        ("", &"warnings".into())
    );
    // A plan is kept for ever: no value that a warning quotes is.
    assert!(!shown.out.contains("hunter") && !machine.out.contains("hunter"), "{}", machine.out);
}

#[test]
fn the_last_words_of_a_program_that_fails_are_told() {
    let desk = Desk::with(&services("  web: {kustomize: overlay}"));
    script(&desk, "kustomize", "for i in 1 2 3 4 5 6 7; do echo \"word $i\" >&2; done\nexit 3\n");
    let refused = plan(&desk).expect(2).err;
    assert!(refused.contains("kustomize: failed (exit status: 3): word 3\nword 4\nword 5\nword 6\nword 7\n"));
    assert!(!refused.contains("word 2"), "{refused}");
}

#[test]
fn a_program_that_hangs_is_told_and_ends_with_the_command() {
    let desk = Desk::with(&services("  search: {helm: {chart: charts/search, set: {key: hunter3}}}"));
    script(&desk, "helm", "sleep 61 &\necho $! > child\nwait\n");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut command = hearing_hangups(&with_programs(&desk, &["deploy", "--version", "v1", "--yes"]));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines();
        let mut next = || lines.next().expect("says more").expect("is text");
        let begun = Instant::now();
        assert_eq!(next(), "waits for `helm template search charts/search` to end, at most 120 s");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let left = std::fs::read_to_string(desk.path().join("child")).expect("was written");
        kill_process(Pid::from_child(&child), signal).expect("is ours");
        assert_eq!(next(), "error: interrupted before any change");
        assert_eq!(child.wait().expect("ends").code(), Some(130));
        let until = Instant::now() + Duration::from_secs(5);
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", left.trim())).unwrap_or_default();
        while !state().is_empty() && !state().contains(") Z ") {
            assert!(Instant::now() < until, "it lives on: {}", state());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Places of texts in a text.
#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut from = 0;
    for part in parts {
        let Some(at) = text[from..].find(part) else {
            panic!("`{part}` is not where it should be in:\n{text}")
        };
        from += at + part.len();
    }
}

#[test]
fn hooks_of_a_chart_run_around_its_service() {
    let desk = Desk::with(&services("  api: {helm: {chart: charts/api}}"));
    program(&desk, "helm", &chart("v1"));
    let shown = plan(&desk).expect(0).out;
    let around = ["▸ run Job seed", "▸ run Job migrate", "+ Deployment api", "▸ run Job warm"];
    in_order(&shown, &around);
    assert!(shown.contains("Job/probe is for `helm test`, and no part of a release"), "{shown}");
    let first = run(&desk, &["deploy", "--version", "v1", "--yes"]).expect(0).out;
    in_order(
        &first,
        &["done  api job seed", "done  api job migrate", "done  api rollout", "done  api job warm"],
    );
    // Nothing changes, nothing runs.
    let same = run(&desk, &["deploy", "--version", "v1", "--yes"]).expect(0).out;
    assert!(!same.contains("job"), "{same}");
    program(&desk, "helm", &chart("v2"));
    let second = run(&desk, &["deploy", "--version", "v2", "--yes"]).expect(0).out;
    in_order(&second, &["done  api job migrate", "done  api rollout", "done  api job warm"]);
    assert!(!second.contains("seed"), "is for the first release alone:\n{second}");
    // A migration that fails is seen before anything rolls out.
    program(&desk, "helm", &chart("v3"));
    desk.sandbox(&["sandbox", "fault", "add", "crash", "migrate@v3"]).expect(0);
    let failed = run(&desk, &["deploy", "--version", "v3", "--yes"]).expect(4);
    assert!(failed.out.contains("fail  api job migrate") && !failed.out.contains("rollout"), "{failed:?}");
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    let resumed = desk.sandbox(&["resume", "--output", "text"]).expect(0).out;
    in_order(&resumed, &["done  api job migrate", "done  api rollout", "done  api job warm"]);
}

/// It is the same service, and has been installed.
#[test]
fn a_service_of_another_name_runs_no_hooks_of_a_first_release() {
    let desk = Desk::with(&services("  api: {helm: {chart: charts/api}}"));
    program(&desk, "helm", &chart("v1"));
    let first = run(&desk, &["deploy", "--version", "v1", "--yes"]).expect(0).out;
    assert!(first.contains("done  api job seed"), "{first}");
    for (version, name, service) in [
        ("v2", "front", "  front: {aliases: [api], helm: {chart: charts/api}}"),
        ("v3", "face", "  face: {helm: {chart: charts/api}}"),
    ] {
        desk.write("maily.yaml", &services(service));
        program(&desk, "helm", &chart(version));
        let next = run(&desk, &["deploy", "--version", version, "--yes"]).expect(0).out;
        in_order(&next, &[&format!("done  {name} job migrate"), &format!("done  {name} rollout")]);
        assert!(!next.contains("job seed"), "is for the first release alone:\n{next}");
    }
}

#[test]
fn hooks_without_a_moment_or_a_service_are_refused_with_their_place() {
    let desk = Desk::with(&services("  api: {manifests: m.yaml}"));
    desk.write("m.yaml", &chart("v1").replace("pre-install,pre-upgrade", "pre-delete"));
    let refused = plan(&desk).expect(2).err;
    in_order(&refused, &["`m.yaml:", "Job/migrate is a Helm hook (`pre-delete`)", "help: turn it off"]);
    let shared = format!("{}sources: {{all: {{manifests: m.yaml}}}}\n", services("  api: {from: all}"));
    desk.write("maily.yaml", &shared);
    desk.write("m.yaml", &chart("v1"));
    let refused = plan(&desk).expect(2).err;
    assert!(refused.contains("which service of `all` it belongs to is not known"), "{refused}");
    // A project that is derived from such manifests says so, and makes no service of a hook.
    let derived =
        desk.run(&["init", "--from", "m.yaml", "--version", "v1", "--name", "shop", "--force"]).expect(0);
    assert!(derived.err.contains("Job/migrate is a Helm hook"), "{}", derived.err);
    let file = std::fs::read_to_string(desk.path().join("maily.yaml")).expect("is written");
    assert!(file.contains("  api:") && !file.contains("  migrate:"), "{file}");
}

#[test]
fn a_hook_and_a_job_of_the_file_have_names_of_their_own() {
    let desk = Desk::with(&services(
        "  api: {manifests: m.yaml}\n  migrate: {before: api, image: 'a:1', job: {command: [up]}}",
    ));
    desk.write("m.yaml", &chart("v1"));
    let refused = plan(&desk).expect(2).err;
    assert!(refused.contains("`migrate` is a job of the file, too"), "{refused}");
}

/// What `doctor` says of a program.
fn doctored(desk: &Desk) -> Done {
    run(desk, &["doctor", "--env", "production"])
}

#[test]
fn doctor_asks_for_the_program_that_renders() {
    let desk = Desk::with(&services("  web: {kustomize: 'overlays/{env}'}"));
    script(&desk, "kubectl", "exit 1\n");
    let told = doctored(&desk).expect(1);
    assert!(told.out.contains("✗ kustomize") && told.out.contains("install it"), "{}", told.out);
    // A release falls back to kubectl's own.
    program(&desk, "kubectl", "v5.7.1\n");
    let told = doctored(&desk);
    assert!(told.out.contains("✓ kustomize") && told.out.contains("kubectl kustomize"), "{}", told.out);
    let asked = called(&desk, "kubectl");
    assert!(asked.starts_with("kustomize --help\n"), "{asked}");
    program(&desk, "kustomize", "v5.7.1\n");
    let told = doctored(&desk);
    assert!(told.out.contains("✓ kustomize") && !told.out.contains("kubectl"), "{}", told.out);
}

#[test]
fn doctor_does_not_call_a_broken_program_well() {
    let desk = Desk::with(&services("  search: {helm: {chart: charts/search}}"));
    script(&desk, "helm", "echo 'no such library' >&2\nexit 127\n");
    let told = doctored(&desk).expect(1);
    for part in ["✗ helm", "no such library", "run `helm version` by hand"] {
        assert!(told.out.contains(part), "`{part}` in {}", told.out);
    }
}

#[test]
fn a_hook_and_a_job_of_another_service_or_a_gate_have_names_of_their_own() {
    let others =
        "  web: {workload: {port: 80}}\n  migrate: {before: web, image: 'a:1', job: {command: [up]}}";
    let desk = Desk::with(&services(&format!("  api: {{manifests: m.yaml}}\n{others}")));
    desk.write("m.yaml", &chart("v1"));
    let refused = plan(&desk).expect(2).err;
    assert!(
        refused.contains("`m.yaml:") && refused.contains("`migrate` is a job of the file, too"),
        "{refused}"
    );
    let gate =
        "gates: {x: {job: {image: 'e2e:1'}}}\nphases: [{name: p, environment: production, gates: [x]}]";
    let desk = Desk::with(&format!("{}{gate}\n", services("  api: {manifests: m.yaml}")));
    desk.write("m.yaml", &chart("v1").replace("migrate", "gate-p-x"));
    let refused = plan(&desk).expect(2).err;
    assert!(
        refused.contains("`m.yaml:") && refused.contains("`gate-p-x` is the Job of gate `x`, too"),
        "{refused}"
    );
    let job = "  api: {workload: {port: 80}}\n  gate-p-x: {before: api, image: 'a:1', job: {command: [up]}}";
    let desk = Desk::with(&format!("{}{gate}\n", services(job)));
    let refused = plan(&desk).expect(2).err;
    assert!(refused.contains("`gate-p-x` is the Job of gate `x`, too"), "{refused}");
    assert!(refused.contains("help: give one of them another name"), "{refused}");
}

#[test]
fn a_value_of_a_chart_arrives_as_it_is_written() {
    let desk = Desk::with(&services(
        r#"  search: {helm: {chart: charts/search, set: {dir: 'C:\x', opts: '{"a":1,"b":[]}', last: 'a\', inner: 'a{B}'}}}"#,
    ));
    script(&desk, "helm", &format!("printf '%s\\n' \"$@\" > helm.called\ncat <<'END'\n{MANIFEST}END\n"));
    plan(&desk).expect(0);
    let called = called(&desk, "helm");
    let set: Vec<&str> = called.lines().filter(|line| line.contains('=')).collect();
    let wanted = [r"dir=C:\\x", r#"opts=\{"a":1\,"b":[]}"#, r"last=a\\", r"inner=a{B}"];
    assert_eq!(set, wanted);
}

#[test]
fn the_doctor_tells_whom_it_waits_for_and_what_that_one_remarks() {
    let desk = Desk::with(&services("  search: {helm: {chart: charts/search}}"));
    let slow = format!(
        "[ \"$1\" = template ] || exit 0\nsleep 3\necho deprecated >&2\ncat <<'END'\n{MANIFEST}END\n"
    );
    script(&desk, "helm", &slow);
    let told = run(&desk, &["doctor", "--version", "v1"]).expect(0).err;
    assert!(told.contains("waits for `helm template") && told.contains("helm: deprecated"), "{told}");
}

#[test]
fn a_doctor_that_ends_in_failure_says_why_however_quiet_it_has_to_be() {
    let desk = Desk::with(&services("  search: {helm: {chart: charts/search}}"));
    let unwell = format!("[ \"$1\" = template ] || exit 7\ncat <<'END'\n{MANIFEST}END\n");
    script(&desk, "helm", &unwell);
    let told = run(&desk, &["-q", "doctor", "--role", "--version", "v1"]).expect(1).err;
    assert!(told.contains("helm") && told.contains("failed (exit status: 7)"), "{told}");
}

/// What a program says is shown, and gives the runner of a job no command.
#[test]
fn a_program_gives_the_runner_of_a_job_no_command() {
    let desk = Desk::with(&services("  api: {helm: {chart: chart}}"));
    desk.write("chart/Chart.yaml", "name: api\n");
    let says =
        ["::stop-commands::x", "  ::error::theirs", "a ##[add-mask]theirs", "\u{1b}]0;title\u{7}"].join("\n");
    script(&desk, "helm", &format!("cat >&2 <<'END'\nbad chart\n{says}\nEND\nexit 1\n"));
    let job = |args: &[&str]| {
        let mut command = with_programs(&desk, args);
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", desk.path().join("summary.md"));
        done(command)
    };
    let told = job(&["plan", "--version", "v1"]);
    assert!(told.code != 0 && told.err.contains("theirs"), "{told:?}");
    for line in told.out.lines().chain(told.err.lines()) {
        let ours = line.starts_with("::error title=mailyctl::");
        assert!(ours || !line.trim_start().starts_with("::"), "{line}");
        assert!(ours || !line.contains("##["), "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains('\u{7}'), "{line:?}");
    }
    assert!(told.out.contains("::error title=mailyctl::"), "{told:?}");
    // As JSON the error is one document, and nothing else is on standard error.
    let told = job(&["plan", "--version", "v1", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&told.err).expect("is one document");
    assert!(
        document["message"].as_str().is_some_and(|text| text.contains("a ##[add-mask]theirs")),
        "{document}"
    );
    assert!(!told.err.contains("##[") && told.out.is_empty(), "{told:?}");
    let summary = std::fs::read_to_string(desk.path().join("summary.md")).expect("is written");
    assert_eq!(summary.matches("mailyctl failed").count(), 2, "{summary}");
}
