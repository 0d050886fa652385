//! What machines read: documents and events fit the schemas that the program prints, and nothing stands between them.

use maily_testkit::harness::{Loopback, Reply};
use serde_json::{Value, json};

use crate::desk::{Desk, done};

/// Checks a value against the part of JSON Schema that the program's schemas use.
fn fits(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    let Some(schema) = schema.as_object() else { return Ok(()) };
    for (key, rule) in schema {
        match key.as_str() {
            "$ref" => {
                let pointer = rule.as_str().and_then(|text| text.strip_prefix('#')).expect("is local");
                fits(value, root.pointer(pointer).expect("is defined"), root)?;
            }
            "allOf" => rule.as_array().expect("a list").iter().try_for_each(|one| fits(value, one, root))?,
            "oneOf" | "anyOf" => {
                let fitting = rule.as_array().expect("a list").iter();
                let count = fitting.filter(|one| fits(value, one, root).is_ok()).count();
                if count == 0 || (key == "oneOf" && count > 1) {
                    return Err(format!("{value} fits {count} of {key}"));
                }
            }
            "const" if value != rule => return Err(format!("{value} is not {rule}")),
            "enum" if !rule.as_array().expect("a list").contains(value) => {
                return Err(format!("{value} is none of {rule}"));
            }
            "type" => {
                let is = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(number) if number.is_f64() => "number",
                    Value::Number(_) => "integer",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                if *rule != is && !rule.as_array().is_some_and(|all| all.contains(&json!(is))) {
                    return Err(format!("{value} is {is}, not {rule}"));
                }
            }
            "required" => {
                for name in rule.as_array().expect("a list") {
                    if value.is_object() && value.get(name.as_str().expect("a name")).is_none() {
                        return Err(format!("{value} lacks {name}"));
                    }
                }
            }
            "items" => value.as_array().into_iter().flatten().try_for_each(|one| fits(one, rule, root))?,
            "properties" => {
                for (name, rule) in rule.as_object().expect("a map") {
                    value.get(name).map_or(Ok(()), |value| fits(value, rule, root))?;
                }
            }
            "additionalProperties" if rule.is_object() => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| !known.contains_key(name)) {
                        fits(value, rule, root)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[track_caller]
fn check(desk: &Desk, of: &str, value: &Value) {
    let schema = desk.run(&["schema", "--for", of]).expect(0).json();
    if let Err(message) = fits(value, &schema, &schema) {
        panic!("{of}: {message}");
    }
    // What a reader may rely on is described, not only allowed.
    let described = schema["properties"].as_object().expect("has properties");
    let events = schema["oneOf"].as_array().into_iter().flatten();
    let events: Vec<&Value> = events.filter(|one| fits(value, one, &schema).is_ok()).collect();
    for name in value.as_object().expect("is a map").keys() {
        let known = described.contains_key(name)
            || events.iter().any(|event| event["properties"].get(name).is_some());
        assert!(known, "{of} does not describe `{name}`");
    }
}

#[test]
fn documents_and_events_fit_their_schemas() {
    let desk = Desk::example();
    let production = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--env", "production", "-o", "json"]);
        desk.sandbox(&all)
    };
    check(&desk, "status", &production(&["status"]).expect(0).json());
    check(&desk, "plan", &production(&["plan", "--version", "v1.0.0"]).expect(0).json());
    let mut lines = production(&["deploy", "--version", "v1.0.0", "--yes"]).expect(0).out;
    lines.push_str(&production(&["deploy", "--version", "v1.0.0", "--yes"]).expect(0).out);
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api@v1.1.0"]).expect(0);
    lines.push_str(&production(&["deploy", "--version", "v1.1.0", "--yes"]).expect(3).out);
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    let mut kinds: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in ["run-started", "step-failed", "turned", "undone", "run-finished", "unchanged"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
        let event = events.iter().find(|event| event["event"] == kind).expect("was told");
        check(&desk, "event", event);
    }
    check(&desk, "plan", &production(&["plan", "--version", "v1.1.0"]).expect(0).json());
    check(&desk, "status", &production(&["status"]).expect(0).json());
    check(&desk, "history", &production(&["history"]).expect(0).json());
    let logs = production(&["logs", "api"]).expect(0).out;
    check(&desk, "log", &serde_json::from_str(logs.lines().next().expect("has lines")).expect("is JSON"));
    let error = production(&["rollback", "--to-version", "v9"]).expect(2).err;
    check(&desk, "error", &serde_json::from_str(&error).expect("is JSON"));
}

/// Events of a command, each of which fits the schema.
fn events(desk: &Desk, lines: &str) -> Vec<Value> {
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    events.iter().for_each(|event| check(desk, "event", event));
    events
}

#[test]
fn every_end_is_the_last_event_and_says_what_a_person_has_to_do() {
    let desk = Desk::with(
        "maily: 1\nproject: shop\nimages: 'r.example/{service}:{version}'\nenvironments: {production: {}}\nservices:\n\
         \x20 api: {workload: {port: 80}}\n\
         \x20 schema: {before: api, job: {image: 'r.example/schema:{version}', command: [up]}}\n",
    );
    let production = |args: &[&str]| desk.sandbox(&[args, &["--env", "production", "-o", "json"]].concat());
    desk.sandbox(&["sandbox", "fault", "add", "crash", "schema@v1"]).expect(0);
    // Past a step that cannot be undone only a person helps.
    let stuck = events(&desk, &production(&["deploy", "--version", "v1", "--yes"]).expect(4).out);
    let last = stuck.last().expect("has lines");
    assert_eq!(last["event"], "paused", "{last}");
    let item = &last["items"][0];
    assert!(item["step"].as_str().is_some_and(|step| step.contains("schema")), "{last}");
    assert!(item["remedy"].as_str().is_some_and(|remedy| remedy.contains("mailyctl resume")), "{last}");
    // And whoever looks at it later, too.
    let shown = production(&["show", "run"]).expect(0).json();
    check(&desk, "run", &shown);
    let paused = shown["events"].as_array().and_then(|entries| entries.last()).expect("has entries");
    assert_eq!(paused["entry"]["items"][0]["remedy"], item["remedy"], "{paused}");
    let text = desk.sandbox(&["show", "run", "--env", "production"]).expect(0).out;
    assert!(text.lines().any(|line| line.contains("pause") && line.contains("to do:")), "{text}");
    let left = events(&desk, &production(&["abort", "--leave", "--yes"]).expect(4).out);
    let last = left.last().expect("an end without a word is none");
    assert_eq!((&last["event"], &last["outcome"]["result"]), (&json!("run-finished"), &json!("stuck")));
}

#[test]
fn what_is_shown_fits_its_schema() {
    let desk = Desk::example();
    let sandbox = |args: &[&str]| desk.sandbox(&[args, &["-o", "json"]].concat());
    check(&desk, "show-project", &sandbox(&["show", "project"]).expect(0).json());
    check(&desk, "environments", &sandbox(&["env", "list"]).expect(0).json());
    check(&desk, "doctor", &sandbox(&["doctor", "--env", "production"]).expect(0).json());
    check(&desk, "faults", &sandbox(&["sandbox", "fault", "list"]).expect(0).json());
    check(&desk, "clock", &sandbox(&["sandbox", "clock"]).expect(0).json());
    for command in ["resume", "abort"] {
        check(&desk, "no-run", &sandbox(&[command, "--env", "production"]).expect(0).json());
    }
    let nothing = sandbox(&["remove", "--env", "production", "--components", "all", "--yes"]).expect(0);
    check(&desk, "event", &nothing.json());
    sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    check(&desk, "release", &sandbox(&["show", "release", "--env", "production"]).expect(0).json());
    check(&desk, "run", &sandbox(&["show", "run", "--env", "production"]).expect(0).json());
    // A run that failed and went back has the other entries.
    sandbox(&["sandbox", "fault", "add", "crash", "api@v1.1.0"]).expect(0);
    sandbox(&["deploy", "--env", "production", "--version", "v1.1.0", "--yes", "--reason", "why"]).expect(3);
    let run = sandbox(&["show", "run", "--env", "production"]).expect(0).json();
    check(&desk, "run", &run);
    let entries = run["events"].as_array().expect("is a list");
    for kind in ["step-failed", "turned", "undone"] {
        assert!(entries.iter().any(|one| one["entry"]["event"] == kind), "{kind} in {entries:?}");
    }
}

#[test]
fn a_derived_project_and_a_sick_environment_fit_their_schemas() {
    let desk = Desk::empty();
    desk.write(
        "k8s/web.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: 'r.example/web:v1'}]}}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: alone}\n",
    );
    let made = desk
        .run(&["init", "--from", "k8s", "--version", "v1", "--name", "shop", "-o", "json"])
        .expect(0)
        .json();
    check(&desk, "init", &made);
    assert_eq!(
        (&made["services"], made["remarks"].as_array().map(Vec::len)),
        (&json!(["web"]), Some(1)),
        "{made}"
    );
    // A program that is missing.
    desk.write(
        "maily.yaml",
        "maily: 1\nproject: shop\nenvironments: {production: {}}\nservices: {web: {helm: {chart: c}}}\n",
    );
    let mut command = desk.command(&["--sandbox", "doctor", "-o", "json"]);
    command.env("PATH", "");
    let sick = done(command).expect(1).json();
    check(&desk, "doctor", &sick);
    assert_eq!(sick["healthy"], false, "{sick}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_fits_its_schema() {
    let server = Loopback::serve(|request| {
        let kind = |name: &str, plural: &str| json!({"name": plural, "kind": name, "namespaced": false, "singularName": "", "verbs": ["get", "patch"]});
        let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": "u-1", "resourceVersion": "1"}});
        let body = match request.path.as_str() {
            "/version" => json!({"gitVersion": "v1.36.0"}),
            "/api/v1" => {
                json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [kind("Namespace", "namespaces")]})
            }
            path => namespace(path.rsplit('/').next().unwrap_or_default()),
        };
        Reply::new(200, body.to_string()).header("content-type", "application/json")
    });
    let server = server.await.expect("has a port");
    let desk = Desk::with(
        "maily: 1\nproject: shop\nservices: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n",
    );
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: '{}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n",
        server.url()
    );
    desk.write("kubeconfig", &kubeconfig);
    let bound = desk
        .run(&[
            "--kubeconfig",
            "kubeconfig",
            "env",
            "bind",
            "production",
            "--namespace",
            "shop",
            "-o",
            "json",
        ])
        .expect(0)
        .json();
    check(&desk, "binding", &bound);
    assert_eq!((&bound["context"], &bound["cluster"]["uid"]), (&json!("c"), &json!("u-1")));
    let listed = desk.run(&["env", "list", "-o", "json"]).expect(0).json();
    check(&desk, "environments", &listed);
    assert_eq!(listed["environments"][0]["identity"]["uid"], "u-1");
}

