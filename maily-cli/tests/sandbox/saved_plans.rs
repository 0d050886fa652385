//! Plans in files, carried out where they do not belong, or too late.

use serde_json::{Value, json};

use crate::{
    bad_input::services,
    desk::{Desk, Done},
};

fn small() -> Desk {
    Desk::with(&services("  api: {workload: {port: 80}}"))
}

fn save(desk: &Desk, version: &str, file: &str) {
    desk.sandbox(&["plan", "--env", "production", "--version", version, "--out", file]).expect(0);
}

fn apply(desk: &Desk, file: &str) -> Done {
    desk.sandbox(&["apply", file, "--yes"])
}

fn deploy(desk: &Desk, version: &str) {
    desk.sandbox(&["deploy", "--env", "production", "--version", version, "--yes"]).expect(0);
}

fn state(desk: &Desk) -> (Value, usize) {
    let status = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
    let history = desk.sandbox(&["history", "--env", "production", "-o", "json"]).expect(0).json();
    (status["release"].clone(), history["runs"].as_array().expect("is a list").len())
}

#[test]
fn a_file_with_a_space_in_its_name_is_told_as_a_shell_reads_it() {
    let desk = small();
    let told = desk.sandbox(&["plan", "--env", "production", "--version", "v1", "--out", "my plan.json"]);
    assert!(told.expect(0).err.contains("`mailyctl --sandbox apply 'my plan.json'`"));
    let asked = desk.sandbox(&["apply", "my plan.json"]).expect(2).err;
    assert!(asked.contains("`mailyctl --sandbox apply 'my plan.json' --yes`"), "{asked}");
}

#[test]
fn a_plan_for_another_environment_is_refused_with_its_name() {
    let desk = small();
    save(&desk, "v1", "p.json");
    let file = services("  api: {workload: {port: 80}}");
    // The same name of an environment, and another project.
    desk.write("maily.yaml", &file.replace("project: shop", "project: mall"));
    let refused = apply(&desk, "p.json").expect(2).err;
    assert!(refused.contains("the plan is for environment `production` of project `shop`"), "{refused}");
    assert!(refused.contains("help: make a plan for this environment"), "{refused}");
    // An environment that this project does not have.
    desk.write("maily.yaml", &file.replace("  production:", "  testing:"));
    let refused = apply(&desk, "p.json").expect(2).err;
    assert!(refused.contains("`production`") && refused.contains("testing"), "{refused}");
    desk.write("maily.yaml", &file);
    assert_eq!(state(&desk), (Value::Null, 0));
    apply(&desk, "p.json").expect(0);
}

#[test]
fn a_plan_for_another_cluster_is_refused() {
    let (here, there) = (small(), small());
    save(&here, "v1", "p.json");
    let plan = std::fs::read_to_string(here.path().join("p.json")).expect("is written");
    there.write("p.json", &plan);
    let refused = apply(&there, "p.json").expect(6).err;
    assert!(refused.contains("it was made for another cluster"), "{refused}");
    let anew = "help: make a new plan: `mailyctl --sandbox plan --env production --version v1 --out p.json`, with \
                the options that the first one had besides, such as `--force-conflicts`";
    assert!(refused.contains(anew), "{refused}");
    assert_eq!(state(&there), (Value::Null, 0));
    apply(&here, "p.json").expect(0);
}

#[test]
fn a_plan_whose_base_is_not_in_force_any_more_is_refused() {
    let desk = small();
    save(&desk, "v1", "first.json");
    deploy(&desk, "v1");
    let refused = apply(&desk, "first.json").expect(6).err;
    assert!(refused.contains("out of date:\n  it starts from release none, in force is 1"), "{refused}");
    save(&desk, "v2", "second.json");
    deploy(&desk, "v2");
    desk.sandbox(&["rollback", "--env", "production", "--last-good", "--yes"]).expect(0);
    // Every object is as it was: what somebody read was all the same a plan from another release.
    let refused = apply(&desk, "second.json").expect(6).err;
    assert!(refused.contains("it starts from release 1, in force is 3"), "{refused}");
    assert!(refused.contains("help: make a new plan"), "{refused}");
    assert_eq!(state(&desk), (json!(3), 3));
}

/// The command that it is answered with can be typed.
#[test]
fn a_plan_that_cannot_be_read_is_answered_with_how_one_is_made() {
    let desk = small();
    desk.write("p.json", "{}");
    let refused = apply(&desk, "p.json").expect(2).err;
    let anew = "help: make a new plan: `mailyctl --sandbox plan --env NAME --version VERSION --out FILE`";
    assert!(refused.contains(anew), "{refused}");
}

/// What goes with it is said before it goes.
#[test]
fn a_project_file_that_is_there_is_not_replaced_without_a_word() {
    let refused = small().run(&["init"]).expect(2).err;
    let told = refused.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("choose another name with `--file NAME.yaml`"), "{refused}");
    assert!(told.contains("bindings, phases and all else that it says go with it"), "{refused}");
}
