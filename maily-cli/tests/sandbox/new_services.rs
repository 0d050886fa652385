//! Services that a version brings and the file has no line for yet.

use serde_json::{Value, json};

use crate::desk::{Desk, Done};

const FILE: &str = "maily: 1\nproject: shop\nimages: 'registry.example/{service}:{version}'\n\
                    environments:\n  production: {namespace: shop}\n\
                    sources:\n  all: {manifests: 'k8s/{version}.yaml'}\nservices:\n  web: {from: all}\n";

fn workload(name: &str, version: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{selector: {{matchLabels: {{app: {name}}}}}, \
         template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: {name}, image: 'registry.example/{name}:{version}'}}]}}}}}}\n---\n"
    )
}

/// At v1 there is `web` alone; v2 brings `mail` and `search`, and v3 has them, too. v1 is released.
fn shop() -> Desk {
    let desk = Desk::with(FILE);
    desk.write("k8s/v1.yaml", &workload("web", "v1"));
    for version in ["v2", "v3"] {
        let all: String = ["web", "search", "mail"].map(|name| workload(name, version)).concat();
        desk.write(&format!("k8s/{version}.yaml"), &all);
    }
    deploy(&desk, "v1", &[]).expect(0);
    desk
}

fn deploy(desk: &Desk, version: &str, more: &[&str]) -> Done {
    desk.sandbox(&[&["deploy", "--version", version, "--yes"], more].concat())
}

/// Each service with its version and state.
fn services(desk: &Desk) -> Value {
    let status = desk.sandbox(&["status", "-o", "json"]).expect(0).json();
    let services = status["services"].as_array().expect("is a list").clone();
    let of = |one: &Value| {
        (one["name"].as_str().expect("has a name").to_owned(), json!([one["version"], one["state"]]))
    };
    services.iter().map(of).collect()
}

fn runs(desk: &Desk) -> usize {
    let history = desk.sandbox(&["history", "-o", "json"]).expect(0).json();
    history["runs"].as_array().expect("is a list").len()
}

#[test]
fn a_new_service_is_refused_by_its_name_until_the_file_or_an_option_takes_it_along() {
    let desk = shop();
    for args in [&["deploy", "--version", "v2", "--yes"][..], &["plan", "--version", "v2"]] {
        let refused = desk.sandbox(args).expect(2).err;
        assert!(
            refused.contains("version v2 has services that the project file does not know: mail, search")
        );
        assert!(refused.contains("under `services`") && refused.contains("`--accept-new`"), "{refused}");
    }
    assert_eq!(services(&desk), json!({"web": ["v1", "serving"]}));
    assert_eq!(runs(&desk), 1, "a refusal is no run");
    // A part of the services says nothing of the others.
    deploy(&desk, "v2", &["--components", "web"]).expect(0);
    assert_eq!(services(&desk), json!({"web": ["v2", "serving"]}));
    // One line in the file is one service fewer to be refused.
    desk.write("maily.yaml", &format!("{FILE}  mail: {{from: all}}\n"));
    let refused = deploy(&desk, "v2", &[]).expect(2).err;
    assert!(refused.contains("does not know: search\n"), "{refused}");
    desk.write("maily.yaml", &format!("{FILE}  mail: {{from: all}}\n  search: {{from: all}}\n"));
    deploy(&desk, "v2", &[]).expect(0);
    let all = json!({"mail": ["v2", "serving"], "search": ["v2", "serving"], "web": ["v2", "serving"]});
    assert_eq!(services(&desk), all);
}

