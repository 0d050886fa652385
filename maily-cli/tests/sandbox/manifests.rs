//! Manifests in files: which are read, and what is said of those that cannot be.

use std::time::{Duration, Instant};

use crate::{
    bad_input::services,
    desk::{Desk, Done},
};

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

fn plan(desk: &Desk) -> Done {
    desk.sandbox(&["plan", "--version", "v1"])
}

/// Objects that a plan makes.
fn made(desk: &Desk) -> Vec<String> {
    let plan = plan(desk).expect(0).out;
    let lines = plan.lines().filter_map(|line| line.trim().strip_prefix("+ "));
    lines.map(str::to_owned).collect()
}

fn one(manifest: &[u8]) -> Desk {
    let desk = Desk::with(&services("  api: {manifests: m.yaml}"));
    desk.write_bytes("m.yaml", manifest);
    desk
}

#[track_caller]
fn refused(manifest: &[u8], said: &[&str]) {
    let err = plan(&one(manifest)).expect(2).err;
    for part in said {
        assert!(err.contains(part), "`{part}` in:\n{err}");
    }
}

#[test]
fn a_pattern_means_the_files_that_fit_it_in_order() {
    let desk = Desk::with(&services("  api: {manifests: 'k8s/app-*.yaml'}"));
    for name in ["app-b", "app-a", "other", "app-c.old"] {
        desk.write(&format!("k8s/{name}.yaml"), &map(name));
    }
    desk.write("k8s/app-d.yml", &map("d"));
    desk.write("k8s/app-e/app-e.yaml", &map("e"));
    assert_eq!(made(&desk), ["ConfigMap app-a", "ConfigMap app-b", "ConfigMap app-c.old"]);
    // Also with what differs by environment and version.
    desk.write("maily.yaml", &services("  api: {manifests: '{env}/{version}/*'}"));
    desk.write("production/v1/a.yaml", &map("one"));
    desk.write(
        "production/v1/b.json",
        r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "two"}}"#,
    );
    desk.write("production/v1/readme.md", "no manifest");
    assert_eq!(made(&desk), ["ConfigMap one", "ConfigMap two"]);
    desk.write("maily.yaml", &services("  api: {manifests: 'k8s/none-*.yaml'}"));
    let refused = plan(&desk).expect(2).err;
    assert!(
        refused.contains("`k8s/none-*.yaml`: there is no YAML file\n  help: correct the path"),
        "{refused}"
    );
    desk.write("maily.yaml", &services("  api: {manifests: 'nowhere/*.yaml'}"));
    let refused = plan(&desk).expect(2).err;
    assert!(refused.contains("`nowhere/*.yaml`: it cannot be read"), "{refused}");
}

#[test]
fn json_is_read_as_it_is_written_also_with_tabs() {
    let desk = Desk::with(&services("  api: {manifests: k8s}"));
    desk.write(
        "k8s/a.json",
        "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"}}\n",
    );
    desk.write(
        "k8s/b.json",
        "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"List\",\n\t\"items\": [\n\t\t{\n\t\t\t\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\n\t\t\t\"metadata\": {\"name\": \"b\"},\n\t\t\t\"data\": {\"text\": \"one\\ttwo \\u00e4 \\/\"}\n\t\t}\n\t]\n}\n",
    );
    assert_eq!(made(&desk), ["ConfigMap a", "ConfigMap b"]);
    desk.write("k8s/b.json", "{\n\t\"apiVersion\": \"v1\",\n\t\"metadata\": {\"name\": \"b\"}\n}\n");
    let refused = plan(&desk).expect(2).err;
    assert!(refused.contains("k8s/b.json:1:1: an object without `kind`"), "{refused}");
    desk.write(
        "k8s/b.json",
        "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"b\"}\n",
    );
    let refused = plan(&desk).expect(2).err;
    assert!(refused.contains("k8s/b.json:"), "{refused}");
}

#[test]
fn a_byte_order_mark_before_a_manifest_does_no_harm() {
    let desk = one(format!("\u{feff}{}", map("a")).as_bytes());
    assert_eq!(made(&desk), ["ConfigMap a"]);
    // Where files of several editors were joined it is named.
    let joined = format!("\u{feff}{}---\n\u{feff}{}", map("a"), map("b"));
    refused(joined.as_bytes(), &["m.yaml:5:1: not YAML: a byte order mark must not appear"]);
}

#[test]
fn several_documents_are_read_and_very_many_refused() {
    let documents: String = (0..300).map(|n| format!("---\n{}", map(&format!("m{n}")))).collect();
    assert_eq!(made(&one(documents.as_bytes())).len(), 300);
    refused("---\na: b\n".repeat(20_001).as_bytes(), &["m.yaml:", "more than 20000 documents"]);
}

#[test]
fn manifests_that_are_no_text_or_no_yaml_are_refused_at_their_place() {
    refused(
        b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: a\n",
        &["m.yaml:4:1: a tab cannot indent YAML", "help: indent with spaces"],
    );
    refused(
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a\xff}\n",
        &["`m.yaml`: it is not UTF-8 text", "help: save it as UTF-8"],
    );
    let wide: Vec<u8> = "\u{feff}kind: ConfigMap\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused(&wide, &["`m.yaml`: it is not UTF-8 text", "help: save it as UTF-8"]);
    refused(
        &vec![b'#'; 50 * 1024 * 1024],
        &["`m.yaml`: it has 52428800 bytes; at most 16777216 are read", "help: split it"],
    );
}

/// Ten to the ninth nodes in ten lines.
#[test]
fn an_anchor_bomb_is_refused_and_not_unfolded() {
    let mut text = String::from(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n",
    );
    for n in 1..9 {
        let inner = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("  a{n}: &a{n} [{inner}]\n"));
    }
    let start = Instant::now();
    refused(text.as_bytes(), &["m.yaml:", "1000000"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// The sandbox refuses what a server would, and for the same reason.
#[test]
fn what_a_server_refuses_of_pods_does_not_serve_in_the_sandbox() {
    let whole = "replicas: 1";
    let image = "image: 'r.example/web:1'";
    for (spec, container, said) in [
        ("replicas: -2", image, "spec.replicas: Invalid value: -2"),
        ("replicas: '2'", image, ".spec.replicas: expected numeric (int or float), got string"),
        ("replcas: 5", image, ".spec.replcas: field not declared in schema"),
        (whole, "imge: 'r.example/web:1'", "imge: field not declared in schema"),
        (whole, "args: [a]", "spec.template.spec.containers.image: Required value"),
        (whole, &format!("{image}, ports: [{{containerPort: 99999}}]"), "Invalid value: 99999"),
        (
            whole,
            &format!("{image}, resources: {{requests: {{memory: 2Gi}}, limits: {{memory: 1Gi}}}}"),
            "Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi",
        ),
        (
            whole,
            &format!("{image}, volumeMounts: [{{name: lost, mountPath: /a}}]"),
            "volumeMounts.name: Not found: \"lost\"",
        ),
    ] {
        let desk = one(format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: api}}\nspec:\n  {spec}\n  selector: {{matchLabels: {{app: api}}}}\n  template:\n    metadata: {{labels: {{app: api}}}}\n    spec: {{containers: [{{name: web, {container}}}]}}\n"
        )
        .as_bytes());
        let done = desk.sandbox(&["deploy", "--version", "v1", "--yes"]);
        assert!(done.code != 0, "`{spec}`, `{container}` serves:\n{}", done.out);
        let told = format!("{}{}", done.out, done.err);
        assert!(told.contains(said), "`{said}` in:\n{told}");
    }
}