#[test]
fn a_command_line_that_is_not_understood_is_a_document_too() {
    let desk = Desk::example();
    for (args, said, helps) in [
        (&["statsu"][..], "statsu", "status"),
        (&["deploy", "--version"], "--version", ""),
        (&["deploy", "--env", "production"], "--version", "Usage"),
        (&["status", "--evn", "production"], "--evn", "Usage"),
        (&["rollback"], "--last-good", "Usage"),
        (&["phased-deploy", "--version", "v1", "--start-phase", "0"], "--start-phase", ""),
        (&[], "subcommand", "Usage"),
        (&["env"], "a command is missing", "--help"),
    ] {
        for form in [&["--output=json"][..], &["-o", "json"]] {
            let refused = desk.run(&[form, args].concat()).expect(2);
            let error: Value =
                serde_json::from_str(&refused.err).unwrap_or_else(|e| panic!("{e}: {}", refused.err));
            check(&desk, "error", &error);
            assert_eq!(
                (&error["kind"], &error["code"], refused.out.as_str()),
                (&json!("error"), &json!(2), "")
            );
            let message = error["message"].as_str().expect("is text");
            assert!(message.contains(said) && !message.starts_with("error"), "{message}");
            assert!(error["help"].as_str().unwrap_or_default().contains(helps), "{error}");
        }
    }
    // Who asks for no JSON gets clap's own text, and help stays help.
    assert!(desk.run(&["statsu"]).expect(2).err.starts_with("error: "));
    assert!(desk.run(&["-o", "json", "--help"]).expect(0).out.contains("Usage"));
}

