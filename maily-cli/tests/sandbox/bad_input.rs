//! Input that cannot work: an error with its place and a remedy, and nothing written.

use crate::desk::{Desk, done};

pub(crate) const BASE: &str = "maily: 1\nproject: shop\nimages: 'registry.example/{service}:{version}'\nenvironments:\n  production: {namespace: shop}\n";

/// A deploy of a project file is refused as wrong use, says this, and leaves no world behind.
#[track_caller]
pub(crate) fn refused(file: &str, said: &[&str]) -> String {
    let desk = Desk::with(file);
    refused_at(&desk, said)
}

#[track_caller]
fn refused_at(desk: &Desk, said: &[&str]) -> String {
    let done = desk.sandbox(&["deploy", "--env", "production", "--version", "v1", "--yes"]).expect(2);
    for part in said {
        assert!(done.err.contains(part), "`{part}` in:\n{}", done.err);
    }
    let history = desk.sandbox(&["history", "--env", "production", "-o", "json"]);
    assert!(history.code == 2 || history.json()["runs"] == serde_json::json!([]), "something was written");
    done.err
}

pub(crate) fn services(text: &str) -> String {
    format!("{BASE}services:\n{text}\n")
}

#[test]
fn mistakes_in_the_file_are_shown_at_their_place_all_at_once() {
    let text = services(
        "  api: {workload: {port: 8000, replcas: 2}}\n  web: {nedes: [api], workload: {port: http}}\n  db: {workload: {memory: 512}}",
    );
    let err = refused(
        &text,
        &["maily.yaml:7:32", "replcas", "maily.yaml:8:9", "nedes", "`needs`", "maily.yaml:9", "512Mi"],
    );
    assert!(err.matches('^').count() >= 3, "each with a caret:\n{err}");
    insta::assert_snapshot!("three_mistakes", err);
}

#[test]
fn keys_and_names_are_checked() {
    refused(
        &services("  api: {workload: {port: 1}}\n  api: {workload: {port: 2}}"),
        &["api", "maily.yaml:8"],
    );
    refused(
        &services("  a: {needs: [b], workload: {port: 1}}\n  b: {needs: [a], workload: {port: 1}}"),
        &["maily.yaml:7:15: needs form a cycle: a -> b -> a", "help: drop one of the needs"],
    );
    refused(
        &services("  a: {needs: [bb], workload: {port: 1}}\n  b: {workload: {port: 1}}"),
        &["bb", "help"],
    );
    refused(&services("  Api: {workload: {port: 1}}"), &["Api"]);
    refused(&services("  a: {}"), &["maily.yaml:7"]);
    refused(&services("  a: {workload: {port: 1}, manifests: x.yaml}"), &["maily.yaml:7"]);
    refused(&services("  a: {image: 'UPPER CASE', workload: {port: 1}}"), &["UPPER CASE"]);
    refused(&services("  a: {workload: {port: 1, secrets: {A: 'vault:x/y#z'}}}"), &["vault"]);
    refused(&services("  a: {workload: {port: 1, env: {A: '{nope}'}}}"), &["{nope}"]);
}

#[test]
fn texts_that_are_no_project_file_are_refused() {
    refused("\tmaily: 1\n", &["tab"]);
    refused("maily: 1\n---\nmaily: 1\n", &["document"]);
    refused("", &["maily.yaml"]);
    refused("[]", &["maily.yaml:1:1"]);
    refused("maily: 2\nproject: shop\n", &["maily.yaml:1"]);
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
    refused(bomb, &["maily.yaml:1"]);
    let desk = Desk::empty();
    desk.write_bytes("maily.yaml", b"maily: 1\nproject: \xff\xfe\n");
    refused_at(&desk, &["UTF-8"]);
    desk.write_bytes("maily.yaml", &vec![b'#'; 50 * 1024 * 1024]);
    refused_at(&desk, &["no project file"]);
    let desk = Desk::empty();
    let missing = desk.run(&["status"]).expect(2);
    assert!(missing.err.contains("mailyctl init"), "{}", missing.err);
}