#[test]
fn a_new_service_that_is_taken_along_is_named_released_and_removed_by_a_rollback() {
    let desk = shop();
    let plan = desk.sandbox(&["plan", "--version", "v2", "--accept-new"]).expect(0).out;
    for name in ["mail", "search"] {
        let note = format!("service `{name}` of source `all` is new and has no line in the file yet");
        let flat = plan.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("new-service") && flat.contains(&note), "{plan}");
        assert!(plan.contains(&format!("+ Deployment {name}")), "{plan}");
    }
    deploy(&desk, "v2", &["--accept-new"]).expect(0);
    let all = |version: &str| {
        let serves = json!([version, "serving"]);
        json!({"mail": serves, "search": serves, "web": serves})
    };
    assert_eq!(services(&desk), all("v2"));
    // The option is for one deploy: the next one asks for the line again, and changes nothing.
    let refused = deploy(&desk, "v3", &[]).expect(2).err;
    assert!(refused.contains("does not know: mail, search\n"), "{refused}");
    assert_eq!(services(&desk), all("v2"));
    deploy(&desk, "v3", &["--accept-new"]).expect(0);
    assert_eq!(services(&desk), all("v3"));
    // A rollback speaks of releases, not of the file: it needs no option, and leaves nothing of what came later.
    desk.sandbox(&["rollback", "--to-version", "v1", "--yes"]).expect(0);
    assert_eq!(services(&desk), json!({"web": ["v1", "serving"]}));
    let again = desk.sandbox(&["plan", "--version", "v2", "--accept-new"]).expect(0).out;
    assert!(again.contains("+ Deployment mail") && again.contains("+ Deployment search"), "{again}");
    desk.sandbox(&["rollback", "--to-version", "v3", "--yes"]).expect(0);
    assert_eq!(services(&desk), all("v3"));
}

const SOURCES: &str = "maily: 1\nproject: shop\nimages: 'registry.example/{service}:{version}'\n\
                       environments:\n  production: {namespace: shop}\n\
                       sources:\n  cache: {manifests: 'cache/{version}.yaml'}\n  shop: {manifests: 'shop/{version}.yaml'}\n\
                       services:\n  web: {from: shop}\n";

fn cron(name: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: {name}}}\nspec: {{schedule: '0 4 * * *', jobTemplate: {{spec: \
         {{template: {{spec: {{restartPolicy: Never, containers: [{{name: {name}, image: 'registry.example/cron:v1'}}]}}}}}}}}}}\n---\n"
    )
}

/// Nothing takes the place of a service that has its name: it gets one of its own, or the deploy is refused.
#[test]
fn a_new_service_does_not_take_the_place_of_one_that_has_its_name() {
    let file = format!("{SOURCES}  redis: {{from: cache}}\n");
    let desk = Desk::with(&file);
    for version in ["v1", "v2"] {
        desk.write(&format!("cache/{version}.yaml"), &workload("redis", version));
        desk.write(&format!("shop/{version}.yaml"), &workload("web", version));
    }
    desk.write("shop/v2.yaml", &(workload("web", "v2") + &cron("redis")));
    deploy(&desk, "v1", &[]).expect(0);
    for more in [&["--accept-new"][..], &[]] {
        let refused = deploy(&desk, "v2", more).expect(2).err;
        let flat = refused.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = "workload `redis` of source `shop` has no line in the file, whose service `redis` is from source `cache`";
        assert!(flat.contains(said), "{refused}");
        assert!(flat.contains("`shop-redis: {from: shop, aliases: [redis]}`"), "{refused}");
    }
    assert_eq!(services(&desk), json!({"redis": ["v1", "serving"], "web": ["v1", "serving"]}));
    // What it says is a way: the other name counts in its own source alone.
    desk.write("maily.yaml", &format!("{file}  shop-redis: {{from: shop, aliases: [redis]}}\n"));
    let plan = desk.sandbox(&["plan", "--version", "v2"]).expect(0).out;
    assert!(plan.contains("+ CronJob redis") && plan.contains("~ Deployment redis"), "{plan}");
    // A service that is in no release yet is not another one that has its other name.
    for name in ["shop-redis", "web2"] {
        let lines = format!("{file}  shop-redis: {{from: shop, aliases: [redis]}}\n  web2: {{from: shop}}\n");
        desk.write("maily.yaml", &lines);
        let remove = ["remove", "--components", name, "--dry-run"];
        let removed = desk.sandbox(&remove).expect(0).out;
        assert!(removed.contains("nothing to do"), "{name}: {removed}");
        let back = ["rollback", "--to-version", "v1", "--components", name, "--dry-run"];
        let said = desk.sandbox(&back).expect(2);
        assert!(!said.err.replace("shop-redis", "").contains("redis") && said.out.is_empty(), "{}", said.err);
    }
    desk.write("maily.yaml", &format!("{file}  shop-redis: {{from: shop, aliases: [redis]}}\n"));
    deploy(&desk, "v2", &["--components", "redis"]).expect(0);
    assert_eq!(services(&desk)["redis"], json!(["v2", "serving"]));
    deploy(&desk, "v2", &[]).expect(0);
    assert_eq!(services(&desk)["shop-redis"][0], "v2");
    assert_eq!(services(&desk)["redis"], json!(["v2", "serving"]));
    // From one source it would be two services of one workload.
    desk.write("maily.yaml", &format!("{file}  web2: {{from: shop, aliases: [web]}}\n"));
    let refused = desk.sandbox(&["plan", "--version", "v2"]).expect(2).err;
    assert!(refused.contains("`web` means service `web`, too"), "{refused}");
}

