//! Images of the project that are not called like their service: derived, moved with the version, or told.

use crate::desk::Desk;

/// A workload's manifest with the images of its init containers and its own.
fn workload(kind: &str, name: &str, inits: &[&str], image: &str) -> String {
    let inits: Vec<String> = inits.iter().map(|image| format!("{{name: first, image: '{image}'}}")).collect();
    let inits =
        if inits.is_empty() { String::new() } else { format!("initContainers: [{}], ", inits.join(", ")) };
    let template = format!(
        "{{metadata: {{labels: {{app: {name}}}}}, spec: {{{inits}containers: [{{name: main, image: '{image}'}}]}}}}"
    );
    match kind {
        "CronJob" => format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: {name}}}\nspec: {{schedule: '0 3 * * *', jobTemplate: {{spec: {{template: {template}}}}}}}\n---\n"
        ),
        _ => format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{selector: {{matchLabels: {{app: {name}}}}}, template: {template}}}\n---\n"
        ),
    }
}

/// Four workloads with five images of the project, and one of somebody else.
fn shop() -> String {
    [
        workload("Deployment", "web", &["r.example/acme/migrations:v1.0.0"], "r.example/acme/web:v1.0.0"),
        workload("Deployment", "web-consumer", &[], "r.example/acme/web:v1.0.0"),
        workload("Deployment", "worker", &["busybox:1.36"], "r.example/acme/worker:v1.0.0"),
        workload("CronJob", "nightly", &[], "r.example/acme/worker:v1.0.0"),
    ]
    .concat()
}

fn file(desk: &Desk) -> String {
    std::fs::read_to_string(desk.path().join("maily.yaml")).expect("is written")
}

fn plan(desk: &Desk, version: &str) -> String {
    desk.sandbox(&["plan", "--env", "production", "--version", version]).expect(0).out
}

#[test]
fn every_image_of_the_project_follows_the_version_of_a_derived_file() {
    let desk = Desk::empty();
    desk.write("k8s/all.yaml", &shop());
    let made = desk.run(&["init", "--from", "k8s", "--name", "acme"]).expect(0);
    assert!(made.err.contains("v1.0.0") && !made.err.contains("v0.0.0"), "{}", made.err);
    let written = file(&desk);
    let images = "images: ['r.example/acme/{service}:{version}', 'r.example/acme/migrations:{version}']";
    assert!(written.contains(images), "{written}");
    desk.sandbox(&["deploy", "--version", "v1.0.0", "--yes"]).expect(0);
    let plan = plan(&desk, "v1.1.0");
    assert!(!plan.contains("looks like"), "{plan}");
    for moved in ["acme/migrations:v1.1.0", "acme/web:v1.1.0", "acme/worker:v1.1.0"] {
        assert!(plan.contains(moved), "{moved}: {plan}");
    }
    assert_eq!(plan.matches("acme/worker:v1.0.0 → r.example/acme/worker:v1.1.0").count(), 2, "{plan}");
    assert_eq!(plan.matches("acme/web:v1.0.0 → r.example/acme/web:v1.1.0").count(), 2, "{plan}");
}

#[test]
fn a_plan_tells_which_image_looks_like_the_projects_own_and_its_remedy_works() {
    let desk = Desk::empty();
    desk.write("k8s/all.yaml", &shop());
    desk.run(&["init", "--from", "k8s", "--name", "acme"]).expect(0);
    let narrow = "images: 'r.example/acme/{service}:{version}'";
    let wide = "images: ['r.example/acme/{service}:{version}', 'r.example/acme/migrations:{version}']";
    desk.write("maily.yaml", &file(&desk).replace(wide, narrow));
    let told = plan(&desk, "v1.1.0");
    let note = "Deployment/web: image `r.example/acme/migrations:v1.0.0` looks like the project's own";
    let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(note) && flat.contains(wide), "{told}");
    assert_eq!(flat.matches("looks like the project's own").count(), 1, "{told}");
    // Both remedies that it names.
    desk.write("maily.yaml", &file(&desk).replace(narrow, wide));
    assert!(!plan(&desk, "v1.1.0").contains("looks like"));
    desk.write("maily.yaml", &file(&desk).replace("migrations:{version}", "migrations:v1.0.0"));
    assert!(!plan(&desk, "v1.1.0").contains("looks like"));
}

#[test]
fn one_image_for_all_services_is_a_pattern_without_a_service() {
    let desk = Desk::empty();
    let image = "r.example/acme/app:v1.0.0";
    let all =
        [workload("Deployment", "web", &[], image), workload("Deployment", "worker", &[], image)].concat();
    desk.write("k8s/all.yaml", &all);
    desk.run(&["init", "--from", "k8s", "--name", "acme"]).expect(0);
    let pattern = "images: 'r.example/acme/app:{version}'";
    assert!(file(&desk).contains(pattern), "{}", file(&desk));
    desk.sandbox(&["deploy", "--version", "v1.0.0", "--yes"]).expect(0);
    assert!(plan(&desk, "v1.1.0").contains("r.example/acme/app:v1.1.0"));
    // Without it a plan names that one.
    desk.write("maily.yaml", &file(&desk).replace(pattern, ""));
    let told = plan(&desk, "v1.1.0").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains(pattern) && !told.contains("REGISTRY"), "{told}");
}

#[test]
fn init_takes_the_one_namespace_of_the_manifests() {
    let desk = Desk::empty();
    let in_namespace = |name: &str, namespace: &str| {
        workload("Deployment", name, &[], &format!("r.example/acme/{name}:v1.0.0")).replace(
            &format!("{{name: {name}}}\nspec"),
            &format!("{{name: {name}, namespace: {namespace}}}\nspec"),
        )
    };
    desk.write("k8s/web.yaml", &in_namespace("web", "store"));
    desk.run(&["init", "--from", "k8s", "--name", "acme"]).expect(0);
    assert!(file(&desk).contains("    namespace: store\n"), "{}", file(&desk));
    desk.sandbox(&["deploy", "--version", "v1.0.0", "--yes"]).expect(0);
    desk.write("k8s/worker.yaml", &in_namespace("worker", "back"));
    let made = desk.run(&["init", "--from", "k8s", "--name", "acme", "--force"]).expect(0);
    assert!(made.err.contains("2 namespaces (back, store)"), "{}", made.err);
    assert!(file(&desk).contains("    namespace: acme\n"), "{}", file(&desk));
}

#[test]
fn init_does_not_speak_of_a_version_that_nobody_gave() {
    let desk = Desk::empty();
    desk.write("k8s/web.yaml", &workload("Deployment", "web", &[], "nginx:1.25"));
    let made = desk.run(&["init", "--from", "k8s", "--name", "acme"]).expect(0);
    assert!(made.err.contains("`nginx:1.25`") && !made.err.contains("v0.0.0"), "{}", made.err);
}
