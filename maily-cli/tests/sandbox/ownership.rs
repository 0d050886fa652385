//! Objects that another project has, or another environment of the same one; and which project a command is about.

use serde_json::json;

use crate::desk::{Desk, Done};

const RIGHTS: &str = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: reader}\n\
                      rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n";
const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n";

/// A project with one service.
fn project(name: &str, environments: &str, manifest: &str) -> String {
    format!(
        "maily: 1\nproject: {name}\nenvironments: {{{environments}}}\nservices:\n  rights: {{manifests: {manifest}}}\n"
    )
}

fn on(desk: &Desk, file: &str, args: &[&str]) -> Done {
    desk.sandbox(&[&["--file", file], args].concat())
}

fn deploy(desk: &Desk, file: &str, environment: &str) -> Done {
    on(desk, file, &["deploy", "--env", environment, "--version", "v1", "--yes"])
}

/// It is refused with the owner's name before anything is written, and the remedy is one.
#[track_caller]
fn refused(desk: &Desk, file: &str, environment: &str, object: &str, owner: &str) {
    let err = deploy(desk, file, environment).expect(1).err;
    assert!(err.contains(&format!("{object} belongs to {owner}")), "{err}");
    assert!(err.contains("help: take it out of this project, or remove it there first"), "{err}");
    let history = on(desk, file, &["history", "--env", environment, "-o", "json"]).expect(0).json();
    assert_eq!(history["runs"], json!([]));
    // Nothing of it changed: its owner has nothing to set right.
    let same = on(desk, "shop.yaml", &["plan", "--env", "production", "--version", "v1", "--exit-code"]);
    assert_eq!(same.code, 0, "{same:?}");
}

#[test]
fn cluster_scoped_objects_of_another_project_are_refused_with_their_owner() {
    let desk = Desk::empty();
    desk.write("rights.yaml", RIGHTS);
    let own = "production: {namespace: shop}, staging: {namespace: shop-staging}";
    desk.write("shop.yaml", &project("shop", own, "rights.yaml"));
    desk.write("mall.yaml", &project("mall", "production: {namespace: mall}", "rights.yaml"));
    deploy(&desk, "shop.yaml", "production").expect(0);
    let owner = "project `shop`, environment `production`";
    refused(&desk, "mall.yaml", "production", "ClusterRole reader", owner);
    // Another environment of the same project is somebody else, too.
    refused(&desk, "shop.yaml", "staging", "ClusterRole reader", owner);
    let remove = ["remove", "--env", "production", "--components", "all", "--yes"];
    on(&desk, "shop.yaml", &remove).expect(0);
    deploy(&desk, "mall.yaml", "production").expect(0);
}

#[test]
fn objects_of_another_project_in_one_namespace_are_refused_with_their_owner() {
    let desk = Desk::empty();
    desk.write("map.yaml", MAP);
    desk.write("shop.yaml", &project("shop", "production: {namespace: shop}", "map.yaml"));
    desk.write("mall.yaml", &project("mall", "live: {namespace: shop}", "map.yaml"));
    deploy(&desk, "shop.yaml", "production").expect(0);
    let owner = "project `shop`, environment `production`";
    refused(&desk, "mall.yaml", "live", "ConfigMap shop/settings", owner);
    // Whoever forces fields does not become the owner.
    let forced = ["deploy", "--env", "live", "--version", "v1", "--force-conflicts", "--yes"];
    let err = on(&desk, "mall.yaml", &forced).expect(1).err;
    assert!(err.contains("belongs to project `shop`"), "{err}");
}

#[test]
fn the_project_file_is_chosen_by_its_name_and_its_world_and_manifests_lie_beside_it() {
    let desk = Desk::empty();
    desk.write("there/apps/map.yaml", MAP);
    let file = project("mall", "production: {namespace: mall, approval: required}", "map.yaml");
    desk.write("there/apps/mall.yaml", &file);
    // What has the usual name is not meant.
    desk.write("there/maily.yaml", "no project");
    desk.write("maily.yaml", "no project");
    let chosen = ["-C", "there", "--file", "apps/mall.yaml", "--sandbox"];
    let deploy = ["deploy", "--version", "v1"];
    let asked = desk.run(&[&chosen[..], &deploy].concat()).expect(7).err;
    let call = "mailyctl -C there --file apps/mall.yaml --sandbox";
    assert!(
        asked.contains(&format!("`{call} plan ")) && asked.contains(&format!("`{call} apply ")),
        "{asked}"
    );
    // Also after the command, and in one word.
    let after = ["--yes", "-C", "there", "--file=apps/mall.yaml", "--sandbox"];
    desk.run(&[&deploy[..], &after].concat()).expect(0);
    assert!(desk.path().join("there/apps/.maily/sandbox.json").is_file());
    assert!(!desk.path().join("there/.maily").exists() && !desk.path().join(".maily").exists());
    let status = desk.run(&[&chosen[..], &["status", "-o", "json"]].concat()).expect(0).json();
    assert_eq!((&status["release"], &status["services"][0]["name"]), (&json!(1), &json!("rights")));
    let shown = desk.run(&[&chosen[..], &["show", "project"]].concat()).expect(0).out;
    assert!(shown.contains("mall"), "{shown}");
    let missing = desk.run(&["--file", "none.yaml", "status"]).expect(2).err;
    assert!(missing.contains("none.yaml") && missing.contains("`--file`"), "{missing}");
}