#[test]
fn the_schema_check_notices_what_does_not_fit() {
    let schema = Desk::empty().run(&["schema", "--for", "status"]).expect(0).json();
    let good = json!({"format": 1, "kind": "status", "environment": "e", "release": null, "run": null, "holder": null, "fence": {"state": "not-installed"}, "services": []});
    assert_eq!(fits(&good, &schema, &schema), Ok(()));
    for (name, value) in
        [("format", json!(2)), ("services", json!([{"name": "a"}])), ("environment", json!(1))]
    {
        let mut bad = good.clone();
        bad[name] = value;
        assert!(fits(&bad, &schema, &schema).is_err(), "{bad}");
    }
}

#[test]
fn several_plans_are_one_document_a_line() {
    let desk = Desk::example();
    let told = desk.sandbox(&["phased-deploy", "--version", "v1.0.0", "--dry-run", "-o", "json"]).expect(0);
    let plans: Vec<Value> =
        told.out.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    let environments: Vec<&Value> = plans.iter().map(|document| &document["plan"]["environment"]).collect();
    assert_eq!(environments, ["staging", "production"]);
    check(&desk, "plan", &plans[0]);
}

/// A command in GitHub Actions.
fn github(desk: &Desk, args: &[&str]) -> crate::desk::Done {
    let mut command = desk.command(args);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", desk.path().join("summary.md"));
    done(command)
}