#[test]
fn two_new_services_of_one_name_are_told_apart_by_the_file() {
    let file = format!("{SOURCES}  db: {{from: cache}}\n");
    let desk = Desk::with(&file);
    for version in ["v1", "v2"] {
        desk.write(
            &format!("cache/{version}.yaml"),
            &(workload("db", version) + &workload("redis", version)),
        );
        desk.write(&format!("shop/{version}.yaml"), &(workload("web", version) + &cron("redis")));
    }
    let refused = deploy(&desk, "v1", &["--accept-new"]).expect(2).err;
    let flat = refused.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = "workload `redis` of source `shop` has no line in the file, nor has the one of source `cache` that is called so, too";
    assert!(flat.contains(said), "{refused}");
    let lines = "  redis: {from: cache}\n  shop-redis: {from: shop, aliases: [redis]}\n";
    desk.write("maily.yaml", &format!("{file}{lines}"));
    deploy(&desk, "v1", &[]).expect(0);
    let names: Vec<String> = services(&desk).as_object().expect("is a map").keys().cloned().collect();
    assert_eq!(names, ["db", "redis", "shop-redis", "web"]);
}

/// What was taken along without a line is on record by its workload's name, and not by its source.
#[test]
fn whose_a_name_on_record_is_that_several_sources_may_have_is_not_guessed() {
    let file = format!("{SOURCES}  db: {{from: cache}}\n");
    let desk = Desk::with(&file);
    desk.write("cache/v1.yaml", &(workload("db", "v1") + &workload("redis", "v1")));
    desk.write("shop/v1.yaml", &workload("web", "v1"));
    deploy(&desk, "v1", &["--accept-new"]).expect(0);
    desk.write("maily.yaml", &format!("{file}  shop-redis: {{from: shop, aliases: [redis]}}\n"));
    for args in [
        &["remove", "--components", "shop-redis", "--yes"][..],
        &["rollback", "--to-version", "v1", "--components", "shop-redis", "--dry-run"],
        &["logs", "shop-redis"],
    ] {
        let refused = desk.sandbox(args).expect(2).err;
        let flat = refused.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = "the release has no `shop-redis`, and its `redis` may be from another source than `shop`";
        assert!(flat.contains(said) && flat.contains("as the release has it: `redis`"), "{refused}");
    }
    assert_eq!(services(&desk)["redis"], json!(["v1", "serving"]));
    desk.sandbox(&["logs", "redis"]).expect(0);
    let removed = desk.sandbox(&["remove", "--components", "redis", "--dry-run"]).expect(0).out;
    assert!(removed.contains("Deployment redis"), "{removed}");
}