#[test]
fn a_byte_order_mark_does_no_harm_or_is_named() {
    let desk = Desk::with(&format!("\u{feff}{}", services("  a: {workload: {port: 1}}")));
    let done = desk.sandbox(&["plan", "--version", "v1"]);
    assert!(done.code == 0 || done.err.contains("byte order mark"), "{}", done.err);
}

#[test]
fn versions_and_components_are_checked() {
    let desk = Desk::with(&services("  api: {workload: {port: 1}}"));
    for version in ["latest", "", "a/b", "a b", "-x"] {
        let refused = desk.sandbox(&["deploy", &format!("--version={version}"), "--yes"]).expect(2);
        assert!(refused.err.contains("--version"), "{version:?}: {}", refused.err);
    }
    let refused = desk.sandbox(&["deploy", "--version", "v1", "--components", "apii", "--yes"]).expect(2);
    assert!(refused.err.contains("apii") && refused.err.contains("`api`"), "{}", refused.err);
    let refused = desk.sandbox(&["rollback", "--to-version", "v9", "--yes"]).expect(2);
    assert!(refused.err.contains("nothing was released"), "{}", refused.err);
    let refused = desk.sandbox(&["deploy", "--version", "v1", "--timeout", "5", "--yes"]).expect(2);
    assert!(refused.err.contains("--timeout"), "{}", refused.err);
    let refused = desk.sandbox(&["logs", "nobody"]).expect(2);
    assert!(refused.err.contains("nobody"), "{}", refused.err);
    let refused = desk.sandbox(&["sandbox", "fault", "add", "explode", "api"]).expect(2);
    assert!(refused.err.contains("crash SERVICE"), "{}", refused.err);
    for (fault, said) in
        [("crash apii", "there is only api"), ("crash api@latest", "latest"), ("build-fails web", "none")]
    {
        let refused = desk.sandbox(&["sandbox", "fault", "add", fault]).expect(2);
        assert!(refused.err.contains(said), "{fault}: {}", refused.err);
    }
    let refused = desk.sandbox(&["plan", "--version", "v1", "--allow-replace", "api"]).expect(2);
    assert!(refused.err.contains("KIND/NAME"), "{}", refused.err);
    desk.sandbox(&["deploy", "--version", "v1", "-f"]).expect(2);
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let never = desk.sandbox(&["rollback", "--to-version", "v9", "--yes"]).expect(2);
    assert!(
        never.err.contains("version v9 was never in this environment\n  help: it had v1"),
        "{}",
        never.err
    );
    let refused = desk.sandbox(&["rollback", "--to-version", "latest", "--yes"]).expect(2);
    assert!(refused.err.contains("--to-version latest"), "{}", refused.err);
    let none = desk.sandbox(&["logs", "api", "--previous"]).expect(0);
    assert!(none.out.is_empty() && none.err.contains("no earlier instance"), "{}", none.err);
}

/// What is said of a manifest whose kind the sandbox does not serve.
#[track_caller]
fn not_served(manifest: &str) -> String {
    let desk = Desk::with(&services("  api: {manifests: m.yaml}"));
    desk.write("m.yaml", manifest);
    let refused = desk.sandbox(&["plan", "--version", "v1"]).expect(1).err;
    assert!(refused.contains("the cluster does not serve this kind"), "{refused}");
    refused
}