#[test]
fn annotations_do_not_stand_between_json_lines() {
    let desk = Desk::example();
    let args = ["--sandbox", "deploy", "--env", "production", "--version", "v1.0.0", "--yes", "-o", "json"];
    let told = github(&desk, &args).expect(0);
    for line in told.out.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert!(told.err.contains("::group::") && told.err.contains("::endgroup::"), "{}", told.err);
    let summary = std::fs::read_to_string(desk.path().join("summary.md")).expect("is written");
    assert!(summary.contains("production is at release 1"), "{summary}");
}

#[test]
fn every_group_ends_and_every_failure_is_annotated() {
    let desk = Desk::example();
    let told = github(&desk, &["--sandbox", "phased-deploy", "--version", "v1.0.0", "--yes"]).expect(0);
    assert_eq!(told.out.matches("::group::").count(), 2, "{}", told.out);
    assert_eq!(told.out.matches("::endgroup::").count(), 2, "{}", told.out);
    let refused = github(&desk, &["--sandbox", "status", "--env", "prodction"]).expect(2);
    assert!(refused.out.contains("::error title=mailyctl::unknown environment"), "{}", refused.out);
    let summary = std::fs::read_to_string(desk.path().join("summary.md")).expect("is written");
    assert!(summary.contains("unknown environment `prodction`"), "{summary}");
}

#[test]
fn recommended_commands_work_where_they_are_read() {
    let desk = Desk::example();
    let folder = desk.path().display().to_string();
    let args = ["--sandbox", "-C", &folder, "deploy", "--env", "production", "--version", "v1.1.0", "--yes"];
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    desk.sandbox(&["sandbox", "fault", "add", "crash", "api@v1.1.0"]).expect(0);
    let failed = done(desk.command(&args)).expect(3);
    let wanted = format!("mailyctl -C {folder} --sandbox show run --env production ");
    let line = failed.err.lines().find(|line| line.contains("next: ")).expect("says what to do next");
    assert!(line.contains(&wanted), "{line}");
    let words: Vec<&str> = line.split_whitespace().skip(2).collect();
    desk.run(&words).expect(0);
}

#[test]
fn a_strict_project_names_the_place_of_a_moving_image() {
    let desk = Desk::with(
        "maily: 1\nproject: shop\nstrict: true\nenvironments: {production: {}}\nservices: {api: {manifests: m.yaml}}\n",
    );
    desk.write(
        "m.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: x, image: 'busybox:latest'}]}}}\n",
    );
    let place = "m.yaml:4:117: container `x` uses `busybox:latest`";
    let refused = desk.sandbox(&["plan", "--version", "v1"]).expect(2);
    assert!(refused.err.contains(place) && refused.err.contains("^^^"), "{}", refused.err);
    // It is somebody else's: else a warning will do.
    let file = std::fs::read_to_string(desk.path().join("maily.yaml")).expect("is there");
    desk.write("maily.yaml", &file.replace("strict: true\n", ""));
    let plan = desk.sandbox(&["plan", "--version", "v1"]).expect(0);
    let told = plan.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("moving-image: m.yaml:1: container `x` uses `busybox:latest`"), "{}", plan.out);
}
