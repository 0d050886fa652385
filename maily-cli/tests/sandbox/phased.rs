//! A phased deploy that ends on the way.

use serde_json::Value;

use crate::desk::{Desk, Done};

const PROJECT: &str = "maily: 1
project: shop
environments:
  staging: {namespace: shop-staging}
  production: {namespace: shop}
services:
  api: {manifests: '{env}.yaml'}
";

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n";

fn phased(desk: &Desk, more: &[&str]) -> Done {
    desk.sandbox(&[&["phased-deploy", "--version", "v1", "--yes"][..], more].concat())
}

#[test]
fn what_an_earlier_environment_has_become_decides_the_code_too() {
    let desk = Desk::with(PROJECT);
    desk.write("staging.yaml", MAP);
    // Nobody serves this kind, which is known before anything is changed.
    desk.write("production.yaml", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\n");
    let failed = phased(&desk, &[]).expect(4).err;
    assert!(failed.contains("error: staging is at v1, production is as it was: "), "{failed}");
    assert!(failed.contains("the same command goes on"), "{failed}");
    assert!(failed.contains("`mailyctl --sandbox rollback --env staging --last-good`"), "{failed}");
    // Where this command has changed nothing, that is what its code says.
    let failed = phased(&desk, &[]).expect(1).err;
    assert!(failed.contains("Widget") && !failed.contains("staging is at"), "{failed}");
    desk.write("staging.yaml", &MAP.replace("b}", "c}"));
    let machine = phased(&desk, &["-o", "json"]).expect(4);
    let error: Value = serde_json::from_str(&machine.err).expect("is a document");
    assert_eq!(error["code"], 4, "{error}");
    assert!(error["message"].as_str().is_some_and(|said| said.contains("staging is at v1")), "{error}");
    // The remedy is one.
    desk.write("production.yaml", MAP);
    phased(&desk, &[]).expect(0);
}

#[test]
fn other_codes_stay_and_the_environments_are_named() {
    let desk = Desk::with(&PROJECT.replace("namespace: shop}", "namespace: shop, approval: required}"));
    desk.write("staging.yaml", MAP);
    desk.write("production.yaml", "apiVersion: v1\nmetadata: {name: a}\n");
    let refused = phased(&desk, &[]).expect(2).err;
    assert!(
        refused.contains("staging is at v1; back: `mailyctl --sandbox rollback --env staging"),
        "{refused}"
    );
    assert!(refused.contains("production.yaml:1"), "{refused}");
}