#[test]
fn manifests_are_checked() {
    let manifests = |text: &str, said: &[&str]| {
        let desk = Desk::with(&services("  api: {manifests: m.yaml}"));
        desk.write("m.yaml", text);
        refused_at(&desk, said);
    };
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    manifests("apiVersion: v1\nmetadata: {name: a}\n", &["m.yaml:1", "kind"]);
    manifests("kind: ConfigMap\nmetadata: {name: a}\n", &["m.yaml:1", "apiVersion"]);
    manifests(&format!("{map}---\n{map}"), &["m.yaml:5", "twice (first in line 1)"]);
    manifests("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: elsewhere}\n", &["elsewhere"]);
    manifests(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: x, image: 'not an image'}]}}}\n",
        &[
            "m.yaml:4:117: container `x`: `not an image` is no image",
            "^^^",
            "help: write it like `registry/name:version`",
        ],
    );
    for own in [
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: a}\nwebhooks: []\n",
        "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: a}\nwebhooks: []\n",
        "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: a}\n",
    ] {
        let told = not_served(own);
        assert!(told.contains("the sandbox has only some of them"), "{told}");
        assert!(!told.contains("install the CustomResourceDefinition"), "{told}");
    }
    let told = not_served("apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: a}\n");
    assert!(told.contains("install the CustomResourceDefinition first"), "{told}");
    manifests("a: b: c\n", &["m.yaml:1"]);
    manifests(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system}\n",
        &["m.yaml:1", "belongs to the cluster"],
    );
    manifests(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: maily-key-production, labels: {maily.dev/service: x}}\n---\napiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: maily-production}\n",
        &["m.yaml:1", "m.yaml:5", "keeps its own records", "maily.dev/service", "another name"],
    );
    let desk = Desk::with(&services("  api: {manifests: nowhere.yaml}"));
    refused_at(&desk, &["nowhere.yaml"]);
    let twice = services("  api: {manifests: m.yaml}\n  web: {manifests: n.yaml}");
    let desk = Desk::with(&twice);
    desk.write("m.yaml", map);
    desk.write("n.yaml", map);
    refused_at(
        &desk,
        &["`n.yaml:1`: ConfigMap shop/a stands twice (first in m.yaml:1)", "help: keep it in one place"],
    );
    let desk = Desk::with(&services("  api: {helm: {chart: charts/none}}"));
    let mut command = desk.command(&["--sandbox", "deploy", "--version", "v1", "--yes"]);
    command.env("PATH", desk.path());
    let refused = done(command).expect(2);
    assert!(refused.err.contains("`maily.yaml:"), "{}", refused.err);
    assert!(refused.err.contains("service `api`: helm: is not installed"), "{}", refused.err);
}

#[test]
fn what_the_server_refuses_is_named_with_its_file() {
    let desk = Desk::with(&services("  api: {manifests: k8s}"));
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let widget = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n";
    desk.write("k8s/all.yaml", &format!("{map}---\n{widget}"));
    let refused = desk.sandbox(&["plan", "--version", "v1"]).expect(1).err;
    let said = "error: k8s/all.yaml:5: Widget.example.org shop/w: the cluster does not serve this kind";
    assert!(refused.contains(said), "{refused}");
    let wrong = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {replica: 1, selector: {matchLabels: {a: b}}, \
                 template: {metadata: {labels: {a: b}}, spec: {containers: [{name: x, image: 'r.example/x:1'}]}}}\n";
    desk.write("k8s/all.yaml", &format!("{map}---\n{wrong}"));
    let refused = desk.sandbox(&["plan", "--version", "v1"]).expect(1).err;
    assert!(refused.contains("error: k8s/all.yaml:5: Deployment shop/api: "), "{refused}");
}

#[test]
fn a_manifest_that_is_no_yaml_is_shown() {
    let desk = Desk::with(&services("  api: {manifests: m.yaml}"));
    desk.write("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: [b,\n\n");
    refused_at(
        &desk,
        &["m.yaml:4:13: not YAML: ", "4 | data: {a: [b,\n  |             ^", "help: check the indentation"],
    );
}

#[test]
fn an_empty_file_beside_others_is_told() {
    let desk = Desk::with(&services("  api: {manifests: k8s}"));
    desk.write("k8s/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    for (empty, said) in
        [("", "k8s/b.yaml holds no object"), ("# nothing\n---\n", "k8s/b.yaml, k8s/c.yaml hold no object")]
    {
        desk.write(if empty.is_empty() { "k8s/b.yaml" } else { "k8s/c.yaml" }, empty);
        let plan = desk.sandbox(&["plan", "--version", "v1"]).expect(0).out;
        assert!(plan.contains(&format!("! empty: {said}")), "{plan}");
    }
    let desk = Desk::empty();
    desk.write("k8s/a.yaml", "# nothing\n");
    let refused = desk.run(&["init", "--from", "k8s", "--name", "shop"]).expect(2);
    assert!(refused.err.contains("`k8s`: there is no object in it\n  help: "), "{}", refused.err);
    assert!(!desk.path().join("maily.yaml").exists());
}

#[test]
fn a_version_that_is_no_tag_is_told_what_is_one() {
    let desk = Desk::with(&services("  api: {workload: {port: 1}}"));
    for (version, near) in
        [("v1.2.0+build", "v1.2.0-build"), ("v 1", "v-1"), ("", "v1.2.0"), ("latest", "v1.2.0")]
    {
        let refused = desk.sandbox(&["plan", &format!("--version={version}")]).expect(2);
        assert!(refused.err.contains("help: write"), "{}", refused.err);
        assert!(refused.err.contains(&format!("`--version {near}`")), "{}", refused.err);
    }
}

#[test]
fn what_has_no_end_is_not_read() {
    use std::{fs, os::unix::fs::symlink};
    let file = services("  api: {manifests: m.yaml}");
    let desk = Desk::with(&file);
    let manifest = desk.path().join("m.yaml");
    symlink("/dev/zero", &manifest).expect("can be made");
    refused_at(&desk, &["`m.yaml`: it is no regular file"]);
    fs::remove_file(&manifest).expect("is ours");
    desk.pipe("m.yaml");
    refused_at(&desk, &["`m.yaml`: it is no regular file"]);
    desk.write("maily.yaml", &file.replace("m.yaml", "/dev/zero"));
    refused_at(&desk, &["`/dev/zero`: it is no regular file"]);
    // In a folder it would otherwise be passed over, and what it stands for removed.
    desk.write("maily.yaml", &file.replace("m.yaml", "k8s"));
    desk.write("k8s/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    desk.pipe("k8s/b.yaml");
    symlink("nowhere", desk.path().join("k8s/c.yaml")).expect("can be made");
    refused_at(&desk, &["`k8s/b.yaml`: it is no regular file", "`k8s/c.yaml`: it cannot be read"]);
    let args = ["init", "--from", "k8s/b.yaml", "--version", "v1", "--name", "shop", "--force"];
    let refused = desk.run(&args).expect(2);
    assert!(refused.err.contains("`k8s/b.yaml`: it is no regular file"), "{}", refused.err);
    let refused = desk.sandbox(&["apply", "/dev/zero", "--yes"]).expect(2);
    assert!(refused.err.contains("`/dev/zero`: it has more than"), "{}", refused.err);
    // Helm itself would read on and on.
    desk.write("maily.yaml", &services("  api: {helm: {chart: c, values: [k8s/a.yaml, m.yaml]}}"));
    refused_at(&desk, &["`m.yaml`: it is no regular file"]);
}

#[test]
fn a_manifest_may_have_16_mib() {
    let desk = Desk::with(&services("  api: {manifests: m.yaml}"));
    desk.write_bytes("m.yaml", &vec![b'#'; 16 * 1024 * 1024 + 1]);
    refused_at(&desk, &["`m.yaml`: it has 16777217 bytes; at most 16777216 are read", "split it"]);
}

#[test]
fn a_history_of_nothing_is_refused() {
    let desk = Desk::with(&services("  api: {workload: {port: 80}}"));
    for (limit, said) in [("0", "it is at least 1"), ("many", "a number from 1 on")] {
        let refused = desk.sandbox(&["history", "--limit", limit]).expect(2);
        assert!(refused.err.contains("--limit") && refused.err.contains(said), "{}", refused.err);
    }
    desk.sandbox(&["history", "--limit", "1"]).expect(0);
}

#[test]
fn the_sandbox_file_is_checked() {
    let desk = Desk::with(&services("  api: {workload: {port: 1}}"));
    desk.write(".maily/sandbox.json", "{");
    let damaged = desk.sandbox(&["status"]).expect(1);
    assert!(damaged.err.contains("damaged"), "{}", damaged.err);
    let desk = Desk::with(&services("  api: {workload: {port: 1}}"));
    // A folder stands where the file has to be: nobody can write there, not even root.
    std::fs::create_dir_all(desk.path().join(".maily/sandbox.new")).expect("can be made");
    let refused = desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(1);
    assert!(refused.err.contains("sandbox.json"), "{}", refused.err);
    let unbound = desk.run(&["deploy", "--version", "v1", "--yes"]).expect(2);
    assert!(unbound.err.contains("mailyctl env bind"), "{}", unbound.err);
}

#[test]
fn secrets_are_checked_and_their_values_not_shown() {
    let secret = |content: &str, said: &[&str]| {
        let desk = Desk::with(&services("  api: {manifests: m.yaml}"));
        desk.write("m.yaml", &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: web}}\n{content}\n"));
        let err = refused_at(&desk, said);
        assert!(!err.contains("hunter2") && !err.contains("31337"), "a value is shown:\n{err}");
    };
    secret(
        "stringData: {pin: 31337}",
        &["m.yaml:4:19: Secret `web`: `stringData.pin` is a number", "quote it"],
    );
    secret("data: {a: {b: hunter2}}", &["`data.a` is a map"]);
    secret("data: {a: 'hunter2 is no base64'}", &["m.yaml:4", "`data.a` is not base64"]);
    secret("stringdata: {a: hunter2}", &["m.yaml:4:1", "did you mean `stringData`?"]);
    secret("stringData: {a: hunter2: b}", &["m.yaml:4", "not YAML"]);
}

#[test]
fn a_key_that_stands_twice_hides_no_other_mistake() {
    let text = services(
        "  api: {nedds: [web], workload: {port: 1, port: 2}}\nservices:\n  web: {workload: {prot: 1}}\nenvironmints: {}",
    );
    let err = refused(
        &text,
        &[
            "`port` stands twice (first in line 7)",
            "`services` stands twice (first in line 6)",
            "unknown key `nedds`",
            "unknown key `prot`",
            "unknown key `environmints`",
        ],
    );
    assert_eq!(err.matches("maily.yaml:").count(), 5, "and nothing else:\n{err}");
}

#[test]
fn no_time_at_all_is_no_timeout() {
    let desk = Desk::with(&services("  api: {workload: {port: 80}}"));
    for span in ["0s", "0m"] {
        let args = ["deploy", "--version", "v1", "--timeout", span, "--yes"];
        let refused = desk.sandbox(&args).expect(2);
        assert!(refused.err.contains("--timeout") && refused.err.contains("at least 1s"), "{}", refused.err);
    }
    refused(&services("  api: {timeout: 0s, workload: {port: 80}}"), &["maily.yaml:7:18", "at least 1s"]);
    let file = services(
        "  api: {workload: {port: 80}}\n  up: {before: api, job: {command: [up], timeout: 0s}}\ngates: {g: {http: 'https://x.example', timeout: 0s}}",
    );
    let err = refused(&file, &["maily.yaml:8", "maily.yaml:9"]);
    assert_eq!(err.matches("at least 1s").count(), 2, "{err}");
}

#[test]
fn a_saved_plan_that_nobody_can_approve_names_its_file() {
    let desk = Desk::example();
    desk.sandbox(&["plan", "--env", "production", "--version", "v1.0.0", "--out", "p.json"]).expect(0);
    let refused = desk.sandbox(&["apply", "p.json"]).expect(7);
    assert!(refused.err.contains("apply p.json --yes"), "{}", refused.err);
    assert!(!refused.err.contains("--out"), "{}", refused.err);
}

#[test]
fn a_fault_of_no_service_is_refused_also_where_services_come_from_manifests() {
    let desk = Desk::with(
        "maily: 1\nproject: shop\nenvironments: {production: {namespace: shop}}\n\
         services:\n  worker: {manifests: m}\n  web: {manifests: n}\n",
    );
    let refused = desk.sandbox(&["sandbox", "fault", "add", "image-missing", "wroker@v1.2.0"]).expect(2);
    assert!(refused.err.contains("wroker") && refused.err.contains("`worker`"), "{}", refused.err);
    desk.sandbox(&["sandbox", "fault", "add", "image-missing", "worker@v1.2.0"]).expect(0);
}

/// A fault that cannot show is accepted, for what it is about may come, and not in silence.
#[test]
fn a_fault_that_will_not_show_comes_with_a_remark() {
    let desk = Desk::with(&services(
        "  store: {manifests: store.yaml}\n  cleanup: {manifests: cleanup.yaml}\n  api: {workload: {port: 80}}",
    ));
    let pods =
        |image: &str| format!("{{restartPolicy: OnFailure, containers: [{{name: main, image: '{image}'}}]}}");
    desk.write(
        "store.yaml",
        &format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: store}}\nspec: {{selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {}}}}}\n",
            pods("redis:7.2").replace("restartPolicy: OnFailure, ", "")
        ),
    );
    desk.write(
        "cleanup.yaml",
        &format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: cleanup}}\nspec: {{schedule: '* * * * *', jobTemplate: {{spec: {{template: {{spec: {}}}}}}}}}\n",
            pods("registry.example/shop/cleanup:v1")
        ),
    );
    let add = |fault: &str| desk.sandbox(&["sandbox", "fault", "add", fault]).expect(0).err;
    assert!(!add("never-ready store@v2").contains('!'), "nothing is known yet");
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let told = add("never-ready store@v2");
    assert!(
        told.contains("! `@v2` is the tag of an image") && told.contains("at v1 it is redis:7.2"),
        "{told}"
    );
    let told = add("crash cleanup");
    assert!(told.contains("! nothing of `cleanup` has pods in the sandbox"), "{told}");
    for fault in ["never-ready store", "crash store@7.2", "crash api@v2", "crash api"] {
        assert!(!add(fault).contains('!'), "{fault}");
    }
}

#[test]
fn a_container_without_a_name_ends_in_an_error_with_its_place() {
    let desk = Desk::with(&services("  api: {manifests: m.yaml}"));
    for list in ["containers", "initContainers"] {
        let named = "containers: [{name: api, image: 'registry.example/api:v0'}]";
        let pods = match list {
            "containers" => "containers: [{image: 'registry.example/api:v0'}]".to_owned(),
            _ => format!("initContainers: [{{image: 'busybox:1.36'}}], {named}"),
        };
        desk.write(
            "m.yaml",
            &format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: api}}\nspec: {{selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{{pods}}}}}}}\n"
            ),
        );
        refused_at(
            &desk,
            &["`m.yaml:1`: a container of Deployment/api has no name", "help: write `name: …`"],
        );
    }
}

#[test]
fn a_job_is_no_component_and_its_service_is_named() {
    let desk = Desk::with(&services(
        "  api: {workload: {port: 1}}\n  migrate: {before: api, job: {command: [up]}}\n  warm: {after: api, job: {command: [up]}}",
    ));
    for job in ["migrate", "warm"] {
        for command in [
            &["deploy", "--version", "v1", "--yes"][..],
            &["plan", "--version", "v1"],
            &["rollback", "--to-version", "v1", "--yes"],
            &["remove", "--yes"],
        ] {
            let refused = desk.sandbox(&[command, &["--components", job]].concat()).expect(2).err;
            assert!(refused.contains(&format!("`{job}` is a job")), "{command:?}: {refused}");
            assert!(refused.contains("help: name the service that it runs beside: `api`"), "{refused}");
        }
    }
}
